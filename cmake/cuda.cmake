# Where the cuda:: half of the engine comes from. Each executable links exactly one of these object libraries:
#   ops_cuda_stubs               every kernel says that the build has no CUDA
#   ops_cuda                     the kernels compiled by nvcc
#   ops_cuda_emulated_{plain,asan,check}   the same .cu files compiled by g++ for the emulator in tests/cuemu (tests only)
# SCVD_BACKEND names the one that programs get.
set(SCVD_CUDA AUTO CACHE STRING "GPU kernels: AUTO (when nvcc is found) | ON | OFF")
set(CUDA_ROOT /usr/local/cuda CACHE PATH "CUDA toolkit")

file(GLOB CUDA_SRC CONFIGURE_DEPENDS ops/cuda/*.cu)
# cuDNN is loaded at run time; its headers, and cudnn-frontend's for attention, decide what a build knows of it.
option(SCVD_CUDNN "cuDNN as a back end that can be chosen, where its headers are" ON)
set(CUDNN_SRC ops/cuda/cudnn/none.cpp ops/cuda/cudnn/attention_none.cpp)
set(CUDNN_INCLUDE)
if(SCVD_CUDNN)
  find_path(CUDNN_HEADERS cudnn.h HINTS ${CUDA_ROOT}/include)
  find_path(CUDNN_FRONTEND_HEADERS cudnn_frontend.h HINTS ${CMAKE_SOURCE_DIR}/.cudnn-frontend/include)
  if(CUDNN_HEADERS)
    set(CUDNN_SRC ops/cuda/cudnn/library.cpp ops/cuda/cudnn/conv.cpp ops/cuda/cudnn/batch_norm.cpp)
    set(CUDNN_INCLUDE ${CUDNN_HEADERS})
    if(CUDNN_FRONTEND_HEADERS)
      list(APPEND CUDNN_SRC ops/cuda/cudnn/attention.cpp)
      set_source_files_properties(ops/cuda/cudnn/attention.cpp PROPERTIES COMPILE_OPTIONS -O1)  # half of its compilation; graphs are built once
      list(APPEND CUDNN_INCLUDE ${CUDNN_FRONTEND_HEADERS})
    else()
      list(APPEND CUDNN_SRC ops/cuda/cudnn/attention_none.cpp)
      message(STATUS "cudnn-frontend's headers not found (scripts/fetch_cudnn_frontend.sh): --attention cudnn will say so")
    endif()
  else()
    message(STATUS "cuDNN's headers not found: --conv cudnn and --attention cudnn will say so")
  endif()
endif()

find_path(NCCL_HEADERS nccl.h HINTS ${CUDA_ROOT}/include)

add_library(ops_cuda_stubs OBJECT ops/cuda/stubs.cpp engine/backing_none.cpp engine/device_none.cpp engine/graph_none.cpp engine/comm/nccl_none.cpp)
target_link_libraries(ops_cuda_stubs PUBLIC options)
set(SCVD_BACKEND ops_cuda_stubs)

find_program(NVCC nvcc HINTS ${CUDA_ROOT}/bin)
if(SCVD_CUDA STREQUAL "ON" AND NOT NVCC)
  message(FATAL_ERROR "SCVD_CUDA=ON, but there is no nvcc on the PATH or in ${CUDA_ROOT}/bin")
endif()
if(NOT SCVD_CUDA STREQUAL "OFF" AND NVCC AND NOT SCVD_SANITIZE)
  # Ampere, Hopper with its tensor-core and copy instructions (the `a`), and PTX for whatever comes later; where a GPU
  # is present, that one alone.
  set(arch 80 90a-real)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader RESULT_VARIABLE rc OUTPUT_VARIABLE caps ERROR_QUIET)
  if(rc EQUAL 0 AND caps MATCHES "^([0-9]+)\\.([0-9]+)")
    set(arch ${CMAKE_MATCH_1}${CMAKE_MATCH_2}-real)
    string(REPLACE "90-real" "90a-real" arch ${arch})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${arch} CACHE STRING "GPU architectures")
  set(CMAKE_CUDA_COMPILER ${NVCC})
  set(CMAKE_CUDA_STANDARD_REQUIRED OFF)  # every executable inherits a CUDA standard that CMake 3.25 cannot pass to nvcc 13
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_SOURCE_DIR}/scripts/record_ptxas.sh ${CCACHE})
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  if(NCCL_HEADERS)
    set(comm engine/comm/nccl_cuda.cpp)
  else()
    message(STATUS "NCCL's header not found: this build trains on one GPU only")
    set(comm engine/comm/nccl_none.cpp)
  endif()
  add_library(ops_cuda OBJECT ${CUDA_SRC} ${CUDNN_SRC} engine/device_cuda.cpp engine/backing_cuda.cpp engine/graph_cuda.cpp ${comm})
  # CMake 3.25 does not hand CUDA_STANDARD 20 to nvcc 13. The Philox stream is constexpr host code that kernels share.
  set_target_properties(ops_cuda PROPERTIES CUDA_STANDARD_REQUIRED OFF)
  target_compile_options(ops_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 --expt-relaxed-constexpr -Xptxas -v -Werror=all-warnings>)
  target_compile_options(ops_cuda PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror>)
  target_include_directories(ops_cuda PUBLIC ${CMAKE_SOURCE_DIR})
  target_include_directories(ops_cuda SYSTEM PRIVATE ${CUDNN_INCLUDE} $<$<BOOL:${NCCL_HEADERS}>:${NCCL_HEADERS}>)
  target_link_libraries(ops_cuda PUBLIC CUDA::cudart_static ${CMAKE_DL_LIBS})
  set(SCVD_BACKEND ops_cuda)
  # Registers, spills and shared memory of every kernel; the build fails on a spill that the file does not own up to.
  find_package(Python3 COMPONENTS Interpreter)
  if(Python3_FOUND)
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/ptxas.txt DEPENDS $<TARGET_OBJECTS:ops_cuda> scripts/ptxas_table.py VERBATIM
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/ptxas_table.py ${CMAKE_BINARY_DIR}/CMakeFiles/ops_cuda.dir
              ${CMAKE_SOURCE_DIR}/ops/cuda ${CMAKE_BINARY_DIR}/ptxas.txt)
    add_custom_target(ptxas_table ALL DEPENDS ${CMAKE_BINARY_DIR}/ptxas.txt)
  else()
    message(STATUS "No Python: the table of registers and spills is not made")
  endif()
  message(STATUS "CUDA kernels: ${NVCC}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA kernels: none in this build")
endif()

# The kernels on the CPU. The emulator needs CUDA's headers, not a driver and not nvcc.
find_path(CUDA_HEADERS cuda_bf16.h HINTS ${CUDA_ROOT}/include ${CMAKE_SOURCE_DIR}/.cuda-headers/nvidia/cu13/include)
if(NOT CUDA_HEADERS OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  message(STATUS "Emulated CUDA kernels: not tested here (they need g++ and CUDA's headers, looked for in ${CUDA_ROOT}/include;
   scripts/fetch_cuda_headers.sh brings them)")
  return()
endif()

file(GLOB CUEMU_SRC CONFIGURE_DEPENDS tests/cuemu/*.cpp)
list(FILTER CUEMU_SRC EXCLUDE REGEX "backing_emulated")  # a program gets that or engine/backing_cuda.cpp

# emulated_objects(NAME SOURCES files.. FLAGS flags..): the .cu files enter through generated one-line .cpp files,
# so that they keep CMake's CUDA language for nvcc.
function(emulated_objects name)
  cmake_parse_arguments(E "" "" "SOURCES;FLAGS" ${ARGN})
  set(wrapped)
  foreach(f ${E_SOURCES})
    get_filename_component(stem ${f} NAME_WE)
    set(w ${CMAKE_BINARY_DIR}/${name}/${stem}.cpp)
    file(CONFIGURE OUTPUT ${w} CONTENT "#include \"${f}\"\n")
    list(APPEND wrapped ${w})
  endforeach()
  add_library(${name} OBJECT ${wrapped})
  target_compile_options(${name} PRIVATE ${E_FLAGS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
  target_include_directories(${name} SYSTEM PUBLIC ${CUDA_HEADERS})
  target_compile_options(${name} PRIVATE -g1 -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-psabi -fno-strict-aliasing)
endfunction()

set(cuemu_plain_all -O2)
set(cuemu_plain_kernel)
set(cuemu_asan_all -O2 -fsanitize=address -fno-omit-frame-pointer)
set(cuemu_asan_kernel -O1 -fsanitize=undefined ${FORESEEN} -fno-sanitize-recover=undefined)
# Optimising this one took 51 s, and saved 12 when it ran: 27 kernels of one template.
set_source_files_properties(${CMAKE_BINARY_DIR}/ops_cuda_emulated_asan/gemm_hopper.cpp PROPERTIES COMPILE_OPTIONS -O0)
set(cuemu_check_all -O2 -DCUEMU_CHECK=1)
set(cuemu_check_kernel -O1 -fsanitize=thread)

set(cuemu_cudnn ${CUDNN_SRC})
list(REMOVE_ITEM cuemu_cudnn ops/cuda/cudnn/attention.cpp ops/cuda/cudnn/attention_none.cpp)
list(APPEND cuemu_cudnn ops/cuda/cudnn/attention_none.cpp)  # its graphs have no twin here

foreach(b plain asan check)
  set(cuemu_${b}_comm engine/comm/nccl_none.cpp)
endforeach()
if(NCCL_HEADERS)
  set(cuemu_plain_comm engine/comm/nccl_cuda.cpp)
endif()

foreach(b plain asan check)
  add_library(cuemu_${b} OBJECT ${CUEMU_SRC} engine/device_cuda.cpp engine/graph_cuda.cpp)
  target_compile_definitions(cuemu_${b} PRIVATE SCVD_EMULATED)
  target_include_directories(cuemu_${b} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
  target_include_directories(cuemu_${b} SYSTEM PUBLIC ${CUDA_HEADERS})
  target_compile_options(cuemu_${b} PRIVATE ${cuemu_${b}_all} -g1 -Wall -Wextra -Werror -Wno-psabi -fno-strict-aliasing)
  target_link_libraries(cuemu_${b} PUBLIC Threads::Threads)
  if(b STREQUAL "asan")
    target_link_options(cuemu_${b} PUBLIC -fsanitize=address,undefined)
  endif()

  add_library(cuemu_memory_${b} OBJECT tests/cuemu/backing_emulated.cpp)
  target_link_libraries(cuemu_memory_${b} PUBLIC cuemu_${b})
  target_compile_options(cuemu_memory_${b} PRIVATE ${cuemu_${b}_all} -g1 -Wall -Wextra -Werror)

  emulated_objects(ops_cuda_emulated_${b} SOURCES ${CUDA_SRC} FLAGS ${cuemu_${b}_all} ${cuemu_${b}_kernel})
  target_sources(ops_cuda_emulated_${b} PRIVATE ${cuemu_cudnn} ${cuemu_${b}_comm})
  target_include_directories(ops_cuda_emulated_${b} SYSTEM PRIVATE ${CUDNN_INCLUDE} $<$<BOOL:${NCCL_HEADERS}>:${NCCL_HEADERS}>)

  foreach(t conformance order clean bugs)
    emulated_objects(cuemu_${t}_${b}_objects SOURCES ${CMAKE_SOURCE_DIR}/tests/cuemu/${t}.cu FLAGS ${cuemu_${b}_all} ${cuemu_${b}_kernel})
    add_executable(cuemu_${t}_${b})
    target_link_libraries(cuemu_${t}_${b} PRIVATE cuemu_${t}_${b}_objects cuemu_memory_${b} cuemu_${b})
  endforeach()
  foreach(t ${SCVD_KERNEL_TESTS})
    add_executable(${t}_${b} tests/${t}.cpp)
    target_link_libraries(${t}_${b} PRIVATE cases ops_cuda_emulated_${b} cuemu_memory_${b} cuemu_${b} GTest::gtest_main)
  endforeach()
endforeach()

# The ladders, held to one check; the kernels that they lead up to are linked, not copied.
file(GLOB LADDER_GEMM CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/ladder/gemm/*.cu)
file(GLOB LADDER_ATTENTION CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/ladder/attention/*.cu)
foreach(b plain asan check)
  emulated_objects(ladder_gemm_${b} SOURCES ${LADDER_GEMM} FLAGS ${cuemu_${b}_all} ${cuemu_${b}_kernel})
  emulated_objects(ladder_attention_${b} SOURCES ${LADDER_ATTENTION} FLAGS ${cuemu_${b}_all} ${cuemu_${b}_kernel})
  add_executable(test_ladder_${b} tests/test_ladder.cpp bench/ladder/rungs.cpp)
  target_link_libraries(test_ladder_${b} PRIVATE cases ladder_gemm_${b} ladder_attention_${b} ops_cuda_emulated_${b} cuemu_memory_${b} cuemu_${b} GTest::gtest_main)
endforeach()

# Every kernel of the sources is launched by a case.
add_executable(test_parity_coverage_plain tests/test_parity_coverage.cpp)
target_compile_definitions(test_parity_coverage_plain PRIVATE SCVD_SOURCE="${CMAKE_SOURCE_DIR}")
target_link_libraries(test_parity_coverage_plain PRIVATE train cases ops_cuda_emulated_plain cuemu_memory_plain cuemu_plain GTest::gtest_main)
add_test(NAME test_parity_coverage COMMAND test_parity_coverage_plain)

# The GPU arena itself, whose addresses stay as graphs want them, on the emulated driver; what needs such addresses: whole steps.
foreach(t test_cuda_memory test_cuda_graph test_cuda_train)
  add_executable(${t}_plain tests/${t}.cpp engine/backing_cuda.cpp)
  target_link_libraries(${t}_plain PRIVATE train cases ops_cuda_emulated_plain cuemu_plain GTest::gtest_main)
  add_test(NAME ${t} COMMAND ${t}_plain)
endforeach()

# Convolution and batch norm through cuDNN, with a stand-in for the library that keeps to its manual.
if(CUDNN_INCLUDE)
  add_library(cudnn_twin SHARED tests/cudnn_twin.cpp)
  target_link_libraries(cudnn_twin PRIVATE options)
  target_include_directories(cudnn_twin SYSTEM PRIVATE ${CUDNN_INCLUDE} ${CUDA_HEADERS})
  set_target_properties(test_parity_plain PROPERTIES ENABLE_EXPORTS ON)  # the stand-in uses the emulator's runtime
  add_test(NAME test_parity_through_cudnn COMMAND test_parity_plain --gtest_filter=*conv2d*:*batch_norm*:BatchNorm*)
  set_tests_properties(test_parity_through_cudnn PROPERTIES ENVIRONMENT
    "SCVD_TEST_CONV=cudnn;SCVD_CUDNN=$<TARGET_FILE:cudnn_twin>;OMP_WAIT_POLICY=passive")
endif()

# NCCL's transport, with a stand-in for the library that works between processes. Runs of several ranks are in cmake/rehearsal.cmake.
if(NCCL_HEADERS)
  add_library(nccl_twin SHARED tests/nccl_twin.cpp engine/comm/transport.cpp)
  target_link_libraries(nccl_twin PRIVATE options)
  target_include_directories(nccl_twin SYSTEM PRIVATE ${NCCL_HEADERS} ${CUDA_HEADERS})
  add_executable(test_cuda_comm_plain tests/test_cuda_comm.cpp)
  target_link_libraries(test_cuda_comm_plain PRIVATE cases ops_cuda_emulated_plain cuemu_memory_plain cuemu_plain GTest::gtest_main)
  set_target_properties(test_cuda_comm_plain PROPERTIES ENABLE_EXPORTS ON)
  add_test(NAME test_cuda_comm COMMAND test_cuda_comm_plain)
  set_tests_properties(test_cuda_comm PROPERTIES ENVIRONMENT "SCVD_NCCL=$<TARGET_FILE:nccl_twin>")
endif()

# Each program under a random schedule, without instrumentation also in order; scripts/nightly.sh runs twenty of them. What the
# access checker and ASan find does not depend on the schedule but for what it lets happen.
foreach(t cuemu_conformance cuemu_order cuemu_clean test_ladder ${SCVD_KERNEL_TESTS})
  add_test(NAME ${t}_plain COMMAND ${t}_plain)
  foreach(b plain asan check)
    add_test(NAME ${t}_${b}_seed1 COMMAND ${t}_${b})
    set_tests_properties(${t}_${b}_seed1 PROPERTIES ENVIRONMENT "CUEMU_ORDER=random;CUEMU_ASYNC=random;CUEMU_SEED=1;OMP_WAIT_POLICY=passive")
  endforeach()
endforeach()

# Planted bugs: each is noticed by some build, and its correct twin by none.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME cuemu_bugs COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/cuemu/run_bugs.py ${CMAKE_BINARY_DIR} --seeds 2)
endif()

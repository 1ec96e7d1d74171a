# The programs that scripts/gpu_suite.sh starts, on the emulator: what scripts/gpu_rehearsal.sh runs. The test needs only scvd.
set(emulated ops_cuda_emulated_plain cuemu_plain)
set_target_properties(${emulated} PROPERTIES POSITION_INDEPENDENT_CODE ON)
add_library(scvd_bench_emulated SHARED EXCLUDE_FROM_ALL bench/capi.cpp bench/stream_cuda.cpp bench/gemm_tiles_cuda.cpp engine/backing_cuda.cpp ${SOURCE_HASH})
target_compile_options(scvd_bench_emulated PRIVATE -include${SOURCE_HASH})
target_link_libraries(scvd_bench_emulated PRIVATE made_up ${emulated})
target_link_options(scvd_bench_emulated PRIVATE -Wl,-Bsymbolic)  # its own CUDA, not the one that PyTorch has loaded
add_executable(scvd_emulated train/main.cpp engine/backing_cuda.cpp)
target_link_libraries(scvd_emulated PRIVATE train ${emulated})
set_target_properties(scvd_emulated PROPERTIES ENABLE_EXPORTS ON)  # cuDNN's stand-in uses the emulator's runtime
add_executable(bench_all_pairs_emulated EXCLUDE_FROM_ALL bench/bench_all_pairs.cpp engine/backing_cuda.cpp)
target_link_libraries(bench_all_pairs_emulated PRIVATE made_up ${emulated})
add_custom_target(gpu_rehearsal DEPENDS scvd_emulated scvd_bench_emulated bench_all_pairs_emulated cuemu_conformance_plain cuemu_order_plain cuemu_clean_plain
  test_parity_plain test_gemm_plain test_attention_plain test_ladder_plain test_cuda_memory_plain test_cuda_graph_plain test_cuda_train_plain $<TARGET_NAME_IF_EXISTS:cudnn_twin>
  $<TARGET_NAME_IF_EXISTS:nccl_twin> $<TARGET_NAME_IF_EXISTS:test_cuda_comm_plain>)
if(TARGET nccl_twin AND Python3_FOUND)
  add_test(NAME ranks_on_gpus COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/ranks.py $<TARGET_FILE:scvd_emulated> --nccl $<TARGET_FILE:nccl_twin>)
  set_tests_properties(ranks_on_gpus PROPERTIES TIMEOUT 600)
endif()
add_test(NAME gpu_suite_rehearsal COMMAND ${CMAKE_SOURCE_DIR}/scripts/gpu_rehearsal.sh training)
set_tests_properties(gpu_suite_rehearsal PROPERTIES ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}")

#pragma once
// Host side of TMA: describe a row-major matrix to the tensor copy engine.
#include "ops/cuda/ptx.h"

#if !GPU_EMULATED
#include <cuda.h>
#endif

namespace eng::cuda {

// rows x cols bf16, row pitch `cols`; a load brings a box of box_rows x box_cols, which must be 128 bytes wide, and
// stores it with the 128-byte swizzle.
inline TensorMap make_tensor_map_bf16(const __nv_bfloat16* base, int rows, int cols, int box_rows, int box_cols) {
    ENG_CHECK(cols % 8 == 0 && reinterpret_cast<std::uintptr_t>(base) % 16 == 0 && box_cols * 2 == 128 && box_rows <= 256,
              "tensor map", rows, "x", cols, " at ", base, " in boxes of ", box_rows, "x", box_cols,
              " (want a base and rows of whole 16 bytes, boxes 128 bytes wide)");
    TensorMap map{};
#if GPU_EMULATED
    cuemu::TensorMap2D m{reinterpret_cast<const unsigned char*>(base),
                         std::uint64_t(rows),
                         std::uint64_t(cols),
                         std::uint64_t(cols) * 2,
                         std::uint32_t(box_rows),
                         std::uint32_t(box_cols),
                         2,
                         3};
    static_assert(sizeof m <= sizeof map);
    std::memcpy(&map, &m, sizeof m);
#else
    static_assert(sizeof(CUtensorMap) == sizeof map);
    using Encode = decltype(&cuTensorMapEncodeTiled);
    static const Encode encode = [] {  // from the driver; the library is not linked
        void* f = nullptr;
        cudaDriverEntryPointQueryResult found;
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &found);
        ENG_CHECK(f && found == cudaDriverEntryPointSuccess, "tensor map", "this driver has no cuTensorMapEncodeTiled");
        return reinterpret_cast<Encode>(f);
    }();
    const cuuint64_t dims[2] = {cuuint64_t(cols), cuuint64_t(rows)}, pitch[1] = {cuuint64_t(cols) * 2};
    const cuuint32_t box[2] = {cuuint32_t(box_cols), cuuint32_t(box_rows)}, step[2] = {1, 1};
    CUresult r =
        encode(reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
               const_cast<__nv_bfloat16*>(base), dims, pitch, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    ENG_CHECK(r == CUDA_SUCCESS, "tensor map", "cuTensorMapEncodeTiled: error ", int(r));
#endif
    return map;
}

}  // namespace eng::cuda

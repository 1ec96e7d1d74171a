#pragma once
// oneDNN's engine and stream, shared by the kernels that use it.
#include <dnnl.hpp>

#include "engine/dtype.h"

namespace eng::cpu {

inline dnnl::engine& cpu_engine() {
    static dnnl::engine e(dnnl::engine::kind::cpu, 0);
    return e;
}
inline dnnl::memory::data_type dnnl_type(DType t) { return t == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32; }

}  // namespace eng::cpu

#pragma once
// bf16 operands of oneDNN where the CPU has no instruction that multiplies them (AVX512-BF16, AMX): as f32. oneDNN refuses
// them before AVX-512, and with AVX-512 alone makes up for the instruction at a fifth of f32's rate. Widening is exact, and sums
// are kept in f32 and rounded once either way, so that only time differs.
#include <memory>

#include "engine/environment.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

// Asked of oneDNN, so that ONEDNN_MAX_CPU_ISA=AVX2 makes it say no on a CPU that has more. An instruction set's bits are those of
// all that it includes; 0 is a oneDNN that does not tell. SCVD_BF16=onednn, for tests: wherever oneDNN does not refuse.
inline bool multiplies_bf16() {
    static const bool has = [] {
        using M = dnnl::memory;
        const M::desc square({16, 16}, M::data_type::bf16, M::dims{16, 1});
        if (!dnnl::matmul::primitive_desc({square, square, square}, cpu_engine(), true)) return false;
        constexpr auto needed = unsigned(dnnl::cpu_isa::avx512_core_bf16);
        const auto isa = unsigned(dnnl::get_effective_cpu_isa());
        return isa == 0 || (isa & needed) == needed || environment_says("SCVD_BF16", "onednn");
    }();
    return has;
}
inline bool must_widen(const View& v) { return v.dtype == DType::bf16 && !multiplies_bf16(); }

// A matrix as f32: itself, or a copy that lives as long as this.
class Widened {
public:
    explicit Widened(const View& v) : view_(v) {
        if (!v.p || v.dtype == DType::f32) return;
        values_ = std::make_unique_for_overwrite<float[]>(std::size_t(v.numel()));
        view_.p = values_.get(), view_.dtype = DType::f32;
        emit_parallel(Out{view_, Mode::write}, v.numel(), [x = ptr<bf16>(v)](std::int64_t i) { return float(x[i]); });
    }
    const View& view() const { return view_; }

private:
    View view_;
    std::unique_ptr<float[]> values_;
};

// Where a result is computed in f32 that is wanted as `to`: there, or in memory of its own until store().
class Rounded {
public:
    explicit Rounded(const Out& to) : to_(to), out_(to) {
        if (to.mode == Mode::skip || to.dtype == DType::f32) return;
        values_ = std::make_unique_for_overwrite<float[]>(std::size_t(to.numel()));
        out_.p = values_.get(), out_.dtype = DType::f32, out_.mode = Mode::write;
    }
    const Out& out() const { return out_; }
    void store() const {
        if (values_) emit_parallel(to_, to_.numel(), [x = values_.get()](std::int64_t i) { return x[i]; });
    }

private:
    Out to_, out_;
    std::unique_ptr<float[]> values_;
};

}  // namespace eng::cpu

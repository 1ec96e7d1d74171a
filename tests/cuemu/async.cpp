// cp.async, ldmatrix and mma.sync on the CPU; mbarriers and TMA, and wgmma, have files of their own.
//
// An asynchronous operation may take effect at any time between its issue and the wait
// that covers it. options().async picks when: eager (at issue), lazy (as late as allowed;
// until then the destination holds NaNs), random.
#include "cuemu/async.h"

#include <sanitizer/asan_interface.h>

#include <cstring>

#include "cuemu/async_parts.h"
#include "cuemu/check.h"
#include "cuemu/device.h"

namespace cuemu {

bool land_now() {
    switch (blk->async) {
        case Options::Async::eager:
            return true;
        case Options::Async::lazy:
            return false;
        default:
            return blk->rng.below(2);
    }
}

// Instructions that take shared addresses are bounds-checked in every build.
void need_shared(const void* p, size_t bytes, size_t align, const char* op) {
    auto* c = static_cast<const unsigned char*>(p);
    if (reinterpret_cast<uintptr_t>(p) % align)
        fault("%s: shared address 0x%x is not %zu-byte aligned", op, shared_address(p), align);
    Block& b = *self->block;
    if (c >= b.dyn_smem() && c + bytes <= b.dyn_smem() + blk->launch->dyn_smem) return;
    for (auto& v : b.statics)
        if (c >= v.ptr && c + bytes <= v.ptr + v.size) return;
    fault("%s: %zu bytes at shared address 0x%x leave the %zu bytes of dynamic shared memory (0x%zx..0x%zx)", op, bytes,
          shared_address(p), blk->launch->dyn_smem, kSmemBase, kSmemBase + blk->launch->dyn_smem);
}
static void need_global(const void* p, size_t bytes, const char* op) {
#if CUEMU_ASAN
    if (bytes && __asan_region_is_poisoned(const_cast<void*>(p), bytes))
        fault("%s reads outside device memory: %zu bytes at %p", op, bytes, p);
#endif
    (void)p, (void)bytes, (void)op;
}

unsigned shared_address(const void* p) {
    auto* c = static_cast<const unsigned char*>(p);
    const unsigned char* smem = self->block->smem;
    if (c < smem || c >= smem + kSmemSpan) fault("%p is not in the block's shared memory", p);
    return unsigned(c - smem);
}

// ---- cp.async ---------------------------------------------------------------------
static void land(CpAsync& c) {
    if (!c.landed) {
        memcpy(c.dst, c.src, c.src_bytes);
        memset(static_cast<char*>(c.dst) + c.src_bytes, 0, c.bytes - c.src_bytes);
        c.landed = true;
    }
}

void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes) {
    need_shared(dst, bytes, bytes, "cp.async");
    if (reinterpret_cast<uintptr_t>(src) % bytes) fault("cp.async: misaligned global address %p", src);
    need_global(src, src_bytes, "cp.async");
    check::read(src, src_bytes, CUEMU_PC);
    check::async_begin(dst, bytes, CUEMU_PC);
    CpAsync c{dst, src, bytes, src_bytes, false};
    if (land_now())
        land(c);
    else
        memset(dst, kPoison, bytes);
    self->cp_open.push_back(c);
}

void cp_async_commit() {
    self->cp_groups.push_back(std::move(self->cp_open));
    self->cp_open.clear();
}

void cp_async_wait(unsigned allowed, Site at) {
    if (skipped(at)) return;
    auto& groups = self->cp_groups;
    if (groups.size() > allowed) blk->wait_late();
    while (groups.size() > allowed) {
        for (CpAsync& c : groups.front()) {
            land(c);
            check::async_end(c.dst, c.bytes, self);
        }
        groups.erase(groups.begin());
    }
}

// ---- ldmatrix and mma.sync ---------------------------------------------------------
struct LdmatrixLane {
    const unsigned short* row;
    unsigned* r;
};
template <int M, bool Trans>
static void finish_ldmatrix(void* const* p, unsigned) {
    auto lane = [&](unsigned l) { return static_cast<LdmatrixLane*>(p[l]); };
    for (int m = 0; m < M; ++m)
        for (unsigned l = 0; l < kWarp; ++l) {
            unsigned q = l / 4, c = 2 * (l % 4);  // this lane gets (q, c), (q, c+1) of matrix m
            unsigned short lo, hi;
            if (Trans)
                lo = lane(8 * m + c)->row[q], hi = lane(8 * m + c + 1)->row[q];
            else
                lo = lane(8 * m + q)->row[c], hi = lane(8 * m + q)->row[c + 1];
            lane(l)->r[m] = lo | unsigned(hi) << 16;
        }
}
void ldmatrix(unsigned* r, int m, const void* row, bool trans, Site at) {
    if (self->lane < unsigned(8 * m)) {  // only these lanes' addresses count
        need_shared(row, 16, 16, "ldmatrix");
        check::read(row, 16, CUEMU_PC);
    }
    LdmatrixLane lane{static_cast<const unsigned short*>(row), r};
    warp_op(trans ? "ldmatrix.trans" : "ldmatrix", ~0u, &lane,
            m == 1   ? (trans ? finish_ldmatrix<1, true> : finish_ldmatrix<1, false>)
            : m == 2 ? (trans ? finish_ldmatrix<2, true> : finish_ldmatrix<2, false>)
                     : (trans ? finish_ldmatrix<4, true> : finish_ldmatrix<4, false>),
            at);
}

struct MmaLane {
    float* d;
    const unsigned *a, *b;
    const float* c;
};
// D (16x8) = A (16x16) B (16x8) + C. With g = lane / 4 and t = lane % 4 a lane holds
//   a0 (g, 2t..)  a1 (g+8, 2t..)  a2 (g, 2t+8..)  a3 (g+8, 2t+8..)    row, column of A
//   b0 (2t.., g)  b1 (2t+8.., g)                                       row, column of B
//   c0 c1 (g, 2t..)  c2 c3 (g+8, 2t..)                                 row, column of C and D
static void finish_mma(void* const* p, unsigned) {
    float a[16][16], b[16][8], d[16][8];
    for (unsigned l = 0; l < kWarp; ++l) {
        const auto* x = static_cast<MmaLane*>(p[l]);
        const unsigned g = l / 4, t = 2 * (l % 4);
        for (int i = 0; i < 4; ++i) {
            unsigned row = g + (i & 1) * 8, col = t + (i >> 1) * 8;
            a[row][col] = bf16_lo(x->a[i]);
            a[row][col + 1] = bf16_hi(x->a[i]);
        }
        for (int i = 0; i < 2; ++i) {
            b[t + 8 * i][g] = bf16_lo(x->b[i]);
            b[t + 8 * i + 1][g] = bf16_hi(x->b[i]);
        }
        for (int i = 0; i < 4; ++i) d[g + (i >> 1) * 8][t + (i & 1)] = x->c[i];
    }
    for (int m = 0; m < 16; ++m)
        for (int k = 0; k < 16; ++k)
            for (int n = 0; n < 8; ++n) d[m][n] += a[m][k] * b[k][n];
    for (unsigned l = 0; l < kWarp; ++l)
        for (int i = 0; i < 4; ++i) static_cast<MmaLane*>(p[l])->d[i] = d[l / 4 + (i >> 1) * 8][2 * (l % 4) + (i & 1)];
}
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Site at) {
    MmaLane lane{d, a, b, c};
    warp_op("mma.m16n8k16", ~0u, &lane, finish_mma, at);
}

}  // namespace cuemu

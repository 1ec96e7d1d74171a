// wgmma on the CPU: a product takes effect at its issue or as late as the wait that covers it, like every asynchronous
// instruction (async.cpp).
#include <cstring>

#include "cuemu/async.h"
#include "cuemu/async_parts.h"
#include "cuemu/check.h"

namespace cuemu {

// Bits of a shared memory matrix descriptor: 0-13 address / 16, 16-29 leading and 32-45 stride byte offset / 16, 62-63
// swizzle (1: 128 B, 2: 64, 3: 32, 0: none). Where the 16 bytes lie that hold element (r, k), r being a row of A (a
// column of B), with w the swizzle's width in bytes:
//   k-major    8 k of one row    (r / 8) stride + (r % 8) w + (k / 8) 16           unswizzled: w = 16, k / 8 times lead
//   mn-major   8 rows of one k   (r / (w / 2)) lead + (r % (w / 2) / 8) 16 + (k / 8) stride + (k % 8) w
static unsigned operand_address(const WgmmaOperand& o, int r, int k) {
    const unsigned start = unsigned(o.desc & 0x3fff) << 4, lead = unsigned(o.desc >> 16 & 0x3fff) << 4,
                   stride = unsigned(o.desc >> 32 & 0x3fff) << 4, mode = unsigned(o.desc >> 62), bits = mode ? 4 - mode : 0;
    const unsigned width = 16u << bits, across = width / 2;  // bytes, elements
    unsigned at = start;
    if (o.mn_major) {
        if (!mode) fault("wgmma: an mn-major operand without swizzle has no twin");
        at += unsigned(r) / across * lead + unsigned(r) % across / 8 * 16 + unsigned(k) / 8 * stride + unsigned(k) % 8 * width;
    } else {
        at += unsigned(r) / 8 * stride + unsigned(r) % 8 * width + unsigned(k) / 8 * (mode ? 16 : lead);
    }
    return swizzled(at, bits);
}
static void read_operand(const WgmmaOperand& o, int rows, float (*out)[16], const void* pc) {
    const int step_r = o.mn_major ? 8 : 1, step_k = o.mn_major ? 1 : 8;  // what one read of 16 bytes covers
    for (int r = 0; r < rows; r += step_r)
        for (int k = 0; k < 16; k += step_k) {
            const unsigned char* p = self->block->smem + operand_address(o, r, k);
            need_shared(p, 16, 16, "wgmma");
            for (const TmaLoad& t : blk->tma)
                if (p + 16 > t.dst && p < t.dst + t.map.box_rows * t.map.box_cols * t.map.elem)
                    fault("wgmma reads shared address 0x%x, where a TMA load is still in flight", shared_address(p));
            check::read(p, 16, pc, check::Proxy::async);
            unsigned v[4];
            memcpy(v, p, 16);
            for (int i = 0; i < 8; ++i)
                out[o.mn_major ? r + i : r][o.mn_major ? k : k + i] = i % 2 ? bf16_hi(v[i / 2]) : bf16_lo(v[i / 2]);
        }
}

// a as the threads hold it: two rows each, of each eight columns two.
static void read_fragments(const Wgmma& w, float (*out)[16]) {
    for (int t = 0; t < 128; ++t)
        for (int i = 0; i < 4; ++i) {
            float* at = &out[t / 32 * 16 + t % 32 / 4 + i % 2 * 8][i / 2 * 8 + t % 4 * 2];
            at[0] = bf16_lo(w.fragment[t][i]), at[1] = bf16_hi(w.fragment[t][i]);
        }
}

static void run(const Wgmma& w, WarpgroupState& g) {
    static thread_local float a[64][16], b[256][16], bt[16][256], d[64][256];
    w.a_in_registers ? read_fragments(w, a) : read_operand(w.a, 64, a, w.pc);
    read_operand(w.b, w.n, b, w.pc);
    if (CUEMU_CHECK) check::release(*self, g.clock);
    for (int n = 0; n < w.n; ++n)
        for (int k = 0; k < 16; ++k) bt[k][n] = b[n][k];
    for (int m = 0; m < 64; ++m) {
        for (int n = 0; n < w.n; ++n) d[m][n] = 0;
        for (int k = 0; k < 16; ++k)
            for (int n = 0; n < w.n; ++n) d[m][n] += a[m][k] * bt[k][n];
    }
    for (int t = 0; t < 128; ++t)  // warp t/32 holds rows 16 (t/32) ..; columns as in mma.sync
        for (int i = 0; i < w.n / 2; ++i) {
            float v = d[t / 32 * 16 + t % 32 / 4 + (i >> 1 & 1) * 8][i / 4 * 8 + t % 4 * 2 + (i & 1)];
            w.acc[t][i] = (w.accumulate ? w.acc[t][i] : 0.0f) + v;
        }
}

void wgmma_fence() { self->wg_fence = true; }

static void issue(int n, float* acc, const unsigned* fragment, WgmmaOperand a, WgmmaOperand b, bool accumulate, Site at) {
    Runner& r = *blk;
    if (r.total < (self->linear / 128 + 1) * 128) fault("wgmma needs whole warpgroups of 128 threads");
    if (!self->wg_fence) fault("wgmma at %s:%d without a wgmma.fence since the last wait", at.file, at.line);
    WarpgroupState& g = r.warpgroups[self->linear / 128];
    if (g.arrived++ == 0) g.forming = {n, fragment != nullptr, a, b, accumulate, self->wg_committed, {}, {}, CUEMU_PC};
    Wgmma& w = g.forming;
    if (w.n != n || w.a != a || w.b != b || w.accumulate != accumulate)
        fault("wgmma at %s:%d: the threads of the warpgroup disagree on the operands", at.file, at.line);
    w.acc[self->linear % 128] = acc;
    w.fragment[self->linear % 128] = fragment;
    self->wg_acc = acc;
    self->wg_acc_bytes = size_t(n) / 2 * sizeof(float);
    g.waiting.push_back(self);
    if (g.arrived < 128) return r.block_on("wgmma", 0, at);
    g.arrived = 0;
    g.queue.push_back(w);
    if (land_now()) {  // with whatever was issued before it
        for (const Wgmma& q : g.queue) run(q, g);
        g.queue.clear();
    } else {  // it runs at the wait, but the operands must be there already
        static thread_local float sink[256][16];
        if (!w.a_in_registers) read_operand(w.a, 64, sink, w.pc);
        read_operand(w.b, n, sink, w.pc);
    }
    for (Thread* t : g.waiting) r.make_ready(*t);
    g.waiting.clear();
    r.suspend();
}
void wgmma(int n, float* acc, WgmmaOperand a, WgmmaOperand b, bool accumulate, Site at) { issue(n, acc, nullptr, a, b, accumulate, at); }
void wgmma(int n, float* acc, const unsigned* a, WgmmaOperand b, bool accumulate, Site at) { issue(n, acc, a, {}, b, accumulate, at); }
void wgmma_commit() { ++self->wg_committed; }
void wgmma_wait(unsigned allowed, Site at) {
    if (skipped(at)) return;
    WarpgroupState& g = blk->warpgroups[self->linear / 128];
    auto& q = g.queue;
    if (!q.empty()) blk->wait_late();
    size_t done = 0;
    while (done < q.size() && q[done].group + allowed < self->wg_committed) run(q[done++], g);
    q.erase(q.begin(), q.begin() + done);
    if (CUEMU_CHECK) check::acquire(*self, g.clock);
    self->wg_fence = false;
    if (allowed == 0) self->wg_acc_bytes = 0;
}

}  // namespace cuemu

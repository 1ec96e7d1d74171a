// cp.async, ldmatrix, mma.sync, mbarrier, TMA and wgmma on the CPU.
//
// An asynchronous operation may take effect at any time between its issue and the wait
// that covers it. options().async picks when: eager (at issue), lazy (as late as allowed;
// until then the destination holds NaNs), random.
#include "cuemu/async.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstring>

#include "cuemu/check.h"
#include "cuemu/device.h"

namespace cuemu {

static bool land_now() {
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
static void need_shared(const void* p, size_t bytes, size_t align, const char* op) {
    auto* c = static_cast<const unsigned char*>(p);
    if (reinterpret_cast<uintptr_t>(p) % align)
        fault("%s: shared address 0x%x is not %zu-byte aligned", op, shared_address(p), align);
    if (c >= blk->dyn_smem() && c + bytes <= blk->dyn_smem() + blk->launch->dyn_smem) return;
    for (auto& v : blk->statics)
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
    if (c < blk->smem || c >= blk->smem + kSmemSpan) fault("%p is not in shared memory", p);
    return unsigned(c - blk->smem);
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

static float bf16_lo(unsigned v) { return __uint_as_float(v << 16); }
static float bf16_hi(unsigned v) { return __uint_as_float(v & 0xffff0000u); }

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

// ---- mbarrier ---------------------------------------------------------------------
struct MBar {  // as in hardware, 64 opaque bits in shared memory
    uint64_t pending : 20, count : 20;
    int64_t tx : 22;
    uint64_t phase : 1, invalid : 1;  // poisoned memory reads as invalid
};
static_assert(sizeof(MBar) == 8);

static MBar& mbar(uint64_t* bar, const char* op) {
    need_shared(bar, 8, 8, op);
    auto& b = *reinterpret_cast<MBar*>(bar);
    if (b.invalid) fault("%s: the mbarrier at shared address 0x%x was never initialised", op, shared_address(bar));
    return b;
}
static bool passed(const uint64_t* bar, unsigned parity) { return reinterpret_cast<const MBar*>(bar)->phase != parity; }
static void mbar_settle(uint64_t* bar) {
    auto& b = *reinterpret_cast<MBar*>(bar);
    if (b.pending || b.tx) return;
    b.phase ^= 1;
    b.pending = b.count;
    auto& waiting = blk->mbar_waiting;
    for (size_t i = 0; i < waiting.size();) {
        Thread& t = *waiting[i];
        if (t.wait_mbar == bar && passed(bar, t.wait_parity)) {
            if (CUEMU_CHECK) check::acquire(t, *check::mbar_clock(bar));
            blk->make_ready(t);
            waiting.erase(waiting.begin() + i);
        } else {
            ++i;
        }
    }
}

void mbar_init(uint64_t* bar, unsigned arrivals) {
    need_shared(bar, 8, 8, "mbarrier.init");
    if (!arrivals) fault("mbarrier.init with a count of zero");
    check::write(bar, 8, CUEMU_PC);
    MBar b{};
    b.pending = b.count = arrivals;
    memcpy(bar, &b, 8);
}
void mbar_arrive(uint64_t* bar, unsigned tx) {
    MBar& b = mbar(bar, "mbarrier.arrive");
    check::atomic(bar, 8, CUEMU_PC);
    if (CUEMU_CHECK) check::release(*self, *check::mbar_clock(bar));
    b.tx += tx;
    if (!b.pending) fault("mbarrier.arrive: more arrivals in one phase than the %u expected", unsigned(b.count));
    b.pending -= 1;
    mbar_settle(bar);
}
bool mbar_try_wait(uint64_t* bar, unsigned parity) {
    mbar(bar, "mbarrier.try_wait");
    check::atomic(bar, 8, CUEMU_PC);
    if (!passed(bar, parity)) {
        blk->wait_late();  // so that a loop around try_wait lets late copies land
        yield();
        return false;
    }
    if (CUEMU_CHECK) check::acquire(*self, *check::mbar_clock(bar));
    return true;
}
void mbar_wait(uint64_t* bar, unsigned parity, Site at) {
    if (skipped(at)) return;
    mbar(bar, "mbarrier.wait");
    check::atomic(bar, 8, CUEMU_PC);
    if (!passed(bar, parity)) {  // mbar_settle wakes us
        self->wait_mbar = bar;
        self->wait_parity = parity;
        blk->mbar_waiting.push_back(self);
        blk->block_on("mbarrier wait", 0, at);
    } else if (CUEMU_CHECK) {
        check::acquire(*self, *check::mbar_clock(bar));
    }
}
void fence_proxy_async() { check::proxy_fence(*self); }

// ---- TMA --------------------------------------------------------------------------
static unsigned swizzled(unsigned address, unsigned bits) {  // Swizzle<bits, 4, 3>
    return address ^ ((address >> 7 & ((1u << bits) - 1)) << 4);
}

static void land(const TmaLoad& t) {
    const TensorMap2D& m = t.map;
    unsigned char* smem = blk->smem;
    const unsigned to = unsigned(t.dst - smem), row_bytes = m.box_cols * m.elem;
    for (unsigned r = 0; r < m.box_rows; ++r)
        for (unsigned c = 0; c < m.box_cols; ++c) {
            unsigned char* d = smem + swizzled(to + r * row_bytes + c * m.elem, m.swizzle);
            const int64_t y = int64_t(t.y) + r, x = int64_t(t.x) + c;
            if (y >= 0 && y < int64_t(m.rows) && x >= 0 && x < int64_t(m.cols))
                memcpy(d, m.base + y * m.row_bytes + x * m.elem, m.elem);
            else
                memset(d, 0, m.elem);  // outside the tensor
        }
    const unsigned bytes = m.box_rows * row_bytes;
    check::async_end(t.dst, bytes, nullptr);
    reinterpret_cast<MBar*>(t.mbar)->tx -= bytes;
    mbar_settle(t.mbar);
}

void Runner::wait_late() {
    if (async != Options::Async::lazy) return;
    late.push_back(self);
    block_on("an asynchronous operation", 0, {});
}

bool Runner::land_async() {
    const bool mixed = options().async == Options::Async::random;
    if (tma.empty() || (mixed && !late.empty() && rng.below(2))) {
        if (late.empty()) return false;
        for (Thread* t : late) make_ready(*t);
        late.clear();
        return true;
    }
    size_t i = mixed ? rng.below(unsigned(tma.size())) : 0;
    TmaLoad t = tma[i];
    tma.erase(tma.begin() + i);
    land(t);
    return true;
}

void tma_load_2d(void* dst, const void* tensor_map, uint64_t* bar, int x, int y) {
    const auto& m = *static_cast<const TensorMap2D*>(tensor_map);
    const unsigned bytes = m.box_rows * m.box_cols * m.elem;
    need_shared(dst, bytes, 128, "cp.async.bulk.tensor");
    mbar(bar, "cp.async.bulk.tensor");
    check::atomic(bar, 8, CUEMU_PC);
    check::async_begin(dst, bytes, CUEMU_PC);
    TmaLoad t{static_cast<unsigned char*>(dst), m, bar, x, y};
    if (CUEMU_CHECK) check::release(*self, *check::mbar_clock(bar));  // for whoever waits on bar
    if (land_now()) return land(t);
    memset(dst, kPoison, bytes);
    blk->tma.push_back(t);
}

// ---- wgmma ------------------------------------------------------------------------
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
            const unsigned char* p = blk->smem + operand_address(o, r, k);
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
    if (r.nthreads < (self->linear / 128 + 1) * 128) fault("wgmma needs whole warpgroups of 128 threads");
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

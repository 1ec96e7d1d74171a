// mbarriers and TMA on the CPU: boxes land, when async.cpp says how late they may, in the block that asked for them or in
// several of its cluster, and are counted by the mbarrier there.
#include <cstring>

#include "cuemu/async.h"
#include "cuemu/async_parts.h"
#include "cuemu/check.h"

namespace cuemu {

// ---- mbarrier ---------------------------------------------------------------------
struct MBar {  // as in hardware, 64 opaque bits in shared memory
    uint64_t pending : 20, count : 20;
    int64_t tx : 22;
    uint64_t phase : 1, invalid : 1;  // poisoned memory reads as invalid
};
static_assert(sizeof(MBar) == 8);

static void initialised(uint64_t* bar, const char* op) {  // in whichever block of the cluster
    if (!reinterpret_cast<const MBar*>(bar)->invalid) return;
    const Block& owner = blk->block_of(bar);
    fault("%s: the mbarrier at shared address 0x%x of block %u was never initialised", op, unsigned(reinterpret_cast<unsigned char*>(bar) - owner.smem), owner.rank);
}
static void mbar(uint64_t* bar, const char* op) {
    need_shared(bar, 8, 8, op);
    initialised(bar, op);
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
static void arrive(uint64_t* bar, unsigned tx, const void* pc) {
    auto& b = *reinterpret_cast<MBar*>(bar);
    check::atomic(bar, 8, pc);
    if (CUEMU_CHECK) check::release(*self, *check::mbar_clock(bar));
    b.tx += tx;
    if (!b.pending) fault("mbarrier.arrive: more arrivals in one phase than the %u expected", unsigned(b.count));
    b.pending -= 1;
    mbar_settle(bar);
}
void mbar_arrive(uint64_t* bar, unsigned tx) {
    mbar(bar, "mbarrier.arrive");
    arrive(bar, tx, CUEMU_PC);
}
// What lies where p does, in block `rank` of the cluster.
template <class T>
static T* in_block(T* p, unsigned rank, const char* op) {
    if (rank >= blk->nblocks) fault("%s: no block %u in a cluster of %u", op, rank, blk->nblocks);
    if (!blk->blocks[rank].live) fault("%s: block %u of the cluster has ended", op, rank);
    if (p < (void*)self->block->dyn_smem() || p >= (void*)(self->block->dyn_smem() + blk->launch->dyn_smem)) fault("%s: only dynamic shared memory has a twin in other blocks", op);
    return reinterpret_cast<T*>(blk->blocks[rank].smem + shared_address(p));
}
void mbar_arrive_at(uint64_t* bar, unsigned rank) {
    need_shared(bar, 8, 8, "mbarrier.arrive");
    uint64_t* there = in_block(bar, rank, "mbarrier.arrive");
    initialised(there, "mbarrier.arrive");
    arrive(there, 0, CUEMU_PC);
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
unsigned swizzled(unsigned address, unsigned bits) {  // Swizzle<bits, 4, 3>
    return address ^ ((address >> 7 & ((1u << bits) - 1)) << 4);
}

static void land(const TmaLoad& t) {
    const TensorMap2D& m = t.map;
    Block& block = blk->block_of(t.dst);
    if (!block.live) {
        blk->fault_text = "cuemu: " + context() + ":\n  a TMA load lands in block " + std::to_string(block.rank) + " of the cluster, which has ended";
        blk->faulted = true;
        return;
    }
    unsigned char* smem = block.smem;
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

static void load(void* dst, const TensorMap2D& m, uint64_t* bar, int x, int y, const void* pc) {
    const unsigned bytes = m.box_rows * m.box_cols * m.elem;
    initialised(bar, "cp.async.bulk.tensor");
    check::atomic(bar, 8, pc);
    check::async_begin(dst, bytes, pc);
    TmaLoad t{static_cast<unsigned char*>(dst), m, bar, x, y};
    if (CUEMU_CHECK) check::release(*self, *check::mbar_clock(bar));  // for whoever waits on bar
    if (land_now()) return land(t);
    memset(dst, kPoison, bytes);
    blk->tma.push_back(t);
}
static const TensorMap2D& box_into(void* dst, const void* tensor_map, uint64_t* bar) {
    const auto& m = *static_cast<const TensorMap2D*>(tensor_map);
    need_shared(dst, m.box_rows * m.box_cols * m.elem, 128, "cp.async.bulk.tensor");
    need_shared(bar, 8, 8, "cp.async.bulk.tensor");
    return m;
}
void tma_load_2d(void* dst, const void* tensor_map, uint64_t* bar, int x, int y) {
    load(dst, box_into(dst, tensor_map, bar), bar, x, y, CUEMU_PC);
}
void tma_load_2d_multicast(void* dst, const void* tensor_map, uint64_t* bar, int x, int y, unsigned blocks) {
    const TensorMap2D& m = box_into(dst, tensor_map, bar);
    for (unsigned rank = 0; rank < 16; ++rank)
        if (blocks >> rank & 1) load(in_block(dst, rank, "cp.async.bulk.tensor"), m, in_block(bar, rank, "cp.async.bulk.tensor"), x, y, CUEMU_PC);
}

}  // namespace cuemu

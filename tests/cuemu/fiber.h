// Switching between stacks. x86-64: six callee-saved registers and the stack
// pointer, about 5 ns. Elsewhere, or with CUEMU_UCONTEXT=1: ucontext, about 160 ns.
#pragma once
#include <cstddef>

#ifndef CUEMU_UCONTEXT
#if defined(__x86_64__)
#define CUEMU_UCONTEXT 0
#else
#define CUEMU_UCONTEXT 1
#endif
#endif

#if CUEMU_UCONTEXT
#include <ucontext.h>

#include <new>
namespace cuemu {
inline void switch_stack(void** save, void* load) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, static_cast<ucontext_t*>(load));
}
inline void* make_stack(char* base, size_t size, void (*entry)()) {
    auto* c = new (base) ucontext_t;  // the context itself lives at the bottom of the stack
    getcontext(c);
    c->uc_stack.ss_sp = base + sizeof *c;
    c->uc_stack.ss_size = size - sizeof *c;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    return c;
}
}  // namespace cuemu
#else
extern "C" void cuemu_switch_stack(void** save_sp, void* load_sp);
namespace cuemu {
inline void switch_stack(void** save, void* load) { cuemu_switch_stack(save, load); }
inline void* make_stack(char* base, size_t size, void (*entry)()) {
    auto** sp = reinterpret_cast<void**>(base + size);
    *--sp = nullptr;                              // return address of entry: ends backtraces
    *--sp = reinterpret_cast<void*>(entry);       // popped by the first switch
    for (int i = 0; i < 6; ++i) *--sp = nullptr;  // rbp rbx r12 r13 r14 r15
    return sp;
}
}  // namespace cuemu
#endif

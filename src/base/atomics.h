/* atomics.h - C11 atomics under names that say what an ordering is for.
 *
 * Every fence in the project is one of these, so that a reader can ask of each use "which store does it make
 * visible to whom", and so that TSan sees ordinary C11 atomics. */
#ifndef AC_ATOMICS_H
#define AC_ATOMICS_H

#include <stdatomic.h>

/* A counter or hint that orders nothing else. */
#define ac_load_relaxed(p)     atomic_load_explicit((p), memory_order_relaxed)
#define ac_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define ac_add_relaxed(p, v)   atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
/* Publish: whoever sees this value by ac_load_acquire sees all that was written before it. */
#define ac_load_acquire(p)     atomic_load_explicit((p), memory_order_acquire)
#define ac_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define ac_add_release(p, v)   atomic_fetch_add_explicit((p), (v), memory_order_release)
/* Take and give over in one step. */
#define ac_swap_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define ac_cas_acq_rel(p, expected, v)                                                                       \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire)
/* Store-then-load across two variables (sleeper against waker) needs the full fence. */
#define ac_fence_full() atomic_thread_fence(memory_order_seq_cst)

#endif

/* repair.c - what a wild write in a worker may have changed of the head, written again.
 *
 * The head is where workers find everything. All that only the parent writes there is known to its private
 * books too, so it is simply stored once more: before a worker is started, which would refuse a head that
 * does not add up, and at each audit. Sound values are overwritten with themselves, so workers may be reading
 * them. What workers write (idle bits, the spinner, lists) is never a truth: see queue.c and done.c. */
#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"

/* Nobody spins for so long; while it stands, nobody else may. Who does stand there takes it back in vain. */
static void repair_spinner(struct ac__head *head) {
    uint64_t spinner = ac_load_relaxed(&head->spinner);
    uint64_t age_us = (uint64_t)ac_now_ns() / 1000 - (spinner >> 16);
    if (spinner != 0 && age_us > AC__AUDIT_NS / 1000) {
        ac_cas_acq_rel(&head->spinner, &spinner, 0);
    }
}

void ac__repair(struct ac_pool *pool) {
    struct ac__head *head = pool->side.segment.head;
    uint32_t used = 0;
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        used = pool->peers[worker].life != AC__LIFE_NONE ? worker + 1 : used;
    }
    ac__segment_head(&pool->side.segment);
    ac_store_release(&head->config, pool->config);
    ac_store_release(&head->seats_used,
                     ac_min(ac_max(ac_load_relaxed(&head->seats_used), used), (uint32_t)AC_POOL_WORKERS));
    ac_store_release(&head->closing, pool->closing);
    ac__queue_repair(&pool->side, &pool->queue);
    repair_spinner(head);
}

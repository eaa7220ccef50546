/* mean_mpi.c - class sums and leave-one-out counts over all ranks: exact, so the same bits for any number of
 * them. */
#include "prime/mean.h"

npr_status npr_means_reduce(const npr_comm *comm, npr_means *m)
{
    npr_means_settle(m);
    npr_sum_i64(comm, m->count, (size_t)m->classes);
    npr_sum_i64(comm, m->weight, (size_t)m->classes);
    NPR_TRY(
        npr_means_check(m)); /* the same answer on all ranks: beyond the limit the sums would not be exact */
    npr_sum_f64_exact(comm, m->sum, (size_t)m->classes * (size_t)m->dim);
    return NPR_OK;
}

void npr_loo_reduce(const npr_comm *comm, npr_loo *l)
{
    npr_sum_i64(comm, l->right, ((size_t)l->steps + 1) * (size_t)l->means->classes);
    npr_sum_i64(comm, l->seen, (size_t)l->means->classes);
}

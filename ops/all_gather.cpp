#include <numeric>

#include "ops/host.h"

namespace eng {

Tensor all_gather(const Tensor& x, Comm& comm, const std::vector<std::int64_t>& rows) {
    ENG_CHECK(x.shape().rank > 0, "all_gather", "wants rows, got ", x.shape());
    if (comm.alone()) return x;
    Shape whole = x.shape();
    whole.dim[0] = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    const Tensor y = x.like(whole);
    comm.all_gather(x, y, rows);
    if (!wants_grad({&x})) return y;
    return Tape::recording->record_thunk("all_gather", {x}, y, {}, [&comm, rows, shape = x.shape()](Backward& b) {
        const Tensor own = b.gout.like(shape);
        comm.reduce_scatter(b.gout, own, rows);
        pass_on(b, 0, own);
    });
}

}  // namespace eng

// Index tensors and the sequences made of them.
#include "engine/transfer.h"
#include "ops/host.h"

namespace eng {

Tensor indices(Arena& arena, const std::vector<std::int32_t>& values) {
    return upload(arena, Shape{std::int64_t(values.size())}, values);
}

Seqs make_seqs(Arena& arena, std::vector<std::int32_t> begin, std::vector<std::int32_t> len, bool shared) {
    Seqs s;
    std::vector<std::int32_t> packed;
    s.count = int(begin.size());
    for (const std::int32_t n : len) {
        packed.push_back(std::int32_t(s.total));
        s.total += n;
        s.max_len = std::max(s.max_len, int(n));
    }
    s.begin = indices(arena, begin), s.len = indices(arena, len), s.out = indices(arena, packed);
    s.shared = shared;
    s.host_begin = std::move(begin), s.host_len = std::move(len);
    return s;
}
Seqs packed_seqs(Arena& arena, const std::vector<std::int32_t>& lens) {
    std::vector<std::int32_t> begin;
    std::int32_t at = 0;
    for (const std::int32_t n : lens) begin.push_back(at), at += n;
    return make_seqs(arena, std::move(begin), lens, false);
}
Seqs uniform_seqs(Arena& arena, int count, int len, int first, int stride) {
    Seqs s = repeat_seqs(arena, count, 1, len, first, stride);
    for (int i = 0; i < count; ++i) s.host_begin.push_back(first + i * (stride ? stride : len)), s.host_len.push_back(len);
    return s;
}
Seqs repeat_seqs(Arena& arena, int count, int times, int len, int first, int stride) {
    const std::int64_t n = std::int64_t(count) * times;
    Seqs s;
    s.begin = count_up(arena, n, first, stride ? stride : len, times, 0), s.len = count_up(arena, n, len, 0), s.out = count_up(arena, n, 0, len);
    s.count = int(n), s.max_len = count ? len : 0, s.total = n * len, s.shared = times > 1;
    return s;
}
Seqs pick(Arena& arena, const Seqs& s, const std::vector<std::int32_t>& which) {
    ENG_CHECK(s.host_begin.size() == std::size_t(s.count), "pick", "of sequences that were made on the device");
    std::vector<std::int32_t> begin, len;
    for (const std::int32_t i : which) {
        ENG_CHECK(i >= 0 && i < s.count, "pick", "sequence ", i, " of ", s.count);
        begin.push_back(s.host_begin[i]), len.push_back(s.host_len[i]);
    }
    return make_seqs(arena, std::move(begin), std::move(len), true);
}
Seqs pick(const Seqs& s, const Tensor& which, std::int64_t total) {
    Seqs p;
    p.begin = which.like(), p.len = which.like(), p.out = which.like();
    run_pick_seqs(which.device(), {in(s.begin), in(s.len), in(which), out(p.begin), out(p.len), out(p.out)});
    p.count = int(which.numel()), p.max_len = s.max_len, p.total = total, p.shared = true;
    return p;
}
Seqs results_of(const Seqs& s) {
    Seqs r = s;
    r.begin = s.out, r.shared = false;
    std::int32_t at = 0;
    for (std::size_t i = 0; i < s.host_len.size(); ++i) r.host_begin[i] = at, at += s.host_len[i];
    return r;
}

Tensor count_up(Arena& arena, std::int64_t n, std::int32_t first, std::int32_t outer_step, std::int32_t inner, std::int32_t inner_step) {
    const Tensor y(arena, {n}, DType::i32);
    count_up(y, first, outer_step, inner, inner_step);
    return y;
}
void count_up(const Tensor& y, std::int32_t first, std::int32_t outer_step, std::int32_t inner, std::int32_t inner_step) {
    run_count_up(y.device(), {out(y), first, inner, outer_step, inner_step});
}

Tensor match_labels(const Tensor& rows, const Tensor& cols) {
    ENG_CHECK(rows.dtype() == DType::i32 && cols.dtype() == DType::i32, "match_labels", "labels of ", name_of(rows.dtype()), " and ", name_of(cols.dtype()), ", want i32");
    const Tensor match = rows.like(Shape{rows.numel(), cols.numel()});
    run_match_labels(rows.device(), {in(rows), in(cols), out(match)});
    return match;
}

void group_alike(const Tensor& scores, const Tensor& labels, int size, const Tensor& order, std::int32_t first) {
    const std::int64_t n = labels.numel();
    ENG_CHECK(scores.shape() == (Shape{n, n}) && order.numel() == n && size > 0, "group_alike", "scores ", scores.shape(), ", ", n, " labels, order ",
              order.shape(), ", groups of ", size);
    run_group_alike(scores.device(), {in(scores), in(labels), out(order), size, first});
}

PairUp pair_up(const Tensor& order, const Tensor& labels, std::int64_t first, std::int64_t n, int size, DType dtype) {
    ENG_CHECK(order.numel() == labels.numel() && first >= 0 && first + n <= order.numel() && size > 0, "pair_up", "order ", order.shape(), ", labels ",
              labels.shape(), ", rows ", first, " to ", first + n, ", groups of ", size);
    const Shape s{n, size};
    PairUp p{order.like(s), order.like(s), order.like(s), order.like(s, dtype), order.like(Shape{n})};
    run_pair_up(order.device(), {in(order), in(labels), out(p.text), out(p.by_text), out(p.match), out(p.negative), out(p.own), std::int32_t(first)});
    return p;
}

}  // namespace eng

// Kernels that move rows. Scatters are split by columns, so every sum runs in the order of the rows.

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

// Splits columns over threads: body(first column, last column).
template <class Body> void by_columns(std::int64_t cols, Body&& body) { parallel_for(cols, 16, body); }

void check_row(const char* op, std::int64_t i, std::int64_t rows) {
    ENG_CHECK(i >= 0 && i < rows, op, "row ", i, " of ", rows);
}

}  // namespace

void gather_rows(const GatherRowsArgs& a) {
    dispatch_float(a.x.dtype, "gather_rows", [&](auto tag) {
        using T = decltype(tag);
        const auto* idx = ptr<std::int32_t>(a.idx);
        for (std::int64_t n = 0; n < a.y.rows; ++n) {
            check_row("gather_rows", idx[n], a.x.rows);
            std::memcpy(row<T>(a.y, n), row<T>(a.x, idx[n]), std::size_t(a.x.cols) * sizeof(T));
        }
    });
}

void scatter_add_rows(const ScatterAddRowsArgs& a) {
    zero_if_write(a.dx);
    const auto* idx = ptr<std::int32_t>(a.idx);
    dispatch_float(a.dy.dtype, "scatter_add_rows", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        dispatch_float(a.dx.dtype, "scatter_add_rows", [&](auto dtag) {
            using D = decltype(dtag);
            // Sums of repeated rows are kept wide: rounding to bf16 after every addition would lose most of them.
            std::vector<A> wide(std::size_t(a.dx.numel()), A(0));
            by_columns(a.dx.cols, [&](std::int64_t b, std::int64_t e) {
                for (std::int64_t n = 0; n < a.dy.rows; ++n)
                    for (std::int64_t c = b; c < e; ++c) wide[idx[n] * a.dx.cols + c] += A(row<T>(a.dy, n)[c]);
            });
            parallel_for(a.dx.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
                emit_range<D>(a.dx, b, e, [&](std::int64_t i) { return wide[i]; });
            });
        });
    });
}

void segment_max_forward(const SegmentMaxFwd& a) {
    dispatch_float(a.x.dtype, "segment_max", [&](auto tag) {
        using T = decltype(tag);
        const auto *begin = ptr<std::int32_t>(a.begin), *len = ptr<std::int32_t>(a.len);
        parallel_for(a.y.rows, 1, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t s = b; s < e; ++s) {
                T* y = row<T>(a.y, s);
                auto* at = row<std::int32_t>(a.argmax, s);
                for (std::int64_t c = 0; c < a.y.cols; ++c) y[c] = row<T>(a.x, begin[s])[c], at[c] = begin[s];
                for (std::int64_t r = begin[s] + 1; r < begin[s] + len[s]; ++r) {
                    const T* x = row<T>(a.x, r);
                    for (std::int64_t c = 0; c < a.y.cols; ++c)
                        if (beats(acc_t<T>(x[c]), acc_t<T>(y[c]))) y[c] = x[c], at[c] = std::int32_t(r);
                }
            }
        });
    });
}

void segment_max_backward(const SegmentMaxBwd& a) {
    zero_if_write(a.dx);
    dispatch_float(a.dy.dtype, "segment_max", [&](auto tag) {
        using T = decltype(tag);
        for (std::int64_t s = 0; s < a.dy.rows; ++s)
            for (std::int64_t c = 0; c < a.dy.cols; ++c) {
                T& d = row<T>(a.dx, row<std::int32_t>(a.argmax, s)[c])[c];
                store(d, acc_t<T>(d) + acc_t<T>(row<T>(a.dy, s)[c]));
            }
    });
}

void embed_forward(const EmbedFwd& a) {
    dispatch_float(a.table.dtype, "embed_tokens", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const auto *ids = ptr<std::int32_t>(a.ids), *pos = ptr<std::int32_t>(a.positions);
        for (std::int64_t t = 0; t < a.y.rows; ++t) {
            check_row("embed_tokens", ids[t], a.table.rows);
            check_row("embed_tokens: position", pos[t], a.pos.rows);
            const T *e = row<T>(a.table, ids[t]), *p = row<T>(a.pos, pos[t]);
            for (std::int64_t c = 0; c < a.y.cols; ++c) store(row<T>(a.y, t)[c], A(e[c]) + A(p[c]));
        }
    });
}

void embed_backward(const EmbedBwd& a) {
    const auto scatter = [&](const Out& to, const View& index) {
        if (to.mode == Mode::skip) return;
        zero_if_write(to);
        dispatch_float(a.dy.dtype, "embed_tokens", [&](auto tag) {
            using T = decltype(tag);
            dispatch_float(to.dtype, "embed_tokens", [&](auto dtag) {
                using D = decltype(dtag);
                by_columns(to.cols, [&](std::int64_t b, std::int64_t e) {
                    for (std::int64_t t = 0; t < a.dy.rows; ++t) {
                        D* d = row<D>(to, ptr<std::int32_t>(index)[t]);
                        for (std::int64_t c = b; c < e; ++c) d[c] = D(acc_t<D>(d[c]) + acc_t<D>(row<T>(a.dy, t)[c]));
                    }
                });
            });
        });
    };
    scatter(a.dtable, a.ids);
    scatter(a.dpos, a.positions);
}

void class_positions_forward(const ClassPositionsFwd& a) {
    dispatch_float(a.patches.dtype, "add_class_and_positions", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t L = a.pos.rows, C = a.pos.cols;
        parallel_for(a.y.rows, 16, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t r = b; r < e; ++r) {
                const std::int64_t image = r / L, token = r % L;
                const T* x = token ? row<T>(a.patches, image * (L - 1) + token - 1) : ptr<T>(a.cls);
                const T* p = a.pos.p ? row<T>(a.pos, token) : nullptr;
                emit(a.y, r * C, (r + 1) * C, [&](std::int64_t i) { return (x ? A(x[i - r * C]) : A(0)) + (p ? A(p[i - r * C]) : A(0)); });
            }
        });
    });
}

void class_positions_backward(const ClassPositionsBwd& a) {
    dispatch_float(a.dy.dtype, "add_class_and_positions", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t L = a.dpos.rows, C = a.dy.cols, B = a.dy.rows / L;
        const T* dy = ptr<T>(a.dy);
        const std::int64_t P = L - 1;
        for (std::int64_t image = 0; image < B; ++image)
            emit(a.dpatches, image * P * C, (image + 1) * P * C, [&](std::int64_t i) { return A(dy[i + (image + 1) * C]); });
        if (a.dcls.mode == Mode::skip && a.dpos.mode == Mode::skip) return;
        std::vector<A> sums(std::size_t(L * C), A(0));
        parallel_for(L, 4, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t image = 0; image < B; ++image)
                for (std::int64_t i = b * C; i < e * C; ++i) sums[i] += A(dy[image * L * C + i]);
        });
        emit(a.dcls, 0, C, [&](std::int64_t c) { return sums[c]; });
        emit(a.dpos, 0, L * C, [&](std::int64_t i) { return sums[i]; });
    });
}

// One patch row per (image, grid y, grid x); flip, shift, erase and normalise are folded into the read.
void patchify(const PatchifyArgs& a) {
    const int gh = (a.height - a.patch) / a.stride + 1, gw = (a.width - a.patch) / a.stride + 1;
    dispatch_float(a.y.dtype, "patchify", [&](auto tag) {
        using T = decltype(tag);
        float black[3], gain[3];
        for (int c = 0; c < 3; ++c) black[c] = -a.mean[c] / a.std[c], gain[c] = 1.f / (255.f * a.std[c]);
        parallel_for(a.y.rows, 4, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t r = first; r < last; ++r) {
                const std::int64_t image = r / (gh * gw);
                const int py = int(r % (gh * gw)) / gw * a.stride, px = int(r % gw) * a.stride;
                const auto* pixels = row<std::uint8_t>(a.pixels, image);
                static constexpr std::int32_t none[8] = {};
                const std::int32_t* g = a.augment.p ? row<std::int32_t>(a.augment, image) : none;
                T* y = row<T>(a.y, r);
                for (int c = 0; c < 3; ++c)
                    for (int i = 0; i < a.patch; ++i)
                        for (int j = 0; j < a.patch; ++j, ++y) {
                            const int oy = py + i, ox = px + j;  // in the augmented picture
                            if (g[5] && oy >= g[3] && oy < g[3] + g[5] && ox >= g[4] && ox < g[4] + g[6]) {
                                store(*y, a.fill[c]);
                                continue;
                            }
                            const int sy = oy + g[2], shifted = ox + g[1], sx = g[0] ? a.width - 1 - shifted : shifted;
                            const bool inside = sy >= 0 && sy < a.height && sx >= 0 && sx < a.width;
                            store(*y, inside ? float(pixels[(sy * a.width + sx) * 3 + c]) * gain[c] + black[c] : black[c]);
                        }
            }
        });
    });
}

}  // namespace eng::cpu

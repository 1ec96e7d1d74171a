#include "engine/comm/transport.h"

#include "engine/error.h"

namespace eng {

Share share_of(std::int64_t total, int rank, int size) {
    const std::int64_t first = total * rank / size;
    return {first, total * (rank + 1) / size - first};
}
std::vector<std::int64_t> shares_of(std::int64_t total, int size) {
    std::vector<std::int64_t> n;
    for (int r = 0; r < size; ++r) n.push_back(share_of(total, r, size).n);
    return n;
}

void sum_in_order(const std::vector<const void*>& parts, void* sum, std::size_t n, DType dtype) {
    dispatch_float(dtype, "reduce", [&](auto tag) {
        using T = decltype(tag);
        using Wide = std::conditional_t<sizeof(T) == 8, double, float>;
        for (std::size_t i = 0; i < n; ++i) {
            Wide s = Wide(static_cast<const T*>(parts[0])[i]);
            for (std::size_t p = 1; p < parts.size(); ++p) s += Wide(static_cast<const T*>(parts[p])[i]);
            static_cast<T*>(sum)[i] = T(s);
        }
    });
}

void Transport::all_reduce(void* data, std::size_t n, DType dtype) {
    const std::vector<std::int64_t> shares = shares_of(std::int64_t(n), size());
    const std::vector<std::size_t> counts(shares.begin(), shares.end());
    std::vector<std::size_t> bytes;
    for (const std::size_t c : counts) bytes.push_back(c * size_of(dtype));
    std::vector<char> own(bytes[rank()]);
    reduce_scatter(data, own.data(), counts, dtype);
    all_gather(own.data(), data, bytes);
}

}  // namespace eng

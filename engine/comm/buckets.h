#pragma once
// Sums the gradients over ranks while backward still runs. The flat buffer is cut into slices of whole parameters; a slice
// starts as soon as the gradients in it are final. Backward ends where the model begins, so slices start from the buffer's end, and always
// in that order: all ranks agree on it without asking.
#include "engine/comm/comm.h"
#include "engine/tape.h"

namespace eng {

class Buckets {
public:
    Buckets(ParamStore&, Comm&, std::size_t bucket_bytes);
    ~Buckets() { comm_.give_up(); }  // the gradients may go with it
    Buckets(const Buckets&) = delete;
    Buckets& operator=(const Buckets&) = delete;
    void begin(const Tape&);   // its backward is about to run, and makes the gradients final
    void final(const Param&);  // this parameter's is; what backward() calls
    void finish();             // waits for all
    std::size_t count() const { return buckets_.size(); }

private:
    struct Bucket { std::int64_t first, n; };
    int bucket_of(const Param&) const;
    void start_ready();
    ParamStore& params_;
    Comm& comm_;
    std::vector<Bucket> buckets_;  // from the buffer's end
    std::vector<int> of_param_;    // bucket of each parameter
    std::vector<int> left_;         // parameters of each bucket that are not final yet
    std::size_t next_ = 0;
};

}  // namespace eng

// The pool without OpenMP (clang builds): threads of our own that sleep between calls.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/parallel.h"

namespace eng {
namespace {

thread_local bool inside = false;
int wanted = 0;  // 0: as many as the machine has

class Pool {
public:
    ~Pool() {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (auto& t : threads_) t.join();
    }
    void run(int chunks, void (*task)(void*, int), void* context) {
        std::lock_guard one_caller(caller_);
        while (int(threads_.size()) < chunks - 1) threads_.emplace_back([this, i = int(threads_.size())] { work(i + 1); });
        {
            std::lock_guard lock(mutex_);
            task_ = task, context_ = context, chunks_ = chunks, left_ = int(threads_.size()), ++epoch_;
        }
        wake_.notify_all();
        inside = true;
        task(context, 0);
        inside = false;
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] { return left_ == 0; });
    }

private:
    void work(int index) {
        inside = true;
        std::uint64_t seen = 0;
        std::unique_lock lock(mutex_);
        while (true) {
            wake_.wait(lock, [&] { return stop_ || epoch_ != seen; });
            if (stop_) return;
            seen = epoch_;
            if (index < chunks_) {
                const auto task = task_;
                void* const context = context_;
                lock.unlock();
                task(context, index);
                lock.lock();
            }
            if (--left_ == 0) done_.notify_one();
        }
    }
    std::mutex caller_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    void (*task_)(void*, int) = nullptr;
    void* context_ = nullptr;
    int chunks_ = 0, left_ = 0;
    std::uint64_t epoch_ = 0;
    bool stop_ = false;
};

}  // namespace

int num_threads() {
    if (inside) return 1;
    return wanted ? wanted : std::max(1, int(std::thread::hardware_concurrency()));
}
void set_num_threads(int n) { wanted = n < 1 ? 0 : n; }

void run_chunks(int chunks, void (*task)(void*, int), void* context) {
    static Pool pool;
    if (inside || chunks <= 1)
        for (int i = 0; i < chunks; ++i) task(context, i);
    else
        pool.run(chunks, task, context);
}

}  // namespace eng

#include "engine/context_cuda.h"
#include "engine/graph.h"

namespace eng::cuda {
namespace {

class GraphReplay : public Replay {
public:
    explicit GraphReplay(cudaGraph_t graph) : graph_(graph) {
        CUDA_CHECK(cudaGraphInstantiate(&exec_, graph_, 0));
    }
    ~GraphReplay() override {
        if (exec_) cudaGraphExecDestroy(exec_);
        cudaGraphDestroy(graph_);
    }
    void launch() override { CUDA_CHECK(cudaGraphLaunch(exec_, stream())); }

private:
    cudaGraph_t graph_;
    cudaGraphExec_t exec_ = nullptr;
};

}  // namespace

std::unique_ptr<Replay> capture(const std::function<void()>& step) {
    cudaGraph_t graph = nullptr;
    CUDA_CHECK(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
    try {
        step();
    } catch (...) {  // leave the stream usable; what was recorded is void
        cudaStreamEndCapture(stream(), &graph);
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    CUDA_CHECK(cudaStreamEndCapture(stream(), &graph));
    return std::make_unique<GraphReplay>(graph);
}

}  // namespace eng::cuda

#include "bench/ladder/ladder.h"

namespace eng::ladder {

std::span<const Rung<GemmArgs>> gemm_rungs() {
    static const Rung<GemmArgs> rungs[] = {{"naive", gemm_naive}, {"shared", gemm_shared}, {"register", gemm_register}, {"mma.sync", gemm_mma}, {"wgmma/TMA", gemm_wgmma}};
    return rungs;
}

std::span<const Rung<AttentionFwd>> attention_rungs() {
    static const Rung<AttentionFwd> rungs[] = {{"naive", attention_naive}, {"online", attention_online}, {"tiled", attention_tiled}, {"whole", attention_whole}, {"wgmma", attention_wgmma}};
    return rungs;
}

}  // namespace eng::ladder

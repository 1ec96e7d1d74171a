// What the host brings to a training step: batches from the loader's threads, and packing their texts, which the thread that launches the
// kernels does itself. An H200 wants 128 pairs every 28 ms, by count.
//   bench_loader FOLDER [PRESET [BATCH]]     a data set; decoded pictures are kept beside it, and the first run makes them
#include <fmt/format.h>

#include <chrono>

#include "engine/io/json.h"
#include "train/data/loader.h"

using namespace scvd;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Measured { double pairs_per_s, texts_ms; };

// Of so many epochs; one before them fills caches.
Measured measure(const Config& c, const Split& split, Pictures& pictures, const TextBank& bank, const std::vector<TextItem>& items, int epochs) {
    Loader loader(c, split, pictures, items, 0);
    const std::int64_t batches = loader.batches_per_epoch();
    for (std::int64_t n = 0; n < batches; ++n) loader.next();
    eng::Arena arena;
    double texts = 0, pairs = 0;
    const double start = seconds();
    for (std::int64_t n = 0; n < batches * epochs; ++n) {
        const HostBatch b = loader.next();
        const double packing = seconds();
        make_text_batch(arena, bank, b.texts, {c.sd.slots, c.sd.prompt_dropout, c.sd.neutral, std::uint64_t(c.train.seed), b.readings}, true);
        texts += seconds() - packing, pairs += double(b.texts.size());
    }
    return {pairs / (seconds() - start), 1e3 * texts / double(batches * epochs)};
}

}  // namespace

int main(int argc, char** argv) try {
    ENG_CHECK(argc >= 2 && argc <= 4, "bench_loader", "usage: bench_loader FOLDER [PRESET [BATCH]]");
    Config c;
    load_config(c, argc > 2 ? argv[2] : "vit-b16");
    c.data.root = argv[1], c.train.batch = argc > 3 ? std::stoi(argv[3]) : 128;
    c.check();
    const Dataset data = dataset_of(c);
    TextBank bank(c, "");
    const auto pictures = pictures_of(c, data.train);
    const auto items = items_of(bank, data.train);
    for (const int workers : {1, 2, 4}) {
        c.data.workers = workers;
        const Measured m = measure(c, data.train, *pictures, bank, items, 3);
        const eng::OrderedJson row{{"picture", fmt::format("{}x{}", c.model.image.height, c.model.image.width)}, {"batch", c.train.batch}, {"workers", workers},
                                   {"pairs_per_s", m.pairs_per_s}, {"ms_a_batch", 1e3 * c.train.batch / m.pairs_per_s}, {"packing_texts_ms", m.texts_ms}};
        fmt::print("{}\n", eng::json_text(row));
    }
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_loader: {}\n", e.what());
    return 1;
}

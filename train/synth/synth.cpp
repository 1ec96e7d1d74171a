#include "train/synth/synth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "engine/error.h"
#include "engine/io/json.h"
#include "train/data/image_write.h"
#include "train/synth/write.h"

namespace scvd {
namespace {

using namespace synth;

struct SplitPlan {
    const char* name;
    int identities, images;
};

void check(const SynthOptions& o) {
    ENG_CHECK(o.train >= 0 && o.val >= 0 && o.test >= 0, "synth", "identities are train ", o.train, ", val ", o.val,
              ", test ", o.test, ", want none below 0");
    ENG_CHECK(std::int64_t(o.train) + o.val + o.test > 0, "synth",
              "a set of zero identities was asked for, want at least 1");
    ENG_CHECK(std::int64_t(o.train) + o.val + o.test <= 1000000, "synth", "want at most 1000000 identities");
    for (const auto& [name, n] : {std::pair{"train", o.train_images}, {"val", o.val_images}, {"test", o.test_images}})
        ENG_CHECK(n >= 1 && n <= 100, "synth", name, " images per identity are ", n, ", want 1 to 100");
    for (int side : {o.width, o.height})
        ENG_CHECK(side >= 32 && side <= 1024, "synth", "pictures are ", o.width, "x", o.height,
                  " pixels, want sides of 32 to 1024");
    ENG_CHECK(o.jpeg_low >= 1 && o.jpeg_low <= o.jpeg_high && o.jpeg_high <= 100, "synth", "JPEG qualities are ",
              o.jpeg_low, " to ", o.jpeg_high, ", want a range within 1 to 100");
    ENG_CHECK(o.twin_share >= 0 && o.twin_share <= 1, "synth", "twin_share is ", o.twin_share, ", want 0 to 1");
    ENG_CHECK(o.threads >= 0 && o.threads <= 1024, "synth", "threads is ", o.threads, ", want 0 (all) to 1024");
}

// All identities of one split, twins at places drawn by lot. No two identities of a set are equal.
void add_figures(std::vector<Figure>& all, std::set<std::array<int, attribute_count>>& known, const SynthOptions& o,
                 const SplitPlan& split) {
    const int first = int(all.size()), pairs = int(split.identities * o.twin_share / 2 + 0.5f);
    std::vector<int> order(split.identities);
    for (int i = 0; i < split.identities; ++i) order[i] = i;
    eng::Rng lot(o.seed, stream_for("twins", first));
    lot.shuffle(order);
    all.resize(first + order.size());
    for (int i = 0; i < split.identities; ++i) {
        const int id = first + order[i], twin = i % 2 ? first + order[i - 1] : -1;
        const bool second = twin >= 0 && i < 2 * pairs;
        eng::Rng rng(o.seed, stream_for("figure", id));
        do all[id] = second ? make_twin(all[twin], rng) : make_figure(rng);
        while (!known.insert(all[id].is).second);
        if (second) all[id].twin = twin, all[twin].twin = id;
    }
}

struct Job {
    int id, image;
    const char* split;
};
struct Lines {
    std::string entry, regions;
};

Lines make_picture(const SynthOptions& o, const NewFolder& folder, const Job& job, const Figure& f) {
    const View view = make_view(o.seed, job.id, job.image);
    const Picture picture = render(o.seed, f, view, o.width, o.height);
    char name[64];
    std::snprintf(name, sizeof name, "%04d_c%d_%04d.jpg", job.id, view.camera, job.image);
    const auto jpeg =
        encode_jpeg(o.width, o.height, picture.rgb.data(), std::clamp(picture.quality, o.jpeg_low, o.jpeg_high));
    folder.write(std::string("imgs/") + name, {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()});
    eng::Rng rng(o.seed, stream_for("caption", job.id, job.image));
    std::array<Caption, 2> captions;
    for (Caption& c : captions) c = make_caption(f, view, picture, rng);
    return {caption_entry(job.id, name, captions, job.split), region_line(name, f, view, picture, captions)};
}

// body(i) for i in [0, n) on `threads` threads; the first error is thrown here.
template <class Body>
void on_threads(int threads, int n, Body body) {
    std::atomic<int> next{0};
    std::exception_ptr error;
    std::mutex mutex;
    const auto work = [&] {
        try {
            for (int i; (i = next++) < n;) body(i);
        } catch (...) {
            const std::lock_guard lock(mutex);
            if (!error) error = std::current_exception();
            next = n;
        }
    };
    {
        std::vector<std::jthread> pool;
        for (int t = 1; t < std::min(threads, n); ++t) pool.emplace_back(work);
        work();
    }
    if (error) std::rethrow_exception(error);
}

std::string about(const SynthOptions& o) {
    const eng::OrderedJson j{{"made_by", "scvd synth"},
                             {"seed", o.seed},
                             {"identities", {o.train, o.val, o.test}},
                             {"images", {o.train_images, o.val_images, o.test_images}},
                             {"width", o.width},
                             {"height", o.height},
                             {"jpeg", {o.jpeg_low, o.jpeg_high}},
                             {"twin_share", o.twin_share}};
    return eng::json_text(j, 1) + "\n";
}

}  // namespace

SynthReport make_synthetic_set(const SynthOptions& o) {
    check(o);
    const auto start = std::chrono::steady_clock::now();
    NewFolder folder(o.out, o.force);
    std::vector<Figure> figures;
    std::set<std::array<int, attribute_count>> known;
    std::vector<Job> jobs;
    std::string identities;
    for (const SplitPlan& split :
         {SplitPlan{"train", o.train, o.train_images}, {"val", o.val, o.val_images}, {"test", o.test, o.test_images}}) {
        const int first = int(figures.size());
        add_figures(figures, known, o, split);
        for (int id = first; id < int(figures.size()); ++id) {
            identities += identity_line(id, split.name, figures[id]);
            for (int image = 0; image < split.images; ++image) jobs.push_back({id, image, split.name});
        }
    }
    folder.write("identities.jsonl", identities);

    const int threads = o.threads ? o.threads : int(std::max(1u, std::thread::hardware_concurrency()));
    constexpr int block = 1024;  // pictures whose lines are held in memory at once, so that they are written in order
    for (int done = 0; done < int(jobs.size()); done += block) {
        const int n = std::min(block, int(jobs.size()) - done);
        std::vector<Lines> lines(n);
        on_threads(threads, n,
                   [&](int i) { lines[i] = make_picture(o, folder, jobs[done + i], figures[jobs[done + i].id]); });
        std::string entries, regions;
        for (int i = 0; i < n; ++i) entries += (done + i ? ",\n" : "[\n") + lines[i].entry, regions += lines[i].regions;
        folder.write("data_captions.json", entries, true);
        folder.write("regions.jsonl", regions, true);
    }
    folder.write("data_captions.json", "\n]\n", true);
    folder.write("synth.json", about(o));
    folder.finish();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return {int(figures.size()), int(jobs.size()), 2 * int(jobs.size()), double(jobs.size()) / seconds};
}

}  // namespace scvd

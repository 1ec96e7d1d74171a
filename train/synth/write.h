#pragma once
// The files of a set: one line per picture and identity, and the folder that appears as a whole.
#include <filesystem>
#include <string_view>

#include "train/synth/caption.h"
#include "train/synth/synth.h"

namespace scvd::synth {

// What the sidecar says about one picture, as one line of JSON with its line end. `captions` are the two of the
// picture.
std::string region_line(const std::string& img_path, const Figure&, const View&, const Picture&,
                        const std::array<Caption, 2>& captions);
// The picture's entry in data_captions.json, without separator.
std::string caption_entry(int id, const std::string& img_path, const std::array<Caption, 2>& captions,
                          const char* split);
std::string identity_line(int id, const char* split, const Figure&);

// A folder under a temporary name beside the final one; finish() puts it in place, otherwise it is removed again.
class NewFolder {
public:
    // Errors when `out` is something that must not be replaced.
    NewFolder(const std::string& out, bool force);
    ~NewFolder();
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;

    void write(const std::string& name, std::string_view bytes,
               bool append = false) const;  // thread-safe for distinct names
    void finish();

private:
    std::filesystem::path out_, temporary_;
    bool done_ = false;
};

}  // namespace scvd::synth

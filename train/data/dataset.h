#pragma once
// Data sets on disk as a program sees them: pictures with captions, in splits. The native layout is RSTPReid's:
// <root>/data_captions.json, an array of {id, img_path, captions, split}, and the pictures below <root>/imgs. Others are
// listed in layout.cpp.
#include <string>
#include <vector>

namespace scvd {

enum class OnBad { fatal, skip };  // a bad record ends the program | is left out, counted and named

struct Record {
    std::string path, name;  // openable path; img_path as written
    int id = 0;              // identity in the file
    int label = 0;           // identity within the split: 0 .. identities-1, in order of appearance
    std::vector<std::string> captions;
};

struct Split {
    struct Pair {
        int image, caption;  // images[image].captions[caption]
    };
    std::string name;  // train | val | test
    std::vector<Record> images;
    std::vector<Pair> pairs;  // every caption with its image, in the order of the file
    int identities = 0;
};

struct Dataset {
    Split train, val, test;
    int records = 0;                   // in the file, bad ones included
    std::vector<std::string> skipped;  // why each bad record was left out, with its number
};

// `root` is the folder or the JSON file in it; `images` is where pictures lie when not there. Other keys of a record than
// those of the layout are ignored. Records of the same picture in the same split are one image with all their captions.
// Errors, one sentence each: folder or file missing, JSON that does not parse (with line and column), no records. Bad
// records, each named by its number (from 0): a missing key (with the nearest one there is), a wrong type, an unknown
// split, no caption, an empty caption, text that is not UTF-8, a path that climbs out of the folder, a picture that is absent, cut short or damaged, a
// picture given to two splits, an identity both in training and in evaluation. With OnBad::fatal pictures are checked
// by their containers (see check_whole), which costs a read of each. With OnBad::skip every picture is decoded: once
// training has started, a bad one could no longer be left out.
Dataset load_dataset(const std::string& root, OnBad on_bad = OnBad::fatal, const std::string& images = "");

// "3 of 72 records left out:" and a line for each of the first `shown`; "" when nothing was skipped.
std::string describe_skipped(const Dataset&, size_t shown = 20);

// Offset of the first byte at or after `from` that does not belong to well-formed UTF-8; npos when there is none.
size_t find_bad_utf8(const std::string& text, size_t from = 0);

}  // namespace scvd

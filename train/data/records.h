#pragma once
// People's own pictures and captions, turned into the native layout.
#include <string>
#include <vector>

namespace scvd {

struct RecordsOptions {
    // A .csv file with a header line, a .jsonl file of objects (columns: image, caption, person, and split if there is one),
    // or a folder with one folder per person: pictures, and beside each a .txt of the same name with one caption a line.
    std::string source;
    std::string out;              // folder to make: data_captions.json and imgs/
    std::string images;           // what paths are relative to; "" for the source's folder
    double val = 0.1, test = 0.1;  // shares of the persons, where the source names no split
    int seed = 1;
};

struct RecordsReport { int persons = 0, images = 0, captions = 0; };

// Copies the pictures. Errors name file and line: a column that is missing, an unknown split, a picture that is absent or
// cannot be decoded, a person in training and in evaluation; nothing is left half-written in `out`.
RecordsReport import_records(const RecordsOptions&);

// The rows of a CSV text (RFC 4180: quotes, doubled quotes, line breaks within quotes).
std::vector<std::vector<std::string>> parse_csv(const std::string& text, const std::string& name);

}  // namespace scvd

#pragma once
// Pieces of the command line that several files share. Subcommands only collect options; other functions do the work.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/config.h"

namespace scvd {

// A config given by name and then by single keys: --config demo --train.lr 1e-3.
struct ConfigArgs {
    std::string name = "demo";
    std::map<std::string, std::string> overrides;

    void add_to(CLI::App* app) {
        app->add_option("--config", name, "preset (demo | small | vit-b16 | scvd-vit-b16 | scvd-rn50) or a TOML file")->capture_default_str();
        Config defaults;
        for (const Setting& s : settings(defaults))
            app->add_option_function<std::string>("--" + s.key, [this, key = s.key](const std::string& v) { overrides[key] = v; }, s.help)->group("Settings")->take_last();
    }
    Config resolve() const {
        Config c;
        load_config(c, name);
        apply(c);
        return c;
    }
    void apply(Config& c) const {
        for (const Setting& s : settings(c))
            if (const auto it = overrides.find(s.key); it != overrides.end()) s.set(it->second);
    }
};

void add_deconstruct(CLI::App& app);  // cli_deconstruct.cpp
void add_import(CLI::App& app);       // cli_weights.cpp
void add_export(CLI::App& app);
void add_embed(CLI::App& app);
void add_data(CLI::App& app);         // cli_data.cpp

}  // namespace scvd

#!/usr/bin/env python3
"""What the Semantics Deconstructor is worth for retrieval: trains and evaluates one model per source of prompts and seed.

usage: ablate_sd.py --data FOLDER [--out runs/ablate_sd] [--scvd build/scvd] [--config demo] [--seeds 3]
                    [--sources grammar,wordnet,bare,oracle,windows] [-- OPTIONS OF scvd train]

FOLDER is a synthetic set (scvd synth). Honest protocol: the checkpoint and lambda are chosen on the validation split, the
test split is read once per run. Runs that are already there are not trained again. Prints mean and standard deviation
over seeds, and writes OUT/table.json.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

WANTED = (("fused R@1", ("t2i", "fused", "R1")), ("fused mAP", ("t2i", "fused", "mAP")), ("pair R@1", ("t2i", "pair", "R1")),
          ("pair mAP", ("t2i", "pair", "mAP")), ("global R@1", ("t2i", "global", "R1")))


def run(command, log):
    with open(log, "w") as out:
        if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode:
            sys.exit("failed: %s\nsee %s" % (" ".join(command), log))


def one(a, source, seed):
    folder = os.path.join(a.out, "%s-%d" % (source, seed))
    result = os.path.join(folder, "eval.json")
    if not os.path.exists(result):
        os.makedirs(a.out, exist_ok=True)
        run([a.scvd, "train", "--config", a.config, "--data", a.data, "--out", folder, "--sd.source", source, "--train.seed", str(seed)]
            + a.train_options, folder + ".train.log")
        run([a.scvd, "eval", "--weights", os.path.join(folder, "best.safetensors"), "--json", result], folder + ".eval.log")
    with open(result) as f:
        r = json.load(f)
    row = {}
    for name, path in WANTED:
        v = r
        for key in path:
            v = v[key]
        row[name] = v
    where = r.get("localisation", {}).get("all")
    if where:
        row["pointing %"] = 100 * where["pointing_game"]
        row["x uniform"] = where["pointing_over_uniform"]
        row["phrases"] = where["phrases"]
    return row


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", default="runs/ablate_sd")
    ap.add_argument("--scvd", default="build/scvd")
    ap.add_argument("--config", default="demo")
    ap.add_argument("--seeds", type=int, default=3)
    ap.add_argument("--sources", default="grammar,wordnet,bare,oracle,windows")
    ap.add_argument("train_options", nargs="*", help="after --: options of scvd train")
    a = ap.parse_args(argv)
    rows = {}
    for seed in range(1, a.seeds + 1):  # all sources of a seed first: a table can be read early
        for source in a.sources.split(","):
            rows.setdefault(source, []).append(one(a, source, seed))
            print("%s seed %d: %s" % (source, seed, json.dumps(rows[source][-1])), flush=True)
    names = list(next(iter(rows.values()))[0])
    print("%-10s" % "source" + "".join("%18s" % n for n in names))
    table = {}
    for source, results in rows.items():
        line = "%-10s" % source
        for n in names:
            v = [r[n] for r in results]
            mean, spread = statistics.mean(v), statistics.stdev(v) if len(v) > 1 else 0.0
            table.setdefault(source, {})[n] = {"mean": mean, "sd": spread, "runs": v}
            line += "%18s" % ("%.2f +- %.2f" % (mean, spread))
        print(line)
    with open(os.path.join(a.out, "table.json"), "w") as f:
        json.dump(table, f, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
"""Reads what bench/run.py recorded, beside the goals in bench/goals.json. Needs no GPU and no package.

    bench/table.py FILE...            the table, and which goals are met. Exit 0: every measured MUST is met; 1: one is not, or a
                                      row was wrong; 3: the files belong to other sources than these (nothing is judged)
    bench/table.py --docs [FILE...]   rewrites the tables of docs/performance.md; without files, what was never measured says so

A file is stale when the fingerprint of the kernels (for steps: of the model, too) that it was measured with is not that of
this tree (bench/sources.py)."""
import fnmatch
import json
import math
import sys
from pathlib import Path

import count
import machine
import sources

HERE = Path(__file__).resolve().parent
NOT_MEASURED, WRONG = "not measured", "WRONG"


def read(paths):
    """All lines of the files, each with the header of its run."""
    lines = []
    for path in paths:
        head = None
        for number, text in enumerate(Path(path).read_text().splitlines(), 1):
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                sys.exit(f"bench/table.py: {path}, line {number} is no JSON")
            if line["type"] == "run":
                head = line
            elif head is None:
                sys.exit(f"bench/table.py: {path} does not begin with a run")
            if line["type"] == "ceilings":
                head["ceilings"] = line
            lines.append(line | {"run": head, "file": str(path)})
    last = {(id(l["run"]), l["id"]): l for l in lines if l["type"] == "step"}  # a step's line grows: the last one counts
    return [l for l in lines if l["type"] != "step" or l is last[id(l["run"]), l["id"]]]


def runs(lines):
    return list({id(l["run"]): l["run"] for l in lines}.values())


def headlines(lines):
    """A line per run: on what, when, and what of ours it had to do without."""
    for run in runs(lines):
        m = run.get("machine", {})
        without = [f"{name}=0" for name in run.get("left_out", [])]
        about = [m.get("gpu", run["device"]), *(f"{name} {m[key]}" for name, key in (("driver", "driver"), ("PyTorch", "torch")) if m.get(key)),
                 run["date"], machine.commit(run), *without, *(["peers alone"] if run["peers_only"] else [])]
        yield f"{run['what']}: {', '.join(about)}. `{run.get('command', 'no command')}`"


def stale(lines):
    """Why these results say nothing about this tree on a GPU, or nothing."""
    for run in runs(lines):
        if run.get("machine", {}).get("gpu", "").startswith("emulated"):
            yield f"{run['what']} of {run['date']} is a rehearsal on the emulator: its times mean nothing"
        for kind in {"kernels": ["kernels"], "step": ["step"]}[run["what"]]:
            was, now = run["sources"].get(kind, "none of ours"), sources.fingerprint(kind)
            if was != now and not run["peers_only"]:
                yield f"stale: {run['what']} of {run['date']} (commit {run['git'][:7]}) measured sources {was}, these are {now}"


def floor_ms(line):
    c = line["run"].get("ceilings")
    return 1e3 * max(line["flops"] / (1e12 * c["bf16_TFLOPs"]), line["bytes"] / (1e12 * c["copy_TBps"])) if c else None


def best(ms, patterns):
    """(name, median) of the fastest of these peers."""
    found = [(v["median"], n) for n, v in ms.items() if not n.endswith(" again") and any(fnmatch.fnmatch(n, p) for p in patterns)]
    return min(found, default=(None, None))[::-1]


def judge_kernels(lines, goals):
    """One result per goal: dict with ratios, or None in place of what was not measured. What is wrong has no time that counts."""
    for goal in goals["kernels"]:
        rows = [l for l in lines if l["type"] == "row" and "ours" in l.get("ms", {}) and any(fnmatch.fnmatch(l["id"], p) for p in goal["rows"])]
        wrong = [l for l in rows if l.get("right") is False]
        ratios = {l["id"]: best(l["ms"], goal["peers"])[1] / l["ms"]["ours"]["median"] for l in rows if l not in wrong and best(l["ms"], goal["peers"])[1]}
        result = {"goal": goal, "ratios": ratios, "verdict": NOT_MEASURED, "geomean": None, "min": None, "frac": None}
        if ratios:
            result["geomean"] = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
            result["min"] = min(ratios.values())
            fracs = [floor_ms(l) / l["ms"]["ours"]["median"] for l in rows if l not in wrong and floor_ms(l)]
            result["frac"] = min(fracs, default=None)
            met = lambda level: all(result[k] >= v * (1 - goals["noise"]) for k, v in goal[level].items())
            result["verdict"] = "ahead" if met("ahead") else "must" if met("must") else "UNDER"
        if wrong:
            result["verdict"] = WRONG
        yield result


def wanted(goal, level):
    return ", ".join(f"{k} {v:g}" if k != "min" or len(goal[level]) > 1 else f"{v:g}" for k, v in goal[level].items())


def kernel_table(lines, goals):
    out = ["| calls | best of | must | ahead | measured: geomean, least | of the floor | verdict |", "|---|---|---|---|---|---|---|"]
    for r in judge_kernels(lines, goals):
        g = r["goal"]
        measured = f"{r['geomean']:.2f}, {r['min']:.2f}" if r["ratios"] else NOT_MEASURED
        out.append(f"| {g['name']} | {', '.join(g['peers'])} | {wanted(g, 'must')} | {wanted(g, 'ahead')} | {measured} | {r['frac'] or 0:.2f} | {r['verdict']} |"
                   if r["ratios"] else f"| {g['name']} | {', '.join(g['peers'])} | {wanted(g, 'must')} | {wanted(g, 'ahead')} | {measured} | - | {r['verdict']} |")
    return "\n".join(out)


def row_table(lines):
    out = ["| row | shape | ours, us | best peer, us | ratio | floor, us | of the floor | error ours / peer |", "|---|---|---|---|---|---|---|---|"]
    for l in lines:
        if l["type"] != "row" or "ms" not in l:
            continue
        ours, floor = l["ms"].get("ours", {}).get("median"), floor_ms(l)
        peer, p = best({n: v for n, v in l["ms"].items() if n != "ours"}, ["*"])
        us = lambda v: "-" if v is None else f"{1e3 * v:.1f}"
        ratio = WRONG if l.get("right") is False else f"{p / ours:.2f}" if ours and p else "-"
        out.append(f"| {l['id']} | {' x '.join(map(str, l['shape']))} | {us(ours)} | {us(p)} ({peer}) | {ratio} | {us(floor)} | "
                   f"{f'{floor / ours:.2f}' if ours and floor else '-'} | {l['err'].get('ours', 0):.1e} / {l['err'].get(peer, 0):.1e} |")
    return "\n".join(out)


def times_ours(line, name):
    """How many of our steps a peer's takes: of the two in turns where they were, else of each alone."""
    peer = line["peers"][name]
    ms = {n: s["median"] for n, s in peer.get("beside_ours", {}).items()}
    return ms[name] / ms["ours"] if "ours" in ms else peer["ms"]["median"] / line["ours"]["ms"]["median"]


def step_results(lines, goals):
    """(batch, what, measured, must, ahead, higher is better) of whole steps. measured: None, or WRONG for a step that is not the twin's."""
    g = goals["step"]
    c = count.preset(g["preset"])
    for B in (64, 128, 256):
        line = next((l for l in lines if l["type"] == "step" and l["B"] == B and l["preset"] == g["preset"]), None)
        ours, wrong = line and line.get("ours"), line and line.get("right") is False
        ceilings = next((l["run"]["ceilings"] for l in lines if "ceilings" in l["run"]), {"bf16_TFLOPs": 788, "copy_TBps": 4.3})
        floor = 1e3 * count.floor(count.training_step(c, B).calls, 1e12 * ceilings["bf16_TFLOPs"], 1e12 * ceilings["copy_TBps"])
        yield B, f"of the floor ({floor:.1f} ms)", WRONG if wrong else ours and floor / ours["ms"]["median"], g["of_floor"]["must"], g["of_floor"]["ahead"], True
        for what, unit in (("ratio", "ms"), ("memory", "GB")):
            for peer, goal in g[what].items():
                have = [n for n in (line or {}).get("peers", {}) if fnmatch.fnmatch(n, peer)]
                value = WRONG if wrong else None
                if ours and have and not wrong:
                    value = min(times_ours(line, n) for n in have) if what == "ratio" else ours["peak_GB"] / min(line["peers"][n]["peak_GB"] for n in have)
                yield B, f"{'times faster than' if what == 'ratio' else 'memory beside'} {peer}", value, goal["must"], goal["ahead"], what == "ratio"


def step_table(lines, goals):
    out = ["| batch | measure | must | ahead | measured | verdict |", "|---|---|---|---|---|---|"]
    for B, what, value, must, ahead, up in step_results(lines, goals):
        sign = ">=" if up else "<="
        met = lambda level: value >= level if up else value <= level
        verdict = NOT_MEASURED if value is None else WRONG if value == WRONG else "ahead" if met(ahead) else "must" if met(must) else "UNDER"
        out.append(f"| {B} | {what} | {sign} {must:g} | {sign} {ahead:g} | {f'{value:.2f}' if isinstance(value, float) else '-'} | {verdict} |")
    return "\n".join(out)


def of_each_machine(pattern, table):
    """A table of each record in bench/results, newest first."""
    records = [json.loads(f.read_text()) for f in (HERE / "results").glob(pattern)]
    return "\n\n".join(table(r) for r in sorted(records, key=lambda r: r["date"], reverse=True)) or "Not measured."


def cpu_table(r):
    """bench/cpu_peers.py's, in GFLOP/s."""
    spread = lambda x: f"{100 * widest:.0f} %" if (widest := max(x["spread"].values())) else "-"  # none of a single round
    names = list(dict.fromkeys(p for x in r["results"] for p in x["ms"]))
    out = [machine.headline(r), "",
           "| threads | type | what | " + " | ".join(names) + " | widest spread |", "|---|---|---|" + "---|" * (len(names) + 1)]
    for x in r["results"]:
        rate = lambda p: f"{work_of(x['what']) / x['ms'][p] / 1e6:.0f}" if p in x["ms"] else "-"
        out.append(f"| {x['threads']} | {x['dtype']} | {x['what'].replace('x', ' x ')} | {' | '.join(map(rate, names))} | {spread(x)} |")
    return "\n".join(out)


def work_of(what):
    """FLOPs of MxNxK, or of attention over sequences x length x heads x width."""
    s = [int(v) for v in what.split()[0].split("x")]
    return 2.0 * math.prod(s) if len(s) == 3 else (4.0 if what.endswith("forward") else 10.0) * math.prod(s) * s[1]


def all_pairs_table(r):
    """bench/all_pairs.py's."""
    out = [machine.headline(r), "",
           "| type | ours, pairs/s | PyTorch, pairs/s | ratio | largest difference of a score | all 18.9 M pairs, ours, extrapolated |", "|---|---|---|---|---|---|"]
    for x in r["results"]:
        a, b = x["ours"], x["torch"]
        out.append(f"| {a['dtype']} | {a['pairs_per_s']:.0f} | {b['pairs_per_s']:.0f} | {a['pairs_per_s'] / b['pairs_per_s']:.2f} | {b['largest_difference']:.1e} | {a['all_pairs_s_extrapolated'] / 3600:.0f} h |")
    return "\n".join(out)


def cpu_steps_table(r):
    """bench/torch_step.py's."""
    out = [machine.headline(r), "", "| preset, batch | type | what | ours, ms | PyTorch, ms | ratio | memory, ours, MB | memory, PyTorch, MB |", "|---|---|---|---|---|---|---|---|"]
    for x in r["results"]:
        for part in ("step", "images", "texts"):
            us, them = (x[who]["ms"][part]["median"] for who in ("ours", "torch"))
            memory = f"{x['ours']['peak_MB']:.0f} | {x['torch']['peak_MB']:.0f}" if part == "step" else "- | -"
            out.append(f"| {x['preset']}, {x['batch']} | {x['dtype']} | {part} | {us:.0f} | {them:.0f} | {them / us:.2f} | {memory} |")
    return "\n".join(out)


def fill(text, tables):
    """Replaces what stands between <!-- table: name --> and <!-- end -->."""
    for name, table in tables.items():
        begin = f"<!-- table: {name} -->"
        at = text.find(begin)
        if at < 0 or text.find("<!-- end -->", at) < 0:
            sys.exit(f"bench/table.py: docs/performance.md has no place for the table \"{name}\"")
        text = text[:at] + begin + "\n" + table + "\n" + text[text.find("<!-- end -->", at):]
    return text


def write_docs(lines, goals):
    path = sources.ROOT / "docs" / "performance.md"
    gpu = [l for l in lines if l["run"]["device"] == "cuda"]
    c = count.preset("vit-b16")
    work = "\n\n".join(f"Batch {B}:\n\n" + count.table(count.training_step(c, B), 788e12, 4.3e12) for B in (64, 128))
    about = lambda what: "".join(h + "\n\n" for h in headlines([l for l in gpu if l["run"]["what"] == what]))
    measured = row_table(gpu) if any(l["type"] == "row" and "ms" in l for l in gpu) else "No GPU has run them yet."
    path.write_text(fill(path.read_text(), {"work": work, "kernels": about("kernels") + kernel_table(gpu, goals), "rows": measured, "step": about("step") + step_table(gpu, goals),
                                          "all pairs on a CPU": of_each_machine("cpu-all-pairs*.json", all_pairs_table), "CPU": of_each_machine("cpu-2*.json", cpu_table),
                                          "steps on a CPU": of_each_machine("cpu-steps*.json", cpu_steps_table)}))
    print(path)


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("--")]
    if set(sys.argv[1:]) - set(paths) - {"--docs"} or not sys.argv[1:]:
        print(__doc__)
        return 2
    goals = json.loads((HERE / "goals.json").read_text())
    lines = read(paths)
    if reasons := sorted(set(stale(lines))):
        print("\n".join(reasons))
        return 3
    if "--docs" in sys.argv:
        write_docs(lines, goals)
        return 0
    print(*headlines(lines), kernel_table(lines, goals), row_table(lines), step_table(lines, goals), sep="\n\n")
    wrong = [l for l in lines if l.get("right") is False or "failed" in l]
    under = [r["goal"]["name"] for r in judge_kernels(lines, goals) if r["verdict"] == "UNDER"]
    under += [f"step, batch {B}: {what}" for B, what, value, must, _, up in step_results(lines, goals) if isinstance(value, float) and (value < must if up else value > must)]
    for l in wrong:
        print(f"WRONG: {l.get('id', l['type'])}: {l.get('failed') or l.get('err') or l}")
    for name in under:
        print(f"UNDER MUST: {name}")
    return 1 if wrong or under else 0


if __name__ == "__main__":
    sys.exit(main())

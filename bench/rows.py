"""What a row of the comparison is, and the checks before it is timed."""
import fnmatch
import os
import sys
import threading
from dataclasses import dataclass, field

import torch

import timing

GATE = 1.1  # our error against fp64 may be this much of the worst peer's in the same dtype
ROW_S = float(os.environ.get("ROW_SECONDS", 60))  # of a row on a GPU, compilation of PyTorch's peers included
NEAR = 0.1  # what is wrong by less is timed all the same, and stays wrong: the time says something once the fault is found


@dataclass
class Row:
    id: str
    shape: list
    flops: float
    bytes: float            # each input read once, each output written once
    build: callable         # (Ours or None, device) -> Built, called when the row's turn comes
    extra: dict = field(default_factory=dict)


@dataclass
class Built:
    variants: dict          # {name: f(i)}: call i works on copy i % sets; "ours" is the engine
    sets: int
    results: dict           # {name: tensors that copy 0 left}, compared with
    reference: callable     # () -> the same tensors in fp64
    before: callable = lambda: None  # poisons outputs, restores accumulators


def cycle(functions):
    """f(i) that calls the i-th of these, round and round."""
    n = len(functions)
    return lambda i: functions[i % n]()


def try_peers(peers):
    """{name: maker} -> ({name: f(i)}, {name: why not}); a peer that a machine lacks is named, never silently left out."""
    have, lack = {}, {}
    for name, make in peers.items():
        try:
            f = make()
            if f is None:
                raise RuntimeError("not on this machine")
            f(0)
            have[name] = f
        except Exception as e:
            lack[name] = f"{type(e).__name__}: {str(e).splitlines()[0][:160] if str(e) else ''}"
    return have, lack


def errors(built):
    """{variant: relative error of each output against fp64}, outputs poisoned before each call."""
    want, found = [t.double() for t in built.reference()], {}
    for name, run in built.variants.items():
        built.before()
        run(0)
        got = built.results[name]() if callable(built.results[name]) else built.results[name]
        found[name] = max(timing.error(g.reshape(w.shape), w) for g, w in zip(got, want, strict=True))
    return found


def ours_is_right(found, dtype_error):
    peers = [e for n, e in found.items() if not n.startswith("ours") and e < NEAR]
    return all(e <= GATE * max(peers + [dtype_error]) for n, e in found.items() if n.startswith("ours"))


def matches(name, patterns):
    """patterns: shell patterns with commas between; none matches nothing."""
    return any(fnmatch.fnmatch(name, p) for p in patterns.split(","))


def run_row(row, engine, clock, twice):
    """Checks and times one row -> its line. twice: one implementation is timed a second time, for the noise floor."""
    line = {"type": "row", "id": row.id, "shape": row.shape, "flops": row.flops, "bytes": row.bytes, **row.extra}
    try:
        with clock.on_stream():
            built = row.build(engine)
            line["lacking"] = getattr(built, "lacking", {})
            line["err"] = errors(built)
            clock.wait()
        line["right"] = ours_is_right(line["err"], 5e-5 if row.extra.get("dtype") == "f32" else 1.7e-3)  # a loss of scores up to 20: 20 x 20 roundings of f32 | one rounding to bf16
        line["lacking"] |= {n: f"wrong by {e:.1e}" for n, e in line["err"].items() if n != "ours" and not e < NEAR}  # such a peer is none
        if line["right"] or line["err"]["ours"] < NEAR:
            variants = {n: f for n, f in built.variants.items() if n not in line["lacking"]}
            if twice:
                name = next(iter(variants))
                variants[name + " again"] = variants[name]
            with clock.on_stream():
                built.before()
            line["ms"], line["how"] = clock.compare(variants, built.sets)
    except Exception as e:
        line["failed"] = f"{type(e).__name__}: {e}"[:400]
    return line


def run_rows(rows, engine, clock, write):
    """Checks and times every row; one JSON object each, written at once. -> how many were wrong, or could not be told. A row that does not
    end in ROW_S seconds ends the process: a kernel that spins can be ended by nothing less."""
    wrong = 0
    for number, row in enumerate(rows):
        left = [r.id for r in rows[number + 1:]]

        def give_up():
            write({"type": "stopped", "id": row.id, "failed": f"not done after {ROW_S} s", "not_run": left})
            print(f"bench: {row.id} is not done after {ROW_S} s: {len(left)} rows were not run", file=sys.stderr, flush=True)
            os._exit(3)

        watch = threading.Timer(ROW_S, give_up)
        watch.daemon = True
        if clock.device == "cuda":
            watch.start()
        line = run_row(row, engine, clock, number % 10 == 0)
        watch.cancel()
        wrong += "failed" in line or not line["right"]
        write(line)
        said = ", ".join(f"{n} {s['median']:.4f}" for n, s in line.get("ms", {}).items()) or line.get("failed") or f"WRONG: {line.get('err')}"
        print(f"{row.id:<44} {said}{', not as a graph' if line.get('how', '').startswith('stream') else ''}", file=sys.stderr, flush=True)
        if why := clock.lost():
            write({"type": "stopped", "id": row.id, "failed": why, "not_run": left})
            print(f"bench: {row.id} has faulted, and this process has lost its GPU with it ({why}): {len(left)} rows were not run", file=sys.stderr, flush=True)
            return wrong + len(left)
        if clock.device == "cuda":
            torch.cuda.empty_cache()
    return wrong

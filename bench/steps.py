#!/usr/bin/env python3
"""Whole training steps: ours beside the PyTorch twin as published codes run it (padded), trimmed, and compiled.

Before timing, ours and the twin must agree on loss and gradients: in f32 to f32's rounding, in bf16 to no more than twice
what the twin's own bf16 differs from its f32. (Twice: ours keeps the residual stream in bf16, autocast leaves it in f32.)
Where they do not, the steps are timed all the same, and marked wrong.

    bench/steps.py FOLDER DEVICE TEXTS MODE WARM SAMPLES     one compiled peer of a dumped step alone, as JSON; run() starts it"""
import contextlib
import gc
import json
import subprocess
import sys
import tempfile

import torch

import timing
import twin as model
from engine import Step

CHECK_BATCH = 8  # all pairs of so small a batch: which pairs train does not depend on rounding
BF16_GATE = 2
COMPILE_S = 150  # compilation has no limit of its own
AUTOTUNE_S = 240


def gradients(t):
    return {n.removeprefix("interaction."): p.grad.detach().float().cpu().flatten() for n, p in t.named_parameters() if p.grad is not None}


def distance(got, want):
    """||got - want|| / ||want|| over all parameters together."""
    d = sum(float((got[n].double() - w.double()).pow(2).sum()) for n, w in want.items())
    return (d / sum(float(w.double().pow(2).sum()) for w in want.values())) ** 0.5


def twin_of(folder, dtype, device, texts="trim"):
    t, batch = model.load(folder, texts, device)
    return t, model.Trainer(t, dtype), batch


@contextlib.contextmanager
def exact():
    """f32 means f32: PyTorch would let cuDNN round a convolution's operands to TF32's ten bits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def both_sides(engine, preset, device):
    """{"ours f32" ...: (loss, gradients)} of the same weights and batch."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="scvd-step-") as folder, exact():
        for dtype in ("f32", "bf16"):
            with contextlib.closing(Step(engine, preset, dtype, CHECK_BATCH, "all")) as ours:
                if dtype == "f32":  # bf16 starts from the same draw
                    ours.dump(folder)
                found["ours " + dtype] = ours.backward(), ours.gradients()
            t, trainer, _ = twin_of(folder, dtype, device)
            found["twin " + dtype] = float(trainer.backward().detach()), gradients(t)
    return found


def errors(found):
    """Relative errors of loss and gradients against the twin in f32."""
    loss, want = found["twin f32"]
    result = {}
    for who in ("ours f32", "ours bf16", "twin bf16"):
        missing = set(want) ^ set(n for n in found[who][1] if n in want or found[who][1][n].abs().max() > 0)
        if missing:
            raise RuntimeError(f"{who} has gradients of other parameters: {sorted(missing)[:3]}")
        result[who] = {"loss": abs(found[who][0] - loss) / abs(loss), "gradient": distance(found[who][1], want)}
    return result


def agree(engine, preset, device, write):
    """-> whether ours computes what the twin computes. Writes the errors."""
    line = {"type": "agreement", "preset": preset, "batch": CHECK_BATCH, "right": False}
    try:
        e = errors(both_sides(engine, preset, device))
        bound = lambda what, least: max(BF16_GATE * e["twin bf16"][what], least)
        right = (e["ours f32"]["loss"] < 1e-4 and e["ours f32"]["gradient"] < 1e-3 and
                 e["ours bf16"]["loss"] <= bound("loss", 5e-3) and e["ours bf16"]["gradient"] <= bound("gradient", 1e-2))
        line |= {**e, "right": right}
    except Exception as e:
        line["failed"] = f"{type(e).__name__}: {e}"[:400]
    write(line)
    print(f"agreement of {preset}: {line}", file=sys.stderr, flush=True)
    return line["right"]


def peers_of(modes):
    return [("eager_pad77", "pad77", None), ("eager_trim", "trim", None)] + [("compile_" + m, "trim", m) for m in modes]


def measure(name, run, clock, warm, samples, peak):
    """One implementation at a time in memory: its steps, and the most memory it had."""
    if clock.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    ms = clock.whole({name: run}, warm, samples)[name]
    return {"ms": ms, "peak_GB": peak() / 1e9}


def torch_peak():
    import resource
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 1000.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compiled_alone(folder, device, texts, mode, warm, samples):
    """A peer whose compilation may take for ever, in a process of its own that can be ended."""
    command = [sys.executable, __file__, folder, device, texts, mode, str(warm), str(samples)]
    r = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=AUTOTUNE_S)
    if r.returncode:
        raise RuntimeError(f"its process ended with {r.returncode}")
    return json.loads(r.stdout.splitlines()[-1])


def peer(name, folder, device, texts, mode, clock, warm, samples, ours):
    """-> the peer's times and memory, and once more in turns with ours: {name: f} or nothing."""
    if mode and mode.startswith("max-autotune"):
        return compiled_alone(folder, device, texts, mode, warm, samples)
    t, trainer, _ = twin_of(folder, "bf16", device, texts)
    if mode:
        t.compile_regions(None if mode == "default" else mode)
        with time_limit(COMPILE_S):
            trainer.run()
    result = measure(name, trainer.run, clock, warm, samples, torch_peak)
    return result | {"beside_ours": clock.whole({name: trainer.run} | ours, 1, max(samples // 2, 2))}


def measure_all(ours, folder, peers_only, clock, modes, line, write):
    """Fills the line of one batch size, and writes it whenever there is more of it: the last one counts."""
    device = clock.device
    warm, samples = (2, min(clock.samples, 6)) if device == "cpu" else (min(clock.samples, 20), 2 * clock.samples)
    ours.dump(folder)
    # Ours beside each peer in turn, A B B A: two whole models fit, five do not.
    if not peers_only:
        ours.run()
        line["ours"] = measure("ours", ours.run, clock, warm, samples, ours.peak_bytes)
        if device == "cuda":  # launched kernel by kernel, not as one graph
            line["ours_eager"] = measure("ours_eager", ours.run_eager, clock, warm, samples, ours.peak_bytes)
        write(line)
    for name, texts, mode in peers_of(modes):
        try:
            line["peers"][name] = peer(name, folder, device, texts, mode, clock, warm, samples, {} if peers_only else {"ours": ours.run})
        except Exception as e:
            line["lacking"][name] = f"{type(e).__name__}: {e}"[:300]
        gc.collect()
        torch.compiler.reset()
        if clock.lost():
            raise RuntimeError(f"{name} has lost the GPU: {clock.lost()}")
        if device == "cuda":
            torch.cuda.empty_cache()
        write(line)


def run(preset, batches, engine, clock, write, modes):
    """-> how many steps failed, could not be run or are not the twin's."""
    if not engine:
        sys.exit("bench: a step needs libscvd_bench.so for its weights and its batch (--lib)")
    right = engine.peers_only or agree(engine, preset, clock.device, write)
    wrong = int(not right)
    for number, B in enumerate(batches):
        if why := clock.lost():
            print(f"bench: this process has lost its GPU ({why}): batches {batches[number:]} were not run", file=sys.stderr, flush=True)
            write({"type": "stopped", "failed": why, "not_run": batches[number:]})
            return wrong + len(batches[number:])
        line = {"type": "step", "id": f"step.{preset}.B{B}", "B": B, "preset": preset, "right": right, "peers": {}, "lacking": {}}
        try:
            with contextlib.closing(Step(engine, preset, "bf16", B)) as ours, tempfile.TemporaryDirectory(prefix="scvd-step-") as folder:
                measure_all(ours, folder, engine.peers_only, clock, modes, line, write)
        except Exception as e:
            line["failed"] = f"{type(e).__name__}: {e}"[:400]
            wrong += 1
        write(line)
        said = {n: round(p["ms"]["median"], 2) for n, p in [(n, line[n]) for n in ("ours", "ours_eager") if n in line] + list(line["peers"].items())}
        print(f"{line['id']}: {said} {'' if right else 'WRONG'} {line.get('failed', '')} {line['lacking']}", file=sys.stderr, flush=True)
    return wrong


class time_limit:
    """Ends what takes longer than this many seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        import signal

        def stop(*_):
            raise TimeoutError(f"not compiled within {self.seconds} s")
        self.before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(self.seconds)

    def __exit__(self, *_):
        import signal
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)
        return False


def main():
    folder, device, texts, mode, warm, samples = sys.argv[1:]
    clock = timing.Clock(device)
    t, trainer, _ = twin_of(folder, "bf16", device, texts)
    t.compile_regions(mode)
    trainer.run()
    print(json.dumps(measure(mode, trainer.run, clock, int(warm), int(samples), torch_peak)))


if __name__ == "__main__":
    main()

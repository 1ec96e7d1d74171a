"""Whole training steps: ours beside the PyTorch twin as published codes run it (padded), trimmed, and compiled.

Before timing, ours and the twin must agree on loss and gradients: in f32 to f32's rounding, in bf16 to no more than twice
what the twin's own bf16 differs from its f32. (Twice: ours keeps the residual stream in bf16, autocast leaves it in f32.)"""
import gc
import shutil
import sys

import torch

import twin as model
from engine import Step

CHECK_BATCH = 8  # all pairs of so small a batch: which pairs train does not depend on rounding
BF16_GATE = 2
MAX_AUTOTUNE_S = 150


def gradients(t):
    return {n.removeprefix("interaction."): p.grad.detach().float().cpu().flatten() for n, p in t.named_parameters() if p.grad is not None}


def distance(got, want):
    """||got - want|| / ||want|| over all parameters together."""
    d = sum(float((got[n].double() - w.double()).pow(2).sum()) for n, w in want.items())
    return (d / sum(float(w.double().pow(2).sum()) for w in want.values())) ** 0.5


def twin_of(folder, dtype, device, texts="trim"):
    t, batch = model.load(folder, texts, device)
    return t, model.Trainer(t, dtype), batch


def agree(engine, preset, device, write):
    """-> whether ours computes what the twin computes. Writes the errors."""
    folder, line = None, {"type": "agreement", "preset": preset, "batch": CHECK_BATCH}
    found = {}
    for dtype in ("f32", "bf16"):
        ours = Step(engine, preset, dtype, CHECK_BATCH, "all")
        folder = folder or ours.dump()  # f32's weights; bf16 starts from the same draw
        found["ours " + dtype] = ours.backward(), ours.gradients()
        ours.close()
        t, trainer, _ = twin_of(folder, dtype, device)
        found["twin " + dtype] = float(trainer.backward().detach()), gradients(t)
        del t, trainer
    shutil.rmtree(folder)
    loss, want = found["twin f32"]
    for who in ("ours f32", "ours bf16", "twin bf16"):
        missing = set(want) ^ set(n for n in found[who][1] if n in want or found[who][1][n].abs().max() > 0)
        if missing:
            raise RuntimeError(f"{who} has gradients of other parameters: {sorted(missing)[:3]}")
        line[who] = {"loss": abs(found[who][0] - loss) / abs(loss), "gradient": distance(found[who][1], want)}
    bound = lambda what, least: max(BF16_GATE * line["twin bf16"][what], least)
    line["right"] = (line["ours f32"]["loss"] < 1e-4 and line["ours f32"]["gradient"] < 1e-3 and
                     line["ours bf16"]["loss"] <= bound("loss", 5e-3) and line["ours bf16"]["gradient"] <= bound("gradient", 1e-2))
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


def run(preset, batches, engine, clock, write, modes):
    wrong, device = 0, clock.device
    warm, samples = (2, min(clock.samples, 6)) if device == "cpu" else (min(clock.samples, 20), 2 * clock.samples)
    if engine and not engine.peers_only and not agree(engine, preset, device, write):
        return 1
    if not engine:
        sys.exit("bench: a step needs libscvd_bench.so for its weights and its batch (--lib)")
    for B in batches:
        line = {"type": "step", "id": f"step.{preset}.B{B}", "B": B, "preset": preset, "peers": {}, "lacking": {}}
        try:
            ours = Step(engine, preset, "bf16", B)
            folder = ours.dump()
            runs = {} if engine.peers_only else {"ours": ours.run}
            # Ours beside each peer in turn, A B B A: two whole models fit, five do not.
            if not engine.peers_only:
                ours.run()
                line["ours"] = measure("ours", ours.run, clock, warm, samples, ours.peak_bytes)
                if device == "cuda":  # launched kernel by kernel, not as one graph
                    line["ours_eager"] = measure("ours_eager", ours.run_eager, clock, warm, samples, ours.peak_bytes)
            for name, texts, mode in peers_of(modes):
                try:
                    t, trainer, _ = twin_of(folder, "bf16", device, texts)
                    if mode:
                        t.compile_regions(None if mode == "default" else mode)
                        with time_limit(MAX_AUTOTUNE_S):
                            trainer.run()
                    line["peers"][name] = measure(name, trainer.run, clock, warm, samples, torch_peak)
                    pair = clock.whole({name: trainer.run} | runs, 1, max(samples // 2, 2))
                    line["peers"][name]["beside_ours"] = pair
                except Exception as e:
                    line["lacking"][name] = f"{type(e).__name__}: {e}"[:300]
                t = trainer = None
                gc.collect()
                torch.compiler.reset()
                if device == "cuda":
                    torch.cuda.empty_cache()
            ours.close()
            shutil.rmtree(folder)
        except Exception as e:
            line["failed"] = f"{type(e).__name__}: {e}"[:400]
            wrong += 1
        write(line)
        said = {n: round(p["ms"]["median"], 2) for n, p in [(n, line[n]) for n in ("ours", "ours_eager") if n in line] + list(line["peers"].items())}
        print(f"{line['id']}: {said} {line.get('failed', '')} {line['lacking']}", file=sys.stderr, flush=True)
    return wrong


class time_limit:
    """Ends what takes longer than this many seconds (compilation has no limit of its own)."""

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

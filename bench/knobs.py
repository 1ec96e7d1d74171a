#!/usr/bin/env python3
"""What launches before their turn, pairs of blocks, attention by wgmma and the graph bring: our training step with one of them left out at a time.

    bench/knobs.py LIBRARY [PRESET BATCH STEPS]    PRESET: vit-b16, bf16, on the GPU

Each in a process of its own, because a kernel asks once; needs no PyTorch. Steps follow each other without a wait, as in training."""
import ctypes as C
import json
import os
import subprocess
import sys
import time

import abi

WAYS = {"all": {}, "no early launch": {"SCVD_EARLY_LAUNCH": "0"}, "no clusters": {"SCVD_CLUSTERS": "0"}, "no wgmma in attention": {"SCVD_WGMMA_ATTENTION": "0"},
        "no graph": {}}
WAY_S = float(os.environ.get("ROW_SECONDS", 60))


def measure(library, preset, batch, steps, graph):
    """Milliseconds a step: what 3 n steps take longer than n, so that what ends both (a backward, which waits) does not count."""
    lib = abi.load(os.path.abspath(library))

    def check(failed):
        if failed:
            raise RuntimeError(lib.scvd_error().decode())

    step = lib.scvd_step_open(preset.encode(), b"bf16", b"", batch, 1)
    check(not step)
    step, loss = C.c_void_p(step), C.c_double()

    def seconds(n):
        start = time.perf_counter()
        for _ in range(n):
            check(lib.scvd_step_run(step, graph))
        check(lib.scvd_step_backward(step, C.byref(loss)))
        return time.perf_counter() - start

    seconds(5)  # the graph is recorded the third time
    found = sorted((seconds(3 * steps) - seconds(steps)) / (2 * steps) * 1e3 for _ in range(3))
    check(lib.scvd_step_close(step))
    return found


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        library, preset, batch, steps, graph = sys.argv[2:]
        try:
            print(json.dumps(measure(library, preset, int(batch), int(steps), int(graph))))
        except (OSError, RuntimeError, ValueError) as e:
            sys.exit(f"knobs: {e}")
        return
    if not 2 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    library, preset, batch, steps = (sys.argv[1:] + ["vit-b16", "128", "15"][len(sys.argv) - 2:])[:4]
    median, failed = {}, []
    for way, environment in WAYS.items():
        command = [sys.executable, __file__, "--one", library, preset, batch, steps, str(int(way != "no graph"))]
        try:
            run = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, timeout=WAY_S)
            why = run.returncode and f"its process ended with {run.returncode}"
        except subprocess.TimeoutExpired:
            why = f"not done after {WAY_S} s"
        if why:  # the other ways tell whose fault it is
            failed.append(f"{way}: {why}")
            print(failed[-1], flush=True)
            continue
        ms = json.loads(run.stdout.splitlines()[-1])
        median[way] = ms[len(ms) // 2]
        print(json.dumps({"type": "knob", "preset": preset, "batch": int(batch), "way": way, "ms": ms}), flush=True)
    print(", ".join([*(f"{way} {ms:.2f} ms" for way, ms in median.items()), *failed]))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

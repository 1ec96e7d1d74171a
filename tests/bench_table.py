#!/usr/bin/env python3
"""bench/table.py on made-up records: it judges what belongs to these sources, refuses what does not, and says what was not
measured. Run as a test; needs Python alone."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import count
import sources

checks = 0


def run(lines, *flags):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.jsonl"
        file.write_text("".join(json.dumps(l) + "\n" for l in lines))
        r = subprocess.run([sys.executable, ROOT / "bench/table.py", *flags, file], capture_output=True, text=True)
        return r.returncode, r.stdout + r.stderr


def expect(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"FAILED: {what}")


def left(*lines):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(l) + "\n" for l in lines))
        file.flush()
        return subprocess.run([sys.executable, ROOT / "bench/left_behind.py", file.name], capture_output=True, text=True).stdout.strip()


def head(what="kernels", **other):
    return {"type": "run", "schema": 1, "what": what, "date": "2000-01-01T00:00:00Z", "git": "0123456789", "device": "cuda", "peers_only": False,
            "sources": {k: sources.fingerprint(k) for k in sources.FOLDERS}} | other


def row(id, ours, peer, name="cublaslt_best16", right=True):
    ms = {"ours": {"median": ours}, name: {"median": peer}, name + " again": {"median": 0.001}}
    return {"type": "row", "id": id, "shape": [1, 2, 3], "flops": 1e9, "bytes": 1e6, "err": {"ours": 1e-3, name: 1e-3}, "right": right, "ms": ms}


ceilings = {"type": "ceilings", "copy_TBps": 4.0, "bf16_TFLOPs": 700.0}
good = [row("gemm.square.f", 1.0, 1.05), row("attn.v.f.B64", 1.0, 1.6, "sdpa_flash")]

code, text = run([head(), ceilings, *good])
expect(code == 0, f"good results should pass, got {code}: {text}")
expect("1.05" in text and "| ahead |" in text, "a ratio of 1.05 is ahead of 0.99")
expect("not measured" in text, "what is missing should be called not measured")

code, text = run([head(machine={"gpu": "NVIDIA H200", "driver": "1.2"}, left_out=["SCVD_CLUSTERS"], dirty=True, peers_only=True), ceilings, *good])
expect("kernels: NVIDIA H200, driver 1.2, 2000-01-01T00:00:00Z, commit 0123456 with changes, SCVD_CLUSTERS=0, peers alone." in text, f"what was measured without should be said: {text}")
code, text = run([head(), ceilings, *good, row("attn.v.b.B64", 1.0, 1.1, "sdpa_flash")])
expect(code == 1 and "UNDER MUST: attention backward, 193 x 64" in text, f"1.1 is under 1.3: {code} {text}")
code, text = run([head(), ceilings, row("gemm.square.f", 1.0, 2.0, right=False)])
expect(code == 1 and "WRONG: gemm.square.f" in text, f"a wrong row cannot pass: {code}")
expect("| - | WRONG |" in text and "2.00" not in text, f"the time of a wrong row counts for nothing: {text}")
code, text = run([head(), ceilings, *good, {"type": "stopped", "id": "attn.v.f.B64", "failed": "illegal memory access", "not_run": ["adamw"]}])
expect(code == 1 and "illegal memory access" in text, f"a run that lost its GPU cannot pass: {code} {text}")
code, text = run([head(), ceilings, {"type": "row", "id": "adamw", "failed": "out of memory", "flops": 1, "bytes": 1, "shape": []}])
expect(code == 1 and "out of memory" in text, f"a failed row cannot pass: {code}")

code, text = run([head(sources={"kernels": "0" * 16, "step": "0" * 16}), ceilings, *good])
expect(code == 3 and text.startswith("stale") and "1.05" not in text, f"results of other sources should be refused: {code} {text}")
code, text = run([head(sources={"kernels": "0" * 16, "step": "0" * 16}), ceilings, *good], "--docs")
expect(code == 3, f"and should not reach the documents: {code}")
code, text = run([head(machine={"gpu": "emulated, not a GPU"}), ceilings, *good])
expect(code == 3 and "rehearsal" in text and "1.05" not in text, f"times of the emulator are nobody's: {code} {text}")
code, text = run([head("step", sources={"kernels": sources.fingerprint("kernels"), "step": "0" * 16})])
expect(code == 3, f"a step of another model should be refused: {code}")

ms = lambda v, gb: {"ms": {"median": v}, "peak_GB": gb}
step = {"type": "step", "id": "step.vit-b16.B64", "preset": "vit-b16", "B": 64, "ours": ms(20, 8), "peers": {"eager_trim": ms(50, 16), "compile_default": ms(30, 9), "compile_x": ms(26, 10)}}
code, text = run([head("step"), step])
expect(code == 1 and "memory beside" not in [l for l in text.splitlines() if "UNDER" in l][-1] and "of the floor" in text, f"a slow step is under: {text}")
expect("| 64 | times faster than compile_* | >= 1.15 | >= 1.4 | 1.30 | must |" in text, f"the best compiled step counts: {text}")
code, text = run([head("step"), step | {"peers": {}}, step])
expect("times faster than compile_* | >= 1.15 | >= 1.4 | 1.30 | must |" in text, f"the last line of a step that grew counts: {text}")
by_turns = step["peers"] | {"compile_x": ms(26, 10) | {"beside_ours": {"compile_x": {"median": 27}, "ours": {"median": 18}}}, "compile_default": ms(40, 9)}
code, text = run([head("step"), step | {"peers": by_turns}])
expect("times faster than compile_* | >= 1.15 | >= 1.4 | 1.50 | ahead |" in text, f"what was measured by turns counts: {text}")
stopped = {"type": "stopped", "id": "gemm.a", "failed": "it faulted", "not_run": ["gemm.b", "gemm.c"]}
expect(left(head(), stopped, {"type": "end"}) == left(head(), stopped) == "gemm.b,gemm.c", "rows behind one that faults or spins are run by another process")
expect(left(head(), stopped, head(), {"type": "end"}) == "", "a run that got to its end leaves nothing behind")

code, text = run([head("step"), {"type": "agreement", "right": False}, step | {"right": False}])
expect(code == 1 and "WRONG: step.vit-b16.B64" in text and "| - | WRONG |" in text and "1.30" not in text, f"a step that is not the twin's counts for nothing: {text}")
code, text = run([{"type": "row"}])
expect(code != 0 and "does not begin with a run" in text, "a file without a header is no record")

# The count, against the model itself: all parameters of the published size, and what a product costs.
k = count.training_step(count.preset("vit-b16"), 64)
expect(k.params == 160126464, f"the count has {k.params} parameters, the model 160126464")
qkv = next(c for c in k.calls if c.name == "qkv")
expect(qkv.flops == 2 * 64 * 193 * 768 * 2304 and qkv.times == 12, "the first projection")
print(f"{checks} checks passed")

"""Where and when something was measured: what every record of the CPU's opens with."""
import datetime
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def cpuinfo():
    """What the system says of its last processor: "model name", "flags", .."""
    return dict([part.strip() for part in l.split(":", 1)] for l in open("/proc/cpuinfo") if ":" in l)


def record():
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    about = cpuinfo()
    has = about.get("flags", "").split()
    return {"date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}", "git": git("rev-parse", "HEAD").stdout.strip(),
            "dirty": git("diff", "--quiet", "HEAD").returncode != 0, "cpu": about.get("model name", "unknown"),
            "isa": [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in has], "cores": os.cpu_count(), "command": " ".join(sys.argv),
            "load_before": os.getloadavg()}


def commit(r):
    """Which sources a record belongs to."""
    return f"commit {r['git'][:7]}{' with changes' if r.get('dirty') else ''}"


def headline(r):
    """One line for a table. The load counts ours too: two threads at work are a load of 2."""
    isa = f" ({', '.join(r['isa'])})" if "isa" in r else ""
    return (f"{r['cpu']}{isa}, {r['cores']} cores, {r['date']}, {commit(r)}, load {r['load_before'][0]:.1f} before and {r['load_after'][0]:.1f} after. "
            f"`{r['command']}`")

"""Where and when something was measured: what every record of the CPU's opens with."""
import datetime
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def record():
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    return {"date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}", "git": git, "cpu": cpu, "cores": os.cpu_count(), "command": " ".join(sys.argv),
            "load_before": os.getloadavg()}


def headline(r):
    """One line for a table. The load counts ours too: two threads at work are a load of 2."""
    return (f"{r['cpu']}, {r['cores']} cores, {r['date']}, commit {r['git'][:7]}, load {r['load_before'][0]:.1f} before and {r['load_after'][0]:.1f} after. "
            f"`{r['command']}`")

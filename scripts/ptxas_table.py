#!/usr/bin/env python3
"""Registers, spills and shared memory of every CUDA kernel, from what ptxas said during the build.

    ptxas_table.py OBJECT_FOLDER SOURCE_FOLDER TABLE

Writes the table and fails when a kernel spills registers, unless its .cu file says so with a header line
"// Spills   ..." that gives the reason; when ptxas put waits of its own between wgmmas, which it calls an "info"; and when a kernel
was launched with fewer registers than its warpgroups (one that gives, two that take) share out by setmaxnreg, which would hang."""
import pathlib
import re
import subprocess
import sys

objects, sources, table = map(pathlib.Path, sys.argv[1:])


def entries(text):
    """(mangled name, architecture, properties) of each compiled kernel."""
    for part in text.split("Compiling entry function")[1:]:
        name, arch = re.match(r" '(\w+)' for '(\w+)'", part).groups()
        number = lambda pattern: int((re.search(pattern, part) or [0, 0])[1])
        yield name, arch, {
            "registers": number(r"Used (\d+) registers"),
            "stack": number(r"(\d+) bytes stack frame"),
            "spill": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            "shared": number(r"(\d+) bytes smem"),
        }


def demangle(names):
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = lambda n: re.sub(r"\(.*", "", n.replace("(anonymous namespace)::", "").replace("eng::cuda::", "").removeprefix("void "))
    return [short(n).replace("__nv_bfloat16", "bf16") for n in out.splitlines()]


rows, failures = [], []
for file in sorted(objects.rglob("*.cu.o.ptxas")):
    source = file.name.removesuffix(".o.ptxas")
    text = file.read_text()
    found = list(entries(text))
    for code, name in sorted(set(re.findall(r"\((C75\d\d)\)[^\n]*w(?:gmma|arpgroup)[^\n]*function '(\w+)'", text))):
        failures.append(f"{source}: ptxas runs wgmmas of {demangle([name])[0]} one after the other ({code})")
    kernel_text = (sources / source).read_text()
    promise = not re.search(r"^// Spills ", kernel_text, re.M)
    shared_out = sum(n * int(r) for n, want in ((1, "dec"), (2, "inc")) for r in re.findall(rf"setmaxnreg_{want}<(\d+)>", kernel_text))
    for (_, arch, p), name in zip(found, demangle([f[0] for f in found])):
        rows.append((source, name, arch, p))
        if p["spill"] and promise:
            failures.append(f"{source}: {name} ({arch}) spills {p['spill']} bytes, and the file does not say that it may")
        if arch == "sm_90a" and name.startswith(source.removesuffix(".cu") + "_kernel") and 3 * p["registers"] < shared_out:
            failures.append(f"{source}: {name} has {p['registers']} registers a thread, and setmaxnreg shares out {shared_out} among three")

lines = [f"{'file':<20} {'arch':<7} {'registers':>9} {'stack':>6} {'spill':>6} {'shared':>7}  kernel"]
for source, name, arch, p in sorted(rows, key=lambda r: r[:3]):
    lines.append(f"{source:<20} {arch:<7} {p['registers']:>9} {p['stack']:>6} {p['spill']:>6} {p['shared']:>7}  {name}")
table.write_text("\n".join(lines) + "\n")
print(f"{len(rows)} kernels in {table}; most registers {max((r[3]['registers'] for r in rows), default=0)}, "
      f"spilling: {sum(1 for r in rows if r[3]['spill'])}")
if not rows:
    failures.append(f"no ptxas output under {objects}")
for f in failures:
    print("FAILED:", f, file=sys.stderr)
sys.exit(bool(failures))

#!/usr/bin/env python3
"""The rows that the last run of a record did not get to, for --only; nothing if it got to all.

    bench/left_behind.py FILE.jsonl"""
import json
import sys

with open(sys.argv[1]) as records:
    last = [r for r in map(json.loads, records) if r["type"] in ("run", "stopped")][-1]
print(",".join(last.get("not_run", [])))

"""Torture the cache: kill, fault, fill, cut the power, flip and truncate; then count what was lost.

    make torture
    python benchmarks/torture/torture.py --json benchmarks/results/torture.json

runs everything, with more than 1,000 kills; tests/cache/care/test_torture.py is a small form of it.
What a trial is and what counts as lost, wrong and stuck says trial.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from crowd import crowd
from flipped_bytes import flips
from full_disk import can_mount, full_disk, power_loss
from kept import RESULTS, keep, origin
from kills import compactions, faults, kills, moments


def main() -> None:
    """Run the tortures and print what they found, one line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="those whose title holds this")
    parser.add_argument("--work", type=Path, help="a folder on the disk to torture")
    parser.add_argument("--json", type=Path, help=f"keep the results, as in {RESULTS.name}")
    options = parser.parse_args()
    bad, began, lines = 0, origin(), []
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = Path(name)
        plan = {
            "kill -9, one writer": lambda: kills(work, 500, 1, seed=1),
            "kill -9, two writers": lambda: kills(work, 600, 2, seed=2),
            "kill -9 at every call of a commit": lambda: moments(work),
            "kill -9 at every call of a compaction": lambda: compactions(work),
            "a fault at every write, fsync, link": lambda: faults(work),
            "every byte flipped, every length": lambda: flips(work),
            "2 processes": lambda: crowd(work, 2),
            "4 processes": lambda: crowd(work, 4),
            "8 processes": lambda: crowd(work, 8),
        }
        if can_mount(work):
            plan["disk full"] = lambda: full_disk(work)
        if can_mount(work, loop=True):
            plan["power loss"] = lambda: power_loss(work, 60)
        skipped = {"disk full", "power loss"} - plan.keys()
        plan = {title: plan[title] for title in plan if options.only in title}
        for title, torture in plan.items():
            started = time.monotonic()
            found = torture()
            hurt = sum(found[x] for x in ("lost", "wrong", "stuck", "crashed", "twice"))
            bad += hurt
            for name in ("lost", "wrong", "stuck"):
                found.setdefault(name, 0)
            line = {"torture": title, "seconds": round(time.monotonic() - started, 1), **found}
            lines.append(line)
            print(json.dumps(line), flush=True)
        for title in sorted(skipped):
            lines.append({"torture": title, "skipped": "needs root"})
            print(json.dumps(lines[-1]), flush=True)
    if options.json:
        keep(options.json, "torture", began, lines)
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()

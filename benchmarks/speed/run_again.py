"""What a run costs that has little to do: CPU and wall seconds of `affekt run` in fresh processes.

    python benchmarks/speed/run_again.py recipe.yaml --change 'C: 0.01' 'C: 0.02' -o FILE

The recipe is copied beside itself, with a report of its own. Stages: the first run (embeddings are
stored if they were before), with nothing to do, after the change, and after the report was removed,
with what the cache has kept. CPU seconds include the processes that a run starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def timed(recipe: Path) -> dict[str, float]:
    """Run a recipe in a fresh process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-P", "-m", "affekt", "run", str(recipe)]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(cpu, 2), "wall_seconds": round(time.monotonic() - start, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--change", nargs=2, metavar=("OLD", "NEW"), required=True)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    text = options.recipe.read_text(encoding="utf-8")
    copy = options.recipe.with_name(f"{options.recipe.stem}-measured.yaml")
    report = copy.with_suffix("")
    text = re.sub(r"(?m)^report: .*$", f"report: {report.name}", text)
    stages = {}
    try:
        copy.write_text(text, encoding="utf-8")
        stages["first"] = timed(copy)
        stages["nothing to do"] = timed(copy)
        copy.write_text(text.replace(*options.change), encoding="utf-8")
        stages["after the change"] = timed(copy)
        shutil.rmtree(report)
        stages["without the report"] = timed(copy)
    finally:
        copy.unlink()
        shutil.rmtree(report, ignore_errors=True)
    for name, took in stages.items():
        print(f"{name:20} {took['cpu_seconds']:8.2f} CPU s {took['wall_seconds']:8.2f} s")
    if options.output:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        found = {**about, "date": time.strftime("%Y-%m-%d"), "recipe": options.recipe.name}
        found |= {"change": options.change, "stages": stages}
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

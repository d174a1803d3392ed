"""All CPU benchmarks, one after another, and one table of what is claimed.

    python benchmarks/speed/all.py [--only heads probe] [--quick]

Each leaves its JSON in ``benchmarks/results/cpu-NAME.json``, with the machine and the date; a ratio
is of two ways in one run. The machine should have nothing else to do. `--quick` is for seeing that
everything works: sizes of seconds, and the results go to a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
Rows = Iterator[tuple[str, float, str]]  # claim, ratio, and the share of the peak if there is one


@dataclass(frozen=True)
class Benchmark:
    """A program, what it is given, and how its JSON is read."""

    program: str
    given: tuple[str, ...]
    quick: tuple[str, ...]
    rows: Callable[[Any], Rows]
    output: str | None = "-o"  # without, it prints a line of JSON for each result


def of_heads(found: Any) -> Rows:
    for name in ("patch", "mlp"):
        share = f"{found[name]['share_of_peak']:.0%} of products"
        yield (
            f"{name} head, an epoch at batch 32, against a DataLoader loop",
            found[name]["ratio"],
            share,
        )


def of_probe(found: Any) -> Rows:
    for data in ("weak", "separable"):
        ratio = found[data].get("ratio")
        if ratio is not None:
            yield f"probe of a layer, {data} signal, against scikit-learn one by one", ratio, ""
    ratio = found["ratings"]["ratio"]
    yield "probe of a layer, ratings, against scikit-learn one by one", ratio, ""


def of_cache(found: Any) -> Rows:
    for line in found:
        for key, value in line.items():
            if "_vs_" in key:
                ours, theirs = key.split("_vs_")
                yield f"cache, {line['benchmark']}: {ours}, against {theirs}", value, ""


def of_extraction(found: Any) -> Rows:
    for family, ways in found["families"].items():
        ours = ways["affekt"]
        [per_second] = [key for key in ours if key == "GFLOP/s"]
        for way in ("one file at a time", "padded 16, file order"):
            if way in ways:
                ratio = ours[per_second] / ways[way][per_second]
                share = f"{ours['share of matmul peak']:.0%} of products"
                yield f"{family}, against {way}", ratio, share


def of_watching(found: Any) -> Rows:
    yield (
        f"an edit while watching ({found['watching']:.2f} s), against a new run",
        found["ratio"],
        "",
    )


BENCHMARKS = {
    "cache": Benchmark(
        "speed/cache.py",
        ("--rows", "16384", "--stored", "4096", "--opened", "100000"),
        ("--rows", "512", "--stored", "64", "--opened", "2048"),
        of_cache,
        None,
    ),
    "probe": Benchmark(
        "speed/probe.py",
        ("--layers", "1", "--reference", "1"),
        ("--layers", "1", "--reference", "1", "--clips", "300", "--dim", "32"),
        of_probe,
    ),
    "heads": Benchmark(
        "heads.py",
        ("speed", "--rows", "2000"),
        ("speed", "--rows", "64", "--rounds", "1"),
        of_heads,
    ),
    "extraction": Benchmark(
        "speed/extract.py", (), ("--size", "small", "--rounds", "1"), of_extraction
    ),
    "watching": Benchmark("speed/watch.py", (), ("--edits", "1"), of_watching),
}


def main() -> None:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if given.quick else RESULTS
        lines = []
        for name in given.only:
            found = measured(BENCHMARKS[name], given.quick)
            kept = {**about, "result": found}
            (place / f"cpu-{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
            lines += list(BENCHMARKS[name].rows(found))
    width = max(len(claim) for claim, _, _ in lines)
    for claim, ratio, share in lines:
        print(f"{claim:{width}} {ratio:8.2f}x  {share}")
    if shutil.which("ffmpeg"):
        few = ["--few"] if given.quick else []
        subprocess.run([sys.executable, HERE.parent / "decoding.py", *few], check=True)


def measured(one: Benchmark, quick: bool) -> Any:
    """Run a benchmark, and return its JSON."""
    command = [sys.executable, str(HERE.parent / one.program), *(one.quick if quick else one.given)]
    print("$ python benchmarks/" + " ".join([one.program, *command[2:]]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found.json")
        if one.output:
            subprocess.run([*command, one.output, str(path)], check=True, stdout=sys.stderr)
            return json.loads(path.read_text())
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return [json.loads(line) for line in text.splitlines()]


def machine() -> dict[str, Any]:
    """Return processor, instruction sets, load and date."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    model = re.search(r"model name\s*: (.*)", text)
    return {
        "machine": model[1] if model else platform.processor() or platform.machine(),
        "sets": [one for one in SETS if re.search(rf"\b{one}\b", text)],
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()

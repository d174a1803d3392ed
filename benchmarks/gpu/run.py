"""What a GPU does with affekt, in stages with a time limit each that leave their results.

    benchmarks/gpu/run.sh WHEELS OUT                 # on a machine with a GPU: under ten minutes
    python benchmarks/gpu/run.py --out OUT --tiny    # every stage on a CPU, in seconds

Stages: the GPU tests; peaks; XLSR-53 size from files on disk to committed HDF5, beside the one-file
loop and padded batches; Wav2Vec2-BERT; the patch head beside an eager loop; BERT-base; the probe
sweep. The results of all stages are put together in OUT/gpu-CARD.json and printed as a table; what
the stages say is in OUT/gpu.log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGES = {
    "peaks": 60, "tests": 140, "speech": 180, "conformer": 120, "heads": 120, "text": 80,
    "probe": 60,
}  # fmt: skip
KEPT = "gpu-stage.json"  # results of the stage that runs
ALL = 550  # seconds; a stage seldom takes all of its own


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the stages, each in a process of its own unless tiny; write and return their results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--tiny", action="store_true", help="small sizes on a CPU, to try it")
    parser.add_argument("--one", choices=list(STAGES), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.one:
        return _one(given.one, given.out, tiny=given.tiny)
    if absent := missing():
        parser.error(f"{', '.join(absent)} cannot be imported; wheels.sh downloads what is needed")
    found: dict[str, Any] = {"seconds": {}}
    begun = time.monotonic()
    (given.out / "gpu.log").unlink(missing_ok=True)
    for stage in given.stages:
        started = time.monotonic()
        limit = max(0, min(STAGES[stage], begun + ALL - started))
        (given.out / KEPT).unlink(missing_ok=True)
        ended = _run(stage, given.out, limit, tiny=given.tiny)
        found[stage] = {**_results(given.out), "ended": ended}
        found["seconds"][stage] = round(time.monotonic() - started, 1)
        say(f"== {stage}: {ended}, {found['seconds'][stage]} s")
        machine = found.get("peaks", {}).get("machine", {})
        card = str(machine.get("gpu") or "cpu").replace(" ", "-").lower()
        (given.out / f"gpu-{card}.json").write_text(json.dumps(found, indent=1) + "\n")
    (given.out / KEPT).unlink(missing_ok=True)
    say(table(found))
    return found


def _run(stage: str, out: Path, limit: float, *, tiny: bool) -> str:
    """Run a stage with its messages in the log, and say how it ended."""
    if tiny:
        _one(stage, out, tiny=True)
        return "done"
    command = [sys.executable, __file__, "--out", str(out), "--one", stage]
    with (out / "gpu.log").open("a") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # what it started ends too: it must not slow down the next stage
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code == 0:
        return "done"
    lines = (out / "gpu.log").read_text(errors="replace").splitlines()[-30:]
    say("\n".join(lines))
    how = f"stopped after {limit:.0f} s" if code is None else f"exit status {code}"
    return f"{how}: {lines[-1][:300] if lines else ''}"


def missing() -> list[str]:
    """Name what affekt depends on and this Python lacks."""
    modules = {"scikit-learn": "sklearn", "PyYAML": "yaml"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w-]", one)[0] for one in project["dependencies"]]
    return [name for name in names if find_spec(modules.get(name, name)) is None]


def _one(stage: str, out: Path, *, tiny: bool) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import stages

    if not tiny and stages.DEVICE == "cpu":
        raise SystemExit("torch sees no CUDA device; --tiny runs on a CPU")

    def keep(**results: Any) -> None:
        """Add to the results of the stage, on disk at once."""
        (out / "gpu-new.json").write_text(json.dumps(_results(out) | results))
        (out / "gpu-new.json").replace(out / KEPT)  # it may be stopped at any time
        say(f"{stage}: {json.dumps(results)}")

    getattr(stages, stage)(keep, tiny)
    return _results(out)


def _results(out: Path) -> dict[str, Any]:
    """Read what the stage has kept so far."""
    kept = out / KEPT
    return json.loads(kept.read_text()) if kept.exists() else {}


def table(found: dict[str, Any]) -> str:
    """Lay out what was measured, in Markdown."""
    lines = ["| what | measured |", "|---|---|"]
    for stage, results in found.items():
        if stage == "seconds":
            continue
        for name, value in results.items():
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{key} {one}" for key, one in value.items())
            lines.append(f"| {stage}: {name} | {shown} |")
    return "\n".join(lines)


def say(text: str) -> None:
    """Write progress to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()

"""What a GPU does with affekt, in stages with a time limit each that leave their results.

    benchmarks/gpu/run.sh WHEELS OUT                 # on a machine with a GPU: under ten minutes
    python benchmarks/gpu/run.py --out OUT --tiny    # every stage on a CPU, in seconds

Stages: the GPU tests; peaks; XLSR-53 size from files on disk to committed HDF5, beside the one-file
loop and padded batches; Wav2Vec2-BERT; the patch head beside an eager loop; BERT-base; the probe
sweep. The results of all stages are put together in OUT/gpu-CARD.json and printed as a table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGES = {
    "peaks": 40, "tests": 100, "speech": 150, "conformer": 100, "heads": 100, "text": 60,
    "probe": 50,
}  # fmt: skip


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
    for stage in given.stages:
        started = time.monotonic()
        command = [sys.executable, __file__, "--out", str(given.out), "--one", stage]
        ended = "done"
        if given.tiny:
            _one(stage, given.out, tiny=True)
        else:
            ended = _ended(command, given.out / f"{stage}.log", STAGES[stage])
        took = round(time.monotonic() - started, 1)
        kept = given.out / f"{stage}.json"
        found[stage] = json.loads(kept.read_text()) if kept.exists() else {}
        found[stage]["ended"] = ended
        found["seconds"][stage] = took
        say(f"== {stage}: {ended}, {took} s")
        machine = found.get("peaks", {}).get("machine", {})
        card = str(machine.get("gpu") or "cpu").replace(" ", "-").lower()
        (given.out / f"gpu-{card}.json").write_text(json.dumps(found, indent=1) + "\n")
    say(table(found))
    return found


def _ended(command: list[str], log: Path, limit: int) -> str:
    """Run a stage with its messages in a file, and say how it ended."""
    with log.open("w") as file:
        try:
            code = subprocess.run(command, timeout=limit, stderr=file, stdout=file).returncode
        except subprocess.TimeoutExpired:
            return f"stopped after {limit} s"
    if code == 0:
        return "done"
    lines = log.read_text(errors="replace").splitlines()
    return f"exit status {code}: {lines[-1][:300] if lines else ''}"


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

    kept = out / f"{stage}.json"
    kept.unlink(missing_ok=True)

    def keep(**results: Any) -> None:
        """Add to the results of the stage, on disk at once."""
        before = json.loads(kept.read_text()) if kept.exists() else {}
        kept.write_text(json.dumps(before | results, indent=1) + "\n")
        say(f"{stage}: {json.dumps(results)}")

    getattr(stages, stage)(keep, tiny)
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

"""The results of the torture tests, in a JSON file that says where they come from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results" / "torture.json"
PACKAGES = ("affekt", "h5py", "numpy", "scikit-learn")


def commit() -> str:
    """Return the commit of the code, with ``+`` if files have changed since; empty outside git."""
    start = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        name = subprocess.run(
            [*start, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*start, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{name}+" if changed else name


def origin() -> dict[str, object]:
    """Return the date, the commit, the machine and the versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }


def keep(path: Path, program: str, began: dict[str, object], lines: list[dict]) -> None:
    """Put the lines of a program into the file; those of other programs stay."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[program] = {**began, "results": lines}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

"""Recordings that are refused do not stay in memory."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ..support.processes import started

MANY, SIZE = 64, 32 << 20  # 2 GiB together
MOST = 1200  # MiB; a run without them takes some 220, and 256 may be under way
RECIPE = """\
manifest: clips.csv
task: emotion6
cache: my.cache
encoders: {speech: spectral}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members: {lr: {head: logistic, on: speech}}
compare: {n_resamples: 100, learning_curve: false}
report: out
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_a_run_over_hostile_recordings_takes_little_memory(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["id,path,label,speaker"]
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 4000), 16_000)
        rows.append(f"{i},{i}.wav,{['anger', 'sadness'][i % 2]},s{i // 2}")
    noise = rng.bytes(SIZE)
    for i in range(MANY):
        place = tmp_path / f"h{i}.wav"
        if i % 8:  # eight files, each under eight names
            os.link(tmp_path / f"h{i - i % 8}.wav", place)
        else:
            place.write_bytes(i.to_bytes(4, "little") + noise[4:])
        rows.append(f"h{i},h{i}.wav,anger,s{i // 8 % 6}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "r.yaml").write_text(RECIPE)
    words = [sys.executable, "-P", "-m", "affekt", "run", "r.yaml"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        Path(tmp_path, "said").open("wb") as said,
        started(words, cwd=tmp_path, stdout=said, stderr=said, env=env) as process,
    ):
        peak = 0
        while process.poll() is None:
            peak = peak_memory(process.pid) or peak
            time.sleep(0.02)
    told = (tmp_path / "said").read_text()
    assert (tmp_path / "out" / "report.md").exists(), told
    assert f"{MANY} of {MANY + 12} clips could not be embedded" in told, told
    assert 100 < peak < MOST, f"{peak} MiB"


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has held so far, in MiB; 0 if it has ended.

    `ru_maxrss` would count what the test's own process held when it started the other one.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return 0

"""Every stage of the GPU benchmark runs through in tiny sizes on a CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_stage_leaves_its_results_where_affekt_is_not_installed(tmp_path):
    venv.create(tmp_path / "python", with_pip=False)
    [site] = (tmp_path / "python").glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")))
    (tmp_path / "no-wheels").mkdir()
    script = ROOT / "benchmarks" / "gpu" / "run.sh"
    command = [str(script), str(tmp_path / "no-wheels"), str(tmp_path / "out"), "--tiny"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHON"] = str(tmp_path / "python/bin/python")
    ran = subprocess.run(command, capture_output=True, text=True, env=env)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads((tmp_path / "out" / "gpu-cpu.json").read_text())
    stages = {"peaks", "tests", "speech", "conformer", "text", "heads", "probe"}
    assert stages < set(found)
    for stage in stages:
        assert found[stage]["ended"] == "done"
        assert len(found[stage]) > 1
    for kind in ("wav", "flac", "mp3"):
        row = found["speech"][f"float32 {kind} to HDF5"]
        assert row["rows"] == {"wav": 6, "flac": 4, "mp3": 4}[kind]
    assert found["tests"]["status"] == 0, found["tests"]
    assert re.match(r"\d\d", found["tests"]["summary"])


def test_the_wheels_and_the_machine_have_every_dependency():
    # what comes with an image for deep learning; the rest has to be carried there
    there = {"numpy", "h5py", "torch", "transformers", "scikit-learn", "safetensors", "joblib"}
    there |= {"scipy", "click", "tqdm", "PyYAML"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^\w-]", one)[0] for one in project["dependencies"]}
    carried = set((ROOT / "benchmarks" / "gpu" / "wheels.sh").read_text().split())
    assert needed <= there | carried

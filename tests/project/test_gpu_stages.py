"""Without a GPU: every stage of its benchmark in tiny sizes, and its tests on a simulated one."""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SOME = (
    "rules or (graph and MLP) or gives and (xlsr-ctc or distilbert or wavlm-base) or "
    "close and bert or whole_probe or constant"
)
simulated = pytest.mark.skipif(
    not hasattr(torch.cuda, "_simulated"), reason="with -p tests.support.simulated_gpu only"
)


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
    there |= {"scipy", "click", "tqdm", "PyYAML", "matplotlib"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^\w-]", one)[0] for one in project["dependencies"]}
    carried = set((ROOT / "benchmarks" / "gpu" / "wheels.sh").read_text().split())
    assert needed <= there | carried


def test_a_stage_that_takes_too_long_keeps_its_results_and_ends_with_what_it_started(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "gpu")
    run = importlib.import_module("run")
    stage, out, alive = (tmp_path / name for name in ("stage.py", "out", "alive"))
    stage.write_text(
        "import json, pathlib, subprocess, sys, time\n"
        "kept = json.dumps({'machine': {'gpu': 'NVIDIA X1'}})\n"
        f"pathlib.Path(sys.argv[2], {run.KEPT!r}).write_text(kept)\n"
        f"with open({str(alive)!r}, 'w') as pipe:\n"
        "    subprocess.Popen(['sh', '-c', 'echo started; sleep 60'], stdout=pipe)\n"
        "print('computes', flush=True)\n"
        "time.sleep(60)\n"
    )
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(run, "__file__", str(stage))
    monkeypatch.setattr(run, "STAGES", {"peaks": 1.5})
    run.main(["--out", str(out), "--stages", "peaks"])
    assert {path.name for path in out.iterdir()} == {"gpu.log", "gpu-nvidia-x1.json"}
    found = json.loads((out / "gpu-nvidia-x1.json").read_text())["peaks"]
    assert re.fullmatch(r"stopped after \d s: computes", found["ended"])
    assert os.read(reader, 99) == b"started\n"
    assert select.select([reader], [], [], 5)[0]
    assert os.read(reader, 99) == b""  # nothing holds the other end
    os.close(reader)


def test_full_sizes_need_a_gpu(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "gpu")
    monkeypatch.setitem(sys.modules, "stages", SimpleNamespace(DEVICE="cpu"))
    with pytest.raises(SystemExit, match="no CUDA device"):
        importlib.import_module("run").main(["--out", str(tmp_path), "--one", "speech"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")
def test_gpu_tests_pass_on_a_simulated_gpu():
    files = ["test_encoders_gpu.py", "packed/test_encoders_packed.py"]
    paths = [f"tests/extract/encoders/{name}" for name in files]
    paths += ["tests/classify/probing", "tests/classify/heads/training/test_graphed.py", __file__]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["-p", "tests.support.simulated_gpu", "-m", "gpu", "-k", SOME, *paths]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
    last = ran.stdout.splitlines()[-1]
    assert "passed" in last
    assert "skipped" not in last


@pytest.mark.gpu
@simulated
def test_rules_of_two_devices():
    here, there = torch.ones(2, 3), torch.ones(2, 3, device="cuda")
    assert (there.device.type, (there + 1).is_cuda, there.cpu().is_cuda) == ("cuda", True, False)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(RuntimeError, match="same device"):
        torch.nn.Linear(3, 1)(there)
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert float((there * torch.tensor(2.0)).sum()) == 12  # a scalar of the CPU is allowed
    layer = torch.nn.Linear(3, 1).to("cuda")
    layer(there).sum().backward()
    assert layer.weight.grad.is_cuda


@pytest.mark.gpu
@simulated
def test_rules_of_graphs():
    total, graph = torch.zeros(2, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = total + 1
        total.add_(made)
    assert total.tolist() == [0, 0]  # a capture computes nothing
    graph.replay()
    graph.replay()
    assert (total.tolist(), made.tolist()) == ([3, 3], [2, 2])
    for wait in (total.sum().item, total.cpu, lambda: total + torch.ones(2).to("cuda")):
        with (
            pytest.raises(RuntimeError, match="capturing"),
            torch.cuda.graph(torch.cuda.CUDAGraph()),
        ):
            wait()

"""What runs on a GPU runs on a simulated one: no tensor is left on the CPU, no graph waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SOME = (
    "rules or (graph and MLP) or gives and (xlsr-ctc or distilbert or wavlm-base) or "
    "close and bert or "
    "whole_probe or constant"
)
simulated = pytest.mark.skipif(
    not hasattr(torch.cuda, "_simulated"), reason="with -p tests.support.simulated_gpu only"
)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")
def test_gpu_tests_pass_on_a_simulated_gpu():
    files = ["test_encoders_gpu.py", "packed/test_encoders_packed.py"]
    paths = [f"tests/extract/encoders/{name}" for name in files]
    paths += ["tests/classify/probing", "tests/classify/heads/training/test_graphed.py", __file__]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["-p", "tests.support.simulated_gpu", "-m", "gpu", "-k", SOME, *paths]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
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

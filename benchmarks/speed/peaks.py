"""What the machine is, and the most that it can do: the denominators of every share."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf

sys.path.insert(0, str(Path(__file__).resolve().parent))

from all import SETS


def machine(device: str) -> dict[str, Any]:
    """Say what it runs on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "instruction sets": [one for one in SETS if any(one in line.split() for line in lines)],
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device != "cpu" else None,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "transformers": tf.__version__,
    }


def peaks(device: str, clock: str = "wall") -> dict[str, float]:
    """Measure what the machine can do at best: matrix products and memory."""
    size = 2048 if device == "cpu" else 8192
    found = {}
    for name in ("float32", "bfloat16"):
        a = torch.randn(size, size, device=device, dtype=getattr(torch, name))
        took = best(lambda a=a: a @ a, device, clock)
        found[f"{name} matmul, GFLOP/s"] = round(2 * size**3 / took / 1e9, 1)
    a = torch.empty(1 << 26, device=device)
    found["copy, GB/s"] = round(2 * a.nbytes / best(a.clone, device, clock) / 1e9, 1)
    return found


def products(folder: Path, dtype: str, clock: str, rows: int = 512) -> Callable[[], float]:
    """Make what measures the GFLOP/s of a block's products over `rows` frames.

    By the faster library, the median of some bursts: taken before and after what it is the peak of,
    both see the same load.
    """
    config, kind = tf.AutoConfig.from_pretrained(folder), getattr(torch, dtype)
    width = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", 4 * width)
    shapes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    inputs = {size: torch.randn(rows, size).to(kind) for size in {width, inner}}
    weights = [torch.randn(after, before).to(kind) for before, after in shapes]
    mkldnn = torch.ops.mkldnn
    packed = [mkldnn._reorder_linear_weight(weight) for weight in weights]

    def by_mkl() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    def by_onednn() -> None:
        for weight, (before, _) in zip(packed, shapes, strict=True):
            mkldnn._linear_pointwise(inputs[before], weight, None, "none", [], "")

    def measure() -> float:
        with torch.inference_mode():
            took = [timed(run, "cpu", clock, 15) for run in (by_mkl, by_onednn)]
        work = 2 * rows * sum(a * b for a, b in shapes)
        return round(work / min(map(statistics.median, took)) / 1e9, 1)

    return measure


def best(run: Callable[[], Any], device: str, clock: str) -> float:
    """Time a function seven times; the shortest counts, for a peak."""
    return min(timed(run, device, clock, 7))


def timed(run: Callable[[], Any], device: str, clock: str, times: int) -> list[float]:
    """Time a function some times, in seconds."""
    took, now = [], time.process_time if clock == "cpu" else time.perf_counter
    for _ in range(times):
        started = now()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        took.append(now() - started)
    return took

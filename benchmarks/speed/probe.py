"""Every layer, C and fold as one batched solve, against scikit-learn one fit after another.

    python benchmarks/speed/probe.py --layers 25 --reference 1 -o benchmarks/results/probe.json

Synthetic layers of 4,000 clips x 1,024 with a falling spectrum, 6 classes, 10 values of C, 5 folds;
CPU seconds of one thread. `--reference` layers are also fitted by scikit-learn (float64, tolerance
1e-6); the ratio is per layer. Ridge regressions on two ratings: at most 2,000 x 512, nine values of
alpha, the 15 sets of clips of five nested folds, in turn with scikit-learn's `Ridge` one by one,
which is given the standardised rows of a set once for all alphas.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from affekt.classify.heads.linear.ridge import ALPHAS
from affekt.classify.probing import ridge_batch
from affekt.classify.probing.layer_rows import Rows
from affekt.classify.probing.logistic_batch import Problems, predict, solve
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

SIGNALS = {"weak": 0.35, "separable": 2.0}
FOLDS, CLASSES = 5, 6
VALUES = np.logspace(-4, 1, 10)


def layer(n: int, dim: int, signal: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(clips, dim)` and class codes."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    y = rng.integers(0, CLASSES, n)
    means = rng.normal(size=(CLASSES, dim)) * signal
    X = ((rng.normal(size=(n, dim)) + means[y]) * np.arange(1, dim + 1) ** -0.7) @ turn
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32), y


def objective(W: np.ndarray, b: np.ndarray, X: np.ndarray, y: np.ndarray, C: float) -> float:
    """Return what scikit-learn minimises, in float64."""
    Z = X.astype(np.float64) @ W.T + b
    top = Z.max(axis=1)
    loss = np.log(np.exp(Z - top[:, None]).sum(axis=1)) + top - Z[np.arange(len(y)), y]
    return float(loss.sum() + (W**2).sum() / (2 * C))


def sweep(n: int) -> tuple[np.ndarray, np.ndarray, Problems]:
    """Return cells of clips, the fold that each problem holds out, and the problems."""
    cells = np.random.default_rng(1).integers(0, FOLDS, n)
    fold, value = (a.ravel() for a in np.meshgrid(range(FOLDS), VALUES, indexing="ij"))
    masks = np.arange(FOLDS) != fold[:, None]
    return cells, fold, Problems(masks, value, np.ones((len(fold), CLASSES), np.float32))


def measure(n: int, dim: int, signal: float, layers: int, reference: int) -> dict[str, Any]:
    """Fit layers both ways."""
    cells, fold, problems = sweep(n)
    value = problems.C
    ours, theirs, gaps, same, waited = [], [], [], [], []
    for seed in range(layers):
        X, y = layer(n, dim, signal, seed)
        start, began = time.process_time(), time.perf_counter()
        with Rows(X.__getitem__, y, cells) as rows:
            W = solve(rows, problems)
            guess = predict(rows, W, problems)
        ours.append(time.process_time() - start)
        waited.append(time.perf_counter() - began)
        if seed >= reference:
            continue
        accuracy = np.zeros((2, len(VALUES)))
        for k, C in enumerate(value):
            train = cells != fold[k]
            start = time.process_time()
            oracle = LogisticRegression(C=C, tol=1e-6, max_iter=20_000)
            oracle.fit(X[train].astype(np.float64), y[train])
            expected = oracle.predict(X[~train])
            theirs.append(time.process_time() - start)
            slopes = W[k, :, :-1].astype(np.float64)
            b = W[k, :, -1] - slopes @ rows.mean
            best = objective(oracle.coef_, oracle.intercept_, X[train], y[train], C)
            gaps.append(objective(slopes, b, X[train], y[train], C) / best - 1)
            held = guess[k][cells[rows.order] == fold[k]]
            truth = y[rows.order][cells[rows.order] == fold[k]]
            accuracy[:, k % len(VALUES)] += (held == truth).sum(), (expected == y[~train]).sum()
        same.append(bool(accuracy[0].argmax() == accuracy[1].argmax()))
    fitted = sum(theirs) / max(reference, 1)
    return {
        "layers": layers,
        "cpu_seconds_per_layer": float(np.median(ours)),
        "seconds_per_layer": float(np.median(waited)),
        "scikit_learn_cpu_seconds_per_layer": fitted,
        "ratio": fitted / float(np.median(ours)),
        "objective_gap_max": max(gaps, default=0.0),
        "objective_gap_min": min(gaps, default=0.0),
        "same_C": all(same),
    }


def ratings(n: int, dim: int, rounds: int = 5) -> dict[str, Any]:
    """Fit one layer to two ratings both ways, in turn."""
    X, _ = layer(n, dim, 0.0, 0)
    rng = np.random.default_rng(0)
    y = X[:, :2] + X[:, 2:4] + 2 * rng.standard_normal((n, 2))
    cells = rng.integers(0, FOLDS, n)
    held = [*combinations(range(FOLDS), 1), *combinations(range(FOLDS), 2)]
    masks = np.array([~np.isin(range(FOLDS), one) for one in held])
    ours, theirs, gap = [], [], 0.0
    for _ in range(rounds):
        start = time.process_time()
        with Rows(X.__getitem__, y, cells, scale=True) as rows:
            shrink = np.array([rows.ratios(mask)[:-1] for mask in masks], float)
            W = ridge_batch.solve(rows, masks, ALPHAS, shrink)
            said = np.empty((len(masks), len(ALPHAS), n, 2), np.float32)
            said[:, :, rows.order] = ridge_batch.predict(rows, W, masks)
        ours.append(time.process_time() - start)
        start = time.process_time()
        for at, mask in enumerate(masks):
            train = mask[cells]
            scaler = StandardScaler().fit(X[train].astype(float))
            own, held_out = (scaler.transform(X[rows].astype(float)) for rows in (train, ~train))
            for k, alpha in enumerate(ALPHAS):
                expected = Ridge(alpha=alpha).fit(own, y[train]).predict(held_out)
                gap = max(gap, float(np.abs(said[at, k, ~train] - expected).max()))
        theirs.append(time.process_time() - start)
    return {
        "clips": n,
        "features": dim,
        "cpu_seconds": float(np.median(ours)),
        "scikit_learn_cpu_seconds": float(np.median(theirs)),
        "ratio": float(np.median(np.divide(theirs, ours))),
        "prediction_gap_max": gap,
    }


def on_device(n: int, dim: int, signal: float, layers: int, device: str) -> dict[str, Any]:
    """Fit all layers on a device, the second time timed, and the first layer on the processor."""
    import torch
    from affekt.classify.probing.device import solver as device_solver
    from affekt.classify.probing.device.rows import DeviceRows
    from affekt.extract.encoders.hardware.exactness import exact_arithmetic

    cells, fold, problems = sweep(n)
    X, y = layer(n, dim, signal, 0)
    rng = np.random.default_rng(2)
    noise = np.float32(2 / layers)
    stack = [X + k * noise * rng.standard_normal(X.shape, np.float32) for k in range(layers)]
    marks: list[float] = []

    def mark() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    W, guess = torch.empty(0), np.empty(0)
    with exact_arithmetic():
        for _ in range(2):
            W = torch.empty(0)  # makes room
            marks.clear()
            mark()
            read = (values.__getitem__ for values in stack)
            rows = DeviceRows(read, y, cells, layers=layers, dim=dim, device=device)
            mark()
            every = device_solver.DeviceProblems.of([problems] * layers, rows)
            W = device_solver.solve(rows, every)
            mark()
            guess = device_solver.predict(rows, W, every).cpu().numpy()
            mark()
        own = W[: len(fold)].double().cpu().numpy()
    started = time.perf_counter()
    with Rows(X.__getitem__, y, cells) as plain:
        theirs = solve(plain, problems)
        expected = np.empty((len(fold), n), np.int16)
        expected[:, plain.order] = predict(plain, theirs, problems)
    took = time.perf_counter() - started
    gaps, right = [], np.zeros((2, len(VALUES)))
    for k, C in enumerate(problems.C):
        train = cells != fold[k]
        found = [
            objective(W[:, :-1], W[:, -1] - W[:, :-1] @ plain.mean, X[train], y[train], C)
            for W in (own[k], theirs[k].astype(float))
        ]
        gaps.append(found[0] / found[1] - 1)
        for way, one in enumerate((guess[k], expected[k])):
            right[way, k % len(VALUES)] += (one == y)[~train].sum()
    upload, solving, predicting = np.diff(marks).round(4).tolist()
    return {
        "layers": layers,
        "s": round(marks[-1] - marks[0], 3),
        "upload, s": upload,
        "solve, s": solving,
        "predict, s": predicting,
        "one layer on the processor, s": round(took, 3),
        "objective_gap_max": max(gaps),
        "same_C": bool(right[0].argmax() == right[1].argmax()),
    }


def machine(dim: int) -> dict[str, object]:
    """Return the processor, its instruction sets, and its float32 matrix product."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {word for word in text.split() if word.startswith(("avx", "amx"))}
    A, B = (np.ones((300, dim), np.float32), np.ones((dim, 4000), np.float32))
    times = []
    for _ in range(5):
        start = time.process_time()
        A @ B
        times.append(time.process_time() - start)
    peak = 2 * 300 * dim * 4000 / float(np.median(times)) / 1e9
    return {"machine": platform.machine(), "flags": sorted(flags), "sgemm_gflops": round(peak, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--reference", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    found: dict[str, Any] = {"machine": machine(given.dim), "load": os.getloadavg()[0]}
    for name, signal in SIGNALS.items():
        found[name] = measure(given.clips, given.dim, signal, given.layers, given.reference)
        print(name, json.dumps(found[name]), flush=True)
    found["ratings"] = ratings(min(given.clips, 2000), min(given.dim, 512))
    print("ratings", json.dumps(found["ratings"]), flush=True)
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found["machine"]), f"peak {found['peak_mb']} MB")
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

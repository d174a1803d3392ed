"""The stages of `run.py`; each takes `keep`, which writes results down, and whether to be tiny."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from affekt.cache import Cache, Manifest
from affekt.extract import Encoder, decode, extract
from affekt.extract.encoders import open_backend

import extract as bench  # benchmarks/speed/extract.py

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GFLOP_PER_SECOND = 36.8  # XLSR-53, for each second of audio in clips of 1 to 12 s
Keep = Callable[..., None]
loop = import_module("affekt.extract.running.embedding")

tf.utils.logging.set_verbosity_error()
tf.utils.logging.disable_progress_bar()


def peaks(keep: Keep, tiny: bool) -> None:
    """What the device can do at best, TF32 off."""
    keep(machine=bench.machine(DEVICE))
    if tiny:
        torch.set_num_threads(1)
    found = bench.peaks(DEVICE) if not tiny else {"float32 matmul, GFLOP/s": 1.0}
    keep(**found)


def tests(keep: Keep, tiny: bool) -> None:
    """The tests that need a GPU; without one they are only collected."""
    # the package is the one of PYTHONPATH, not the folder affekt/ of the repository
    command = [sys.executable, "-P", "-m", "pytest", "-v", "-o", "pythonpath="]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark"]
    command += ["-m", "gpu", "tests/extract/encoders/test_encoders_gpu.py"]
    command += ["tests/extract/encoders/packed/test_encoders_packed.py"]
    command += [f"tests/classify/probing/test_probing_{name}.py" for name in ("device", "solver")]
    command += [f"tests/classify/heads/training/test_{name}.py" for name in ("graphed", "training")]
    command += ["tests/classify/heads/training/stacked"]
    command += ["--collect-only"] if tiny else ["--tb=short", "--durations=10"]
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as ran:
        for line in ran.stdout or ():
            sys.stderr.write(line)  # which were done, should time run out
            lines.append(line.strip("= \n"))
    keep(summary=next(filter(None, reversed(lines)), ""), status=ran.returncode)
    keep(failed=[line[:300] for line in lines if line.startswith(("FAILED", "ERROR"))][:40])


def speech(keep: Keep, tiny: bool) -> None:
    """XLSR-53 size: one file, padded and sorted loops, then files on disk to committed HDF5."""
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor() as writers:
        folder = Path(place)
        files, written = _sounds(folder, TINY if tiny else SOUNDS, writers)
        bench.build("xlsr", folder / "model", small=tiny)
        dtype = "bfloat16" if DEVICE == "cuda" else "float32"
        ours = Encoder(str(folder / "model"), dtype=dtype, device=DEVICE)
        exact = open_backend(str(folder / "model"), dtype="float32", device=DEVICE)
        plain = bench.Plain("xlsr", folder / "model", DEVICE, dtype)
        list(written)
        few = [decode(Path(one).read_bytes(), 16000).samples for one in files["wav"][:256]]
        found = _in_memory(keep, few, dtype, ours.backend, exact, plain, 1 if tiny else 8)
        for kind, some in files.items():
            table = [{"id": Path(one).name, "path": one} for one in some]
            clips = Manifest.from_rows(table, root=folder)
            row = _from_disk(clips, Cache(folder / f"{kind}-cache"), ours)
            speed = sum(map(_length, map(_number, some))) / row["s"]
            keep(**{f"{dtype} {kind} to HDF5": {**_shares(speed, found), **row}})


SOUNDS = {"wav": 12_000, "flac": 4_000, "mp3": 2_000}
TINY = {"wav": 6, "flac": 4, "mp3": 4}


def _in_memory(
    keep: Keep, few: list, dtype: str, ours: Any, exact: Any, plain: Any, repeat: int
) -> dict[str, float]:
    seconds = sum(map(len, few)) / 16000
    exact.embed(few[:8])
    took, rows = _timed(lambda: exact.embed(few), rounds=3)  # float32 with TF32 off
    truth = [row.values for row in rows]
    keep(**{"float32 affekt, in memory": {"audio s/s": round(seconds / took, 1)}})
    order = sorted(range(len(few)), key=lambda i: -len(few[i]))
    ways = {
        "one file at a time": [[i] for i in range(len(few))],
        "padded 16, file order": bench.blocks(list(range(len(few)))),
        "padded 16, sorted": bench.blocks(order),
    }
    plain.run(few[:4], [[0], [1], [2, 3]])
    found = {}
    for name, groups in ways.items():
        # a length that is met first costs the libraries a search for their best kernels
        first, _ = _timed(lambda groups=groups: plain.run(few, groups))
        took, made = _timed(lambda groups=groups: plain.run(few, groups))
        found[name] = round(seconds / took, 1)
        error = _short(bench.distance(made, truth))
        row = {"audio s/s": found[name], "first pass": round(seconds / first, 1), "error": error}
        keep(**{f"{dtype} {name}": row})
    ours.embed(few[:8])
    took, made = _timed(lambda: ours.embed(few * repeat), rounds=3)
    error = _short(bench.distance([row.values for row in made[: len(few)]], truth))
    row = {**_shares(repeat * seconds / took, found), "error": error}
    keep(**{f"{dtype} affekt, in memory": row})
    if DEVICE == "cuda":
        ready = [ours._prepare(one) for one in few]
        took, _ = _timed(lambda: ours._run(ready[:160]), rounds=3)
        part = sum(map(len, few[:160])) / 16000
        keep(**{f"{dtype} affekt, device alone": _shares(part / took, found)})
        del plain.model
        loop = bench.Plain("xlsr", Path(ours.checkpoint.folder), DEVICE, "float32")
        loop.run(few[:4], [[0], [1], [2, 3]])
        some = few[:64]
        took, made = _timed(lambda: loop.run(some, [[i] for i in range(len(some))]))
        error = _short(bench.distance(made, truth[:64]))
        part = sum(map(len, some)) / 16000
        keep(**{"float32 one file at a time": {"audio s/s": round(part / took, 1), "error": error}})
    return found


def _from_disk(clips: Manifest, cache: Cache, ours: Encoder) -> dict[str, Any]:
    """Time the whole command, and the rate between the first batch stored and the last."""
    marks: list[tuple[float, float]] = []

    def progress(*_given: Any) -> Callable[[int, float], None]:
        return lambda _clips, seconds: marks.append((time.perf_counter(), seconds))

    loop._progress = progress  # what would be drawn is noted
    took, space = _timed(lambda: extract(clips, cache, ours, store_dtype="float16", workers=1))
    row: dict[str, Any] = {"rows": len(space), "s": round(took, 2)}
    if len(marks) >= 6:
        later = sum(seconds for _, seconds in marks[1:])
        row["sustained, audio s/s"] = round(later / (marks[-1][0] - marks[0][0]), 1)
    return row


def conformer(keep: Keep, tiny: bool) -> None:
    """Wav2Vec2-BERT beside plain loops, in memory."""
    _family("wav2vec2-bert", bench.clips(8 if tiny else 128), 1 if tiny else 10, keep, tiny)


def text(keep: Keep, tiny: bool) -> None:
    """BERT-base beside plain loops."""
    _family("bert", bench.texts(8 if tiny else 512), 1 if tiny else 16, keep, tiny)


CPU_PRECISION = "float32", ("highest", 1)
SMALL = {"d_model": 16, "n_attention_heads": 2, "feedforward": 16, "hidden": 8, "n_blocks": 1}


def heads(keep: Keep, tiny: bool) -> None:
    """The patch head at 83,545 x 1024: an eager loop over a DataLoader beside ours."""
    from affekt.classify.heads import PatchTransformerHead
    from affekt.classify.heads.networks.patch import CARD

    card = CARD | SMALL if tiny else CARD
    rows, width = (130, 64) if tiny else (83_545, 1024)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, width), dtype="f4")
    y = rng.integers(0, 3, rows)
    network = PatchTransformerHead(**card)._network(width, 3).to(DEVICE)
    steps = 5 if tiny else 300
    took = _eager(network, torch.from_numpy(X), torch.from_numpy(y), steps)
    full = -(-rows // 32)
    keep(**{"eager loop over a DataLoader, s per epoch": round(took * full, 2)})
    precisions = {"TF32": ("high", 1), "bfloat16": ("medium", 4), "float32": ("highest", 4)}
    for precision, (name, part) in precisions.items() if DEVICE == "cuda" else [CPU_PRECISION]:
        some = rows // part // 32 * 32  # the others on fewer rows, for the time it takes
        for members in (1, 2 if tiny else 8):
            times: list[float] = []
            started = time.monotonic()
            head = PatchTransformerHead(
                **card, precision=name, max_epochs=2, n_members=members, random_state=0,
                device=DEVICE,
                callback=lambda row, times=times: times.append(row["seconds"]),
            ).fit(X[:some], y[:some])  # fmt: skip
            losses = [round(row["train_loss"], 4) for row in head.history_[:2]]
            each = min(times) * rows / some * (1 if DEVICE == "cuda" else members)
            keep(**{f"{precision} products, {members} member(s)": {
                "s per epoch": round(each, 3), "of eager": round(members * took * full / each, 1),
                "111 epochs, s": round(111 * each, 1), "losses": losses,
                "fit, s": round(time.monotonic() - started, 1),
            }})  # fmt: skip
        if DEVICE == "cuda":
            step = _kernels({**card, "precision": name}, X[:3200], y[:3200])
            keep(**{f"{precision} products, one step": step})
    few = 64 if tiny else 6400
    keep(**{"seeds at once": _seeds(card, X[:few], y[:few], 2 if tiny else 8)})


def _seeds(card: dict[str, Any], X: np.ndarray, y: np.ndarray, count: int) -> dict[str, Any]:
    """Fit patch heads of several seeds at once, and one after another; how far their losses are."""
    from affekt.classify.heads import PatchTransformerHead
    from affekt.classify.heads.training.stacked.at_once import fit_at_once

    options = {**card, "max_epochs": 1, "precision": "highest", "device": DEVICE}
    heads, alone = (
        [PatchTransformerHead(**options, random_state=seed) for seed in range(count)]
        for _ in range(2)
    )
    took, _ = _timed(lambda: fit_at_once(heads, X, y))
    slow, _ = _timed(lambda: [head.fit(X, y) for head in alone])
    losses = np.array([[one.history_[0]["train_loss"] for one in both] for both in (heads, alone)])
    return {
        "seeds": count, "s": round(took, 2), "one after another, s": round(slow, 2),
        "largest difference of losses": _short(float(np.ptp(losses, axis=0).max())),
        "least difference between seeds": _short(float(np.diff(np.sort(losses[0])).min())),
    }  # fmt: skip


def _kernels(options: dict[str, Any], X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Which kernels a step of the patch head takes, on a GPU; 100 steps of an epoch."""
    from affekt.classify.heads import PatchTransformerHead
    from torch.profiler import ProfilerActivity, profile

    head = PatchTransformerHead(**options, max_epochs=1, random_state=0, device=DEVICE)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        head.fit(X, y)
    events = [e for e in profiled.key_averages() if e.self_device_time_total > 0]
    longest = sorted(events, key=lambda e: -e.self_device_time_total)[:12]
    return {
        "kernels": round(sum(e.count for e in events) / 101),  # one is a warm-up
        "device busy, ms": round(sum(e.self_device_time_total for e in events) / 101e3, 3),
        "longest, ms": {e.key[:60]: round(e.self_device_time_total / 101e3, 4) for e in longest},
    }


def probe(keep: Keep, tiny: bool) -> None:
    """The sweep of 25 layers x 10 C x 5 folds, 4,000 x 1024, beside one layer on the processor."""
    import probe as sweep  # benchmarks/speed/probe.py

    layers, clips, width = (2, 200, 32) if tiny else (25, 4000, 1024)
    for name, signal in sweep.SIGNALS.items():
        found = sweep.on_device(clips, width, signal, layers, DEVICE)
        keep(**{f"{layers} layers, {name}": found})


def _eager(network: Any, X: torch.Tensor, y: torch.Tensor, steps: int) -> float:
    """Seconds of one step as a tutorial writes it."""
    data = torch.utils.data.TensorDataset(X, y)
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4)
    times = []
    for step, (some, target) in enumerate(loader):
        started = time.perf_counter()
        optimiser.zero_grad()
        logits = network(some.to(DEVICE))
        torch.nn.functional.cross_entropy(logits, target.to(DEVICE), label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        _wait()
        times.append(time.perf_counter() - started)
        if step == steps:
            break
    return float(np.median(times))


def _family(name: str, items: list, repeat: int, keep: Keep, tiny: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bench.build(name, folder, small=tiny)
        speech = name in bench.SPEECH
        amount = (lambda some: sum(map(len, some)) / 16000) if speech else len
        unit = "audio s/s" if speech else "texts/s"
        few = items[: 32 if speech else 128]  # for the loops, which are slow
        order = sorted(range(len(few)), key=lambda i: -len(few[i]))
        truth = None
        for dtype in ("float32", "bfloat16") if DEVICE == "cuda" else ("float32",):
            ours = open_backend(str(folder), dtype=dtype, device=DEVICE)
            ours.embed(items[:8])
            times = repeat if dtype == "bfloat16" else -(-repeat // 5)  # float32 is slow
            took, made = _timed(lambda ours=ours, n=times: ours.embed(items * n), rounds=2)
            speed = amount(items) * times / took
            row = {f"affekt, {unit}": round(speed, 1)}
            keep(**{dtype: row})
            plain = bench.Plain(name, folder, DEVICE, dtype)
            ways = {
                "one at a time": [[i] for i in range(len(few))],
                "padded 16, sorted": bench.blocks(order),
            }
            found = {}
            for way, groups in ways.items():
                rows = plain.run(few, groups)  # meets their lengths
                slow, _ = _timed(lambda p=plain, groups=groups: p.run(few, groups))
                found[way] = round(amount(few) / slow, 1)
                truth = rows if truth is None else truth
            error = bench.distance([m.values for m in made[: len(few)]], truth)
            keep(**{dtype: {
                **row, **found, "error": _short(error),
                "of one at a time": round(speed / found["one at a time"], 1),
                "of padded": round(speed / found["padded 16, sorted"], 1),
            }})  # fmt: skip


def _shares(speed: float, found: dict[str, float]) -> dict[str, float]:
    return {
        "audio s/s": round(speed, 1),
        "TFLOP/s": round(speed * GFLOP_PER_SECOND / 1e3, 1),
        "of one file": round(speed / found["one file at a time"], 1),
        "of padded": round(speed / found["padded 16, file order"], 1),
    }


def _timed(run: Callable[[], Any], rounds: int = 1) -> tuple[float, Any]:
    """Give the median of the seconds that it takes, and what it returned."""
    times, made = [], None
    for _ in range(rounds):
        _wait()
        started = time.perf_counter()
        made = run()
        _wait()
        times.append(time.perf_counter() - started)
    return float(np.median(times)), made


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _short(number: float) -> float:
    return float(f"{number:.2e}")


def _sounds(
    folder: Path, counts: dict[str, int], writers: ProcessPoolExecutor
) -> tuple[dict[str, list[str]], Iterator[None]]:
    """Start writing different clips of 1 to 12 s: wav and flac at 16 kHz, mp3 at 44.1 kHz."""
    files = {
        kind: [str(folder / kind / f"{i}.{kind}") for i in range(n)] for kind, n in counts.items()
    }
    for kind in counts:
        (folder / kind).mkdir(parents=True)
    every = [path for some in files.values() for path in some]
    return files, writers.map(_write, every, chunksize=64)


def _write(path: str) -> None:
    import soundfile

    number = _number(path)
    rate = 44_100 if path.endswith("mp3") else 16_000
    count = int(_length(number) * rate)
    time = np.arange(count) / rate
    noise = np.random.default_rng(number).standard_normal(count, dtype="f4")
    voice = np.sin(2 * np.pi * (100 + number % 97) * time) * np.abs(np.sin(5 * time))
    soundfile.write(path, (0.1 * voice + 0.02 * noise).astype("f4"), rate)


def _length(number: int) -> float:
    """Seconds of a clip, log-normal around 4 s."""
    return float(np.clip(np.exp(np.random.default_rng(number).normal(1.23, 0.55)), 1.0, 12.0))


def _number(path: str) -> int:
    return int(Path(path).stem)

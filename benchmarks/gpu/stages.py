"""The stages of `run.py`; each takes `keep`, which writes results down, and whether to be tiny."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from affekt.cache import Cache, Manifest
from affekt.extract import Encoder, decode, extract
from affekt.extract.encoders import open_backend

import extract as bench  # benchmarks/extract.py

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GFLOP_PER_SECOND = 36.8  # XLSR-53, for each second of audio in clips of 1 to 12 s
Keep = Callable[..., None]

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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    command += ["-m", "gpu", "tests/extract/test_encoders_gpu.py", "tests/classify/test_graphed.py"]
    command += ["tests/extract/test_encoders_packed.py"]
    command += ["--collect-only"] if tiny else ["-n", "6"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = ran.stdout.strip().splitlines()
    keep(summary=lines[-1] if lines else ran.stderr[-300:], status=ran.returncode)
    keep(failed=[line[:300] for line in lines if line.startswith(("FAILED", "ERROR"))][:40])
    if not tiny:
        sys.stderr.write(ran.stdout[-6000:])


def speech(keep: Keep, tiny: bool) -> None:
    """XLSR-53 size: one file, padded and sorted loops, then files on disk to committed HDF5."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bench.build("xlsr", folder / "model", small=tiny)
        started = time.monotonic()
        files = _sounds(folder, {"wav": 6, "flac": 4, "mp3": 4} if tiny else SOUNDS)
        keep(files={kind: len(some) for kind, some in files.items()})
        keep(**{"seconds to write them": round(time.monotonic() - started, 1)})
        few = [decode(Path(one).read_bytes(), 16000).samples for one in files["wav"][:256]]
        seconds = sum(map(len, few)) / 16000
        dtype = "bfloat16" if DEVICE == "cuda" else "float32"
        ours = Encoder(str(folder / "model"), dtype=dtype, device=DEVICE)
        plain = bench.Plain("xlsr", folder / "model", DEVICE, dtype)
        single = open_backend(str(folder / "model"), dtype="float32", device=DEVICE)
        rows = single.embed(few)  # TF32 off, for errors
        found = {}
        order = sorted(range(len(few)), key=lambda i: -len(few[i]))
        ways = {
            "one file at a time": [[i] for i in range(len(few))],
            "padded 16, file order": bench.blocks(list(range(len(few)))),
            "padded 16, sorted": bench.blocks(order),
        }
        plain.run(few[:4], [[0], [1], [2, 3]])
        for name, groups in ways.items():
            took, made = _timed(lambda groups=groups: plain.run(few, groups))
            found[name] = round(seconds / took, 1)
            error = bench.distance(made, [row.values for row in rows])
            keep(**{f"{dtype} {name}": {"audio s/s": found[name], "error": _short(error)}})
        many = few * (1 if tiny else 8)
        ours.embed(few[:8])
        took, made = _timed(lambda: ours.backend.embed(many), rounds=3)
        error = bench.distance([m.values for m in made[: len(few)]], [row.values for row in rows])
        keep(**{
            f"{dtype} affekt, in memory": {
                **_shares(8 * seconds / took if not tiny else seconds / took, found),
                "error": _short(error),
            }
        })  # fmt: skip
        for kind, some in files.items():
            table = [{"id": Path(f).name, "path": f} for f in some]
            clips = Manifest.from_rows(table, root=folder)
            cache = Cache(folder / f"{kind}.cache")
            extract(clips.select(clips.ids[:20]), cache, ours, store_dtype="float16")
            took, space = _timed(
                lambda clips=clips, cache=cache: extract(clips, cache, ours, store_dtype="float16")
            )
            stored = _seconds(some[20:])
            keep(**{f"{dtype} {kind} on disk to HDF5": {
                **_shares(stored / took, found), "rows": len(space), "s": round(took, 2),
            }})  # fmt: skip
        took, made = _timed(lambda: single.embed(few), rounds=2)
        plain32 = bench.Plain("xlsr", folder / "model", DEVICE, "float32")
        least = few[:64]
        plain32.run(least[:4], [[0], [1], [2, 3]])
        slow, truth = _timed(lambda: plain32.run(least, [[i] for i in range(len(least))]))
        keep(**{"float32": {
            "affekt, audio s/s": round(seconds / took, 1),
            "one file": round(sum(map(len, least)) / 16000 / slow, 1),
            "error": _short(bench.distance([m.values for m in made[: len(least)]], truth)),
        }})  # fmt: skip


SOUNDS = {"wav": 10_000, "flac": 6_000, "mp3": 3_000}


def conformer(keep: Keep, tiny: bool) -> None:
    """Wav2Vec2-BERT beside plain loops, in memory."""
    _family("wav2vec2-bert", bench.clips(8 if tiny else 128), 1 if tiny else 10, keep, tiny)


def text(keep: Keep, tiny: bool) -> None:
    """BERT-base beside plain loops."""
    _family("bert", bench.texts(8 if tiny else 512), 1 if tiny else 16, keep, tiny)


def heads(keep: Keep, tiny: bool) -> None:
    """The patch head at 83,545 x 1024: an eager loop over a DataLoader beside ours."""
    from affekt.classify.heads import PatchTransformerHead

    rows, width = (200, 64) if tiny else (83_545, 1024)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, width), dtype="f4")
    y = rng.integers(0, 3, rows)
    network = PatchTransformerHead()._network(width, 3).to(DEVICE)
    steps = 5 if tiny else 300
    took = _eager(network, torch.from_numpy(X), torch.from_numpy(y), steps)
    full = -(-rows // 32)
    keep(**{"eager loop over a DataLoader, s per epoch": round(took * full, 2)})
    epochs = 2 if tiny else 4
    times: list[float] = []
    started = time.monotonic()

    def note(row: dict[str, Any]) -> None:
        times.append(row["seconds"])

    head = PatchTransformerHead(max_epochs=epochs, random_state=0, device=DEVICE, callback=note)
    head.fit(X, y)
    each = float(np.median(times[1:]))
    keep(**{"affekt, s per epoch": round(each, 3), "of eager": round(took * full / each, 1)})
    keep(**{"111 epochs, s": round(111 * each, 1), "fit, s": round(time.monotonic() - started, 1)})


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
        amount = sum(map(len, items)) / 16000 if speech else len(items)
        unit = "audio s/s" if speech else "texts/s"
        order = sorted(range(len(items)), key=lambda i: -len(items[i]))
        truth = None
        for dtype in ("float32", "bfloat16") if DEVICE == "cuda" else ("float32",):
            ours = open_backend(str(folder), dtype=dtype, device=DEVICE)
            ours.embed(items[:8])
            took, made = _timed(lambda ours=ours: ours.embed(items * repeat), rounds=2)
            plain = bench.Plain(name, folder, DEVICE, dtype)
            plain.run(items[:4], [[0], [1], [2, 3]])
            ways = {
                "one at a time": [[i] for i in range(len(items))],
                "padded 16, sorted": bench.blocks(order),
            }
            found = {}
            for way, groups in ways.items():
                slow, rows = _timed(lambda p=plain, groups=groups: p.run(items, groups))
                found[way] = round(amount / slow, 1)
                truth = rows if truth is None else truth
            error = bench.distance([m.values for m in made[: len(items)]], truth)
            speed = amount * repeat / took
            keep(**{dtype: {
                f"affekt, {unit}": round(speed, 1), **found, "error": _short(error),
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


def _sounds(folder: Path, counts: dict[str, int]) -> dict[str, list[str]]:
    """Write different clips of 1 to 12 s: wav and flac at 16 kHz, mp3 at 44.1 kHz."""
    jobs = []
    for kind, count in counts.items():
        (folder / kind).mkdir(parents=True)
        jobs += [(str(folder / kind / f"{i}.{kind}"), i) for i in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write, jobs, chunksize=64))
    return {kind: [path for path, _ in jobs if path.endswith(kind)] for kind in counts}


def _write(job: tuple[str, int]) -> None:
    import soundfile

    path, number = job
    rate = 44_100 if path.endswith("mp3") else 16_000
    count = int(_length(number) * rate)
    time = np.arange(count) / rate
    noise = np.random.default_rng(number).standard_normal(count, dtype="f4")
    voice = np.sin(2 * np.pi * (100 + number % 97) * time) * np.abs(np.sin(5 * time))
    soundfile.write(path, (0.1 * voice + 0.02 * noise).astype("f4"), rate)


def _length(number: int) -> float:
    """Seconds of a clip, log-normal around 4 s."""
    return float(np.clip(np.exp(np.random.default_rng(number).normal(1.23, 0.55)), 1.0, 12.0))


def _seconds(paths: list[str]) -> float:
    return sum(_length(int(Path(path).stem)) for path in paths)

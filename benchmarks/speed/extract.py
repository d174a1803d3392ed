"""How fast encoders are, beside what people write, in one alternating run.

Hardware peaks come first, so that every figure is also a share of what the machine can do; on a CPU
also that of the family's own products, by the faster of MKL and oneDNN. For
each family, with random weights of the real configuration: affekt; the one-file transformers loop;
batches of 16 in file order, padded; the same sorted by length. Each variant runs once in every
round, and the median round counts. Errors are relative L2 against the one-file loop, largest over
layers and clips: padded batches of group-norm models are fast and wrong.

    python benchmarks/speed/extract.py --families xlsr bert --rounds 5 -o extract.json
    python benchmarks/speed/extract.py --size small  # seconds, to see that it works
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware.exactness import exact_arithmetic

sys.path.insert(0, str(Path(__file__).resolve().parent))

from all import SETS
from random_encoders import SPEECH, TEXT, build, clips, texts

VARIANTS = ("one file at a time", "padded 16, file order", "padded 16, sorted")


def main(arguments: list[str] | None = None) -> dict:
    """Run the benchmark; print a table to stderr, JSON to stdout or to the file given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", nargs="+", choices=[*SPEECH, *TEXT], default=[*SPEECH, *TEXT])
    add_options(parser, items=16)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="beside affekt"
    )
    given = parser.parse_args(arguments)
    device = "cuda" if given.device == "auto" and torch.cuda.is_available() else given.device
    device = "cpu" if device == "auto" else device
    if given.clock == "cpu":
        torch.set_num_threads(1)  # a second thread that waits counts as work
    tf.utils.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    result: dict[str, Any] = {"machine": machine(device), "peaks": peaks(device, given.clock)}
    result |= {"clock": given.clock, "families": {}}
    say(f"{result['machine']}\npeaks: {result['peaks']}")
    peak = result["peaks"][f"{given.dtype} matmul, GFLOP/s"]
    for name in given.families:
        with tempfile.TemporaryDirectory() as folder:
            rows, own = compare(name, Path(folder), given, device)
        if own:
            result["peaks"][f"products of {name} in {given.dtype}, GFLOP/s, by round"] = own
            say(f"the products of {name} alone, GFLOP/s by round: {own}")
        for row in rows.values():
            row["share of matmul peak"] = round(row["GFLOP/s"] / peak, 3)
        result["families"][name] = rows
        say(table(name, rows))
    text = json.dumps(result, indent=1)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")
    return result


def compare(
    name: str, folder: Path, given: argparse.Namespace, device: str
) -> tuple[dict[str, dict], list[float]]:
    """Time every variant of one family, alternating; and on a CPU its products, in every round."""
    build(name, folder, small=given.size == "small")
    items: list[Any] = clips(given.items) if name in SPEECH else texts(given.items)
    seconds = sum(map(len, items)) / 16000 if name in SPEECH else None
    ours = open_backend(str(folder), device=device, dtype=given.dtype)
    ours.load()
    plain = Plain(name, folder, device, given.dtype)
    alike = given.dtype == "float32" or device != "cpu"
    exact = plain if alike else Plain(name, folder, device, "float32")
    order = sorted(range(len(items)), key=lambda i: -len(items[i]))
    whole = list(range(len(items)))
    variants: dict[str, Callable[[], list[np.ndarray]]] = {
        "affekt": lambda: [answer.values for answer in ours.embed(items)],
        "one file at a time": lambda: exact.run(items, [[i] for i in whole]),
        "padded 16, file order": lambda: plain.run(items, blocks(whole)),
        "padded 16, sorted": lambda: plain.run(items, blocks(order)),
    }
    if exact is not plain:
        variants["one file, bfloat16"] = lambda: plain.run(items, [[i] for i in whole])
    for variant in set(VARIANTS[1:]) - set(given.variants):
        del variants[variant]
    clock = time.process_time if given.clock == "cpu" else time.perf_counter
    reference = variants["one file at a time"]()
    flops = plain.flops(items)
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    rows: dict[str, dict] = {variant: {} for variant in variants}
    peak = products(folder, given.dtype, given.clock) if device == "cpu" else None
    peaks = []
    for _ in range(given.rounds):
        before = peak() if peak else 0.0
        for variant, run in variants.items():
            with peak_memory(device) as memory:
                started = clock()
                made = run()
                if device != "cpu":
                    torch.cuda.synchronize()
                times[variant].append(clock() - started)
            rows[variant]["largest relative error"] = float(f"{distance(made, reference):.2e}")
            rows[variant]["peak memory, MB"] = max(
                memory["MB"], rows[variant].get("peak memory, MB", 0)
            )
        if peak:
            peaks.append(round((before + peak()) / 2, 1))
    for variant, row in rows.items():
        took = statistics.median(times[variant])
        unit, amount = ("audio s/s", seconds) if seconds else ("texts/s", len(items))
        row["median s"] = round(took, 4)
        row[unit] = round(amount / took, 2)
        row["GFLOP/s"] = round(flops / took / 1e9, 1)
        loop = times["one file at a time"]
        row["against one file"] = round(statistics.median(loop) / took, 2)
        ratios = [theirs / ours for theirs, ours in zip(loop, times[variant], strict=True)]
        row["by round"] = [round(ratio, 2) for ratio in ratios]
        if peaks:
            pairs = zip(times[variant], peaks, strict=True)
            shares = [flops / took / 1e9 / own for took, own in pairs]
            row["share of its products' peak"] = round(statistics.median(shares), 3)
    return rows, peaks


class Plain:
    """What people write: a processor, a model, hidden states, a masked mean; TF32 off."""

    def __init__(self, name: str, folder: Path, device: str, dtype: str) -> None:
        self.speech, self.whisper = name in SPEECH, name.startswith("whisper")
        auto = tf.AutoFeatureExtractor if self.speech else tf.AutoTokenizer
        self.processor = auto.from_pretrained(folder)
        model = tf.AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.model = (model.encoder if self.whisper else model).to(device)
        self.device, self.dtype = device, getattr(torch, dtype)

    @exact_arithmetic()
    def run(self, items: list, batches: list[list[int]]) -> list[np.ndarray]:
        """Embed in batches; one ``(layers, dim)`` per item."""
        made: list[np.ndarray] = [np.empty(0)] * len(items)
        for batch in batches:
            inputs, keep = self.inputs([items[i] for i in batch])
            output = self.model(**inputs, output_hidden_states=True)
            states = [*output.hidden_states[:-1], output.last_hidden_state]
            pooled = torch.stack([_mean(layer.float(), keep) for layer in states], dim=1)
            for i, row in zip(batch, pooled.cpu().numpy(), strict=True):
                made[i] = row
        return made

    def inputs(self, items: list) -> tuple[dict, torch.Tensor]:
        """Let the library pad, and take its mask where it gives one."""
        if self.speech:
            made = self.processor(items, sampling_rate=16000, return_tensors="pt", padding=True)
            if self.whisper:
                made = self.processor(items, sampling_rate=16000, return_tensors="pt")
        else:
            made = self.processor(items, return_tensors="pt", padding=True)
        inputs = {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for key, value in made.items()
        }
        if self.whisper:
            lengths = [-(-len(item) // 320) for item in items]
            return inputs, _mask(lengths, 1500, self.device)
        if "input_values" in inputs:
            lengths = [self.model._get_feat_extract_output_lengths(len(item)) for item in items]
            return inputs, _mask([int(n) for n in lengths], int(max(lengths)), self.device)
        return inputs, inputs["attention_mask"].bool()

    def flops(self, items: list) -> float:
        """Count the multiply-adds (twice) of all items, alone, without padding."""
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for item in items:
                inputs, _ = self.inputs([item])
                self.model(**inputs)
        return counter.get_total_flops()


def add_options(parser: argparse.ArgumentParser, *, items: int) -> None:
    """Add what a benchmark of encoders is given: sizes, rounds, device, clock, output."""
    parser.add_argument("--size", choices=["full", "small"], default="full")
    parser.add_argument("--items", type=int, default=items, help="clips or texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: CPU seconds of the process and its children, for a machine that others use too",
    )
    parser.add_argument("-o", "--output", type=Path)


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


@contextmanager
def peak_memory(device: str) -> Iterator[dict[str, float]]:
    """Watch the most memory that is held: of the process, or of the GPU."""
    found = {"MB": 0.0}
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        yield found
        found["MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found["MB"] = max(found["MB"], round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def distance(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Give the largest relative L2 difference over items and layers."""
    return max(
        float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())
        for a, b in zip(ours, theirs, strict=True)
    )


def blocks(order: list[int]) -> list[list[int]]:
    """Cut into batches of 16."""
    return [order[i : i + 16] for i in range(0, len(order), 16)]


def table(name: str, rows: dict[str, dict]) -> str:
    """Lay out one family's rows."""
    columns = list(next(iter(rows.values())))
    lines = [f"\n{name}", "  " + " | ".join(["", *columns])]
    for variant, row in rows.items():
        lines.append(f"  {variant} | " + " | ".join(str(row[key]) for key in columns))
    return "\n".join(lines)


def say(text: str) -> None:
    """Write progress to stderr."""
    sys.stderr.write(text + "\n")


def _mean(states: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    weights = keep.unsqueeze(-1).float()
    return (states[:, : keep.shape[1]] * weights).sum(dim=1) / weights.sum(dim=1)


def _mask(lengths: list[int], most: int, device: str) -> torch.Tensor:
    return torch.arange(most, device=device)[None] < torch.tensor(lengths, device=device)[:, None]


if __name__ == "__main__":
    main()

"""How fast encoders are, beside what people write, in one alternating run.

Hardware peaks come first, so that every figure is also a share of what the machine can do; on a CPU
also that of the family's own products, by the faster of MKL and oneDNN. For
each family, with random weights of the real configuration: affekt; the one-file transformers loop;
batches of 16 in file order, padded; the same sorted by length. Each variant runs once in every
round, and the median round counts. Errors are relative L2 against the one-file loop, largest over
layers and clips: padded batches of group-norm models are fast and wrong.

In the rounds the same lengths come again, and libraries have compiled their products for them. In a
corpus nearly every length is new: `--new-lengths` also times, on a CPU, the first pass of a fresh
process in every round, after the weights are loaded.

    python benchmarks/speed/extract.py --families xlsr bert --rounds 5 -o extract.json
    python benchmarks/speed/extract.py --size small  # seconds, to see that it works
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import transformers as tf
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware.exactness import exact_arithmetic

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peaks import machine, peaks, products
from random_encoders import SPEECH, TEXT, build, clips, texts

Made = TypeVar("Made")
VARIANTS = ("one file at a time", "padded 16, file order", "padded 16, sorted")


def main(arguments: list[str] | None = None) -> dict:
    """Run the benchmark; print a table to stderr, JSON to stdout or to the file given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", nargs="+", choices=[*SPEECH, *TEXT], default=[*SPEECH, *TEXT])
    add_options(parser, items=16)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument(
        "--new-lengths", action="store_true", help="also time first passes of fresh processes"
    )
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="beside affekt"
    )
    given = parser.parse_args(arguments)
    device = "cuda" if given.device == "auto" and torch.cuda.is_available() else given.device
    device = "cpu" if device == "auto" else device
    set_up(given.clock)
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
    items = items_of(name, given.items)
    seconds = sum(map(len, items)) / 16000 if name in SPEECH else None
    plain = cache(partial(Plain, name, folder, device))
    found = ways(plain, folder, items, given.dtype, device)
    for variant in set(VARIANTS[1:]) - set(given.variants):
        del found[variant]
    variants = {variant: opened() for variant, opened in found.items()}
    reference = variants["one file at a time"]()
    flops = plain(given.dtype).flops(items)
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    first: dict[str, list[float]] = {variant: [] for variant in variants}
    rows: dict[str, dict] = {variant: {} for variant in variants}
    peak = products(folder, given.dtype, given.clock) if device == "cpu" else None
    peaks = []
    for _ in range(given.rounds):
        before = peak() if peak else 0.0
        for variant, run in variants.items():
            with peak_memory(device) as memory:
                made, took = pass_of(run, device, given.clock)
            times[variant].append(took)
            rows[variant]["largest relative error"] = float(f"{distance(made, reference):.2e}")
            rows[variant]["peak memory, MB"] = max(
                memory["MB"], rows[variant].get("peak memory, MB", 0)
            )
        if peak:
            peaks.append(round((before + peak()) / 2, 1))
        if given.new_lengths and device == "cpu":
            for variant, took in first.items():
                took.append(in_new_process(first_pass, variant, name, folder, given))
    for variant, row in rows.items():
        took = statistics.median(times[variant])
        unit, amount = ("audio s/s", seconds) if seconds else ("texts/s", len(items))
        row["median s"] = round(took, 4)
        row[unit] = round(amount / took, 2)
        row["GFLOP/s"] = round(flops / took / 1e9, 1)
        for label, clocked in (("", times), ("new lengths, ", first)):
            if clocked[variant]:
                row[f"{label}against one file"], row[f"{label}by round"] = ratios(
                    clocked["one file at a time"], clocked[variant]
                )
        if peaks:
            pairs = zip(times[variant], peaks, strict=True)
            shares = [flops / took / 1e9 / own for took, own in pairs]
            row["share of its products' peak"] = round(statistics.median(shares), 3)
    return rows, peaks


def items_of(name: str, count: int) -> list[Any]:
    """Make clips or texts for a family."""
    return clips(count) if name in SPEECH else texts(count)


def ways(
    plain: Callable[[str], Plain], folder: Path, items: list, dtype: str, device: str
) -> dict[str, Callable[[], Callable[[], list[np.ndarray]]]]:
    """Give for each variant what opens it, and gives what runs it."""
    order = sorted(range(len(items)), key=lambda i: -len(items[i]))
    whole = list(range(len(items)))
    exact = "float32" if device == "cpu" else dtype

    def ours() -> Callable[[], list[np.ndarray]]:
        backend = open_backend(str(folder), device=device, dtype=dtype)
        backend.load()
        return lambda: [answer.values for answer in backend.embed(items)]

    def loop(kind: str, batches: list[list[int]]) -> Callable[[], list[np.ndarray]]:
        return partial(plain(kind).run, items, batches)

    found = {
        "affekt": ours,
        "one file at a time": partial(loop, exact, [[i] for i in whole]),
        "padded 16, file order": partial(loop, dtype, blocks(whole)),
        "padded 16, sorted": partial(loop, dtype, blocks(order)),
    }
    if exact != dtype:
        found["one file, bfloat16"] = partial(loop, dtype, [[i] for i in whole])
    return found


def pass_of(run: Callable[[], Made], device: str, clock: str) -> tuple[Made, float]:
    """Run once; what it gives, and the seconds."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    started = now()
    made = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return made, now() - started


def first_pass(variant: str, name: str, folder: Path, given: argparse.Namespace) -> float:
    """Time a variant in a process that has met no length yet."""
    set_up(given.clock)
    plain = cache(partial(Plain, name, folder, "cpu"))
    found = ways(plain, folder, items_of(name, given.items), given.dtype, "cpu")
    return pass_of(found[variant](), "cpu", given.clock)[1]


def in_new_process(function: Callable[..., Made], *arguments: Any) -> Made:
    """Call a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def ratios(theirs: list[float], ours: list[float]) -> tuple[float, list[float]]:
    """Give how many times as long they take: of the medians, and by round."""
    by_round = [round(a / b, 2) for a, b in zip(theirs, ours, strict=True)]
    return round(statistics.median(theirs) / statistics.median(ours), 2), by_round


def set_up(clock: str) -> None:
    """Set the number of threads, and keep transformers quiet."""
    if clock == "cpu":
        torch.set_num_threads(1)  # a second thread that waits counts as work
    tf.utils.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()


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

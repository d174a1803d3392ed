"""Hostile places: a pipe, a device, a link that leads nowhere or to itself, a folder, an input."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: what commands write is never one of these
INPUTS = ["clips.csv", "two.csv", "task.yaml", "recipe.yaml", "wav/0.wav", "scaler.joblib"]
INPUTS += ["foreign.npz", "wav", "encoder", ".", "./clips.csv", "wav/../task.yaml", "clips.jsonl"]
INPUTS += ["whisper", "classifier", "encoder/config.json", "encoder/model.safetensors"]


def output_as_input(rng: random.Random, words: list[str]) -> list[str] | None:
    """Return a command whose output is a file or a folder that it reads, or that others made."""
    outputs = [i for i, word in enumerate(words) if word.startswith("o/")]
    if not outputs:
        return None
    read = [word for word in words[1:] if os.path.lexists(word)]
    out = rng.choice(read * 3 + INPUTS)
    if rng.random() < 0.2:
        out = str(Path(out).absolute())
    place = rng.choice(outputs)
    return [*words[:place], out, *words[place + 1 :]]


def twice(rng: random.Random, words: list[str]) -> list[str]:
    """Return a command that is given one of its inputs twice."""
    named = [i for i, word in enumerate(words) if i and os.path.lexists(word)]
    place = rng.choice(named)
    again = rng.choice([words[place], f"./{words[place]}", str(Path(words[place]).absolute())])
    return [*words[: place + 1], again, *words[place + 1 :]]


@contextmanager
def through_a_pipe(rng: random.Random, words: list[str]) -> Iterator[list[str]]:
    """Yield a command that reads one of its files from a pipe."""
    named = [i for i, word in enumerate(words) if i and Path(word).is_file()]
    named = [i for i in named if Path(words[i]).stat().st_size < 1 << 16]  # what a pipe holds
    if not named:
        yield words
        return
    place = rng.choice(named)
    reading, writing = os.pipe()
    try:
        os.write(writing, Path(words[place]).read_bytes())
        os.close(writing)
        yield [*words[:place], f"/dev/fd/{reading}", *words[place + 1 :]]
    finally:
        os.close(reading)


def swap(rng: random.Random, path: Path, inside: bool) -> str:
    """Put something else in the place of a file; return what.

    Parameters
    ----------
    rng : random.Random
    path : Path
    inside : bool
        A command finds it in a folder. A pipe that nobody writes into is only put there: of a file
        that the user names, it would be waited for.
    """
    kinds = ["folder", "loop", "nowhere", "zero", "null"] + ["pipe"] * inside
    kind = rng.choice(kinds)
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"loop": path.name, "nowhere": "/nowhere/x"}.get(kind, f"/dev/{kind}")
        path.symlink_to(target)
    return kind

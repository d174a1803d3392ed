"""Parts of a manifest for job arrays: the i-th of n, in which equal contents stay together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ...cache.errors import InputError


def read_part(text: str, environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return i and n of ``i/n``, or of the task of a Slurm job array for ``slurm``.

    Examples
    --------
    >>> read_part("3/8")
    (3, 8)
    >>> read_part("slurm", {"SLURM_ARRAY_TASK_ID": "10", "SLURM_ARRAY_TASK_COUNT": "4",
    ...                     "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_STEP": "2"})
    (4, 4)
    """
    if text == "slurm":
        return _slurm(os.environ if environment is None else environment)
    number, _, of = text.partition("/")
    short = max(len(number), len(of)) < 10  # numpy divides by no larger number
    if not (short and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(
            f"{text[:40]!r}, expected i/n with 1 <= i <= n < 1e9, such as 2/8, or slurm"
        )
    return int(number), int(of)


def part_of(column: Sequence[str] | np.ndarray, part: tuple[int, int]) -> np.ndarray:
    """Positions of the i-th of n parts; equal values stay together.

    Examples
    --------
    >>> part_of(["a.wav", "a.wav", "b.wav", "c.wav"], (1, 2)).tolist()
    [0, 1, 3]
    """
    number, of = part
    if not 1 <= number <= of:
        raise InputError(f"part {number}/{of}: expected i/n with 1 <= i <= n")
    if of == 1:
        return np.arange(len(column))
    return np.flatnonzero(group_numbers(column) % of == number - 1)


def group_numbers(column: Sequence[str] | np.ndarray) -> np.ndarray:
    """Number the different values of a column in the order in which they come.

    Compared by 64 bits of a hash that is the same in every process, so that ten million paths take
    80 MB: two values that share one only stay together.

    Examples
    --------
    >>> group_numbers(["b", "a", "b", "c"]).tolist()
    [0, 1, 0, 2]
    """
    marks = np.fromiter(map(_mark, column), np.uint64, len(column))
    _, first, inverse = np.unique(marks, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _mark(value: str) -> int:
    data = value.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the part of a task, which Slurm numbers from `MIN` in steps of `STEP`."""
    names = {name: f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP")}
    found = {name: environment[full] for name, full in names.items() if full in environment}
    absent = [names[name] for name in ("ID", "COUNT") if name not in found]
    if absent:
        raise InputError(
            f"slurm: {' and '.join(absent)} is not set, so this is not a task of a job array;"
            " submit with sbatch --array=1-8, or give i/n"
        )
    for name, value in found.items():
        if not value.isdecimal():
            raise InputError(f"slurm: {names[name]} is {value!r}, expected a whole number")
    number, count = int(found["ID"]), int(found["COUNT"])
    step = max(1, int(found.get("STEP", 1)))
    first = int(found.get("MIN", 0))
    even = count > 0
    if even and "MIN" in found:
        even = number >= first and (number - first) % step == 0
    if even and "MIN" in found and "MAX" in found:
        even = (int(found["MAX"]) - first) // step + 1 == count
    if not even:
        raise InputError(
            f"slurm: task {number} of {count} tasks is not one of evenly spaced numbers, which say"
            " what part it is; submit with --array=1-8 or 0-14:2, not with a list of numbers"
        )
    # without MIN a row of `count` numbers still takes each remainder once
    return (number - first) // step % count + 1, count

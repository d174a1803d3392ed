"""Read a pickled scikit-learn `StandardScaler` without running any code of the file.

The only file of affekt that imports `pickle`. It is never imported by the package: `plain_scaler`
starts it as a program of its own, isolated, with limits on memory, time and open files, and only
when a person said ``--i-trust-this-file``. Standard library and numpy only, nothing of affekt.

A pickle is a program that calls whatever it names. Here it can name eight things, each replaced by
a stand-in of this file that accepts plain numbers: `StandardScaler`, `ndarray`, `dtype`, the
functions with which numpy stores these, and joblib's array marker. Any other name is an error.

    python -I pickled_scaler.py FILE.pkl      ->  one line of JSON: mean, scale, variance, ...
"""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - the one guarded place: see the docstring above
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

MEMORY, SECONDS = 1 << 31, 20
NUMBERS = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"} | {"b1"}


class Refused(Exception):
    """The file holds something other than one fitted StandardScaler."""


class Scaler:
    """Stands for `sklearn.preprocessing.StandardScaler`; holds its attributes."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise Refused("the scaler's state is not a dictionary")
        self.state = state


class Dtype:
    """Stands for `numpy.dtype`, plain numbers only."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in NUMBERS:
            raise Refused(f"an array of type {code!r}; only plain numbers are read")
        self.code, self.order = str(code), "="

    def __setstate__(self, state: object) -> None:
        # (version, byte order, subarray, field names, fields, size, alignment, flags)
        if not isinstance(state, tuple) or any(part is not None for part in state[2:5]):
            raise Refused("an array with fields or a nested type")
        if state[1] not in ("<", ">", "|", "="):
            raise Refused(f"unknown byte order {state[1]!r}")
        self.order = state[1]

    def array(self, raw: object, shape: object, order: str = "C") -> np.ndarray:
        """Make an array of plain bytes."""
        if not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
            raise Refused("an array whose bytes or shape are missing")
        return np.frombuffer(raw, self.order + self.code).reshape(shape, order=order)  # type: ignore[call-overload]


class Array:
    """Stands for `numpy.ndarray`, both as a name and as what becomes one."""

    value: np.ndarray

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], Dtype):
            raise Refused("an array that numpy did not write")
        _, shape, dtype, fortran, raw = state
        self.value = dtype.array(raw, shape, "F" if fortran else "C")


class JoblibArray:
    """Stands for joblib's `NumpyArrayWrapper`: the array's bytes follow it in the file."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("dtype"), Dtype):
            raise Refused("an array that joblib did not write")
        self.state = state

    def read(self, file) -> np.ndarray:
        """Read the bytes that follow in the file."""
        dtype, shape = self.state["dtype"], tuple(self.state["shape"])
        if self.state.get("numpy_array_alignment_bytes") is not None:
            file.read(file.read(1)[0])  # one byte says how many bytes of padding follow
        nbytes = int(np.prod(shape, dtype=object)) * int(dtype.code[1])
        raw = file.read(nbytes)
        if len(raw) != nbytes:
            raise Refused("an array that is cut off")
        return dtype.array(raw, shape, self.state.get("order", "C"))


def reconstruct(kind: object, *_: object) -> Array:
    """Stand for `numpy._core.multiarray._reconstruct`."""
    if kind is not Array:
        raise Refused("an array of an unknown class")
    return Array()


def from_buffer(raw, dtype, shape, order="C", *_):
    """Stand for `numpy._core.numeric._frombuffer`."""
    return dtype.array(bytes(raw), shape, order)


def scalar(dtype, raw=None):
    """Stand for `numpy._core.multiarray.scalar`."""
    return dtype.array(raw, (1,))[0].item()


def encode(text, encoding="latin1"):
    """Stand for `_codecs.encode`, with which old protocols store bytes."""
    return str(text).encode("latin1")


NAMES = {
    ("sklearn.preprocessing._data", "StandardScaler"): Scaler,
    ("sklearn.preprocessing.data", "StandardScaler"): Scaler,
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Dtype,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): JoblibArray,
    ("_codecs", "encode"): encode,
}
for core in ("numpy.core", "numpy._core"):
    NAMES[f"{core}.multiarray", "_reconstruct"] = reconstruct
    NAMES[f"{core}.multiarray", "scalar"] = scalar
    NAMES[f"{core}.numeric", "_frombuffer"] = from_buffer


PurePython: Any = pickle._Unpickler  # type: ignore[attr-defined]


class Restricted(PurePython):
    """Knows the names above and no others; reads joblib's arrays in place."""

    dispatch: ClassVar[dict] = dict(PurePython.dispatch)

    def __init__(self, file) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> object:
        """Return a stand-in; no module is ever imported."""
        if (module, name) not in NAMES:
            raise Refused(f"it names {module}.{name}, which no StandardScaler needs")
        return NAMES[module, name]

    def load_build(self) -> None:
        """Give an object its state; a joblib marker becomes the array after it."""
        super().load_build()
        if isinstance(self.stack[-1], JoblibArray):
            self.stack[-1] = self.stack[-1].read(self.file)

    dispatch[pickle.BUILD[0]] = load_build


def plain(value: object) -> object:
    """Numbers, text and lists of numbers; anything else of the scaler's state is left out."""
    if isinstance(value, Array):
        value = value.value
    if isinstance(value, np.ndarray):
        return value.astype(np.float64).tolist()
    return value if isinstance(value, bool | int | float | str) else None


def limit() -> None:
    """Take away memory, time, files and every audited act of the interpreter."""
    try:
        import resource
    except ImportError:  # Windows: the isolated process, its time limit and the audit hook remain
        pass
    else:
        wanted = {"AS": MEMORY, "CPU": SECONDS, "FSIZE": 0, "CORE": 0, "NOFILE": 0}
        for name, most in wanted.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))

    def refuse(event: str, _: tuple) -> None:
        if event != "code.__new__":
            raise Refused(f"it tried {event}")

    sys.addaudithook(refuse)


def main() -> int:
    """Print what the file holds, or why it is refused."""
    with Path(sys.argv[1]).open("rb") as file:
        limit()
        try:
            found = Restricted(file).load()
            if not isinstance(found, Scaler):
                raise Refused("it holds no StandardScaler")
            answer = {key: plain(value) for key, value in found.state.items()}
            text = json.dumps({"state": answer}, allow_nan=False)
        except MemoryError:
            text = json.dumps({"refused": "it needs more memory than any scaler"})
        except Exception as error:  # whatever a hostile file provokes is an answer, never a crash
            text = json.dumps({"refused": f"{type(error).__name__}: {error}"[:500]})
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

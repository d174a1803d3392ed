"""A feature scaler as two plain vectors in a safetensors file, and its import from a pickle.

Foreign valence models ship their `StandardScaler` as ``.pkl``, which is a program, not data.
`convert_scaler` turns one into ``scaler.safetensors`` once, in a process of its own that knows no
name but the scaler's (see `pickled_scaler`); afterwards nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ....cache.errors import DamagedError, InputError, in_shell
from ....cache.files.atomic_writes import write_whole
from ....cache.files.reading import parse_json

FORMAT = "affekt-scaler-1"
LARGEST = 64_000_000  # bytes of a pickled scaler; the published ones have 25 kB
LONGEST = 60  # seconds


@dataclass(frozen=True)
class Scaler:
    """What `StandardScaler` learnt: ``(x - mean) / scale`` per feature.

    Parameters
    ----------
    mean, scale : numpy.ndarray
        ``(features,)`` float64.
    source : str
        sha256 of the file that it was converted from.

    Examples
    --------
    >>> Scaler(np.array([1.0, 2.0]), np.array([2.0, 4.0])).transform([[3.0, 2.0]])
    array([[1., 0.]], dtype=float32)
    """

    mean: np.ndarray
    scale: np.ndarray
    source: str = ""

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.mean)

    def transform(self, X) -> np.ndarray:
        """Scale ``(clips, features)`` as scikit-learn does; the answer is float32."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise InputError(
                f"features of shape {X.shape}; the scaler was fitted on {self.width} per clip"
            )
        return ((X - self.mean) / self.scale).astype(np.float32)


def convert_scaler(
    source: str | os.PathLike, target: str | os.PathLike, *, trust: bool = False
) -> Scaler:
    """Convert a pickled `StandardScaler` (pickle or joblib, uncompressed) to safetensors, once.

    Parameters
    ----------
    source : path
        The ``.pkl`` file. Reading it is refused unless `trust` is true: even a restricted reader
        runs untrusted instructions. It runs in an isolated process that can open no file, start
        no program, use no network and name nothing but the scaler.
    target : path
        The file to write, replaced in one step.
    trust : bool
        Whether you trust where the file comes from.
    """
    source = Path(source)
    if not trust:
        raise InputError(
            f"{source} is a pickle: reading it runs instructions that its author wrote. If you "
            "know where it comes from, confirm it with `trust=True`"
        )
    if not source.is_file():
        raise InputError(f"no file {source}; expected a pickled StandardScaler")
    if source.stat().st_size > LARGEST:
        raise InputError(
            f"{source} has {source.stat().st_size} bytes; a scaler has at most {LARGEST}"
        )
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    scaler = _checked(_in_subprocess(source), source, digest)
    image = save(
        {"mean": scaler.mean, "scale": scaler.scale},
        metadata={"format": FORMAT, "source_sha256": digest},
    )
    write_whole(Path(target), image, durable=True)
    return scaler


def is_scaler(head: bytes) -> bool:
    """Whether a file begins as `convert_scaler` writes it."""
    return f'"format":"{FORMAT}"'.encode() in head


def read_scaler(path: str | os.PathLike) -> Scaler:
    """Read what `convert_scaler` wrote.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "scaler.safetensors")
    >>> write_whole(path, save({"mean": np.zeros(2), "scale": np.ones(2)}, {"format": FORMAT}))
    >>> read_scaler(path).width
    2
    """
    path = Path(path)
    if path.suffix in (".pkl", ".pickle", ".joblib"):
        source, target = in_shell(path), in_shell(path.parent / "scaler.safetensors")
        raise InputError(
            f"{path.name} is a pickle, which is never opened here; convert it once: affekt "
            f"convert-scaler {source} --i-trust-this-file -o {target}"
        )
    if not path.is_file():
        raise InputError(f"no file {path}; expected a scaler that `affekt convert-scaler` wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
            metadata = file.metadata() or {}
            if names != ["mean", "scale"] or metadata.get("format") != FORMAT:
                raise DamagedError(
                    f"{path} holds {names}, format {metadata.get('format')!r}; expected mean and "
                    f"scale, format {FORMAT!r}"
                )
            mean, scale = file.get_tensor("mean"), file.get_tensor("scale")
    except SafetensorError as error:
        raise DamagedError(f"{path} is damaged: {error}; convert the scaler again") from error
    return _sound(mean, scale, metadata.get("source_sha256", ""), path)


def _in_subprocess(source: Path) -> dict:
    program = Path(__file__).with_name("pickled_scaler.py")
    environment = {key: os.environ[key] for key in ("SYSTEMROOT", "PATH") if key in os.environ}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", program, source.resolve()],
            capture_output=True,
            timeout=LONGEST,
            env=environment,
            cwd=tempfile.gettempdir(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{source} took longer than {LONGEST} s to read and is refused") from error
    try:
        answer = parse_json(done.stdout, lenient=True)
        if "refused" not in answer:
            return answer["state"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source} is not a StandardScaler: its reader died (exit {done.returncode})"
        ) from error
    raise InputError(
        f"{source} is refused: {answer['refused']}. Expected a fitted "
        "sklearn.preprocessing.StandardScaler, written by pickle or joblib without compression"
    )


def _checked(state: dict, source: Path, digest: str) -> Scaler:
    """Make a scaler of the answer, which is untrusted too."""
    mean, scale = _vector(state, "mean_"), _vector(state, "scale_")
    found = mean if mean is not None else scale
    if found is None:
        raise InputError(f"{source} holds a StandardScaler that was not fitted")
    if state.get("n_features_in_", len(found)) != len(found):
        raise InputError(
            f"{source} says {state['n_features_in_']!r} features and holds {len(found)}"
        )
    # with_mean=False and with_std=False leave the attribute out, or unused
    if mean is None or not state.get("with_mean", True):
        mean = np.zeros(len(found))
    if scale is None or not state.get("with_std", True):
        scale = np.ones(len(found))
    return _sound(mean, scale, digest, source)


def _vector(state: dict, name: str) -> np.ndarray | None:
    value = state.get(name)
    if isinstance(value, list) and all(isinstance(number, float) for number in value):
        return np.array(value, np.float64)
    return None


def _sound(mean: np.ndarray, scale: np.ndarray, source: str, where: Path) -> Scaler:
    good = mean.ndim == 1 and mean.shape == scale.shape and mean.size > 0
    if not (good and np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError(
            f"{where}: mean {mean.shape} and scale {scale.shape} must be finite vectors of one "
            "length, scale above 0"
        )
    return Scaler(mean.astype(np.float64), scale.astype(np.float64), source)

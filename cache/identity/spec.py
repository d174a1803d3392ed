"""A spec: everything that decides an embedding's numbers, as canonical JSON.

Two embeddings may be in one space only if their specs are equal. What does not change numbers
(paths, library versions, batch size) stays out, so that it costs no recomputation; what does is
readable here, so that a difference can be explained and not only detected.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError, SpecError, expected_one_of
from ..files.reading import parse_json

FORMAT = 1
MODALITIES = ("audio", "text")
STORE_DTYPES = ("float16", "float32")
MAX_BYTES = 60_000  # what an HDF5 attribute holds
MAX_DEPTH = 20
_ABSENT = object()


class Spec:
    """What decides the numbers of an embedding.

    Parameters
    ----------
    fields : mapping
        JSON values without floats (write them as text, so that they are exact). Needed:
        ``format``, ``modality`` ("audio" or "text"), ``encoder`` (with ``name``), ``layers`` (with
        ``count`` and ``dim``), ``pooling``, ``store_dtype`` ("float32" or "float16"). Usual
        besides: ``processor``, ``input``, ``compute``, ``numerics_epoch``, and ``labels`` for class
        probabilities.

    Attributes
    ----------
    modality : str
        What is fed in: "audio" or "text".
    n_layers, dim : int
        Number of layers stored for each clip, and of values in each layer.
    store_dtype : str
        Data type on disk: "float32" or "float16".
    labels : list of str or None
        Class names in order, where the rows are class probabilities.

    Raises
    ------
    InputError
        A field is missing, has a wrong type, or is a float.

    Examples
    --------
    >>> spec = Spec({"format": 1, "modality": "text", "encoder": {"name": "ngram"},
    ...              "layers": {"count": 1, "dim": 64}, "pooling": "mean",
    ...              "store_dtype": "float32"})
    >>> spec.name, spec.n_layers, spec.dim, spec.key[:8]
    ('ngram-mean', 1, 64, '94a0130a')
    >>> print(spec.explain(spec.replace(store_dtype="float16")))
    store_dtype: 'float32' here, 'float16' there
    """

    def __init__(self, fields: Mapping[str, Any]):
        if not isinstance(fields, Mapping):
            raise InputError(f"spec: is a {type(fields).__name__}, expected an object with fields")
        plain = _plain("", fields)
        self._text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        try:
            size = len(self._text.encode())
        except UnicodeEncodeError as error:
            raise InputError(f"spec: holds text that is not Unicode: {error}") from None
        if size > MAX_BYTES:
            raise InputError(f"spec: {size} bytes, at most {MAX_BYTES} fit")
        self._check()
        self.modality: str = plain["modality"]
        self.n_layers: int = plain["layers"]["count"]
        self.dim: int = plain["layers"]["dim"]
        self.store_dtype: str = plain["store_dtype"]
        self.labels: list[str] | None = plain.get("labels")

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "spec") -> Spec:
        """Read a spec from JSON text; duplicate keys, floats and NaN are refused."""
        if len(text) > MAX_BYTES:
            raise InputError(f"{source}: {len(text)} bytes, at most {MAX_BYTES} fit")
        try:
            fields = parse_json(text, parse_float=_no_float)
        except ValueError as error:
            raise InputError(f"{source}: not a spec: {error}") from error
        return cls(fields)

    @property
    def fields(self) -> dict[str, Any]:
        """A copy of the fields."""
        return json.loads(self._text)

    def json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces, UTF-8."""
        return self._text

    @cached_property
    def key(self) -> str:
        """Sha256 of the canonical JSON, 64 hex."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @cached_property
    def name(self) -> str:
        """A readable name, not unique: the encoder's last name and the pooling."""
        fields = self.fields
        words = [str(fields["encoder"]["name"]).rstrip("/").rsplit("/", 1)[-1]]
        if fields["pooling"]:
            words.append(str(fields["pooling"]))
        return slug("-".join(words))

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values, little-endian."""
        return np.dtype(self.store_dtype).newbyteorder("<")

    def replace(self, **fields: Any) -> Spec:
        """Return a spec with some of the top fields replaced."""
        return Spec(self.fields | fields)

    def with_store_dtype(self, dtype: str) -> Spec:
        """Return the same spec, stored as "float32" or "float16"."""
        return self.replace(store_dtype=dtype)

    def diff(self, other: Spec) -> list[tuple[str, Any, Any]]:
        """Return ``(field, here, there)`` for each field that differs; absent is None."""
        return sorted(_differences("", self.fields, other.fields), key=lambda row: row[0])

    def explain(self, other: Spec) -> str:
        """Return the differences to `other` as text, one line per field."""
        return "\n".join(
            f"{path}: {mine!r} here, {theirs!r} there" for path, mine, theirs in self.diff(other)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Spec({self.name}, {self.n_layers} x {self.dim} {self.store_dtype}, {self.key[:8]})"

    def _check(self) -> None:
        fields = self.fields
        form = fields.get("format")
        if not isinstance(form, int) or form < 1:
            raise InputError(f"spec: format is {form!r}, expected {FORMAT}")
        if form > FORMAT:
            raise SpecError(
                f"spec: format {form} is newer than this affekt reads ({FORMAT}): update affekt"
            )
        for name, known in (("modality", MODALITIES), ("store_dtype", STORE_DTYPES)):
            if (given := fields.get(name)) not in known:
                raise InputError(f"spec: {name} is {given!r}; {expected_one_of(given, known)}")
        if not isinstance(fields.get("pooling"), str):
            raise InputError(f"spec: pooling is {fields.get('pooling')!r}, expected text")
        encoder = fields.get("encoder")
        if (
            not isinstance(encoder, dict)
            or not isinstance(encoder.get("name"), str)
            or not encoder["name"]
        ):
            raise InputError(f"spec: encoder is {encoder!r}, expected an object with a name")
        layers = fields.get("layers")
        sizes = [layers.get("count"), layers.get("dim")] if isinstance(layers, dict) else [None]
        if not all(type(size) is int and 1 <= size <= 1 << 24 for size in sizes):
            raise InputError(f"spec: layers is {layers!r}, expected an object with count and dim")
        labels = fields.get("labels")
        if labels is not None and (
            not isinstance(labels, list)
            or len(labels) != sizes[1]
            or len(set(map(str, labels))) != len(labels)
        ):
            raise InputError(f"spec: labels is {labels!r}, expected {sizes[1]} different names")


def slug(text: str) -> str:
    """Return text as a name for files: lower-case letters, digits, ``-``, ``_`` and ``.``.

    Examples
    --------
    >>> slug("Wav2Vec2 Large/XLSR 53")
    'wav2vec2-large-xlsr-53'
    """
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.")[:80] or "space"


def short_name(folder: str) -> str:
    """Return the name of a space's folder without the spec key at its end.

    Examples
    --------
    >>> short_name("wav2vec2-base-mean-1a2b3c4d")
    'wav2vec2-base-mean'
    """
    return folder[:-9]


def _plain(path: str, value: Any) -> Any:
    """Return JSON values of one exact type each: 1, True and "1" stay three different things."""
    if path.count(".") + path.count("[") > MAX_DEPTH:
        raise InputError(f"spec: {path[:60]}... is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise InputError(
                f"spec: {path or 'fields'} has a name that is not text: {list(value)!r}"
            )
        return {name: _plain(f"{path}.{name}".strip("."), item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{path}[{i}]", item) for i, item in enumerate(value)]
    hint = "; write a float as text" if isinstance(value, float) else ""
    raise InputError(
        f"spec: {path} is {value!r} ({type(value).__name__}), expected JSON without floats{hint}"
    )


def _differences(path: str, mine: Any, theirs: Any):
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in mine.keys() | theirs.keys():
            inner = mine.get(name, _ABSENT), theirs.get(name, _ABSENT)
            yield from _differences(f"{path}.{name}".strip("."), *inner)
    elif json.dumps(mine, default=repr) != json.dumps(theirs, default=repr):
        yield path, None if mine is _ABSENT else mine, None if theirs is _ABSENT else theirs


def _no_float(text: str) -> Any:
    raise ValueError(f"the float {text}: floats are written as text")

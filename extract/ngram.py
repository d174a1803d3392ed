"""`Ngram`: an encoder for texts without weights, the floor of every comparison of text encoders.

A text is case-folded and cut into words; each word gives its character n-grams (with marks at its
ends), itself, and a pair with the next word. Every n-gram is hashed, with a sign, to one place of
the vector (the hashing trick of Weinberger et al., 2009), counted as ``log(1 + count)``, and each
of the two blocks (characters, words) is scaled to unit length. It knows no language, so it works
in all of them; a character outside of the letters (emoji, Chinese) is a word of its own.

The hash is our own arithmetic on Unicode code points in 64 bits: the same on every machine and in
every process, unlike Python's ``hash``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .backend import Pooled
from .errors import Unusable

__all__ = ["Ngram"]

VERSION = 1  # raise it whenever a number changes

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\s]")
_EDGE = 0x110000  # marks both ends of a word; behind the last code point of Unicode
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Ngram:
    """Embed texts as hashed character and word n-grams; a `Backend` of one layer.

    Parameters
    ----------
    dim : int
        Width of the vector; three quarters hold character n-grams, one quarter words.
    longest : int
        Characters of the longest character n-gram, marks included.

    Examples
    --------
    >>> good, better, chalk = Ngram().embed(["so good!", "So GOOD !", "chalk"])
    >>> good.values.shape, good.frames
    ((1, 4096), 3)
    >>> round(float((good.values * better.values).sum()), 3)  # the same words
    2.0
    >>> abs(float((good.values * chalk.values).sum())) < 0.1
    True
    """

    name = "ngram"
    modality = "text"
    n_layers = 1
    sampling_rate = 0
    min_samples = 0
    pooling = "bag"
    labels = None
    batch_clips = 512

    def __init__(self, dim: int = 4096, longest: int = 5) -> None:
        if dim < 16 or dim % 4:
            raise ValueError(f"dim is {dim}, expected a multiple of 4 from 16 on")
        if longest < 1:
            raise ValueError(f"longest is {longest}, expected at least 1")
        self.dim = dim
        self.longest = longest

    def describe(self) -> dict[str, Any]:
        """Say what decides the numbers."""
        return {
            "encoder": {"name": self.name, "version": VERSION},
            "processor": {"fold": "NFKC, casefold", "longest": self.longest, "words": 2},
            "layers": {"semantics": "n-grams", "count": 1, "dim": self.dim},
            "pooling": self.pooling,
            "compute": {"dtype": "float32"},
        }

    def load(self) -> None:
        """Nothing to load."""

    def embed(self, inputs: Sequence[str]) -> list[Pooled | Unusable]:
        """Embed texts; ``frames`` is the number of words."""
        return [self._embed(text) for text in inputs]

    def _embed(self, text: str) -> Pooled | Unusable:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        if not words:
            return Unusable("empty_text", "no word, sign or symbol")
        characters, marks = _characters(words)
        split = self.dim * 3 // 4
        vector = np.empty(self.dim, dtype=np.float32)
        vector[:split] = _count(_character_ngrams(characters, marks, self.longest), split)
        vector[split:] = _count(_word_ngrams(characters, marks), self.dim - split)
        return Pooled(vector[None], len(words))


def _characters(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points of all words with a mark at both ends of each, and where the marks are."""
    points = np.frombuffer("\n".join(["", *words, ""]).encode("utf-32-le"), dtype=np.uint32)
    marks = points == ord("\n")
    points = np.where(marks, _EDGE, points).astype(np.uint64)
    return points, np.flatnonzero(marks)


def _character_ngrams(points: np.ndarray, marks: np.ndarray, longest: int) -> np.ndarray:
    """Hashes of all n-grams that stay inside one word and its two marks."""
    inside = np.cumsum(points == _EDGE)  # a mark counts to the word behind it
    grams = []
    rolling = np.zeros(len(points), dtype=np.uint64)
    for n in range(1, longest + 1):
        if n > len(points):
            break
        rolling = rolling[: len(points) - n + 1] * _MULTIPLIER + points[n - 1 :] + np.uint64(1)
        # from the mark before a word up to the mark behind it, both included
        last = inside[n - 1 :] - (points[n - 1 :] == _EDGE)
        first = inside[: len(points) - n + 1]
        keep = first == last if n > 1 else points != _EDGE
        grams.append(_mix(rolling[keep] + np.uint64(n << 56)))
    return np.concatenate(grams)


def _word_ngrams(points: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Hashes of words and of pairs of neighbouring words."""
    words = np.array(
        [_fold(points[a + 1 : b]) for a, b in pairwise(marks)],
        dtype=np.uint64,
    )
    pairs = words[:-1] * _MULTIPLIER + words[1:]
    return np.concatenate([_mix(words), _mix(pairs + np.uint64(2 << 56))])


def _fold(points: np.ndarray) -> int:
    value = 0
    for point in points.tolist():
        value = (value * 0x9E3779B97F4A7C15 + point + 1) & 0xFFFFFFFFFFFFFFFF
    return value


def _mix(x: np.ndarray) -> np.ndarray:
    """Spread 64 bits evenly: the last steps of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _count(grams: np.ndarray, dim: int) -> np.ndarray:
    """Signed, damped counts in a unit vector ``(dim,)``."""
    vector = np.zeros(dim)
    unique, counts = np.unique(grams, return_counts=True)
    places = (unique >> np.uint64(1)) % np.uint64(dim)
    signs = (unique & np.uint64(1)).astype(np.float64) * 2 - 1
    np.add.at(vector, places.astype(np.intp), signs * np.log1p(counts))
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector

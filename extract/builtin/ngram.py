"""`Ngram`: an encoder for texts without weights, the floor of every comparison of text encoders.

A text is cut into words (`words`); each word gives its character n-grams (with marks at its ends),
itself, and a pair with the next word. Every n-gram is hashed, with a sign, to one place of
the vector (the hashing trick of Weinberger et al., 2009); a place keeps the logarithm of its count,
and each of the two blocks (characters, words) is scaled to unit length. It works in every
language.

The hash is our own arithmetic on Unicode code points in 64 bits: the same on every machine and in
every process, unlike Python's ``hash``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cache.errors import InputError
from ...cache.shards.checksum import mixed
from ..backend import Backend, Pooled
from ..errors import Unusable
from ..inputs.words import words

MOST_DIM = 1 << 24
MOST_LETTERS = 100  # of an n-gram
VERSION = 2  # raise it whenever a number changes

_EDGE = 0x110000  # marks both ends of a word; beyond the last code point of Unicode
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 64  # texts at a time: their counts stay in the processor's cache


class Ngram(Backend):
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
    pooling = "bag"
    batch_clips = 512

    def __init__(self, dim: int = 4096, longest: int = 5) -> None:
        if not 16 <= dim <= MOST_DIM or dim % 4:
            raise InputError(f"dim is {dim}, expected a multiple of 4 from 16 to {MOST_DIM}")
        if not 1 <= longest <= MOST_LETTERS:
            raise InputError(f"longest is {longest}, expected 1 to {MOST_LETTERS}")
        self.dim = dim
        self.longest = longest

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers."""
        return {
            "encoder": {"name": self.name, "version": VERSION},
            "processor": {"fold": "NFKC, casefold", "longest": self.longest, "words": 2},
            "layers": {"semantics": "n-grams", "count": 1, "dim": self.dim},
            "pooling": self.pooling,
            "compute": {"dtype": "float32"},
        }

    def embed(self, inputs: Sequence[str]) -> list[Pooled | Unusable]:
        """Embed texts; ``frames`` is the number of words."""
        texts = [words(text) for text in inputs]
        answers: list[Pooled | Unusable] = []
        for begin in range(0, len(texts), _BLOCK):
            answers += self._embed(texts[begin : begin + _BLOCK])
        return answers

    def _embed(self, texts: list[list[str]]) -> list[Pooled | Unusable]:
        counts = np.array([len(words) for words in texts])
        if not counts.any():
            return [_nothing() for _ in texts]
        points, marks = _characters([word for words in texts for word in words])
        owners = np.repeat(np.arange(len(texts)), counts)  # text of each word
        split = self.dim * 3 // 4
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        grams, of_word = _character_ngrams(points, self.longest)
        rows[:, :split] = _count(grams, owners[of_word], len(texts), split)
        grams, of_word = _word_ngrams(points, marks, owners)
        rows[:, split:] = _count(grams, owners[of_word], len(texts), self.dim - split)
        return [
            Pooled(row[None], int(count)) if count else _nothing()
            for row, count in zip(rows, counts, strict=True)
        ]


def _nothing() -> Unusable:
    return Unusable("empty_text", "no word, sign or symbol")


def _characters(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points of all words with a mark at both ends of each, and where the marks are."""
    points = np.frombuffer("\n".join(["", *words, ""]).encode("utf-32-le"), dtype=np.uint32)
    marks = points == ord("\n")
    points = np.where(marks, _EDGE, points).astype(np.uint64)
    return points, np.flatnonzero(marks)


def _character_ngrams(points: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all n-grams that stay inside one word and its two marks, and their words."""
    mark = points == _EDGE
    word = np.cumsum(mark) - 1  # a mark counts to the word after it
    grams, words = [], []
    rolling = np.zeros(len(points), dtype=np.uint64)
    for n in range(1, min(longest, len(points)) + 1):
        rolling = rolling[: len(points) - n + 1] * _MULTIPLIER + points[n - 1 :] + np.uint64(1)
        first = word[: len(points) - n + 1]
        last = word[n - 1 :] - mark[n - 1 :]  # here a mark counts to the word before it
        keep = first == last if n > 1 else ~mark
        grams.append(mixed(rolling[keep] + np.uint64(n << 56)))
        words.append(first[keep])
    return np.concatenate(grams), np.concatenate(words)


def _word_ngrams(
    points: np.ndarray, marks: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of words and of pairs of neighbours in one text, and their (first) words."""
    lengths = np.diff(marks)
    powers = np.full(lengths.max(), _MULTIPLIER)
    powers[0] = 1
    powers = np.cumprod(powers)  # wraps at 64 bits, like all of this
    place = np.arange(len(points) - 1) - np.repeat(marks[:-1], lengths)
    words = np.add.reduceat((points[:-1] + np.uint64(1)) * powers[place], marks[:-1])
    first = np.flatnonzero(owners[:-1] == owners[1:])
    pairs = words[first] * _MULTIPLIER + words[first + 1] + np.uint64(2 << 56)
    return mixed(np.concatenate([words, pairs])), np.concatenate([np.arange(len(words)), first])


def _count(grams: np.ndarray, texts: np.ndarray, rows: int, dim: int) -> np.ndarray:
    """Signed, damped counts in unit vectors ``(rows, dim)``; the counts are exact in any order."""
    places = texts * dim + ((grams >> np.uint64(1)) % np.uint64(dim)).astype(np.intp)
    signs = (grams & np.uint64(1)).astype(np.float64) * 2 - 1
    counts = np.bincount(places, weights=signs, minlength=rows * dim).reshape(rows, dim)
    damped = np.sign(counts) * np.log1p(np.abs(counts))
    length = np.sqrt(np.einsum("rd,rd->r", damped, damped))[:, None]
    return np.divide(damped, length, out=damped, where=length > 0)

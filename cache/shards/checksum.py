"""The checksum of a stored vector.

Each vector (one layer of one row) carries 64 bits that bind its bytes to its row key and its layer.
They are made once, when the vector is stored, and travel with it through every later file; so a
damaged byte, a block read from the wrong place and a wrong index are all found before a value is
returned, and nothing has to be read besides the vectors asked for.

The sum is linear in 8-byte words, modulo 2**64, with odd weights::

    weight[0] * (first 16 hex digits of the key) + weight[1] * (layer + 1)
        + sum over i of weight[i + 2] * word[i]

An error within one word always shows, as the weights are odd. It is a guard against accidents, not
against forgery, and it runs near the speed of memory, where a cryptographic hash would not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

WORD = np.dtype("<u8")
GOLDEN = WORD.type(0x9E3779B97F4A7C15)  # the step of SplitMix64


def mixed(x: np.ndarray) -> np.ndarray:
    """Spread 64-bit words evenly: the last steps of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> WORD.type(30))) * WORD.type(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> WORD.type(27))) * WORD.type(0x94D049BB133111EB)
    return x ^ (x >> WORD.type(31))


@lru_cache(maxsize=16)
def weights(count: int) -> np.ndarray:
    """Return the first `count` weights: the splitmix64 sequence from 0, made odd.

    Examples
    --------
    >>> [hex(w) for w in weights(2).tolist()]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f5']
    """
    found = mixed(np.arange(1, count + 1, dtype=WORD) * GOLDEN) | WORD.type(1)
    found.flags.writeable = False
    return found


def checksums(vectors: np.ndarray, keys: np.ndarray, layer: int) -> np.ndarray:
    """Return the checksums of one layer of some rows.

    Parameters
    ----------
    vectors : ndarray (rows, dim), float16 or float32
        As they are stored, little-endian.
    keys : ndarray (rows,) uint64
        First 16 hex digits of each row key, as a number.
    layer : int
        Counted from 0.

    Returns
    -------
    ndarray (rows,) uint64

    Examples
    --------
    >>> rows = np.zeros((1, 4), np.float16)
    >>> key = np.zeros(1, np.uint64)
    >>> hex(checksums(rows, key, layer=0)[0]), hex(checksums(rows, key, layer=1)[0])
    ('0x6e789e6aa1b965f5', '0xdcf13cd54372cbea')
    """
    words = _words(vectors)
    weight = weights(words.shape[1] + 2)
    with np.errstate(over="ignore"):
        where = keys * weight[0] + weight[1] * WORD.type(layer + 1)
        return np.einsum("rw,w->r", words, weight[2:]) + where


def _words(vectors: np.ndarray) -> np.ndarray:
    """Return the bytes of each vector as 8-byte words, the last one filled up with zeros."""
    vectors = np.ascontiguousarray(vectors)
    width = vectors.shape[1] * vectors.itemsize
    if width % WORD.itemsize == 0:
        return vectors.view(WORD)
    padded = np.zeros((len(vectors), -(-width // WORD.itemsize) * WORD.itemsize), np.uint8)
    padded[:, :width] = vectors.view(np.uint8)
    return padded.view(WORD)

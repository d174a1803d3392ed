"""What identifies a clip's content, and the key of its row in a space.

A row is found by what was fed in and how it was computed, never by a path or an id: the same audio
under two names is one row, a renamed file keeps its row, and a changed file gets a new one.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

KINDS = ("audio", "text")
DIGEST = re.compile(r"[0-9a-f]{64}")  # of a content, and a row key


def audio_digest(data: bytes, start: float | None = None, end: float | None = None) -> str:
    """Return the sha256 (hex) of an audio file's bytes, or of a segment of it.

    Parameters
    ----------
    data : bytes
        The whole file.
    start, end : float or None
        Segment in seconds; None: from the beginning, or to the end, of the file.

    Examples
    --------
    >>> audio_digest(b"RIFF")[:12], audio_digest(b"RIFF", 0.5, 2.0)[:12]
    ('a40ff3d5900f', 'b550132947eb')
    """
    return segment_digest(hashlib.sha256(data).hexdigest(), start, end)


def segment_digest(file_digest: str, start: float | None, end: float | None) -> str:
    """Return the digest of a segment of the file with the digest `file_digest`.

    The times are part of the content; a clip without times is the file itself.

    Examples
    --------
    >>> file = audio_digest(b"RIFF")
    >>> segment_digest(file, None, None) == file, segment_digest(file, 0.0, None) == file
    (True, False)
    """
    if start is None and end is None:
        return file_digest
    times = "\0".join("" if t is None else repr(float(t)) for t in (start, end))
    return hashlib.sha256(f"segment\0{file_digest}\0{times}".encode()).hexdigest()


def text_digest(text: str) -> str:
    r"""Return the sha256 (hex) of a text in Unicode's composed form (NFC), as UTF-8.

    Examples
    --------
    >>> text_digest("caf\u00e9") == text_digest("cafe\u0301")
    True
    """
    return hashlib.sha256(
        unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    ).hexdigest()


def row_key(spec_key: str, kind: str, digest: str) -> str:
    """Return the key (64 hex) of a clip's row in the space of `spec_key`.

    Parameters
    ----------
    spec_key : str
        Key of the spec, 64 hex.
    kind : {"audio", "text"}
        What was fed in.
    digest : str
        From `audio_digest` or `text_digest`.

    Examples
    --------
    >>> row_key("0" * 64, "text", text_digest("hello"))[:12]
    'e0acf97b880b'
    """
    return row_keys(spec_key, kind, [digest])[0] or ""


def row_keys(spec_key: str, kind: str, digests: Iterable[str | None]) -> list[str | None]:
    """Return the key of each row, as `row_key` does; None stays None.

    Examples
    --------
    >>> row_keys("0" * 64, "text", [None, "ab"]) == [None, row_key("0" * 64, "text", "ab")]
    True
    """
    start = hashlib.sha256(f"{spec_key}\0{kind}\0".encode())
    keys: list[str | None] = []
    for digest in digests:
        if digest is None:
            keys.append(None)
            continue
        state = start.copy()
        state.update(digest.encode())
        keys.append(state.hexdigest())
    return keys


def hex_bytes(keys: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return row keys as bytes ``(keys, 32) uint8``.

    Examples
    --------
    >>> hex_bytes(["0a" * 32]).shape, int(hex_bytes(["0a" * 32])[0, 0])
    ((1, 32), 10)
    """
    text = keys.tobytes() if isinstance(keys, np.ndarray) else "".join(keys)
    raw = binascii.unhexlify(text)
    if len(raw) != 32 * len(keys):
        raise ValueError("a key is not 64 hex digits")
    return np.frombuffer(raw, np.uint8).reshape(-1, 32)


def hex_texts(raw: np.ndarray) -> list[str]:
    """Return row keys ``(keys, 32) uint8`` as text.

    Examples
    --------
    >>> hex_texts(hex_bytes(["0a" * 32])) == ["0a" * 32]
    True
    """
    text = raw.tobytes().hex()
    return [text[i : i + 64] for i in range(0, len(text), 64)]


def key_words(raw: np.ndarray) -> np.ndarray:
    """Return the first 16 hex digits of keys as numbers ``(keys,) uint64``.

    Examples
    --------
    >>> key_words(hex_bytes(["00000000000000ff" + "0" * 48])).tolist()
    [255]
    """
    return np.ascontiguousarray(raw[:, :8]).view(">u8")[:, 0].astype(np.uint64)

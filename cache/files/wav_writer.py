"""Write samples as a WAV file whose bytes depend on the samples alone.

Floats are stored as 32-bit floats, 16-bit integers as they are: nothing is rounded or scaled, so
that what is read back is what was given.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ..errors import InputError

MOST_CHANNELS = 32


def wav_bytes(samples: Any, sampling_rate: int) -> bytes:
    """Return a WAV file.

    Parameters
    ----------
    samples : array
        ``(samples,)``, or with channels on the shorter axis. float32, float64 (stored as float32)
        or int16.
    sampling_rate : int
        In Hz.

    Examples
    --------
    >>> data = wav_bytes(np.zeros(8, np.float32), 16000)
    >>> data[:4], len(data)
    (b'RIFF', 90)
    """
    values = np.asarray(samples)
    if values.dtype.kind == "f":
        values, tag = values.astype("<f4"), 3
    elif values.dtype == np.int16:
        values, tag = values.astype("<i2"), 1
    else:
        raise InputError(f"samples of type {values.dtype}; expected float32, float64 or int16")
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T  # (channels, samples), as decoders of tensors give them
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] > MOST_CHANNELS):
        raise InputError(f"samples of shape {np.shape(samples)}; expected (samples,) or channels")
    if not isinstance(sampling_rate, int | np.integer) or not 0 < sampling_rate < 2**24:
        raise InputError(f"a sampling rate of {sampling_rate!r}; expected Hz, such as 16000")
    channels = 1 if values.ndim == 1 else values.shape[1]
    width = values.dtype.itemsize
    body = np.ascontiguousarray(values).tobytes()
    frame = channels * width
    layout = (tag, channels, int(sampling_rate), int(sampling_rate) * frame, frame, 8 * width)
    # a format other than PCM has an (empty) extension and says how many frames there are
    chunks = [(b"fmt ", struct.pack("<HHIIHH", *layout) + (b"\0\0" if tag == 3 else b""))]
    if tag == 3:
        chunks.append((b"fact", struct.pack("<I", len(values))))
    chunks.append((b"data", body))  # of even length: no padding byte
    content = b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    if len(content) >= 2**32 - 4:
        raise InputError(f"{len(body)} bytes of audio are too many for a WAV file")
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WAVE" + content

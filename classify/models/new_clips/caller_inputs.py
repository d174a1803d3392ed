"""The inputs of `predict`, as one manifest or as clips in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ....cache.errors import InputError, nearest
from ....cache.manifest import Manifest
from .new_clip import TAKEN, RawClip, is_audio


class Tensor(Protocol):
    """A waveform in torch, without importing it."""

    def detach(self) -> Any: ...  # noqa: D102

    def numpy(self) -> Any: ...  # noqa: D102


Path_ = str | os.PathLike[str]
#: the audio of one clip
Recording = Path_ | bytes | BinaryIO | np.ndarray | Tensor
#: what `predict` takes as its first argument
Given = Manifest | Recording | Iterable[Recording]


def read_given(
    inputs: Given = (),
    *,
    text: str | None = None,
    texts: Sequence[str] | None = None,
    sampling_rate: int | None = None,
    root: Path_ | None = None,
) -> Manifest | list[RawClip]:
    """Return a manifest where everything is named by path or text, else clips in memory.

    Parameters
    ----------
    inputs : Manifest, recording or list of recordings
        Paths name a manifest, audio files or folders of them.
    text : str, optional
        What is said in the one recording; or a clip of its own.
    texts : list of str, optional
        One for each recording; or clips of their own.
    sampling_rate : int, optional
        Of waveforms, in Hz.
    root : path, optional
        Of a manifest's paths.

    Examples
    --------
    >>> [clip.text for clip in read_given(texts=["what a day", "oh no"])]
    ['what a day', 'oh no']
    >>> read_given(b"RIFF...", text="hello")[0].id
    'audio'
    """
    _check_texts(text, texts)
    if isinstance(inputs, Manifest):
        for name, value in (("text", text), ("texts", texts), ("root", root)):
            if value is not None:
                raise TypeError(f"{name}= was given with a Manifest, which has columns for that")
        return inputs
    given, single = _listed(inputs)
    memory = [not isinstance(one, str | os.PathLike) for one in given]
    if sampling_rate is not None and not any(memory):
        raise TypeError(f"sampling_rate={sampling_rate} is for waveforms; files have their own")
    if not any(memory):
        return _named(given, text, texts, root)
    if root is not None:
        raise InputError(f"root={str(root)!r} belongs to a manifest")
    if text is not None and len(given) > 1:
        raise InputError(f"one text for {len(given)} recordings; expected texts=[...]")
    spoken = _paired(texts if texts is not None else [text] * len(given), given)
    ids = ["audio"] if single else [f"audio-{number}" for number in range(1, len(given) + 1)]
    return [
        RawClip(
            name if in_memory else os.fspath(one),
            one if in_memory else Path(one),
            sampling_rate if in_memory else None,
            words,
        )
        for name, one, in_memory, words in zip(ids, given, memory, spoken, strict=True)
    ]


def to_raw(clips: Manifest) -> list[RawClip]:
    """Return the clips of a manifest, to be read when their turn comes."""
    others = [name for name in ("speaker", "language", "dataset") if name in clips]
    return [
        RawClip(
            clip.id,
            clips.file(row) if clip.path else None,
            text=clip.text or None,
            start=clip.start,
            end=clip.end,
            columns={name: str(clips[name][row]) for name in others},
        )
        for row, clip in enumerate(clips)
    ]


def refuse_unknown(unknown: Iterable[str], known: str) -> None:
    """Raise a `TypeError` for keywords that a function does not have.

    Examples
    --------
    >>> refuse_unknown(["txt"], "text, texts")
    Traceback (most recent call last):
        ...
    TypeError: no argument 'txt'; expected text, texts. Did you mean 'text'?
    """
    for name in unknown:
        raise TypeError(
            f"no argument {name!r}; expected {known}.{nearest(name, known.split(', '))}"
        )


def _check_texts(text: Any, texts: Any) -> None:
    if text is not None and not isinstance(text, str):
        hint = "; several texts are texts=[...]" if isinstance(text, list | tuple) else ""
        raise TypeError(f"text is {text!r} ({type(text).__name__}); expected one str{hint}")
    if texts is None:
        return
    if text is not None:
        raise TypeError("text and texts were both given; expected one of them")
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        hint = "; one text is text='...'" if isinstance(texts, str) else ""
        raise TypeError(
            f"texts is {texts!r} ({type(texts).__name__}); expected a list of str{hint}"
        )
    for one in texts:
        if not isinstance(one, str):
            raise TypeError(f"texts holds {one!r} ({type(one).__name__}); expected str only")


def _listed(inputs: Any) -> tuple[list[Any], bool]:
    """Return the recordings, and whether it was one that came without a list."""
    if isinstance(inputs, str | os.PathLike) or is_audio(inputs):
        return [inputs], True
    if not isinstance(inputs, Iterable) or isinstance(inputs, dict) or hasattr(inputs, "columns"):
        hint = ". For a table: Manifest.from_frame(frame)" if hasattr(inputs, "columns") else ""
        raise TypeError(f"cannot predict {type(inputs).__name__}; expected {TAKEN}{hint}")
    given = list(inputs)
    for one in given:
        if not isinstance(one, str | os.PathLike) and not is_audio(one):
            hint = ""
            if isinstance(one, int | float):
                hint = ". For a waveform: numpy.asarray(samples, 'float32')"
            raise TypeError(
                f"cannot predict a list that holds {type(one).__name__}; expected {TAKEN}{hint}"
            )
    return given, False


def _named(
    given: Sequence[Path_], text: str | None, texts: Sequence[str] | None, root: Path_ | None
) -> Manifest:
    from .own_encoders import raw_clips

    if texts is None:
        return raw_clips(given, text=text, root=root)
    if not given:
        if not len(texts):
            raise InputError("texts is an empty list; expected at least one text")
        rows = [{"id": f"text-{number}", "text": one} for number, one in enumerate(texts, 1)]
        return Manifest.from_rows(rows, source="the texts given")
    clips = raw_clips(given, root=root)
    return clips.with_columns(text=[one or "" for one in _paired(texts, clips)])


def _paired(texts: Sequence[str | None], recordings: Any) -> list[str | None]:
    if len(texts) != len(recordings):
        raise InputError(
            f"{len(texts)} texts for {len(recordings)} recordings; expected one for each"
        )
    return list(texts)

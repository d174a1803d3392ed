"""Manifests of objects in memory: a Hugging Face `datasets.Dataset`, an audformat table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..manifest import Manifest


def from_datasets(
    dataset: Any,
    folder: str | os.PathLike,
    *,
    audio: str = "audio",
    columns: Mapping[str, str] | None = None,
) -> Manifest:
    """Make a manifest of a `datasets.Dataset` or `DatasetDict`, and write its audio to a folder.

    Parameters
    ----------
    dataset : Dataset, DatasetDict, or iterable of dict
        With a column of audio as arrays (``{"array", "sampling_rate"}``), or as bytes or the path
        of a local file, which ``dataset.cast_column("audio", Audio(decode=False))`` gives and which
        need no decoder. The keys of a DatasetDict become the splits (validation is dev). Class
        labels become their names.
    folder : path
        Where the audio goes; root of the manifest. A file that is there already stays.
    audio : str
        The column of audio; a data set without it is text.
    columns : mapping of str to str, optional
        Our name -> theirs, where they differ: ``{"label": "emotion_id"}``.

    Returns
    -------
    Manifest
        Paths are relative to `folder`. Without a column ``id`` the ids are the row numbers, after
        the split.

    Raises
    ------
    InputError
        An audio value that is neither samples nor bytes nor a file, a column that does not exist,
        or a folder that cannot be written.

    Examples
    --------
    >>> import numpy, tempfile
    >>> rows = [{"audio": {"array": numpy.zeros(9), "sampling_rate": 16000}, "emotion": "calm"}]
    >>> clips = from_datasets(rows, tempfile.mkdtemp())
    >>> clips.ids, list(clips["label"]), clips.file(0).suffix
    (['0'], ['calm'], '.wav')
    """
    return Manifest.from_datasets(dataset, folder, audio=audio, columns=columns)


def from_audformat(
    table: Any,
    root: str | os.PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
) -> Manifest:
    """Make a manifest of an audformat table, or of a DataFrame or Series with its index.

    Parameters
    ----------
    table : audformat.Table, pandas.DataFrame or pandas.Series
        Index ``file``, or ``file, start, end`` with times as Timedelta; an end of NaT is the end of
        the file, and a segment from 0 to NaT the file itself.
    root : path
        Folder of the database, which the files are relative to.
    columns : mapping of str to str, optional
        Our name -> theirs, where they differ.
    allow_outside : bool
        Allow absolute paths.

    Raises
    ------
    InputError
        Another index.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.MultiIndex.from_arrays(
    ...     [["a.wav", "a.wav"], pd.to_timedelta([0, 1.5], "s"), pd.to_timedelta([1.5, None], "s")],
    ...     names=["file", "start", "end"])
    >>> clips = from_audformat(pd.Series(["joy", "fear"], index, name="emotion"), ".")
    >>> clips.ids, clips.clip(1).start, clips.clip(1).end
    (['a.wav#0.0-1.5', 'a.wav#1.5-'], 1.5, None)
    """
    return Manifest.from_audformat(table, root, columns=columns, allow_outside=allow_outside)

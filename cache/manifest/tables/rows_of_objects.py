"""Rows of objects in memory: a Hugging Face `datasets.Dataset`, an audformat table.

Neither library is imported; what is used are their rows and columns. Audio that is held in memory
is written to a folder, each content once under the hash of its bytes, since a clip is known by the
content of its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files.atomic_writes import write_whole
from ...files.durable import content_name
from ...files.wav_writer import wav_bytes
from .cells import PARTS, span_seconds
from .parquet_and_excel import labelled


def rows_of_datasets(
    dataset: Any, folder: Path, audio: str = "audio", columns: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a data set, and write its audio; see `from_datasets`."""
    if isinstance(dataset, Mapping):
        parts = {name: (f"{name}-", PARTS.get(name, name)) for name in dataset}
    else:
        parts = {"": ("", "")}
    rows: list[dict[str, Any]] = []
    ours: dict[str, str] = {theirs: ours for ours, theirs in (columns or {}).items()}
    for name, (prefix, split) in parts.items():
        part = dataset[name] if name else dataset
        labels = _label_names(part)
        for number, row in enumerate(part):
            _check_columns(ours, list(row))
            clip: dict[str, Any] = {"id": f"{prefix}{number}"} | ({"split": split} if split else {})
            for column, value in row.items():
                value = labelled(value, labels.get(column))
                if column != audio:
                    clip[ours.get(str(column), str(column))] = value
            if row.get(audio) is not None:
                clip["path"] = _stored_audio(row[audio], folder, f"{name or 'row'} {number}")
            rows.append(clip)
    return rows


def rows_of_audformat(table: Any, columns: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table; see `from_audformat`."""
    frame = getattr(table, "df", table)
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # a Series, or a bare index
        frame = frame.to_frame()
    index = getattr(frame, "index", None)
    names = list(getattr(index, "names", []))
    if index is None or names not in (["file"], ["file", "start", "end"]):
        raise InputError(f"an index {names}; expected file, or file, start, end, as audformat has")
    data: dict[str, list[Any]] = {"path": [str(p) for p in index.get_level_values("file")]}
    if len(names) == 3:
        times = [
            (_seconds(start), _seconds(end))
            for start, end in zip(
                index.get_level_values("start"), index.get_level_values("end"), strict=True
            )
        ]
        whole = {(0.0, None), (None, None)}
        data["start"] = [None if pair in whole else pair[0] for pair in times]
        data["end"] = [pair[1] for pair in times]
    theirs = {theirs: ours for ours, theirs in (columns or {}).items()}
    there = [str(name) for name in frame.columns]
    _check_columns(theirs, there)
    if twice := sorted({name for name in there if there.count(name) > 1}):
        raise InputError(f"column {', '.join(twice)} appears twice; rename or drop one")
    for name in frame.columns:
        data[theirs.get(str(name), str(name))] = frame[name].astype(object).tolist()
    return [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]


def _check_columns(wanted: Mapping[str, str], there: list[str]) -> None:
    for name in wanted:
        if name not in there:
            raise InputError(f"no column {name!r}; there are {', '.join(there)}")


def _label_names(part: Any) -> dict[str, list[str]]:
    """Names of `datasets.ClassLabel` columns, which rows hold as numbers."""
    features = getattr(part, "features", None) or {}
    return {
        name: list(feature.names)
        for name, feature in features.items()
        if getattr(feature, "names", None) is not None and hasattr(feature, "int2str")
    }


def _stored_audio(value: Any, folder: Path, place: str) -> str:
    """Write one clip's audio under the hash of its bytes; return the file's name."""
    value = value if isinstance(value, Mapping) else {}
    if value.get("array") is not None:
        data, suffix = wav_bytes(value["array"], value.get("sampling_rate")), ".wav"
    elif value.get("bytes"):
        data = bytes(value["bytes"])
        suffix = Path(str(value.get("path") or "a.wav")).suffix.lower()
    elif value.get("path"):
        data, suffix = _contents(value["path"], place), Path(value["path"]).suffix.lower()
    else:
        raise InputError(
            f"{place}: audio without samples, bytes or path; expected {{'array', 'sampling_rate'}},"
            " or cast the column first: dataset.cast_column('audio', Audio(decode=False))"
        )
    name = content_name(data, suffix if suffix.lstrip(".").isalnum() else ".wav")
    if not (folder / name).is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder} cannot be made ({error.strerror}); expected a folder for the audio"
            ) from error
        write_whole(folder / name, data)
    return name


def _contents(path: str, place: str) -> bytes:
    """Read a file that a row names; a device or a pipe might never end."""
    if not Path(path).is_file():
        raise InputError(
            f"{place}: audio without bytes, and its path {path!r} is not a file here; expected "
            "a local one"
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{place}: {path} cannot be read: {error.strerror}") from error


def _seconds(time: Any) -> float | None:
    """Return a Timedelta or a number in seconds; NaT and NaN are None."""
    if type(time).__name__ == "NaTType":
        return None
    value = span_seconds(time) if hasattr(time, "total_seconds") else time
    if value is None:
        return None
    value = float(value)
    return None if value != value else value

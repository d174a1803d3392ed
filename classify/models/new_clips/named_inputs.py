"""The clips that a user named: files, folders of them, one manifest, or a text.

One file that cannot be read is one clip that fails by name; the others are predicted.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....cache.errors import InputError, check_characters, listed
from ....cache.manifest import Manifest
from ....extract.inputs.audio_files import is_of_the_machine, machine_fault
from ....extract.inputs.missing_files import hint_missing
from .modalities_seen import Reason

LONGEST = 230  # bytes of an id; 255 fit, and a window of a recording adds its times
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
#: what a shell writes for <(COMMAND): a table, as - is
_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
#: what extract decodes, by the usual endings
AUDIO = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".sph", ".nist", ".caf", ".w64", ".voc"),
    *(".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".mp2"),
    *(".flv", ".wv", ".ac3", ".tta", ".ape", ".avi", ".m4b", ".mpg", ".rm"),
)
_NAMED = 200  # files left out of a folder that are named
#: what macOS and Windows leave next to the files of a folder
_DEBRIS = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Named:
    """What was named.

    Attributes
    ----------
    failed : dict of str to Reason
        Of files that cannot be read; not among `clips`.
    notes : list of str
        What was left out of a folder, and why.
    """

    clips: Manifest
    failed: dict[str, Reason] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def name_clips(
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    text: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Named:
    """Find the clips that a user named.

    Parameters
    ----------
    inputs : sequence of path
        One manifest, or audio files and folders of them; a file's name is its id. Of a name over
        230 bytes the id is eight digits of its hash, "…", and its end.
    text : str, optional
        What is said: the text of the one file, or a clip of its own.
    root : path, optional
        Of a manifest; as for `Manifest.read`.

    Examples
    --------
    >>> list(name_clips(text="what a day").clips["text"])
    ['what a day']
    """
    if text is not None:
        check_characters(text, "--text")
    if is_table(inputs):
        if text is not None:
            raise InputError("--text belongs to one file; a manifest has a column text")
        clips = Manifest.read(inputs[0], root=root)
        return Named(clips, notes=list(clips.notes))
    if root is not None:
        raise InputError(f"--root {root} belongs to a manifest; files are given by their own paths")
    notes: list[str] = []
    failed: dict[str, Reason] = {}
    files = [name for given in inputs for name in _files(os.fspath(given), failed, notes)]
    twice = [name for name, count in Counter(files).items() if count > 1]
    if twice:
        raise InputError(f"{listed(twice)}: given twice; give each file once")
    if text is not None and len(files) > 1:
        raise InputError(f"--text belongs to one file, and there are {len(files)}; use a manifest")
    failed |= {_id(name): reason for name in files if (reason := _unreadable(name))}
    rows = [{"id": _id(name), "path": os.path.realpath(name), "text": text or ""} for name in files]
    if text is not None and not files:
        if not text.strip():
            raise InputError("--text is blank; expected what is said")
        rows = [{"id": "text", "path": "", "text": text}]
    if not rows:
        raise InputError("nothing to predict: give files, a folder, a manifest, or --text")
    clips = Manifest.from_rows(rows, root="/", source="the files given", allow_outside=True)
    kept = [name for name in clips.ids if name not in failed]
    return Named(clips.select(kept) if failed else clips, failed, notes)


def is_table(inputs: Sequence[str | os.PathLike[str]]) -> bool:
    """Whether what is named is one manifest."""
    if len(inputs) != 1 or Path(inputs[0]).is_dir():
        return False
    name = os.fspath(inputs[0]).lower().removesuffix(".gz")
    return name == "-" or name.startswith(_PIPES) or name.endswith(TABLES)


def long_names(clips: Manifest) -> dict[str, dict[str, str]]:
    """Return id -> ``{"path": ...}`` of the files whose names were too long to be ids."""
    return {clip.id: {"path": clip.path} for clip in clips if clip.id[8:9] == "…"}


def _files(given: str, failed: dict[str, Reason], notes: list[str]) -> list[str]:
    """Return the one file, or the audio files of a folder."""
    if not given:
        raise InputError('"" names no file')
    if not os.path.lexists(given):
        hint = hint_missing(Path(given))
        if not Path(given).suffix:
            hint += "; a text is given with --text, in Python with texts=[...]"
        raise InputError(f"{given}: no such file{hint}")
    if not Path(given).is_dir():
        return [str(Path(given))]
    found, other, debris = [], [], []

    def refused(error: OSError) -> None:
        failed[_id(str(error.filename))] = ("denied", f"cannot be listed: {error.strerror}")

    for folder, folders, names in os.walk(given, onerror=refused):
        debris += [str(Path(folder, one)) for one in folders if _is_debris(one)]
        folders[:] = [one for one in folders if not _is_debris(one)]
        links = [path for one in folders if (path := Path(folder, one)).is_symlink()]
        notes += [f"{path}: a link to a folder is not followed; give it as well" for path in links]
        for one in names:
            into = debris if _is_debris(one) else found if _ending(one) in AUDIO else other
            into.append(str(Path(folder, one)))
    for why, which in (
        ("not audio by their extensions (give the file itself to have it read)", other),
        ("files of macOS or Windows next to the audio", debris),
    ):
        if which:
            notes.append(f"left out, as {why}: {listed(sorted(which), _NAMED)}")
    if not found and not failed:
        raise InputError(
            f"{given}: no audio file in this folder ({', '.join(AUDIO)})"
            + "".join(f"; {note}" for note in notes)
        )
    return sorted(found)


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - of thousands of names


def _is_debris(name: str) -> bool:
    return name.startswith("._") or name.lower() in _DEBRIS


def _unreadable(name: str) -> Reason | None:
    """Return why a file cannot be a clip; extract reports other faults."""
    try:
        name.encode()
        kind = os.stat(name).st_mode  # noqa: PTH116
    except UnicodeEncodeError:
        return "bad_name", "the name is not UTF-8: rename the file"
    except FileNotFoundError:
        return "missing", "a link to a file that does not exist"
    except PermissionError:
        return None  # extract reports it
    except OSError as error:
        if is_of_the_machine(error):
            raise machine_fault(name, error) from error
        return "denied", f"cannot be read: {error.strerror}"
    return None if stat.S_ISREG(kind) else ("not_a_file", "a folder, device, FIFO or socket")


def _id(name: str) -> str:
    """Return the name, or a unique one of 230 bytes with the same end if it is longer."""
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= LONGEST:
        return name.encode("utf-8", "backslashreplace").decode()
    head = f"{hashlib.sha256(data).hexdigest()[:8]}…"
    return head + data[len(head.encode()) - LONGEST :].decode("utf-8", "ignore")

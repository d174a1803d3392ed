"""The folder that a run left: whether a place is one, what it compared, what to call a model."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....cache.errors import InputError, expected_one_of
from ....cache.files.cache_marker import MARKER
from ....cache.files.home_folder import at_home
from ....cache.files.reading import read_note, read_object
from ....cache.manifest import Manifest
from ...data.splitting.split_file import last_rows

#: in the folder of a run: its next report while it is made, and while it is put in place
WORK, READY = ".unfinished", ".ready"

_LONGEST = 60  # characters of a folder's name

#: names of folders that do not describe the model in them
_PLAIN = re.compile(r"(best|checkpoint|final|model|out(put)?)([-_]?\d+)?|\d+|")


def readable_name(place: str | os.PathLike[str]) -> str:
    """Return the name of the model in a folder: the folder's, or that of one above it.

    Examples
    --------
    >>> readable_name("models/valence"), readable_name("out/members/speech-lr/model")
    ('valence', 'speech-lr')
    >>> readable_name("lab/valence")
    'valence'
    """
    path = Path(place).resolve()
    for one in (path, *path.parents):
        if not _PLAIN.fullmatch(one.name.lower()):
            return one.name
    return str(place)


def ensemble_folder(run: Path, name: str) -> Path:
    """Return the folder of an ensemble in a run; a long name, of many members, is cut.

    Examples
    --------
    >>> ensemble_folder(Path("out"), "mean of a + b").name
    'mean of a + b'
    >>> len(ensemble_folder(Path("out"), f"mean of {'a' * 80} + b").name)
    60
    """
    if len(name) > _LONGEST:  # names that begin alike are told apart by the hash
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: _LONGEST - 9]}-{digest}"
    return run / "ensembles" / name


def is_run(place: str | os.PathLike[str]) -> bool:
    """Whether a place is the folder of a run, also of an unfinished or repeated one."""
    folder = Path(at_home(place))
    return bool(str(place)) and (
        any((folder / name).is_file() for name in ("comparison.json", "repeats.json"))
        or any((folder / name).is_dir() for name in ("members", WORK, READY))
    )


def other_use(folder: Path) -> str:
    """Return what a folder is where a report would do harm: a cache or a model; blank if neither.

    Examples
    --------
    >>> import tempfile
    >>> other_use(Path(tempfile.gettempdir()))
    ''
    """
    if (folder / MARKER).exists() or any((folder / "spaces").glob("*/spec.json")):
        return "a cache"
    is_model = all((folder / name).is_file() for name in ("config.json", "model.safetensors"))
    return "a model" if is_model else ""


def check_whole(folder: Path) -> None:
    """Check that a report is there and not half in place; an unfinished one does not count."""
    if (folder / READY).is_dir():
        raise InputError(
            f"{folder}: a run was stopped while it was replacing its report; run the recipe again"
        )
    done = ("comparison.json", "repeats.json")
    if (folder / WORK).is_dir() and not any((folder / name).exists() for name in done):
        raise InputError(f"{folder} is a run that did not finish; run its recipe again")


def read_comparison(path: Path) -> dict[str, Any]:
    """Read what a run compared; only as far as predicting needs it."""
    data = read_object(path, "a comparison of a run (run its recipe again)")
    try:
        why = (data.get("choice") or {}).get("why", "")
        for entry in data["systems"].values():
            names = [*entry["members"], entry["strategy"] or "", data["chosen"] or "", why]
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name that is not text")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} was not written by an affekt run: expected systems with members and strategy, "
            f"and chosen ({type(error).__name__}: {error})"
        ) from None
    return data


def default_system(data: Mapping[str, Any]) -> str | None:
    """Return the system that dev chose, or the only one; None where neither is there."""
    names = list(data["systems"])
    return data["chosen"] or (names[0] if len(names) == 1 else None)


def chosen_system(
    data: Mapping[str, Any], place: str | os.PathLike[str], system: str | None
) -> str:
    """Return the name of a system of a comparison; that of `default_system` by default."""
    name, known = system or default_system(data), ", ".join(data["systems"])
    if name is None:
        raise InputError(f"{place}: nothing was chosen on dev; choose with `system`: {known}")
    if name not in data["systems"]:
        raise InputError(
            f"{place} has no system {name!r}; {expected_one_of(name, data['systems'])}"
        )
    return name


def systems_without(folder: str | os.PathLike[str], kind: str) -> list[str]:
    """Return the systems of a run that predict clips without one modality, the best on dev first.

    Parameters
    ----------
    folder : path
        Anything but the folder of a run has none.
    kind : {"audio", "text"}
        The modality that they do without.
    """
    folder = Path(folder)
    if not (folder / "comparison.json").is_file():
        return []
    data, without = read_comparison(folder / "comparison.json"), {}

    def reads(member: str) -> bool:
        configs = [
            read_note(one) for one in (folder / "members" / member).glob("model*/config.json")
        ]
        needs = [need for one in configs for need in one.get("features", ())]
        return not needs or any(need["spec"]["modality"] == kind for need in needs)

    for name, entry in data["systems"].items():
        if not any(reads(member) for member in entry["members"]):
            without[name] = (entry.get("dev") or {}).get(data.get("measure", "uar")) or 0.0
    return sorted(without, key=lambda name: -without[name])


def learnt_from(folder: str | os.PathLike[str], clips: Manifest) -> str:
    """Return a warning if clips are train or dev of the run in a folder, by its split.csv.

    Where the ids are row numbers, they tell only of a table with the same ones.
    """
    path = Path(folder) / "split.csv"
    header, *rows = last_rows(path) or [[]]
    read = [dict(zip(header, row, strict=False)) for row in rows]
    parts = [(row["id"], row["split"]) for row in read if {"id", "split"} <= row.keys()]
    known = {name for name, part in parts if part in ("train", "dev")}
    count = sum(name in known for name in clips.ids)
    numbered = clips.taken.get("id") == () and "path" not in clips
    if not count or (numbered and {*clips.ids} != {name for name, _ in parts}):
        return ""
    if count == len(clips):
        which = f"all {count} clips" if count > 1 else "this clip"
    else:  # others may be known to the run under other ids
        which = f"at least {count} of these {len(clips)} clips"
    many = count > 1
    return (
        f"warning: by {'their ids' if len(clips) > 1 else 'its id'}, the run learnt from {which} "
        f"({path}), so its {'answers for them say' if many else 'answer for it says'} nothing "
        f"about new clips; {path.parent / 'members'}/NAME/pred.csv has answers for the test clips, "
        "by models that did not see them"
    )

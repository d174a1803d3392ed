"""Notes on a table before a first run: files, texts, speakers, languages."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ....cache.errors import InputError, in_shell, listed
from ....cache.manifest import Manifest
from ....cache.manifest.columns import RECORDINGS
from ....cache.manifest.corpora.parts import part_tables
from ....cache.manifest.paths import hint_absolute

MOST_READ = 100  # recordings whose length and loudness are measured
MOST_FOLDERS = 1000  # searched for a recording that is not at its path
SHORT, LONG = 0.2, 30.0  # seconds
SILENT = -70.0  # dB relative to full scale
FEW_TEXTS = 0.2  # different texts per clip, below which the texts are a script


@dataclass
class Modalities:
    """What can be embedded.

    Attributes
    ----------
    facts : list of str
        For the summary: how long the recordings are.
    """

    speech: bool = False
    text: bool = False
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def modalities(clips: Manifest) -> Modalities:
    """Look at the recordings and texts of clips."""
    found = Modalities()
    texts = [str(text).strip() for text in clips["text"]]
    filled = sum(map(bool, texts))
    paths = [i for i, path in enumerate(clips["path"]) if path]
    there = [i for i in paths if _is_there(clips, i)]
    found.speech, found.text = bool(there), bool(filled)
    if paths and not there:
        first = str(clips["path"][paths[0]])
        gone = f"none of the {len(paths)} recordings is there (the first is {first!r})"
        remedy = f"set --root to the folder that the paths are relative to; now it is {clips.root}"
        remedy += _elsewhere(clips.root, first)
        remedy = hint_absolute(first, clips.root) or remedy
        if not filled:
            raise InputError(f"{clips.source}: {gone}; {remedy}")
        found.notes.append(f"{gone}, so only the texts are used; {remedy}")
    elif len(there) < len(paths):
        missing = sorted(set(paths) - set(there))
        names = [str(clips["path"][i]) for i in missing]
        hint = hint_absolute(names[0], clips.root)
        found.notes.append(
            f"{len(missing)} of {len(paths)} recordings are not there and are left out: "
            f"{listed(names)}{'; ' * bool(hint)}{hint}"
        )
    if 0 < len(paths) < len(clips):
        found.notes.append(f"{len(clips) - len(paths)} of {len(clips)} clips have no recording")
    if 0 < filled < len(clips):
        found.notes.append(
            f"{len(clips) - filled} of {len(clips)} clips have no text"
            + "; affekt transcribe fills them in from the audio" * bool(there)
        )
    if filled and len(set(texts) - {""}) <= FEW_TEXTS * filled:
        found.notes.append(
            f"{len(set(texts) - {''})} different texts in {filled} clips: the speakers read a "
            "script, so the text can hardly tell the labels apart"
            + (", and the recipe leaves it out" if found.speech else "")
        )
        found.text = not found.speech
    if there:
        _measure(clips.select(there), found)
    return found


def about_parts(table: Path) -> list[str]:
    """Name the tables of other parts next to a table that is one part, such as ``train.csv``."""
    tables = part_tables(table.parent)
    others = [path.name for path, part in tables.items() if part != tables.get(table)]
    if table not in tables or not others:
        return []
    return [
        f"{listed(others)} next to it may be other parts; affekt manifest "
        f"{in_shell(table.parent)} -o clips.csv makes one table of them"
    ]


def about_languages(clips: Manifest) -> list[str]:
    """Return notes on the languages of clips."""
    counts = Counter(clips["language"])
    blank = counts.pop("", 0)
    notes = []
    if counts and blank:
        notes.append(f"{blank} of {len(clips)} clips have no language")
    spellings: dict[str, list[str]] = {}
    for name in counts:
        spellings.setdefault(name.strip().casefold().split("-")[0].split("_")[0], []).append(name)
    for names in spellings.values():
        if len(names) > 1:
            notes.append(f"languages {listed([repr(name) for name in names])}: are they the same?")
    if len(counts) > 1:
        notes.append(
            f"{len(counts)} languages: the report has a table of them; split: "
            "{scheme: leave-one-language-out} tests languages that training has not seen"
        )
    return notes


def _is_there(clips: Manifest, position: int) -> bool:
    try:
        return clips.file(position).is_file()
    except (InputError, OSError):  # a link out of the root, a name that is too long
        return False


def _elsewhere(root: Path, path: str) -> str:
    """Find a recording that is not at its path: elsewhere below the root, or by its extension."""
    name = re.split(r"[/\\]", path)[-1]
    for folder, _, files in islice(os.walk(root), MOST_FOLDERS):
        for file in files:
            found = Path(folder, file)
            if file == name:
                where = found.relative_to(root).as_posix()
                top = where.removesuffix(path).rstrip("/")
                is_below = where.endswith(f"/{path}")
                return f". {found} is there" + (
                    f": --root {in_shell(root / top)}" if is_below else ""
                )
            if found.stem == name and RECORDINGS.fullmatch(file):
                return f". {found} is there: add the ending {found.suffix} to the paths"
    return ""


def _measure(clips: Manifest, found: Modalities) -> None:
    """Read some recordings: their length, loudness and sampling rates."""
    from ...evaluation.analyses.audio_facts import facts

    chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), MOST_READ)).astype(int))
    rows = [clips.clip(int(position)) for position in chosen]  # without other columns
    read = Manifest.from_rows(rows, clips.root, allow_outside=clips.allow_outside)
    known = facts(read)
    seconds = [value for value in known["duration"] if value is not None]
    some = f"of {len(read)} recordings that were looked at, "
    if unreadable := [_segment(read, i) for i, one in enumerate(known["duration"]) if one is None]:
        found.notes.append(f"{some}{len(unreadable)} cannot be read: {listed(unreadable)}")
    if not seconds:
        return
    found.facts.append(
        f"{min(seconds):.1f} to {max(seconds):.1f} s, median {np.median(seconds):.1f} s"
    )
    hours = float(np.mean(seconds)) * len(clips) / 3600
    found.facts.append(f"about {hours:.1f} hours" if hours >= 1 else f"about {60 * hours:.0f} min")
    for count, what in (
        (sum(one < SHORT for one in seconds), f"are shorter than {SHORT} s"),
        (
            sum(one > LONG for one in seconds),
            f"last over {LONG:g} s: are they one utterance?",
        ),
        (sum(v is not None and v < SILENT for v in known["loudness"]), "are silent"),
    ):
        if count:
            found.notes.append(f"{some}{count} {what}")
    if apart := known["separate_channels"].count(1.0):
        found.notes.append(
            f"{some}{apart} have two channels that differ like two speakers on a telephone, and "
            "channels are averaged: if they are two speakers, make one file of each channel "
            "(docs/how-to/corpus.md)"
        )
    rates = Counter(int(value) for value in known["sampling_rate"] if value is not None)
    if len(rates) > 1:
        shown = ", ".join(f"{rate} Hz ({count})" for rate, count in rates.most_common(4))
        found.notes.append(
            f"sampling rates differ: {shown}; the report says whether they give labels away"
        )


def _segment(clips: Manifest, position: int) -> str:
    """Return the path of a clip, and its segment of the file."""
    clip = clips.clip(position)
    if clip.start is None and clip.end is None:
        return clip.path
    return f"{clip.path} from {clip.start or 0:g} to {clip.end or 'its end'} s"

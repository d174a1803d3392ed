"""A manifest's columns, found in a table by their names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import InputError, in_shell, nearest
from .column_names import ALIASES, ASKED, TAKEN, folded_name, translated, word_of
from .tables import Table
from .tables.cells import without_points
from .times import Unread, times_of


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: an audio file or a segment of one, a text, or both. Blank is ``""`` or None.

    Examples
    --------
    >>> Clip("a", path="a.wav", end=1.5).end
    1.5
    """

    id: str
    path: str = ""
    start: float | None = None
    end: float | None = None
    text: str = ""
    label: str = ""
    speaker: str = ""
    language: str = ""
    split: str = ""
    dataset: str = ""


COLUMNS = tuple(one.name for one in fields(Clip))
TIMES = ("start", "end")
NORMAL = ("id", "label", "speaker", "language", "split", "dataset")  # in Unicode's form NFC

NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?|nan|inf", re.IGNORECASE)
#: file extensions of recordings, by which a column of them is recognised
RECORDINGS = re.compile(
    r".*\.(wav|flac|mp3|ogg|oga|opus|aiff?|au|sph|m4a|aac|mp4|mov|3gp|webm|mka|mkv|amr|wma|avi)",
    re.IGNORECASE | re.DOTALL,
)
REPEATED = 1 / 3  # of the rows: so many texts that occur again are hardly chance
#: what to do with the answers of several annotators
WIDE = "make one row of their answers: affekt manifest TABLE --raters COLUMN -o clips.csv"
#: next to one of these an utterance is counted within a dialogue
DIALOGUES = ("dialogue_id", "dialog_id", "conversation_id", "scene_id", "session_id")


@dataclass
class Named:
    """A table's columns under our names.

    Attributes
    ----------
    columns
        Name -> values; start and end as float64 in seconds with NaN for blank.
    taken
        Our name -> the columns of the table that were read for it; ``()`` for ids that are paths
        or row numbers.
    notes
        What the reader of the table should know.
    """

    columns: dict[str, Any]
    taken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def named(table: Table, *, labels_only: bool = False) -> Named:
    """Give a table's columns our names; a column that has our name wins over an alias.

    Parameters
    ----------
    labels_only : bool
        The table need not have paths or texts.

    Raises
    ------
    InputError
        Neither path nor text, two columns for one thing, ids that are numbers with a point.

    Examples
    --------
    >>> from affekt.cache.manifest.tables import table_of_rows
    >>> found = named(table_of_rows([{"file": "a.wav", "emo": "joy", "take": "3"}], "<rows>"))
    >>> list(found.columns), found.taken["path"], found.taken["id"]
    (['id', 'path', 'label', 'take'], ('file',), ())
    """
    folded: dict[str, list[str]] = {}
    for name in table.columns:
        folded.setdefault(folded_name(name), []).append(name)
    renamed = {
        name: ours for ours in ALIASES if (name := _column_for(ours, folded, table)) is not None
    }
    translations = _translations(table, renamed)
    recordings = [] if labels_only or "path" in renamed.values() else _recordings(table, renamed)
    columns: dict[str, Any] = {}
    for name, values in table.columns.items():
        ours = renamed.get(name) or unicodedata.normalize("NFC", name.strip())
        values = table.plain(values)
        values = without_points(values) if ours in ("label", "speaker") else values
        columns[ours] = normal(values) if ours in NORMAL else values
    found = Named(columns, {ours: (name,) for name, ours in renamed.items()})
    if not labels_only and not ("path" in columns or "text" in columns):
        raise InputError(
            f"{table.source}: no column path or text; it has {', '.join(table.columns)}."
            + _without_content(table)
            + table.read_of
        )
    times = times_of(table, columns.get("path"))
    for name in TIMES:
        columns.pop(name, None)
    for names in times.taken.values():
        if len(names) == 1:  # an end that is start and duration leaves both
            columns.pop(unicodedata.normalize("NFC", names[0].strip()), None)
    columns |= times.columns
    found.taken |= times.taken
    misspelt = _misspelt(table, columns, renamed)
    noted = {name for name, _ in misspelt}  # a column is noted once
    found.notes += [note for name, note in recordings if name not in noted]
    found.notes += translations
    found.notes += times.notes
    found.notes += table.notes
    found.notes += [note for _, note in misspelt]
    _give_ids(found, table, folded)
    found.columns = {name: found.columns[name] for name in _order(found, table)}
    return found


def _translations(table: Table, renamed: dict[str, str]) -> list[str]:
    """Take a column whose name is the word for one of ours, and return what to note of it."""
    notes = []
    for ours, words in TAKEN.items():
        # by one word: Sprecher_Name beside Sprecher is not another column for the speaker
        names = [name for name in table.columns if word_of(name) in (*words, *ASKED.get(ours, ()))]
        if ours in renamed.values() or len(names) != 1:
            continue
        [name] = names
        if word_of(name) in words:
            renamed[name] = ours
            notes.append(f"column {name} was taken for the {ours}")
    return notes


def _recordings(table: Table, renamed: dict[str, str]) -> list[tuple[str, str]]:
    """Take the one column in which all values are names of recordings, where no name says it.

    Returns the column and what to note of it, if there is one.
    """
    if any(RECORDINGS.fullmatch(name) or NUMBER.fullmatch(name) for name in table.columns):
        return []  # the header is a clip itself
    of_names = [
        name
        for name, values in table.columns.items()
        if renamed.get(name, "id") == "id" and any(values)
        and all(RECORDINGS.fullmatch(value) for value in values if value)
    ]  # fmt: skip
    if len(of_names) != 1:
        return []
    [name] = of_names
    holds = f"column {name} holds names of recordings and was"
    if "text" in renamed.values():
        unused = (name, f"{holds} not used: is it the path? Name it path")
        return [] if name in renamed else [unused]
    renamed[name] = "path"
    return [(name, f"{holds} taken for the path")]


def objects(values: Sequence[Any]) -> np.ndarray:
    """Return values as an array ``(rows,)`` of objects."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def normal(values: Sequence[str]) -> Sequence[str]:
    r"""Return texts in Unicode's form NFC, so that two ways to write ``é`` are one label.

    Examples
    --------
    >>> normal(["cafe\u0301", "tea"]) == ["caf\u00e9", "tea"]
    True
    """
    if all("".join(values[i : i + 1000]).isascii() for i in range(0, len(values), 1000)):
        return values
    return [value if value.isascii() else unicodedata.normalize("NFC", value) for value in values]


def _without_content(table: Table) -> str:
    """Return what to do about a table in which no column is known for paths or texts."""
    names = list(table.columns)
    header = " The first row is read as the header"
    if any(value[:1] in "[{" for values in table.columns.values() for value in values[:1] if value):
        return " Nested objects and lists are not read: put path or text at the top level"
    if any(
        RECORDINGS.fullmatch(name) or NUMBER.fullmatch(name) or len(name.split()) > 7
        for name in names
    ):
        return f"{header}, and looks like a clip: put names above it, such as path,text,label"
    single = f"{header}: put commas, semicolons, tabs or bars between the columns"
    if len(names) == 1 and not table.typed:
        words = {len(value.split()) for value in (names[0], *table.columns[names[0]][:20])}
        if len(words) == 1 and words != {1}:
            return single
    if 2 * sum(re.fullmatch(r"column \d+", name) is not None for name in names) >= len(names):
        return f"{header}: is it a title? Then remove it"
    others = "; label, speaker, language and split are the names of other columns"
    for name, values in table.columns.items():
        if any(RECORDINGS.fullmatch(value) for value in values[:20]):
            advice = _name_it("path", name)
            return f" Did you mean {name!r}? It has names of recordings: {advice}{others}"
    for name, values in table.columns.items():
        if any(len(value.split()) > 3 for value in values[:20]):
            return f" Did you mean {name!r}? It has sentences: {_name_it('text', name)}{others}"
    if len(names) == 1 and not table.typed:
        return single
    if hint := nearest("path", names) or nearest("text", names):
        return hint
    return f"{header}: if it is a row, put names above it; if there are lines above it, remove them"


def _name_it(ours: str, name: str) -> str:
    option = in_shell(f"{ours}={name}")
    return f"rename it {ours}, or run affekt manifest with --column {option}"


def _misspelt(
    table: Table, columns: Mapping[str, Any], renamed: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return columns that are kept and may be one that is absent by their names, and the notes."""
    notes = []
    for ours in ("path", "text", "label", "speaker", "language", "split", *TIMES):
        if ours in columns or (ours in TIMES and "path" not in columns):
            continue
        aliases = ALIASES.get(ours, ())
        known = [ours, *(alias for group in aliases for alias in group if len(alias) > 3)]
        others = {folded_name(name): name for name in table.columns if name not in renamed}
        for folded, name in others.items():
            close = difflib.get_close_matches(folded, map(folded_name, known), n=1, cutoff=0.85)
            swapped = [alias for alias in known if sorted(alias) == sorted(folded)]
            if (close or swapped or translated(name) == ours) and folded not in COLUMNS:
                note = f"column {name} was kept as it is; is it the {ours}? Name it {ours}"
                notes.append((name, Unread(note) if ours in TIMES else note))
    return notes


def _column_for(ours: str, folded: Mapping[str, list[str]], table: Table) -> str | None:
    """Return the column that is one of ours, or None."""
    if ours in table.columns and not (ours == "id" and _counts_within(ours, folded)):
        return ours
    for group in ((ours,), *ALIASES[ours]):
        aliases = dict.fromkeys(map(folded_name, group))
        found = [name for alias in aliases for name in folded.get(alias, ())]
        if ours == "id":
            found = [name for name in found if not _counts_within(name, folded)]
        if len(found) > 1:
            raise InputError(
                f"{table.source}: columns {' and '.join(found)} could all be the {ours};"
                f" name one of them {ours}"
            )
        if found:
            return found[0]
    return None


def _counts_within(name: str, folded: Mapping[str, list[str]]) -> bool:
    return "utt" in folded_name(name) and any(folded_name(name) in folded for name in DIALOGUES)


def _give_ids(found: Named, table: Table, folded: Mapping[str, list[str]]) -> None:
    """Take the ids from their column; without one, from the path and times, or count rows."""
    columns, taken = found.columns, found.taken.get("id", ())
    if taken:
        [name] = taken
        row = table.floats(name)
        if row is not None:
            raise InputError(
                f"{table.place(row)}: {name} is the number {table.columns[name][row]}, expected"
                " text: as numbers, 7 and 7.0 are the same id"
            )
        values = columns["id"]
        if name == "id" or len(set(values)) == len(values):
            return
        if "path" not in columns:
            found.notes.append(f"column {name} has repeated values and was not taken as the id")
        else:
            found.notes.append(
                f"column {name} has repeated values and was not taken as the id: the ids are the "
                "paths"
            )
        columns[name.strip()] = columns.pop("id")
    elif name := _misspelt_id(folded):
        raise InputError(
            f"{table.source}: no column id; it has {', '.join(table.columns)}."
            f"{nearest('id', [name]) or f' Is {name!r} the id?'} Otherwise give it another name"
        )
    found.taken["id"] = ()
    if "path" in columns:
        columns["id"] = normal(_ids_of_paths(columns, found, table))
    else:
        columns["id"] = [str(line) for line in range(1, len(table) + 1)]
        found.notes.append("there is no column of ids: the row numbers are the ids")
        texts = [text for text in columns.get("text", ()) if text.strip()]
        repeats = len(texts) - len(set(texts))
        if repeats > REPEATED * len(table):
            found.notes.append(
                f"{repeats} of {len(table)} rows repeat the text of another row, and each is a clip"
                f" of its own: scores may be too high. If several annotators rated a text, {WIDE}"
            )


def _misspelt_id(folded: Mapping[str, list[str]]) -> str:
    return next((folded[n][0] for n in folded if len(n) == 3 and "id" in n and n != "uid"), "")


def _ids_of_paths(columns: Mapping[str, Sequence[Any]], found: Named, table: Table) -> list[str]:
    """Without an id column the path is the id, and a segment adds its times as written."""
    paths = [str(path) for path in columns["path"]]
    if not any(name in columns for name in TIMES):
        return paths
    blank = [""] * len(paths)
    starts, ends = (_written(name, found, table) or blank for name in TIMES)
    return [
        f"{path}#{start}-{end}" if f"{start}{end}" else path
        for path, start, end in zip(paths, starts, ends, strict=True)
    ]


def _written(name: str, found: Named, table: Table) -> list[str]:
    """Times as the table writes them where they are numbers, else in seconds."""
    if name not in found.columns:
        return []
    times = np.asarray(found.columns[name])
    taken = found.taken[name]
    plain = table.columns[taken[0]] if len(taken) == 1 else []
    if plain and all(text == "" or NUMBER.fullmatch(text) for text in set(plain)):
        return [str(text) for text in plain]
    return ["" if np.isnan(time) else repr(float(time)) for time in times]


def _order(found: Named, table: Table) -> list[str]:
    """Ids first, then the columns in the order of the table; a separate end after the start."""
    ours = {names[0]: mine for mine, names in found.taken.items() if names and mine != "end"}
    order = ["id"] if not found.taken["id"] else []
    for name in table.columns:
        mine = ours.get(name, name.strip())
        mine = mine if mine in found.columns else unicodedata.normalize("NFC", mine)
        for one in (mine, "end" if name in found.taken.get("end", ()) else ""):
            if one in found.columns and one not in order:
                order.append(one)
    return order + [name for name in found.columns if name not in order]

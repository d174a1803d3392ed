"""When a segment starts and ends, in common names and notations, as seconds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from .tables import Table
from .tables.cells import NOT_RATED, with_points

NO_TIME = -np.inf  # of a value that is not a time ("nan", "inf"): extract quarantines the clip
LONG = 500  # seconds; whole numbers that make the usual segment longer are hardly seconds

_NAME = re.compile(
    r"(?:(?:segment|seg|utterance|utt|clip|audio|t|time)_)?"
    r"(start|begin|onset|offset|end|stop|finish|duration|dur)"
    r"_?(?:time(?:stamp)?|at|position)?(?:_in)?"
    r"(?:_?(secs?|seconds?|ms|msecs?|millis|milliseconds?|samples?|frames?"
    r"|mins?|minutes?|hours?|usecs?|us|microseconds?|ns|nanoseconds?)"
    r"|_(s|ss_msec|hh_mm_ss(?:_ms)?|(?:smpte|pal|ntsc)\w*))?"  # but for s, as ELAN writes them
)
_WORDS = re.compile(r"(?:.*_)?(?:start|begin|onset|offset|end|stop|finish)(?:_.*)?")
#: names of Praat, of NIST, and of torchaudio, which counts samples
_OTHERS = {
    "tmin": ("start", "s"), "xmin": ("start", "s"), "tmax": ("end", "s"), "xmax": ("end", "s"),
    "tbeg": ("start", "s"), "tdur": ("duration", "s"),  # of RTTM and CTM
    "frame_offset": ("offset", "sample"), "num_frames": ("duration", "sample"),
}  # fmt: skip
_ROLES = {
    "begin": "start", "onset": "start", "stop": "end", "finish": "end", "dur": "duration",
}  # fmt: skip
#: names that may mean a time, and more often do not
_DOUBTFUL = ("from", "to", "t0", "t1", "in", "out", "time", "times", "timestamp", "length")
#: names of a column that may hold both times of a segment, and how they are written
_SPANS = ("time", "times", "timestamp", "timestamps", "segment", "interval", "range", "span")
_SPAN = re.compile(r"[\[(]?\s*[\d.:]+\s*[-–,;]\s*[\d.:]+\s*[\])]?")
#: names of a column that says which channel of a file is the clip, and its values
_CHANNELS = ("channel", "channel_id", "kanal", "canal", "canale", "kanaal")
_CHANNEL = re.compile("[0-9ablr]|left|right|links|rechts", re.IGNORECASE)
_RATES = ("sample_rate", "sampling_rate", "samplerate", "sr", "fs", "rate")
_DAYS = re.compile(r"(-?)(\d+) days?,? ?(?:[+](?=\d))?(?:(\d+):(\d\d):(\d\d(?:\.\d+)?))?")
_ISO = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")  # also with SRT's comma
_UNIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(s|sec|ms|msec)")
_UNITS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3}


class Unread(str):
    """A note on a column that may hold times and was not read."""

    __slots__ = ()


@dataclass
class Times:
    """Starts and ends in seconds, and where they are from.

    Attributes
    ----------
    columns
        ``start`` and ``end``, those of them that the table has.
    taken
        The same names, and the columns that were read for them.
    notes
        One line for each column that looks like a time and was not read.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    taken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Column:
    """A column that may hold times: what it says of a segment, and in which unit."""

    name: str
    role: str
    unit: str
    own: bool

    @property
    def seconds(self) -> bool:
        return self.unit == "s"


def times_of(table: Table, paths: Sequence[str] | None) -> Times:
    """Find the start and the end of each row.

    ``start`` and ``end`` are ours, in seconds or as ``hh:mm:ss`` or ``0 days 00:00:01.5``, and must
    be times. Other names count where they hold times: ``offset`` is a start, or the end next to
    ``onset``; a ``duration`` gives the other end; ``_ms`` and ``_samples`` say the unit.

    Parameters
    ----------
    paths : sequence of str or None
        The files of the rows; without any there is nothing to cut.
    """
    found = [column for name in table.columns if (column := _column(name))]
    times = Times()
    read: dict[str, np.ndarray] = {}
    lengths: list[str] = []  # that were not read; they matter where nothing else gives the end
    counted: list[str] = []  # in samples or frames, and not to be turned into seconds
    for column in found:
        if column.own or paths is not None:
            why = _read(column, table, paths, read)
            if why and column.role == "duration":
                lengths.append(_unused(column, why))
            elif why:
                times.notes.append(_unused(column, why))
                if column.unit != "s" and any(table.columns[column.name]):
                    counted.append(times.notes[-1])
    usable = [column for column in found if column.name in read]
    start = _chosen("start", usable, table)
    end = _chosen("end", usable, table)
    offset = _chosen("offset", usable, table)
    if offset is not None:
        if end is None and start is not None and "onset" in start.name.casefold():
            end = offset
        elif start is None:
            start = offset
        elif end is None and not any(column.role == "duration" for column in usable):
            raise InputError(
                f"{table.source}: columns {start.name} and {offset.name}: is {offset.name} where a"
                " segment ends? Then name it end"
            )
        else:
            times.notes.append(_unused(offset, f"{start.name} is the start"))
    duration = None if start and end else _chosen("duration", usable, table)
    if start is not None:
        times.columns["start"] = read[start.name]
        times.taken["start"] = (start.name,)
    if end is not None:
        times.columns["end"] = read[end.name]
        times.taken["end"] = (end.name,)
    elif start is not None and duration is not None:
        length = read[duration.name]
        begin = np.where(np.isnan(read[start.name]), 0.0, read[start.name])
        times.columns["end"] = _to_the_nanosecond(begin + length)
        times.taken["end"] = (start.name, duration.name)
    elif start is not None:
        times.notes += lengths
    if start is None and end is not None and duration is not None:
        begin = _to_the_nanosecond(read[end.name] - read[duration.name])
        if np.nanmin(begin, initial=0.0) < 0:
            times.notes.append(_unused(duration, f"it is longer than {end.name}"))
        else:
            times.columns["start"] = begin
            times.taken["start"] = (end.name, duration.name)
    elif start is None and end is not None:
        times.notes += lengths
    if counted and not times.columns and paths is not None and len(set(paths)) < len(paths):
        raise InputError(
            f"{table.source}: {counted[0]}. Files appear in several rows, and each row would be the"
            " whole file"
        )
    _check_unit(table, times)
    if paths is not None:
        times.notes += _doubts(table, times, paths)
    for name in ("start", "end"):  # 0 to NaT is how audformat writes a whole file
        taken = times.taken.get(name, ())
        if name == "start" and taken and end is not None and _timedeltas(table.columns[taken[0]]):
            whole = (times.columns["start"] == 0) & np.isnan(times.columns["end"])
            times.columns["start"] = np.where(whole, np.nan, times.columns["start"])
    return times


def _doubts(table: Table, times: Times, paths: Sequence[str]) -> list[str]:
    """Return notes on columns that may say what part of a file is the clip, and are not used."""
    notes = []
    for name in table.columns:
        folded = name.strip().casefold()
        values = set(table.columns[name]) if folded in _CHANNELS else set()
        if len(values) > 1 and all(_CHANNEL.fullmatch(value) for value in values):
            notes.append(
                f"column {name} was not used: the channels of a file are averaged; where each has "
                "another person, make a file of each channel first"
            )
        spans = set(table.columns[name]) - {""} if folded in _SPANS else set()
        if spans and all(map(_SPAN.fullmatch, spans)):
            column = _Column(name, "", "s", own=False)
            notes.append(_unused(column, "put start and end into two columns"))
        maybe = folded in _DOUBTFUL or (not _column(name) and _WORDS.fullmatch(_words(name)))
        if maybe and (folded != "length" or "end" not in times.columns):
            column = _Column(name, "", "s", own=False)
            if not _read(column, table, paths, {}) and any(table.columns[name]):
                name_it = "duration" if folded == "length" else "start or end"
                notes.append(_unused(column, f"name it {name_it} if it is one"))
    names = [name for taken in times.taken.values() for name in taken]
    own = any((column := _column(name)) and column.own for name in names)
    start = times.columns.get("start", np.zeros(0))
    if not own and len(paths) > 1 and np.nan_to_num(start).any() and len(set(paths)) == len(paths):
        notes.append(
            f"{' and '.join(dict.fromkeys(names))} give the part of a file that is the clip, and "
            "each file appears once: if the files are already cut, rename these columns"
        )
    return notes


def seconds(text: str) -> float:
    """Return a time as it is written in seconds; blank and NaT are NaN.

    Raises
    ------
    ValueError
        It is not a time.

    Examples
    --------
    >>> seconds("1.5"), seconds("0 days 00:00:01.500000"), seconds("00:01:01.5"), seconds("20 ms")
    (1.5, 1.5, 61.5, 0.02)
    """
    if text == "" or text == "NaT":
        return np.nan
    try:
        time = _notation(text) if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        time = _notation(text.strip())
    return time if np.isfinite(time) else NO_TIME


def _notation(text: str) -> float:
    if found := _DAYS.fullmatch(text):
        sign, days, *clock = found.groups()
        time = _sum(days, *(part or "0" for part in clock))
        return -int(days) * 86400 + (time - int(days) * 86400) if sign else time
    if found := _ISO.fullmatch(text):
        return _sum(*(part or "0" for part in found.groups()))
    if found := _CLOCK.fullmatch(text):
        hours, minutes, rest = found[1], found[2], found[3].replace(",", ".")
        if (int(minutes) < 60 or not hours) and float(rest) < 60:
            return _sum("0", hours or "0", minutes, rest)
    if found := _UNIT.fullmatch(text):
        return float(found[1]) * _UNITS[found[2]]
    raise ValueError(text)


def _sum(days: str, hours: str, minutes: str, rest: str) -> float:
    """Return the seconds of a span, rounded once, as pandas does."""
    whole, _, part = rest.partition(".")
    nanoseconds = int(part[:9].ljust(9, "0"))
    minutes_ = (int(days) * 24 + int(hours)) * 60 + int(minutes)
    return ((minutes_ * 60 + int(whole)) * 10**9 + nanoseconds) / 1e9


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().casefold()).strip("_")


def _column(name: str) -> _Column | None:
    folded = _words(name)
    if folded in _OTHERS:
        return _Column(name, *_OTHERS[folded], own=False)
    found = _NAME.fullmatch(folded)
    if found is None:
        return None
    word, unit = found[1], (found[2] or found[3] or "s")
    role = _ROLES.get(word, word)
    kinds = ("ms", "milli", "sample", "frame", "hh", "s")
    kind = next((k for k in kinds if unit.startswith(k)), "other")
    kind = "ms" if kind == "milli" else kind
    return _Column(name, role, kind, folded in ("start", "end"))


def _unused(column: _Column, why: str) -> Unread:
    return Unread(f"column {column.name} looks like a time and was not used: {why}")


def _read(
    column: _Column, table: Table, paths: Sequence[str] | None, read: dict[str, np.ndarray]
) -> str:
    """Read a column into `read`, or return why it holds no times."""
    values = with_points(table.columns[column.name], table.decimal_commas)
    if column.unit == "other":
        return "give the times in seconds, or in milliseconds under a name that ends in _ms"
    if column.unit == "frame":
        return "frames of what rate? give seconds, or samples with a column sample_rate"
    times = np.full(len(values), np.nan)
    written = False
    for i, value in enumerate(values):
        if value == "" or (not column.own and value.strip().casefold() in NOT_RATED):
            continue
        try:
            times[i] = seconds(value)
            written = True
        except ValueError:
            if column.own:
                raise InputError(
                    f"{table.place(i)}: {column.name} is {value!r}, expected seconds, such as 1.25,"
                    f" or hh:mm:ss, or blank{_comma(value)}"
                ) from None
            return f"{value!r} ({table.place(i)}) is not in seconds or hh:mm:ss"
    if not written and not column.own:
        return "it is blank" if column.role != "duration" else ""
    if not column.own and paths is not None and column.role != "duration":
        clock = any(":" in value and "day" not in value for value in values)
        if clock and len(set(paths)) == len(paths):
            return (
                "each file appears once, so these are probably times in a longer original "
                f"recording; name it {column.role} if it is the position of the segment in the "
                "file"
            )
    if column.unit == "ms":
        times = _to_the_nanosecond(times / 1000)
    elif column.unit == "sample":
        rates = next((n for n in table.columns if n.strip().casefold() in _RATES), None)
        if rates is None:
            return "samples of what rate? add a column sample_rate"
        try:
            hertz = np.array([float(rate) for rate in table.columns[rates]])
        except ValueError:
            hertz = np.zeros(1)
        if not (np.isfinite(hertz) & (hertz >= 1000)).all():
            return f"column {rates} is not a rate in Hz, such as 16000, in every row"
        times = times / hertz
    read[column.name] = times
    return ""


def _to_the_nanosecond(times: np.ndarray) -> np.ndarray:
    """Round times; of huge ones, which no file has, rounding would make NaN."""
    short = np.abs(times) < 1e9
    times[short] = np.round(times[short], 9)
    return times


def _comma(value: str) -> str:
    if re.fullmatch(r"\d+,\d+", value):
        return f"; write {value.replace(',', '.')}, with a point for the comma"
    return ""


def _chosen(role: str, usable: Sequence[_Column], table: Table) -> _Column | None:
    """Our own name first, then seconds, then other units; two of one kind are ambiguous."""
    mine = [column for column in usable if column.role == role]
    tests: tuple[Callable[[_Column], bool], ...] = (
        lambda column: column.own,
        lambda column: column.seconds,
        lambda column: True,
    )
    for test in tests:
        best = [column for column in mine if test(column)]
        if len(best) > 1:
            names = " and ".join(column.name for column in best)
            raise InputError(
                f"{table.source}: columns {names} could all be the {role}; name one of them {role}"
            )
        if best:
            return best[0]
    return None


def _check_unit(table: Table, times: Times) -> None:
    """Ask where starts and ends are whole numbers that can hardly be seconds."""
    names = {name for taken in times.taken.values() for name in taken}
    if set(times.taken) != {"start", "end"} or not table.rows_are_lines:
        return
    if any((column := _column(name)) and column.unit != "s" for name in names):
        return
    if any(re.search(r"_s(ec(ond)?s?)?$", name.casefold()) for name in names):
        return
    whole = re.compile(r"\d*(\.0*)?")  # also as pandas writes whole numbers next to blanks
    if not all(whole.fullmatch(value) for name in names for value in table.columns[name]):
        return
    start, end = times.columns["start"], times.columns["end"]
    both = np.isfinite(start) & np.isfinite(end)
    lengths = end[both] - start[both]
    if len(lengths) and statistics.median(lengths) >= LONG:
        shown = " and ".join(dict.fromkeys(n for names in times.taken.values() for n in names))
        raise InputError(
            f"{table.source}: {shown} are whole numbers, and the usual segment has"
            f" {statistics.median(lengths):.0f}: seconds, milliseconds or samples? Name the unit "
            "in the columns: start_s and end_s, start_ms and end_ms, or start_samples and "
            "end_samples with"
            " a column sample_rate"
        )


def _timedeltas(values: Sequence[Any]) -> bool:
    return any("day" in value or value == "NaT" for value in values)


def time_text(time: float) -> str:
    """Return a time as it is written into a table."""
    if np.isnan(time):
        return ""
    return "nan" if time == NO_TIME else repr(float(time))

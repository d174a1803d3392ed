"""One cell of a table as exact text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_DECIMAL = re.compile(r"\s*[-+]?\d+,\d+(e[-+]?\d+)?\s*", re.IGNORECASE).fullmatch
_WHOLE = re.compile(r"-?\d+\.0").fullmatch
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(,\d{3})+\s*").fullmatch
#: words for the parts of a split, and ours
PARTS = {
    "train": "train", "training": "train",
    "valid": "dev", "validation": "dev", "val": "dev", "dev": "dev", "devel": "dev",
    "development": "dev",
    "test": "test", "eval": "test", "evaluation": "test", "testing": "test",
}  # fmt: skip

#: written by programs for a missing value, and perhaps for one
ABSENT = frozenset(("nan", "NaN", "NAN", "NaT", "<NA>"))
DOUBTFUL = frozenset(("None", "null", "NULL", "NA", "N/A", "#N/A"))
#: for a rating that was not given; "nan" may be a computation that failed
NOT_RATED = frozenset(("none", "null", "na", "n/a", "#n/a", "<na>"))


class FloatText(str):
    """Text that was a number with a decimal point: never an id, for 7 and 7.0 would be two."""

    __slots__ = ()


def text_of(value: Any) -> str:
    """Return a value as exact text; nothing is blank, and a span of time is in seconds.

    Examples
    --------
    >>> text_of("NA"), text_of(None), text_of(7), text_of(float("nan")), text_of(["a"])
    ('NA', '', '7', '', '["a"]')
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        value = bool(value)
    elif isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        return str(int(value))
    elif isinstance(value, (float, np.floating)):
        return FloatText(repr(float(str(value))))  # of a float32, what a CSV would have
    elif type(value).__name__ in ("NaTType", "NAType"):  # pandas' blanks, without importing pandas
        return ""
    elif isinstance(value, np.timedelta64):
        return "" if np.isnat(value) else repr(float(value / np.timedelta64(1, "ns")) / 1e9)
    elif hasattr(value, "total_seconds"):
        return repr(span_seconds(value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"  # never the bytes themselves
    elif isinstance(value, np.ndarray):
        return text_of(value.tolist())
    if isinstance(value, dict) and "path" in value and not value.get("bytes"):
        return text_of(value["path"])  # how `datasets` names a file
    if not isinstance(value, (bool, dict, list, tuple)):
        return str(value)  # a date, a decimal, a path
    try:
        return json.dumps(value, ensure_ascii=False, default=text_of)
    except (TypeError, ValueError):
        return str(value)


def with_points(values: Sequence[str], decimal: bool = False) -> Sequence[str]:
    """Return the cells of a column with a point for the decimal comma of their numbers.

    Cells stay as they are where one of them has a point, or where each comma may part thousands
    and is not known to be `decimal`.

    Examples
    --------
    >>> with_points(["3,25", "4", ""]), with_points(["1,250", "2,500"])
    (['3.25', '4', ''], ['1,250', '2,500'])
    """
    commas = [value for value in values if "," in value]
    if not commas or any("." in value for value in values):
        return values
    if not decimal and all(map(_THOUSANDS, commas)):
        return values
    return [value.replace(",", ".") if _DECIMAL(value) else value for value in values]


def rated(values: Sequence[str]) -> Sequence[str]:
    """Return the cells of a column of ratings: with points, and blank for NA, as R writes it.

    Examples
    --------
    >>> rated(["3,5", "NA", "2"])
    ['3.5', '', '2']
    """
    return with_points(["" if value.strip().casefold() in NOT_RATED else value for value in values])


def is_frame(value: Any) -> bool:
    """Whether a value is a pandas DataFrame; pandas need not be installed."""
    return hasattr(value, "iloc") and hasattr(value, "columns")


def without_points(values: Sequence[str]) -> Sequence[str]:
    """Return the cells of a column as whole numbers, where pandas wrote them next to blank ones.

    Examples
    --------
    >>> without_points(["0.0", "", "1.0"]), without_points(["0.0", "", "0.5"])
    (['0', '', '1'], ['0.0', '', '0.5'])
    """
    found = set(values)
    if "" in found and all(map(_WHOLE, found - {""})):
        return [value.removesuffix(".0") for value in values]
    return values


def span_seconds(span: Any) -> float:
    """Return a timedelta in seconds, rounded once (pandas' own `total_seconds` rounds twice)."""
    nanoseconds = getattr(span.as_unit("ns"), "value", None) if hasattr(span, "as_unit") else None
    return span.total_seconds() if nanoseconds is None else nanoseconds / 1e9

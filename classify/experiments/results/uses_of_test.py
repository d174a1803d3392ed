"""How often a test set was scored, and by how many different choices.

Every look at test that is followed by a change of the recipe makes the next result look better than
it is. So each choice is written down before test is scored, in a file with the cache: it survives a
report folder that is deleted, and the cache goes with the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ....cache.files.json_lines import append_json_lines, json_lines
from ....cache.files.reading import json_sha256

_ENDING = ".test-uses.jsonl"


def uses_file(cache: str | Path) -> Path:
    """Return the file next to a cache that keeps its uses of test sets.

    Examples
    --------
    >>> uses_file("data/my.cache").as_posix()
    'data/my.cache.test-uses.jsonl'
    """
    cache = Path(cache)
    return cache.with_name(cache.name + _ENDING)


def record_use(path: str | Path, test_ids: Sequence[str], choice: Any) -> dict[str, Any]:
    """Write down that a choice is about to be scored on a test set, and count the choices so far.

    The same choice counts once, however often it is scored again.

    Parameters
    ----------
    path
        The file, one JSON object a line; made where it is not there.
    test_ids
        Ids of the test clips, in any order.
    choice
        What decides the result (recipe, split, chosen system), as JSON has it; only its hash is
        kept.

    Returns
    -------
    uses
        `choices`, different choices that were scored on this test set, this one included;
        `unknown`, why they are not known, where the file cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/my.cache.test-uses.jsonl"
    >>> record_use(path, ["a", "b"], {"C": 1})["choices"]
    1
    >>> record_use(path, ["b", "a"], {"C": 2})["choices"]
    2
    >>> record_use(path, ["a", "b"], {"C": 1})["choices"]
    2
    """
    path, test, made = Path(path), json_sha256(sorted(test_ids)), json_sha256(choice)
    found: dict[str, str] = {}  # choice -> when
    try:
        data = path.read_bytes() if path.exists() else b""
        for one in json_lines(data):  # a line that was cut short is written again by its run
            if one.get("test") == test and isinstance(one.get("choice"), str):
                found.setdefault(one["choice"], str(one.get("at")))
        if made not in found:
            found[made] = datetime.now(UTC).isoformat(timespec="seconds")
            use = {"test": test, "choice": made, "at": found[made]}
            cache = path.with_name(path.name.removesuffix(_ENDING))
            append_json_lines(path, [use], cache if cache.is_dir() else None)
    except OSError as error:  # a cache that is shared and read-only
        return {"choices": None, "unknown": str(error)}
    return {"choices": len(found)}

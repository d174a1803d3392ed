"""Names of members: each can name a folder on every system that the run may be copied to."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from ...data.located_yaml import Located

LONGEST = 100  # bytes in UTF-8; a file system allows 255, and drafts add to the name
FORBIDDEN = frozenset('/\\:*?"<>|')
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)


def check_folder_names(names: Mapping[str, Located]) -> None:
    """Check that each name of a member can name a folder, and that no two name the same.

    Parameters
    ----------
    names : mapping of str to Located
        Name -> its place in the recipe.

    Examples
    --------
    >>> check_folder_names({"lr": Located({}, "a.yaml", 8), "LR": Located({}, "a.yaml", 9)})
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: a.yaml:9: member 'LR' and member 'lr' (line 8) ...
    """
    taken: dict[str, str] = {}
    for name, at in names.items():
        if wrong := _wrong(name):
            at.fail(
                f"member {name!r} names a folder, and {wrong}; use letters, digits, '-', '_' and "
                f"spaces, at most {LONGEST} bytes"
            )
        same = unicodedata.normalize("NFC", name).casefold()
        if same in taken:
            other = taken[same]
            at.fail(
                f"member {name!r} and member {other!r} (line {names[other].line}) name the same "
                "folder on systems that ignore case or Unicode composition; rename one"
            )
        taken[same] = name


def _wrong(name: str) -> str:
    """Return why a name cannot name a folder everywhere; blank if it can."""
    if not name.strip():
        return "it is blank"
    if bad := sorted(FORBIDDEN & set(name)):
        return f"{' '.join(bad)} is not allowed in it"
    if any(unicodedata.category(letter)[0] == "C" for letter in name):
        return "it holds a control character or one that cannot be printed"
    if name.startswith((".", " ", "~")) or name.endswith((".", " ")):
        return "it begins or ends with '.', '~' or a space"
    if name.split(".")[0].casefold() in DEVICES:
        return "Windows reserves that name for a device"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"it has {len(name.encode('utf-8', 'surrogatepass'))} bytes"
    return ""

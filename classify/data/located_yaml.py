"""YAML values with their lines, so that errors can give file and line.

Reads plain data only: mappings with text keys, lists, and scalars of YAML's safe types. No anchors
(a few of them expand to gigabytes), no tags, no duplicate keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from ...cache.errors import InputError, as_number, check_characters, expected_one_of, nearest_beside

T = TypeVar("T")

DEEPEST = 20
LARGEST = 1_000_000  # bytes; a recipe has about a thousand

# YAML 1.1 reads 1e-3 as a text, but researchers mean a number
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
MOST = 2**53  # no recipe needs a larger whole number, and floats do not hold it
#: 0400 and 4:16 are both 256 in YAML 1.1, and 400 and a text in 1.2: texts here, not numbers
_OLD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


@dataclass(frozen=True, slots=True)
class Located:
    r"""A value, and its file and line.

    Attributes
    ----------
    value : dict of str to Located, list of Located, or scalar
    source : str
        The file, as it was named.
    line : int
        Counted from 1; 0 where it was not read from a file.
    written : str
        A scalar as the file has it, for words that YAML takes for something else: ``no``, ``01``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "recipe.yaml")
    >>> _ = path.write_text("task: valence\nsplit: {test_size: 0.2}\n")
    >>> recipe = read_yaml(path)
    >>> recipe["split"]["test_size"].number(), recipe["split"].line
    (0.2, 2)
    """

    value: Any
    source: str
    line: int
    written: str = ""

    @property
    def shown(self) -> str:
        """The value as text for a message."""
        if self.value is None:
            return "blank"
        said = "" if isinstance(self.value, str) else self.written
        return said or repr(self.plain())

    def fail(self, message: str) -> NoReturn:
        """Raise `InputError` with file and line (where there is one) before `message`."""
        raise self.error(message)

    def error(self, message: str) -> InputError:
        """Return the error that `fail` raises."""
        where = f"{self.source}:{self.line}" if self.line else self.source
        return InputError(f"{where}: {message}")

    def __getitem__(self, key: str) -> Located:
        return self.value[key]

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def key(self, name: str) -> Located:
        """Return a key of a mapping with its line; the mapping itself if the key was left out."""
        return self.value[name] if isinstance(self.value, dict) and name in self.value else self

    def mapping(self, what: str, allowed: Iterable[str] | None = None) -> dict[str, Located]:
        """Return the mapping; any key that is not in `allowed` is an error."""
        if not isinstance(self.value, dict):
            self.fail(f"{what} is {self.shown}; expected a mapping (key: value)")
        if allowed is not None:
            known = list(allowed)
            for key, item in self.value.items():
                if key not in known:
                    item.fail(f"unknown key {key!r} in {what}; {expected_one_of(key, known)}")
        return self.value

    def read(
        self, what: str, readers: Mapping[str, Callable[[Located, str], Any]], of: str = ""
    ) -> dict[str, Any]:
        """Return the mapping with what the reader of each key makes of its value."""
        known = self.mapping(what, readers)
        return {key: readers[key](item, f"{key}{of}") for key, item in known.items()}

    def many(self) -> list[Located]:
        """Return the list; a single value is a list of one."""
        return self.value if isinstance(self.value, list) else [self]

    def text(self, what: str) -> str:
        """Return text; anything else is an error."""
        if not isinstance(self.value, str) or not self.value:
            quoted = f"; if it is text, write {self.written!r}" if self.written else ""
            self.fail(f"{what} is {self.shown}; expected text{quoted}")
        return self.value

    def word(self, what: str) -> str:
        """Return a scalar as it is written, also ``no``, ``01`` and ``1e3``, as cells hold them."""
        if isinstance(self.value, dict | list):
            self.fail(f"{what} is {self.plain()!r}; expected text")
        if not self.written:
            self.fail(f"{what} is {self.shown}; expected text")
        return self.written

    def number(self, what: str = "this", *, whole: bool = False, least: float | None = None) -> Any:
        """Return an int or float (only an int where `whole`), not below `least`."""
        kinds = (int,) if whole else (int, float)
        if isinstance(self.value, bool) or not isinstance(self.value, kinds):
            kind = "a whole number" if whole else "a number"
            self.fail(f"{what} is {self.shown}; expected {kind}{as_number(self.value)}")
        if isinstance(self.value, int) and abs(self.value) > MOST:
            self.fail(f"{what} is {str(self.value)[:20]}...; expected at most {MOST}")
        if least is not None and not self.value >= least:
            self.fail(f"{what} is {self.value}; expected at least {least}")
        return self.value

    def flag(self, what: str) -> bool:
        """Return true or false; anything else is an error."""
        if not isinstance(self.value, bool):
            self.fail(f"{what} is {self.shown}; expected true or false")
        return self.value

    def checked(self, check: Callable[[Any], T]) -> T:
        """Return what `check` makes of the plain value; its error names the line."""
        try:
            return check(self.plain())
        except InputError as error:
            self.fail(str(error))

    def plain(self) -> Any:
        """Return the same value as dicts, lists and scalars, without lines."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


def read_yaml(path: str | Path) -> Located:
    """Read a YAML file whose top is a mapping.

    Parameters
    ----------
    path : path
        UTF-8, at most a megabyte.
    """
    path = Path(path)
    source = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)  # a device has no end
    except FileNotFoundError:
        raise InputError(f"{source}: no such file.{nearest_beside(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{source}: is a folder; expected a YAML file") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise InputError(f"{source}: expected a file under {LARGEST} bytes; this one has more")
    try:
        loader = yaml.SafeLoader(data)
        try:
            _refuse_extras(data, source)
            node = loader.get_single_node()
            top = _located(loader, node, source)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise InputError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(top.value, dict):
        top.fail("expected a mapping (key: value) at the top")
    return top


def _refuse_extras(data: bytes, source: str) -> None:
    depth = 0
    for event in yaml.parse(data, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            line = event.start_mark.line + 1
            raise InputError(f"{source}:{line}: nested deeper than {DEEPEST} levels")
        if getattr(event, "tag", None) not in (None, "!"):
            raise InputError(
                f"{source}:{event.start_mark.line + 1}: the tag {event.tag!r} is not read; "
                "expected plain values"
            )
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError(
                f"{source}:{event.start_mark.line + 1}: anchors and aliases are not read; "
                "write the value out"
            )


def _located(loader: yaml.SafeLoader, node: yaml.Node | None, source: str) -> Located:
    if node is None:
        return Located(None, source, 1)
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            key = _characters(str(key_node.value), f"{source}:{key_line}")
            if key in found:
                Located(key, source, key_line).fail(
                    f"{key!r} appears twice (first on line {found[key].line})"
                )
            if found and node.flow_style:
                _refuse_decimal_comma(found, Located(key, source, key_line), value_node)
            # the line of the key: a value may start one line below
            value = _located(loader, value_node, source)
            found[key] = Located(value.value, source, key_line, value.written)
        return Located(found, source, line)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(loader, item, source) for item in node.value], source, line)
    if isinstance(node, yaml.ScalarNode):
        node.value = _characters(node.value, f"{source}:{line}")
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if plain and node.tag == "tag:yaml.org,2002:str" and _EXPONENT.fullmatch(node.value):
        return Located(float(node.value), source, line, node.value)
    written = node.value if isinstance(node, yaml.ScalarNode) else ""
    if plain and _OLD_NUMBER.fullmatch(written):
        return Located(written, source, line, written)
    try:
        return Located(loader.construct_object(node), source, line, written)
    except ValueError as error:  # 2020-13-45 has the form of a date
        raise InputError(f"{source}:{line}: {written!r}: {error}; quote it if it is text") from None


def _refuse_decimal_comma(before: dict[str, Located], key: Located, value: yaml.Node) -> None:
    """Refuse a key without a value that follows a decimal comma, as in ``{C: 0,01}``."""
    name, last = next(reversed(before.items()))
    if value.value == "" and re.fullmatch(r"\d+,\d+", number := f"{last.written},{key.value}"):
        key.fail(
            f"{name}: {number}: write a number with a point, not a comma: "
            f"{number.replace(',', '.')}"
        )


def _characters(text: str, place: str) -> str:
    r"""Return a text with pairs of surrogates joined: JSON writes ``"\ud83d\ude00"`` for one."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        check_characters(text, place)
    return text


_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


def expanded(at: Located, what: str) -> str:
    """Return a path of a recipe with a leading ``~`` and ``$NAME`` replaced.

    Raises
    ------
    InputError
        A variable that is not set, a home folder that is not known; with file and line.

    Examples
    --------
    >>> expanded(Located("~/clips.csv", "recipe.yaml", 1), "manifest") == os.path.expanduser(
    ...     "~/clips.csv")
    True
    """
    text = at.text(what)
    for match in _VARIABLE.finditer(text):
        name = match[1].strip("{}")
        if name not in os.environ:
            at.fail(f"{what} is {text!r}, and the variable {name} is not set; write the path out")
    found = _VARIABLE.sub(lambda match: os.environ[match[1].strip("{}")], text)
    if found.startswith("~"):
        try:
            return str(Path(found).expanduser())
        except RuntimeError:
            at.fail(f"{what} is {text!r}, and there is no such home folder; write the path out")
    return found


def place(at: Located, what: str, folder: Path) -> Path:
    """Return a path of a recipe; a relative one starts at `folder`, where the recipe is."""
    text = expanded(at, what)
    if "\0" in text:
        at.fail(f"{what} is {text!r}; expected a path")
    return folder / text

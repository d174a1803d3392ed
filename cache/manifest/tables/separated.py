"""Tables of separated values: CSV, TSV, and what spreadsheets and speech corpora make of them.

In a table separated by commas or semicolons a cell may be quoted, as RFC 4180 has it. In one
separated by tabs or bars a quotation mark is a character like any other (Common Voice and LJSpeech
are written so), unless a cell is quoted as a whole. A table whose header is quoted in every cell
was written by the rules, whatever its separator.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TextIO

from ...errors import InputError, listed

Row = tuple[int, list[str]]
DELIMITERS = ",;\t|"
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)?")  # what pandas makes of a column without a name
_OBJECT = re.compile(r"\s*(\[\s*)?\{\s*[\"}]")
LITERAL = "\t|"  # separators of tables in which a quotation mark means nothing


class RaggedError(InputError):
    """A row has more or fewer fields than the header."""


def delimiter_of(header: str) -> str:
    """Return what separates the names of a header.

    Examples
    --------
    >>> delimiter_of('id;"anger, hot";joy')
    ';'
    """
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=unquoted.count)


class Separated:
    """The rows of one table of separated values.

    Parameters
    ----------
    stream : text stream
        Opened with ``newline=""``.
    source : str
        Its name, for messages.

    Raises
    ------
    InputError
        No header, or a column that appears twice.
    """

    def __init__(self, stream: TextIO, source: str):
        self.source = source
        self._stream = stream
        self.line = 0  # of the header
        header, said = "", ""
        for header in stream:
            self.line += 1
            if header.strip() and not (said := _excel_separator(header)):
                break
        else:
            header = ""
        if not header.strip():
            raise InputError(f"{source} has 0 rows: expected a header and at least one clip")
        header = header.lstrip("\ufeff")  # marks of files that were joined
        if _OBJECT.match(header):
            raise InputError(
                f"{source}: JSON, not separated values; name it .jsonl, or .json if it is one list"
            )
        self.delimiter = said or delimiter_of(header)
        self._header = header
        try:
            names = next(self._reader(iter(())), [])
        except csv.Error as error:
            raise InputError(f"{source} line {self.line}: the header: {error}") from None
        self.by_the_rules = _all_quoted(header, names, self.delimiter)
        self.literal = self.delimiter in LITERAL and not self.by_the_rules
        if self.literal:
            names = [_unquoted(cell) for cell in header.rstrip("\r\n").split(self.delimiter)]
        self._strip = len(names) > 1 and all(name[:1] == " " for name in names[1:])
        self._fields = [name.strip() for name in names]
        twice = sorted({n for n in self._fields if n and self._fields.count(n) > 1})
        if twice:
            raise InputError(
                f"{source} line {self.line}: column {', '.join(twice)} appears twice; rename one,"
                " or if this row is a clip, put the names of the columns above it"
            )

    @property
    def names(self) -> list[str]:
        """Column names; a column without one is called after its place, such as ``column 1``."""
        return [name or f"column {i}" for i, name in enumerate(self._fields, start=1)]

    @property
    def nameless(self) -> list[str]:
        """The columns without a name of their own."""
        fields = enumerate(self._fields, start=1)
        return [name or f"column {i}" for i, name in fields if not name or UNNAMED.fullmatch(name)]

    def rows(self) -> Iterator[Row]:
        """Yield each row with its line; every row has as many fields as the header."""
        rows = self._literal_rows() if self.literal else self._quoted_rows()
        return ((line, [c.strip() for c in row]) for line, row in rows) if self._strip else rows

    def _reader(self, rest: Iterator[str]):
        csv.field_size_limit(1 << 27)
        return csv.reader(chain([self._header], rest), delimiter=self.delimiter, strict=True)

    def _literal_rows(self) -> Iterator[Row]:
        width, delimiter = len(self._fields), self.delimiter
        for line, text in enumerate(self._stream, start=self.line + 1):
            row = text.rstrip("\r\n").split(delimiter)
            if '"' in text:
                row = [_unquoted(cell) if cell[:1] == '"' else cell for cell in row]
            if len(row) == width:
                if row[0] or any(row):
                    yield line, row
            elif row != [""]:
                raise self._ragged(line, row)

    def _quoted_rows(self) -> Iterator[Row]:
        width, doubtful = len(self._fields), not self.by_the_rules
        reader = self._reader(self._stream)
        above, line = self.line - 1, self.line
        try:
            next(reader)
            line = reader.line_num + above + 1
            for row in reader:
                after = reader.line_num + above + 1
                if len(row) == width:
                    if after - line > 1 and doubtful and _swallows(row, self.delimiter):
                        raise InputError(
                            f"{self.source} line {line}: a quotation mark opens here and closes in"
                            f" line {after - 1}, and what lies between looks like rows of its own;"
                            " double the mark, or if it is one long text, quote the header as well"
                        )
                    if row[0] or any(row):  # a spreadsheet ends in rows of separators
                        yield line, row
                elif row:
                    raise self._ragged(line, row)
                line = after
        except csv.Error as error:
            raise InputError(
                f"{self.source} line {line}: {error}; is a quotation mark left open, or not"
                ' doubled inside a quoted text (as "", not \\")?'
            ) from None

    def _ragged(self, line: int, row: list[str]) -> RaggedError:
        """Return the error for a row of the wrong length."""
        width, found = len(self._fields), len(row)
        fields = f"{found} field" + "s" * (found != 1)
        advice = ""
        if self._header.startswith("#") and width == 1:
            advice = "; is the header a comment? Remove such lines"
        elif row[0].startswith("#"):
            advice = "; is it a comment? Remove the line"
        elif other := self._other_separator(row):
            advice = (
                f"; is it separated by {other!r}? If the first row is a clip, put the names of the"
                f" columns above it; else a line sep={other}"
            )
        elif found > width and not any(row[width:]):
            advice = "; the line ends in separators that the header does not have"
        elif found > width:
            advice = '; put a text that holds the separator between two "'
            if found == width + 1 and row[0].isdecimal():
                advice += ", or if the rows begin with their number, name that column in the header"
        elif not any(self._fields[found:]):
            advice = "; the header ends in separators that the line does not have"
        return RaggedError(
            f"{self.source} line {line}: {fields}, expected {width} as in the header in line"
            f" {self.line}: {listed(self.names, 12)} (separated by {self.delimiter!r}){advice}"
        )

    def _other_separator(self, row: list[str]) -> str:
        """Return what the header and a row hold equally often, where the separator is not."""
        line = self.delimiter.join(row)
        others = DELIMITERS.replace(self.delimiter, "")
        return next((o for o in others if line.count(o) == self._header.count(o) > 0), "")


def read_separated(opened: Callable[[], TextIO], source: str, gather: Callable) -> Any:
    """Read a table of separated values.

    Parameters
    ----------
    opened : callable
        Returns a text stream at its start; called again where quoted line breaks are tried.
    gather : callable
        Makes something of names and rows, and of the attributes of a `Table`.

    Returns
    -------
    object
        What `gather` made.
    """

    def gathered(table: Separated) -> Any:
        known = {"nameless": tuple(table.nameless), "decimal_commas": table.delimiter == ";"}
        return gather(table.names, table.rows(), **known)

    table = Separated(opened(), source)
    try:
        return gathered(table)
    except RaggedError as ragged:
        if not table.literal:
            raise
        again = Separated(opened(), source)  # perhaps some texts hold line breaks, and are quoted
        again.literal = False
        try:
            return gathered(again)
        except InputError:
            raise ragged from None


def _excel_separator(line: str) -> str:
    """Return the separator of a line such as ``sep=;``, which Excel reads and does not show."""
    found = re.fullmatch(r"sep=(.)\r?\n?", line, re.IGNORECASE)
    return found[1] if found and found[1] in DELIMITERS else ""


def _all_quoted(header: str, names: list[str], delimiter: str) -> bool:
    cells = ('"' + name.replace('"', '""') + '"' for name in names)
    return header.rstrip("\r\n") == delimiter.join(cells)


def _unquoted(cell: str) -> str:
    """Return what a cell holds that is quoted as a whole; any other cell stays as it is."""
    inner = cell[1:-1]
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"' or '"' in inner.replace('""', ""):
        return cell
    return inner.replace('""', '"')


def _swallows(row: list[str], delimiter: str) -> bool:
    """Whether a cell of several lines is rather several rows between two stray quotation marks.

    So it is where the line in which it opens and the one in which it closes, or one between them,
    have all the separators of a row. A comma before a blank is prose.
    """
    width = len(row)
    prose = r"(?! |$)" if width == 2 else r"(?! )"  # "Dear Sir," ends a line of two columns
    separator = re.compile(re.escape(delimiter) + prose)
    for before, cell in enumerate(row):
        lines = cell.split("\n")
        if len(lines) == 1 or width == 1:
            continue
        counts = [len(separator.findall(line)) for line in lines]
        counts[0] += before
        counts[-1] += width - 1 - before
        full = [count == width - 1 for count in counts]
        if (full[0] and full[-1]) or (width > 2 and any(full[1:-1])):
            return True
    return False

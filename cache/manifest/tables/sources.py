"""Where a table comes from: a file, a compressed file, a pipe; and what is in it."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from ...errors import InputError, in_shell, nearest_beside
from ...files.reading import LFS_POINTER, refuse_hollow

OTHER_ENDINGS = {".txt": ".csv", ".ndjson": ".jsonl", ".pq": ".parquet", ".tab": ".tsv"}
KALDI = ("wav.scp", "segments", "text", "utt2spk", "spk2utt", "utt2emo")
RATIO = 100  # at most, of a table to the same packed; of texts it is below 20
MAGIC = {b"PAR1": ".parquet", b"PK\x03\x04": ".xlsx", b"{": ".jsonl", b"[": ".json"}
#: how to make a table of what other programs write
_MADE = {
    ".textgrid": "; in Praat, Down to Table makes one: add the column path",
    ".eaf": "; ELAN exports one, as tab-delimited text with file names",
    ".rttm": "; write one with the columns path, start, duration and speaker",
    **dict.fromkeys((".srt", ".vtt"), "; write one with the columns path, start, end and text"),
    **dict.fromkeys((".ctm", ".stm"), "; write the names of its columns above it, with commas"),
    **dict.fromkeys((".lst", ".list", ".scp"), "; write path above the names, and call it .csv"),
    **dict.fromkeys(
        (".feather", ".pkl", ".pickle", ".dta", ".sav", ".ods", ".h5", ".rds", ".npz"),
        "; save it as .csv or .parquet in the program that wrote it",
    ),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz"), "; unpack it"),
}

_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|table|\?xml)\b", re.IGNORECASE)
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml\b(?!.*<html)", re.DOTALL)


@dataclass
class Source:
    """A table's bytes from the start, its name, and the extension that says how to read it."""

    name: str
    kind: str
    stream: BinaryIO | gzip.GzipFile
    encoding: str = "utf-8-sig"
    _text: io.TextIOWrapper | None = None

    def text(self) -> TextIO:
        """Return the text from the start, line ends as they are; an earlier text ends."""
        self.release()
        self.stream.seek(0)
        self._text = io.TextIOWrapper(self.stream, encoding=self.encoding, newline="")
        return self._text

    def size(self) -> int:
        """Return the bytes on the disk, also of a packed table, and go back to the start."""
        size = self.stream.seek(0, os.SEEK_END)  # refuses what unpacks to too much
        self.stream.seek(0)
        return self.stream.packed if isinstance(self.stream, _Unpacked) else size

    def release(self) -> None:
        """Detach the bytes from the text over them, so that its end does not close them."""
        if self._text is not None:
            self._text.detach()
            self._text = None

    def bad_bytes(self) -> str:
        """Return where the bytes stop being text, for a message."""
        self.release()
        self.stream.seek(0)
        if self.encoding == "utf-8-sig":
            for line, data in enumerate(self.stream, start=1):
                try:
                    data.decode("utf-8")
                except UnicodeDecodeError as error:
                    return (
                        f"{self.name} line {line}: byte {data[error.start]:#04x} at column"
                        f" {error.start + 1} is not UTF-8. {self._in_utf8(data, error.start)}"
                    )
        return f"{self.name}: not {self.encoding}; save the table as UTF-8"

    def _in_utf8(self, line: bytes, bad: int) -> str:
        """Say what makes UTF-8 of a table, and how the cell with a bad byte would then read."""
        ends = re.compile(rb"[,;|\t\r\n]")
        begin = max((found.end() for found in ends.finditer(line, 0, bad)), default=0)
        end = ends.search(line, bad)
        cell = line[begin : end.start() if end else None].strip(b' "')
        command = f"affekt manifest {in_shell(self.name)} --encoding cp1252 -o utf8.csv"
        with suppress(UnicodeDecodeError):
            read = cell.decode("cp1252")[:60]
            central = cell.decode("cp1250", "replace")[:60]
            other = "" if central == read else f" (in cp1250, of Central Europe, {central!r})"
            return (
                f"In cp1252, as Excel writes in Western Europe, this is {read!r}{other}: if that is"
                f" right, {command} makes a table in UTF-8; else name another encoding (cp1250,"
                " cp1251 ...), or save the table as UTF-8"
            )
        return f"Save the table as UTF-8, or name its encoding, such as in {command}"


@contextmanager
def opened(path: Path, known: Sequence[str], encoding: str | None = None) -> Iterator[Source]:
    """Open a table, and find out how it is to be read."""
    name = str(path)
    check_no_device(path)
    try:
        with _stream(path) as stream:
            source = _described(path, stream, known, encoding)
            try:
                yield source
            finally:
                source.release()
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file.{nearest_beside(path)}") from None
    except IsADirectoryError:
        raise InputError(
            f"{name}: is a folder, expected a table ({', '.join(known)}); "
            f"affekt manifest {in_shell(name)} -o clips.csv makes one from a corpus"
        ) from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{name}: not a whole gzip file: {error}") from None


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    if str(path) == "-":
        yield io.BytesIO(sys.stdin.buffer.read())
    elif not is_regular(path):
        yield io.BytesIO(path.read_bytes())
    else:
        refuse_hollow(path)
        with path.open("rb") as stream:
            if stream.read(2) == b"\x1f\x8b":
                with _Unpacked(path) as unpacked:
                    yield unpacked
            else:
                yield stream


class _Unpacked(gzip.GzipFile):
    """A compressed table, read no further than one can be packed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.path, self.packed = path, path.stat().st_size
        self.most = most_unpacked(self.packed)

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size >= 0:
            return self._checked(super().read(size))
        return b"".join(iter(lambda: self.read1(io.DEFAULT_BUFFER_SIZE), b""))

    def read1(self, size: int = -1) -> bytes:
        return self._checked(super().read1(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_END:
            return super().seek(offset, whence)
        while self.read1(io.DEFAULT_BUFFER_SIZE):
            pass
        return super().seek(offset, io.SEEK_CUR)

    def _checked(self, data: bytes) -> bytes:
        if self.tell() > self.most:
            raise InputError(
                f"{self.path}: unpacks to more than {self.most >> 20} MiB, {RATIO} times its "
                "size, which no real table does; unpack it, and look at it"
            )
        return data


def most_unpacked(size: int) -> int:
    """Return how many bytes a table can have that is packed in `size` bytes."""
    return max(64 << 20, RATIO * size)


def zip_size(stream: BinaryIO | gzip.GzipFile) -> int:
    """Return how many bytes a ZIP archive says that it unpacks to, and go back to the start."""
    with zipfile.ZipFile(stream) as packed:
        size = sum(part.file_size for part in packed.infolist())
    stream.seek(0)
    return size


def check_no_device(path: Path) -> None:
    """Refuse a device, which may have no end; ``-`` is standard input."""
    with suppress(OSError):
        if path.is_char_device() or path.is_block_device():
            raise InputError(f"{path}: is a device, expected a file or a pipe")


def is_regular(path: Path) -> bool:
    """Whether a table is a file of its own folder, not standard input or another pipe."""
    return str(path) != "-" and (not path.exists() or stat.S_ISREG(path.stat().st_mode))


def _described(
    path: Path, stream: BinaryIO | gzip.GzipFile, known: Sequence[str], encoding: str | None
) -> Source:
    name = str(path)
    stream.seek(0)
    head = stream.read(1024)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = "".join(suffixes[-1:])
    if suffix == ".gz":
        suffix = "".join(suffixes[-2:-1])
    suffix = OTHER_ENDINGS.get(suffix, suffix)
    found = _of_content(head)
    _check_not_another_thing(path, head)
    if suffix not in known:
        if is_regular(path) and suffix:
            raise InputError(
                f"{name}: expected a table: {', '.join(known)}, also as .gz{_MADE.get(suffix, '')}"
            )
        suffix = found or ".csv"
    if suffix == ".jsonl" and found == ".json":  # a list in one piece
        suffix = found
    if found in (".parquet", ".xlsx") and suffix != found:
        raise InputError(f"{name}: the content is that of a {found} file; rename it accordingly")
    if encoding is not None:
        if suffix not in (".csv", ".tsv", ".jsonl", ".json"):
            raise InputError(f"{name}: a {suffix} file declares its own encoding; leave it out")
        return Source(name, suffix, stream, _known(encoding))
    if suffix in (".parquet", ".xlsx"):
        if found != suffix:
            what = "Parquet" if suffix == ".parquet" else "an Excel workbook"
            raise InputError(f"{name}: not {what}; expected a table: {', '.join(known)}")
        return Source(name, suffix, stream)
    if suffix == ".arrow":
        return Source(name, suffix, stream)
    if head[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return Source(name, suffix, stream, "utf-32")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Source(name, suffix, stream, "utf-16")
    _check_text(path, head)
    return Source(name, suffix, stream)


def _check_not_another_thing(path: Path, head: bytes) -> None:
    """Refuse what is often given in the place of a table."""
    if path.name in KALDI:
        raise InputError(
            f"{path}: one file of a Kaldi data folder; "
            f"affekt manifest {in_shell(path.parent)} -o clips.csv makes a table of the folder"
        )
    if head.startswith(LFS_POINTER):
        raise InputError(f"{path}: a pointer of Git LFS, not the table; git lfs pull fetches it")
    if _XML.match(head):
        sheet = "; if a spreadsheet wrote it, save it as .xlsx or .csv"
        how = _MADE.get(path.suffix.lower(), sheet)
        raise InputError(f"{path}: XML, expected a table{how}")
    if _PAGE.match(head):
        raise InputError(f"{path}: a web page, not a table: download the file itself")
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(f"{path}: an old Excel file; save it as .xlsx or .csv")


def _check_text(path: Path, head: bytes) -> None:
    if b"\0" in head:
        few, many = sorted(head[at::2].count(0) for at in (0, 1))
        if many * 3 > len(head) and few * 10 < many:
            what = "looks like UTF-16 without a byte order mark; save the table as UTF-8"
        else:
            what = f"is not text, but begins with {head[:8]!r}; expected a table in UTF-8"
            what += "" if is_regular(path) else ". Recordings are read from files, not from a pipe"
        raise InputError(f"{path}: {what}")


def _known(encoding: str) -> str:
    """Return the name of an encoding of text that Python has."""
    try:
        "a".encode(encoding).decode(encoding)
        found = codecs.lookup(encoding).name
    except (LookupError, ValueError, UnicodeError):
        raise InputError(
            f"no encoding is called {encoding!r}; expected one that Python knows, such as cp1252"
            " (Windows, Western Europe), cp1250, cp1251, mac-roman, gb18030 or shift_jis"
        ) from None
    return "utf-8-sig" if found == "utf-8" else found


def _of_content(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for mark, kind in MAGIC.items() if start.startswith(mark)), "")

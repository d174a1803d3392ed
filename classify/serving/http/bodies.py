"""What a client sends: audio, text or both, read strictly and kept in memory.

A body is counted while it arrives, whatever its header claims. Nothing is guessed: a field that is
not known, text that is not UTF-8 or a second audio part is refused with the reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from ....cache.files.reading import parse_json

#: prefixes of the content types whose body is an audio file
SOUND = ("audio/", "video/webm", "video/mp4", "application/ogg", "application/octet-stream")
LONGEST_TEXT = 20_000  # characters
READ_ON = 64 << 20  # bytes over the limit
LARGEST_JSON = 1 << 20  # bytes: the longest text, every character escaped, and room to spare
LONGEST_NAME = 230  # bytes of UTF-8
PARTS = 8
FIELDS = ("audio", "text", "id")


class Refused(Exception):
    """A request that is not answered.

    Parameters
    ----------
    code : str
        One word for programs.
    reason : str
        What was given, what was expected.
    status : int
        Of HTTP, 4xx or 503.
    """

    def __init__(self, code: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


@dataclass(frozen=True)
class Sent:
    """One clip as a client sent it.

    Attributes
    ----------
    id : str
        Its name, never a path that is opened.
    """

    id: str
    audio: bytes | None = field(default=None, repr=False)
    text: str | None = None


async def read_body(headers: Mapping[str, str], body: AsyncIterator[bytes], limit: int) -> Sent:
    """Read a request's body.

    Parameters
    ----------
    headers : mapping of str to str
        Of the request, case-insensitive or in lower case.
    limit : int
        Bytes of the body.

    Raises
    ------
    Refused
        Too large, of a wrong type, or malformed.
    """
    kind = headers.get("content-type", "")
    name, options = parse_options_header(kind)
    media = name.decode("latin-1").strip().lower()
    multipart = media == "multipart/form-data"
    if not (multipart or media == "application/json" or media.startswith(SOUND)):
        raise Refused(
            "content_type",
            f"the content type is {media[:80]!r}; expected audio/* with the bytes of a file, "
            "multipart/form-data with audio and text, or application/json with a text",
            415,
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("content_encoding", "the body is compressed; send it as it is", 415)
    if media == "application/json":
        limit = min(limit, LARGEST_JSON)
    data = await _bounded(headers.get("content-length"), body, limit)
    if not data:
        raise Refused("empty", "the body is empty; expected audio, a text, or both")
    if multipart:
        return _of_fields(_parts(data, options.get(b"boundary", b"")))
    if media == "application/json":
        return _of_fields(_object(data))
    return Sent("audio", bytes(data))


async def _bounded(claimed: str | None, body: AsyncIterator[bytes], limit: int) -> bytearray:
    """Return the body, and stop reading it where it is too large.

    A client that is still sending when the connection closes sees a reset and no answer, so what
    is known to be a little too large is read to its end, and not kept.
    """
    if claimed is not None and claimed.isascii() and claimed.isdecimal() and len(claimed) < 20:
        if limit < int(claimed) <= limit + READ_ON:
            async for _ in body:
                pass
        _check_size(int(claimed), limit)
    data = bytearray()
    async for chunk in body:
        _check_size(len(data) + len(chunk), limit)
        data += chunk
    return data


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Refused("too_large", f"the body is over {limit} bytes, the limit here", 413)


def _object(data: bytearray) -> dict[str, Any]:
    """Return a JSON object, strictly: no NaN, no key twice, no depth that breaks the parser."""
    try:
        found = parse_json(data)
    except UnicodeDecodeError:
        raise Refused("bad_json", "the body is not UTF-8") from None
    except ValueError as error:
        raise Refused("bad_json", f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise Refused(
            "bad_json", f'the JSON is {_type(found)}; expected an object as {{"text": "..."}}'
        )
    return found


def _parts(data: bytearray, boundary: bytes) -> dict[str, Any]:
    """Return the fields of a multipart body; a file's is ``(name, bytes)``, others are text."""
    parts: list[tuple[dict[bytes, bytes], bytearray]] = []
    header, value = bytearray(), bytearray()
    found: dict[bytes, bytes] = {}
    ended = False

    def begin() -> None:
        found.clear()
        if len(parts) == PARTS:
            raise Refused("bad_multipart", f"more than {PARTS} parts; expected audio and text")

    def header_end() -> None:
        if bytes(header).lower() == b"content-disposition":
            found.update(parse_options_header(bytes(value))[1])
        header.clear()
        value.clear()

    def finished() -> None:
        parts.append((dict(found), bytearray()))

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": lambda data, start, end: header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: value.extend(data[start:end]),
                "on_header_end": header_end,
                "on_headers_finished": finished,
                "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
                "on_end": end,
            },
        )
        parser.write(bytes(data))
        parser.finalize()
    except FormParserError as error:
        raise Refused("bad_multipart", f"not multipart/form-data: {str(error)[:200]}") from None
    if not ended:
        raise Refused("bad_multipart", "the multipart body ends before its last boundary")
    fields: dict[str, Any] = {}
    for options, content in parts:
        name = _utf8(options.get(b"name", b""), "the name of a part")
        if name in fields:
            raise Refused("bad_multipart", f"the part {name[:80]!r} appears twice")
        if name == "audio":
            called = _utf8(options.get(b"filename", b""), "the file name of the audio")
            fields[name] = called, bytes(content)
        else:
            known = name in FIELDS  # others are refused by name, whatever they hold
            fields[name] = _utf8(content, f"the part {name[:80]!r}") if known else ""
    return fields


def _of_fields(fields: Mapping[str, Any]) -> Sent:
    """Check names and types, and return the clip."""
    for name in fields:
        if name not in FIELDS:
            raise Refused(
                "unknown_field", f"unknown field {name[:80]!r}; expected audio, text or id"
            )
    audio, text, given = (fields.get(name) for name in FIELDS)
    if audio is not None and not isinstance(audio, tuple):
        raise Refused(
            "wrong_type",
            "audio in JSON is not read; send it as audio/* or multipart/form-data",
        )
    for name, value in (("text", text), ("id", given)):
        if value is not None and not isinstance(value, str):
            raise Refused("wrong_type", f"{name} is {_type(value)}; expected a string")
    called, data = audio if audio is not None else ("", None)
    if audio is not None and not data:
        raise Refused("empty", "the audio is empty (0 bytes)")
    if text is not None:
        _check_text(text)
    if not data and not (text and text.strip()):
        raise Refused("empty", "neither audio nor text was sent; send one of them, or both")
    return Sent(_name(given or called or ("audio" if data else "text")), data, text or None)


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        found = f"a text of {len(text)} characters; expected at most {LONGEST_TEXT}"
        raise Refused("too_large", found, 413)
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise Refused("bad_text", "the text holds a NUL or a lone surrogate")


def _name(given: str) -> str:
    """Return an id that fits into a manifest and on one line."""
    odd = any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in given)
    if odd or len(given.encode()) > LONGEST_NAME:
        raise Refused(
            "bad_name",
            f"the id or file name holds control characters or is over {LONGEST_NAME} bytes",
        )
    return given


def _utf8(data: bytes | bytearray, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("bad_utf8", f"{what} is not UTF-8") from None


def _type(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "a number")

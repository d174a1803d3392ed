"""Transcripts on disk: the text of each content, by each transcriber.

    my.cache/transcripts/<name>-<8 hex of the key>/
      transcriber.json     canonical JSON, created once
      <24 hex>.jsonl       immutable segments, one line per clip, named by their content

A segment is written whole, flushed and linked under its name like a shard; only then is it reported
stored. Any number of processes may write. A damaged segment is ignored; its clips are transcribed
again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...cache.errors import SpecError
from ...cache.files.durable import content_name, make_folder, publish
from ...cache.files.reading import parse_json
from ...cache.identity.content_digests import DIGEST
from .whisper_engines import Transcript

LONGEST = 2000  # bytes that a message shows

log = logging.getLogger(__name__)


class Transcripts:
    """The transcripts of one transcriber in one cache.

    Parameters
    ----------
    cache : pathlib.Path
        Folder of the cache; made at the first write.
    name : str
        Readable, for the folder.
    spec : mapping
        Everything that decides a transcript, as JSON values.

    Examples
    --------
    >>> import tempfile
    >>> store = Transcripts(Path(tempfile.mkdtemp()), "toy", {"model": "toy"})
    >>> store.add({"ab" * 32: Transcript("hola", "es")})
    >>> store.read()["ab" * 32].text
    'hola'
    """

    def __init__(self, cache: Path, name: str, spec: Mapping[str, Any]) -> None:
        self.cache = cache
        self.text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.key = hashlib.sha256(self.text.encode()).hexdigest()
        self.name = f"{name}-{self.key[:8]}"
        self.folder = cache / "transcripts" / self.name

    def read(self) -> dict[str, Transcript]:
        """Return content digest -> transcript; of two the first segment's counts."""
        found: dict[str, Transcript] = {}
        if not self.folder.is_dir():
            return found
        self._check_spec()
        for path in sorted(self.folder.glob("*.jsonl")):
            data = path.read_bytes() if path.is_file() else b""
            if content_name(data, ".jsonl") != path.name:
                log.warning("%s is damaged and ignored; its clips are transcribed again", path)
                continue
            pairs = [_answer(line) for line in data.split(b"\n") if line]
            found = dict(pair for pair in pairs if pair is not None) | found
            if odd := pairs.count(None):
                log.warning("%s: %d lines are not answers and are ignored", path, odd)
        return found

    def add(self, transcripts: Mapping[str, Transcript]) -> None:
        """Store answers durably, as one new segment."""
        if not transcripts:
            return
        make_folder(self.folder, self.cache)
        make_folder(self.cache / "tmp", self.cache)
        self._put(self.text.encode(), "transcriber.json")
        self._check_spec()
        lines = [{"audio": digest, **asdict(one)} for digest, one in sorted(transcripts.items())]
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        self._put(data, content_name(data, ".jsonl"))

    def _put(self, data: bytes, name: str) -> None:
        publish(data, self.folder / name, self.cache / "tmp")

    def _check_spec(self) -> None:
        path = self.folder / "transcriber.json"
        if path.is_file() and (found := path.read_bytes()) != self.text.encode():
            shown = found[:LONGEST].decode("utf-8", "replace")
            raise SpecError(f"{path} was written by another transcriber:\n{shown}")


def _answer(line: bytes) -> tuple[str, Transcript] | None:
    """Return the digest of a clip and its transcript; None of any other line."""
    try:
        fields = parse_json(line, parse_constant=float)
        digest, answer = fields.pop("audio"), Transcript(**fields)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    texts = (answer.text, answer.language, answer.reason)
    numbers = (answer.no_speech, answer.likely)
    if not (isinstance(digest, str) and DIGEST.fullmatch(digest)):
        return None
    if not all(isinstance(one, str) for one in texts):
        return None
    if not all(one is None or type(one) in (int, float) for one in numbers):
        return None
    return digest, answer

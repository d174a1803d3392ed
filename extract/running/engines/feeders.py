"""Processes that make clips ready for an encoder in this one: see `..feed`.

Python runs one thread of a process at a time, and a GPU embeds clips faster than one process reads
them besides all that it does for the GPU. A feeder is ``python -m`` this module. It gets its clips,
reads, hashes and decodes them, and hands over rows some dozen at a time. Their samples, and a JSON
list of what else is known of them, are in memory without a name, which ends with the last process
that holds it. So does a feeder, and its decoders, when its socket is closed.

A long recording may need gigabytes while it is decoded. Few are decoded ahead in all: for each, a
feeder takes one of few tokens out of a pipe, and puts it back when the recording was taken. The
feeder whose rows are waited for needs none, so that there is no deadlock.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from affekt.children import exit_status, start_child
from affekt.machine import processors

from ....cache.errors import AffektError
from ....cache.identity.index_files import FIELDS, Seen
from ....cache.manifest import Manifest
from ....cache.rows.index import Table
from ...encoder import Encoder
from ...errors import Unusable, died
from ..claims import Claims
from ..feed import MEMORY, AudioFeed, AudioRules, Ready, by_file
from .shares import as_values, clips_of, columns, origin, reraise

_WORTH = 300  # clips that make feeders worth their start
_MOST = 16
_THREADS = 2  # of a feeder, each with a decoder: one waits while the other works
_BLOCK = 32  # clips that are handed over at once
_NBYTES = 16 << 20  # or this many bytes of samples
_LONG = 2  # recordings above a feeder's memory that all of them together may decode ahead
_PAUSE = 0.05  # seconds between two looks whether one more may be read
_PATIENCE = 5.0  # seconds for a feeder to end
_SIZES = struct.Struct("<QQ")
_WAITING, _TAKEN = b"?", b"+"  # messages to a feeder: its next rows are awaited; were taken


def how_many(encoder: Encoder, clips: int, threads: int | None = None) -> int:
    """Return how many feeders to use where `threads` would make clips ready; 0 for none.

    Examples
    --------
    >>> how_many(Encoder("spectral"), 10_000)
    0
    """
    able = hasattr(os, "memfd_create") and hasattr(socket, "send_fds")
    if not (able and encoder.backend.on_gpu and encoder.modality == "audio" and clips >= _WORTH):
        return 0
    return max(1, min(_MOST, (threads or processors()) // _THREADS))


def feed_in_processes(
    clips: Manifest,
    positions: Sequence[int] | np.ndarray,
    encoder: Encoder,
    claims: Claims,
    count: int,
) -> Generator[Ready, None, None]:
    """Make clips ready as `feed` does, in the same order, in `count` processes."""
    blocks = list(_blocks(clips, positions))
    count = min(count, len(blocks))
    job = {
        **origin(clips),
        "rules": asdict(AudioRules.of(encoder)),
        "space": (claims.space_key, claims.modality),
        "memory": MEMORY // count,
    }
    tokens = os.pipe()
    os.set_blocking(tokens[0], False)
    os.write(tokens[1], bytes(_LONG))
    feeders: list[_Feeder] = []
    try:
        for number in range(count):
            share = np.concatenate(blocks[number::count])
            feeders.append(_Feeder(clips, share, {**job, "tokens": tokens}, claims.stored.raw))
        given = [feeder.rows() for feeder in feeders]
        for turn, block in enumerate(blocks):
            for row in islice(given[turn % count], len(block)):
                new = row.content is not None or (row.failure is not None and row.digest)
                if new and not claims.claim_missing(row.digest or ""):  # another feeder had it too
                    row.content, row.failure, row.seconds = None, None, 0.0
                yield row
    finally:
        for end in tokens:
            os.close(end)
        for feeder in feeders:
            feeder.pipe.close()
        for feeder in feeders:
            exit_status(feeder.child, _PATIENCE)


def _blocks(clips: Manifest, positions: Sequence[int] | np.ndarray) -> Iterator[list[int]]:
    """Yield positions some dozen at a time, those of one file together."""
    block: list[int] = []
    for position, more in by_file(clips, positions):
        block.append(position)
        if len(block) >= _BLOCK and not more:
            yield block
            block = []
    if block:
        yield block


class _Feeder:
    """A feeder as its parent sees it."""

    def __init__(
        self, clips: Manifest, share: np.ndarray, job: dict[str, Any], stored: np.ndarray
    ) -> None:
        self.share = share
        self.pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.child = start_child(
                ["-m", __name__],
                {**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=theirs.fileno(),
                pass_fds=job["tokens"],
                stdout=subprocess.DEVNULL,
            )
        with suppress(BrokenPipeError):  # it has ended; `rows` raises that
            _send(self.pipe, {**job, "clips": columns(clips, share)}, [stored])

    def rows(self) -> Iterator[Ready]:
        """Yield its rows, in the order of its share."""
        while True:
            try:
                self.pipe.send(_WAITING)
                body, head = _receive(self.pipe)
                self.pipe.send(_TAKEN)
            except (EOFError, ConnectionError) as error:
                status = exit_status(self.child, _PATIENCE)
                raise died("a process that reads and decodes files", status) from error
            if isinstance(head, dict):
                raise reraise(head)
            at = 0
            for index, digest, length, seconds, flags, failure, line in head:
                samples = None if length is None else body[at : at + length]
                at += length or 0
                yield Ready(
                    int(self.share[index]),
                    digest,
                    samples,
                    failure and Unusable(*failure),
                    seconds,
                    tuple(flags),
                    line and Seen(*line),
                )


def _send(pipe: socket.socket, head: Any, arrays: Iterable[np.ndarray]) -> None:
    """Send a JSON value and what arrays hold, in memory that the receiver maps."""
    memory = os.memfd_create("affekt")
    try:
        with open(memory, "wb", closefd=False) as file:
            size = sum(file.write(np.ascontiguousarray(array).data) for array in arrays)
            length = file.write(json.dumps(head).encode())
        socket.send_fds(pipe, [_SIZES.pack(size, length)], [memory])
    finally:
        os.close(memory)


def _receive(pipe: socket.socket) -> tuple[np.ndarray, Any]:
    """Receive the samples ``(samples,)`` float32 and the JSON value of one `_send`."""
    sizes, [*memory], *_ = socket.recv_fds(pipe, _SIZES.size, 1)
    if not sizes:
        raise EOFError("the other side has ended")
    size, length = _SIZES.unpack(sizes)
    try:
        # private, so that writable samples need no copy
        mapped = mmap.mmap(memory[0], size + length, access=mmap.ACCESS_COPY)
    finally:
        os.close(memory[0])
    return np.frombuffer(mapped, np.float32, size // 4), json.loads(mapped[size:])


# In a feeder


def _serve() -> None:
    """Be a feeder."""
    pipe = socket.socket(fileno=os.dup(0))
    stored, job = _receive(pipe)
    clips = clips_of(job, [job["clips"]])
    claims = Claims(Table.of({"": stored.view(np.uint8).reshape(-1, 32)}), *job["space"])
    window = _Window(pipe, job["memory"], job["tokens"])
    rules, memory = AudioRules(**job["rules"]), job["memory"]
    feed = AudioFeed(clips, rules, claims.claim, memory=memory, admit=window.admit)
    threading.Thread(target=window.listen, args=(feed,), daemon=True).start()
    block: list[Ready] = []
    nbytes = 0
    try:
        for row in feed.run(range(len(clips)), _THREADS):
            block.append(row)
            nbytes += 0 if row.content is None else row.content.nbytes
            if len(block) >= _BLOCK or nbytes >= _NBYTES:
                window.send_rows(block, nbytes)
                block, nbytes = [], 0
        window.send_rows(block, nbytes)
    except ConnectionError:  # the other end is closed
        return
    except (AffektError, OSError) as error:
        window.send_rows(block, nbytes)
        window.send(as_values(error))
    window.wait()


class _Window:
    """Sends rows while few bytes wait to be taken; ends when the other end is closed."""

    def __init__(self, pipe: socket.socket, memory: int, tokens: tuple[int, int]) -> None:
        self.pipe, self.memory, self.tokens = pipe, memory, tokens
        self.sent: list[tuple[int, bool]] = []  # bytes that were not taken, and whether for a token
        self.asked = 0  # how often rows were waited for, less how often some were sent
        self.has_token = False
        self.taken = threading.Condition()

    def listen(self, feed: AudioFeed) -> None:
        """Note what was taken, and what is waited for."""
        with suppress(ConnectionError):
            while message := self.pipe.recv(1):
                with self.taken:
                    if message == _WAITING:
                        self.asked += 1
                    elif self.sent.pop(0)[1]:
                        os.write(self.tokens[1], b"\0")
                    self.taken.notify_all()
        feed.stop()
        os._exit(1)

    def admit(self) -> None:
        """Wait until a long recording may be read: for a token, or until its rows are needed."""
        with self.taken:
            while not (self.has_token or self.asked > 0):
                with suppress(BlockingIOError):
                    self.has_token = bool(os.read(self.tokens[0], 1))
                if not self.has_token:
                    self.taken.wait(_PAUSE)

    def send_rows(self, block: list[Ready], nbytes: int) -> None:
        """Send rows with this many bytes of samples."""
        arrays = [row.content for row in block if row.content is not None]
        self.send([_values(row) for row in block], arrays, nbytes)

    def send(self, head: Any, arrays: Sequence[np.ndarray] = (), nbytes: int = 0) -> None:
        """Send a JSON value and arrays once there is room for them."""

        def has_room() -> bool:
            return not self.sent or sum(size for size, _ in self.sent) + nbytes <= self.memory

        with self.taken:
            self.taken.wait_for(has_room)
            self.sent.append((nbytes, self.has_token))
            self.has_token = False
            self.asked -= 1
        _send(self.pipe, head, arrays)

    def wait(self) -> None:
        """Wait until all was taken."""
        with self.taken:
            self.taken.wait_for(lambda: not self.sent)


def _values(row: Ready) -> tuple[Any, ...]:
    """Return what is known of a row, as JSON values."""
    length = None if row.content is None else len(row.content)
    failure = row.failure and (row.failure.code, row.failure.message)
    line = row.line and [getattr(row.line, name) for name in FIELDS]
    return row.position, row.digest, length, row.seconds, row.flags, failure, line


if __name__ == "__main__":
    _serve()

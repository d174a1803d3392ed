"""Decode in another process, so that a file that kills the decoder costs one row and not the run.

`Decoder` keeps one child (``python -P -m`` this module), hands it the bytes that were
hashed and gets samples back. A child that a file brings down is replaced, and its clip is
`Unusable`; one that the machine ended (out of memory, killed) is tried again, and then an error of
the run. The child has a limit on its memory and its time and none of our open files; it imports
nothing from the folder that it is started in, and ends when its input does, so nothing is left
behind by a parent that was killed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from affekt.children import exit_status, start_child

from ...cache.errors import AffektError
from ...cache.identity.known_digests import LARGEST
from ..errors import Unusable, died
from .audio_files import is_of_the_machine, machine_fault
from .decode import LONGEST, Signal, decode, length
from .formats.ffmpeg import PATIENCE
from .formats.header_checks import inspect
from .formats.signatures import SOUNDFILE
from .open_file import OpenFile

Segment = tuple[float | None, float | None]
T = TypeVar("T")

#: Address space of a child, in bytes: twice what the largest file and longest clip can need.
MEMORY = 2 * (LARGEST + 8 * int(LONGEST) * 48_000)

_TRIES = 2  # of a child that the machine ended
_PAUSE = 1.0  # seconds before a process is started again


_PIPE = 1 << 20  # bytes, what Linux lets every user have


def decode_segments(
    data: bytes, segments: Sequence[Segment], sampling_rate: int | None, **rules: Any
) -> list[Signal | Unusable]:
    """Decode segments of one file in this process; see `affekt.extract.decode` for `rules`."""
    with OpenFile(data, several=len(segments) > 1) as file:
        return [_tried(decode, file, sampling_rate, *segment, **rules) for segment in segments]


def _tried(function: Callable[..., T], *arguments: Any, **options: Any) -> T | Unusable:
    """Return what a function makes of a file, or why it cannot be used."""
    try:
        return function(*arguments, **options)
    except Unusable as error:  # without its traceback, which holds the file
        return Unusable(error.code, error.message)
    except MemoryError:
        return Unusable("out_of_memory", "decoding it needs too much memory")
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        # hostile bytes may pass every check; they still cost one clip only
        return Unusable("decode_error", f"{type(error).__name__}: {str(error)[:200]}")


def is_plain(data: bytes) -> bool:
    """Whether libsndfile alone reads a file: no other process is needed for it."""
    try:
        container = inspect(data)
    except Unusable:
        return True
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error):
        return False
    return container.format.name in SOUNDFILE and not (container.uncertain or container.lost)


class Decoder:
    """A child process that decodes; not for several threads at once.

    Parameters
    ----------
    always : bool
        Decode in the child what libsndfile reads as well; else the child is started for the first
        file that FFmpeg reads.

    Examples
    --------
    >>> with Decoder() as decoder:
    ...     [answer] = decoder(b"no audio", [(None, None)], 16000)
    >>> answer.code
    'not_audio'
    """

    def __init__(self, *, always: bool = True) -> None:
        self.always = always
        self._child: subprocess.Popen[bytes] | None = None
        self._held: bytes | None = None  # the file that the child has open
        self._stopped = False

    def __call__(
        self,
        data: bytes,
        segments: Sequence[Segment],
        sampling_rate: int | None,
        *,
        more: bool = False,
        **rules: Any,
    ) -> list[Signal | Unusable]:
        """Decode segments of one file, in order.

        Parameters
        ----------
        more : bool
            The next call asks for later segments of the same `data`, which stays open.
        """
        if not self.always and data is not self._held and is_plain(data):
            found = decode_segments(data, segments, sampling_rate, **rules)
            if not any(isinstance(one, Unusable) and one.code == "out_of_memory" for one in found):
                return found  # else it is tried alone: this process may hold much
        return self._ask(data, segments, {"rate": sampling_rate, "rules": rules, "more": more})

    def length(self, data: bytes) -> float | Unusable:
        """Return the seconds of a file as its decoder finds them."""
        if not self.always and is_plain(data):
            return _tried(length, data)
        [answer] = self._ask(data, [None], {"rate": None, "rules": {}, "more": False})
        return answer if isinstance(answer, Unusable) else answer.seconds

    def _ask(
        self, data: bytes, segments: Sequence[Segment | None], how: dict[str, Any]
    ) -> list[Signal | Unusable]:
        """Ask the child, or another one in its place; None for a segment is the file's length."""
        answers: list[Signal | Unusable] = []
        tries = 0
        while left := segments[len(answers) :]:
            try:
                answering, asking = self._pipes()
                same = data is self._held
                _send(asking, {**how, "segments": left, "same": same}, b"" if same else data)
                self._held = data if how["more"] else None
                for _ in left:
                    answers.append(_answer(*_receive(answering)))
                    tries = 0
            except (BrokenPipeError, EOFError) as error:
                status = self._reap()
                if self._stopped:
                    raise AffektError("the decoder was stopped") from error
                unusable = _clip_fault(status)
                if unusable is not None:
                    answers.append(unusable)
                    continue
                tries += 1
                if tries >= _TRIES:
                    raise died("the decoder's process, which was started twice,", status) from error
            except (OSError, MemoryError) as error:
                if not is_of_the_machine(error):
                    raise
                self._reap()
                tries += 1
                if tries >= _TRIES:
                    raise machine_fault("a decoder cannot be started", error, tries) from error
                time.sleep(_PAUSE)
        return answers

    def close(self) -> None:
        """End the child, which keeps nothing, also in the middle of a file."""
        if self._child is not None:
            self._child.kill()
            self._reap()

    def stop(self) -> None:
        """End for good, from another thread; one that waits for an answer gets an error."""
        self._stopped = True
        if (child := self._child) is not None:
            child.kill()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._child is None:
            self._child = start_child(
                ["-m", __name__],
                {**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._stopped:  # meanwhile
                self._child.kill()
            _widen(self._child.stdin, self._child.stdout)
        child = self._child
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a child without pipes")
        return child.stdout, child.stdin

    def _reap(self) -> int:
        """End the child; return its exit status."""
        child, self._child, self._held = self._child, None, None
        if child is None:
            return 0
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        return exit_status(child, seconds=5)


def _clip_fault(status: int) -> Unusable | None:
    """Return why a clip is unusable, by a child's exit status; None for a fault of the machine."""
    if status == -signal.SIGXCPU:
        return Unusable("decode_error", "decoding it took too long and was stopped")
    if status < 0 and status not in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
        return Unusable("decoder_crash", f"the decoder's process ended with {status}")
    return None


def _widen(*pipes: IO[bytes] | None) -> None:
    """Let a pipe hold a whole clip: each refill would be a wait for both sides."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # not on every system
        import fcntl

        for pipe in pipes:
            if pipe is not None:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _send(pipe: IO[bytes], head: dict[str, Any], body: Any = b"") -> None:
    pipe.write(json.dumps({**head, "size": memoryview(body).nbytes}).encode() + b"\n")
    pipe.write(body)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the other side has ended")
    head = json.loads(line)
    body = pipe.read(head["size"])
    if len(body) < head["size"]:
        raise EOFError("the other side has ended")
    return head, body


def _answer(head: dict[str, Any], body: bytes) -> Signal | Unusable:
    if "code" in head:
        return Unusable(head["code"], head["message"])
    samples = np.frombuffer(body, dtype=np.float32)
    return Signal(samples, head["seconds"], tuple(head["flags"]), head["file_rate"])


def _time_limit() -> Callable[[int], None]:
    """Return a function that limits the processor time of the next clip, by its bytes."""
    try:
        import resource
    except ImportError:  # not on every system
        return lambda size: None

    def limit(size: int) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        budget = 5 + PATIENCE[0] + PATIENCE[1] * size / 1e6  # the decoder gives up first
        soft = math.ceil(used.ru_utime + used.ru_stime + budget)
        with contextlib.suppress(ValueError, OSError):  # a hard limit of the system is lower
            resource.setrlimit(
                resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1])
            )

    return limit


def _serve() -> None:
    """Answer requests until there are no more."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_time = _time_limit()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # what a decoder prints must not mix with our answers
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    file = OpenFile(b"")
    while True:
        try:
            head, data = _receive(requests)
        except EOFError:
            return
        segments = head["segments"]
        if not head["same"]:
            file = OpenFile(data, several=head["more"] or len(segments) > 1)
        for segment in segments:
            limit_time(len(file.data))
            answer = _answered(file, segment, head)
            if isinstance(answer, Unusable):
                _send(answers, {"code": answer.code, "message": answer.message})
            else:
                names = ("seconds", "flags", "file_rate")
                header = {name: getattr(answer, name) for name in names}
                _send(answers, header, answer.samples.data)
        if not head["more"]:
            file.close()
            file = OpenFile(b"")


def _answered(file: OpenFile, segment: Segment | None, head: dict[str, Any]) -> Signal | Unusable:
    if segment is not None:
        return _tried(decode, file, head["rate"], *segment, **head["rules"])
    seconds = _tried(length, file.data)
    return seconds if isinstance(seconds, Unusable) else Signal(np.zeros(0, np.float32), seconds)


if __name__ == "__main__":
    _serve()

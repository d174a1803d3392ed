"""Decode in another process, so that a file that kills the decoder costs one row and not the run.

`Decoder` keeps one child (``python -m affekt.extract.decoder``), hands it the bytes that were
hashed and gets samples back. A child that dies is replaced, and its clip is `Unusable`. The child
has a limit on its memory and none of our open files; it ends when its input does, so nothing is
left behind by a parent that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .audio import LONGEST, Signal, decode
from .errors import Unusable
from .files import LARGEST

__all__ = ["Decoder", "decode_segments"]

Segment = tuple[float | None, float | None]

#: Address space of a child, in bytes: twice what the largest file and longest clip can need.
MEMORY = 2 * (LARGEST + 8 * int(LONGEST) * 48_000)


def decode_segments(
    data: bytes, segments: Sequence[Segment], sampling_rate: int, **rules: Any
) -> list[Signal | Unusable]:
    """Decode segments of one file in this process; see `affekt.extract.decode` for `rules`."""
    return [_decode(data, segment, sampling_rate, rules) for segment in segments]


def _decode(
    data: bytes, segment: Segment, sampling_rate: int, rules: dict[str, Any]
) -> Signal | Unusable:
    try:
        return decode(data, sampling_rate, *segment, **rules)
    except Unusable as error:
        return error
    except MemoryError:
        return Unusable("out_of_memory", "decoding it needs too much memory")


class Decoder:
    """A child process that decodes; not for several threads at once.

    Examples
    --------
    >>> with Decoder() as decoder:
    ...     [answer] = decoder(b"no audio", [(None, None)], 16000)
    >>> answer.code
    'not_audio'
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(
        self, data: bytes, segments: Sequence[Segment], sampling_rate: int, **rules: Any
    ) -> list[Signal | Unusable]:
        """Decode segments of one file, in order."""
        answers: list[Signal | Unusable] = []
        while left := segments[len(answers) :]:
            try:
                answering, asking = self._pipes()
                _send(asking, {"segments": left, "rate": sampling_rate, "rules": rules}, data)
                for _ in left:
                    answers.append(_answer(*_receive(answering)))
            except (BrokenPipeError, EOFError):
                reason = f"the decoder's process ended with {self._bury()}"
                answers.append(Unusable("decoder_crash", reason))
        return answers

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._bury()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._child is None:
            # where we find modules, the child does; its session is its own, so that Ctrl-C is ours
            paths = os.pathsep.join(path for path in sys.path if path)
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        child = self._child
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a child without pipes")
        return child.stdout, child.stdin

    def _bury(self) -> int:
        """Make sure that the child ends; give its exit status."""
        child, self._child = self._child, None
        if child is None:
            return 0
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            return child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


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
    return Signal(np.frombuffer(body, dtype=np.float32), head["seconds"], tuple(head["flags"]))


def _serve() -> None:
    """Answer requests until there are no more."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # whatever a decoder prints must not get between our answers
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    while True:
        try:
            head, data = _receive(requests)
        except EOFError:
            return
        for start, end in head["segments"]:
            answer = _decode(data, (start, end), head["rate"], head["rules"])
            if isinstance(answer, Unusable):
                _send(answers, {"code": answer.code, "message": answer.message})
            else:
                told = {"seconds": answer.seconds, "flags": answer.flags}
                _send(answers, told, answer.samples.data)


if __name__ == "__main__":
    _serve()

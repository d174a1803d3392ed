"""Several processes on one machine, each with an encoder of its own, into the same cache.

They commit immutable shards independently; nothing has to be merged. A worker is
``python -m`` this module: it reads its job and then its clips from stdin, some thousand at a time,
and reports on stdout, one JSON value a line.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from affekt.children import exit_status, start_child
from affekt.machine import processors

from ....cache.commands.signals import ending, leave
from ....cache.errors import AffektError, InputError
from ....cache.manifest import Manifest
from ...encoder import Encoder
from ...errors import died
from ..extraction import Extraction
from ..in_process import Embedding
from ..progress import Report
from .shares import add, as_values, blocks_of, clips_of, deal, make_job, open_job, reraise

_WORTH = 150  # clips that make a process of `spectral` worth its start
_BLOCK = 5000  # clips that are handed to a worker in one line
_GRACE = 30.0  # seconds for a worker to store what it has


def count_workers(encoder: Encoder, misses: int, engine: str, workers: int | None) -> int:
    """Return how many processes to use.

    Examples
    --------
    >>> count_workers(Encoder("ngram"), 10_000, "local", None)
    1
    """
    if engine not in ("local", "ray"):
        raise InputError(f"`{engine=}`, expected local or ray")
    if workers is not None and workers < 1:
        raise InputError(f"`{workers=}`, expected 1 or more")
    if encoder.arguments is None:
        if engine == "ray" or (workers or 1) > 1:
            raise InputError(
                "an encoder made with Encoder.of or registered in this program works in this "
                "process only; declare it in a package to use workers (docs/how-to/encoder.md)"
            )
        return 1
    if workers is None:
        workers = _default(encoder, misses)
    return min(workers, max(misses, 1))


def embed_in_workers(
    clips: Manifest,
    positions: np.ndarray,
    encoder: Encoder,
    done: Extraction,
    report: Report,
    count: int,
) -> None:
    """Deal the clips out, start workers, and add up what they report."""
    messages: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
    job = make_job(clips, encoder, done.space)
    threads = max(1, processors() // count)
    children = []
    errors: list[AffektError | OSError] = []
    try:
        for number, share in enumerate(deal(clips, positions, encoder.modality, count)):
            arguments = {**job["encoder"], "device": _device(encoder, number)}
            head = {**job, "encoder": arguments, "threads": threads}
            lines = chain([head], blocks_of(clips, share, _BLOCK))
            children.append(_start(lines, threads, number, messages))
        running = len(children)
        while running:
            number, line = messages.get()
            if "clips" in line:
                report(line["clips"], line["seconds"])
            elif "done" in line:
                add(done, line["done"])
            elif "error" in line:
                errors.append(reraise(line["error"]))
            else:
                running -= 1
                if line["ended"] and not errors:
                    errors.append(died(f"worker {number + 1}", line["ended"]))
    finally:
        _end(children)
    if errors:
        raise errors[0]


def _default(encoder: Encoder, misses: int) -> int:
    if encoder.name == "spectral":
        return max(1, min(processors(), misses // _WORTH))
    if encoder.backend.device == "cuda":
        import torch

        return max(1, min(torch.cuda.device_count(), misses // _WORTH))
    return 1


def _device(encoder: Encoder, number: int) -> str:
    device = str(encoder.backend.device)
    if device != "cuda":
        return device
    import torch

    return f"cuda:{number % torch.cuda.device_count()}"


def _start(
    lines: Iterable[dict[str, Any]],
    threads: int,
    number: int,
    messages: queue.Queue[tuple[int, dict[str, Any]]],
) -> subprocess.Popen[str]:
    # workers do not fight for processors, unless the user has set this
    alone = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    child = start_child(
        ["-m", __name__],
        {**alone, **os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    threading.Thread(target=_listen, args=(child, lines, number, messages), daemon=True).start()
    return child


def _listen(
    child: subprocess.Popen[str],
    lines: Iterable[dict[str, Any]],
    number: int,
    messages: queue.Queue[tuple[int, dict[str, Any]]],
) -> None:
    """Hand a worker its job and clips, and pass on what it says; the last line is how it ended."""
    try:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a worker without pipes")
        with child.stdout:
            with child.stdin:
                for one in lines:
                    child.stdin.write(json.dumps(one) + "\n")
            for line in child.stdout:
                messages.put((number, json.loads(line)))
    except (BrokenPipeError, ValueError):  # it died in the middle of a line
        pass
    finally:
        messages.put((number, {"ended": child.wait()}))


def _end(children: list[subprocess.Popen[str]]) -> None:
    """Let workers that still run store what they have."""
    running = [child for child in children if child.poll() is None]
    for child in running:
        child.terminate()
    for child in running:
        exit_status(child, _GRACE)


def _given() -> Iterator[dict[str, Any]]:
    """Yield the job and then its clips."""
    line = ""
    for line in sys.stdin:
        if line.endswith("\n"):
            yield json.loads(line)
    if not line.endswith("\n"):
        raise BrokenPipeError


@ending()
def _serve() -> int:
    """Be a worker."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not mix with our lines

    def send(**line: Any) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    try:
        given = _given()
        job = next(given)
        clips = clips_of(job, given)
        encoder, space = open_job(job)
        done = Extraction(space)
        with Embedding(space, encoder) as embedding:
            embedding.embed(
                clips,
                range(len(clips)),
                done,
                lambda clips, seconds: send(clips=clips, seconds=seconds),
                job["threads"],
            )
        send(done=done.as_dict())
    except BrokenPipeError:  # the other end is closed: the run was killed
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())
        return 1
    except (AffektError, OSError) as error:
        send(error=as_values(error))
    return 0


if __name__ == "__main__":
    try:
        code = _serve()
    except SystemExit as end:
        code = int(end.code or 0)
    leave(code)

"""A writer under signals, errors and forks: nothing hangs, nothing is dropped without a word."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from affekt.cache import Cache, InputError, row_key, text_digest
from affekt.cache.rows.writer import Batch, Writer

from tests.support.cache_toy import DIM, LAYERS, make_clips, make_spec, row_values

SHAPE = (LAYERS, DIM)

INTERRUPTED = """
import random, signal, sys
import numpy as np
from affekt.cache import Cache, Spec

signal.signal(signal.SIGALRM, signal.default_int_handler)
random.seed(0)
spec = Spec.from_json(open("spec.json").read())
keys = [f"{i:064x}" for i in range(600)]
values = np.ones((spec.n_layers, spec.dim), np.float32)
for trial in range(60):
    space, added = Cache(f"{trial}.cache").create(spec), 0
    try:
        with space.writer(rows=70) as writer:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0003, 0.02))
            for key in keys:
                writer.add(key, key, values)
                added += 1
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    stored = len(Cache(f"{trial}.cache").space(space.name))
    assert stored >= added, (trial, stored, added)
    assert len(writer.stored) == stored
print("done")
"""

FORKED = """
import os, sys
import numpy as np
from affekt.cache import Cache, InputError, Spec

spec = Spec.from_json(open("spec.json").read())
values = np.ones((spec.n_layers, spec.dim), np.float32)
with Cache("my.cache").create(spec).writer() as writer:
    writer.add("0" * 64, "parent", values)
    child = os.fork()
    if child == 0:
        writer.add("1" * 64, "child", values)
        try:
            writer.commit()
        except InputError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(writer.stored)
"""


def call(code, folder):
    (folder / "spec.json").write_text(make_spec().json(), encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def rows(space, clips):
    keys = [row_key(space.key, "text", text_digest(clip.text)) for clip in clips]
    return [(key, clip.id, row_values(clip.text)) for key, clip in zip(keys, clips, strict=True)]


def test_ctrl_c_at_any_moment_neither_hangs_nor_drops_a_row(tmp_path):
    assert call(INTERRUPTED, tmp_path) == "done\n"


def test_ctrl_c_before_the_last_rows_were_handed_over_keeps_them(space, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, "commit", interrupted)
    writer = space.writer()
    for row in rows(space, make_clips(5)):
        writer.add(*row)
    with pytest.raises(KeyboardInterrupt):
        writer.__exit__(None, None, None)
    assert len(writer.stored) == len(space) == 5


def test_a_writer_in_a_forked_process_says_so(tmp_path):
    said, stored = call(FORKED, tmp_path).splitlines()
    assert "belongs to the parent of this process" in said
    assert stored == "['parent']"


def test_a_writer_whose_shard_was_not_stored_takes_no_more_rows(cache, space, monkeypatch):
    """Its rows are gone: rows added again must not be skipped as known."""
    five = rows(space, make_clips(5))
    full = OSError(28, "No space left on device")

    def fail(*words):
        raise full

    def spoil(times):
        with space.writer() as writer:
            for row in five:
                writer.add(*row)
            with monkeypatch.context() as patch:
                patch.setattr(space, "commit", fail)
                with pytest.raises(OSError, match="No space"):
                    writer.commit()
            for _ in range(times):
                for row in five:
                    writer.add(*row)
                writer.commit()

    for times in (0, 1):
        with pytest.raises(OSError, match="No space"):
            spoil(times)
        assert len(Cache(cache.path).space("toy")) == 0
    with space.writer() as writer:
        for row in five:
            writer.add(*row)
    assert len(writer.stored) == 5


@pytest.mark.parametrize("kind", [FileNotFoundError, KeyboardInterrupt])
def test_an_error_of_the_caller_keeps_what_was_added(space, kind):
    def interrupted():
        with space.writer() as writer:
            for row in rows(space, make_clips(3)):
                writer.add(*row)
            raise kind("some.wav")

    with pytest.raises(kind, match=r"some\.wav"):
        interrupted()
    assert len(space) == 3


def test_a_writer_that_has_ended_takes_no_rows(space):
    with space.writer() as writer:
        pass
    with pytest.raises(InputError, match="this writer is closed"):
        writer.add("0" * 64, "late", np.ones(SHAPE))


@pytest.mark.parametrize(("key", "frames"), [("short", 1), ("0" * 64, -1)])
def test_a_row_that_no_shard_can_hold_is_refused_alone(space, key, frames):
    with space.writer() as writer:
        writer.add("1" * 64, "good", np.ones(SHAPE))
        with pytest.raises(InputError, match="64 hex digits"):
            writer.add(key, "bad", np.ones(SHAPE), frames)
    assert writer.stored == ["good"]


def test_a_shard_has_as_many_rows_as_reach_its_number_of_bytes(space):
    with space.writer(nbytes=2 * LAYERS * DIM * 4 + 1) as writer:
        for row in rows(space, make_clips(7)):
            writer.add(*row)
    assert sorted(len(space.index.rows(name)) for name in space.index.shards) == [1, 3, 3]


def test_rows_wait_for_others_until_they_are_old(space):
    clips = make_clips(133)
    with space.writer() as writer:
        for row in rows(space, clips)[:130]:  # handed over in three batches
            writer.add(*row)
    assert len(space.index.refresh().shards) == 1
    with space.writer(seconds=-1) as writer:
        for row in rows(space, clips)[130:]:
            writer.add(*row)
    assert len(space.index.refresh().shards) == 4


def test_rows_are_as_old_as_the_first_of_them(space, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("affekt.cache.rows.writer.time", SimpleNamespace(monotonic=lambda: now[0]))
    with space.writer(seconds=60.0) as writer:
        for key, id_, values in rows(space, make_clips(2)):
            assert writer.stored == []
            now[0] += 50
            writer._take(Batch(now[0] - 50, [(values, (key, id_, 1, 0.0), False)]))
        assert len(writer.stored) == 2

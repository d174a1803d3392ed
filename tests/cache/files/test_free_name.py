"""Caches on file systems without hard links: nothing is ever replaced, or the place is named."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache
from affekt.cache.files import durable, free_name

from tests.support.cache_toy import fill, make_clips, make_spec

CODES = [errno.EPERM, errno.EACCES, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL]
WAYS = ["rename that does not replace", "lock", "created file"]


def failing(code: int):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Leave one way to move a file to a free name."""
    if request.param == WAYS[0]:
        if free_name._renameat2() is None:
            pytest.skip("the system has no renameat2")
        monkeypatch.setattr(free_name, "_alone_in", None)
    else:
        monkeypatch.setattr(free_name, "_renameat2", lambda: None)
        pytest.importorskip("fcntl", reason="locks of POSIX")
    if request.param == WAYS[2]:
        monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    return request.param


@pytest.mark.parametrize("code", CODES)
def test_rows_are_stored_and_read(tmp_path, monkeypatch, code, way):
    monkeypatch.setattr(durable.os, "link", failing(code))
    clips = make_clips(3)
    space = Cache(tmp_path / "c").create(make_spec())
    fill(space, clips)
    fill(space, clips)  # again: every name is taken
    monkeypatch.undo()
    cache = Cache(tmp_path / "c")
    plain = Cache(tmp_path / "plain")
    fill(plain.create(make_spec()), clips)
    found, expected = (one.read(one.spaces()[0], clips) for one in (cache, plain))
    assert np.array_equal(found, expected)
    left = {path.name for path in (tmp_path / "c" / "tmp").iterdir()}
    assert left <= {"rename.lock"} | {name for name in left if name.startswith("compact-")}


def test_of_many_writers_one_is_first(tmp_path, way):
    for n in range(20):
        results: dict[int, bool] = {}
        barrier = threading.Barrier(6)

        def move(k: int, n=n, results=results, barrier=barrier) -> None:
            draft = tmp_path / f"draft{n}-{k}"
            draft.write_text(str(k))
            barrier.wait()
            results[k] = free_name.move_to_free_name(draft, tmp_path / f"new{n}")

        threads = [threading.Thread(target=move, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [first] = [k for k, moved in results.items() if moved]
        assert (tmp_path / f"new{n}").read_text() == str(first)
        assert sum((tmp_path / f"draft{n}-{k}").exists() for k in range(6)) == 5


RACE = """
import os, sys
from pathlib import Path
from affekt.cache.files import free_name
free_name._renameat2 = lambda: None
top, me = Path(sys.argv[1]), sys.argv[2]
(top / f"ready{me}").touch()
while not all((top / f"ready{n}").exists() for n in "01"):
    pass
won = 0
for n in range(300):
    draft = top / "tmp" / f"{me}-{n}"
    draft.write_text(me)
    won += free_name.move_to_free_name(draft, top / f"new{n}")
    draft.unlink(missing_ok=True)
print(won)
"""


def test_two_processes_never_replace(tmp_path):
    (tmp_path / "tmp").mkdir()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, tmp_path, str(n)], stdout=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    won = [int(process.communicate(timeout=240)[0]) for process in both]
    assert sum(won) == 300
    assert [sum(p.read_text() == n for p in tmp_path.glob("new*")) for n in "01"] == won


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_other_errors_of_a_link_name_the_path(tmp_path, monkeypatch, code):
    space = Cache(tmp_path / "c").create(make_spec())
    space.make()
    monkeypatch.setattr(durable.os, "link", failing(code))
    with pytest.raises(OSError, match=r"c/spaces/.*shards/[0-9a-f]{24}\.h5") as caught:
        fill(space, make_clips(2))
    assert caught.value.errno == code


def test_where_nothing_is_exclusive_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(free_name, "_renameat2", lambda: None)
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    monkeypatch.setattr(free_name, "_PATIENCE", 0.1)
    (tmp_path / "rename.lock.held").touch()  # of a process that was killed
    (tmp_path / "draft").touch()
    with pytest.raises(OSError, match=r"neither hard links nor locks.*rename\.lock\.held"):
        free_name.move_to_free_name(tmp_path / "draft", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert Path(tmp_path / "draft").exists()

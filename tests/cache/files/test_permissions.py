"""Who may read a cache: its folder says so, not the umask of whoever writes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from affekt.cache import Cache
from affekt.cache.files import durable
from affekt.classify.experiments.results.uses_of_test import record_use, uses_file

from tests.support.cache_toy import fill, make_clips, make_spec

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


def modes(top: Path) -> tuple[set[int], set[int]]:
    """Return the permissions of the folders and of the files in a folder."""
    places = [top, *top.rglob("*")]
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in places}
    folders = {mode for path, mode in found.items() if path.is_dir()}
    return folders, {mode for path, mode in found.items() if path.is_file()}


def stored(top: Path) -> None:
    space = Cache(top).create(make_spec())
    fill(space, make_clips(3))
    space.fail(None, "x", "missing", "no file")


def test_a_cache_that_affekt_makes_is_its_owners_alone(tmp_path):
    stored(tmp_path / "c")
    assert modes(tmp_path / "c") == ({0o700}, {0o600})


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_a_folder_that_people_share_decides_whatever_their_umask(tmp_path, umask):
    top = tmp_path / "c"
    top.mkdir()
    top.chmod(0o2770)
    before = os.umask(umask)
    try:
        stored(top)
    finally:
        os.umask(before)
    assert modes(top) == ({0o2770}, {0o660})


SHARING = """
import os, sys
from pathlib import Path
from affekt.cache import Cache
from affekt.classify.experiments.results.uses_of_test import record_use, uses_file
from tests.support.cache_toy import fill, make_clips, make_spec

top, user, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec, clips = make_spec(), make_clips(3, first)

def work(place):
    space = Cache(place).create(spec)
    fill(space, clips)
    space.fail(None, f"x{first}", "missing", "no file")
    space.compact()
    return record_use(uses_file(place), ["a"], first)

for _ in range(2):  # so that all is imported
    work(Path(sys.argv[4]))
os.setgroups([7777])
os.setgid(user)
os.setuid(user)
os.umask(int(sys.argv[5], 8))
print(work(top), len(Cache(top).create(spec)))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="needs two users")
@pytest.mark.parametrize("bits", [0o770, 0o2770])
def test_two_users_of_a_group_share_a_cache(tmp_path, bits):
    """Also where nobody has set the bit that hands the group down."""
    folder = Path(tempfile.mkdtemp(prefix="affekt-shared-", dir="/tmp"))
    try:
        top = folder / "c"
        top.mkdir()
        for place, mode in ((folder, 0o777), (top, bits)):
            os.chown(place, 65_534, 7777)
            place.chmod(mode)
        said = []
        for n, (user, umask) in enumerate([(65_534, "077"), (12_345, "022"), (65_534, "077")]):
            own = str(tmp_path / str(n))
            done = subprocess.run(
                [sys.executable, "-c", SHARING, str(top), str(user), str(3 * n), own, umask],
                capture_output=True, text=True, timeout=300, check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            said.append(done.stdout.strip())
        assert said == [f"{{'choices': {n}}} {3 * n}" for n in (1, 2, 3)]
        assert modes(top) == ({bits}, {0o660})
        assert {path.stat().st_gid for path in folder.rglob("*")} == {7777}
        assert stat.S_IMODE((folder / "c.test-uses.jsonl").stat().st_mode) == 0o660
    finally:
        shutil.rmtree(folder)


def test_the_uses_beside_a_cache_that_is_only_read_can_be_counted_on(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(0o555)
    assert record_use(uses_file(tmp_path / "c"), ["a"], 1) == {"choices": 1}
    assert stat.S_IMODE(uses_file(tmp_path / "c").stat().st_mode) == 0o644
    assert record_use(uses_file(tmp_path / "c"), ["a"], 2) == {"choices": 2}


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EACCES, errno.EPERM])
def test_without_hard_links_a_file_is_renamed_and_never_replaces(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    assert durable.publish(b"one", tmp_path / "f", tmp_path)
    assert not durable.publish(b"two", tmp_path / "f", tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one"]


def test_a_link_that_fails_names_the_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match=str(tmp_path / "f")):
        durable.publish(b"one", tmp_path / "f", tmp_path)
    assert list(tmp_path.iterdir()) == []

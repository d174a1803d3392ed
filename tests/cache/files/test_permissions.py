"""Who may read a cache: its folder says so, not the umask of whoever writes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from affekt.cache import Cache
from affekt.cache.files import durable

from tests.support.cache_toy import fill, make_clips, make_spec

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

"""The index of clips: what is known of a file, and when it is not believed."""

from __future__ import annotations

import hashlib
import os
import shutil
import time

import pytest
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
    audio_digest,
    seen,
)


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    old = time.time() - 100
    for i in range(3):
        (folder / f"{i}.wav").write_bytes(b"audio %d" % i)
        os.utime(folder / f"{i}.wav", (old, old))
    rows = [{"id": f"c{i}", "path": f"{i}.wav"} for i in range(3)]
    rows.append({"id": "part", "path": "0.wav", "start": 0.5, "end": 1.0})
    return Manifest.from_rows(rows, root=folder)


def record(cache, clips):
    lines = []
    for i, clip in enumerate(clips):
        path = clips.file(i)
        status = path.stat()
        digest = audio_digest(path.read_bytes(), clip.start, clip.end)
        lines.append(seen(clips, i, digest, status))
    cache.record(lines)
    return [line.digest for line in lines]


def test_digests_come_from_files_memo_and_index(cache, audio, monkeypatch):
    fresh = cache.digests(audio, "audio")
    assert fresh[0] == hashlib.sha256(b"audio 0").hexdigest()
    assert fresh[3] == audio_digest(b"audio 0", 0.5, 1.0)
    assert cache.digests(audio, "audio", hash_files=False) == [None] * 4
    assert record(cache, audio) == fresh
    monkeypatch.setattr("affekt.cache.cache.audio_digest", None)  # nothing is hashed again
    assert Cache(cache.path).digests(audio, "audio", hash_files=False) == fresh
    shutil.rmtree(audio.root)
    assert Cache(cache.path).digests(audio, "audio") == fresh
    moved = Manifest.from_rows(list(audio), root=audio.root.parent / "elsewhere")
    assert Cache(cache.path).digests(moved, "audio") == fresh
    other = Manifest.from_rows([{"id": "c9", "path": "9.wav"}], root=audio.root)
    assert cache.digests(other, "audio") == [None]


def test_recording_twice_adds_nothing(cache, audio):
    record(cache, audio)
    record(Cache(cache.path), audio)
    assert len(list((cache.path / "clips").iterdir())) == 1


def test_C13_a_changed_file_is_never_taken_for_the_old_one(cache, audio):
    record(cache, audio)
    path = audio.file(0)
    before = path.stat()
    path.write_bytes(b"AUDIO 0")  # same size, and the time set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.digests(audio, "audio")[0] == hashlib.sha256(b"AUDIO 0").hexdigest()


def test_C13_a_file_that_was_just_written_vouches_for_nothing(cache, audio):
    path = audio.file(0)
    path.write_bytes(b"new")
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None
    future = time.time() + 9999  # the clock jumps back
    os.utime(path, (future, future))
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None


def test_C13_rehash_trusts_no_memo(cache, audio):
    truth = cache.digests(audio, "audio")
    path = audio.file(1)
    cache.record([seen(audio, 1, "0" * 64, path.stat())])
    assert cache.digests(audio, "audio")[1] == "0" * 64
    assert cache.digests(audio, "audio", rehash=True) == truth


def test_without_the_file_the_last_content_of_a_root_counts(cache, audio):
    record(cache, audio)
    audio.file(0).write_bytes(b"better")
    last = record(cache, audio)
    shutil.rmtree(audio.root)
    assert Cache(cache.path).digests(audio, "audio") == last


def test_without_the_file_two_roots_that_disagree_are_refused(cache, audio, tmp_path):
    record(cache, audio)
    other = tmp_path / "other"
    shutil.copytree(audio.root, other)
    (other / "0.wav").write_bytes(b"something else")
    clips = Manifest.from_rows(list(audio), root=other)
    record(cache, clips)
    shutil.rmtree(audio.root)
    shutil.rmtree(other)
    elsewhere = Manifest.from_rows(list(audio), root=tmp_path / "third")
    with pytest.raises(InputError, match="different contents under different roots"):
        cache.digests(elsewhere, "audio")
    assert cache.digests(elsewhere.select(["c1"]), "audio") == [
        hashlib.sha256(b"audio 1").hexdigest()
    ]
    assert cache.digests(audio, "audio")[0] == hashlib.sha256(b"audio 0").hexdigest()


def test_a_damaged_segment_is_not_used(cache, audio):
    record(cache, audio)
    [segment] = (cache.path / "clips").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    fresh = Cache(cache.path)
    assert fresh.digests(audio, "audio", hash_files=False) == [None] * 4
    assert [finding.path for finding in fresh.verify().damage] == [f"clips/{segment.name}"]

"""The index of clips: what is known of a file, and when it is not believed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from affekt.cache import (
    Cache,
    DamagedError,
    InputError,
    Manifest,
    MissingError,
    audio_digest,
    row_key,
    seen,
)
from affekt.cache.care import repair, verify

from tests.support.cache_toy import DIM, LAYERS, make_spec


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
    monkeypatch.setattr(hashlib, "file_digest", None)  # nothing is hashed again
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


def test_a_file_that_was_copied_or_touched_is_read_once_more_and_then_known(
    cache, audio, monkeypatch
):
    found = cache.digests(audio, "audio", record=True)
    for i in range(3):
        os.utime(audio.file(i), (1e9 + i, 1e9 + i))
    assert cache.digests(audio, "audio", hash_files=False) == [None] * 4
    assert cache.digests(audio, "audio", record=True) == found
    monkeypatch.setattr(hashlib, "file_digest", None)  # nothing is hashed again
    assert Cache(cache.path).digests(audio, "audio", record=True) == found


def test_a_changed_file_is_never_taken_for_the_old_one(cache, audio):
    record(cache, audio)
    path = audio.file(0)
    before = path.stat()
    path.write_bytes(b"AUDIO 0")  # same size, and the time set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.digests(audio, "audio")[0] == hashlib.sha256(b"AUDIO 0").hexdigest()


def test_the_time_of_a_file_that_was_just_written_is_not_trusted(cache, audio):
    path = audio.file(0)
    path.write_bytes(b"new")
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None
    future = time.time() + 9999  # the clock jumps back
    os.utime(path, (future, future))
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None


def test_rehash_trusts_no_memo(cache, audio):
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
    assert [finding.path for finding in verify(fresh).damage] == [f"clips/{segment.name}"]


def store(cache, clips, digests):
    """Store a row for each clip, the number of which is its value."""
    space = cache.create(make_spec(modality="audio"))
    with space.writer() as writer:
        for i, digest in enumerate(digests):
            values = np.full((LAYERS, DIM), i, np.float32)
            writer.add(row_key(space.key, "audio", digest), clips.ids[i], values)
    return space


def test_reading_names_the_clips_that_roots_disagree_on_and_reads_the_others(cache, audio):
    space = store(cache, audio, record(cache, audio))
    other = audio.root.parent / "other"
    shutil.copytree(audio.root, other)
    (other / "1.wav").write_bytes(b"something else")
    record(cache, Manifest.from_rows(list(audio), root=other))
    shutil.rmtree(audio.root)
    shutil.rmtree(other)
    elsewhere = Manifest.from_rows(list(audio), root=audio.root.parent / "third")
    assert cache.missing(space, elsewhere) == ["c1"]
    with pytest.raises(
        MissingError, match=r"c1 had different contents.*make it available"
    ) as caught:
        cache.read(space, elsewhere)
    assert caught.value.ids == ["c1"]
    assert cache.read(space, elsewhere.select(["c0", "c2"]), 0)[:, 0].tolist() == [0, 2]


def test_the_very_same_lines_replace_a_damaged_segment_of_their_name(cache, audio):
    digests = record(cache, audio)
    [segment] = (cache.path / "clips").iterdir()
    truth = segment.read_bytes()
    segment.write_bytes(truth[:40] + b"~" + truth[41:])
    reader = Cache(cache.path)
    assert reader.digests(audio, "audio", hash_files=False) == [None] * 4
    record(Cache(cache.path), audio)
    assert segment.read_bytes() == truth
    assert (cache.path / "quarantine" / segment.name).exists()
    assert reader.digests(audio, "audio", hash_files=False) == digests  # it looks again, too
    assert verify(cache).ok


LINE = {"id": "c0", "path": "0.wav", "start": None, "end": None, "digest": "0" * 64, "size": 0,
        "mtime_ns": 0, "ctime_ns": 0, "inode": 0, "root": "", "number": 1,
        "about": "."}  # fmt: skip


def line(**changes):
    from affekt.cache.identity.index_files import place_hash

    fields = {"at": place_hash("0.wav", None, None), **LINE, **changes}
    kept = {name: value for name, value in fields.items() if value is not ...}
    return json.dumps(kept, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"x\n", "too short"),
        (line() + b"\n", "too short"),
        (line()[:-1], "no end"),
        (line().replace(b'{"at"', b'{"AT"'), "begin with"),
        (line()[:30] + b" garbage\n", "JSON"),
        (line(root=...), "no field 'root'"),
        (line(mtime_ns="now"), "mtime_ns 'now'"),
        (line(root={}), "root {}"),
        (line(path=["0.wav"]), "path"),
        (line(digest="\ud800"), "digest"),
        (line(number=True), "number True"),
    ],
)
def test_a_segment_of_no_lines_is_refused_by_name_and_set_aside(cache, audio, bad, problem):
    digests = record(cache, audio)
    space = store(cache, audio, digests)
    path = cache.path / "clips" / f"{hashlib.sha256(bad).hexdigest()[:24]}.jsonl"
    path.write_bytes(bad)
    fresh = Cache(cache.path)
    with pytest.raises(DamagedError, match=rf"{path.name}.*{problem}.*affekt cache repair"):
        fresh.read(space, audio)
    [finding] = verify(fresh).damage
    assert finding.path == f"clips/{path.name}"
    assert problem in finding.problem
    assert repair(fresh).moved == [finding.path]
    assert Cache(cache.path).digests(audio, "audio", hash_files=False) == digests


def test_verify_finds_a_line_under_a_wrong_hash(cache, audio):
    record(cache, audio)
    bad = line(path="other.wav")
    path = cache.path / "clips" / f"{hashlib.sha256(bad).hexdigest()[:24]}.jsonl"
    path.write_bytes(bad)
    [finding] = verify(Cache(cache.path)).damage
    assert finding.path == f"clips/{path.name}"
    assert "'other.wav' is filed under the hash of another path" in finding.problem


def test_other_files_are_ignored(cache, audio):
    digests = record(cache, audio)
    (cache.path / "clips" / "x.jsonl").mkdir()
    (cache.path / "clips" / "notes.jsonl").write_text("mine\n")
    fresh = Cache(cache.path)
    assert fresh.digests(audio, "audio", hash_files=False) == digests
    report = verify(fresh)
    assert report.ok
    assert {finding.path for finding in report.findings} == {"clips/x.jsonl", "clips/notes.jsonl"}


def test_a_pipe_with_the_name_of_a_segment_is_not_opened(cache, audio):
    digests = record(cache, audio)
    pipe = cache.path / "clips" / f"{'a' * 24}.jsonl"
    os.mkfifo(pipe)
    fresh = Cache(cache.path)
    assert fresh.digests(audio, "audio", hash_files=False) == digests
    assert [finding.path for finding in verify(fresh).damage] == [f"clips/{pipe.name}"]
    assert repair(fresh).moved == [f"clips/{pipe.name}"]


def test_threads_share_the_index_while_another_writer_adds_to_it(cache, audio):
    digests = record(cache, audio)
    shutil.rmtree(audio.root)
    reader, errors = Cache(cache.path), []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            try:
                assert reader.digests(audio, "audio") == digests
            except Exception as error:
                errors.append(error)
                stop.set()

    threads = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        end, writer = time.monotonic() + 1.5, Cache(cache.path)
        for i in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            new = Manifest.from_rows([{"id": f"z{i}", "path": f"z{i}.wav"}], root=audio.root)
            writer.record([seen(new, 0, f"{i:064x}", None)])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not errors


def test_lines_of_earlier_versions_are_read(cache, audio):
    old = line(about=...)
    path = cache.path / "clips" / f"{hashlib.sha256(old).hexdigest()[:24]}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(old)
    shutil.rmtree(audio.root)
    assert Cache(cache.path).digests(audio.select(["c0"]), "audio") == ["0" * 64]

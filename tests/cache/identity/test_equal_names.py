"""Corpora whose files have equal names, and copies of a cache: whose digests count."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
    seen,
)


def test_content_that_was_read_in_another_folder_is_said(tmp_path, caplog):
    """A table with the ids and paths of another corpus, without its audio."""
    (tmp_path / "a.wav").write_bytes(b"one")
    rows = [{"id": "a", "path": "a.wav"}]
    cache = Cache(tmp_path / "c")
    [digest] = cache.digests(Manifest.from_rows(rows, root=tmp_path), "audio", record=True)
    assert not caplog.records
    other = Manifest.from_rows(rows, root=tmp_path / "elsewhere", source="other.csv")
    for _ in range(2):
        assert cache.digests(other, "audio") == [digest]
    [record] = caplog.records
    assert "other.csv: 1 of 1 recordings are not in" in record.getMessage()
    assert cache.corpus_warnings == {"other.csv": record.getMessage()}
    (tmp_path / "a.wav").unlink()
    assert cache.digests(Manifest.from_rows(rows, root=tmp_path), "audio") == [digest]
    assert len(caplog.records) == 1


def corpus(folder, sound, speakers=("anna", "ben", "cem"), name="clips.csv"):
    """A corpus as anybody numbers it: 0.wav, 1.wav, 2.wav."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["path,speaker"]
    for i, speaker in enumerate(speakers):
        (folder / f"{i}.wav").write_bytes(b"%s %d" % (sound, i))
        os.utime(folder / f"{i}.wav", (1e9, 1e9))
        rows.append(f"{i}.wav,{speaker}")
    (folder / name).write_text("\n".join(rows) + "\n")
    return folder / name


def heard(cache, table, **options):
    return Cache(cache.path).digests(Manifest.read(table), "audio", record=True, **options)


def without_audio(table):
    for path in table.parent.glob("*.wav"):
        path.unlink()
    return table


def test_another_corpus_of_equal_names_without_its_audio_is_refused(cache, tmp_path):
    ours = heard(cache, corpus(tmp_path / "one", b"one"))
    other = without_audio(corpus(tmp_path / "two", b"two", ("xia", "yan", "zoe")))
    with pytest.raises(InputError, match=r"3 of 3 recordings.*another corpus: in 3 the speaker"):
        heard(cache, other)
    # in the folder of the first, whose audio is gone
    same_place = without_audio(corpus(tmp_path / "one", b"two", ("xia", "yan", "zoe"), "two.csv"))
    with pytest.raises(InputError, match="another corpus"):
        heard(cache, same_place)
    assert heard(cache, tmp_path / "one" / "clips.csv") == ours


def test_a_copied_cache_needs_no_audio_also_with_other_transcripts(cache, tmp_path, caplog):
    ours = heard(cache, corpus(tmp_path / "one", b"one"))
    table = without_audio(corpus(tmp_path / "laptop", b"one", ("anna", "ben", "Cem")))
    text = table.read_text().splitlines()
    table.write_text("\n".join([text[0] + ",text", *[f"{line},words" for line in text[1:]]]))
    assert heard(cache, table) == ours
    [record] = caplog.records
    assert "3 of 3 recordings are not in" in record.getMessage()
    assert "in 1 the speaker or the text is not the one that was read" in record.getMessage()


def test_single_clips_that_are_others_are_counted_also_in_their_own_folder(cache, tmp_path, caplog):
    ours = heard(cache, corpus(tmp_path / "one", b"one"))
    table = without_audio(corpus(tmp_path / "one", b"one", ("anna", "ben", "zoe")))
    assert heard(cache, table) == ours
    [record] = caplog.records
    assert "3 of 3 recordings are not in" in record.getMessage()
    assert "; in 1 the speaker or the text is not" in record.getMessage()


def test_a_moved_corpus_is_read_once_and_then_known_where_it_is(cache, tmp_path, monkeypatch):
    ours = heard(cache, corpus(tmp_path / "one", b"one"))
    (tmp_path / "one").rename(tmp_path / "moved")
    table = tmp_path / "moved" / "clips.csv"
    assert heard(cache, table, hash_files=False) == [None] * 3  # the memo is of the old place
    assert heard(cache, table) == ours
    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", None)
        assert heard(cache, table) == ours
    # another corpus takes the old place, with audio: its own content, whatever the names
    others = heard(cache, corpus(tmp_path / "one", b"two", ("xia", "yan", "zoe")))
    assert not set(others) & set(ours)
    assert heard(cache, without_audio(table)) == ours
    assert heard(cache, without_audio(tmp_path / "one" / "clips.csv")) == others


def test_files_of_equal_stat_under_two_roots_are_two(cache, tmp_path):
    """As on file systems whose inodes and times are made up."""
    table = corpus(tmp_path / "one", b"one")
    clips = Manifest.read(table)
    cache.record([seen(clips, 0, "0" * 64, clips.file(0).stat())])
    assert cache.digests(clips, "audio")[0] == "0" * 64
    (tmp_path / "two").mkdir()
    for i in range(3):
        os.link(tmp_path / "one" / f"{i}.wav", tmp_path / "two" / f"{i}.wav")
    table = shutil.copy(table, tmp_path / "two")
    assert cache.digests(Manifest.read(table), "audio")[0] != "0" * 64


def test_absolute_paths_are_known_wherever_their_table_is(cache, tmp_path, monkeypatch, caplog):
    corpus(tmp_path / "one", b"one")
    table = tmp_path / "a.csv"
    lines = [f"{tmp_path}/one/{i}.wav,s{i}" for i in range(3)]
    table.write_text("path,speaker\n" + "\n".join(lines))
    ours = heard(cache, table)
    (tmp_path / "sub").mkdir()
    table = table.rename(tmp_path / "sub" / "a.csv")
    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", None)
        assert heard(cache, table) == ours
    without_audio(tmp_path / "one" / "x")
    assert heard(cache, table) == ours
    assert not caplog.records

"""Audio through the whole loop: files on disk, a cache, and what is computed once."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.extract import Encoder, Pooled, Unusable, decode, extract, plan
from affekt.extract.running.embedding import run_extraction
from affekt.extract.running.feed import feed
from affekt.extract.running.spread import spread, spread_table

from tests.support.audio_toy import Simple, codes

RATE = 16_000


def test_rows_are_what_the_encoder_gives_for_the_file_alone(corpus, cache, files):
    clips = corpus(files)
    encoder = Encoder.of(Simple())
    space = extract(clips, cache, encoder)
    stored = cache.read(space, clips)
    for row, data in zip(stored, files.values(), strict=True):
        [alone] = encoder.embed([decode(data, RATE).samples])
        assert np.array_equal(row, alone.values)


def test_a_second_extract_does_nothing(corpus, cache, files):
    clips = corpus(files)
    extract(clips, cache, Encoder.of(Simple()))
    again = Simple()
    for file in (cache.path.parent / "audio").iterdir():  # nothing is read: only stats
        file.chmod(0o000)
    done = run_extraction(clips, Cache(cache.path), Encoder.of(again))
    assert (done.hits + done.computed, again.sizes) == (len(clips), [])


def test_a_second_extract_trusts_files_that_have_settled(corpus, cache, files):
    clips = corpus(files)
    for file in (cache.path.parent / "audio").iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    first = plan(clips, cache, Encoder.of(Simple()))
    assert (first.hits, first.misses, first.unknown) == (0, 10, 10)
    assert first.bytes == sum(map(len, files.values()))
    extract(clips, cache, Encoder.of(Simple()))
    second = plan(clips, Cache(cache.path), Encoder.of(Simple()))
    assert (second.hits, second.misses, second.unknown, second.bytes) == (10, 0, 0, 0)
    third = plan(clips, cache, Encoder.of(Simple()), rehash=True)
    assert (third.hits, third.unknown) == (0, 10)
    assert run_extraction(clips, cache, Encoder.of(Simple()), rehash=True).hits == 10


def test_the_dry_run_writes_nothing_and_reads_no_audio(corpus, cache, files):
    clips = corpus(files)
    for file in (cache.path.parent / "audio").iterdir():
        file.chmod(0o000)
    planned = plan(clips, cache, Encoder("spectral"), measure=True)
    assert planned.misses == 10
    assert planned.seconds > 0
    assert not cache.path.exists()


def test_the_dry_run_counts_no_work_for_a_file_that_will_be_refused(corpus, cache, files):
    clips = corpus(files | {"large.wav": b"", "hollow.wav": b""})
    audio = cache.path.parent / "audio"
    before = plan(clips, cache, Encoder("spectral"))
    for name, size in (("large", 30 << 30), ("hollow", 1 << 30)):
        os.truncate(audio / f"{name}.wav", size)
    planned = plan(clips, cache, Encoder("spectral"))
    assert (before.refused, planned.refused, planned.misses) == (0, 2, 12)
    assert (planned.bytes, planned.audio_seconds) == (before.bytes, before.audio_seconds)
    [share] = spread(clips, planned, Encoder("spectral").spec, 1)
    assert (share.clips, share.bytes) == (12, before.bytes)
    assert "2 will be refused" in spread_table(planned, [share])


def test_same_content_twice_is_computed_once(corpus, cache, files):
    name, data = next(iter(files.items()))
    clips = corpus(files | {"copy.wav": data, "again.wav": data})
    backend = Simple()
    done = run_extraction(clips, cache, Encoder.of(backend))
    assert (done.computed, done.repeated, len(done.space)) == (10, 2, 10)
    rows = cache.read(done.space, clips.select([name.split(".")[0], "copy", "again"]))
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


def test_segments(corpus, cache, sound, encode):
    data = encode(sound(3.0))
    times = [(None, None), (0, 1), (1, 3.0), (2, 1), (-1, 1), (2, 4), (float("nan"), 1), (0, 3)]
    rows = [
        {"id": str(n), "path": "audio/long.wav", "start": start, "end": end}
        for n, (start, end) in enumerate(times)
    ]
    corpus({"long.wav": data})
    rows[6]["start"] = "nan"
    clips = Manifest.from_rows(rows, root=cache.path.parent)
    encoder = Encoder.of(Simple())
    done = run_extraction(clips, cache, encoder)
    assert codes(done) == dict.fromkeys("3456", "bad_segment")
    stored = cache.read(done.space, clips.select(["0", "1", "2", "7"]))
    for row, (start, end) in zip(stored, [(None, None), (0, 1), (1, 3), (0, 3)], strict=True):
        assert np.array_equal(
            row, encoder.embed([decode(data, RATE, start, end).samples])[0].values
        )


def test_a_manifest_edited_during_the_run_is_the_one_it_was(corpus, cache, files, tmp_path):
    corpus(files)
    table = tmp_path / "clips.csv"
    table.write_text("id,path\n" + "".join(f"{n},audio/{n}\n" for n in files))

    class Editing(Simple):
        def embed(self, inputs):
            table.write_text("id,path\nnothing,here.wav\n")
            return super().embed(inputs)

    clips = Manifest.read(table)
    done = run_extraction(clips, cache, Encoder.of(Editing()))
    assert done.computed == 10
    assert len(done.notes) == 1
    assert "clips.csv changed during the run" in done.notes[0]


@pytest.mark.parametrize("family", ["bands", "spectral"])
def test_very_short_clips_alone_and_in_a_batch(corpus, cache, sound, encode, family):
    lengths = (1, 399, 400, 559, 560, 719, 720, 1599, 1600, 160_000)
    clips = corpus(
        {f"{n}.wav": encode(sound(10.0)[:n], subtype="FLOAT") for n in lengths},
    )
    encoder = Encoder.of(Simple(), min_seconds=0.025) if family == "bands" else Encoder("spectral")
    least = 400 if family == "bands" else 1600
    done = run_extraction(clips, cache, encoder)
    assert codes(done) == {str(n): "too_short" for n in lengths if n < least}
    good = [str(n) for n in lengths if n >= least]
    for id_, row in zip(good, cache.read(done.space, clips.select(good)), strict=True):
        [alone] = encoder.embed([sound(10.0)[: int(id_)]])
        assert np.array_equal(row, alone.values)


def test_length_policies(corpus, cache, sound, encode):
    clips = corpus({"under.wav": encode(sound(2.9)), "over.wav": encode(sound(3.1)),
                    "far.wav": encode(sound(10.0))})  # fmt: skip
    rules = {"max_seconds": 3.0}
    done = run_extraction(clips, cache, Encoder.of(Simple(), **rules))
    assert codes(done) == {"over": "too_long", "far": "too_long"}
    cut = run_extraction(clips, cache, Encoder.of(Simple(), long="truncate", **rules))
    assert cut.flags["truncated_audio"] == ["over", "far"]
    chunked = run_extraction(clips, cache, Encoder.of(Simple(), long="chunk", **rules))
    assert chunked.flags["chunked"] == ["over", "far"]
    assert len({done.space.key, cut.space.key, chunked.space.key}) == 3
    assert done.notes == []
    assert "input.long: 'truncate 3.0 s' here, 'whole' there" in cut.notes[0]
    assert len(chunked.notes) == 2
    rows = {space.key: cache.read(space, clips.select(["far"]))[0]
            for space in (cut.space, chunked.space)}  # fmt: skip
    first = Simple().embed([decode(encode(sound(10.0)), RATE).samples[: 3 * RATE]])[0]
    assert np.array_equal(rows[cut.space.key], first.values)
    windows = Simple().embed(np.array_split(decode(encode(sound(10.0)), RATE).samples, 4))
    weights = np.array([window.frames for window in windows])
    mean = np.tensordot(weights / weights.sum(), [window.values for window in windows], axes=1)
    assert np.allclose(rows[chunked.space.key], mean, rtol=1e-6)


def test_memory_stays_bounded(corpus, cache, sound, encode, monkeypatch):
    """Not more is decoded ahead than the limit allows, whatever the manifest."""
    monkeypatch.setattr("affekt.extract.running.feed.MEMORY", 1 << 20)
    data = encode(sound(5.0))  # 160 kB, weighing at most 16 times that
    clips = corpus({f"{n}.wav": data[:-2] + bytes([n, 0]) for n in range(12)})
    claimed: list[str] = []
    ready = feed(clips, range(12), Encoder.of(Simple()), lambda d: not claimed.append(d), threads=2)
    ahead = []
    for n, _ in enumerate(ready):
        ahead.append(len(claimed) - n)
    assert len(claimed) == 12
    assert max(ahead) <= 3


def test_rows_do_not_depend_on_other_clips(corpus, cache, files, sound, encode):
    """The same clip alone, among others, at the end, next to a long one: bit for bit."""
    names = list(files)
    many = files | {"zz.wav": encode(sound(20.0, seed=99))}
    encoder = Encoder("spectral")
    space = extract(corpus(many), cache, encoder)
    together = cache.read(space, corpus(many).select([names[0][0], names[5][0]]))
    other = Cache(cache.path.with_name("other"))
    alone = []
    for name in (names[0], names[5]):
        clips = corpus(many).select([name[0]])
        alone.append(other.read(extract(clips, other, encoder), clips)[0])
    assert np.array_equal(together, alone)


def test_parts_share_the_work_and_make_a_whole(corpus, cache, files, tmp_path):
    clips = corpus(files)
    whole = Cache(tmp_path / "whole")
    space = extract(clips, whole, Encoder.of(Simple()))
    computed = [
        run_extraction(clips, cache, Encoder.of(Simple()), part=(n, 3)).computed for n in (1, 2, 3)
    ]
    assert sum(computed) == 10
    assert max(computed) <= 4
    assert np.array_equal(cache.read(space.name, clips), whole.read(space, clips))


def test_clips_without_audio_are_left_out_and_counted(corpus, cache, files):
    clips = corpus(files)
    rows = [{"id": c.id, "path": c.path} for c in clips] + [{"id": "t", "path": "", "text": "hi"}]
    mixed = Manifest.from_rows(rows, root=clips.root)
    done = run_extraction(mixed, cache, Encoder.of(Simple()))
    assert (done.clips, done.computed, done.without, done.exit_code) == (11, 10, 1, 0)


def test_a_copy_of_the_cache_without_the_audio_knows_its_clips(corpus, cache, files, tmp_path):
    clips = corpus(files)
    space = extract(clips, cache, Encoder.of(Simple()))
    rows = cache.read(space, clips)
    shutil.move(tmp_path / "audio", tmp_path / "gone")
    copy = Cache(shutil.copytree(cache.path, tmp_path / "copy"))
    assert np.array_equal(copy.read(space.name, clips), rows)
    done = run_extraction(clips, copy, Encoder.of(Simple()))
    assert (done.hits, done.failures) == (10, [])


def test_encoder_refuses_arrays_that_are_not_audio():
    encoder = Encoder.of(Simple())
    for wrong in (np.zeros((2, RATE), np.float32), np.zeros(RATE), np.zeros((RATE, 2), np.float32)):
        with pytest.raises(ValueError, match="expected one channel"):
            encoder.embed([wrong])
    bad = np.zeros(RATE, np.float32)
    bad[4] = np.nan
    good, nan = encoder.embed([np.ones(RATE, np.float32), bad])
    assert isinstance(good, Pooled)
    assert isinstance(nan, Unusable)
    assert nan.code == "non_finite_input"


def test_encoder_cuts_what_is_longer_than_its_limit():
    samples = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    [cut] = Encoder.of(Simple(), long="truncate", max_seconds=2.0).embed([samples])
    [expected] = Encoder.of(Simple()).embed([samples[: 2 * RATE]])
    assert isinstance(cut, Pooled)
    assert isinstance(expected, Pooled)
    assert np.array_equal(cut.values, expected.values)

"""Audio through the whole loop: files on disk, a cache, quarantine, and what is computed once."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, CanaryError, Manifest
from affekt.extract import Encoder, Pooled, Unusable, decode, extract, plan
from affekt.extract.feed import feed
from affekt.extract.loop import run_extraction

RATE = 16_000


class Simple:
    """A real, cheap backend: energies of 8 bands of each tenth of a second, pooled as asked."""

    name, modality, n_layers, dim, labels = "bands", "audio", 2, 8, None
    sampling_rate, min_samples, pooling = RATE, 400, "mean"
    batch_clips = 8

    def __init__(self, memory: float = np.inf):
        self.memory = memory  # samples that fit
        self.sizes: list[int] = []
        self.embedded = 0

    def describe(self):
        return {"encoder": {"name": self.name}, "processor": {}, "pooling": self.pooling,
                "layers": {"semantics": "bands", "count": 2, "dim": 8},
                "compute": {"dtype": "float32"}}  # fmt: skip

    def load(self):
        pass

    def embed(self, inputs):
        self.sizes.append(len(inputs))
        if sum(map(len, inputs)) > self.memory:
            raise MemoryError("no room")
        self.embedded += len(inputs)
        return [self._embed(samples) for samples in inputs]

    def _embed(self, samples):
        frames = np.abs(np.fft.rfft(np.pad(samples, (0, -len(samples) % 400)).reshape(-1, 400)))
        bands = np.log1p(frames[:, :200].reshape(len(frames), 8, 25).sum(axis=2))
        mean = bands.mean(axis=0)
        return Pooled(np.stack([mean, mean**2]).astype(np.float32), len(frames))


@pytest.fixture
def files(sound, encode):
    """Ten clips of all formats, rates and lengths."""
    return {
        f"{n}.{format.lower()}": encode(
            sound(0.2 + 0.3 * n, rate, seed=n, channels=1 + n % 2), rate, format
        )
        for n, (format, rate) in enumerate(
            [("WAV", 16_000), ("FLAC", 44_100), ("OGG", 16_000), ("MP3", 44_100), ("WAV", 8000)] * 2
        )
    }


def codes(done):
    return {failure.id: failure.code for failure in done.failures}


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
    told = plan(clips, cache, Encoder("spectral"), measure=True)
    assert told.misses == 10
    assert told.seconds > 0
    assert not cache.path.exists()


def test_M06_same_content_twice_is_computed_once(corpus, cache, files):
    name, data = next(iter(files.items()))
    clips = corpus(files | {"copy.wav": data, "again.wav": data})
    backend = Simple()
    done = run_extraction(clips, cache, Encoder.of(backend))
    assert (done.computed, done.repeated, len(done.space)) == (10, 2, 10)
    rows = cache.read(done.space, clips.select([name.split(".")[0], "copy", "again"]))
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


def test_M06_a_copy_of_a_bad_clip_is_named_too(corpus, cache, files):
    clips = corpus(files | {"bad.wav": b"no", "bad2.wav": b"no"})
    done = run_extraction(clips, cache, Encoder.of(Simple()))
    assert codes(done) == {"bad": "not_audio", "bad2": "not_audio"}


def test_M11_segments(corpus, cache, sound, encode):
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


def test_M13_a_manifest_edited_during_the_run_is_the_one_it_was(corpus, cache, files, tmp_path):
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


def test_A01_missing_denied_and_folders(corpus, cache, files, monkeypatch):
    clips = corpus(files)
    folder = cache.path.parent / "audio"
    (folder / "0.wav").unlink()
    (folder / "1.flac").chmod(0o000)
    done = run_extraction(clips, cache, Encoder.of(Simple()))
    expected = {"0": "missing"}
    if os.geteuid():  # root may read anything
        expected["1"] = "denied"
    assert codes(done) == expected
    assert done.computed == 10 - len(expected)
    assert {note["id"] for note in done.space.failures()} == expected.keys()


@pytest.mark.parametrize("family", ["bands", "spectral"])
def test_A15_very_short_clips_alone_and_in_company(corpus, cache, sound, encode, family):
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


def test_A16_length_policies(corpus, cache, sound, encode):
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


def test_A16_memory_stays_bounded(corpus, cache, sound, encode, monkeypatch):
    """Not more is decoded ahead than the limit allows, whatever the manifest."""
    monkeypatch.setattr("affekt.extract.feed.MEMORY", 1 << 20)
    data = encode(sound(5.0))  # 160 kB, weighing at most 16 times that
    clips = corpus({f"{n}.wav": data[:-2] + bytes([n, 0]) for n in range(12)})
    claimed: list[str] = []
    ready = feed(clips, range(12), Encoder.of(Simple()), lambda d: not claimed.append(d), threads=2)
    ahead = []
    for n, _ in enumerate(ready):
        ahead.append(len(claimed) - n)
    assert len(claimed) == 12
    assert max(ahead) <= 3


def test_A17_company_changes_nothing(corpus, cache, files, sound, encode):
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


def test_A18_a_file_that_changes_is_decoded_from_the_bytes_that_were_hashed(
    corpus, cache, files, monkeypatch
):
    """Whoever replaces the file after it was read changes nothing: row and key stay one content."""
    clips = corpus(files)
    from affekt.extract import feed as module

    real = module.read_file

    def read_then_replace(path):
        file = real(path)
        path.write_bytes(b"something else")
        return file

    monkeypatch.setattr(module, "read_file", read_then_replace)
    encoder = Encoder.of(Simple())
    done = run_extraction(clips, cache, encoder)
    assert done.failures == []
    monkeypatch.undo()
    clips = corpus(files)
    assert run_extraction(clips, cache, Encoder.of(Simple())).hits == 10
    for row, data in zip(cache.read(done.space, clips), files.values(), strict=True):
        assert np.array_equal(row, encoder.embed([decode(data, RATE).samples])[0].values)


def test_A18_a_file_that_grows_while_it_is_read(corpus, cache, files, monkeypatch):
    from affekt.extract import files as module

    clips = corpus(files)
    real = os.fstat
    calls = []

    def grow(handle):
        calls.append(handle)
        path = cache.path.parent / "audio" / "0.wav"
        if len(calls) == 1:
            status = real(handle)
            with path.open("ab") as file:
                file.write(b"more")
            os.utime(path, ns=(0, status.st_mtime_ns + 10))
            return status
        return real(handle)

    monkeypatch.setattr(module.os, "fstat", grow)
    done = run_extraction(clips.select(["0"]), cache, Encoder.of(Simple()))
    assert codes(done) == {"0": "changed"}


def test_silence_is_kept_or_refused(corpus, cache, encode):
    quiet = encode(np.zeros(RATE, np.float32))
    clips = corpus({"quiet.wav": quiet})
    assert run_extraction(clips, cache, Encoder.of(Simple())).flags == {"silent": ["quiet"]}
    other = Cache(cache.path.with_name("other"))
    done = run_extraction(clips, other, Encoder.of(Simple(), silence="refuse"))
    assert codes(done) == {"quiet": "silent"}


def test_five_percent_broken_files_of_every_kind(corpus, cache, sound, encode):
    """Every good row is stored, every bad one is named with its reason, and the run ends well."""
    good = {f"good{n}.wav": encode(sound(0.3, seed=n)) for n in range(190)}
    wav, flac, ogg = encode(sound()), encode(sound(), format="FLAC"), encode(sound(), format="OGG")
    liar = bytearray(flac)
    liar[21] |= 0x0F
    nan = sound()
    nan[3] = np.nan
    bad = {
        "empty": (b"", "empty"),
        "text": (b"some text" * 99, "not_audio"),
        "cut": (wav[:9999], "truncated"),
        "cutflac": (flac[:9999], "decode_error"),
        "cutogg": (ogg[:3000], "decode_error"),
        "liar": (bytes(liar), "implausible_header"),
        "rate": (wav[:24] + b"\1\0\0\0" + wav[28:], "implausible_header"),
        "nan": (encode(nan, subtype="FLOAT"), "non_finite_input"),
        "short": (encode(sound()[:200]), "too_short"),
        "long": (encode(np.tile(sound(), 61)), "too_long"),
    }
    names = list(good)
    for n, (name, (data, _)) in enumerate(bad.items()):  # in between, not at the end
        names.insert(19 * n, f"{name}.wav")
        good[f"{name}.wav"] = data
    clips = corpus({name: good[name] for name in names})
    (cache.path.parent / "audio" / "good7.wav").unlink()
    done = run_extraction(clips, cache, Encoder("spectral"), workers=1)
    expected = {name: code for name, (_, code) in bad.items()} | {"good7": "missing"}
    assert codes(done) == expected
    assert done.exit_code == 3
    assert done.computed == len(done.space) == 200 - len(expected)
    assert all(failure.message for failure in done.failures)
    assert {note["id"]: note["code"] for note in done.space.failures()} == expected
    assert cache.missing(done.space, clips) == [id_ for id_ in clips.ids if id_ in expected]
    again = run_extraction(clips, Cache(cache.path), Encoder("spectral"), workers=1)
    assert (again.computed, codes(again)) == (0, expected)
    assert len(again.space.failures()) == len(expected)


def test_V01_out_of_memory_halves_the_batch_then_quarantines_the_row(corpus, cache, sound, encode):
    lengths = [0.5, 0.6, 2.5, 0.7, 0.8, 0.9]
    clips = corpus({f"{n}.wav": encode(sound(s, seed=n)) for n, s in enumerate(lengths)})
    backend = Simple(memory=2 * RATE)
    done = run_extraction(clips, cache, Encoder.of(backend))
    assert codes(done) == {"2": "out_of_memory"}
    assert done.computed == 5
    assert max(backend.sizes) == 6
    plain = Cache(cache.path.with_name("plain"))
    space = extract(clips, plain, Encoder.of(Simple()))
    good = clips.select(["0", "1", "3", "4", "5"])
    assert np.array_equal(cache.read(done.space, good), plain.read(space, good))


def test_V01_a_failing_device_ends_the_run_and_loses_nothing(corpus, cache, files):
    class Failing(Simple):
        batch_clips = 2

        def embed(self, inputs):
            if self.embedded >= 12:  # the canary takes 4
                raise RuntimeError("device-side assert triggered")
            return super().embed(inputs)

    clips = corpus(files)
    with pytest.raises(AffektError, match=r"device-side assert.*again to go on"):
        extract(clips, cache, Encoder.of(Failing()))
    backend = Simple()
    done = run_extraction(clips, Cache(cache.path), Encoder.of(backend))
    assert (done.hits, done.computed) == (8, 2)


def test_a_changed_encoder_is_refused_before_it_stores_anything(corpus, cache, files):
    class Drifted(Simple):
        def _embed(self, samples):
            pooled = super()._embed(samples)
            pooled.values[1] *= 1.01
            return pooled

    clips = corpus(files)
    extract(clips.select(["0", "1"]), cache, Encoder.of(Simple()))
    with pytest.raises(CanaryError, match="layer 1") as caught:
        extract(clips, cache, Encoder.of(Drifted()))
    assert caught.value.layers == [1]
    assert len(Cache(cache.path).spaces()[0]) == 2


def test_an_encoder_whose_rows_depend_on_their_neighbours_is_refused(corpus, cache, files):
    class Leaking(Simple):
        def embed(self, inputs):
            rows = super().embed(inputs)
            return [Pooled(row.values + len(rows) - 1, row.frames) for row in rows]

    with pytest.raises(CanaryError, match="in a batch than alone"):
        extract(corpus(files), cache, Encoder.of(Leaking()))
    assert len(Cache(cache.path).spaces()[0]) == 0


def test_non_finite_embeddings_are_quarantined(corpus, cache, files):
    class Overflowing(Simple):
        def _embed(self, samples):
            pooled = super()._embed(samples)
            if len(samples) > 2 * RATE:
                pooled.values[0, 0] = np.inf
            return pooled

    done = run_extraction(corpus(files), cache, Encoder.of(Overflowing()))
    assert set(codes(done).values()) == {"non_finite_output"}
    assert done.computed + len(done.failures) == 10


def test_values_too_large_for_half_precision_are_quarantined(corpus, cache, files):
    class Loud(Simple):
        def _embed(self, samples):
            pooled = super()._embed(samples)
            if len(samples) > 2 * RATE:
                pooled.values[0, 0] = 7e4
            return pooled

    done = run_extraction(corpus(files), cache, Encoder.of(Loud()), store_dtype="float16")
    assert set(codes(done).values()) == {"out_of_range"}
    assert done.space.spec.store_dtype == "float16"


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


def test_encoder_refuses_what_is_no_audio():
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

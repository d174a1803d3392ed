"""What cannot be embedded is named and costs nothing else: files, encoders, devices."""

from __future__ import annotations

import os

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, CanaryError
from affekt.cache.rows.remarks import read_remarks
from affekt.extract import Encoder, Pooled, decode, extract
from affekt.extract.running.embedding import run_extraction

from tests.support.audio_toy import Simple, codes

RATE = 16_000


def test_a_copy_of_a_bad_clip_is_named_too(corpus, cache, files):
    clips = corpus(files | {"bad.wav": b"no", "bad2.wav": b"no"})
    done = run_extraction(clips, cache, Encoder.of(Simple()))
    assert codes(done) == {"bad": "not_audio", "bad2": "not_audio"}


def test_missing_denied_and_folders(corpus, cache, files, monkeypatch):
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


def test_a_file_that_changes_is_decoded_from_the_bytes_that_were_hashed(
    corpus, cache, files, monkeypatch
):
    """Whoever replaces the file after it was read changes nothing: row and key stay one content."""
    clips = corpus(files)
    from affekt.extract.inputs import audio_files as module

    real = module.read_clip

    def read_then_replace(clips, position):
        file = real(clips, position)
        clips.file(position).write_bytes(b"something else")
        return file

    monkeypatch.setattr(module, "read_clip", read_then_replace)
    encoder = Encoder.of(Simple())
    done = run_extraction(clips, cache, encoder)
    assert done.failures == []
    monkeypatch.undo()
    clips = corpus(files)
    assert run_extraction(clips, cache, Encoder.of(Simple())).hits == 10
    for row, data in zip(cache.read(done.space, clips), files.values(), strict=True):
        assert np.array_equal(row, encoder.embed([decode(data, RATE).samples])[0].values)


def test_a_file_that_grows_while_it_is_read(corpus, cache, files, monkeypatch):
    from affekt.extract.inputs import audio_files as module

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
    done = run_extraction(clips, other, Encoder("spectral"))  # which finds it silent itself
    assert done.flags == {"silent": ["quiet"]}
    assert list(read_remarks(done.space.folder).values()) == [("silent",)]


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


def test_out_of_memory_halves_the_batch_then_quarantines_the_row(corpus, cache, sound, encode):
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


def test_a_failing_device_ends_the_run_and_loses_nothing(corpus, cache, files):
    class Failing(Simple):
        batch_clips = 2

        def embed(self, inputs):
            if self.embedded >= 12:  # the canary takes 4
                raise RuntimeError("device-side assert triggered")
            return super().embed(inputs)

    clips = corpus(files)
    with pytest.raises(AffektError, match=r"device-side assert.*again to continue"):
        extract(clips, cache, Encoder.of(Failing()))
    assert len(Cache(cache.path).clips.refresh().lines().splitlines()) == 8
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


@pytest.mark.parametrize(
    ("value", "store_dtype", "code"),
    [(np.inf, "float32", "non_finite_output"), (7e4, "float16", "out_of_range")],
)
def test_embeddings_that_cannot_be_stored_are_quarantined(
    corpus, cache, files, value, store_dtype, code
):
    class Loud(Simple):
        def _embed(self, samples):
            pooled = super()._embed(samples)
            if len(samples) > 2 * RATE:
                pooled.values[0, 0] = value
            return pooled

    done = run_extraction(corpus(files), cache, Encoder.of(Loud()), store_dtype=store_dtype)
    assert set(codes(done).values()) == {code}
    assert done.computed + len(done.failures) == 10
    assert done.space.spec.store_dtype == store_dtype


def test_a_file_that_was_missing_and_came_back_is_not_a_failure_any_more(corpus, cache, files):
    clips = corpus(files)
    path = clips.file(0)
    away = path.rename(path.with_suffix(".away"))
    done = run_extraction(clips, cache, Encoder("spectral"))
    assert codes(done) == {clips.ids[0]: "missing"}
    assert [one["id"] for one in done.space.failures()] == [clips.ids[0]]
    away.rename(path)
    again = run_extraction(clips, cache, Encoder("spectral"))
    assert again.failures == []
    assert again.space.failures() == []
    path.rename(away)
    assert run_extraction(clips, cache, Encoder("spectral")).space.failures() == []  # still stored


def test_a_wrong_root_is_named(corpus, cache, files):
    clips = corpus(files)
    for position in range(len(clips)):
        clips.file(position).unlink()
    [note] = run_extraction(clips, cache, Encoder("spectral")).notes
    assert (
        note == f"no file was found in {clips.root}: set --root to the folder that the paths are "
        "relative to"
    )

"""Segments of one file, decoded in one pass: bit for bit as each is decoded alone."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.extract import Encoder, Unusable, decode
from affekt.extract.inputs import audio_files, isolated_decoder, open_file
from affekt.extract.inputs.decode import Signal
from affekt.extract.inputs.formats import ffmpeg, one_pass
from affekt.extract.inputs.isolated_decoder import Decoder, decode_segments
from affekt.extract.inputs.open_file import OpenFile
from affekt.extract.running.feed import feed
from hypothesis import given, settings, strategies as st

from tests.support.audio_toy import Simple, written

RATE = 16_000
SECONDS = 3.0
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "two mp3", "two ogg", "two flac")


@pytest.fixture(scope="module")
def files(sound, encode):
    stereo = sound(SECONDS, 44_100, channels=2)
    made = {
        "wav": encode(stereo, 44_100),
        "flac": encode(stereo, 44_100, format="FLAC"),
        "mp3": encode(stereo, 44_100, format="MP3"),
        "ogg": encode(stereo, 44_100, format="OGG"),
        "opus": encode(sound(SECONDS, 48_000), 48_000, format="OGG", subtype="OPUS"),
        "m4a": written(sound(SECONDS, 44_100), 44_100, "ipod", "aac"),
    }
    half = {name: encode(stereo[:66_150], 44_100, name) for name in ("MP3", "OGG", "FLAC")}
    return made | {f"two {name.lower()}": data + data for name, data in half.items()}


def comparable(answer) -> tuple:
    """All that is said of a clip."""
    if isinstance(answer, Unusable):
        return answer.code, answer.message
    return answer.samples.tobytes(), answer.seconds, answer.flags, answer.file_rate


def alone(data: bytes, segment, rate: int | None = RATE, **rules) -> tuple:
    try:
        return comparable(decode(data, rate, *segment, **rules))
    except Unusable as error:
        return comparable(error)


moments = st.one_of(
    st.none(), st.floats(0, SECONDS + 0.5), st.sampled_from([0.0, 1.0, SECONDS, 99.0])
)
segments = st.lists(st.tuples(moments, moments), min_size=1, max_size=6)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=8, deadline=None)
@given(asked=segments, ascending=st.booleans(), kept=st.sampled_from([0, 100_000, 1 << 27]))
def test_segments_are_what_each_is_alone(files, name, asked, ascending, kept):
    """Overlapping, equal, empty, behind the end, in any order; much, little or nothing kept."""
    if ascending:
        asked = sorted(asked, key=lambda segment: segment[0] or 0.0)
    with OpenFile(files[name]) as file:
        file._most = kept
        found = [
            comparable(isolated_decoder._tried(isolated_decoder.decode, file, RATE, *one))
            for one in asked
        ]
    assert found == [alone(files[name], one) for one in asked]


@pytest.mark.parametrize("name", FORMATS)
def test_windows_are_cut_from_the_whole(files, name):
    whole = decode(files[name], None)
    rate, starts = whole.file_rate, np.arange(0, whole.seconds - 1, 0.37)
    windows = [(float(start), float(start) + 1) for start in starts]
    for window, answer in zip(windows, decode_segments(files[name], windows, None), strict=True):
        first = round(window[0] * rate)
        assert np.array_equal(answer.samples, whole.samples[first : round(window[1] * rate)])


def count_openings(monkeypatch) -> list[int]:
    opened: list[int] = []
    original = ffmpeg.FFmpegReader.frames

    def frames(self):
        opened.append(1)
        return original(self)

    monkeypatch.setattr(ffmpeg.FFmpegReader, "frames", frames)
    return opened


@pytest.mark.parametrize("name", ["mp3", "opus", "m4a"])
def test_ascending_segments_take_one_pass(files, name, monkeypatch):
    opened = count_openings(monkeypatch)
    windows = [(start / 20, start / 20 + 1) for start in range(40)]
    decode_segments(files[name], windows, RATE)
    assert len(opened) == 1
    decode_segments(files[name], [(2, 3), (0.5, 1), (1, 2)], RATE)
    assert len(opened) == 3


@pytest.mark.parametrize("name", ["mp3", "two mp3", "m4a"])
def test_windows_that_overlap_by_more_than_is_kept_take_turns_in_a_few_passes(
    files, name, monkeypatch
):
    windows = [(start / 8, start / 8 + 0.75) for start in range(17)]
    expected = [alone(files[name], one) for one in windows]
    monkeypatch.setattr(open_file, "KEPT", 20_000)  # less than 0.1 s
    opened = count_openings(monkeypatch)
    assert list(map(comparable, decode_segments(files[name], windows, RATE))) == expected
    each = 2 if name == "two mp3" else 1
    assert len(opened) <= 7 * each  # not 17: six windows overlap
    monkeypatch.setattr(one_pass, "PASSES", 2)
    assert list(map(comparable, decode_segments(files[name], windows, RATE))) == expected


@pytest.mark.parametrize("name", ["mp3", "ogg", "two mp3"])
@pytest.mark.parametrize(
    ("damage", "kept"), [("refuse", 1 << 27), ("accept", 0), ("accept", 1 << 27)]
)
def test_damage_is_reported_for_the_same_windows(files, name, damage, kept, monkeypatch):
    monkeypatch.setattr(open_file, "KEPT", kept)
    data = bytearray(files[name])
    middle = len(data) // 3
    data[middle : middle + 4000] = bytes(range(1, 251)) * 16
    windows = [(at / 8, at / 8 + more) for at in range(18) for more in (0.75, 0.25)]
    found = decode_segments(bytes(data), windows, RATE, damage=damage)
    assert list(map(comparable, found)) == [
        alone(bytes(data), one, damage=damage) for one in windows
    ]
    whole = [isinstance(one, Signal) and "damaged" not in one.flags for one in found]
    assert whole[1] == ("mp3" in name)  # the pages of Ogg are counted before decoding
    assert not all(whole)


def test_what_was_too_long_to_decode_is_not_tried_for_every_segment(files, monkeypatch):
    monkeypatch.setattr(ffmpeg, "PATIENCE", (0.0, 0.0))
    opened = count_openings(monkeypatch)
    later = decode_segments(files["mp3"], [(1, 2), (1.5, 2), (2, 3)], RATE)
    assert {one.message for one in later} == {"decoding it took too long and was stopped"}
    assert len(opened) <= 1


def test_little_is_kept_of_a_long_pass(files, monkeypatch):
    with OpenFile(files["mp3"], several=True) as file:
        for start in np.arange(0, 2.5, 0.125):
            isolated_decoder.decode(file, RATE, float(start), float(start) + 0.5)
            kept = sum(len(frame.samples) for frame in file._pass._kept)
            assert kept <= 0.5 * 44_100 + 2 * 1152
    monkeypatch.setattr(open_file, "KEPT", 50_000)
    with OpenFile(files["mp3"], several=True) as file:
        isolated_decoder.decode(file, RATE, 0.0, 3.0)
        assert sum(frame.samples.nbytes for frame in file._pass._kept) <= 50_000


def test_what_is_passed_over_is_not_kept(sound, encode):
    data = encode(sound(30.0, 44_100), 44_100, format="MP3")
    decode(data, RATE, 0.0, 0.5)  # so that all is imported
    tracemalloc.start()
    try:
        decode(data, RATE, 29.0, 29.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3e6  # of 5.3e6 bytes of samples


def sent_heads(monkeypatch) -> list[dict]:
    heads: list[dict] = []
    original = isolated_decoder._send

    def send(pipe, head, body=b""):
        heads.append({**head, "bytes": len(body)})
        original(pipe, head, body)

    monkeypatch.setattr(isolated_decoder, "_send", send)
    return heads


def test_a_child_keeps_a_file_open_while_more_of_it_is_asked(files, monkeypatch):
    data, heads = files["mp3"], sent_heads(monkeypatch)
    asked = [[(0, 1), (0.5, 1.5)], [(1, 2)], [(0.2, 9), (2, 3)]]
    with Decoder() as decoder:
        found = [decoder(data, part, RATE, more=part is not asked[-1]) for part in asked]
        assert [comparable(one) for part in found for one in part] == [
            alone(data, one) for one in itertools.chain(*asked)
        ]
        assert [head["bytes"] for head in heads] == [len(data), 0, 0]
        [other] = decoder(files["ogg"], [(0, 1)], RATE, more=True)
        [again] = decoder(data, [(0, 1)], RATE)  # what was announced did not come
        assert comparable(again) == alone(data, (0, 1))
        assert comparable(other) == alone(files["ogg"], (0, 1))
        decoder(data, [(0, 1)], RATE, more=True)
        decoder._child.kill()
        [after] = decoder(data, [(1, 2)], RATE)
        assert comparable(after) == alone(data, (1, 2))
        assert decoder.length(data) == decode(data, RATE).seconds


def test_an_extraction_reads_a_file_once_however_its_clips_are_ordered(
    files, tmp_path, monkeypatch
):
    names = ("mp3", "wav", "m4a")
    for name in names:
        (tmp_path / f"long.{name}").write_bytes(files[name])
    rows = [
        {"id": f"{name}{n}", "path": f"long.{name}", "start": n / 20, "end": n / 20 + 1}
        for name in names
        for n in range(40)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    clips = Manifest.from_rows([rows[i] for i in order], root=tmp_path)
    heads, read = sent_heads(monkeypatch), []
    original = audio_files.read_file
    monkeypatch.setattr(audio_files, "read_file", lambda path: read.append(path) or original(path))
    ready = list(feed(clips, range(len(clips)), Encoder.of(Simple()), lambda _: True, threads=3))
    assert sorted(row.position for row in ready) == list(range(len(clips)))
    for row in ready[::7]:
        clip = clips.clip(row.position)
        signal = decode(files[clip.path[5:]], RATE, clip.start, clip.end)
        assert np.array_equal(row.content, signal.samples)
    assert len(read) == 3
    assert sum(head["bytes"] > 0 for head in heads) == 3

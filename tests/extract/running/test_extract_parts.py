"""The parts of extract on their own: poolings, windows, canary, decoder child, progress."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from affekt.cache import InputError, Manifest
from affekt.extract import Encoder, Pooled, Unusable
from affekt.extract.errors import CODES
from affekt.extract.inputs.canary_inputs import canary_sounds, embed_canary
from affekt.extract.inputs.isolated_decoder import Decoder, decode_segments
from affekt.extract.pooling import POOLINGS, merge, merge_windows, pool, pooled_dim, split_evenly
from affekt.extract.running.embedding import run_extraction
from affekt.extract.running.parts import part_of
from affekt.extract.running.plan import plan
from affekt.extract.running.progress import Progress
from hypothesis import given, settings, strategies as st

# of a generator: the arrays of hypothesis hold one number nearly everywhere, and then hardly vary
STATES = st.builds(
    lambda shape, seed: np.random.default_rng(seed).uniform(-100, 100, shape).astype(np.float32),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.just(4)),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=60, deadline=None)
@given(states=STATES, pooling=st.sampled_from(sorted(POOLINGS)))
def test_poolings_agree_between_numpy_and_torch(states, pooling):
    ours = pool(states, pooling)
    assert ours.dtype == np.float32
    assert ours.shape == (len(states), pooled_dim(pooling, 4))
    theirs = pool(torch.from_numpy(states), pooling).numpy()
    assert np.allclose(ours, theirs, rtol=1e-4, atol=2e-3)


def test_poolings_by_hand():
    states = np.array([[1.0, -2.0], [3.0, 2.0], [5.0, 0.0]], np.float32)
    assert pool(states, "mean").tolist() == [3.0, 0.0]
    assert pool(states, "max").tolist() == [5.0, 2.0]
    assert pool(states, "cls").tolist() == [1.0, -2.0]
    expected = [3.0, 0.0, *np.std(states, axis=0)]
    assert np.allclose(pool(states, "mean+std"), expected)
    with pytest.raises(ValueError, match=r"`pooling` is .*expected one of"):
        pool(states, "median")
    with pytest.raises(ValueError, match="no frames"):
        pool(states[:0])


def test_pooling_many_large_half_precision_frames_does_not_overflow():
    states = torch.full((1, 1500, 4), 60.0, dtype=torch.float16)
    assert pool(states).tolist() == [[60.0] * 4]


@settings(max_examples=80, deadline=None)
@given(
    states=STATES,
    cuts=st.lists(st.integers(1, 39), max_size=4),
    pooling=st.sampled_from(["mean", "mean+std", "max"]),
)
def test_merged_windows_are_the_pooled_whole(states, cuts, pooling):
    bounds = [0, *sorted({cut for cut in cuts if cut < states.shape[1]}), states.shape[1]]
    windows = [(pool(states[:, a:b], pooling), b - a) for a, b in pairwise(bounds)]
    assert np.allclose(merge(windows, pooling), pool(states, pooling), rtol=1e-4, atol=2e-3)


def test_merging_class_probabilities_keeps_a_distribution():
    merged = merge([(np.array([[0.2, 0.8]]), 3), (np.array([[0.6, 0.4]]), 1)], "softmax")
    assert np.allclose(merged, [[0.3, 0.7]])


@given(samples=st.integers(1, 100), longest=st.integers(1, 40))
def test_windows_are_even_and_complete(samples, longest):
    whole = np.arange(samples)
    windows = split_evenly(whole, longest)
    lengths = [len(window) for window in windows]
    assert np.array_equal(np.concatenate(windows), whole)
    assert max(lengths) <= longest
    assert max(lengths) - min(lengths) <= 1
    assert len(windows) == -(-samples // longest)


def test_one_unusable_window_makes_the_clip_unusable():
    good = Pooled(np.ones((1, 2), np.float32), 5, ("a",))
    assert merge_windows([good, Unusable("silent"), good], "mean").code == "silent"
    merged = merge_windows([good, Pooled(good.values, 1, ("a", "b"))], "mean")
    assert (merged.frames, merged.flags) == (6, ("a", "b", "chunked"))


def test_canary_sounds_are_the_same_everywhere():
    long, short = canary_sounds(16_000)
    integers = (long * 2**15).astype(int)
    assert np.array_equal(integers / 2**15, long)  # made of integers, so no rounding differs
    assert integers[:5].tolist() == [2488, 5853, 4036, 4703, 2195]
    assert hashlib.sha256(long.tobytes()).hexdigest()[:16] == "ea74865fd067ec4f"
    assert len(short) == 5920
    assert len(canary_sounds(16_000, 8000)[1]) == 8000
    assert not np.array_equal(long[:5920], short)


def test_embed_canary_compares_alone_and_together():
    rows = embed_canary(lambda xs: [np.full((2, 3), x) for x in xs], [1.0, 2.0], 1e-6)
    assert rows.shape == (2, 2, 3)


def test_decoder_child_answers_like_this_process(sound, encode):
    files = [encode(sound(0.5, seed=n), format=f) for n, f in enumerate(("WAV", "FLAC", "OGG"))]
    segments = [(None, None), (0.1, 0.3), (0.4, 9.0)]
    with Decoder() as decoder:
        for data in files:
            for here, there in zip(
                decode_segments(data, segments, 8000), decoder(data, segments, 8000), strict=True
            ):
                if isinstance(here, Unusable):
                    assert (here.code, str(here)) == (there.code, str(there))
                else:
                    assert np.array_equal(here.samples, there.samples)
                    assert (here.seconds, here.flags) == (there.seconds, there.flags)


def test_a_decoder_that_dies_costs_one_clip(sound, encode):
    data = encode(sound())
    with Decoder() as decoder:
        [first] = decoder(data, [(None, None)], 16_000)
        os.kill(decoder._child.pid, signal.SIGSEGV)
        crashed, after = decoder(data, [(None, None)] * 2, 16_000)
        assert crashed.code == "decoder_crash"
        assert "-11" in crashed.message
        assert np.array_equal(after.samples, first.samples)


def test_a_decoder_child_ends_with_its_parent(sound, encode):
    decoder = Decoder()
    decoder(encode(sound(0.1)), [(None, None)], 16_000)
    child = decoder._child
    child.stdin.close()  # what the system does when we are killed
    assert child.wait(10) == 0
    child.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_decoder_child_has_a_limit_on_its_memory(sound, encode, monkeypatch):
    monkeypatch.setattr("affekt.extract.inputs.isolated_decoder.MEMORY", 1 << 40)
    with Decoder() as decoder:
        decoder(encode(sound(0.1)), [(None, None)], 16_000)
        with open(f"/proc/{decoder._child.pid}/limits") as limits:  # noqa: PTH123
            [line] = [line for line in limits if line.startswith("Max address space")]
        assert "unlimited" not in line


@given(
    column=st.lists(st.sampled_from("abcdef"), max_size=30),
    of=st.integers(1, 5),
)
def test_parts_are_a_partition_that_keeps_equals_together(column, of):
    parts = [part_of(column, (n, of)).tolist() for n in range(1, of + 1)]
    assert sorted(chain(*parts)) == list(range(len(column)))
    for part in parts:
        others = [i for i in range(len(column)) if i not in part]
        assert not {column[i] for i in part} & {column[i] for i in others}


def test_wrong_parts():
    for part in ((0, 2), (3, 2), (1, 0)):
        with pytest.raises(InputError, match="expected i/n"):
            part_of(["a"], part)


def test_progress_on_a_terminal_is_one_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream, now = Terminal(), iter([0.0, 1.0, 2.0, 4.0])
    progress = Progress(10, "x", stream=stream, clock=lambda: next(now))
    progress(5, 30.0)
    progress(5, 30.0)
    progress.end()
    assert stream.getvalue().count("\n") == 1
    assert "5/10 clips (50 %), 30 s of audio per s, 1 s left" in stream.getvalue()
    assert stream.getvalue().endswith("10/10 clips (100 %), 15 s of audio per s\n")


def test_unusable_survives_a_trip_between_processes():
    import copy

    error = copy.copy(Unusable("silent", "very"))
    assert (error.code, error.message, str(error)) == ("silent", "very", "very")
    assert all(Unusable(code).message for code in CODES)
    with pytest.raises(ValueError, match="unknown reason code"):
        Unusable("tired")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long": "trunkate"}, "Did you mean 'truncate'"),
        ({"silence": "drop"}, "keep, refuse"),
        ({"max_seconds": 0.01}, "0 < `min_seconds` <= `max_seconds`"),
        ({"pooling": "max"}, "no option `pooling"),
        ({"modality": "text"}, "no option `modality"),
        ({"prefix": "query: "}, "no option `prefix"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(InputError, match=message):
        Encoder("spectral", **options)


def test_wrong_names_are_refused_at_once():
    with pytest.raises(InputError, match="Did you mean 'spectral'"):
        Encoder("spektral")
    for name, rule in {"long": "chunk", "silence": "refuse", "max_seconds": 9.0}.items():
        with pytest.raises(InputError, match=f"`{name}=.*` is for audio"):
            Encoder("ngram", **{name: rule})


def test_specs_hold_what_changes_numbers_and_nothing_else():
    base = Encoder("spectral").spec
    assert base == Encoder("spectral", max_seconds=30, min_seconds=0.2, silence="refuse").spec
    keys = {
        base.key,
        Encoder("spectral", long="chunk").spec.key,
        Encoder("spectral", long="truncate").spec.key,
        Encoder("spectral", long="chunk", max_seconds=30).spec.key,
    }
    assert len(keys) == 4
    assert Encoder("ngram").spec.key != Encoder("ngram", dim=1024).spec.key


def test_a_link_that_leaves_the_root_is_one_quarantined_clip(tmp_path, cache, sound, encode):
    """The manifest is fine, the link behind it is not."""

    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.wav").write_bytes(encode(sound()))
    (root / "in.wav").symlink_to(tmp_path / "out.wav")
    clips = Manifest.from_rows([{"id": "a", "path": "in.wav"}], root=root)
    assert plan(clips, cache, Encoder("spectral")).misses == 1
    [failure] = run_extraction(clips, cache, Encoder("spectral")).failures
    assert (failure.id, failure.code) == ("a", "outside")
    assert "leaves the root" in failure.message


def test_the_page_about_extracting_lists_every_reason():
    page = (Path(__file__).parents[3] / "docs/guide/extract.md").read_text(encoding="utf-8")
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in page

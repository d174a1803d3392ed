"""On a CPU clips are computed side by side, in threads over the same weights."""

from __future__ import annotations

import signal
import threading
import time
from itertools import chain

import numpy as np
import pytest
import torch
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware import worker_threads
from affekt.extract.encoders.hardware.exactness import exact_arithmetic
from affekt.extract.encoders.hardware.prepacked import (
    PackedLinear,
    can_prepack,
    threads_are_independent,
)
from affekt.extract.encoders.hardware.worker_threads import deal, run_side_by_side, stop_if_asked
from affekt.extract.encoders.packed import on_cpu
from hypothesis import given, settings, strategies as st

from tests.support.encoder_models import SPEECH, TEXTS, backend, distance, saved, tone

CLIPS = [tone(16_000 * seconds, seed) for seed, seconds in enumerate((3, 2, 4, 2, 3, 1))]
MANY = [*TEXTS, "the anger and the fear of it all"] * 12
WITH_ONEDNN = pytest.mark.skipif(not can_prepack(), reason="this PyTorch is built without oneDNN")


@pytest.fixture
def threads():
    """Set PyTorch's number of threads; put it back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def record(opened, monkeypatch) -> list[tuple[str, int]]:
    """Note the thread of each pass from now on, and PyTorch's number of threads in it."""
    seen, run = [], opened._run

    def noted(examples):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return run(examples)

    monkeypatch.setattr(opened, "_run", noted)
    return seen


def in_new_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def wait_until_stopped():
    while True:
        stop_if_asked()
        time.sleep(0.001)


def test_each_task_has_its_own_number_of_threads(threads):
    threads(3)
    torch.ones(100_000).sum()  # a new thread takes its number at its first operation
    both = threading.Barrier(2)

    def task():
        both.wait()
        torch.ones(100_000).sum()
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert run_side_by_side([task, task], threads=1) == [(1, True)] * 2
    assert run_side_by_side([lambda: 1, lambda: 2, lambda: 3], threads=2) == [1, 2, 3]
    assert torch.get_num_threads() == 3
    assert in_new_thread(torch.get_num_threads) == 3
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("first", [True, False])
def test_the_first_error_stops_the_others_and_passes_on(first, threads):
    threads(3)

    def fail():
        raise ZeroDivisionError("of a worker")

    tasks = [fail, wait_until_stopped] if first else [wait_until_stopped, fail]
    with pytest.raises(ZeroDivisionError, match="of a worker"):
        run_side_by_side(tasks, threads=1)
    assert torch.get_num_threads() == 3
    stop_if_asked()  # who called goes on
    assert run_side_by_side([lambda: 1], threads=1) == [1]


def test_an_interrupt_stops_all(threads):
    threads(3)

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        wait_until_stopped()

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([interrupt, wait_until_stopped], threads=1)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("even", [True, False])
@given(sizes=st.lists(st.integers(1, 500), min_size=1, max_size=20), most=st.integers(0, 9))
@settings(max_examples=50, deadline=None, database=None, derandomize=True)
def test_all_is_dealt_once_and_evenly(sizes, most, even):
    shares = deal(list(range(len(sizes))), sizes, most, even=even)
    assert sorted(chain.from_iterable(shares)) == list(range(len(sizes)))
    assert 1 <= len(shares) <= max(1, min(most, len(sizes)))
    filled = [sum(sizes[i] for i in share) for share in shares]
    assert min(filled) > 0
    assert max(filled) - min(filled) <= max(sizes)
    if even:
        assert max(filled) * len(shares) <= 1.1 * sum(filled)


@WITH_ONEDNN
@pytest.mark.parametrize(
    "name",
    ["xlsr", "wav2vec2-base", "wavlm-large", "wav2vec2-bert", "whisper", "bert"],
)
def test_no_bit_depends_on_the_number_of_threads(name, threads, monkeypatch):
    items = CLIPS if name in SPEECH else MANY
    opened = backend(name)
    opened.load()
    threads(1)
    one = opened.embed(items)
    seen = record(opened, monkeypatch)
    for count in (2, 4):
        threads(count)
        seen.clear()
        for before, after in zip(one, opened.embed(items), strict=True):
            assert before.frames == after.frames
            assert np.array_equal(before.values, after.values)
        assert len({name for name, _ in seen}) > 1
        assert all(name.startswith("affekt-worker") for name, _ in seen)
        assert all(own * len({name for name, _ in seen}) <= count for _, own in seen)
        assert torch.get_num_threads() == count
    seen.clear()
    [alone] = opened.embed(items[:1])  # by all threads
    assert [own for _, own in seen] == [4]
    assert np.array_equal(alone.values, one[0].values)


@pytest.mark.parametrize("name", ["mpnet", "deberta", "deberta-v2"])
def test_padded_texts_run_side_by_side(name, threads, monkeypatch):
    opened = backend(name)
    opened.load()
    threads(1)
    one = opened.embed(MANY)
    threads(2)
    seen = record(opened, monkeypatch)
    for before, after in zip(one, opened.embed(MANY), strict=True):
        assert distance(before.values, after.values) <= 1e-6
    assert {own for _, own in seen} == {1}
    assert len({name for name, _ in seen}) == 2


@WITH_ONEDNN
def test_half_precision_has_one_thread_in_any_batch(tmp_path, threads, monkeypatch):
    opened = open_backend(str(saved("xlsr", tmp_path / "x")), device="cpu", dtype="bfloat16")
    threads(2)
    opened.load()
    seen = record(opened, monkeypatch)
    together = opened.embed(CLIPS)
    for clip, one in zip(CLIPS, together, strict=True):
        assert np.array_equal(opened.embed([clip])[0].values, one.values)
    assert {own for _, own in seen} == {1}
    assert torch.get_num_threads() == 2


@WITH_ONEDNN
def test_where_products_depend_on_the_threads_each_pass_has_one(tmp_path, threads, monkeypatch):
    monkeypatch.setattr(on_cpu, "threads_are_independent", lambda linear: False)
    opened = open_backend(str(saved("xlsr", tmp_path / "x")), device="cpu")
    threads(2)
    opened.load()
    seen = record(opened, monkeypatch)
    opened.embed(CLIPS)
    opened.embed(CLIPS[:1])
    assert {own for _, own in seen} == {1}


@WITH_ONEDNN
def test_products_that_depend_on_the_threads_are_found(threads):
    threads(2)
    linear = PackedLinear(torch.randn(24, 32), None)
    with torch.inference_mode():
        assert threads_are_independent(linear)

        def uneven(x: torch.Tensor) -> torch.Tensor:
            return PackedLinear.forward(linear, x) + 1e-6 * torch.get_num_threads()

        linear.forward = uneven
        assert not threads_are_independent(linear)


@WITH_ONEDNN
def test_settings_of_the_process_hold_in_no_thread(threads):
    opened = backend("xlsr")
    threads(2)
    expected = opened.embed(CLIPS)
    torch.set_float32_matmul_precision("medium")  # bfloat16, on processors that have it
    try:
        made = opened.embed(CLIPS)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    for one, other in zip(expected, made, strict=True):
        assert np.array_equal(one.values, other.values)


@WITH_ONEDNN
def test_several_threads_may_embed_at_once(threads):
    opened = backend("wavlm-base")
    threads(2)
    expected = opened.embed(CLIPS)
    made: dict[int, list] = {}
    asking = [
        threading.Thread(target=lambda i=i: made.update({i: opened.embed(CLIPS[i:])}))
        for i in range(4)
    ]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    for i in range(4):
        for one, other in zip(expected[i:], made[i], strict=True):
            assert np.array_equal(one.values, other.values)


@WITH_ONEDNN
def test_an_error_of_one_pass_passes_on(threads, monkeypatch):
    opened = backend("xlsr")
    threads(2)
    expected = opened.embed(CLIPS)
    with monkeypatch.context() as changed:
        run = opened._run

        def failing(examples):
            if any(len(one.keep) > 180 for one in examples):
                raise RuntimeError("out of memory")
            return run(examples)

        changed.setattr(opened, "_run", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            opened.embed(CLIPS)
    assert torch.get_num_threads() == 2
    assert np.array_equal(opened.embed(CLIPS)[0].values, expected[0].values)


@WITH_ONEDNN
@pytest.mark.parametrize("name", ["xlsr", "bert", "whisper", "mpnet"])
def test_a_pass_ends_early_when_it_is_asked_to(name):
    opened = backend(name)
    opened.load()
    ended = []

    def fail():
        raise ZeroDivisionError

    def run():
        assert worker_threads._stop.asked is not None
        worker_threads._stop.asked.wait()
        try:
            opened._run([opened._prepare(opened.front.probe())])
        except BaseException as error:
            ended.append(type(error).__name__)

    with exact_arithmetic(), pytest.raises(ZeroDivisionError):
        run_side_by_side([run, fail], threads=1)
    assert ended == ["CancelledError"]


@WITH_ONEDNN
def test_longer_clips_share_no_memory(threads, monkeypatch):
    opened = backend("xlsr")
    opened.load()
    threads(2)
    monkeypatch.setattr("affekt.extract.encoders.transformer._LONG", 180)
    seen = record(opened, monkeypatch)
    opened.embed(CLIPS)
    assert {name for name, _ in seen} == {threading.current_thread().name}

"""Fork, spawn, DataLoader workers and threads read the right rows."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affekt.cache import Cache
from affekt.cache.care import verify

from tests.support.cache_toy import expected, fill, make_clips, make_spec


@pytest.fixture
def stored(cache):
    space = cache.create(make_spec(layers=4, dim=64))
    clips = make_clips(300)
    fill(space, clips, rows=20)
    return space, clips, expected(space, clips)


class Rows:
    """A data set over the rows of a space: reads one clip at a time, in whatever process."""

    def __init__(self, space, clips):
        self.space, self.clips = space, clips

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        return self.space.cache.read(self.space, self.clips.select([i]), layers=-1)[0]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers(stored, method):
    data = pytest.importorskip("torch.utils.data")
    space, clips, values = stored
    space.cache.read(space, clips.select([0]))  # opened in the parent too
    count = 8 if method == "fork" else 2
    loader = data.DataLoader(
        Rows(space, clips), batch_size=30, num_workers=count, multiprocessing_context=method
    )
    np.testing.assert_array_equal(np.concatenate([b.numpy() for b in loader]), values[:, -1])


def read_some(space, clips, seed):
    some = np.random.default_rng(seed).integers(0, len(clips), 50)
    return some, space.cache.read(space, clips.select(some))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(stored, method):
    space, clips, values = stored
    with multiprocessing.get_context(method).Pool(2) as pool:
        for some, rows in pool.starmap(read_some, [(space, clips, s) for s in range(6)]):
            np.testing.assert_array_equal(rows, values[some])


def test_threads_read_while_one_writes_and_one_compacts(stored):
    space, clips, values = stored
    stop = threading.Event()

    def write():
        start = 1000
        while not stop.is_set():
            fill(Cache(space.cache.path).space(space.name), make_clips(6, start), rows=2)
            start += 6

    def compact():
        while not stop.is_set():
            Cache(space.cache.path).space(space.name).compact()

    shared = Cache(space.cache.path).space(space.name)
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(write), pool.submit(compact)]
        try:
            for some, rows in pool.map(lambda s: read_some(shared, clips, s), range(60)):
                np.testing.assert_array_equal(rows, values[some])
        finally:
            stop.set()
        for other in others:
            other.result()
    assert verify(space.cache).ok


def test_a_large_read_uses_threads_and_gives_the_same(cache):
    space = cache.create(make_spec(layers=2, dim=2048, store_dtype="float16"))
    clips = make_clips(1500)
    fill(space, clips, rows=400)
    order = np.random.default_rng(0).permutation(1500)
    values = expected(space, clips)
    np.testing.assert_array_equal(cache.read(space, clips.select(order)), values[order])
    np.testing.assert_array_equal(
        cache.read(space, clips, layers=1, dtype="float16"), values[:, 1].astype(np.float16)
    )

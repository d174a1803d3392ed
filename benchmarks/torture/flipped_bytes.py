"""Flip every byte of a shard, before and after it was opened, and cut it at every length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from affekt.cache import AffektError, Cache, Space
from affekt.cache.shards.shard import check_shard, open_shard
from trial import fresh

from tests.support.cache_toy import expected, fill, make_clips, make_spec


def flips(work: Path, step: int = 1) -> Counter:
    """Flip every byte of a small shard, before and after it was opened; cut it at every length."""
    total: Counter = Counter()
    folder = fresh(work)
    clips = make_clips(3)
    cache = Cache(folder)
    space = cache.create(make_spec(layers=2, dim=4))
    fill(space, clips)
    truth = expected(space, clips)
    [path] = (space.folder / "shards").iterdir()
    data = path.read_bytes()
    keys = [key or "" for key in cache.keys(space, clips)]
    opened = Cache(folder).space(space.name)
    if not np.array_equal(opened.read(keys, [0, 1])[0], truth):
        total["wrong"] += 1
    if not np.array_equal(read_whole(open_shard(path, space.key), truth, keys), truth):
        total["wrong"] += 1

    def look(read: Callable[[], np.ndarray], what: str) -> None:
        try:
            total[f"{what}_wrong"] += int(not np.array_equal(read(), truth))
        except AffektError:
            total[f"{what}_found"] += 1

    def newly() -> np.ndarray:
        return read_whole(open_shard(path, space.key), truth, keys)

    for position in range(0, len(data), step):
        hurt = bytearray(data)
        hurt[position] ^= 1 << (position % 8)
        path.write_bytes(hurt)
        look(lambda: opened.read(keys, [0, 1])[0], "opened")
        look(newly, "fresh")
        total["flips"] += 1
        total["unseen_by_verify"] += not refuses(path, space)
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        look(newly, "cut")
        total["cuts"] += 1
        total["unseen_by_verify"] += not refuses(path, space)
    path.write_bytes(data)
    total["wrong"] += sum(total[f"{what}_wrong"] for what in ("opened", "fresh", "cut"))
    total["lost"] = total["unseen_by_verify"]
    return total


def read_whole(shard, truth: np.ndarray, keys: list[str]) -> np.ndarray:
    """Read a whole shard in the order of the keys, as a space would."""
    from affekt.cache.errors import DamagedError
    from affekt.cache.identity.content_digests import hex_bytes, key_words

    names = [key.decode() for key in shard.rows.key.tolist()]
    if sorted(names) != sorted(keys):
        raise DamagedError("other keys")
    words = key_words(hex_bytes(keys))
    order = np.array([names.index(key) for key in keys])
    into = np.argsort(order)
    values = np.empty((shard.vectors.layers, len(keys), shard.vectors.dim), np.float32)
    for layer in range(shard.vectors.layers):
        if shard.vectors.read(layer, order[into], words[into], values[layer], into).size:
            raise DamagedError("damaged")
    return values.transpose(1, 0, 2)


def refuses(path: Path, space: Space) -> bool:
    """Say whether verify finds a shard damaged."""
    try:
        check_shard(path, space.key)
    except AffektError:
        return True
    return False

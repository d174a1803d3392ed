"""Damage to a shard, for the tests."""

from __future__ import annotations

from pathlib import Path

import h5py


def shards(space):
    return sorted((space.folder / "shards").iterdir())


def flip(path: Path, position: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def first_value(path: Path) -> int:
    with h5py.File(path) as file:
        return file["embeddings"].id.get_chunk_info(0).byte_offset

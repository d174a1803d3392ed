"""Fixtures. The toy encoder is in cache_toy.py, which child processes import too."""

from __future__ import annotations

from pathlib import Path

import pytest
from affekt.cache import Cache, Manifest, Space, audio_digest, row_key, seen

from tests.support.cache_toy import fill, make_spec, row_values


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "my.cache")


@pytest.fixture
def space(cache: Cache) -> Space:
    return cache.create(make_spec())


@pytest.fixture
def two(cache, tmp_path):
    """A cache with a space of audio and one of texts, the clips, and what is stored."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = []
    for i in range(20):
        (folder / f"{i}.wav").write_bytes(b"%d" % i)
        rows.append({"id": f"c{i}", "path": f"{i}.wav", "text": f"t{i}" if i % 4 else ""})
    clips = Manifest.from_rows(rows, root=folder).with_columns(
        label=["joy", "sad"] * 10, speaker=["ü1"] * 20
    )
    audio = cache.create(make_spec("audio-toy", modality="audio", store_dtype="float16"))
    text = cache.create(make_spec("text-toy"))
    with audio.writer(rows=6) as writer:
        for i, clip in enumerate(clips):
            digest = audio_digest(clips.file(i).read_bytes())
            writer.add(row_key(audio.key, "audio", digest), clip.id, row_values(clip.id))
    fill(text, clips.where(text=[f"t{i}" for i in range(20)]))
    cache.record(
        seen(clips, i, audio_digest(clips.file(i).read_bytes()), clips.file(i).stat())
        for i in range(20)
    )
    return cache, clips, audio, text

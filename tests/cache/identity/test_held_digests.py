"""Digests that are held: as they were looked at first, and never another clip's."""

from __future__ import annotations

from affekt.cache import Cache, Manifest


def test_a_held_file_is_looked_at_once_until_the_end_of_the_block(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"before")
    rows = [{"id": "a", "path": "a.wav"}, {"id": "t", "text": "no audio"}]
    clips, cache = Manifest.from_rows(rows, root=tmp_path), Cache(tmp_path / "c.cache")
    plain = cache.digests(clips, "audio")
    with cache.held_digests():
        assert cache.digests(clips, "audio") == plain
        (tmp_path / "a.wav").write_bytes(b"after it")
        assert cache.digests(clips, "audio") == plain
        assert cache.digests(clips, "audio", rehash=True) != plain
        assert cache.digests(clips.select([1, 0]), "audio") == plain[::-1]
    assert cache.digests(clips, "audio") != plain


def test_roots_and_segments_are_held_apart(tmp_path):
    cache = Cache(tmp_path / "c.cache")
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(name.encode())
        rows = [{"id": "x", "path": "a.wav"}, {"id": "y", "path": "a.wav", "start": 0, "end": 1}]
        found.append(Manifest.from_rows(rows, root=tmp_path / name))
    with cache.held_digests():
        for _ in range(2):
            digests = [cache.digests(clips, "audio") for clips in found]
    assert len({*digests[0], *digests[1]}) == 4
    assert digests == [cache.digests(clips, "audio") for clips in found]


def test_a_recording_that_appears_within_the_block_is_seen(tmp_path):
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}], root=tmp_path)
    cache = Cache(tmp_path / "c.cache")
    with cache.held_digests():
        assert cache.digests(clips, "audio") == [None]
        (tmp_path / "a.wav").write_bytes(b"there")
        assert cache.digests(clips, "audio") != [None]


def test_a_recording_whose_digest_is_known_is_not_looked_at(tmp_path):
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}], root=tmp_path)
    cache = Cache(tmp_path / "c.cache")
    with cache.held_digests([(clips, ["0" * 64])]):
        assert cache.digests(clips, "audio") == ["0" * 64]
    assert cache.digests(clips, "audio") == [None]

"""The format as docs/reference/cache-format.md says it, by a reader that shares no code
with affekt.

`data/formats/v1` was written by the first release and is read for ever; nobody may write it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest
from affekt.cache import Cache, Manifest, audio_digest, row_key, seen
from affekt.cache.care import pack, verify

from tests.support.cache_toy import expected, fill, make_clips, make_spec, row_values

FORMATS = Path(__file__).parent / "data" / "formats"
TEXTS = ["good", "schön", "bad"]
MASK = (1 << 64) - 1


def splitmix64(count: int) -> list[int]:
    state, values = 0, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        values.append((z ^ (z >> 31)) | 1)
    return values


def checksum(data: bytes, key: str, layer: int) -> int:
    data += bytes(-len(data) % 8)
    words = struct.unpack(f"<{len(data) // 8}Q", data)
    weight = splitmix64(len(words) + 2)
    total = weight[0] * int(key[:16], 16) + weight[1] * (layer + 1)
    return (total + sum(w * x for w, x in zip(weight[2:], words, strict=True))) & MASK


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def read_by_the_book(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return for each space the rows by key, checking all that the page says."""
    spaces = {}
    for space in sorted((folder / "spaces").iterdir()):
        spec = (space / "spec.json").read_bytes()
        fields = json.loads(spec)
        assert spec.decode() == json.dumps(
            fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        assert space.name.endswith("-" + sha256(spec)[:8])
        rows = spaces[fields["encoder"]["name"]] = {}
        for path in sorted((space / "shards").iterdir()):
            assert path.name == sha256(path.read_bytes())[:24] + ".h5"
            with h5py.File(path) as file:
                assert (file.attrs["kind"], file.attrs["format"]) == (b"affekt shard", 1)
                assert file.attrs["spec"] == spec
                assert file.attrs["spec_key"].decode() == sha256(spec)
                columns = [file[name][()].tobytes() for name in ("key", "id", "frames", "seconds")]
                assert file.attrs["rows_sha256"].decode() == sha256(b"".join(columns))
                values, sums = file["embeddings"], file["checksum"][()]
                assert values.shape[1:] == (fields["layers"]["count"], fields["layers"]["dim"])
                assert values.dtype == fields["store_dtype"]
                assert values.chunks[1:] == (1, fields["layers"]["dim"])
                for i, key in enumerate(file["key"].asstr()[()]):
                    for layer in range(values.shape[1]):
                        data = values[i, layer].tobytes()
                        assert int(sums[layer, i]) == checksum(data, key, layer)
                    rows.setdefault(key, values[i])
    return spaces


def build(folder: Path) -> None:
    """Write what `data/formats/v<n>` holds, with the affekt of today."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    (corpus / "a.wav").write_bytes(b"not really audio")
    cache = Cache(folder / "my.cache")
    texts = cache.create(make_spec("texts", layers=2, dim=6))
    clips = Manifest.from_rows([{"id": f"t{i}", "text": text} for i, text in enumerate(TEXTS)])
    fill(texts, clips, rows=2, canary=lambda: np.ones((1, 2, 6)), provenance={"affekt": "0.1.0"})
    texts.fail(None, "gone", "missing", "no such file")
    audio = Manifest.from_rows([{"id": "a", "path": "a.wav", "start": 0.5}], root=corpus)
    space = cache.create(
        make_spec("sounds", layers=1, dim=3, modality="audio", store_dtype="float16",
                  labels=["negative", "neutral", "positive"])
    )  # fmt: skip
    digest = audio_digest(audio.file(0).read_bytes(), 0.5)
    with space.writer() as writer:
        writer.add(row_key(space.key, "audio", digest), "a", row_values("a", 1, 3), 7, 1.25)
    cache.record([seen(audio, 0, digest, audio.file(0).stat())])
    pack(cache, folder / "packed.h5", spaces=[texts])
    shutil.rmtree(corpus)
    (cache.path / "tmp").rmdir()


def check(folder: Path) -> None:
    clips = Manifest.from_rows([{"id": f"t{i}", "text": text} for i, text in enumerate(TEXTS)])
    audio = Manifest.from_rows([{"id": "a", "path": "a.wav", "start": 0.5}])
    for cache in (Cache(folder / "my.cache", readonly=True), Cache(folder / "packed.h5")):
        texts = cache.space("texts")
        np.testing.assert_array_equal(cache.read(texts, clips), expected(texts, clips))
        assert verify(cache).ok
    cache = Cache(folder / "my.cache", readonly=True)
    texts, sounds = cache.space("texts"), cache.space("sounds")
    assert [note["code"] for note in texts.failures()] == ["missing"]
    np.testing.assert_array_equal(texts.canary(), np.ones((1, 2, 6)))
    assert sounds.spec.labels == ["negative", "neutral", "positive"]
    np.testing.assert_array_equal(  # found without the audio, by the index of clips
        cache.read(sounds, audio)[0], row_values("a", 1, 3).astype(np.float16)
    )
    by_the_book = read_by_the_book(folder / "my.cache")
    spec = (texts.folder / "spec.json").read_bytes()
    for text in TEXTS:
        digest = sha256(unicodedata.normalize("NFC", text))
        key = sha256(f"{sha256(spec)}\0text\0{digest}")
        np.testing.assert_array_equal(by_the_book["texts"][key], row_values(text, 2, 6))
    inner = sha256(f"segment\0{sha256(b'not really audio')}\0" + "0.5\0")
    key = sha256(f"{sounds.key}\0audio\0{inner}")
    assert list(by_the_book["sounds"]) == [key]


@pytest.mark.parametrize("version", sorted(path.name for path in FORMATS.iterdir()))
def test_a_cache_of_every_format_is_read_for_ever(version, tmp_path):
    shutil.copytree(FORMATS / version, tmp_path / version)  # verify leaves a memo
    check(tmp_path / version)


def test_what_is_written_today_is_what_the_page_says(tmp_path):
    build(tmp_path / "today")
    check(tmp_path / "today")


def test_a_shard_with_several_blocks_by_the_book(cache):
    space = cache.create(make_spec(layers=2, dim=3, store_dtype="float16"))
    clips = make_clips(300)
    fill(space, clips)
    [rows] = read_by_the_book(cache.path).values()
    assert len(rows) == 300
    for clip, key in zip(clips, cache.keys(space, clips), strict=True):
        np.testing.assert_array_equal(rows[key], row_values(clip.text, 2, 3).astype(np.float16))


if __name__ == "__main__":
    import sys

    build(Path(sys.argv[1]))

"""Import of embeddings whose recordings are not here: by id and path, never by a guess."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest, MissingError
from affekt.cache.care.import_export import import_space
from affekt.classify.cli import affekt
from click.testing import CliRunner

from tests.support.services import wav

RNG = np.random.default_rng(0)
ROWS = [{"id": f"u{i}", "path": f"wav/u{i}.wav", "speaker": f"s{i % 3}"} for i in range(6)]
VALUES = {row["id"]: RNG.normal(size=4).astype(np.float32) for row in ROWS}


def clips(folder, rows=ROWS):
    return Manifest.from_rows(rows, root=folder)


def test_it_has_to_be_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"where the files are, or if .* `without_audio=True`"):
        import_space(Cache(tmp_path / "c"), VALUES, clips(tmp_path), "theirs")
    texts = Manifest.from_rows([{"id": "u0", "path": "", "text": "good"}])
    with pytest.raises(InputError, match="has no path"):
        import_space(Cache(tmp_path / "c"), VALUES, texts, "theirs", "audio", without_audio=True)
    assert not Cache(tmp_path / "c").spaces()


def test_rows_are_found_by_id_and_path(tmp_path):
    cache, table = Cache(tmp_path / "c"), clips(tmp_path)
    space, absent = import_space(cache, VALUES, table, "theirs", without_audio=True)
    assert absent == []
    some = table.select(["u4", "u1"])
    found = Cache(tmp_path / "c", readonly=True).read(space.name, some)
    np.testing.assert_array_equal(found[:, 0], [VALUES["u4"], VALUES["u1"]])
    other = {name: -values[:2] for name, values in VALUES.items()}
    second, _ = import_space(cache, other, table, "second", without_audio=True)
    np.testing.assert_array_equal(cache.read(second, some)[:, 0], [other["u4"], other["u1"]])
    again, _ = import_space(cache, VALUES, table, "theirs", without_audio=True)
    assert len(again) == len(space) == 6
    renamed = clips(tmp_path, [{**ROWS[0], "path": "wav/other.wav"}])
    with pytest.raises(MissingError):
        cache.read(space, renamed)


def test_segments_of_one_recording_are_clips_of_their_own(tmp_path):
    rows = [{"id": f"u{i}", "path": "long.wav", "start": i, "end": i + 1} for i in range(3)]
    cache, table = Cache(tmp_path / "c"), clips(tmp_path, rows)
    space, _ = import_space(cache, VALUES, table, "theirs", without_audio=True)
    assert len(space) == 3
    np.testing.assert_array_equal(cache.read(space, table)[2, 0], VALUES["u2"])


def test_another_corpus_with_the_same_names_is_refused(tmp_path):
    cache = Cache(tmp_path / "c")
    import_space(cache, VALUES, clips(tmp_path), "theirs", without_audio=True)
    others = clips(tmp_path, [{**row, "speaker": "x" + row["speaker"]} for row in ROWS])
    with pytest.raises(InputError, match="from another corpus"):
        import_space(cache, VALUES, others, "mine", without_audio=True)


def test_a_recording_that_is_here_is_known_by_its_content(tmp_path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "u0.wav").write_bytes(wav(seed=1))
    cache, table = Cache(tmp_path / "c"), clips(tmp_path)
    space, _ = import_space(cache, VALUES, table, "theirs", without_audio=True)
    (tmp_path / "wav" / "u0.wav").rename(tmp_path / "wav" / "new.wav")
    moved = clips(tmp_path, [{**ROWS[0], "path": "wav/new.wav"}, ROWS[1]])
    np.testing.assert_array_equal(cache.read(space, moved)[:, 0], [VALUES["u0"], VALUES["u1"]])
    (tmp_path / "wav" / "u1.wav").write_bytes(wav(seed=2))  # perhaps not what they had
    with pytest.raises(MissingError, match="u1"):
        cache.read(space, moved)


def test_the_command(tmp_path):
    table = tmp_path / "clips.csv"
    table.write_text("id,path\n" + "".join(f"{row['id']},{row['path']}\n" for row in ROWS))
    np.savez(tmp_path / "theirs.npz", **VALUES)
    words = ["cache", "import", tmp_path / "c", tmp_path / "theirs.npz", "--manifest", table]
    words = [*map(str, words), "--name", "theirs"]
    refused = CliRunner().invoke(affekt, words)
    assert "set --without-audio" in str(refused.exception)
    done = CliRunner().invoke(affekt, [*words, "--without-audio"])
    assert done.exit_code == 0
    assert "6 rows of 6 clips" in done.output
    checked = CliRunner().invoke(affekt, ["cache", "verify", str(tmp_path / "c")])
    assert checked.exit_code == 0

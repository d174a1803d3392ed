"""affekt cache: the commands."""

from __future__ import annotations

import errno
import json
from unittest.mock import Mock

import h5py
import pytest
from affekt.cache import Cache, InputError, MissingError
from affekt.cache.care import pack
from affekt.cache.commands.cli_cache import cache as commands
from affekt.cache.shards.shard import check_shard
from click.testing import CliRunner

from tests.support.cache_toy import fill, make_clips
from tests.support.damage import first_value, flip, shards


def run(*arguments, code: int = 0) -> str:
    result = CliRunner().invoke(commands, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_commands(two, tmp_path):
    cache, clips, audio, spoken = two
    table = clips.write(clips.root / "clips.csv")
    listed = run("ls", cache.path)
    assert audio.name in listed
    assert "float16" in listed
    assert json.loads(run("ls", cache.path, "--json"))["spaces"][1]["rows"] == 15
    assert "store_dtype: float16" in run("show", cache.path, "audio")
    assert json.loads(run("show", cache.path, "--json"))[0]["key"] == audio.key
    assert "35 rows in" in run("verify", cache.path)
    assert "trusted without reading" in run("verify", cache.path, "--quick")
    assert "4 shards before, 1 after" in run("compact", cache.path, audio.name)
    out = tmp_path / "packed.h5"
    assert "bytes" in run("pack", cache.path, out, "--manifest", table, "--space", "audio-toy")
    assert audio.name in run("ls", out)
    run(
        "export",
        cache.path,
        "audio-toy",
        tmp_path / "a.npz",
        "--manifest",
        table,
        "--layers",
        "0,-1",
    )
    run(
        "export",
        cache.path,
        "audio-toy",
        tmp_path / "b.npz",
        "--manifest",
        table,
        "--layers",
        "x",
        code=2,
    )
    texts = tmp_path / "texts.npz"
    printed = run("export", cache.path, "text-toy", texts, "--manifest", table)
    assert "5 clips without text left out" in printed
    with pytest.raises(MissingError, match=r"5 of 20 clips have no text.* c0, .*Leave them out$"):
        spoken.features(-1).read(clips)
    assert "20 rows" in run(
        "import", tmp_path / "new", tmp_path / "a.npz", "--manifest", table, "--name", "theirs"
    )
    assert "shards copied" in run("merge", cache.path, tmp_path / "new", "-o", tmp_path / "merged")
    assert len(Cache(tmp_path / "merged").spaces()) == 3
    (tmp_path / "empty").mkdir()
    assert isinstance(
        CliRunner().invoke(commands, ["ls", str(tmp_path / "empty")]).exception, InputError
    )
    no_cache = CliRunner().invoke(commands, ["ls", str(table)]).exception
    assert isinstance(no_cache, InputError)
    assert "made by affekt cache pack" in str(no_cache)
    flip(shards(audio)[0], first_value(shards(audio)[0]))
    assert "damaged: spaces/audio-toy" in run("verify", cache.path, code=1)
    assert (
        json.loads(run("verify", cache.path, "--json", code=1).split("set the")[0])["ok"] is False
    )
    assert "20 rows to extract again" in run("repair", cache.path)
    assert "no damage" in run("verify", cache.path)


def test_a_damaged_packed_file_is_to_be_packed_again(space, tmp_path):
    fill(space, make_clips(3))
    out = pack(space.cache, tmp_path / "out.h5")
    with h5py.File(out) as file:
        start = file[space.name]["embeddings"].id.get_offset()
    flip(out, start)
    said = run("verify", out, code=1)
    assert f"affekt cache pack DIR {out} --overwrite" in said
    assert "repair" not in said


def test_what_cannot_be_read_is_not_called_damaged(space, monkeypatch):
    fill(space, make_clips(3))
    wordy = PermissionError(errno.EACCES, "Unable to synchronously open file (unable to ...)")
    monkeypatch.setattr(h5py, "File", Mock(side_effect=wordy))
    said = run("verify", space.cache.path, code=1)
    assert "1 not checked" in said
    assert "repair" not in said
    with pytest.raises(PermissionError, match=f"Permission denied.*{shards(space)[0].name}"):
        check_shard(shards(space)[0], space.key)


def test_a_name_that_is_nearly_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    for words in (["ls", "cach"], ["merge", "cach", "-o", "b"]):
        shown = run(*words, code=2)
        assert "Path 'cach' does not exist. Did you mean 'cache'?" in shown

"""A first recipe from what a cache holds: no audio, no encoder."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from affekt.cache import Cache, InputError, Manifest, MissingError
from affekt.cache.care.import_export import import_space
from affekt.cache.care.packing import pack
from affekt.classify.cli import affekt
from affekt.classify.experiments.first_recipe.recipe_for import write_recipe
from click.testing import CliRunner

from tests.support.cache_toy import make_spec
from tests.support.damage import flip

LABELS = ["anger", "joy", "sadness"]


@pytest.fixture
def table(tmp_path):
    lines = [f"u{i},a/u{i}.wav,text {i},{LABELS[i // 5 % 3]},s{i % 5}" for i in range(60)]
    (tmp_path / "clips.csv").write_text("id,path,text,label,speaker\n" + "\n".join(lines))
    return tmp_path / "clips.csv"


def fill(table, name, modality="audio", count=60, layers=1):
    clips = Manifest.read(table)
    rng = np.random.default_rng(len(name))
    values = {
        clip: rng.normal(LABELS.index(label), 1, (layers, 6))
        for clip, label in zip(clips.ids[:count], clips["label"], strict=False)
    }
    cache = Cache(table.parent / "my.cache")
    return import_space(cache, values, clips, name, modality, without_audio=True)[0].name


def test_a_space_of_each_modality_runs_to_its_end(table):
    fill(table, "theirs", layers=3)
    fill(table, "labse", "text")
    recipe = table.parent / "recipe.yaml"
    made = CliRunner().invoke(
        affekt, ["init", str(table), "-c", str(table.parent / "my.cache"), "-o", str(recipe)]
    )
    assert made.exit_code == 0, made.output
    assert "members  speech-lr, text-lr" in made.output or "text-lr, speech-lr" in made.output
    found = yaml.safe_load(recipe.read_text())
    assert found["encoders"] == {"text": {"space": "labse"}, "speech": {"space": "theirs"}}
    assert found["cache"] == "my.cache"
    assert "3 layers; members read the last one, and layers: probe the best" in recipe.read_text()
    for words in (["--check"], []):
        done = CliRunner().invoke(affekt, ["run", *words, str(recipe)])
        assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    assert (table.parent / "out" / "report.html").is_file()


def test_clips_that_take_no_part_need_no_row(table, tmp_path):
    fill(table, "theirs")
    with table.open("a", encoding="utf-8") as file:
        file.write("\nnew,a/new.wav,text,,s1\n")
    found = write_recipe(table, tmp_path / "recipe.yaml", cache=tmp_path / "my.cache")
    assert found.members == ["speech-lr"]
    assert "unlabelled: drop" in found.path.read_text()
    done = CliRunner().invoke(affekt, ["run", str(found.path)])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    assert "60 test clips" in done.output


def test_spaces_of_one_modality_keep_their_names(table, tmp_path):
    fill(table, "xlsr")
    fill(table, "xlsr-300m")
    first = fill(table, "wavlm")
    cache, path = table.parent / "my.cache", tmp_path / "deep" / "recipe.yaml"
    found = write_recipe(table, path, cache=cache, spaces=["xlsr", "xlsr-300m", "xlsr"])
    assert found.members == ["xlsr-lr", "xlsr-300m-lr"]
    written = yaml.safe_load(path.read_text())
    assert written["cache"] == "../my.cache"
    assert written["encoders"]["xlsr"] == {"space": "xlsr"}
    one = write_recipe(table, tmp_path / "one.yaml", cache=cache, spaces=[first])
    assert one.members == ["speech-lr"]


@pytest.mark.parametrize("name", ["no", "123", "null", "1e5", "2026-01-01", "text", "speech"])
def test_any_name_reads_back_as_it_was(table, tmp_path, name):
    for space, modality in ((name, "audio"), ("other", "audio"), ("labse", "text")):
        fill(table, space, modality)
    found = write_recipe(table, tmp_path / "recipe.yaml", cache=table.parent / "my.cache")
    written = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    spaces = {key: one["space"] for key, one in written["encoders"].items()}
    assert sorted(spaces.values()) == sorted([name, "other", "labse"])
    assert spaces[name] == name
    reads = [one[True] for one in written["members"].values()]  # YAML 1.1 takes "on" for yes
    assert reads == [*spaces]
    assert [*written["members"]] == found.members


def test_a_space_by_two_names_is_one_encoder(table, tmp_path):
    full = fill(table, "theirs")
    fill(table, "other")
    found = write_recipe(
        *(table, tmp_path / "recipe.yaml"),
        cache=table.parent / "my.cache",
        spaces=["theirs", full, "their"],
    )
    assert found.members == ["speech-lr"]


def test_what_failed_in_another_corpus_is_not_left_out(table, tmp_path):
    full = fill(table, "theirs", count=50)
    space = Cache(tmp_path / "my.cache").space(full)
    for number in range(50, 60):  # the same id, another recording
        space.fail("0" * 64, f"u{number}", "silent", "")
    with pytest.raises(InputError, match="lacks 10 of 60 clips"):
        write_recipe(table, tmp_path / "recipe.yaml", cache=tmp_path / "my.cache")


def test_a_space_in_which_every_clip_failed_is_not_used(table, tmp_path):
    space = Cache(tmp_path / "my.cache").create(make_spec("empty", modality="audio"))
    for clip in Manifest.read(table).ids:
        space.fail(None, clip, "missing", "no file")
    with pytest.raises(InputError, match="lacks 60 of 60 clips"):
        write_recipe(table, tmp_path / "recipe.yaml", cache=tmp_path / "my.cache")


def test_damage_is_said_where_clips_are_lacking(table, tmp_path):
    cache, recipe = tmp_path / "my.cache", tmp_path / "recipe.yaml"
    full = fill(table, "theirs")
    write_recipe(table, recipe, cache=cache)
    [shard] = (cache / "spaces" / full / "shards").iterdir()
    flip(shard, 5000)
    why = rf"{shard.name} is damaged; run: affekt cache repair \S*my.cache\b"
    with pytest.raises(InputError, match=rf"lacks 60 of 60 .*{why}"):
        write_recipe(table, tmp_path / "other.yaml", cache=cache)
    done = CliRunner().invoke(affekt, ["run", str(recipe)])
    assert re.search(f"no row for 60 clips .*{why}", str(done.exception))
    with pytest.raises(MissingError, match=why):
        Cache(cache).read(full, Manifest.read(table))
    (cache / "spaces" / full / "spec.json").write_text("{")
    with pytest.raises(InputError, match=f"{full} cannot be read .*not a spec"):
        write_recipe(table, tmp_path / "other.yaml", cache=cache)
    fill(table, "second")
    found = write_recipe(table, tmp_path / "other.yaml", cache=cache)
    assert any(f"{full} cannot be read" in note for note in found.notes)


def test_a_packed_cache_is_read(table, tmp_path):
    fill(table, "theirs")
    pack(Cache(tmp_path / "my.cache"), tmp_path / "my.h5")
    recipe = tmp_path / "recipe.yaml"
    write_recipe(table, recipe, cache=tmp_path / "my.h5")
    done = CliRunner().invoke(affekt, ["run", str(recipe)])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"


def test_a_space_that_lacks_clips_is_left_out_or_refused(table, tmp_path):
    cache = tmp_path / "my.cache"
    few = fill(table, "few", count=50)
    lacks = rf"{few} lacks 10 of 60 clips \(u50, u51, u52 and 7 more\)"
    for options in ({}, {"spaces": ["few"]}):
        with pytest.raises(InputError, match=f"{lacks}; embed them or import their vectors, or"):
            write_recipe(table, tmp_path / "recipe.yaml", cache=cache, **options)
    fill(table, "whole")
    found = write_recipe(table, tmp_path / "recipe.yaml", cache=cache)
    assert found.members == ["speech-lr"]
    [note] = [one for one in found.notes if "is not used" in one]
    assert re.match(lacks, note)
    texts = tmp_path / "texts.csv"
    texts.write_text("id,text,label\nx,hello,joy\ny,oh,anger\n")
    with pytest.raises(InputError, match=r"lacks 2 of 2 clips \(x, y\)"):
        write_recipe(texts, tmp_path / "other.yaml", cache=cache)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spaces": ["theirs"]}, "`spaces` without `cache`; give the cache that holds theirs"),
        ({"cache": "my.cach"}, r"there is no cache .*my\.cach\. Did you mean 'my.cache'"),
        ({"cache": "my.cache", "spaces": ["their5"]}, "has no space 'their5'; it has theirs-"),
        ({"cache": "empty"}, "holds no embeddings"),
    ],
)
def test_what_cannot_be_read_is_refused(table, tmp_path, options, said):
    fill(table, "theirs")
    (tmp_path / "empty").mkdir()
    options = {**options, **({"cache": tmp_path / options["cache"]} if "cache" in options else {})}
    with pytest.raises(InputError, match=said):
        write_recipe(table, tmp_path / "recipe.yaml", **options)
    assert not (tmp_path / "recipe.yaml").exists()

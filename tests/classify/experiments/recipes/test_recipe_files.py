"""The recipes in the repository, on real clips where they are available."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.classify import HEADS, Predictions, Recipe, run

from tests.support.written_reports import found_in

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted({*(ROOT / "recipes").glob("*.yaml")} - {ROOT / "recipes" / "ray-cluster.yaml"})
#: what makes the torch heads quick; the recipe itself has their defaults
QUICK = {
    "{head: mlp, ": "{head: mlp, max_epochs: 3, ",
    "{head: patch, ": "{head: patch, max_epochs: 1, n_blocks: 1, ",
    "{head: concat, ": "{head: concat, max_epochs: 3, ",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_recipe_can_be_read_and_names_real_heads(path):
    recipe = Recipe.read(path)
    for member in recipe.members.values():
        assert not member.head or member.head in HEADS


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory) -> Path:
    """recipes/real-speech.yaml on every sixth clip."""
    folder = tmp_path_factory.mktemp("real")
    clips = Manifest.read(shared_data / "speech_valence.csv")
    clips.select(np.arange(0, len(clips), 6)).write(folder / "clips.csv")
    text = (ROOT / "recipes" / "real-speech.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "manifest: ../../shared/data/speech_valence.csv",
        f"manifest: clips.csv\nroot: {shared_data}",
    )
    for old, new in QUICK.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    assert run(folder / "recipe.yaml").exit_code == 0
    return folder


def data(folder: Path, name: str = "comparison.json") -> dict:
    return json.loads((folder / "real-speech/out" / name).read_text(encoding="utf-8"))


def test_members_and_ensembles_are_compared_overall_and_by_language(real):
    shared, wide = data(real), data(real, "all-clips/comparison.json")
    members = {"speech-lr", "speech-mlp", "speech-patch", "text-lr", "both"}
    assert set(shared["systems"]) == members | {"mean", "max"}
    assert set(shared["by"]["language"]["values"]) == {"deu", "eng", "pol"}
    assert set(wide["by"]["language"]["values"]) == {"deu", "eng", "pol", "urd"}
    assert members - {"text-lr"} < set(wide["systems"])
    assert shared["run"]["coverage"]["any_member"]["languages"]["urd"] > 0
    assert shared["systems"]["speech-lr"]["test"]["uar"]["value"] > 0.4


def test_no_real_speaker_is_on_two_sides(real):
    clips = Manifest.read(real / "clips.csv")
    speaker = dict(zip(clips.ids, clips["speaker"], strict=True))
    sides = defaultdict(set)
    for line in (real / "real-speech/out/split.csv").read_text().splitlines()[1:]:
        name, side = line.split(",")
        sides[speaker[name]].add(side)
    assert all(len(side) == 1 for side in sides.values())


def test_the_same_numbers_when_everything_is_deleted_and_run_again(real, tmp_path):
    for name in ("clips.csv", "recipe.yaml"):
        shutil.copy(real / name, tmp_path / name)
    run(tmp_path / "recipe.yaml")
    for name in ("", "all-clips"):
        here, there = (folder / "real-speech/out" / name for folder in (real, tmp_path))
        assert found_in(here) == found_in(there)
    for member in (real / "real-speech/out/members").iterdir():
        again = tmp_path / "real-speech/out/members" / member.name / "pred.csv"
        assert Predictions.read(again) == Predictions.read(member / "pred.csv")

"""Clips that cannot be embedded are left out by name; specs of the first release are replayed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.cache.errors import SpecError
from affekt.classify.cli import affekt
from affekt.classify.models.new_clips.own_encoders import open_encoder
from affekt.extract import Encoder, extract
from click.testing import CliRunner


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """24 clips of three labels and six speakers, and five that cannot be read."""
    folder = tmp_path_factory.mktemp("quarantined")
    rows = ["id,path,label,speaker"]
    for i in range(24):
        time = np.arange(8000) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (150 + 90 * (i % 3)) * time)
        noise = np.random.default_rng(i).normal(0, 0.01, len(time))
        soundfile.write(folder / f"{i}.flac", tone + noise, 16_000)
        rows.append(f"{i},{i}.flac,{('negative', 'neutral', 'positive')[i % 3]},s{i // 4}")
    (folder / "page.wav").write_bytes(b"<html>")
    (folder / "loop.wav").symlink_to("loop.wav")
    for i, name in enumerate(("page.wav", "loop.wav", "d" * 300, ".", "gone.wav")):
        rows.append(f"bad{i},{name},neutral,s{i}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    clips = Manifest.read(folder / "clips.csv")
    extract(clips, Cache(folder / "c"), Encoder("spectral"))
    return folder / "clips.csv"


@pytest.mark.parametrize("command", ["train", "probe"])
def test_training_leaves_out_what_could_not_be_embedded(table, tmp_path, command):
    words = [command, str(table), "--cache", str(table.parent / "c"), "--space", "spectral"]
    words += ["--task", "valence", "--test-size", "0.3", "--json"]
    if command == "train":
        words += ["--dev-size", "0.3", "--head", "logistic", "-o", str(tmp_path / "m")]
    result = CliRunner().invoke(affekt, words)
    assert result.exit_code == 3, result.output
    assert "5 clips could not be embedded and are left out: 2 bad_path, 1 missing" in result.stderr
    codes = {"bad0": "not_audio", "bad1": "bad_path", "bad2": "bad_path", "bad3": "not_a_file"}
    assert json.loads(result.stdout)["quarantined"] == codes | {"bad4": "missing"}


def test_what_was_never_extracted_is_still_an_error(table, tmp_path):
    one = table.parent / "one-more.csv"
    soundfile.write(table.parent / "new.wav", np.sin(np.arange(8000) / 7), 16_000)
    one.write_text(table.read_text() + "new,new.wav,neutral,s1\n")
    words = ["train", str(one), "--cache", str(table.parent / "c"), "--space", "spectral"]
    words += ["--task", "valence", "--head", "logistic", "-o", str(tmp_path / "m")]
    result = CliRunner().invoke(affekt, words)
    assert result.exit_code == 1
    assert "new" in str(result.exception)
    assert not (tmp_path / "m").exists()


def test_a_spec_of_the_first_release_is_replayed():
    """It names no decoder; what is sound has the same samples."""
    now = Encoder("spectral").spec
    rules = {k: v for k, v in now.fields["input"].items() if k != "decoder"}
    old = now.replace(input=rules)
    assert old.key != now.key  # rows of both never mix in one space
    assert open_encoder(old).spec == old
    assert open_encoder(now).spec == now
    accepting = Encoder("spectral", damage="accept")
    assert open_encoder(accepting.spec).damage == "accept"


def test_a_model_of_another_version_of_an_encoder_says_what_to_do():
    now = Encoder("ngram").spec
    old = now.replace(encoder=now.fields["encoder"] | {"version": 0})
    with pytest.raises(
        SpecError, match=r"version: 0 here, .*\n.* train the model again .* or pred"
    ):
        open_encoder(old)

"""Clips whose label the task does not use are never left out without a word."""

from __future__ import annotations

from affekt.cache import Cache, Manifest
from affekt.classify import probe, run
from affekt.classify.experiments.members.train import train_model
from affekt.classify.experiments.preview import preview
from affekt.extract import Encoder, extract

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
members: {lr: {head: logistic, on: text}}
ensembles: []
compare: {n_resamples: 100, learning_curve: false}
report: out
"""
SAID = "8 clips are left out by the task: surprise 8"


def test_a_check_a_run_a_training_and_a_probe_say_which_clips_the_task_leaves_out(tmp_path):
    rows = [
        {"id": f"{s}{label}", "text": f"{label} {s}", "label": label, "speaker": f"s{s}"}
        for s in range(8)
        for label in ("anger", "neutral", "happiness", "surprise")
    ]
    clips = Manifest.from_rows(rows)
    clips.write(tmp_path / "clips.csv")
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    said: list[str] = []
    run(tmp_path / "r.yaml", progress=said.append)
    assert SAID in said
    assert preview(tmp_path / "r.yaml").notes[0] == SAID
    space = extract(clips, Cache(tmp_path / "my.cache"), Encoder("ngram"))
    said.clear()
    options = {"spaces": [space.name], "head": "logistic", "progress": said.append}
    train_model(clips, tmp_path / "my.cache", "valence", **options)
    assert SAID in said
    said.clear()
    probe(clips, space, "valence", C=[1.0], progress=said.append)
    assert SAID in said

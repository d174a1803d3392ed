"""Cached = raw within 1e-6, for every head, fusion and ensemble, on real clips of every format."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import HEADS, Predictions, Task, run
from affekt.classify.ensembles.fitted_rules import STRATEGIES
from affekt.classify.heads import MultiTaskHead, RegressionHead
from affekt.classify.serving.loading import open_system
from affekt.extract import Encoder, extract

VALENCE = Task.named("valence")
ENDINGS = ("wav", "flac", "ogg", "mp3")
RECIPE = """\
manifest: clips.csv
task: valence
encoders: {speech: spectral, text: ngram}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.25}
members:
  logistic: {head: logistic, on: speech}
  lda: {head: lda, on: speech}
  mlp: {head: mlp, on: speech, hidden: [[16]], max_epochs: 3}
  patch: {head: patch, on: speech, d_model: 32, feedforward: 64, max_epochs: 2}
  concat: {head: concat, on: [speech, text], hidden: [[16]], max_epochs: 3}
  mean fusion: {head: mean, on: [speech, text], hidden: [[16]], dim: 16, max_epochs: 3}
  cross-attention: {head: cross-attention, on: [speech, text], d_model: 32, max_epochs: 2}
ensembles: [mean, max, weighted, geometric, median, vote, rank, stacking, greedy]
compare: {calibrate: CALIBRATE, n_resamples: 100, learning_curve: false, audit_audio: false}
"""
MEMBERS = ("logistic", "lda", "mlp", "patch", "concat", "mean fusion", "cross-attention")


@pytest.fixture(scope="module")
def corpus(shared_data, tmp_path_factory) -> Path:
    """Real clips in the format that they came in, and one in every format, mono and stereo."""
    folder = tmp_path_factory.mktemp("real")
    clips = Manifest.read(shared_data / "speech_valence.csv")
    result = np.array([bool(text.strip()) for text in clips["text"]])
    endings = np.array([Path(path).suffix[1:] for path in clips["path"]])
    rng = np.random.default_rng(0)
    chosen = []
    for ending in ENDINGS:
        here = np.flatnonzero(result & (endings == ending))
        chosen += rng.choice(here, min(18, len(here)), replace=False).tolist()
    clips = clips.select(np.array(sorted(chosen)))
    for i in range(len(clips)):
        place = folder / clips["path"][i]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clips.file(i), place)
    clips.write(folder / "clips.csv")
    samples, rate = soundfile.read(clips.file(0), dtype="float32", always_2d=True)
    samples = samples[:, 0]
    for ending in ENDINGS:
        other = np.roll(samples, 160) * 0.6
        soundfile.write(folder / f"mono.{ending}", samples, rate)
        soundfile.write(folder / f"stereo.{ending}", np.stack([samples, other], 1), rate)
    for calibrate in ("temperature", "vector", "isotonic"):
        text = RECIPE.replace("CALIBRATE", calibrate) + f"report: {calibrate}\n"
        # members are the same whatever the calibration is
        if (folder / "temperature").exists():
            shutil.copytree(folder / "temperature/members", folder / calibrate / "members")
        (folder / f"{calibrate}.yaml").write_text(text, encoding="utf-8")
        assert run(folder / f"{calibrate}.yaml").exit_code == 0
    return folder


@pytest.fixture(scope="module")
def clips(corpus) -> Manifest:
    """A few of each format as they came, and the eight variants, all with a text."""
    given = Manifest.read(corpus / "clips.csv")
    endings = np.array([Path(path).suffix[1:] for path in given["path"]])
    rows = [
        {"id": given.ids[i], "path": given["path"][i], "text": given["text"][i]}
        for ending in ENDINGS
        for i in np.flatnonzero(endings == ending)[:1]
    ]
    rows += [
        {"id": f"{kind}-{ending}", "path": f"{kind}.{ending}", "text": given["text"][0]}
        for kind in ("mono", "stereo")
        for ending in ENDINGS
    ]
    return Manifest.from_rows(rows, root=corpus)


@pytest.fixture(scope="module")
def one_by_one(corpus, clips) -> Cache:
    """Every clip embedded from its file, alone."""
    cache = Cache(corpus / "raw.cache")
    system = open_system(corpus / "temperature", system="concat")
    for clip in clips.ids:
        assert system.predict(clips.select([clip]), cache).failed == {}
    return cache


def test_every_head_and_every_strategy_is_here():
    heads = {
        line.split("head: ")[1].split(",")[0] for line in RECIPE.splitlines() if "head:" in line
    }
    assert heads == set(HEADS)
    assert all(name in RECIPE.split("ensembles:")[1] for name in STRATEGIES)


def test_the_formats_are_what_they_say(corpus, clips):
    found = {
        (soundfile.info(clips.file(i)).format, soundfile.info(clips.file(i)).channels)
        for i in range(len(clips))
    }
    assert found >= {(f, c) for f in ("WAV", "FLAC", "OGG", "MP3") for c in (1, 2)}


@pytest.mark.parametrize("system", [*MEMBERS, *STRATEGIES])
def test_cached_is_raw(system, corpus, clips, one_by_one):
    """All at once from one cache, and each alone from its file."""
    cache = Cache(corpus / "my.cache")
    for name in ("spectral", "ngram"):
        extract(clips, cache, Encoder(name))
    replayed = open_system(corpus / "temperature", system=system)
    together = replayed.predict(clips, cache).predictions
    assert together is not None
    for row, clip in enumerate(clips.ids):
        alone = replayed.predict(clips.select([clip]), one_by_one).predictions
        assert alone is not None
        np.testing.assert_allclose(alone.proba[0], together.proba[row], atol=1e-6, err_msg=clip)


@pytest.mark.parametrize("kind", [RegressionHead, MultiTaskHead])
def test_cached_is_raw_for_heads_of_other_targets(kind, corpus, clips, one_by_one):
    cache = Cache(corpus / "my.cache")
    extract(clips, cache, Encoder("spectral"))
    together, alone = (
        held.read("spectral", clips, layers=-1).astype(np.float64) for held in (cache, one_by_one)
    )
    mean, scale = together.mean(axis=0), together.std(axis=0) + 1e-9
    targets = np.random.default_rng(0).standard_normal((len(clips), 2))
    y = targets if kind is RegressionHead else np.where(targets > 0, "high", "low")
    head = kind(hidden=(16,), max_epochs=3, random_state=0).fit((together - mean) / scale, y)
    ask = head.predict if kind is RegressionHead else head.predict_proba
    found, expected = (np.asarray(ask((values - mean) / scale)) for values in (alone, together))
    assert len(clips) in found.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("system", "calibrate"),
    [*((name, "temperature") for name in STRATEGIES), ("mean", "vector"), ("stacking", "isotonic")],
)
def test_a_run_predicts_what_it_was_compared_with(system, calibrate, corpus):
    """Test labels give confusion and NLL; both must come out as the report has them."""
    from affekt.classify import Comparison
    from affekt.classify.metrics import measures as metrics

    data = Comparison.read(corpus / calibrate).data
    truth = Manifest.read(corpus / "clips.csv")
    ids = Predictions.read(corpus / calibrate / "members/concat/pred.csv").ids
    answer = open_system(corpus / calibrate, system=system).predict(
        truth.select(ids), Cache(corpus / "my.cache")
    )
    assert answer.predictions is not None
    codes = metrics.codes(list(truth.select(ids)["label"]), VALENCE.labels)
    result = data["systems"][system]["test"]
    matrix = metrics.confusion_of_codes(codes, answer.predictions.codes, 3)
    assert matrix.tolist() == result["confusion"]
    nll = metrics.nll(codes, answer.predictions.reorder(VALENCE.labels).proba)
    assert nll == pytest.approx(result["nll"]["value"], abs=1e-6)

"""Published checkpoints by command: predicted, imported, and refused with what is missing."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - makes the scaler that has to be converted
import shutil

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from affekt.cache import InputError
from affekt.classify import load_model, load_umuteam, load_vocametrix, open_system
from affekt.classify.cli import affekt
from affekt.classify.models.published import published
from affekt.extract import Encoder
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from sklearn.preprocessing import StandardScaler

from tests.support.encoder_models import saved, tone
from tests.support.umuteam_models import DIM, ES, expected, text_vector, write_speech, write_text
from tests.support.vocametrix_models import DEFAULTS, SMALL, tensors, write

TEXT = "¡Qué alegría verte!"
SETTINGS = {**DEFAULTS, "nhead": 4}
SIZES = {**SMALL, "width": 32}


def call(*words):
    done = CliRunner().invoke(affekt, [str(word) for word in words])
    if isinstance(done.exception, InputError):  # main() prints it and leaves with 2
        return 2, str(done.exception), ""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def scores(*words, code=0):
    """The probabilities that `affekt predict ... --json` prints for one clip."""
    found, out, err = call("predict", *words, "--json")
    assert found == code, out + err
    (row,) = json.loads(out)
    return row["scores"]


def same(found, proba, labels, atol=1e-6):
    np.testing.assert_allclose([found[label] for label in labels], proba, atol=atol)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An XLSR and a BERT of one size, a recording, and a valence folder with its pickle."""
    root = tmp_path_factory.mktemp("published")
    saved("xlsr", root / "xlsr")
    saved("bert", root / "bert")
    soundfile.write(root / "speech.wav", tone(20000), 16000, subtype="FLOAT")
    scaler = StandardScaler().fit(np.random.default_rng(3).normal(0, 0.5, (60, 32)))
    folder = write(root / "valence", tensors(**SIZES), SETTINGS)
    (folder / "emotion_classifier_scaler.pkl").write_bytes(pickle.dumps(scaler))
    code, _, _ = call(
        "convert-scaler", folder / "emotion_classifier_scaler.pkl", "--i-trust-this-file"
    )
    assert code == 0
    return root


@pytest.fixture(scope="module")
def samples(place):
    return soundfile.read(place / "speech.wav", dtype="float32")[0]


def embedded(folder, samples):
    """The last layer of an encoder, mean over time, ``(1, width)``, by transformers alone."""
    extractor = tf.AutoFeatureExtractor.from_pretrained(folder)
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        inputs = extractor(samples, sampling_rate=16000, return_tensors="pt")
        return model(**inputs).last_hidden_state.mean(1).numpy()


def test_valence_on_a_recording_is_one_command(place, samples):
    """The card's `python inference.py speech.wav`."""
    valence = load_vocametrix(place / "valence")
    (wanted,) = valence.predict_proba(embedded(place / "xlsr", samples))
    words = (place / "speech.wav", "--encoder", place / "xlsr")
    same(scores(place / "valence", *words), wanted, valence.labels)
    found = valence.predict(place / "speech.wav", encoder=place / "xlsr")
    assert found.labels == ("negative", "neutral", "positive")
    np.testing.assert_allclose(found.proba[0], wanted, atol=1e-6)
    with load_model(place / "valence", encoders=[place / "xlsr"]) as model:
        for given in (place / "speech.wav", (place / "speech.wav").read_bytes()):
            np.testing.assert_allclose(model.predict(given).proba[0], wanted, atol=1e-6)
    assert call("predict", place / "valence", *words, "-o", place / "pred.csv")[0] == 0
    assert (place / "pred.csv").read_text().startswith("id,label,negative,neutral,positive")


def test_an_imported_valence_head_gives_the_same_probabilities(place, samples, tmp_path):
    words = (place / "speech.wav", "--encoder", place / "xlsr")
    before = scores(place / "valence", *words)
    raw = tmp_path / "raw"  # as published: the scaler is a pickle
    shutil.copytree(place / "valence", raw)
    (raw / "scaler.safetensors").unlink()
    code, said, _ = call("predict", raw, *words)
    assert code == 2
    assert "affekt convert-scaler" in said
    assert "--i-trust-this-file" in said
    target = tmp_path / "model"
    options = ("-o", target, "--encoder", place / "xlsr")
    code, said, _ = call("import-model", raw, *options)
    assert code == 2
    assert not target.exists()
    code, said, err = call("import-model", raw, *options, "--i-trust-this-file")
    assert code == 0, said + err
    assert "patch head on xlsr" in said
    assert not (raw / "scaler.safetensors").exists()
    after = scores(target, *words)
    assert before.keys() == after.keys()
    same(after, list(before.values()), list(before))
    model = load_model(target)
    assert model.task.name == "valence-vocametrix"
    assert model.canaries[0] is not None
    names = {path.name for path in target.iterdir()}
    assert names == {"config.json", "model.safetensors", "encoders.json"}
    same(scores(target, place / "speech.wav"), list(after.values()), list(after), atol=0)


@pytest.mark.parametrize("cls_position", [True, False])
@pytest.mark.parametrize("norms", [(), ("model.encoder.norm",), ("head.0",)])
def test_every_variant_of_the_valence_head_can_be_imported(place, tmp_path, norms, cls_position):
    names = ("embed", "cls", "pos_embed", "head.1", "head.4")
    state = tensors(
        **SIZES, stem="model.encoder.", names=names, norms=norms, cls_position=cls_position
    )
    folder = write(tmp_path / "v", state, {**SETTINGS, "head_activation": "gelu"})
    valence = load_vocametrix(folder, scaler=False, input_dim=32)
    X = np.random.default_rng(0).normal(0, 1, (70, 32)).astype("f4")
    head = valence.as_head()
    order = [list(head.classes_).index(label) for label in valence.labels]
    np.testing.assert_allclose(head.predict_proba(X)[:, order], valence.predict_proba(X), atol=1e-6)
    again = type(head).from_state(*head.get_state())
    assert np.array_equal(again.predict_proba(X), head.predict_proba(X))


def test_what_the_valence_folder_does_not_say_is_named_with_its_option(place, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(place / "valence", folder)
    (folder / "config.json").unlink()
    words = (place / "speech.wav", "--encoder", place / "xlsr")
    code, said, _ = call("predict", folder, *words)
    command = f"affekt import-model {folder} --nhead 8 --activation relu --norm-last -o MODEL"
    assert code == 2
    assert command in said
    options = ("--nhead", 4, "--activation", "relu", "--norm-last", "--encoder", place / "xlsr")
    assert call("import-model", folder, *options, "-o", tmp_path / "m")[0] == 0
    same(
        scores(tmp_path / "m", *words),
        list(scores(place / "valence", *words).values()),
        list(scores(place / "valence", *words)),
    )
    for wrong, named in (
        (("--mode", "mean"), "--mode: the valence head has no modes"),
        (("--no-scaler", "--i-trust-this-file"), "choose one"),
        (("--labels", "a,b", *options[:5]), "3 classes; the labels are a, b"),
        (("--encoder", place / "bert", *options[:5]), "`modality='audio'` does not fit BERT"),
    ):
        code, said, _ = call("import-model", folder, *wrong, "-o", tmp_path / "n")
        assert (code, named in said) == (2, True), said
    code, said, _ = call("predict", place / "valence", place / "speech.wav")
    assert code == 2
    assert "facebook/wav2vec2-large-xlsr-53" in said
    assert "--encoder FOLDER" in said
    wide = saved("xlsr", tmp_path / "wide", hidden_size=36, num_attention_heads=4)
    code, said, _ = call("predict", place / "valence", place / "speech.wav", "--encoder", wide)
    assert code == 2
    assert "takes 32 numbers per clip; the encoder wide-mean (36) gives 36" in said


@pytest.mark.parametrize("mode", ["audio", "mean", "concat", "multihead"])
def test_umuteam_modes(place, samples, tmp_path, mode):
    """Against the toolkit's equations; then imported, and again."""
    folder = write_speech(tmp_path / mode, mode)
    words = text_vector(place / "bert", TEXT)
    (wanted,) = np.atleast_2d(expected(folder, mode, samples, words))
    bert = () if mode == "audio" else ("--encoder", place / "bert")
    clip = (place / "speech.wav", "--text", TEXT)
    if mode in ("audio", "mean"):
        code, said, _ = call("predict", folder, *clip, *bert)
        assert code == 2
        assert f"affekt import-model {folder} --mode audio -o MODEL" in said
        card = (
            f"---\nmodel-index:\n- name: UMUTeam/w2v-bert-{'beto-mean-' if bert else ''}emotion-es"
        )
        (folder / "README.md").write_text(f"{card}\n---\n")
    before = scores(folder, *clip, *bert)
    assert tuple(sorted(before)) == ES
    same(before, wanted, ES)
    assert call("import-model", folder, *bert, "-o", tmp_path / "m")[0] == 0
    after = scores(tmp_path / "m", *clip)
    same(after, list(before.values()), list(before))
    assert load_model(tmp_path / "m").task.name == "emotion6"
    one = load_umuteam(folder, mode, "es", bert=str(place / "bert")).scores(samples, TEXT)
    same(before, one, ES)


def test_a_joint_mode_without_a_text_says_so(place, tmp_path):
    folder = write_speech(tmp_path / "m", "concat")
    words = (folder, place / "speech.wav", "--encoder", place / "bert")
    code, _, err = call("predict", *words)
    assert code == 3
    assert "no text" in err
    assert "--transcribe" in err


def test_weighted_layers(place, samples, tmp_path):
    folder = write_speech(tmp_path / "m", "audio", weighted=True)
    model = published(folder, mode="audio")
    found = model.model.predict(place / "speech.wav")
    np.testing.assert_allclose(found.proba[0], expected(folder, "audio", samples, None), atol=1e-6)


def test_umuteam_text_mode(place, tmp_path):
    folder = write_text(tmp_path / "m")
    wanted = load_umuteam(folder, "text", "es").scores(text=TEXT)
    same(scores(folder, "--text", TEXT), wanted, ES)
    with load_model(folder) as opened:
        found = opened.predict(text=TEXT)
    same(dict(zip(found.labels, found.proba[0], strict=True)), wanted, ES)
    assert call("import-model", folder, "-o", tmp_path / "out")[0] == 0
    same(scores(tmp_path / "out", "--text", TEXT), wanted, ES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("xlsr", tf.Wav2Vec2ForSequenceClassification),
        ("hubert-base", tf.HubertForSequenceClassification),
        ("wavlm-base", tf.WavLMForSequenceClassification),
        ("unispeech-sat", tf.UniSpeechSatForSequenceClassification),
        ("data2vec-audio", tf.Data2VecAudioForSequenceClassification),
        ("wav2vec2-bert", tf.Wav2Vec2BertForSequenceClassification),
        ("bert", tf.BertForSequenceClassification),
        ("roberta", tf.RobertaForSequenceClassification),
        ("xlm-roberta", tf.XLMRobertaForSequenceClassification),
        ("distilbert", tf.DistilBertForSequenceClassification),
        ("electra", tf.ElectraForSequenceClassification),
    ],
)
def test_fine_tuned_classifiers_of_transformers(place, samples, tmp_path, name, kind):
    """As S5's members are: the folder predicts, and equals the class of transformers."""
    weighted = {"use_weighted_layer_sum": True} if name == "wavlm-base" else {}
    labels = {0: "joy", 1: "anger", 2: "neutral"}
    folder = saved(name, tmp_path / name, kind=kind, num_labels=3, id2label=labels, **weighted)
    model = published(folder)
    own = Encoder(str(folder), classifier=True, device="cpu")
    audio = own.modality == "audio"
    (wanted,) = own.embed([samples if audio else TEXT])
    clip = place / "speech.wav" if audio else []
    text = None if audio else TEXT
    found = model.model.predict(clip, text=text)
    assert found.labels == ("joy", "anger", "neutral")
    np.testing.assert_allclose(found.proba[0], wanted.values[0], atol=1e-6)


def test_doubts_are_refused(place, tmp_path):
    silent = write_speech(tmp_path / "silent", "concat", [f"LABEL_{i}" for i in range(6)])
    with pytest.raises(
        InputError, match=f"affekt import-model .* --labels {','.join(ES)} -o MODEL"
    ):
        published(silent)
    options = {"encoders": [place / "bert"], "labels": list(ES)}
    with pytest.raises(InputError, match=r"mode 'audio'; its tensors are those of concat"):
        published(silent, mode="audio", **options)
    with pytest.raises(InputError, match="nhead: belongs to the Vocametrix"):
        published(silent, nhead=8)
    assert published(silent, **options).model.task.labels == ES
    audio = write_speech(tmp_path / "audio", "audio")
    with pytest.raises(InputError, match="holds its encoder itself"):
        published(audio, mode="audio", encoders=[place / "bert"])
    with pytest.raises(InputError, match=r"labels a,b; its configuration says anger"):
        published(audio, mode="audio", labels=["a", "b"])
    state = load_file(audio / "model.safetensors")
    for change, named in (
        ({"extra": torch.zeros(2)}, "left over: extra"),
        (
            {"classifier.out_proj.bias": torch.zeros(7)},
            r"out_proj\.bias is \(7,\), expected \(6,\)",
        ),
        ({"projector.bias": torch.zeros(DIM + 1)}, r"projector\.bias is"),
    ):
        save_file({**state, **change}, audio / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=named):
            published(audio, mode="audio")
    code, said, _ = call("import-model", place, "-o", tmp_path / "m")
    assert code == 2
    assert "expected a folder or Hub id of the Vocametrix valence head" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    code, said, _ = call("import-model", audio, "-o", tmp_path / "full")
    assert code == 2
    assert "holds no model" in said


def test_a_run_or_model_is_not_taken_for_a_checkpoint(place, tmp_path):
    target = tmp_path / "m"
    found = published(place / "valence", encoders=[place / "xlsr"])
    found.model.save_pretrained(target)
    assert published(target) is None
    assert published(place / "xlsr") is None  # an encoder without a head
    (model,) = open_system(target).models.values()
    assert model.task.name == "valence-vocametrix"

"""Every audio encoder class of transformers gives the library's own hidden states, or says why not.

The tables of docs/guide/encoders.md are made here: `AFFEKT_WRITE=1 pytest <this file>` writes them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache.errors import InputError
from affekt.extract.encoders import FAMILIES, audio_towers, open_backend
from affekt.extract.encoders.audio_towers import REFUSED, TOWERS
from transformers.models.auto import feature_extraction_auto

from tests.support.audio_towers import save_tower, whole_model
from tests.support.encoder_models import distance, model_folder, tone

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the library, about its own deprecations
]

# of a clip of 1.3 s, by hand: where the tower is, its arguments, frames of the first and last layer
_PLAIN = {"input_features": "input_features"}
_MASKED = {**_PLAIN, "attention_mask": "attention_mask"}
_OWN_MASK = {**_PLAIN, "input_features_mask": "attention_mask"}
_WAVE = {"input_values": "input_values"}
ORACLE = {
    "qwen2_audio": ("model.audio_tower", {}, 65, 32),
    "qwen3_asr": ("model.audio_tower", {**_PLAIN, "input_features_mask": "attention_mask"}, 17, 17),
    "qwen2_5_omni_audio_encoder": ("", {}, 65, 32),
    "qwen3_omni_moe_audio_encoder": ("", {}, 17, 17),
    "audioflamingo3": ("model.audio_tower", _OWN_MASK, 65, 32),
    "voxtral": ("model.audio_tower", _PLAIN, 65, 65),
    "voxtral_realtime_encoder": ("", _PLAIN, 65, 65),
    "glmasr_encoder": ("", _PLAIN, 65, 65),
    "moss_transcribe_diarize_audio": ("", _PLAIN, 65, 65),
    "parakeet_ctc": ("encoder", _MASKED, 17, 17),
    "nemotron_asr_streaming_encoder": ("", _MASKED, 18, 18),
    "nemotron3_diarization_audio": ("", _MASKED, 17, 17),
    "pe_audio_encoder": ("", _WAVE, 33, 33),
    "lasr_ctc": ("encoder", _PLAIN, 29, 29),
    "moonshine": ("model.encoder", _WAVE, 52, 52),
    "moonshine_streaming_encoder": ("", {**_WAVE, "attention_mask": "attention_mask"}, 65, 65),
    "seamless_m4t": ("speech_encoder", _MASKED, 64, 64),
    "seamless_m4t_v2": ("speech_encoder", _MASKED, 64, 64),
    "speecht5": ("speecht5.encoder", _WAVE, 64, 64),
    "speech_to_text": ("model.encoder", _MASKED, 32, 32),
    "gemma3n_audio": ("", {}, 32, 16),
    "gemma4_audio": ("", {**_PLAIN, "attention_mask": "input_features_mask"}, 33, 33),
    "phi4_multimodal_audio": ("", {"hidden_states": "audio_input_features"}, 16, 16),
    "audio-spectrogram-transformer": ("audio_spectrogram_transformer", _WAVE, 156, 156),
    "clap": ("audio_model", {**_PLAIN, "is_longer": "is_longer"}, 64, 64),
    "dac": ("encoder", {"hidden_state": "input_values"}, 325, 325),
    "encodec": ("encoder", {"hidden_states": "input_values"}, 98, 98),
    "mimi": ("encoder", _WAVE, 17, 17),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    base = tmp_path_factory.mktemp("towers")

    def folder(name):
        if name not in made:
            made[name] = save_tower(name, base / name)
        return made[name]

    return folder


def library_states(name, folder, clip):
    """What a user writes: the extractor, the tower inside the model, its hidden states."""
    path, arguments, _first, _last = ORACLE[name]
    extractor = tf.AutoFeatureExtractor.from_pretrained(folder)
    asked = type(extractor).__name__ in _ASKED or name == "moonshine_streaming_encoder"
    options = {"return_attention_mask": True} if asked else {}
    made = extractor([clip], sampling_rate=extractor.sampling_rate, return_tensors="pt", **options)
    model = whole_model(name, folder)
    tower = model.get_submodule(path)
    inputs = {key: torch.as_tensor(np.asarray(made[value])) for key, value in arguments.items()}
    if name == "gemma3n_audio":
        inputs = {
            "audio_mel": made["input_features"],
            "audio_mel_mask": ~made["input_features_mask"].bool(),
        }
    if name.startswith(("qwen2_5", "qwen3_omni")):
        mask = made["attention_mask"]
        inputs = {
            "input_features": made["input_features"].permute(0, 2, 1)[mask.bool()].T,
            "feature_lens": mask.sum(-1),
        }
    if name == "phi4_multimodal_audio":
        inputs["mask"] = None
    seen, hooks = [], []
    if name == "qwen2_audio":
        return _inside_qwen2_audio(model, made)
    if name in _UNCOLLECTED:
        hooks = [
            block.register_forward_pre_hook(lambda _block, args: seen.append(args[0].clone()))
            for block in tower.get_submodule(_UNCOLLECTED[name])
        ]
    with torch.inference_mode():
        if name in ("dac", "encodec", "mimi", "clap") or hooks:
            output = tower(**inputs)
        else:
            output = tower(**inputs, output_hidden_states=True)
            seen = list(output.hidden_states[:-1])
    last = getattr(output, "last_hidden_state", getattr(output, "latents", output))
    if name.startswith("seamless"):  # before the adapter, which makes other frames
        last = _seamless_last(tower, inputs)
    if name.startswith(("qwen2_5", "qwen3_omni")):  # before the projection to another width
        last = _before_projection(tower, inputs)
    if last.dim() > 3 or name in ("dac", "encodec", "mimi"):
        last = last.flatten(2).transpose(1, 2)
    return [one[0] if one.dim() == 3 else one for one in (*seen, last)]


# blocks of towers whose hidden states the library does not collect
_UNCOLLECTED = {"phi4_multimodal_audio": "encoders", "gemma3n_audio": "conformer"}
_ASKED = ("WhisperFeatureExtractor", "Qwen3ASRFeatureExtractor")


def _inside_qwen2_audio(model, made):
    """The tower as the whole model calls it, with a text of 32 audio tokens."""
    seen, tower = [], model.model.audio_tower
    for block in tower.layers:
        block.register_forward_pre_hook(lambda _block, args: seen.append(args[0][0].clone()))
    tower.register_forward_hook(lambda *hooked: seen.append(hooked[2].last_hidden_state[0]))
    with torch.inference_mode():
        model(
            input_ids=torch.full((1, 32), 3),
            attention_mask=torch.ones(1, 32),
            input_features=made["input_features"],
            feature_attention_mask=made["attention_mask"],
        )
    return seen


def _seamless_last(tower, inputs):
    with torch.inference_mode():
        states = tower.feature_projection(inputs["input_features"])
        return tower.encoder(states, attention_mask=inputs["attention_mask"])


def _before_projection(tower, inputs):
    seen = []
    hook = tower.ln_post.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
    with torch.inference_mode():
        tower(**inputs)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", ORACLE)
def test_a_tower_gives_the_librarys_own_hidden_states(name, folders):
    opened = open_backend(str(folders(name)))
    clip = tone(round(1.3 * opened.sampling_rate))
    [answer] = opened.embed([clip])
    states = library_states(name, folders(name), clip)
    assert len(states) == opened.n_layers
    first, last = ORACLE[name][2:]
    assert answer.frames == first
    expected = []
    for number, layer in enumerate(states):
        own = last if number == len(states) - 1 else first
        if name == "audio-spectrogram-transformer":  # 12 rows of 101 patches after two marks
            layer = layer[2:].reshape(12, 101, -1)[:, :13].flatten(0, 1)
        if name == "pe_audio_encoder":  # a class token stands first, but for the final output
            layer = layer[-33:]
        expected.append(layer[:own].mean(dim=0))
    assert distance(answer.values, torch.stack(expected)) <= 1e-5


def test_a_row_does_not_depend_on_its_neighbours(folders):
    opened = open_backend(str(folders("parakeet_ctc")))
    clips = [tone(16000), tone(7777, 1), tone(24321, 2)]
    together = opened.embed(clips)
    for clip, answer in zip(clips, together, strict=True):
        assert distance(answer.values, opened.embed([clip])[0].values) <= 1e-6


def test_clips_that_the_librarys_extractor_would_cut_are_refused(folders):
    opened = open_backend(str(folders("qwen2_audio")))
    assert opened.max_samples == 30 * 16000
    assert opened.embed([tone(30 * 16000 + 1)])[0].code == "too_long"
    long = open_backend(str(folders("parakeet_ctc")))
    assert long.max_samples == 0
    assert long.embed([tone(40 * 16000)])[0].frames == 500


def test_tensors_of_the_tower_are_accounted_for(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    for change, message in (("lost", "missing"), ("more", "left over")):
        folder = Path(shutil.copytree(folders("voxtral"), tmp_path / change))
        tensors = load_file(folder / "model.safetensors")
        name = next(key for key in tensors if key.endswith("audio_tower.layers.1.fc1.weight"))
        if change == "lost":
            del tensors[name]
        else:
            tensors[name.replace("fc1", "fc9")] = torch.ones(2)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=message):
            open_backend(str(folder)).load()
    opened = open_backend(str(folders("voxtral")))
    opened.load()
    assert "language_model.model.*" in opened.dropped


def test_the_spec_says_what_decides_the_features(folders, tmp_path):
    folder = Path(shutil.copytree(folders("parakeet_ctc"), tmp_path / "x"))
    before = open_backend(str(folder)).describe()
    file = next(f for f in folder.glob("*processor_config.json"))
    content = json.loads(file.read_text())
    content["preemphasis"] = 0.5
    file.write_text(json.dumps(content))
    after = open_backend(str(folder)).describe()
    assert before["encoder"] == after["encoder"]
    assert before["processor"]["config"] != after["processor"]["config"]


def test_ast_classifies_clips(folders):
    folder = folders("audio-spectrogram-transformer")
    opened = open_backend(str(folder), classifier=True)
    [answer] = opened.embed([tone(20800)])
    made = tf.ASTFeatureExtractor.from_pretrained(folder)(
        tone(20800), sampling_rate=16000, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = whole_model("audio-spectrogram-transformer", folder)(**made).logits
    assert distance(answer.values, logits.softmax(-1)) <= 1e-5


@pytest.mark.parametrize(
    ("name", "mask", "dim"),
    [
        ("granite_speech_encoder", None, 160),
        ("granite_speech5_encoder", "attention_mask", 320),
        ("fun_asr_nano_encoder", "input_features_mask", 560),
    ],
)
def test_towers_whose_extractor_needs_torchaudio_run_on_features(
    name, mask, dim, tmp_path, monkeypatch
):
    features = torch.randn(1, 130, dim, generator=torch.Generator().manual_seed(3))
    made = {"input_features": features, **({mask: torch.ones(1, 130).long()} if mask else {})}

    class Made:
        sampling_rate = 16000

        def __call__(self, clips, **_options):
            return made

        def to_dict(self):
            return {}

    monkeypatch.setattr(
        "affekt.extract.encoders.fronts.tower_inputs.extractor_of", lambda *_given: Made()
    )
    folder = save_tower(name, tmp_path / name, extractor_too=False)
    [answer] = open_backend(str(folder)).embed([tone(20800)])
    with torch.inference_mode():
        masked = {mask: made[mask]} if mask else {}
        output = whole_model(name, folder)(features, **masked, output_hidden_states=True)
    before = [] if name == "fun_asr_nano_encoder" else output.hidden_states[:-1]  # of other widths
    states = torch.cat([*before, output.last_hidden_state])
    assert answer.frames == 130
    assert distance(answer.values, states.mean(dim=1)) <= 1e-5


@pytest.mark.skipif(
    tf.utils.is_torchaudio_available(), reason="there is torchaudio, which is not missed then"
)
def test_an_extractor_that_needs_another_package_says_so(folders, tmp_path):
    folder = Path(shutil.copytree(folders("parakeet_ctc"), tmp_path / "x"))
    config = tf.AutoConfig.for_model("granite_speech5_encoder", hidden_size=32)
    (folder / "config.json").write_text(config.to_json_string())
    for file in folder.glob("*processor_config.json"):
        file.unlink()
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"feature_extractor_type": "GraniteSpeech5FeatureExtractor", "sampling_rate": 16000}
        )
    )
    with pytest.raises(InputError, match="torchaudio"):
        open_backend(str(folder))


def test_what_is_refused_says_why(tmp_path):
    folder = Path(shutil.copytree(model_folder("xlsr"), tmp_path / "x"))
    for kind, reason in REFUSED.items():
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(InputError) as caught:
            open_backend(str(folder))
        assert reason in str(caught.value)
        assert "Encoder.of" in str(caught.value)


# raw samples, as wav2vec 2.0 takes them: the generic path, tested with the other families
_GENERIC = {"sew", "sew-d", "unispeech", "wav2vec2-conformer"}
# the same tower in another model, or one that needs torchaudio
_ALIKE = {
    "Cohere ASR": "parakeet_ctc",
    "Granite Speech": None,
    "Granite Speech Plus": None,
    "Granite Speech 5": None,
    "Fun-ASR-Nano": None,
}


def test_a_tower_that_an_older_library_computes_wrongly_is_refused(folders, monkeypatch):
    monkeypatch.setattr(audio_towers, "version_of", lambda package: "5.19.3")
    with pytest.raises(InputError, match=r"5\.19\.3 computes Gemma 4 wrongly; expected 5\.20"):
        open_backend(str(folders("gemma4_audio")))
    open_backend(str(folders("gemma3n_audio")))


def test_every_audio_model_of_transformers_is_accounted_for():
    assert set(FAMILIES) | set(REFUSED) <= set(tf.CONFIG_MAPPING)
    known = set(feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES)
    assert known - set(FAMILIES) - set(REFUSED) - _GENERIC == set()
    for tower in TOWERS:
        tested = [kind for kind in tower.types.split() if kind in ORACLE]
        tested = tested or _ALIKE[tower.name] in ORACLE
        assert tested or _ALIKE[tower.name] is None, f"{tower.name} opens, and no test compares it"


def test_the_tables_of_the_documentation_are_these():
    page = Path(__file__).resolve().parents[3] / "docs/guide/encoders.md"
    text = page.read_text(encoding="utf-8")
    start, end = "<!-- towers: written by a test -->\n", "<!-- end of towers -->"
    before, rest = text.split(start)
    now, after = rest.split(end)
    if os.environ.get("AFFEKT_WRITE"):
        page.write_text(before + start + _tables() + end + after, encoding="utf-8")
    else:
        assert now == _tables()


def _tables() -> str:
    lines = ["| model | class | `model_type` | layers | |", "|---|---|---|---|---|"]
    for tower in TOWERS:
        kinds = ", ".join(f"`{kind}`" for kind in tower.types.split())
        cls = tower.code.split(".")[1]
        layers = "blocks + 1" if tower.layers else "1: the final output"
        note = (
            "compared on features; needs torchaudio"
            if _ALIKE.get(tower.name, "") is None
            else "compared in the tests"
        )
        if any(tower.since):
            note += f"; transformers {'.'.join(map(str, tower.since))} or newer"
        lines.append(f"| {tower.name} | `{cls}` | {kinds} | {layers} | {note} |")
    lines += ["", "| refused `model_type` | why |", "|---|---|"]
    for reason in dict.fromkeys(REFUSED.values()):
        kinds = ", ".join(f"`{kind}`" for kind, why in REFUSED.items() if why == reason)
        lines.append(f"| {kinds} | {reason} |")
    return "\n".join(lines) + "\n"

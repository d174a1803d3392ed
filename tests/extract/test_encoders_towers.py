"""Every audio encoder class of transformers gives the library's own hidden states, or says why not.

The table of docs/encoders.md is made here (`make encoder-table` writes it).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.extract.encoders import open_backend

from .audio_towers import save_tower, whole_model
from .encoder_models import distance, tone

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
        expected.append(layer[:own].mean(dim=0))
    assert distance(answer.values, torch.stack(expected)) <= 1e-5

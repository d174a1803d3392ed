"""Small random models of every family, with real configurations' switches and real tokenizers.

`backend(name)` opens one. `saved(name, folder)` writes one as the original repositories have it: a
pretraining or masked-LM class, with heads that an encoder leaves behind.
"""

from __future__ import annotations

import json
import shutil
import string
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from affekt.extract.encoders import open_backend

TEXTS = (
    "one",
    "One two, three!",
    "I am so very happy that you came to the house today",
    "¡Qué alegría verte! No lo puedo creer, de verdad.",
    "no no no " * 7,
    "the anger and the fear of it all was more than she could say in so few words",
)
_BODY = {"num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
_CONV = {"conv_dim": (24,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_SMALL = {**_BODY, **_CONV, "num_hidden_layers": 3, "codevector_dim": 16, "proj_codevector_dim": 16}
_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_WORDS = sorted({w.strip(",.!¡").lower() for text in TEXTS for w in text.split()})
_LETTERS = string.ascii_lowercase + "áéíóúñü¡!,.?0123456789"


def _wav2vec2(**changes: Any) -> Any:
    return tf.Wav2Vec2Config(**{**_SMALL, "num_codevectors_per_group": 8, **changes})


SPEECH = {
    "wav2vec2-base": (tf.Wav2Vec2ForPreTraining, lambda: _wav2vec2()),
    "xlsr": (tf.Wav2Vec2ForPreTraining, lambda: _wav2vec2(**_STABLE)),
    "xlsr-ctc": (tf.Wav2Vec2ForCTC, lambda: _wav2vec2(**_STABLE, vocab_size=12)),
    "adapter": (tf.Wav2Vec2Model, lambda: _wav2vec2(**_STABLE, add_adapter=True)),
    "hubert-base": (tf.HubertModel, lambda: tf.HubertConfig(**_SMALL)),
    "hubert-large": (tf.HubertModel, lambda: tf.HubertConfig(**_SMALL, **_STABLE)),
    "wavlm-base": (tf.WavLMModel, lambda: tf.WavLMConfig(**_SMALL)),
    "wavlm-large": (tf.WavLMModel, lambda: tf.WavLMConfig(**_SMALL, **_STABLE)),
    "unispeech-sat": (
        tf.UniSpeechSatForPreTraining,
        lambda: tf.UniSpeechSatConfig(**_SMALL, num_codevectors_per_group=8, num_clusters=4),
    ),
    "data2vec-audio": (
        tf.Data2VecAudioModel,
        lambda: tf.Data2VecAudioConfig(
            **{**_SMALL, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 19}
        ),
    ),
    "wav2vec2-bert": (
        tf.Wav2Vec2BertModel,
        lambda: tf.Wav2Vec2BertConfig(
            **_BODY, num_hidden_layers=3, feature_projection_input_dim=160
        ),
    ),
    # not in the table of families: the generic path
    "conformer": (
        tf.Wav2Vec2ConformerModel,
        lambda: tf.Wav2Vec2ConformerConfig(**_SMALL),
    ),
    "whisper": (
        tf.WhisperForConditionalGeneration,
        lambda: tf.WhisperConfig(
            d_model=32,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        ),
    ),
}

_BERT = {**_BODY, "num_hidden_layers": 3, "max_position_embeddings": 64}
_OFFSET = {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0}
TEXT = {
    "bert": (tf.BertForPreTraining, lambda: tf.BertConfig(**_BERT), "wordpiece"),
    "roberta": (
        tf.RobertaForMaskedLM,
        lambda: tf.RobertaConfig(**_OFFSET, eos_token_id=2),
        "bytes",
    ),
    "xlm-roberta": (
        tf.XLMRobertaForMaskedLM,
        lambda: tf.XLMRobertaConfig(**_OFFSET, eos_token_id=2),
        "unigram",
    ),
    "distilbert": (
        tf.DistilBertForMaskedLM,
        lambda: tf.DistilBertConfig(
            dim=32, n_layers=3, n_heads=4, hidden_dim=64, max_position_embeddings=64
        ),
        "wordpiece",
    ),
    "mpnet": (tf.MPNetForMaskedLM, lambda: tf.MPNetConfig(**_OFFSET), "mpnet"),
    "deberta": (
        tf.DebertaForMaskedLM,
        lambda: tf.DebertaConfig(
            **_BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], type_vocab_size=0
        ),
        "deberta",
    ),
    "deberta-v2": (
        tf.DebertaV2ForMaskedLM,
        lambda: tf.DebertaV2Config(
            **_BERT,
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            type_vocab_size=0,
            conv_kernel_size=3,
            conv_act="gelu",
        ),
        "deberta-v2",
    ),
    # not in the table of families: the generic path
    "electra": (tf.ElectraModel, lambda: tf.ElectraConfig(**_BERT, embedding_size=16), "wordpiece"),
    "gpt2": (  # no padding token, no CLS
        tf.GPT2Model,
        lambda: tf.GPT2Config(
            n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0
        ),
        "gpt2",
    ),
}


def saved(name: str, folder: Path, **changes: Any) -> Path:
    """Write the model `name` and its processor into `folder`; `changes` go to the config."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in TEXT:
        kind, configure, tokenizer = TEXT[name]
        made = _tokenizer(tokenizer)
        made.save_pretrained(folder)
        config = configure()
        config.vocab_size = len(made)
    else:
        kind, configure = SPEECH[name]
        _extractor(name, configure()).save_pretrained(folder)
        config = configure()
    kind = changes.pop("kind", kind)
    for key, value in changes.items():
        setattr(config, key, value)
    random_model(kind, config).save_pretrained(folder)
    return folder


def altered(name: str, folder: Path, file: str, **changes: Any) -> str:
    """Copy a model's folder and change values in one of its JSON files (None: remove)."""
    shutil.copytree(model_folder(name), folder)
    content = json.loads((folder / file).read_text())
    for key, value in changes.items():
        content.pop(key, None) if value is None else content.update({key: value})
    (folder / file).write_text(json.dumps(content))
    return str(folder)


def random_model(kind: Any, config: Any) -> Any:
    """Build a model with random weights, norms and biases included."""
    torch.manual_seed(0)
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def _extractor(name: str, config: Any) -> Any:
    if name == "wav2vec2-bert":
        return tf.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2)
    if name == "whisper":
        return tf.WhisperFeatureExtractor(feature_size=80)
    group = getattr(config, "feat_extract_norm", "layer") == "group"
    return tf.Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=not group, sampling_rate=16000
    )


def _tokenizer(kind: str) -> Any:
    if kind == "wordpiece":
        marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return tf.BertTokenizer(vocab=_wordpiece(marks), do_lower_case=True)
    if kind == "mpnet":
        marks = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"]
        return tf.MPNetTokenizer(vocab=_wordpiece(marks), do_lower_case=True)
    if kind == "unigram":
        return tf.XLMRobertaTokenizer(vocab=_unigram(["<s>", "<pad>", "</s>", "<unk>"]))
    if kind == "deberta-v2":
        return tf.DebertaV2Tokenizer(vocab=_unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"]))
    marks = {
        "bytes": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        "deberta": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
        "gpt2": ["<|endoftext|>"],
    }[kind]
    vocab, merges = _byte_pairs(marks)
    made = {"bytes": tf.RobertaTokenizer, "deberta": tf.DebertaTokenizer, "gpt2": tf.GPT2Tokenizer}
    return made[kind](vocab=vocab, merges=merges)


def _wordpiece(marks: list[str]) -> dict[str, int]:
    pieces = [*marks, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *_WORDS]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _unigram(marks: list[str]) -> list[tuple[str, float]]:
    pieces = [*marks, "▁", *_LETTERS, *_LETTERS.upper(), *(f"▁{word}" for word in _WORDS)]
    return [(p, 0.0 if p in marks else -float(i)) for i, p in enumerate(dict.fromkeys(pieces))]


def _byte_pairs(marks: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = [*marks, *sorted(ByteLevel.alphabet())]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("o", "n"), ("on", "e"), ("a", "n")]
    pieces += ["".join(pair) for pair in merges]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def tone(samples: int, seed: int = 0) -> np.ndarray:
    """Make a clip with a swelling voice-like tone and noise; ``(samples,)`` float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    voice = sum(np.sin(2 * np.pi * (120 + 7 * seed) * k * t) / k for k in range(1, 5))
    return (0.1 * voice * np.abs(np.sin(5 * t)) + 0.02 * rng.normal(size=samples)).astype("f4")


def plain_layers(name: str, folder: Path, item: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What a user writes: one file, transformers' own processor, its own hidden states.

    Returns ``(layers, frames, hidden)``, with ``last_hidden_state`` as the last layer, and the
    valid frames as a mask.
    """
    processor, model = _plain(name, folder)
    if name in TEXT:
        inputs = processor(item, truncation=True, max_length=64, return_tensors="pt")
    else:
        inputs = processor(item, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs, output_hidden_states=True)
        last = output.last_hidden_state
        if name == "adapter":  # the layer before the adapter: the final norm's output
            last = model.encoder.layer_norm(output.hidden_states[-1])
    states = torch.cat([*output.hidden_states[:-1], last])
    keep = torch.ones(states.shape[1], dtype=torch.bool)
    if name == "wav2vec2-bert":
        keep = inputs["attention_mask"][0].bool()
    if name == "whisper":
        keep[-(-len(item) // 320) :] = False
    return states, keep


@cache
def _plain(name: str, folder: Path) -> tuple[Any, Any]:
    """Load processor and model with transformers alone."""
    kind = tf.AutoTokenizer if name in TEXT else tf.AutoFeatureExtractor
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return kind.from_pretrained(folder), model.encoder if name == "whisper" else model


def distance(ours: Any, theirs: Any) -> float:
    """Give the largest relative L2 difference over layers ``(layers, dim)``."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert a.shape == b.shape
    return float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())


@cache
def model_folder(name: str) -> Path:
    """Give the folder of a small model by name; made once."""
    return saved(name, Path(_scratch().name) / name)


@cache
def backend(name: str, **options: Any) -> Any:
    """Open the backend of a small model by name and options; opened once."""
    return open_backend(str(model_folder(name)), **options)


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="affekt-encoders-")

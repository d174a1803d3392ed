"""Fine-tuned classifiers as an encoder with a head: transformers' own and UMUTeam's five modes.

Between the encoder's mean over frames (or its first token) and the probabilities, each of them is
one linear map, one activation and another linear map, or a single linear map. A mean over frames
and a projection can change places, and attention over one clip returns its values; so even
UMUTeam's joint modes are an `MLPHead` on audio and text features side by side. The products of
matrices are formed in float64.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....cache.errors import InputError, in_shell, one_of
from ....cache.files.reading import flag
from ....extract.encoder import Encoder
from ...heads import MLPHead
from .as_model import Part, Published, assembled, default_part, head_of, task_of
from .tensors import account_for, read_config, tensor_files, tensor_shapes
from .umuteam_modes import (
    BERTS,
    LABELS,
    MODES,
    Affine,
    folded,
    mode_shapes,
    read_tensors,
)

LONGEST = 160.0  # seconds; UMUTeam's toolkit cuts there

#: model_type -> (layers between encoder and probabilities, activation after the first)
SPEECH = (("projector", "classifier"), None)
ROBERTA = (("classifier.dense", "classifier.out_proj"), "tanh")
HEADS: dict[str, tuple[tuple[str, str], str | None]] = {
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm", "unispeech-sat", "data2vec-audio"), SPEECH),
    "wav2vec2-bert": SPEECH,
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ROBERTA),
    "bert": (("bert.pooler.dense", "classifier"), "tanh"),
    "electra": (("classifier.dense", "classifier.out_proj"), "gelu"),
    "distilbert": (("pre_classifier", "classifier"), "relu"),
}

#: Hub id -> mode; audio and mean hold the same tensors, so only the name tells them apart
IDS = {f"UMUTeam/w2v-bert-emotion-{language}": "audio" for language in LABELS} | {
    f"UMUTeam/w2v-bert-beto-{mode}-emotion-{language}": mode
    for mode in ("concat", "mean", "multihead")
    for language in LABELS
}


def classifier_parts(
    place: str,
    folder: Path,
    *,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    revision: str | None = None,
    mode: str | None = None,
    labels: Sequence[str] | None = None,
) -> Published:
    """Make a model of a fine-tuned classifier.

    Parameters
    ----------
    place : str
        Folder or Hub id, as the user named it.
    encoders : sequence of path
        The BERT of UMUTeam's joint modes.
    device, revision
        As for `Encoder`.
    mode : str, optional
        One of UMUTeam's modes, where the tensors fit two of them.
    labels : sequence of str, optional
        In the order of the outputs, where the configuration names none.
    """
    config = read_config(folder)
    kind = config["model_type"]
    shapes = tensor_shapes(tensor_files(folder))
    prefix = _prefix(kind)
    outside = {name: shape for name, shape in shapes.items() if not name.startswith(prefix)}
    joint = kind == "wav2vec2-bert" and "classifier.dense.weight" in shapes
    if joint:
        mode = _mode(place, folder, outside, mode)
    elif mode not in (None, "text" if HEADS[kind][1] else "audio"):
        raise InputError(f"`{mode=}`: {place} is a {kind} classifier without modes; leave it out")
    layout = HEADS[kind]
    speech = layout is SPEECH
    if speech and not joint and "classifier.out_proj.weight" in shapes:
        layout = ROBERTA  # the same two layers, on the mean over frames
        if config.get("pooling_mode", "mean") != "mean":
            raise InputError(
                f"{place}: pooling_mode is {config['pooling_mode']!r}; expected 'mean'"
            )
    names = _labels(place, config, labels, outside)
    stack = "layer_weights" if flag(config, "use_weighted_layer_sum", place) else None
    if joint:
        projector = outside.get("projector.weight", (0, 0))
        expected = mode_shapes(outside, mode, len(names), *projector)
    else:
        expected = _plain_shapes(layout[0], shapes, len(names))
    if stack:
        expected[stack] = outside.get(stack, (0,))
    account_for(
        {name: shapes[name] for name in {*outside, *expected} if name in shapes},
        expected,
        f"{place}, {f'mode {mode!r}, ' if joint else ''}{len(names)} labels",
    )
    tensors = read_tensors(folder, list(expected))
    options: dict[str, Any] = {"device": device}
    if revision is not None:
        options["revision"] = revision
    if joint:
        options |= {"long": "truncate", "max_seconds": LONGEST}
    if not speech:
        options["pooling"] = "cls"
    own = Encoder(place, modality="audio" if speech else "text", **options)
    parts = [Part(own, place, all_layers=stack is not None)]
    if joint:
        layers = [*folded(tensors, str(mode))]
        if mode != "audio":
            parts.append(_bert(names, encoders, device))
        activation = "tanh"
    else:
        names_, active = layout
        first, last = (Affine.read(tensors, name) for name in names_)
        layers = [first, last] if active else [last.after(first)]
        activation = active or "tanh"
    if mode in (None, "audio", "text") and encoders:
        raise InputError(
            f"`encoders={str(encoders[0])!r}`: {place} holds its encoder itself; leave it out"
        )
    if stack:
        weights = np.exp(tensors[stack] - tensors[stack].max())
        weights /= weights.sum()
        layers[0] = _over_layers(layers[0], weights, own.spec.dim)
    head = _mlp(layers, names, activation)
    source = {"kind": f"umuteam {mode}" if joint else "classifier", "name": own.name}
    return assembled(head, task_of(names, own.name), parts, source=source)


def _prefix(kind: str) -> str:
    return "roberta." if HEADS[kind] is ROBERTA else f"{kind.replace('-', '_')}."


def _mode(place: str, folder: Path, outside: Mapping[str, Any], given: str | None) -> str:
    """Return which of UMUTeam's modes the tensors are for."""
    if given is not None:
        one_of(given, MODES, "mode")
    dense = outside["classifier.dense.weight"]
    if any(name.startswith("mult_attn_model.") for name in outside):
        fits: tuple[str, ...] = ("multihead",)
    elif dense[1] > outside.get("projector.weight", (dense[1],))[0]:
        fits = ("concat",)
    else:
        fits = ("audio", "mean")
    known = given or IDS.get(place) or _card_mode(folder)
    if known is None and len(fits) == 1:
        return fits[0]
    if known is None:
        raise InputError(
            f"{place}: its tensors fit the modes audio and mean, and nothing in the folder tells "
            f"which. State it once: affekt import-model {in_shell(place)} --mode audio -o MODEL "
            "(or --mode mean); MODEL then predicts"
        )
    if known not in fits:
        raise InputError(f"{place}: mode {known!r}; its tensors are those of {' or '.join(fits)}")
    return known


def _card_mode(folder: Path) -> str | None:
    """Take the mode from the model card's own name, ``model-index: - name: UMUTeam/...``."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")[:100_000]
    found = {
        IDS[name] for name in re.findall(r"^\s*-?\s*name:\s*(\S+)\s*$", text, re.M) if name in IDS
    }
    return found.pop() if len(found) == 1 else None


def _labels(
    place: str, config: Mapping[str, Any], given: Sequence[str] | None, outside: Mapping[str, Any]
) -> tuple[str, ...]:
    table = config.get("id2label")
    own: tuple[str, ...] = ()
    if isinstance(table, dict):
        own = tuple(str(table.get(str(index), "")) for index in range(len(table)))
    if all(re.fullmatch(r"(LABEL_\d+)?", name) for name in own):  # names without meaning
        own = ()
    if own and given and own != tuple(given):
        raise InputError(
            f"{place}: --labels {','.join(given)}; its configuration says {','.join(own)}"
        )
    if own or given:
        names = own or tuple(given or ())
        if len(set(names)) != len(names) or len(names) < 2 or "" in names:
            raise InputError(f"{place}: labels {', '.join(names)}; expected two or more, each once")
        if config.get("problem_type") not in (None, "single_label_classification"):
            raise InputError(
                f"{place} is a {config['problem_type']} model; its outputs are not a distribution "
                "over classes. `affekt extract --classifier` stores them as numbers"
            )
        return names
    count = next((s[0] for n, s in outside.items() if n.endswith("out_proj.bias")), 0)
    fits = [",".join(names) for names in LABELS.values() if len(names) == count]
    labels = in_shell(fits[0] if fits else "A,B,C")
    raise InputError(
        f"{place}: its configuration does not name its labels. Give them once, in the order of "
        f"the outputs: affekt import-model {in_shell(place)} --labels {labels} -o MODEL"
    )


def _bert(names: Sequence[str], encoders: Sequence[str | os.PathLike[str]], device: str) -> Part:
    """Open the plain BERT whose [CLS] vector is the text side."""
    language = next((key for key, known in LABELS.items() if tuple(names) == known), None)
    if len(encoders) > 1:
        raise InputError(
            f"{len(encoders)} encoders; expected one, the BERT of the text side: `encoders=FOLDER`"
        )
    if not encoders and language is None:
        raise InputError("the labels fit neither language: name the BERT with `encoders=FOLDER`")
    if encoders:
        place = str(encoders[0])
        return Part(Encoder(place, modality="text", pooling="cls", device=device), place)
    return default_part(
        BERTS[str(language)], "the text side", modality="text", pooling="cls", device=device
    )


def _plain_shapes(
    layers: tuple[str, str], shapes: Mapping[str, Any], labels: int
) -> dict[str, tuple[int, ...]]:
    """Return the tensors of transformers' own head; the encoder's are checked as it loads."""
    first, last = layers
    width = shapes.get(f"{first}.weight", (0, 0))
    return {
        f"{first}.weight": tuple(width),
        f"{first}.bias": tuple(width[:1]),
        f"{last}.weight": (labels, width[0]),
        f"{last}.bias": (labels,),
    }


def _over_layers(first: Affine, weights: np.ndarray, dim: int) -> Affine:
    """Spread the audio columns over all layers, each with its weight in the sum."""
    audio, rest = first.weight[:, :dim], first.weight[:, dim:]
    return Affine(np.hstack([weight * audio for weight in weights] + [rest]), first.bias)


def _mlp(layers: Sequence[Affine], labels: Sequence[str], activation: str) -> MLPHead:
    names = [f"layers.{1 + 3 * number}" for number in range(len(layers))]  # with dropout between
    arrays = {}
    for name, layer in zip(names, layers, strict=True):
        arrays[f"{name}.weight"] = layer.weight.astype(np.float32)
        arrays[f"{name}.bias"] = layer.bias.astype(np.float32)
    params = {"hidden": [len(layer.bias) for layer in layers[:-1]], "activation": activation}
    return head_of(MLPHead, params, arrays, labels, names[-1], layers[0].weight.shape[1])

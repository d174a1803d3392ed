"""Load the Vocametrix valence head: a patch transformer on one speech embedding per clip.

Sizes come from the tensors (`read_layout`). What no tensor shows (attention heads, activation, the
place of the norms) comes from ``config.json`` or from you, and is never guessed. A config that
contradicts the tensors is refused. Its scaler is read from safetensors, after `affekt
convert-scaler` made one of the pickle.

Model card: vocametrix/speech-emotion-valence-classifier.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import AffektError, InputError, in_shell
from ....cache.files.reading import read_object
from ....extract.encoder import Encoder
from ..scalers.plain_scaler import Scaler, read_scaler
from .as_model import Part, Published, assembled, default_part, head_of, task_of
from .tensors import tensor_shapes
from .vocametrix_layout import Layout, layer_shapes, read_layout

if TYPE_CHECKING:
    from ....cache.cache import Cache
    from ....cache.space import Features
    from ...data.predictions import Predictions
    from ...heads import PatchTransformerHead

XLSR = "facebook/wav2vec2-large-xlsr-53"  # last layer, mean over time, by the card

FILES = ("*.json", "*.safetensors")
LABELS = ("negative", "neutral", "positive")  # the order that the card gives

#: blocks of the config that are about this network and not about the encoder before it
BLOCKS = ("model", "architecture", "model_config", "classifier", "transformer")
#: settings that the config may have, under their various names
WORDS = {
    "input_dim": ("input_dim", "input_size", "feature_dim", "n_features", "in_features"),
    "patch_size": ("patch_size",),
    "patches": ("num_patches", "n_patches"),
    "d_model": ("d_model", "model_dim"),
    "n_blocks": ("num_layers", "n_layers", "num_encoder_layers", "num_hidden_layers"),
    "feedforward": ("dim_feedforward", "ffn_dim", "feedforward_dim", "intermediate_size"),
    "classes": ("num_classes", "n_classes", "num_labels"),
    "nhead": ("nhead", "num_heads", "n_heads", "num_attention_heads"),
    "activation": ("activation", "hidden_act"),
    "head_activation": ("head_activation",),
    "norm_first": ("norm_first", "pre_norm"),
    "labels": ("labels", "label_names", "class_names", "classes", "id2label"),
}
#: what no tensor shows, and the option for it
UNSEEN = {"nhead": "--nhead 8", "activation": "--activation relu", "norm_first": "--norm-last"}


@dataclass(eq=False)
class Valence:
    """A loaded valence head; made by `load_vocametrix`.

    Attributes
    ----------
    labels : tuple of str
        In the order of the outputs.
    width : int
        Input features.
    layout : Layout
        Sizes and tensor names, as they were found.
    settings : dict
        ``nhead``, ``activation``, ``head_activation``, ``norm_first``.
    name : str
        Folder, or Hub id and commit.
    """

    head: PatchTransformerHead = field(repr=False)
    layout: Layout
    settings: dict[str, Any]
    labels: tuple[str, ...]
    width: int
    scaler: Scaler | None
    name: str = "valence"
    _models: dict[str, Published] = field(default_factory=dict)  # by encoder

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities ``(clips, labels)`` of unscaled embeddings ``(clips, width)``.

        Raises
        ------
        InputError
            Another width, or a feature that is not finite.
        """
        X = np.asarray(X, dtype=np.float32)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise InputError(f"features of shape {X.shape}; expected (clips, {self.width})")
        if not np.isfinite(X).all():
            raise InputError("features hold NaN or infinity; a prediction would mean nothing")
        if not len(X):
            return np.empty((0, len(self.labels)))
        proba = self.head.predict_proba(self.scaler.transform(X) if self.scaler else X)
        if not np.isfinite(proba).all():
            raise AffektError("the valence head returns NaN; its weights are damaged")
        return proba[:, np.searchsorted(self.head.classes_, self.labels)]

    def predict(
        self,
        clips: Any,
        features: Features | None = None,
        *,
        encoder: str | os.PathLike[str] | None = None,
        cache: Cache | None = None,
        **raw: Any,
    ) -> Predictions:
        """Predict clips from stored embeddings, or recordings from their sound.

        Parameters
        ----------
        clips : Manifest, path, list of paths, or whatever else `Model.predict` takes
        features : Features, optional
            Stored embeddings of a manifest: the last layer of XLSR-53, mean over time.
        encoder : path or str, optional
            Without `features`: folder or Hub id of XLSR-53; the published Hub id by default.
        cache : Cache, optional
            Where embeddings go; a temporary place by default.
        **raw
            Further arguments of `Model.predict`, such as ``device``.

        Returns
        -------
        Predictions
            With the columns of `labels`.

        Raises
        ------
        InputError
            A recording that cannot be embedded, or an encoder of another width.

        Examples
        --------
        >>> load_vocametrix("folder").predict("speech.wav").top  # doctest: +SKIP
        array(['positive'], dtype=object)
        """
        from ...data.predictions import Predictions

        if features is not None:
            found = self.predict_proba(features.read(clips))
            return Predictions(list(clips.ids), self.labels, found)
        place = str(encoder or "")
        if place not in self._models:  # kept, with the encoders it has opened
            self._models[place] = self.as_model(encoder, device=raw.get("device", "auto"))
        return self._models[place].model.predict(clips, cache, **raw)

    def as_model(
        self, encoder: str | os.PathLike[str] | None = None, *, device: str = "auto"
    ) -> Published:
        """Return the head with its encoder, XLSR-53 by default, and its scaler.

        Raises
        ------
        InputError
            An encoder of another width.
        """
        if encoder is None:
            part = default_part(XLSR, "the valence head", modality="audio", device=device)
        else:
            part = Part(Encoder(str(encoder), modality="audio", device=device), str(encoder))
        source = {"kind": "vocametrix valence", "name": self.name}
        task = task_of(self.labels, "valence")
        return assembled(self.as_head(), task, [part], source=source, scaler=self.scaler)

    def as_head(self) -> PatchTransformerHead:
        """Return the network, a `PatchTransformerHead` for scaled input."""
        return self.head


def load_vocametrix(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    scaler: str | os.PathLike[str] | bool = True,
    input_dim: int | None = None,
    nhead: int | None = None,
    activation: str | None = None,
    head_activation: str | None = None,
    norm_first: bool | None = None,
    labels: Sequence[str] | None = None,
) -> Valence:
    """Load a valence head by the shapes of its tensors.

    Parameters
    ----------
    model : str or path
        A folder, or a Hub id.
    revision : str, optional
        Commit, tag or branch on the Hub.
    scaler : path or bool
        The converted scaler; ``scaler.safetensors`` in the folder by default. False: the features
        come scaled already.
    input_dim : int, optional
        Input features, where neither the scaler nor the config says it.
    nhead, activation, norm_first : optional
        What no tensor shows, if ``config.json`` does not say it. The card has 8 heads; torch's
        defaults are ``"relu"`` and False.
    head_activation : str, optional
        Between the two last layers; like `activation` if neither you nor the config says.
    labels : sequence of str, optional
        In the order of the outputs; negative, neutral, positive for three classes by default.

    Returns
    -------
    Valence

    Raises
    ------
    InputError
        Tensors that cannot be read in exactly one way, a config or scaler that contradicts them,
        something that neither says, or a scaler that is still a pickle.
    """
    from ....extract.hub import locate

    place = locate(model, revision, allow=FILES)
    path, scaler_path = _files(place.folder, scaler)
    found = read_scaler(scaler_path) if scaler_path else None
    stated = _config(place.folder)
    given = {"input_dim": input_dim, "nhead": nhead, "activation": activation}
    given |= {"head_activation": head_activation, "norm_first": norm_first}
    given |= {"labels": list(labels) if labels else None}
    for word, value in given.items():
        _agree(stated, word, value, "you")
    if found is not None:
        _agree(stated, "input_dim", found.width, "the scaler")
    width = stated.get("input_dim", (None, ""))[0]
    layout = read_layout(tensor_shapes([path]), width)
    for word in ("patch_size", "patches", "d_model", "n_blocks", "feedforward", "classes"):
        _agree(stated, word, getattr(layout, word), "the tensors")
    if width is None:
        width = layout.patches * layout.patch_size
    settings = _settings(stated, layout, place.name)
    names = stated["labels"][0] if "labels" in stated else list(LABELS)
    if len(names) != layout.classes:
        raise InputError(
            f"{place.name} has {layout.classes} classes; the labels are {', '.join(names)}: give "
            f"them once: affekt import-model {in_shell(place.name)} --labels A,B -o MODEL (labels=)"
        )
    head = _head(path, layout, settings, names, width)
    return Valence(head, layout, settings, tuple(names), width, found, place.name)


def _head(
    path: Path, layout: Layout, settings: Mapping[str, Any], labels: Sequence[str], width: int
) -> PatchTransformerHead:
    """Read the tensors of `path` into a head of ours, whose classes are sorted."""
    from safetensors.torch import load_file

    from ...heads import PatchTransformerHead

    stored = {name: value.float().numpy() for name, value in load_file(path).items()}
    norms = [norm for norm in ("final_norm", "head_norm") if norm in layout.names]
    theirs = {"patch_embedding": "patch", "classifier.0": "first", "classifier.3": "last"}
    theirs |= {f"cls_norms.{number}": norm for number, norm in enumerate(norms)}
    arrays = {
        f"{ours}.{kind}": stored[f"{layout.names[name]}.{kind}"]
        for ours, name in theirs.items()
        for kind in ("weight", "bias")
    }
    for number in range(layout.n_blocks):
        for part in layer_shapes(layout.d_model, layout.feedforward):
            name = f"layers.{number}.{part}"
            arrays[f"encoder.{name}"] = stored[f"{layout.stem}{name}"]
    positions = stored[layout.names["positions"]].reshape(1, -1, layout.d_model)
    if not layout.cls_has_position:  # a position of zeros adds nothing
        positions = np.pad(positions, ((0, 0), (1, 0), (0, 0)))
    arrays["position_embedding"] = positions
    arrays["cls_token"] = stored[layout.names["cls"]].reshape(1, 1, -1)
    params = {
        "patch_size": layout.patch_size,
        "d_model": layout.d_model,
        "n_blocks": layout.n_blocks,
        "n_attention_heads": settings["nhead"],
        "feedforward": layout.feedforward,
        "hidden": layout.hidden,
        "activation": settings["activation"],
        "norm_first": settings["norm_first"],
        "cls_norms": len(norms),
        "head_activation": settings["head_activation"],
    }
    return head_of(PatchTransformerHead, params, arrays, labels, "classifier.3", width)


def _files(folder: Path, scaler: str | os.PathLike[str] | bool) -> tuple[Path, Path | None]:
    """Find the weights and the scaler; a pickle is named and not opened."""
    standard = folder / "scaler.safetensors"
    weights = [path for path in sorted(folder.glob("*.safetensors")) if path != standard]
    if len(weights) != 1:
        listed = ", ".join(path.name for path in weights) or "none"
        raise InputError(f"{folder}: weights {listed}; expected one .safetensors with the scaler")
    if scaler is False:
        return weights[0], None
    if scaler is not True:
        return weights[0], Path(scaler)
    if not standard.is_file():
        pickles = sorted(path for path in folder.iterdir() if path.suffix in (".pkl", ".joblib"))
        if pickles:
            read_scaler(pickles[0])  # says how to convert it
        raise InputError(
            f"{folder} holds no scaler.safetensors; convert the published scaler (affekt "
            f"convert-scaler FILE.pkl -o {in_shell(standard)}), or state that there is none: "
            f"affekt import-model {in_shell(folder)} --no-scaler -o MODEL (scaler=False)"
        )
    return weights[0], standard


def _config(folder: Path) -> dict[str, tuple[Any, str]]:
    """Read what config.json says, in our words: word -> (value, who says it)."""
    path = folder / "config.json"
    if not path.is_file():
        return {}
    raw = read_object(path, lenient=True)
    stated: dict[str, tuple[Any, str]] = {}
    blocks = [raw[name] for name in BLOCKS if isinstance(raw.get(name), dict)]
    for table in (raw, *blocks):
        for word, aliases in WORDS.items():
            for alias in aliases:
                if alias in table and table[alias] is not None:
                    value = _value(word, table[alias])
                    if value is not None:
                        _agree(stated, word, value, f"{path.name} ({alias})")
    return stated


def _value(word: str, value: Any) -> Any:
    if word == "labels":
        if isinstance(value, dict):
            value = [value.get(str(index)) for index in range(len(value))]
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return value if texts and value else None
    if word.endswith("activation"):
        return value.lower() if isinstance(value, str) else None
    if isinstance(value, bool) is not (word == "norm_first") or not isinstance(value, int):
        return None
    return value


def _agree(stated: dict[str, tuple[Any, str]], word: str, value: Any, who: str) -> None:
    """Note the value of a source; two that differ are an error."""
    if value is None:
        return
    known, before = stated.setdefault(word, (value, who))
    if known != value:
        raise InputError(f"{word}: {known!r} says {before}, {value!r} says {who}; which is right?")


def _settings(stated: Mapping[str, tuple[Any, str]], layout: Layout, name: str) -> dict[str, Any]:
    if missing := [word for word in UNSEEN if word not in stated]:
        options = " ".join(UNSEEN[word] for word in missing)
        raise InputError(
            f"{name}: the tensors cannot show {', '.join(missing)}, and config.json does not say. "
            f"State it once: affekt import-model {in_shell(name)} {options} -o MODEL, if that is "
            "right (the card has 8 heads; relu and norms last are torch's defaults); MODEL then "
            f"predicts. In Python: load_vocametrix(..., {'=, '.join(missing)}=)"
        )
    settings = {word: stated[word][0] for word in UNSEEN}
    settings["head_activation"] = stated.get("head_activation", stated["activation"])[0]
    if settings["nhead"] < 1 or layout.d_model % settings["nhead"]:
        raise InputError(
            f"nhead {settings['nhead']} ({stated['nhead'][1]}) does not divide d_model "
            f"{layout.d_model}"
        )
    for word in ("activation", "head_activation"):
        if settings[word] not in ("relu", "gelu"):
            raise InputError(f"{word} {settings[word]!r}; expected relu or gelu")
    return settings

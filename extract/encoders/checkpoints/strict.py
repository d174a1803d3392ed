"""Load a model so that every tensor is accounted for, or not at all.

transformers fills missing tensors with random numbers and drops what it does not know,
with a log line. Here a missing tensor is an error (only the embedding of masked frames, unused
when nothing is masked, may be absent), and so is one left over, unless it belongs to a head that
the family's table names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ....cache.errors import AffektError, InputError
from ..families import Family, family_of
from .checkpoint import Checkpoint
from .converting import SAVE_ALONE, converted
from .reading import library_errors, quiet_transformers, read_configuration
from .tower_weights import prefix_of, tower_configuration

_MAY_BE_MISSING = re.compile(r"(^|\.)masked_spec_embed$")
#: belong to training alone, and are stored by some releases of the library and not by others
_MASKS = ("masked_spec_embed", "mask_time_emb_vector")
#: the prefixes that torch (distributed, compiled, sharded) and Lightning give every name
_WRAPPERS = re.compile(r"^((module|_orig_mod|_fsdp_wrapped_module|model)\.)+")
_REMEDY = (
    ". If no layer needs these tensors, name them: {0} (allow_extra=[...], in a recipe's "
    "encoder too)"
)
_WHISPER_NAMES = {r"^(model\.)?encoder\.": ""}


def model_class(checkpoint: Checkpoint, classifier: bool) -> Any:
    """Choose the transformers class, without loading anything."""
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = checkpoint.model_type
    if kind not in CONFIG_MAPPING:
        raise InputError(
            f"{checkpoint.name}: the installed transformers has no model_type {kind!r}, and "
            "affekt never runs the code of a checkpoint. Try a newer transformers, or wrap the "
            "model "
            'with Encoder.of (docs/guide/encoders.md, "Models with code of their own")'
        )
    config = CONFIG_MAPPING[kind]
    if classifier:
        if kind == "wav2vec2" and _is_pooled(checkpoint):
            from .pooled_head import PooledWav2Vec2

            return PooledWav2Vec2
        for table in (
            auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
            auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        ):
            if config in table:
                return table[config]
        raise InputError(f"transformers has no classifier of clips or texts for {kind!r}")
    tower = family_of(kind).tower
    if tower is not None:
        return tower.model
    if kind == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return WhisperEncoder
    named = checkpoint.config.get("architectures") or [""]
    if str(named[0]).endswith("EncoderModel") and config in auto.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return auto.MODEL_FOR_TEXT_ENCODING_MAPPING[config]  # T5's encoder, saved alone
    if config not in auto.MODEL_MAPPING:
        raise InputError(f"transformers has no plain encoder for {kind!r}")
    found = auto.MODEL_MAPPING[config]
    return found[0] if isinstance(found, (tuple, list)) else found


def load_model(
    checkpoint: Checkpoint,
    family: Family,
    *,
    classifier: bool,
    dtype: str,
    device: str,
    allow_extra: Sequence[str] = (),
) -> tuple[Any, tuple[str, ...]]:
    """Load the weights.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where they are.
    family : Family
        How they are run, and which heads may be left behind.
    classifier : bool
        Load the fine-tuned classifier rather than the encoder below it.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"float16"``; never taken from the checkpoint.
    device : str
        As torch spells it.
    allow_extra : sequence of str
        Names of further tensors that may be ignored; ``*`` matches any text.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode, without gradients.
    dropped : tuple of str
        The checkpoint's tensors that were left behind, sorted.

    Raises
    ------
    InputError
        If a tensor is missing, left over or of another shape, or a file cannot be read.
    """
    import torch

    chosen = model_class(checkpoint, classifier)
    options: dict[str, Any] = {}
    if family.pooler and not classifier:
        options["add_pooling_layer"] = False
    folder = _tensor_folder(checkpoint)
    renamed: dict[str, str] = {}
    if checkpoint.model_type == "whisper" and not classifier:
        renamed |= _WHISPER_NAMES
    outside: tuple[str, ...] = ()
    if family.tower is not None and not classifier:
        config = tower_configuration(checkpoint, chosen)
        names = list(_names(folder))
        prefix = prefix_of(names, chosen, config)
        outside = tuple(name for name in names if not name.startswith(prefix))
        renamed |= {f"^{re.escape(prefix)}": ""} if prefix else {}
    else:
        config = read_configuration(checkpoint, chosen.config_class)
        wrapper = _wrapper(_names(folder), f"{chosen.base_model_prefix}.")
        renamed |= {f"^{re.escape(wrapper)}": ""} if wrapper else {}
    if renamed:
        options["key_mapping"] = renamed
    _refuse_two_values(checkpoint.name, folder, {f"{chosen.base_model_prefix}.", "model."})
    with (
        quiet_transformers(),
        library_errors(checkpoint.name, f"cannot be loaded as {chosen.__name__}"),
    ):
        model, info = chosen.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation=family.attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **options,
        )
    info["unexpected_keys"] = set(info["unexpected_keys"]) - set(outside)
    dropped = _account_for(checkpoint, family, chosen, info, classifier, allow_extra)
    dropped += tuple(sorted({".".join(name.split(".")[:2]) + ".*" for name in outside}))
    _refuse_quantised(checkpoint.name, folder)
    model.eval().requires_grad_(False)
    _fold_weight_norm(model)
    if model.training:  # a model may override eval()
        raise AffektError(f"{checkpoint.name} stays in training mode; its vectors would be random")
    return model.to(device), dropped


def _account_for(
    checkpoint: Checkpoint,
    family: Family,
    chosen: Any,
    info: dict,
    classifier: bool,
    allow_extra: Sequence[str],
) -> tuple[str, ...]:
    prefix = f"{chosen.base_model_prefix}."
    heads = _MASKS if classifier else (*family.heads, *_MASKS)
    missing = sorted(key for key in info["missing_keys"] if not _MAY_BE_MISSING.search(key))
    extra, dropped = [], []
    for key in sorted(info["unexpected_keys"]):
        name = _WRAPPERS.sub("", key).removeprefix(prefix)
        allowed = any(fnmatchcase(one, p) for one in (key, name) for p in allow_extra)
        (dropped if allowed or name.split(".", 1)[0] in heads else extra).append(key)
    wrong = [
        f"{len(keys)} {what}: {', '.join(map(str, keys[:8]))}{' ...' if len(keys) > 8 else ''}"
        for what, keys in (
            ("missing, which transformers would fill with random numbers", missing),
            ("left over", extra),
            ("of another shape", sorted(map(str, info["mismatched_keys"]))),
            ("not read", sorted(map(str, info.get("error_msgs") or []))),
        )
        if keys
    ]
    if wrong:
        raise InputError(
            f"{checkpoint.name}: its tensors are not those of {chosen.__name__}: "
            f"{'; '.join(wrong)}. Expected a complete checkpoint of this class"
            + (_REMEDY.format(_options(extra)) if extra and len(wrong) == 1 else "")
            + (f". {SAVE_ALONE}" if extra and missing else "")
        )
    return tuple(dropped)


def _fold_weight_norm(model: Any) -> None:
    """Compute normalised weights once, since they no longer change."""
    from torch.nn.utils import parametrize

    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def _options(extra: Sequence[str]) -> str:
    """Return the options that leave these tensors behind, one for each module."""
    modules = sorted({key.rpartition(".")[0] or key for key in extra})
    return " ".join(f"--allow-extra '{module}*'" for module in modules)


def _wrapper(names: Iterable[str], prefix: str) -> str:
    """Return what wrappers put before most tensors' names, without the class's own `prefix`.

    A Lightning module has its own head next to the model.
    """
    found = Counter(match[0] if (match := _WRAPPERS.match(name)) else "" for name in names)
    return max(found, key=found.__getitem__, default="").removesuffix(prefix)


def _is_pooled(checkpoint: Checkpoint) -> bool:
    """Whether dense and out_proj follow the mean over frames, without a projector."""
    names = {_WRAPPERS.sub("", name) for name in _names(_tensor_folder(checkpoint))}
    return "classifier.out_proj.weight" in names and "projector.weight" not in names


def _tensor_folder(checkpoint: Checkpoint) -> Path:
    """Return the folder with the safetensors of a checkpoint, converted if need be."""
    pickled = checkpoint.container == "pickle"
    return converted(checkpoint.weights) if pickled else checkpoint.folder


def _refuse_two_values(name: str, folder: Path, prefixes: set[str]) -> None:
    """Refuse tensors that are stored twice, with a prefix and without, and are not the same."""
    import torch
    from safetensors import safe_open

    def stored(key: str) -> torch.Tensor:
        with safe_open(where[key], framework="pt") as file:
            return file.get_tensor(key)

    where = _names(folder)
    for plain, key in ((key, prefix + key) for prefix in sorted(prefixes) for key in where):
        if key in where and not torch.equal(stored(plain), stored(key)):
            raise InputError(
                f"{name}: {plain} is stored twice with different values, also as {key}, and "
                "affekt cannot know which is right; remove one of the two"
            )


def _names(folder: Path) -> dict[str, Path]:
    """Return the name of each tensor, and the file that it is in."""
    from safetensors import SafetensorError, safe_open

    names: dict[str, Path] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                names |= dict.fromkeys(file.keys(), path)
        except SafetensorError as error:
            raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    return names


def _refuse_quantised(name: str, folder: Path) -> None:
    """Refuse weights that are stored as whole numbers, which torch would take for the values."""
    from safetensors import safe_open

    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                kind = file.get_slice(key).get_dtype()
                if key.endswith(".weight") and kind[0] in "IU":
                    raise InputError(
                        f"{name}: {key} is stored as whole numbers ({kind}): a quantised"
                        " checkpoint; give the unquantised one"
                    )

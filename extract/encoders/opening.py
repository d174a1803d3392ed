"""Open a pretrained encoder by folder or Hub id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...cache.errors import InputError, one_of
from ..backend import Backend
from ..pooling import POOLINGS
from .audio_towers import REFUSED
from .checkpoints.checkpoint import Checkpoint, find_checkpoint
from .checkpoints.reading import library_errors
from .checkpoints.sentence_transformers import read_sentence_steps
from .checkpoints.strict import model_class
from .families import GENERIC, Family, family_of
from .hardware.device import find_device

_DTYPES = ("float32", "bfloat16", "float16")
_BATCHINGS = ("auto", "single", "padded", "packed")


def open_backend(
    name: str,
    *,
    modality: str | None = None,
    revision: str | None = None,
    pooling: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    classifier: bool = False,
    special_tokens: bool = True,
    prefix: str | None = None,
    normalise: bool = False,
    max_length: int | None = None,
    batching: str = "auto",
    allow_extra: Sequence[str] = (),
) -> Backend:
    """Open a pretrained encoder; its weights are loaded when it first embeds.

    Parameters
    ----------
    name : str
        A local folder, or a Hub id such as ``"facebook/wav2vec2-large-xlsr-53"``.
    modality : str, optional
        ``"audio"`` or ``"text"``; needed only where a checkpoint could be both.
    revision : str, optional
        Commit, tag or branch on the Hub; resolved once, and the commit is recorded.
    pooling : str, optional
        ``"mean"``, ``"mean+std"``, ``"max"``, and for text ``"cls"`` or ``"last"``. By default that
        of a sentence-transformers folder, and ``"mean"`` for any other.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"float16"`` for weights and activations; whatever the
        checkpoint was saved in.
    device : str
        ``"auto"`` takes a CUDA device if there is one.
    classifier : bool
        Give the class probabilities of a fine-tuned classifier instead of layers, or the numbers
        of a regression model (arousal, dominance, valence).
    special_tokens : bool
        Text: pool the marks that the tokenizer adds as well.
    prefix : str, optional
        Text: put before each text, as some models want. By default the prompt that a
        sentence-transformers folder adds to every text, and none for any other.
    normalise : bool
        Scale every vector to length 1, as many sentence-transformers folders do.
    max_length : int, optional
        Text: cut after this many tokens; by default the model's own limit.
    batching : str
        ``"auto"``, ``"single"``, ``"padded"`` or ``"packed"``; changes speed only, never a vector.
    allow_extra : sequence of str
        Names of tensors that no layer needs and that may stay behind, such as ``"age.*"``.

    Returns
    -------
    Backend

    Raises
    ------
    InputError
        Wrong option, no such checkpoint, or one that is refused: code of its own, an adapter,
        incomplete, or of a family that cannot be made exact.
    """
    one_of(modality, (None, "audio", "text"), "modality")
    one_of(dtype, _DTYPES, "dtype")
    one_of(batching, _BATCHINGS, "batching")
    one_of(pooling, (None, *POOLINGS), "pooling")
    checkpoint = find_checkpoint(name, revision)
    with library_errors(checkpoint.name, "its files"):
        steps = read_sentence_steps(checkpoint.root)
        if steps is not None and not classifier:
            pooling = pooling or _known_pooling(steps.pooling, checkpoint.name)
            prefix = steps.prompt if prefix is None else prefix
        pooling, prefix = pooling or "mean", prefix or ""
        family = _family(checkpoint, modality, classifier)
        options: dict[str, Any] = {
            "modality": modality or family.modality or _modality(checkpoint),
            "dtype": dtype,
            "device": find_device(device),
            "batching": batching,
            "allow_extra": _patterns(allow_extra),
        }
        if options["modality"] == "text":
            front = _text_front(checkpoint, family, pooling, special_tokens, prefix, max_length)
        else:
            _check_no_text_options(special_tokens, prefix, max_length)
            front = _audio_front(checkpoint, family, pooling)
        model_class(checkpoint, classifier)
        if classifier:
            from .classifier import ClassifierBackend, RegressionBackend, is_regression

            if pooling != "mean" or normalise:
                what = "normalise" if normalise else f"pooling={pooling!r}"
                raise InputError(f"{what} has no meaning for a classifier; leave it out")
            if is_regression(checkpoint):
                return RegressionBackend(checkpoint, family, front, pooling="none", **options)
            return ClassifierBackend(checkpoint, family, front, pooling="softmax", **options)
        from .tower_run import TowerBackend
        from .transformer import TransformerBackend

        kind = TransformerBackend if family.tower is None else TowerBackend
        backend = kind(checkpoint, family, front, pooling=pooling, normalise=normalise, **options)
        if steps is not None:
            backend.notes = steps.notes(prefix=prefix, normalise=normalise)
        if checkpoint.config.get("auto_map"):
            backend.notes.append(
                "config.json refers to code of the repository (auto_map), which was not run: the "
                f"layers are those of {checkpoint.model_type!r} in transformers"
            )
        return backend


def _family(checkpoint: Checkpoint, modality: str | None, classifier: bool) -> Family:
    """Return the family of a checkpoint, which may be refused."""
    if reason := REFUSED.get(checkpoint.model_type):
        raise InputError(
            f"{checkpoint.name}: {checkpoint.model_type} is refused: {reason}. For states of your "
            'own choice wrap the model with Encoder.of (docs/guide/encoders.md, "Models with code '
            'of their own")'
        )
    family = family_of(checkpoint.model_type, modality)
    if family is GENERIC and not classifier:
        _check_generic(checkpoint, model_class(checkpoint, False))
    return family


def _text_front(
    checkpoint: Checkpoint,
    family: Family,
    pooling: str,
    special_tokens: bool,
    prefix: str,
    max_length: int | None,
) -> Any:
    from .fronts.tokens import TokenFront

    front = TokenFront(
        checkpoint, family, special_tokens=special_tokens, prefix=prefix, max_length=max_length
    )
    if pooling == "cls" and not front.starts_with_cls:
        raise InputError(
            f"`{pooling=}`: {checkpoint.name} puts no CLS token first; use 'mean' or 'last'"
        )
    return front


def _check_no_text_options(special_tokens: bool, prefix: str, max_length: int | None) -> None:
    for name, given in (
        ("special_tokens", not special_tokens),
        ("prefix", prefix),
        ("max_length", max_length is not None),
    ):
        if given:
            raise InputError(
                f"`{name}` is for text encoders, and this one reads audio; leave it out"
            )


def _audio_front(checkpoint: Checkpoint, family: Family, pooling: str) -> Any:
    if pooling in ("cls", "last"):
        raise InputError(f"`{pooling=}` is for text: audio has no CLS token; use 'mean'")
    if family.front == "filterbank":
        from .fronts.filterbank import FilterbankFront

        return FilterbankFront(checkpoint)
    if family.tower is not None:
        from .fronts.tower_inputs import FeatureFront

        return FeatureFront(checkpoint, family.tower)
    if family.front == "mel":
        from .fronts.whisper import WhisperFront

        return WhisperFront(checkpoint)
    from .fronts.waveform import WaveformFront

    return WaveformFront(checkpoint)


def _modality(checkpoint: Checkpoint) -> str:
    """Return, judging by its files, what an unknown family takes."""
    audio = (checkpoint.folder / "preprocessor_config.json").is_file()
    text = any(checkpoint.folder.glob("tokenizer*")) or any(checkpoint.folder.glob("vocab*"))
    if audio == text:
        raise InputError(
            f"{checkpoint.name}: a {checkpoint.model_type!r} checkpoint with "
            f"{'both' if audio else 'neither'} a tokenizer and a feature extractor; say "
            "`modality='audio'` or `modality='text'`"
        )
    return "audio" if audio else "text"


def _check_generic(checkpoint: Checkpoint, chosen: Any) -> None:
    if chosen.__name__.endswith("EncoderModel"):
        return
    if checkpoint.config.get("is_encoder_decoder") or chosen.__name__.endswith("ForCausalLM"):
        raise InputError(
            f"{checkpoint.name} is a {chosen.__name__}, an encoder-decoder model, and affekt does "
            "not guess which of its states you want. Save its encoder alone"
        )


def _known_pooling(pooling: str, name: str) -> str:
    if pooling not in POOLINGS:
        raise InputError(
            f"{name}: its own pooling is {pooling}, which affekt does not have; choose one with "
            f"`pooling`: {', '.join(POOLINGS)}"
        )
    return pooling


def _patterns(allow_extra: Any) -> tuple[str, ...]:
    found = (allow_extra,) if isinstance(allow_extra, str) else tuple(allow_extra)
    if wrong := [one for one in found if not isinstance(one, str) or not one.strip("*. ")]:
        raise InputError(
            f"`allow_extra={wrong[0]!r}`; expected names of tensors, such as 'age.*'; a pattern "
            "that matches every tensor is refused"
        )
    return found

"""The families that are known to be exact, one line each; everything else is `GENERIC`.

What a family needs: how its input is made (`front`), where its layers hang, whether rows may share
a masked forward pass, which attention is used, and which parts of a checkpoint belong to heads
that an encoder does without. A tensor that is neither in the encoder nor named here is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ...cache.errors import InputError
from .audio_towers import TOWERS, Tower

_SPEECH_HEADS = (
    "lm_head", "quantizer", "project_q", "project_hid", "projector", "classifier",
    "mult_attn_model", "layer_weights", "tdnn", "label_embeddings_concat",
    "layer_norm_for_extract", "speaker_proj", "age", "gender",  # audeering's age and gender model
)  # fmt: skip
_TEXT_HEADS = (
    "cls", "lm_head", "pooler", "classifier", "qa_outputs", "pre_classifier", "vocab_transform",
    "vocab_layer_norm", "vocab_projector", "lm_predictions", "mask_predictions",
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """How the models of one ``model_type`` are run.

    Attributes
    ----------
    name : str
        As people say it.
    modality : str
        ``"audio"``, ``"text"``; ``""`` where the checkpoint's files decide.
    front : str
        What makes the input: ``"waveform"``, ``"filterbank"``, ``"mel"``, ``"tokens"``,
        ``"features"``.
    layers : str
        Dotted path from the base model to its list of layers; ``""``: unknown, keep every hidden
        state until the pass is over.
    final : str
        Dotted path to the module whose output is the last layer, where that is not the model
        itself (an adapter after it would change the number of frames).
    attention : str
        The implementation asked for; fixed per family, since it is part of the spec.
    batched : bool
        Rows may share one masked forward pass.
    packed : tuple of str
        ``"cpu"``, ``"cuda"``: where rows are laid end to end (`affekt.extract.encoders.packed`).
    per_clip : tuple of str
        Dotted paths of modules in which padding would leak into a clip: they see one clip at a
        time, whatever the batch.
    heads : tuple of str
        First name of the tensors that may be left behind.
    pooler : bool
        The class builds a pooler that nothing here uses, unless an argument forbids it.
    position_offset : bool
        Positions are counted from ``pad_token_id + 1``.
    tower : Tower or None
        The part of a larger model that is the encoder.
    """

    name: str
    modality: str = ""
    front: str = ""
    layers: str = ""
    final: str = ""
    attention: str = "eager"
    batched: bool = False
    packed: tuple[str, ...] = ()
    per_clip: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pooler: bool = False
    position_offset: bool = False
    tower: Tower | None = None


_speech = partial(
    Family, modality="audio", front="waveform", layers="encoder.layers", final="encoder",
    attention="sdpa", batched=True, packed=("cpu", "cuda"), per_clip=("feature_extractor",),
    heads=_SPEECH_HEADS,
)  # fmt: skip
_text = partial(
    Family, modality="text", front="tokens", layers="encoder.layer", attention="sdpa",
    batched=True, packed=("cpu", "cuda"), heads=_TEXT_HEADS, pooler=True,
)  # fmt: skip
GENERIC = Family("generic", heads=("lm_head", "embed_out", "cls", "pooler", "classifier", "score"))

FAMILIES = {
    "wav2vec2": _speech("Wav2Vec2, XLSR, XLS-R, MMS"),
    "hubert": _speech("HuBERT"),
    # attention with a bias for each pair of frames: clip by clip
    "wavlm": _speech("WavLM", attention="eager", packed=("cpu",)),
    "unispeech-sat": _speech("UniSpeech-SAT"),
    # five convolutions in a row, with norms between: masking before the first is not enough
    "data2vec-audio": _speech(
        "Data2Vec-Audio", per_clip=("feature_extractor", "encoder.pos_conv_embed")
    ),
    "wav2vec2-bert": _speech("Wav2Vec2-BERT", front="filterbank", per_clip=()),
    "whisper": _speech(
        "Whisper encoder",
        front="mel",
        layers="layers",
        final="",
        packed=("cpu",),  # of 30 s only the part that is read
        per_clip=(),
        heads=("decoder", "proj_out", "projector", "classifier", "layer_weights"),
    ),
    "bert": _text("BERT"),
    "roberta": _text("RoBERTa", position_offset=True),
    "xlm-roberta": _text("XLM-R", position_offset=True),
    "camembert": _text("CamemBERT", position_offset=True),
    "distilbert": _text("DistilBERT", layers="transformer.layer", pooler=False),
    "mpnet": _text("MPNet", attention="eager", packed=(), position_offset=True),
    "deberta": _text("DeBERTa", attention="eager", packed=(), pooler=False),
    "deberta-v2": _text("DeBERTa-v2, v3, mDeBERTa", attention="eager", packed=(), pooler=False),
}

FAMILIES |= {
    model_type: Family(
        tower.name, "audio", "features", attention=tower.attention, heads=tower.heads, tower=tower
    )
    for tower in TOWERS
    for model_type in tower.types.split()
}


def family_of(model_type: str, modality: str | None = None) -> Family:
    """Look a family up.

    Parameters
    ----------
    model_type : str
        As in ``config.json``.
    modality : str, optional
        ``"audio"`` or ``"text"``, which the family has to fit.

    Returns
    -------
    Family
        `GENERIC` where the type is not in the table.

    Examples
    --------
    >>> family_of("wavlm").attention
    'eager'
    """
    family = FAMILIES.get(model_type, GENERIC)
    if modality and family.modality and modality != family.modality:
        raise InputError(
            f"`{modality=}` does not fit {family.name}, which is an {family.modality} "
            "encoder; leave `modality` out"
        )
    return family

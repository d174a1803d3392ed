"""A small random Whisper with a real tokenizer and all its marks."""

from __future__ import annotations

from pathlib import Path

import transformers as tf
from tokenizers.pre_tokenizers import ByteLevel

from tests.support.encoder_models import random_model

LANGUAGES = ("en", "de", "es", "pl", "ur")


def write_whisper(folder: Path, *, english_only: bool = False) -> Path:
    """Write a checkpoint of 100,000 parameters, which hears nonsense."""
    pieces = sorted(ByteLevel.alphabet())
    marks = ["<|endoftext|>", "<|startoftranscript|>"]
    marks += [f"<|{code}|>" for code in LANGUAGES]
    marks += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    marks += ["<|nospeech|>", "<|notimestamps|>"]
    marks += [f"<|{0.02 * step:.2f}|>" for step in range(1501)]
    number = {piece: index for index, piece in enumerate([*pieces, *marks])}
    tokenizer = tf.WhisperTokenizer(
        vocab={piece: number[piece] for piece in pieces} | {marks[0]: number[marks[0]]}, merges=[]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": marks[1:]})
    assert len(tokenizer) == len(number)
    start, end = number["<|startoftranscript|>"], number["<|endoftext|>"]
    config = tf.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_mel_bins=80,
        max_target_positions=448,
        vocab_size=len(number),
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model = random_model(tf.WhisperForConditionalGeneration, config)
    model.generation_config = tf.GenerationConfig(
        decoder_start_token_id=start,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        max_length=9,
        return_timestamps=False,
        begin_suppress_tokens=[end],
        no_timestamps_token_id=number["<|notimestamps|>"],
    )
    extra = {
        "is_multilingual": not english_only,
        "lang_to_id": {f"<|{code}|>": number[f"<|{code}|>"] for code in LANGUAGES},
        "task_to_id": {task: number[f"<|{task}|>"] for task in ("translate", "transcribe")},
    }
    for name, value in extra.items():
        if not english_only or name == "is_multilingual":
            setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    extractor = tf.WhisperFeatureExtractor(feature_size=80)
    tf.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder

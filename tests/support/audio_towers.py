"""Small random models with an audio tower, one for each row of the table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers as tf

from tests.support.encoder_models import random_model

_D = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
_H = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {**_H, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64}
_FAST = {**_H, "subsampling_conv_channels": 8, "max_position_embeddings": 1000}
_WHISPER = {"feature_size": 128}
_SEAMLESS = {
    "vocab_size": 64,
    "t2u_vocab_size": 64,
    "hidden_size": 32,
    "speech_encoder_layers": 2,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 64,
    "feature_projection_input_dim": 160,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "t2u_encoder_layers": 1,
    "t2u_decoder_layers": 1,
}


def _config(kind: str, **values: Any) -> Callable[[], Any]:
    return lambda: tf.AutoConfig.for_model(kind, **values)


#: By model type: what makes the configuration, the class that is saved, the feature extractor.
MODELS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "qwen2_audio": (
        _config(
            "qwen2_audio",
            audio_config={"model_type": "qwen2_audio_encoder", **_D},
            text_config={"model_type": "qwen2", **_TEXT},
            audio_token_index=3,
        ),
        "Qwen2AudioForConditionalGeneration",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "qwen3_asr": (
        _config(
            "qwen3_asr",
            audio_config={
                "model_type": "qwen3_asr_encoder",
                **_D,
                "downsample_hidden_size": 8,
                "output_dim": 32,
            },
            text_config={"model_type": "qwen3", **_TEXT},
            audio_token_id=3,
            pad_token_id=0,
        ),
        "Qwen3ASRForConditionalGeneration",
        lambda: tf.Qwen3ASRFeatureExtractor(),
    ),
    "qwen2_5_omni_audio_encoder": (
        _config("qwen2_5_omni_audio_encoder", **_D, output_dim=48),
        "Qwen2_5OmniAudioEncoder",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "qwen3_omni_moe_audio_encoder": (
        _config("qwen3_omni_moe_audio_encoder", **_D, output_dim=48, downsample_hidden_size=8),
        "Qwen3OmniMoeAudioEncoder",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "audioflamingo3": (
        _config(
            "audioflamingo3",
            audio_config={"model_type": "audioflamingo3_encoder", **_H},
            text_config={"model_type": "qwen2", **_TEXT},
            audio_token_id=3,
        ),
        "AudioFlamingo3ForConditionalGeneration",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "voxtral": (
        _config(
            "voxtral",
            audio_config={"model_type": "voxtral_encoder", **_H},
            text_config={"model_type": "llama", **_TEXT},
            audio_token_id=3,
        ),
        "VoxtralForConditionalGeneration",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "voxtral_realtime_encoder": (
        _config("voxtral_realtime_encoder", **_H, head_dim=8, num_key_value_heads=4),
        "VoxtralRealtimeEncoder",
        lambda: tf.VoxtralRealtimeFeatureExtractor(),
    ),
    "glmasr_encoder": (
        _config("glmasr_encoder", **_H),
        "GlmAsrEncoder",
        lambda: tf.WhisperFeatureExtractor(**_WHISPER),
    ),
    "moss_transcribe_diarize_audio": (
        _config("moss_transcribe_diarize_audio", **_H),
        "MossTranscribeDiarizeAudioModel",
        lambda: tf.MossTranscribeDiarizeFeatureExtractor(),
    ),
    "parakeet_ctc": (
        _config("parakeet_ctc", encoder_config=_FAST, vocab_size=16, pad_token_id=0),
        "ParakeetForCTC",
        lambda: tf.ParakeetFeatureExtractor(),
    ),
    "nemotron_asr_streaming_encoder": (
        _config("nemotron_asr_streaming_encoder", **_FAST),
        "NemotronAsrStreamingEncoder",
        lambda: tf.NemotronAsrStreamingFeatureExtractor(),
    ),
    "nemotron3_diarization_audio": (
        _config("nemotron3_diarization_audio", **_H, num_mel_bins=80),
        "Nemotron3DiarizationAudioModel",
        lambda: tf.NemotronAsrStreamingFeatureExtractor(),
    ),
    "pe_audio_encoder": (
        _config(
            "pe_audio_encoder",
            **_H,
            head_dim=8,
            num_key_value_heads=4,
            dac_config={
                "downsampling_ratios": [2, 8, 10, 12],
                "encoder_hidden_size": 2,
                "codebook_dim": 8,
            },
        ),
        "PeAudioEncoder",
        lambda: tf.PeAudioFeatureExtractor(),
    ),
    "granite_speech_encoder": (
        _config("granite_speech_encoder", hidden_dim=32, num_layers=2, num_heads=4, output_dim=8),
        "GraniteSpeechCTCEncoder",
        lambda: tf.GraniteSpeechFeatureExtractor(),
    ),
    "granite_speech5_encoder": (
        _config("granite_speech5_encoder", **_H, vocab_size=16, subsample_layers=[]),
        "GraniteSpeech5Encoder",
        lambda: tf.GraniteSpeech5FeatureExtractor(),
    ),
    "lasr_ctc": (
        _config("lasr_ctc", encoder_config=_FAST, vocab_size=16),
        "LasrForCTC",
        lambda: tf.LasrFeatureExtractor(),
    ),
    "fun_asr_nano_encoder": (
        _config("fun_asr_nano_encoder", **_H),
        "FunAsrNanoEncoder",
        lambda: tf.FunAsrNanoFeatureExtractor(),
    ),
    "moonshine": (
        _config(
            "moonshine",
            vocab_size=16,
            hidden_size=32,
            intermediate_size=64,
            encoder_num_hidden_layers=2,
            decoder_num_hidden_layers=1,
            encoder_num_attention_heads=4,
            decoder_num_attention_heads=4,
        ),
        "MoonshineForConditionalGeneration",
        lambda: tf.Wav2Vec2FeatureExtractor(do_normalize=False, sampling_rate=16000),
    ),
    "moonshine_streaming_encoder": (
        _config(
            "moonshine_streaming_encoder",
            **_H,
            num_key_value_heads=4,
            head_dim=8,
            sliding_windows=[[16, 4], [16, 4]],
        ),
        "MoonshineStreamingEncoder",
        lambda: tf.Wav2Vec2FeatureExtractor(do_normalize=False, sampling_rate=16000),
    ),
    "seamless_m4t": (
        _config("seamless_m4t", **_SEAMLESS),
        "SeamlessM4TForSpeechToText",
        lambda: tf.SeamlessM4TFeatureExtractor(),
    ),
    "seamless_m4t_v2": (
        _config("seamless_m4t_v2", **_SEAMLESS),
        "SeamlessM4Tv2ForSpeechToText",
        lambda: tf.SeamlessM4TFeatureExtractor(),
    ),
    "speecht5": (
        _config(
            "speecht5",
            vocab_size=16,
            hidden_size=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=32,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        ),
        "SpeechT5ForSpeechToText",
        lambda: tf.SpeechT5FeatureExtractor(),
    ),
    "speech_to_text": (
        _config(
            "speech_to_text",
            **_D,
            vocab_size=16,
            decoder_layers=1,
            decoder_ffn_dim=32,
            decoder_attention_heads=2,
            conv_channels=16,
        ),
        "Speech2TextForConditionalGeneration",
        lambda: tf.Speech2TextFeatureExtractor(),
    ),
    "gemma3n_audio": (
        _config(
            "gemma3n_audio",
            hidden_size=32,
            conf_num_hidden_layers=2,
            conf_num_attention_heads=4,
            sscp_conv_channel_size=(8, 4),
            conf_reduction_factor=2,
        ),
        "Gemma3nAudioEncoder",
        lambda: tf.Gemma3nAudioFeatureExtractor(),
    ),
    "gemma4_audio": (
        _config(
            "gemma4_audio",
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            subsampling_conv_channels=[128, 4],
            output_proj_dims=32,
        ),
        "Gemma4AudioModel",
        lambda: tf.Gemma4AudioFeatureExtractor(),
    ),
    "phi4_multimodal_audio": (
        _config(
            "phi4_multimodal_audio",
            hidden_size=32,
            intermediate_size=64,
            num_blocks=2,
            num_attention_heads=4,
            ext_pw_out_channel=32,
            depthwise_separable_out_channel=32,
            nemo_conv_channels=32,
        ),
        "Phi4MultimodalAudioModel",
        lambda: tf.Phi4MultimodalFeatureExtractor(),
    ),
    "audio-spectrogram-transformer": (
        _config("audio-spectrogram-transformer", **_H, num_labels=4),
        "ASTForAudioClassification",
        lambda: tf.ASTFeatureExtractor(),
    ),
    "clap": (
        _config(
            "clap",
            audio_config={
                "hidden_size": 64,
                "patch_embeds_hidden_size": 8,
                "depths": [1, 1, 1, 1],
                "num_attention_heads": [2, 2, 2, 2],
                "projection_dim": 16,
            },
            text_config={**_H, "vocab_size": 64, "projection_dim": 16},
            projection_dim=16,
        ),
        "ClapModel",
        lambda: tf.ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad"),
    ),
    "dac": (
        _config(
            "dac",
            encoder_hidden_size=4,
            decoder_hidden_size=64,
            n_codebooks=2,
            codebook_size=16,
            downsampling_ratios=[2, 4, 8],
        ),
        "DacModel",
        lambda: tf.DacFeatureExtractor(hop_length=64),
    ),
    "encodec": (
        _config("encodec", hidden_size=32, num_filters=4, codebook_size=16),
        "EncodecModel",
        lambda: tf.EncodecFeatureExtractor(),
    ),
    "mimi": (
        _config(
            "mimi",
            hidden_size=32,
            num_filters=4,
            upsample_groups=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=8,
            intermediate_size=32,
            codebook_size=16,
            codebook_dim=8,
            vector_quantization_hidden_dimension=8,
            num_quantizers=3,
        ),
        "MimiModel",
        lambda: tf.EncodecFeatureExtractor(sampling_rate=24000),
    ),
}


def save_tower(name: str, folder: Path, *, extractor_too: bool = True) -> Path:
    """Write the small model of this type and its feature extractor."""
    configure, class_name, extractor = MODELS[name]
    config = configure()
    kind = _class(class_name, config)
    model = random_model(kind, config)
    with torch.no_grad():  # running statistics of batch norms are numbers of a checkpoint too
        for key, value in model.named_buffers():
            if "running" in key:
                value.add_(0.1)
    model.save_pretrained(folder)
    if extractor_too:
        extractor().save_pretrained(folder)
    return folder


def whole_model(name: str, folder: Path) -> Any:
    """Load the saved model as the library does, to compare with."""
    kind = _class(MODELS[name][1], tf.AutoConfig.from_pretrained(folder))
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def _class(name: str, config: Any) -> Any:
    found = getattr(tf, name, None)
    if found is None:  # not in the library's front door
        module = type(config).__module__.replace("configuration", "modeling")
        found = getattr(import_module(module), name)
    return found

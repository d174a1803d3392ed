"""The audio towers of transformers that are known, and which models have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...cache.errors import InputError


@dataclass(frozen=True)
class Tower:
    """Where the encoder of a larger model is, and what it takes and gives.

    Attributes
    ----------
    code : str
        ``"module.Class"`` under ``transformers.models``.
    extractor : str
        Class of the feature extractor that makes its input.
    layers : str
        Dotted path to the blocks; ``""``: only the final output is given, as one layer.
    final : str
        Dotted path to the module whose output is the last layer; ``""``: the tower itself.
    entry : str
        Dotted path to the part that is called; ``""``: the tower itself.
    sizes : tuple of str
        Names in its configuration of the number of blocks and the width.
    feed : str
        How the extractor's answer becomes arguments, where it is not the common way.
    options : mapping
        Passed to the extractor.
    seconds : float
        Longest clip; 0: what the extractor says, or no limit.
    shortest : float
        Shortest clip, in seconds.
    attention : str
        Implementation asked for.
    channels_first : bool
        The final output is ``(rows, dim, frames)``.
    heads : tuple of str
        First names of tensors that may be left behind in a checkpoint of the tower alone.
    """

    code: str
    extractor: str = "WhisperFeatureExtractor"
    layers: str = "layers"
    final: str = ""
    entry: str = ""
    sizes: tuple[str, str] = ("num_hidden_layers", "hidden_size")
    feed: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    shortest: float = 0.1
    attention: str = "sdpa"
    channels_first: bool = False
    heads: tuple[str, ...] = ()

    @property
    def model(self) -> Any:
        """The class."""
        from importlib import import_module

        module, name = self.code.split(".")
        try:
            return getattr(import_module(f"transformers.models.{module}.modeling_{module}"), name)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"this transformers has no {name} ({error}); install a newer one: "
                "pip install -U transformers"
            ) from error


_MASKED = {"return_attention_mask": True}
_SEAMLESS = {
    "extractor": "SeamlessM4TFeatureExtractor",
    "layers": "encoder.layers",
    "final": "encoder",
    "sizes": ("speech_encoder_layers", "hidden_size"),
    "attention": "eager",
}
_FASTCONFORMER = {"extractor": "ParakeetFeatureExtractor", "options": _MASKED}
_CODEC = {
    "layers": "",
    "entry": "encoder",
    "sizes": ("", "hidden_size"),
    "attention": "eager",
    "channels_first": True,
}

#: Name, model types (of the whole model, and of a tower that was saved alone), tower.
ROWS: tuple[tuple[str, str, Tower], ...] = (
    (
        "Qwen2-Audio",
        "qwen2_audio qwen2_audio_encoder",
        Tower("qwen2_audio.Qwen2AudioEncoder", feed="mask_4d", options=_MASKED),
    ),
    (
        "Qwen3-ASR",
        "qwen3_asr qwen3_asr_encoder",
        Tower("qwen3_asr.Qwen3ASREncoder", "Qwen3ASRFeatureExtractor", options=_MASKED),
    ),
    (
        "Qwen2.5-Omni",
        "qwen2_5_omni qwen2_5_omni_thinker qwen2_5_omni_audio_encoder",
        Tower(
            "qwen2_5_omni.Qwen2_5OmniAudioEncoder",
            final="ln_post",
            feed="packed",
            options=_MASKED,
        ),
    ),
    (
        "Qwen3-Omni",
        "qwen3_omni_moe qwen3_omni_moe_thinker qwen3_omni_moe_audio_encoder",
        Tower(
            "qwen3_omni_moe.Qwen3OmniMoeAudioEncoder",
            final="ln_post",
            feed="packed",
            options=_MASKED,
        ),
    ),
    (
        "Audio Flamingo 3, Music Flamingo",
        "audioflamingo3 musicflamingo audioflamingo3_encoder",
        Tower("audioflamingo3.AudioFlamingo3Encoder", options=_MASKED),
    ),
    (
        "Voxtral",
        "voxtral voxtral_encoder",
        Tower("voxtral.VoxtralEncoder", feed="unmasked", options=_MASKED),
    ),
    (
        "Voxtral Realtime",
        "voxtral_realtime voxtral_realtime_encoder",
        Tower("voxtral_realtime.VoxtralRealtimeEncoder", "VoxtralRealtimeFeatureExtractor"),
    ),
    ("GLM-ASR", "glmasr glmasr_encoder", Tower("glmasr.GlmAsrEncoder", options=_MASKED)),
    (
        "MOSS-Transcribe-Diarize",
        "moss_transcribe_diarize moss_transcribe_diarize_audio",
        Tower(
            "moss_transcribe_diarize.MossTranscribeDiarizeAudioModel",
            "MossTranscribeDiarizeFeatureExtractor",
            feed="unmasked",
        ),
    ),
    (
        "Parakeet, Canary",
        "parakeet_ctc parakeet_rnnt parakeet_tdt parakeet_encoder canary",
        Tower("parakeet.ParakeetEncoder", **_FASTCONFORMER),
    ),
    (
        "Cohere ASR",
        "cohere_asr",
        Tower("parakeet.ParakeetEncoder", "CohereAsrFeatureExtractor"),
    ),
    (
        "Nemotron streaming ASR",
        "nemotron_asr_streaming nemotron3_5_asr nemotron_asr_streaming_encoder",
        Tower(
            "nemotron_asr_streaming.NemotronAsrStreamingEncoder",
            "NemotronAsrStreamingFeatureExtractor",
            options=_MASKED,
        ),
    ),
    (
        "Nemotron 3 diarization",
        "nemotron3_diarization nemotron3_diarization_audio",
        Tower(
            "nemotron3_diarization.Nemotron3DiarizationAudioModel",
            "NemotronAsrStreamingFeatureExtractor",
            options=_MASKED,
        ),
    ),
    (
        "PE-Audio",
        "pe_audio pe_audio_encoder",
        Tower("pe_audio.PeAudioEncoder", "PeAudioFeatureExtractor", feed="class_token"),
    ),
    (
        "Granite Speech",
        "granite_speech granite_speech_encoder",
        Tower(
            "granite_speech.GraniteSpeechCTCEncoder",
            "GraniteSpeechFeatureExtractor",
            sizes=("num_layers", "hidden_dim"),
            feed="no_rate",
        ),
    ),
    (
        "Granite Speech Plus",
        "granite_speech_plus granite_speech_plus_encoder",
        Tower(
            "granite_speech_plus.GraniteSpeechPlusCTCEncoder",
            "GraniteSpeechFeatureExtractor",
            sizes=("num_layers", "hidden_dim"),
            feed="no_rate",
        ),
    ),
    (
        "Granite Speech 5",
        "granite_speech5_ctc granite_speech5_encoder",
        Tower("granite_speech5.GraniteSpeech5Encoder", "GraniteSpeech5FeatureExtractor"),
    ),
    (
        "LASR (MedASR)",
        "lasr_ctc lasr_encoder",
        Tower("lasr.LasrEncoder", "LasrFeatureExtractor", options=_MASKED, shortest=0.15),
    ),
    (
        "Fun-ASR-Nano",
        "fun_asr_nano fun_asr_nano_encoder",
        Tower(
            "fun_asr_nano.FunAsrNanoEncoder",
            "FunAsrNanoFeatureExtractor",
            layers="",  # the first block takes frames of another width
            sizes=("", "hidden_size"),
        ),
    ),
    (
        "Moonshine",
        "moonshine",
        Tower(
            "moonshine.MoonshineEncoder",
            "Wav2Vec2FeatureExtractor",
            sizes=("encoder_num_hidden_layers", "hidden_size"),
        ),
    ),
    (
        "Moonshine Streaming",
        "moonshine_streaming moonshine_streaming_encoder",
        Tower(
            "moonshine_streaming.MoonshineStreamingEncoder",
            "Wav2Vec2FeatureExtractor",
            options={"return_attention_mask": True, "padding": True, "pad_to_multiple_of": 80},
        ),
    ),
    (
        "SeamlessM4T",
        "seamless_m4t",
        Tower("seamless_m4t.SeamlessM4TSpeechEncoder", **_SEAMLESS),
    ),
    (
        "SeamlessM4T v2",
        "seamless_m4t_v2",
        Tower("seamless_m4t_v2.SeamlessM4Tv2SpeechEncoder", **_SEAMLESS),
    ),
    (
        "SpeechT5",
        "speecht5",
        Tower(
            "speecht5.SpeechT5EncoderWithSpeechPrenet",
            "SpeechT5FeatureExtractor",
            layers="wrapped_encoder.layers",
            sizes=("encoder_layers", "hidden_size"),
            attention="eager",
        ),
    ),
    (
        "Speech2Text",
        "speech_to_text",
        Tower(
            "speech_to_text.Speech2TextEncoder",
            "Speech2TextFeatureExtractor",
            sizes=("encoder_layers", "d_model"),
            attention="eager",
        ),
    ),
    (
        "Gemma 3n",
        "gemma3n gemma3n_audio",
        Tower(
            "gemma3n.Gemma3nAudioEncoder",
            "Gemma3nAudioFeatureExtractor",
            layers="conformer",
            sizes=("conf_num_hidden_layers", "hidden_size"),
            feed="inverted_mask",
            seconds=30.0,
            attention="eager",
        ),
    ),
    (
        "Gemma 4",
        "gemma4 gemma4_audio embedding_gemma2",
        Tower(
            "gemma4.Gemma4AudioModel",
            "Gemma4AudioFeatureExtractor",
            seconds=30.0,
            attention="eager",
        ),
    ),
    (
        "Phi-4-multimodal",
        "phi4_multimodal phi4_multimodal_audio",
        Tower(
            "phi4_multimodal.Phi4MultimodalAudioModel",
            "Phi4MultimodalFeatureExtractor",
            layers="encoders",
            sizes=("num_blocks", "hidden_size"),
        ),
    ),
    (
        "AST",
        "audio-spectrogram-transformer",
        Tower(
            "audio_spectrogram_transformer.ASTModel",
            "ASTFeatureExtractor",
            feed="patches",
            heads=("classifier",),
        ),
    ),
    (
        "CLAP's audio tower",
        "clap clap_audio_model",
        Tower(
            "clap.ClapAudioModel",
            "ClapFeatureExtractor",
            layers="",
            sizes=("", "hidden_size"),
            feed="clap",
            attention="eager",
            channels_first=True,
        ),
    ),
    ("DAC", "dac", Tower("dac.DacModel", "DacFeatureExtractor", **_CODEC)),
    ("EnCodec", "encodec", Tower("encodec.EncodecModel", "EncodecFeatureExtractor", **_CODEC)),
    ("Mimi", "mimi", Tower("mimi.MimiModel", "EncodecFeatureExtractor", **_CODEC)),
)

_REASONS = (
    (
        "clvp csm dia fastspeech2_conformer fastspeech2_conformer_with_hifigan gradium_phonon_tts "
        "higgs_audio_v2 kyutai_speech_to_text moshi musicgen musicgen_melody pocket_tts pop2piano "
        "univnet vibevoice",
        "its input is text, spectra or a codec's tokens; it has no encoder of speech with blocks",
    ),
    (
        "mimi_encoder pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder "
        "vibevoice_acoustic_tokenizer vibevoice_acoustic_tokenizer_encoder",
        "it is a part of a speech generator; DAC, EnCodec and Mimi are the codecs that open",
    ),
    (
        "higgs_audio_v2_tokenizer neucodec xcodec xcodec2",
        "its codes come from two encoders of different frame rates",
    ),
    ("vibevoice_asr", "its frames come from two tokenizers, of sound and of meaning"),
    ("nemo_speechlm", "it joins the frames of two encoders, of speech and of speakers"),
    ("pe_audio_video pe_audio_video_encoder", "its audio and video are encoded together"),
    ("gemma4_unified", "it has no audio encoder: samples go straight into the language model"),
    ("inkling_mm_model", "it has no audio encoder: spectra go straight into the language model"),
    ("dots3_note", "its encoder takes chunks of a recording, each with positions of its own"),
    (
        "muse_spark muse_spark_audio",
        "its audio layers are convolutions of different rates, down from raw samples",
    ),
    (
        "speech-encoder-decoder",
        "it is an encoder-decoder model: save its encoder alone (model.encoder.save_pretrained)",
    ),
)

#: Model types with audio input that are refused, and why.
REFUSED = {kind: reason for types, reason in _REASONS for kind in types.split()}

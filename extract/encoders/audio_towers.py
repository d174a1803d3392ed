"""The audio towers of transformers that are known, and which models have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affekt.versions import version_of

from ...cache.errors import InputError


@dataclass(frozen=True)
class Tower:
    """Where the encoder of a larger model is, and what it takes and gives.

    Attributes
    ----------
    name : str
        Readable name of its models.
    types : str
        Their model types, and those of a tower that was saved alone.
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
    since : tuple of int
        The first version of transformers that computes it correctly.
    """

    name: str
    types: str
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
    since: tuple[int, int] = (0, 0)

    @property
    def model(self) -> Any:
        """The class."""
        from importlib import import_module

        here = version_of("transformers")
        if tuple(map(int, here.split(".")[:2])) < self.since:
            raise InputError(
                f"transformers {here} computes {self.name} wrongly; expected "
                f"{'.'.join(map(str, self.since))} or newer: pip install -U transformers"
            )
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

TOWERS: tuple[Tower, ...] = (
    Tower("Qwen2-Audio", "qwen2_audio qwen2_audio_encoder", "qwen2_audio.Qwen2AudioEncoder",
          feed="mask_4d", options=_MASKED),
    Tower("Qwen3-ASR", "qwen3_asr qwen3_asr_encoder", "qwen3_asr.Qwen3ASREncoder",
          "Qwen3ASRFeatureExtractor", options=_MASKED),
    Tower("Qwen2.5-Omni", "qwen2_5_omni qwen2_5_omni_thinker qwen2_5_omni_audio_encoder",
          "qwen2_5_omni.Qwen2_5OmniAudioEncoder", final="ln_post", feed="packed", options=_MASKED),
    Tower("Qwen3-Omni", "qwen3_omni_moe qwen3_omni_moe_thinker qwen3_omni_moe_audio_encoder",
          "qwen3_omni_moe.Qwen3OmniMoeAudioEncoder", final="ln_post", feed="packed",
          options=_MASKED),
    Tower("Audio Flamingo 3, Music Flamingo", "audioflamingo3 musicflamingo audioflamingo3_encoder",
          "audioflamingo3.AudioFlamingo3Encoder", options=_MASKED),
    Tower("Voxtral", "voxtral voxtral_encoder", "voxtral.VoxtralEncoder", feed="unmasked",
          options=_MASKED),
    Tower("Voxtral Realtime", "voxtral_realtime voxtral_realtime_encoder",
          "voxtral_realtime.VoxtralRealtimeEncoder", "VoxtralRealtimeFeatureExtractor"),
    Tower("GLM-ASR", "glmasr glmasr_encoder", "glmasr.GlmAsrEncoder", options=_MASKED),
    Tower("MOSS-Transcribe-Diarize", "moss_transcribe_diarize moss_transcribe_diarize_audio",
          "moss_transcribe_diarize.MossTranscribeDiarizeAudioModel",
          "MossTranscribeDiarizeFeatureExtractor", feed="unmasked"),
    Tower("Parakeet, Canary", "parakeet_ctc parakeet_rnnt parakeet_tdt parakeet_encoder canary",
          "parakeet.ParakeetEncoder", **_FASTCONFORMER),
    Tower("Cohere ASR", "cohere_asr", "parakeet.ParakeetEncoder", "CohereAsrFeatureExtractor"),
    Tower("Nemotron streaming ASR",
          "nemotron_asr_streaming nemotron3_5_asr nemotron_asr_streaming_encoder",
          "nemotron_asr_streaming.NemotronAsrStreamingEncoder",
          "NemotronAsrStreamingFeatureExtractor", options=_MASKED),
    Tower("Nemotron 3 diarization", "nemotron3_diarization nemotron3_diarization_audio",
          "nemotron3_diarization.Nemotron3DiarizationAudioModel",
          "NemotronAsrStreamingFeatureExtractor", options=_MASKED),
    Tower("PE-Audio", "pe_audio pe_audio_encoder", "pe_audio.PeAudioEncoder",
          "PeAudioFeatureExtractor", feed="class_token"),
    Tower("Granite Speech", "granite_speech granite_speech_encoder",
          "granite_speech.GraniteSpeechCTCEncoder", "GraniteSpeechFeatureExtractor",
          sizes=("num_layers", "hidden_dim"), feed="no_rate"),
    Tower("Granite Speech Plus", "granite_speech_plus granite_speech_plus_encoder",
          "granite_speech_plus.GraniteSpeechPlusCTCEncoder", "GraniteSpeechFeatureExtractor",
          sizes=("num_layers", "hidden_dim"), feed="no_rate"),
    Tower("Granite Speech 5", "granite_speech5_ctc granite_speech5_encoder",
          "granite_speech5.GraniteSpeech5Encoder", "GraniteSpeech5FeatureExtractor"),
    Tower("LASR (MedASR)", "lasr_ctc lasr_encoder", "lasr.LasrEncoder", "LasrFeatureExtractor",
          options=_MASKED, shortest=0.15),
    # the first block of Fun-ASR-Nano takes frames of another width
    Tower("Fun-ASR-Nano", "fun_asr_nano fun_asr_nano_encoder", "fun_asr_nano.FunAsrNanoEncoder",
          "FunAsrNanoFeatureExtractor", layers="", sizes=("", "hidden_size")),
    Tower("Moonshine", "moonshine", "moonshine.MoonshineEncoder", "Wav2Vec2FeatureExtractor",
          sizes=("encoder_num_hidden_layers", "hidden_size")),
    Tower("Moonshine Streaming", "moonshine_streaming moonshine_streaming_encoder",
          "moonshine_streaming.MoonshineStreamingEncoder", "Wav2Vec2FeatureExtractor",
          options={"return_attention_mask": True, "padding": True, "pad_to_multiple_of": 80}),
    Tower("SeamlessM4T", "seamless_m4t", "seamless_m4t.SeamlessM4TSpeechEncoder", **_SEAMLESS),
    Tower("SeamlessM4T v2", "seamless_m4t_v2", "seamless_m4t_v2.SeamlessM4Tv2SpeechEncoder",
          **_SEAMLESS),
    Tower("SpeechT5", "speecht5", "speecht5.SpeechT5EncoderWithSpeechPrenet",
          "SpeechT5FeatureExtractor", layers="wrapped_encoder.layers",
          sizes=("encoder_layers", "hidden_size"), attention="eager"),
    Tower("Speech2Text", "speech_to_text", "speech_to_text.Speech2TextEncoder",
          "Speech2TextFeatureExtractor", sizes=("encoder_layers", "d_model"), attention="eager"),
    Tower("Gemma 3n", "gemma3n gemma3n_audio", "gemma3n.Gemma3nAudioEncoder",
          "Gemma3nAudioFeatureExtractor", layers="conformer",
          sizes=("conf_num_hidden_layers", "hidden_size"), feed="inverted_mask", seconds=30.0,
          attention="eager"),
    Tower("Gemma 4", "gemma4 gemma4_audio embedding_gemma2", "gemma4.Gemma4AudioModel",
          "Gemma4AudioFeatureExtractor", seconds=30.0, attention="eager", since=(5, 20)),
    Tower("Phi-4-multimodal", "phi4_multimodal phi4_multimodal_audio",
          "phi4_multimodal.Phi4MultimodalAudioModel", "Phi4MultimodalFeatureExtractor",
          layers="encoders", sizes=("num_blocks", "hidden_size")),
    Tower("AST", "audio-spectrogram-transformer", "audio_spectrogram_transformer.ASTModel",
          "ASTFeatureExtractor", feed="patches", heads=("classifier",)),
    Tower("CLAP's audio tower", "clap clap_audio_model", "clap.ClapAudioModel",
          "ClapFeatureExtractor", layers="", sizes=("", "hidden_size"), feed="clap",
          attention="eager", channels_first=True),
    Tower("DAC", "dac", "dac.DacModel", "DacFeatureExtractor", **_CODEC),
    Tower("EnCodec", "encodec", "encodec.EncodecModel", "EncodecFeatureExtractor", **_CODEC),
    Tower("Mimi", "mimi", "mimi.MimiModel", "EncodecFeatureExtractor", **_CODEC),
)  # fmt: skip

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

"""What columns may be called: other names of ours, and words of other languages."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: what a clip without a label means
BLANK_LABEL = ("error", "drop")

#: our name -> other names; those of a list count where none of the lists before it is there
ALIASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "id": (
        ("clip", "clip_id", "utt", "utt_id", "utterance_id", "uttid"),
        (
            "key", "segment_id", "sample_id", "audio_id", "uid", "tweet_id", "review_id", "text_id",
            "sentence_id",
        ),
        ("idx",),
    ),
    "path": (
        (
            "file", "file_name", "filename", "filepath", "file_path", "wav", "wav_file", "wav_path",
            "audio", "audio_path", "audio_file",
        ),
        (
            "audio_filepath", "audio_file_path", "audio_filename", "wav_filename", "audiofile",
            "fname", "path_to_audio", "path_to_file", "path_to_wav",
        ),
    ),
    "text": (("transcript", "transcription", "sentence", "utterance"), ("tweet", "review")),
    "label": (
        ("emotion", "emo", "labels", "class", "category"),
        ("emoclass", "emotion_label", "emotions"),
        ("sentiment", "polarity"),
    ),
    "speaker": (
        ("spk", "speaker_id", "spk_id", "speakerid", "actor"),
        (
            "spkrid", "actor_id", "actorid", "client_id", "subject", "subject_id", "participant",
            "participant_id",
        ),
    ),
    "language": (("lang", "language_id", "locale"),),
    "split": (("partition", "subset", "fold_name"), ("split_set",)),
    "dataset": (("corpus", "database", "db"),),
}  # fmt: skip
#: our name -> its word in other languages: taken where no other column could be it, since scores
#: are too high where a speaker is overlooked
TAKEN = {
    "speaker": (
        "sprecher", "sprecherin", "locuteur", "locutrice", "hablante", "locutor", "falante",
        "parlante", "spreker", "mówca", "说话人",
    ),
    "language": ("sprache", "langue", "idioma", "lingua", "taal", "język", "语言"),
}  # fmt: skip
#: our name -> words of other languages and fields that may mean it: asked about
ASKED = {
    "path": ("datei", "dateiname", "fichier", "archivo", "arquivo", "plik", "文件"),
    "text": ("satz", "transkript", "texto", "testo", "tekst", "frase", "phrase", "文本"),
    "label": (
        "gefühl", "emoción", "emoção", "emozione", "emocja", "klasse", "etiqueta", "情感", "感情",
        "감정", "эмоция", "mood", "affect", "feeling", "annotation", "target", "truth",
        "groundtruth",
    ),
    "speaker": (
        "who", "person", "talker", "caller", "customer", "patient", "patientin", "paciente",
        "paziente", "pacjent", "proband", "probandin", "vp", "versuchsperson", "teilnehmer",
        "klient", "klientin", "client", "child", "user", "username", "author", "autor", "autorin",
        "auteur", "autore", "tier", "reader", "narrator", "performer", "respondent", "interviewee",
        "voice", "singer", "subj", "spkr", "vpn", "sujet", "sujeto", "диктор", "говорящий", "話者",
        "화자", "konuşmacı", "puhuja", "talare", "taler", "řečník", "beszélő", "vorbitor",
    ),
    "start": ("beginn", "von", "anfang", "début", "inicio", "início", "inizio", "początek", "开始"),
    "end": ("ende", "bis", "fin", "fim", "koniec", "结束"),
}  # fmt: skip
#: words beside one of ours in a name that may still mean it, such as ``speaker_name``
_BESIDE = {
    "speaker": "id name code label tag key no nr num number index uid original anon anonymized",
    "label": "id name code class label category text gold true final majority vote consensus",
    "text": "raw norm normalized clean asr original gold final text",
}
_MEANING = {
    ours: {ours, *TAKEN.get(ours, ()), *ASKED[ours], *(word for by in ALIASES[ours] for word in by)}
    for ours in _BESIDE
}


@lru_cache(maxsize=20_000)
def translated(name: str) -> str:
    """Return which of our columns a name may mean, in any language and words, or nothing.

    Examples
    --------
    >>> translated("Sprecher"), translated("Gefühl"), translated("actorName"), translated("age")
    ('speaker', 'label', 'speaker', '')
    """
    word = word_of(name)
    for by in (TAKEN, ASKED):
        for ours, words in by.items():
            if word in words:
                return ours
    return next((ours for ours in _BESIDE if _is_beside(name, ours)), "")


def _is_beside(name: str, ours: str) -> bool:
    """Whether a name is one word that means one of ours, and words of which none says more."""
    parts = re.sub("(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    found = re.findall(r"[^\W\d_]+", parts)
    ends = [i for i, word in enumerate(found) if word in _MEANING[ours]]
    beside = _BESIDE[ours].split()
    return any(all(w in beside for w in found[:i] + found[i + 1 :]) for i in ends)


def word_of(name: str) -> str:
    """Return a folded name without ``ID`` at its end."""
    return folded_name(name).removesuffix("id")


def folded_name(name: str) -> str:
    """Return a name without case, blanks and the marks between its words."""
    name = unicodedata.normalize("NFC", name.strip().casefold())
    return re.sub("[\\s_.\u200b\ufeff-]+", "", name) or name

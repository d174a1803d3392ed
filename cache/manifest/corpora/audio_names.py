"""Corpora in which a file's name says what is spoken, by whom, and how."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from ...errors import InputError, listed, one_of
from ..manifest import Manifest
from ..paths import corpus_folder
from ..tables.cells import PARTS

AUDIO = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".w64", ".voc", ".sph", ".m4a", ".aac", ".mp4", ".mov", ".3gp", ".webm", ".mka", ".mkv",
    ".amr", ".wma", ".flv", ".wv", ".mp2",
)  # fmt: skip
VALENCE = {"-1": "negative", "0": "neutral", "1": "positive"}
TAKEN = ("path", "start", "end")  # what no name of a file says
UNIFIED = ("number", "dataset", "speaker", "gender", "emotion", "valence", "language", "locale")


@dataclass(frozen=True)
class Corpus:
    """How the names of a corpus are built, and what their codes mean."""

    name: str
    pattern: re.Pattern[str]
    labels: Mapping[str, str]
    language: str
    form: str
    skip: Callable[[re.Match[str]], bool] = lambda found: False


def _corpus(name: str, language: str, form: str, pattern: str, labels: str, **more) -> Corpus:
    codes = dict(pair.split("=") for pair in labels.replace("_", " ").split(";"))
    return Corpus(name, re.compile(pattern), codes, language, form, **more)


_KNOWN = (
    _corpus("ravdess", "eng", "03-01-06-01-02-01-12.wav",
            r"(?P<modality>\d\d)-\d\d-(?P<label>\d\d)-(?P<intensity>\d\d)-(?P<sentence_code>\d\d)"
            r"-(?P<repetition>\d\d)-(?P<speaker>\d\d)",
            "01=neutral;02=calm;03=happy;04=sad;05=angry;06=fearful;07=disgust;08=surprised",
            skip=lambda found: found["modality"] == "02"),  # pictures without sound
    _corpus("emodb", "deu", "03a01Fa.wav",
            r"(?P<speaker>\d\d)(?P<sentence_code>[ab]\d\d)(?P<label>[WLEAFTN])(?P<version>[a-f])",
            "W=anger;L=boredom;E=disgust;A=fear;F=happiness;T=sadness;N=neutral"),
    _corpus("crema-d", "eng", "1001_DFA_ANG_XX.wav",
            r"(?P<speaker>1\d{3})_(?P<sentence_code>[A-Z]{3})_(?P<label>[A-Z]{3})"
            r"_(?P<intensity>LO|MD|HI|XX|X)",
            "ANG=anger;DIS=disgust;FEA=fear;HAP=happiness;NEU=neutral;SAD=sadness"),
    _corpus("tess", "eng", "OAF_back_angry.wav",
            r"(?P<speaker>[OY]AF)_(?P<sentence_code>[a-z]+)_(?P<label>[a-z]+)",
            "angry=anger;disgust=disgust;fear=fear;happy=happiness;neutral=neutral;"
            "ps=pleasant_surprise;sad=sadness"),
    _corpus("savee", "eng", "DC_a01.wav or DC/a01.wav",
            r"(?:(?P<speaker>DC|JE|JK|KL)[_/])(?P<label>sa|su|[adfhn])(?P<sentence_code>\d\d)",
            "a=anger;d=disgust;f=fear;h=happiness;n=neutral;sa=sadness;su=surprise"),
    _corpus("emovo", "ita", "dis-f1-b1.wav",
            r"(?P<label>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[mf]\d)-(?P<sentence_code>[a-z]\d?)",
            "dis=disgust;gio=happiness;neu=neutral;pau=fear;rab=anger;sor=surprise;tri=sadness"),
    _corpus("esd", "", "0011/Angry/0011_000351.wav",
            r"(?P<label>Angry|Happy|Neutral|Sad|Surprise)/(?:(?:train|test|evaluation)/)?"
            r"(?P<speaker>00\d\d)"
            r"_(?P<sentence_code>\d{6})",
            "Angry=angry;Happy=happy;Neutral=neutral;Sad=sad;Surprise=surprise"),
    _corpus("cafe", "fra", "01-C-1-1.wav",
            r"(?P<speaker>\d\d)-(?P<label>[CDJNPST])-(?P<intensity>\d)-(?P<sentence_code>\d)",
            "C=anger;D=disgust;J=happiness;N=neutral;P=fear;S=surprise;T=sadness"),
    _corpus("aesdd", "ell", "a01 (1).wav",
            r"(?P<label>[adfhs])(?P<sentence_code>\d\d) ?\((?P<speaker>\d)\)",
            "a=anger;d=disgust;f=fear;h=happiness;s=sadness"),
    _corpus("shemo", "fas", "F21N05.wav",
            r"(?P<speaker>[FM]\d\d)(?P<label>[AFHNSW])(?P<sentence_code>\d\d)",
            "A=anger;F=fear;H=happiness;N=neutral;S=sadness;W=surprise"),
)  # fmt: skip
CORPORA = {corpus.name: corpus for corpus in _KNOWN}


def audio_files(folder: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Return the audio files below a folder, and what was left out; both relative, with ``/``.

    What an operating system leaves (``._*``, ``.DS_Store``, ``__MACOSX``) is not mentioned.
    """
    folder, audio, others = corpus_folder(folder), [], []
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for name in sorted(n for n in names if not n.startswith(".")):
            path = (Path(here) / name).relative_to(folder).as_posix()
            (audio if Path(name).suffix.lower() in AUDIO else others).append(path)
    return audio, others


def read_named(
    folder: str | os.PathLike, corpus: str, root: str | os.PathLike | None = None
) -> Manifest:
    """Read a folder of RAVDESS, EmoDB, CREMA-D and others by the names of its files.

    Parameters
    ----------
    folder : path
    corpus : {"ravdess", "emodb", "crema-d", "tess", "savee", "emovo", "esd", "cafe", "aesdd", \
"shemo"}
    root : path, optional
        Folder that the files may not leave.

    Returns
    -------
    Manifest
        Speakers are ``<corpus>-<code>``, labels are English words; further codes are in columns
        of their own. Files of other names are left out, and named in `notes`.

    Raises
    ------
    InputError
        No file has a name of the corpus.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "03a01Fa.wav").write_bytes(b"")
    >>> clips = read_named(folder, "emodb")
    >>> clips.ids, clips.clip(0).label, clips.clip(0).speaker
    (['03a01Fa'], 'happiness', 'emodb-03')
    """
    one_of(corpus, CORPORA, "corpus")
    known = CORPORA[corpus]
    audio, left = audio_files(folder)
    rows = []
    for path in audio:
        found = _match(known, path)
        if found is None or known.skip(found):
            left.append(path)
            continue
        values = found.groupdict()
        rows.append(
            {
                "id": Path(path).with_suffix("").name,
                "path": path,
                "label": known.labels[values.pop("label")],
                "speaker": f"{corpus}-{values.pop('speaker')}",
                **({"language": known.language} if known.language else {}),
                "dataset": corpus,
                **values,
            }
        )
    return _manifest(rows, left, folder, root, f"expected names such as {known.form}")


def fits(folder: str | os.PathLike) -> str:
    """Return the corpus whose names most files of a folder have, or nothing."""
    audio, _ = audio_files(folder)
    counts = Counter(
        name for path in audio for name, corpus in CORPORA.items() if _match(corpus, path)
    )
    counts["unified"] = sum(_unified(path) is not None for path in audio)
    best, count = counts.most_common(1)[0]
    return best if count and count * 2 > len(audio) else ""


def read_folders(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read a folder of folders that are named after the labels of their files.

    Folders above them that are named after parts, such as train and test, become the split.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for inside in ("train/joy", "test/anger"):
    ...     (folder / inside).mkdir(parents=True)
    ...     _ = (folder / inside / "1.wav").write_bytes(b"")
    >>> clips = read_folders(folder)
    >>> clips["label"].tolist(), clips["split"].tolist()
    (['anger', 'joy'], ['test', 'train'])
    """
    return read_form(folder, "{label}/{}", root)


def read_form(
    folder: str | os.PathLike, form: str, root: str | os.PathLike | None = None
) -> Manifest:
    """Read a folder whose files, and folders above them, are named in one form.

    Parameters
    ----------
    folder : path
    form : str
        The end of every path, without the ending of the file: ``{speaker}/{label}_{take}``. A name
        in braces is a column, ``{}`` is anything; what is in braces ends where the text behind it
        begins, and at a slash.
    root : path, optional
        Folder that the files may not leave.

    Returns
    -------
    Manifest
        Files of other names are left out, and named in `notes`. Where every file is in a folder
        named after a part (train, valid, test) above those of the form, that is its split.

    Raises
    ------
    InputError
        A form without braces or with one name twice, or no file that has it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "anna").mkdir()
    >>> _ = (folder / "anna" / "joy_01.wav").write_bytes(b"")
    >>> clips = read_form(folder, "{speaker}/{label}_{take}")
    >>> clips.clip(0).speaker, clips.clip(0).label, clips["take"].tolist()
    ('anna', 'joy', ['01'])
    """
    names = [name for name in re.findall(r"\{([^{}]*)\}", form) if name]
    wrong = sorted({name for name in names if names.count(name) > 1 or name in TAKEN})
    if "{" not in form or wrong:
        what = f"has {{{wrong[0]}}}" if wrong else "has no name in braces"
        raise InputError(
            f"the form {form!r} {what}; expected names of columns in braces, each once and none of "
            f"{', '.join(TAKEN)}, such as {{speaker}}/{{label}}_{{take}}"
        )
    stem, ending = os.path.splitext(form)  # noqa: PTH122
    parts = re.split(r"(\{[^{}]*\})", stem if ending.lower() in AUDIO else form)
    literal, braces = map(re.escape, parts[::2]), parts[1::2]
    held = ["[^/]*?" if part == "{}" else "([^/]+?)" for part in braces]
    pattern = re.compile("".join(chain(*zip_longest(literal, held, fillvalue=""))))
    audio, left = audio_files(folder)
    rows = []
    for path in audio:
        whole = Path(path).with_suffix("").parts[-1 - form.count("/") :]
        if found := pattern.fullmatch("/".join(whole)):
            rows.append({"path": path, **dict(zip(names, found.groups(), strict=True))})
        else:
            left.append(path)
    note = "" if "split" in names else _take_splits(rows, form.count("/"))
    clips = _manifest(rows, left, folder, root, f"expected names of the form {form}")
    clips.notes += (note,) * bool(note)
    return clips


def _take_splits(rows: list[dict[str, str]], depth: int) -> str:
    """Take the split from folders above the last `depth`, or return what was ignored there."""
    above = [row["path"].casefold().split("/")[: -1 - depth] for row in rows]
    parts = [next((PARTS[name] for name in names if name in PARTS), "") for names in above]
    if "" in parts and any(parts):
        found = listed(sorted({name for names in above for name in names if name in PARTS}))
        return (
            f"folders {found} were not read as the split: {parts.count('')} of {len(parts)} files "
            "are in no such folder"
        )
    if len(set(parts)) > 1:
        for row, part in zip(rows, parts, strict=True):
            row["split"] = part
    return ""


def read_unified(
    files: str | os.PathLike | Iterable[str],
    root: str | os.PathLike | None = None,
    *,
    label: str = "emotion",
) -> Manifest:
    """Read the file names of the unified multilingual data set of emotional human utterances.

    A name is ``<number>+<source>+<speaker>+<gender>+<emotion>+<valence>+<ISO 639-3>+<locale>``,
    and the ending of any audio format.

    Parameters
    ----------
    files : path or iterable of str
        The folder of the audio, or names.
    root : path, optional
        Folder that names are relative to; needed with names.
    label : {"emotion", "valence"}
        What the label is: the emotion's code, or negative, neutral, positive as the data set maps
        it, source by source. Both have columns of their own.

    Returns
    -------
    Manifest
        Files of a folder that are not audio or have another name are left out, and named in
        `notes`.

    Raises
    ------
    InputError
        A name of another form among names that were given, or no file of this form.

    Examples
    --------
    >>> clips = read_unified(["00000+aesdd+aesdd.1+f+ang+-1+ell+el-gr.wav"], ".", label="valence")
    >>> clips.clip(0).speaker, clips.clip(0).label, clips.clip(0).language
    ('aesdd.1', 'negative', 'ell')
    """
    if label not in ("emotion", "valence"):
        raise InputError(f"label {label!r}; expected emotion or valence")
    form = "expected " + "+".join(f"<{word}>" for word in UNIFIED) + ".wav"
    left: list[str] = []
    if isinstance(files, str | os.PathLike):
        folder = Path(files)
        names, left = audio_files(folder)
        left += [name for name in names if _unified(name) is None]
        names = [name for name in names if _unified(name) is not None]
    else:
        folder, names = Path(root or "."), list(files)
    rows = []
    for name in names:
        fields = _unified(name)
        if fields is None:
            raise InputError(f"the name {name!r}; {form}")
        valence = VALENCE[fields["valence"]]
        rows.append(
            {
                "id": fields["number"],
                "path": name,
                "label": valence if label == "valence" else fields["emotion"],
                **{word: fields[word] for word in ("speaker", "language", "dataset", "gender")},
                "emotion": fields["emotion"],
                "valence": valence,
                "locale": fields["locale"],
            }
        )
    return _manifest(rows, left, folder, root, form)


def _unified(name: str) -> dict[str, str] | None:
    fields = Path(name).stem.split("+")
    found: dict[str, str] = dict(zip(UNIFIED, fields, strict=False))
    return found if len(fields) == len(UNIFIED) and found["valence"] in VALENCE else None


def _match(corpus: Corpus, path: str) -> re.Match[str] | None:
    """Match the name, or folders and the name (SAVEE keeps the speaker in the folder)."""
    parts = path.rpartition(".")[0].split("/")  # a Path for each corpus would take long
    for count in (1, 2, 3):
        found = corpus.pattern.fullmatch("/".join(parts[-count:]))
        if found and found["label"] in corpus.labels:
            return found
    return None


def _manifest(
    rows: list[dict[str, str]],
    left: list[str],
    folder: str | os.PathLike,
    root: str | os.PathLike | None,
    expected: str,
) -> Manifest:
    if not rows:
        shown = f"; it has {listed(left, 3)}" if left else ""
        raise InputError(f"{folder} has no such audio file{shown}; {expected}")
    ids = [row.get("id", row["path"]) for row in rows]
    if len(set(ids)) < len(ids):  # the same name in two folders
        for row in rows:
            row["id"] = row["path"]
    clips = Manifest.from_rows(rows, folder, source=str(folder), allow_outside=root is None)
    if left:
        clips.notes += (f"left out {len(left)} files: {listed(sorted(left), 20)}",)
    return clips

"""A folder with one small file of every kind that a command reads, and its state put back."""

from __future__ import annotations

import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path

import joblib
import numpy as np
import soundfile
import transformers
from affekt.cache.commands.terminal import PlainStream
from affekt.classify.cli import affekt
from sklearn.preprocessing import StandardScaler

from tests.support.encoder_models import saved
from tests.support.whisper_model import write_whisper

LABELS = ["anger", "happiness", "neutral", "sadness"]
TASK = """\
name: mine
labels: {negative: [anger, sadness], neutral: [neutral], positive: [happiness]}
values: {negative: -1, neutral: 0, positive: 1}
corpora: {one: {calm: neutral}}
leave_out: [surprise]
"""
RECIPE = """\
manifest: clips.csv
task: task.yaml
cache: my.cache
encoders:
  speech: spectral
  text: {name: ngram, dim: 256}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2, random_state: 0}
members:
  lr: {head: logistic, on: speech, C: [0.1, 1]}
  both: {head: concat, on: [speech, text], max_epochs: 1, hidden: [[4]]}
ensembles: [mean, weighted]
compare: {n_resamples: 100, learning_curve: false, audit_audio: false}
report: out
"""
TRAIN = ["clips.csv", "--cache", "my.cache", "--task", "task.yaml", "--dev-size", "0.2"]
#: the commands that are tried; what they write goes to `o/`, the cache or the report folder
COMMANDS = {
    "run": ["run", "recipe.yaml"],
    "check": ["run", "recipe.yaml", "--check"],
    "extract speech": ["extract", "clips.csv", "--cache", "my.cache", "--encoder", "spectral"],
    "extract text": ["extract", "clips.csv", "--cache", "o/new.cache", "--encoder", "ngram"],
    "extract model": ["extract", "two.csv", "--cache", "o/new.cache", "--encoder", "encoder"],
    "train": ["train", *TRAIN, "--space", "spectral", "--head", "logistic", "-o", "o/model"],
    "probe": ["probe", *TRAIN[:-2], "--space", "spectral"],
    "predict clips": ["predict", "model", "clips.csv", "--cache", "my.cache", "-o", "o/p.csv"],
    "predict run": ["predict", "out", "clips.csv", "--cache", "my.cache", "-o", "o/p.csv"],
    "predict file": ["predict", "model", "wav/0.wav"],
    "compare": ["compare", "a.csv", "b.csv", "--truth", "test.csv", "--task", "task.yaml",
                "--resamples", "100", "-o", "o/compared"],
    "compare split": ["compare", "a.csv", "b.csv", "--truth", "clips.csv", "--task", "task.yaml",
                      "--resamples", "100", "--split", "split.csv"],
    "card": ["card", "out", "-o", "o/card.md"],
    "report": ["report", "out", "-o", "o/page.html"],
    "manifest": ["manifest", "clips.csv", "-o", "o/manifest.csv"],
    "manifest json": ["manifest", "clips.jsonl", "-o", "o/manifest.csv"],
    "cache ls": ["cache", "ls", "my.cache"],
    "cache show": ["cache", "show", "my.cache", "spectral"],
    "cache verify": ["cache", "verify", "my.cache"],
    "cache repair": ["cache", "repair", "my.cache"],
    "cache compact": ["cache", "compact", "my.cache"],
    "cache export": ["cache", "export", "my.cache", "spectral", "o/x.npz",
                     "--manifest", "clips.csv"],
    "cache import": ["cache", "import", "o/other.cache", "foreign.npz", "--manifest", "clips.csv",
                     "--name", "mine", "--modality", "audio"],
    "cache pack": ["cache", "pack", "my.cache", "o/packed.h5"],
    "cache merge": ["cache", "merge", "my.cache", "--out", "o/merged.cache"],
    "cache sync": ["cache", "sync", "my.cache", "o/copy.cache"],
    "convert-scaler": ["convert-scaler", "scaler.joblib", "--i-trust-this-file",
                       "-o", "o/scaler.safetensors"],
    "import-model": ["import-model", "classifier", "-o", "o/imported"],
    "transcribe": ["transcribe", "two.csv", "-o", "o/texts.csv", "--model", "whisper"],
    "doctor": ["doctor", "my.cache"],
    "init": ["init", "clips.csv", "-o", "o/recipe.yaml"],
    "demo": ["demo", "--manifest", "two.csv", "--task", "task.yaml", "-o", "o/demo"],
    "serve": ["serve", "out", "--port", "0"],
}  # fmt: skip
#: the files of each command that are damaged, as glob patterns
READS = {
    "run": ["recipe.yaml", "task.yaml", "clips.csv"],
    "check": ["recipe.yaml", "task.yaml", "clips.csv"],
    "extract speech": ["clips.csv", "wav/*.wav", "my.cache/**/*"],
    "extract text": ["clips.csv"],
    "extract model": ["encoder/*", "two.csv"],
    "train": ["clips.csv", "task.yaml", "my.cache/**/*"],
    "probe": ["clips.csv", "task.yaml"],
    "predict clips": ["model/**/*", "clips.csv"],
    "predict run": ["out/**/*"],
    "predict file": ["model/**/*", "wav/0.wav"],
    "compare": ["a.csv", "test.csv", "task.yaml"],
    "compare split": ["split.csv"],
    "card": ["out/**/*.json", "out/**/*.csv", "out/**/*.yaml"],
    "report": ["out/*.json", "out/**/*.csv"],
    "manifest": ["clips.csv"],
    "manifest json": ["clips.jsonl"],
    "cache ls": ["my.cache/**/*"],
    "cache show": ["my.cache/**/*"],
    "cache verify": ["my.cache/**/*"],
    "cache repair": ["my.cache/**/*"],
    "cache compact": ["my.cache/**/*"],
    "cache export": ["my.cache/**/*"],
    "cache import": ["foreign.npz"],
    "cache pack": ["my.cache/**/*"],
    "cache merge": ["my.cache/**/*"],
    "cache sync": ["my.cache/**/*"],
    "convert-scaler": ["scaler.joblib"],
    "import-model": ["classifier/*"],
    "transcribe": ["two.csv", "whisper/*"],
    "doctor": ["my.cache/**/*"],
    "init": ["clips.csv", "wav/*.wav"],
    "demo": ["two.csv", "task.yaml"],
    "serve": ["out/**/*"],
}
SLOW = {"run", "extract model", "probe", "transcribe", "convert-scaler", "cache merge", "train"}
#: where commands may write
OUTPUTS = ("o", "out", "my.cache", "two.cache")


def build(folder: Path) -> Path:
    """Write the folder; the working folder has to be it."""
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir()
    rows, lines = [], []
    for i in range(24):
        label = LABELS[i % 4]
        tone = np.sin(np.arange(3200) * (0.05 + 0.05 * (i % 4))) + rng.normal(0, 0.1, 3200)
        soundfile.write(folder / "wav" / f"{i}.wav", 0.2 * tone, 16_000)
        rows.append(f"{i},wav/{i}.wav,{label} {i},{label},s{i // 4},en,one")
        lines.append(f'{{"id": "{i}", "text": "{label} {i}", "label": "{label}"}}')
    head = "id,path,text,label,speaker,language,dataset"
    _write(folder / "clips.csv", "\n".join([head, *rows]))
    _write(folder / "two.csv", "\n".join([head, *rows[:2]]))
    _write(folder / "clips.jsonl", "\n".join(lines))
    _write(folder / "task.yaml", TASK)
    _write(folder / "recipe.yaml", RECIPE)
    (folder / "o").mkdir()
    saved("hubert-base", folder / "encoder")
    for words in (
        ["run", "recipe.yaml"],
        [*COMMANDS["train"][:-1], "model", "--pred", "a.csv"],
        [*COMMANDS["train"][:-1], "o/other", "--pred", "b.csv", "--set", "C=0.01"],
    ):
        code, said = call(words)
        assert code == 0, said
    ids = np.array([str(i) for i in range(24)])
    np.savez(folder / "foreign.npz", ids=ids, embeddings=rng.normal(size=(24, 3)))
    joblib.dump(StandardScaler().fit(rng.normal(size=(5, 3))), folder / "scaler.joblib")
    tested = {line.split(",")[0] for line in (folder / "a.csv").read_text().splitlines()}
    _write(folder / "test.csv", "\n".join(r for r in [head, *rows] if r.split(",")[0] in tested))
    _write(
        folder / "split.csv",
        "id,split\n"
        + "\n".join(f"{i},{'test' if str(i) in tested else 'train'}" for i in range(24)),
    )
    write_whisper(folder / "whisper")
    names = dict(enumerate(["negative", "neutral", "positive"]))
    kind = transformers.HubertForSequenceClassification
    saved("hubert-base", folder / "classifier", kind=kind, id2label=names, classifier_proj_size=8)
    shutil.rmtree(folder / "o")
    (folder / "o").mkdir()
    return folder


def call(words: list[str]) -> tuple[object, str]:
    """Run a command in this process, below the last net of the command line.

    Returns
    -------
    code : int
    said : str
        Both streams.

    Raises
    ------
    Exception
        Whatever is no error of affekt, click or the system: a traceback.
    """
    import click
    from affekt.cache import AffektError

    under = BytesIO()
    said = PlainStream(TextIOWrapper(under, encoding="utf-8"), progress=True)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = affekt.main(list(words), prog_name="affekt", standalone_mode=False, obj=False)
    except click.ClickException as error:
        said.write(error.format_message())
        code = error.exit_code
    except AffektError as error:
        said.write(str(error))
        code = error.exit_code
    except OSError as error:
        said.write(str(error))
        code = 1
    said.flush()
    return code or 0, under.getvalue().decode()


class Kept:
    """The content of a folder, which `restore` puts back."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bytes = {path: path.read_bytes() for path in self._files()}
        self.marks = {path: self.mark(path) for path in self.bytes}

    def changed(self) -> list[Path]:
        """Return the files that were added, changed or removed."""
        there = self._files()
        lost = [path for path in self.bytes if path not in there]
        return lost + [path for path in there if self.mark(path) != self.marks.get(path)]

    def restore(self) -> list[Path]:
        """Put the folder's files back as they were; return what had changed."""
        changed = self.changed()
        for path in changed:
            _remove(path)
        for path in changed:
            if path in self.bytes:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.bytes[path])
                self.marks[path] = self.mark(path)
        return changed

    def _files(self) -> set[Path]:
        found = set()
        for top, folders, files in os.walk(self.folder):
            found |= {Path(top, name) for name in files}
            found |= {Path(top, name) for name in folders if Path(top, name).is_symlink()}
        return found

    @staticmethod
    def mark(path: Path) -> tuple[int, ...]:
        status = path.lstat()
        return status.st_size, status.st_mtime_ns, status.st_ino


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")

"""No file is unpickled outside `affekt convert-scaler`: by the source, and at run time."""

from __future__ import annotations

import ast
import json
import os
import pickle  # noqa: TID251 - makes the files that must never be opened
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from affekt.cache import InputError
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.models.scalers.plain_scaler import convert_scaler
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler

from tests.support.encoder_models import saved
from tests.support.umuteam_models import write_speech, write_text
from tests.support.vocametrix_models import DEFAULTS, SMALL, tensors, write
from tests.support.whisper_model import write_whisper

ROOT = Path(__file__).resolve().parents[1]
GUARDED = "pickled_scaler.py"
WALK = ROOT / "tests" / "support" / "unpickled.py"
HOOK = (
    f"import sys; sys.path.insert(0, {str(WALK.parent)!r}); import unpickled as u;"
    "sys.addaudithook(u.watch);"
)
FILES = sorted(p for part in ("cache", "extract", "classify") for p in (ROOT / part).rglob("*.py"))
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "skops"}
FUNCTIONS = {"read_pickle", "to_pickle", "Unpickler", "load_module", "import_module_from_pickle"}


def offences(text: str) -> list[str]:
    """What in a source file could unpickle, by name and line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        if isinstance(node, ast.Call):
            last = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = ast.unparse(node.func) if last == "load" else last
            options = {
                keyword.arg: ast.unparse(keyword.value)
                for keyword in node.keywords
                if keyword.arg in ("weights_only", "allow_pickle")
            }
            loads = last == "load" and said.split(".")[0] in ("joblib", *UNPICKLERS)
            torch_load = said == "torch.load" and options.get("weights_only") != "True"
            numpy_load = options.get("allow_pickle", "False") != "False"
            dynamic = last in ("__import__", "import_module") and any(
                isinstance(word, ast.Constant) and str(word.value).split(".")[0] in UNPICKLERS
                for word in node.args
            )
            if loads or torch_load or numpy_load or dynamic or last in FUNCTIONS:
                found.append(f"line {node.lineno}: {said}")
        for name in names:
            if name.split(".")[0] in UNPICKLERS or name.endswith("pickled_scaler"):
                found.append(f"line {node.lineno}: import {name}")
    return found


def test_no_source_file_unpickles():
    for path in FILES:
        if path.name != GUARDED:
            assert not offences(path.read_text(encoding="utf-8")), path


def test_the_guarded_file_is_a_program_of_its_own():
    """It is there, it is the one that imports pickle, and it knows nothing of affekt."""
    text = next((ROOT / "classify").rglob(GUARDED)).read_text(encoding="utf-8")
    assert offences(text) == ["line 17: import pickle"]
    assert "affekt" not in [name.split(".")[0] for name in _imported(text)]
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib; joblib.load('a')",
        "torch.load('a')",
        "torch.load('a', weights_only=False)",
        "np.load('a', allow_pickle=True)",
        "pd.read_pickle('a')",
        "importlib.import_module('pickle')",
        "shelve.open('a'); pickle.load(file)",
        "from .pickled_scaler import Scaler",
    ],
)
def test_the_look_finds_what_it_should(code):
    assert offences(code)
    assert not offences("torch.load('a', weights_only=True); np.load('a', allow_pickle=False)")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Everything the walk needs; every pickle in it leaves a mark when it is loaded."""
    folder = tmp_path_factory.mktemp("walk")
    write_corpus(folder / "corpus", voices=5, clips_per_voice=5)
    models = {mode: str(write_speech(folder / mode, mode)) for mode in ("audio", "mean")}
    models["text"] = str(write_text(folder / "roberta"))
    models["bert"] = str(saved("bert", folder / "bert"))
    (folder / "model.json").write_text(json.dumps({"es": models}))
    write_whisper(folder / "whisper")
    shutil.copytree(folder / "audio", folder / "bin")
    torch.save(load_file(folder / "bin/model.safetensors"), folder / "bin/pytorch_model.bin")
    (folder / "bin/model.safetensors").unlink()
    valence = write(folder / "valence", tensors(**SMALL), {**DEFAULTS, "nhead": 4})
    source = folder / "s.pkl"
    X = np.random.default_rng(0).normal(size=(9, 40))
    source.write_bytes(pickle.dumps(StandardScaler().fit(X)))
    convert_scaler(source, valence / "scaler.safetensors", trust=True)
    evil = pickle.dumps(_Evil(folder / "ran"))
    for path in (folder / "evil.pkl", valence / "emotion_classifier_scaler.pkl"):
        path.write_bytes(evil)
    return folder


class _Evil:
    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_the_main_paths_unpickle_nothing(prepared):
    """An audit hook sees every name that a pickle looks up, whoever calls it."""
    done = subprocess.run(
        [sys.executable, WALK, prepared],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "XDG_CACHE_HOME": str(prepared / "memo")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"unpickled": [], "opened": []}
    assert not (prepared / "ran").exists()
    assert (prepared / "pred.csv").is_file()


def test_the_hook_sees_what_it_should(tmp_path):
    """The proof is worth something only if the hook notices a pickle."""
    code = (
        "import pickle, pathlib; pickle.loads(pickle.dumps(pathlib.PurePosixPath('a')));"
        f"open({str(tmp_path / 'a.pkl')!r}, 'w').close(); print(u.unpickled, u.opened)"
    )
    done = subprocess.run(
        [sys.executable, "-c", HOOK + code], capture_output=True, text=True, check=True
    )
    assert "PurePosixPath" in done.stdout
    assert "a.pkl" in done.stdout


def test_convert_scaler_unpickles_in_another_process(prepared, tmp_path):
    """Even there the process that asks looks nothing up, and a hostile file does nothing."""
    code = (
        "from affekt.classify.models.scalers.plain_scaler import convert_scaler;"
        f"convert_scaler({str(prepared / 's.pkl')!r}, {str(tmp_path / 's.st')!r}, trust=True);"
        "print(u.unpickled)"
    )
    done = subprocess.run(
        [sys.executable, "-c", HOOK + code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    with pytest.raises(InputError, match=r"(posix|nt)\.system"):
        convert_scaler(prepared / "evil.pkl", tmp_path / "e.st", trust=True)
    assert not (prepared / "ran").exists()


def _imported(text: str) -> list[str]:
    return [
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    ]

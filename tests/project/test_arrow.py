"""The direction of imports: cache <- extract <- classify, and what each may need from outside."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cache", "extract", "classify")
#: what every package may use of the package `affekt` itself
COMMON = "public_names"
ALLOWED = {
    "cache": {"cache"},
    "extract": {"cache", "extract"},
    "classify": {"cache", "extract", "classify"},
}
#: packages from outside that a part may import; the rest of Python's own library is free
OUTSIDE = {
    "cache": {"numpy", "h5py", "click", "tqdm", "pandas", "pyarrow", "openpyxl", "yaml"},
    "extract": {
        *("numpy", "click", "tqdm", "scipy", "soundfile", "soxr", "torch", "transformers"),
        *("safetensors", "tokenizers", "huggingface_hub", "ray", "opensmile", "joblib", "h5py"),
        *("faster_whisper", "sentencepiece", "av"),
    },
    "classify": {
        *("numpy", "click", "tqdm", "scipy", "yaml", "sklearn", "torch", "safetensors", "joblib"),
        *("soundfile", "matplotlib", "optuna", "huggingface_hub", "transformers", "pandas"),
        *("datasets", "audformat", "threadpoolctl"),
        *("fastapi", "starlette", "uvicorn", "python_multipart"),
    },
}
#: modules of classify that meet raw audio or text, and so may import extract
RAW = {
    "prepare.py",  # opens the encoders that a recipe names
    "embeddings.py",  # embeds what is missing
    "own_encoders.py",  # predicts audio and text
    "audio_facts.py",  # reads the length and loudness of files
    "named_inputs.py",  # finds the audio that a user names
    "model_hub.py",  # finds model folders as encoders are found
    "tensors.py",  # checkpoints that others made: UMUTeam's and Vocametrix's take raw clips
    "umuteam.py",
    "loop.py",  # on a device, which has one check
    "as_model.py",  # of published checkpoints: puts heads behind encoders
    "finetuned.py",
    "valence.py",
    "missing_text.py",  # lets Whisper write what a model reads
    "vocametrix.py",
    "predict_emotion.py",
    "new_clip.py",  # new clips from memory
    "in_memory.py",
    "open_encoders.py",
    "service.py",  # decodes what clients send
    "recording.py",
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> list[tuple[str, int]]:
    """Absolute dotted names of everything that a file imports, and the line."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                found.append((node.module or "", node.lineno))
                continue
            base = ("affekt", *package)[: len(package) + 1 - node.level]
            found.append((".".join((*base, *(node.module or "").split("."))), node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrow(path):
    package = path.relative_to(ROOT).parts[0]
    for name, line in imports(path):
        first, *rest = name.split(".")
        where = f"{path.relative_to(ROOT)}:{line} imports {name}"
        assert first not in PACKAGES, f"{where}: relative inside the packages, affekt.* elsewhere"
        if first == "affekt":
            assert rest[0] in ALLOWED[package] | {COMMON}, f"{where}: against the arrow"
            if package == "classify" and rest[0] == "extract":
                assert path.name in RAW or path.name.startswith("cli"), f"{where}: not where raw"
        elif first not in sys.stdlib_module_names:
            assert first in OUTSIDE[package], f"{where}: not among the dependencies of {package}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles_or_evaluates(path):
    """The one guarded place is the scaler import, a program of its own."""
    text = path.read_text(encoding="utf-8")
    if path.name != "pickled_scaler.py":
        assert not [name for name, _ in imports(path) if name.split(".")[0] in ("pickle", "dill")]
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    for call in calls:
        said = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        where = f"{path.relative_to(ROOT)}:{call.lineno} calls {said}"
        assert said not in ("eval", "exec", "joblib.load", "yaml.load", "pickle.load"), where
        if said == "torch.load":
            assert keywords.get("weights_only") == "True", where
        assert keywords.get("allow_pickle", "False") == "False", where
        if "trust_remote_code" in keywords:
            assert keywords["trust_remote_code"] == "False", where


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_assert_for_users_and_no_print(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    found += [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and path.name != "pickled_scaler.py"
    ]
    assert not found, f"{path.relative_to(ROOT)}: assert or print in lines {found}"


def test_files_stay_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in FILES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long

"""The direction of imports: cache <- extract <- classify, and what each may need from outside."""

from __future__ import annotations

import ast
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cache", "extract", "classify")
#: what every package may use of the package `affekt` itself
COMMON = {"children", "machine", "notebook", "public_names", "plugins", "versions"}
ALLOWED = {
    "cache": {"cache"},
    "extract": {"cache", "extract"},
    "classify": {"cache", "extract", "classify"},
}
#: packages from outside that a part may import; the rest of Python's own library is free
OUTSIDE = {
    "cache": {"numpy", "h5py", "click", "tqdm", "pandas", "pyarrow", "openpyxl", "yaml", "fsspec"},
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
    "shortcuts.py",  # learns words of raw texts
    "named_inputs.py",  # finds the audio that a user names
    "model_hub.py",  # finds model folders as encoders are found
    "tensors.py",  # checkpoints that others made: UMUTeam's and Vocametrix's take raw clips
    "umuteam.py",
    "loop.py",  # on a device, which has one check
    "stacked_training.py",  # makes that device the current one
    "choice.py",  # of the device of a probe
    "layers.py",  # of a probe on a device: in float32 with every bit
    "as_model.py",  # of published checkpoints: puts heads behind encoders
    "finetuned.py",
    "missing_text.py",  # lets Whisper write what a model reads
    "vocametrix.py",
    "predict_emotion.py",
    "new_clip.py",  # new clips from memory
    "in_memory.py",
    "open_encoders.py",
    "service.py",  # decodes what clients send
    "recording.py",
}
#: what each part of extract may import of the others, besides itself; parts of encoders have a dot
EXTRACT = {
    "errors": set(),
    "hub": set(),
    "backend": {"errors"},
    "pooling": {"errors", "backend"},
    "inputs": {"errors", "backend"},
    "builtin": {"errors", "backend", "inputs"},
    "encoders.audio_towers": set(),
    "encoders.families": {"encoders.audio_towers"},
    "encoders.hardware": set(),
    "encoders.checkpoints": {"hub", "encoders.families", "encoders.audio_towers"},
    "encoders.fronts": {
        *("errors", "encoders.checkpoints", "encoders.families", "encoders.audio_towers"),
    },
    "encoders.layers": {"pooling"},
    "encoders.clipwise": set(),
    "encoders.packed": {
        *("encoders.fronts", "encoders.families", "encoders.hardware", "encoders.layers"),
    },
    "encoders.transformer": {
        *("errors", "backend", "pooling", "encoders.checkpoints", "encoders.families"),
        *("encoders.fronts", "encoders.hardware", "encoders.layers", "encoders.clipwise"),
        "encoders.packed",
    },
    "encoders.tower_run": {
        *("errors", "backend", "pooling", "encoders.transformer", "encoders.audio_towers"),
        *("encoders.checkpoints", "encoders.fronts", "encoders.hardware", "encoders.layers"),
    },
    "encoders.classifier": {
        *("errors", "backend", "encoders.transformer", "encoders.checkpoints"),
        *("encoders.clipwise", "encoders.fronts", "encoders.hardware"),
    },
    "encoders.opening": {
        *("backend", "pooling", "encoders.families", "encoders.audio_towers"),
        *("encoders.checkpoints", "encoders.fronts", "encoders.hardware"),
        *("encoders.transformer", "encoders.tower_run", "encoders.classifier"),
    },
    "encoders": {"encoders.families", "encoders.opening"},
    "encoder_names": {"backend", "builtin", "encoders", "encoders.hardware"},
    "encoder": {"errors", "backend", "pooling", "inputs", "encoder_names"},
    "running": {*("errors", "backend", "inputs", "encoder_names", "encoder", "encoders.hardware")},
    "transcription": {
        *("errors", "hub", "inputs", "running", "encoders.checkpoints", "encoders.hardware"),
    },
}
#: sub-package of classify -> the others that it may import; lower ones first, so no circle
CLASSIFY = {
    "data": set(),
    "heads": set(),
    "metrics": {"data"},
    "models": {"data", "heads"},
    "options": {"data", "models"},  # what commands share
    "ensembles": {"data", "metrics"},
    "serving": {"data", "heads", "models", "options", "ensembles"},
    "evaluation": {
        *("data", "metrics", "models", "ensembles", "options", "serving"),  # a card: how to serve
    },
    "probing": {"data", "heads", "metrics", "models", "options", "serving"},
    "experiments": {
        *("data", "heads", "metrics", "models", "options", "ensembles"),
        *("serving", "evaluation", "probing"),
    },
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: file or sub-package of cache -> those that it may import; itself and `errors` are free
ARROWS = {
    "errors": set(),
    "files": set(),
    "layers": set(),
    "manifest": {"files"},
    "identity": {"files", "manifest"},
    "shards": {"files", "identity"},
    "rows": {"files", "manifest", "identity", "shards", "layers"},
    "space": {"manifest", "identity", "rows", "layers"},
    "cache": {"files", "manifest", "identity", "rows", "layers", "space"},
    "care": {"files", "manifest", "identity", "shards", "rows", "layers", "space", "cache"},
    "commands": {"files", "manifest", "care", "cache"},
}


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Absolute dotted names of everything that a file imports, and the line."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                found.append((node.module or "", node.lineno))
                continue
            base = ("affekt", *package)[: len(package) + 1 - node.level]
            found.append((".".join((*base, *(node.module or "").split("."))), node.lineno))
    return found


def test_imports_follow_the_arrow():
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        for name, line in imports(path):
            first, *rest = name.split(".")
            where = f"{path.relative_to(ROOT)}:{line} imports {name}"
            assert first not in PACKAGES, f"{where}: relative inside the packages, else affekt.*"
            if first == "affekt":
                assert rest[0] in ALLOWED[package] | COMMON, f"{where}: against the arrow"
                if package == "classify" and rest[0] == "extract":
                    assert path.name in RAW or path.name.startswith("cli"), f"{where}: no raw data"
            elif first not in sys.stdlib_module_names:
                assert first in OUTSIDE[package], f"{where}: not a dependency of {package}"


def _part(name: str) -> str:
    """Return the part of extract that a dotted name below it belongs to."""
    names = name.split(".")
    wanted = [".".join(names[:2]), names[0]]
    return next((one for one in wanted if one in EXTRACT), "")


def test_the_parts_of_extract_follow_their_arrow():
    for path in FILES:
        first, *names = path.relative_to(ROOT).with_suffix("").parts
        if first != "extract" or names == ["__init__"]:  # the public face imports everything
            continue
        part = _part(".".join(name for name in names if name != "__init__"))
        assert part, f"{path.relative_to(ROOT)} is in no part of the table"
        for name, line in imports(path):
            if name.startswith("affekt.extract."):
                other = _part(name.removeprefix("affekt.extract."))
                where = f"{path.relative_to(ROOT)}:{line} imports {name}"
                assert other in EXTRACT[part] | {part}, f"{where}: against the arrow"


def test_the_table_of_extract_has_no_circle():
    done: set[str] = set()
    while left := [part for part in EXTRACT if part not in done]:
        free = [part for part in left if EXTRACT[part] <= done]
        assert free, f"a circle among {left}"
        done.update(free)


def test_sub_packages_of_classify_follow_their_arrow():
    used: dict[str, set[str]] = {name: set() for name in CLASSIFY}
    for path in FILES:
        package, first, *_ = (*path.relative_to(ROOT).with_suffix("").parts, "")
        if package != "classify" or first in ("__init__", "cli"):
            continue
        for name, line in imports(path):
            if name.startswith("affekt.classify"):
                other = [*name.split("."), ""][2]
                where = f"{path.relative_to(ROOT)}:{line} imports {name}"
                assert other in CLASSIFY[first] | {first}, f"{where}: against the arrow"
                used[first].add(other)
    assert {name: found - {name} for name, found in used.items()} == CLASSIFY
    lower: set[str] = set()
    for name, below in CLASSIFY.items():
        assert below <= lower, f"{name} stands below {below - lower} in the table"
        lower.add(name)


def test_sub_packages_of_cache_follow_their_arrows():
    for path in sorted((ROOT / "cache").rglob("*.py")):
        part = path.relative_to(ROOT / "cache").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name, line in imports(path):
            place = name.split(".")
            if place[:2] == ["affekt", "cache"] and len(place) > 2 and place[2]:
                allowed = ARROWS[part] | {part, "errors"}
                where = f"{path.relative_to(ROOT)}:{line} imports {name}"
                assert place[2] in allowed, f"{where}: {part} may import {sorted(allowed)}"


def test_nothing_evaluates_or_trusts_remote_code():
    """That nothing unpickles shows tests/test_no_pickle.py."""
    for path in FILES:
        for call in nodes(path):
            if isinstance(call, ast.Call):
                where = f"{path.relative_to(ROOT)}:{call.lineno}"
                assert getattr(call.func, "id", "") not in ("eval", "exec"), where
                if getattr(call.func, "attr", "") == "load":
                    assert ast.unparse(call.func) != "yaml.load", where
                for keyword in call.keywords:
                    if keyword.arg == "trust_remote_code":
                        assert ast.unparse(keyword.value) == "False", where


def test_no_assert_for_users_and_no_print():
    for path in FILES:
        if path.name != "pickled_scaler.py":
            found = [
                node.lineno
                for node in nodes(path)
                if isinstance(node, ast.Assert)
                or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
            ]
            assert not found, f"{path.relative_to(ROOT)}: assert or print in lines {found}"


def test_files_stay_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*FILES, *(ROOT / "tests").rglob("*.py")]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


@pytest.mark.parametrize(
    "script", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda path: path.stem
)
def test_what_a_benchmark_takes_from_affekt_is_there(script):
    """Long runs are seldom made, and names change."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        place = "" if not isinstance(node, ast.ImportFrom) or node.level else node.module or ""
        if isinstance(node, ast.ImportFrom) and place.split(".")[0] == "affekt":
            module = import_module(place)
            for one in node.names:
                assert hasattr(module, one.name) or find_spec(f"{place}.{one.name}"), one.name

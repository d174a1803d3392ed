"""Model folders on disk."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import AffektError, DamagedError, InputError
from affekt.classify.models.folders import model_folder as persist

CONFIG = {
    "affekt": "0.1.0",
    "task": {},
    "labels": ["negative", "positive"],
    "features": [{"spec": {}, "layers": [0], "combine": "concat"}],
    "scale": True,
    "head": {"name": "logistic", "state": {}},
    "record": {"note": "tränen"},
}
ARRAYS = {"a": np.arange(6, dtype=np.float64).reshape(2, 3), "b": np.ones(2, np.float32)}


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "models" / "valence"
    persist.write_folder(place, CONFIG, ARRAYS)
    return place


def rewrite(folder, change):
    """Change the config as somebody with an editor would."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def reseal(folder, data: bytes):
    """Put other weights there and make size and hash fit them, as an attacker would."""
    (folder / "model.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    rewrite(folder, lambda c: c["weights"].update(sha256=digest, bytes=len(data)))


def test_round_trip(folder):
    config, arrays = persist.read_folder(folder)
    assert config["record"] == CONFIG["record"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert np.array_equal(arrays[name], values)
        assert arrays[name].dtype == values.dtype


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        persist.read_folder(folder)


def test_no_folder_and_a_file(folder, tmp_path):
    for place in (tmp_path / "none", folder / "config.json"):
        with pytest.raises(InputError, match="is not a model folder"):
            persist.read_folder(place)


def test_weights_of_another_model(folder, tmp_path):
    other = tmp_path / "other"
    persist.write_folder(other, CONFIG, {name: a + 1 for name, a in ARRAYS.items()})
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(DamagedError, match="sha256"):
        persist.read_folder(folder)


def test_a_pickle_is_never_opened(folder, tmp_path, caplog):
    marker = tmp_path / "ran"
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()"
    # what pickle.dumps gives for an object that runs code when it is loaded
    evil = b"c__builtin__\nexec\n(V" + code.encode() + b"\ntR."
    for name in ("scaler.pkl", "weights.pt", "model.bin", "x.joblib"):
        (folder / name).write_bytes(evil)
        (folder / name).chmod(0)
    config, _ = persist.read_folder(folder)
    assert config["labels"] == CONFIG["labels"]
    assert not marker.exists()
    assert "not opened: model.bin, scaler.pkl" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(evil=1), "unknown key 'evil'"),
        (lambda c: c.update(recrod=c.pop("record")), "'recrod'. Did you mean 'record'"),
        (lambda c: c.pop("labels"), "'labels' is missing"),
        (lambda c: c.update(labels="ab"), "expected a list, got str"),
        (lambda c: c.update(labels=[1, 2]), "expected str, got int"),
        (lambda c: c.update(scale=1), "expected bool or dict, got int"),
        (lambda c: c["weights"].update(bytes=True), "expected int, got bool"),
        (lambda c: c["weights"].update(file="../../other.safetensors"), "weights.file"),
        (lambda c: c["weights"].update(file="/etc/passwd"), "weights.file"),
        (lambda c: c.update(format="affekt-model/2"), "reads 'affekt-model/1'"),
        (lambda c: c.update(head=[]), "expected an object"),
        (lambda c: c["features"].append(3), "expected an object, got int"),
    ],
)
def test_config_with_something_else_in_it(folder, change, words):
    rewrite(folder, change)
    with pytest.raises(InputError) as error:
        persist.read_folder(folder)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "appears twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ('{"a": "' + "x" * 1_000_001 + '"}', "at most"),
        ("[]", "JSON object"),
        ("", "cannot be read"),
        ("{'a': 1}", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_hostile_json(folder, text, words):
    data = text.encode("utf-8", "surrogateescape")
    (folder / "config.json").write_bytes(data)
    with pytest.raises(InputError, match=words):
        persist.read_folder(folder)


def test_every_truncation_and_every_flipped_byte_is_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    for length in range(len(data)):
        (folder / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(DamagedError):
            persist.read_folder(folder)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(DamagedError, match="sha256"):
            persist.read_folder(folder)


def header(tensors: dict, payload: bytes = b"\0" * 64) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + payload


def f32(shape, start, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "data",
    [
        header({"a": f32([16], 0, 64)})[:-8],
        header({"a": f32([8], 0, 32), "b": f32([8], 16, 64)}),
        header({"a": f32([1 << 40], 0, 64)}),
        header({"a": f32([16], 0, 1 << 50)}),
        header({"a": {"dtype": "PICKLE", "shape": [16], "data_offsets": [0, 64]}}),
        struct.pack("<Q", 1 << 60) + b"{}",
        b"\x80\x04.",
        b"",
    ],
    ids=["cut", "overlap", "shape", "offset", "dtype", "header", "pickle", "empty"],
)
def test_a_resealed_but_unsound_safetensors_file(folder, data):
    reseal(folder, data)
    with pytest.raises(AffektError):
        persist.read_folder(folder)


def test_save_interrupted_keeps_the_old_model(folder, monkeypatch):
    """A fault at every fsync and every rename in turn; then once without."""
    before = persist.read_folder(folder)
    changed = {**CONFIG, "record": {"note": "new"}}
    for call in ("fsync", "rename"):
        for failing in range(1, 4):
            count = 0
            original = {"fsync": os.fsync, "rename": Path.rename}[call]

            def faulty(*words, original=original, failing=failing):
                nonlocal count
                count += 1
                if count == failing:
                    raise OSError(28, "No space left on device")
                return original(*words)

            with monkeypatch.context() as patched:
                patched.setattr(*(("os.fsync",) if call == "fsync" else (Path, "rename")), faulty)
                try:
                    persist.write_folder(folder, changed, ARRAYS)
                except OSError:
                    now, arrays = persist.read_folder(folder)
                    assert now == before[0]
                    assert np.array_equal(arrays["a"], before[1]["a"])
            left = [path.name for path in folder.parent.iterdir()]
            assert left == [folder.name]
            persist.write_folder(folder, CONFIG, ARRAYS)


@pytest.mark.parametrize("moment", ["between the renames", "before the renames"])
def test_a_save_killed_at_its_worst_moment(folder, moment):
    """kill -9 leaves no chance to tidy up; the older model is still read."""
    allowed = 1 if moment == "between the renames" else 0
    code = textwrap.dedent(f"""
        import os, pathlib, signal
        from affekt.classify.models.folders import model_folder as persist
        count = 0
        original = pathlib.Path.rename
        def rename(self, target):
            global count
            count += 1
            if count > {allowed}:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, target)
        pathlib.Path.rename = rename
        config, arrays = persist.read_folder({str(folder)!r})
        config.pop("format"), config.pop("weights")
        persist.write_folder({str(folder)!r}, config | {{"record": {{"note": "new"}}}}, arrays)
    """)
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -9
    config, arrays = persist.read_folder(folder)
    assert config["record"] == CONFIG["record"]
    assert np.array_equal(arrays["a"], ARRAYS["a"])
    persist.write_folder(folder, {**CONFIG, "record": {"note": "newer"}}, ARRAYS)
    assert persist.read_folder(folder)[0]["record"] == {"note": "newer"}


@pytest.mark.parametrize("name", ["chapter.tex", "config.json"])
def test_a_folder_that_is_not_a_model_is_kept(tmp_path, name):
    """An encoder of others has a config.json too."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / name).write_text('{"years": "of work"}', encoding="utf-8")
    with pytest.raises(InputError, match="holds no model"):
        persist.write_folder(tmp_path / "thesis", CONFIG, ARRAYS)
    assert (tmp_path / "thesis" / name).exists()

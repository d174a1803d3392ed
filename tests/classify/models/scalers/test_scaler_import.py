"""The one command that opens a pickle: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import pickle  # noqa: TID251 - makes the files that the package must refuse
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from affekt.cache.errors import DamagedError, InputError
from affekt.classify.models.published.cli_import_model import convert_scaler_command
from affekt.classify.models.scalers import plain_scaler as scaler_file
from affekt.classify.models.scalers.plain_scaler import Scaler, convert_scaler, read_scaler
from click.testing import CliRunner
from safetensors.numpy import save_file
from sklearn.preprocessing import MinMaxScaler, StandardScaler

PROGRAM = Path(scaler_file.__file__).with_name("pickled_scaler.py")


@pytest.fixture(scope="module")
def fitted() -> tuple[StandardScaler, np.ndarray]:
    X = np.random.default_rng(0).normal(3, 2, (40, 6))
    X[:, 2] = 5  # a constant feature: scale 1
    return StandardScaler().fit(X), X


def answer(path: Path) -> dict:
    """What the isolated reader says about a file."""
    done = subprocess.run(
        [sys.executable, "-I", PROGRAM, path], capture_output=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("write", ["pickle 2", "pickle 4", "pickle 5", "joblib"])
def test_converts_what_scikit_learn_writes(tmp_path, fitted, write):
    model, X = fitted
    source, target = tmp_path / "emotion_classifier_scaler.pkl", tmp_path / "out/scaler.safetensors"
    if write == "joblib":
        joblib.dump(model, source)
    else:
        source.write_bytes(pickle.dumps(model, int(write[-1])))
    converted = convert_scaler(source, target, trust=True)
    assert np.array_equal(converted.mean, model.mean_)
    assert np.array_equal(converted.scale, model.scale_)
    read = read_scaler(target)
    assert read.source == converted.source
    np.testing.assert_allclose(read.transform(X), model.transform(X), atol=1e-6)
    assert [path.name for path in target.parent.iterdir()] == ["scaler.safetensors"]


def test_options_of_the_scaler_are_kept(tmp_path):
    X = np.random.default_rng(1).normal(3, 2, (20, 3))
    for options in ({"with_mean": False}, {"with_std": False}):
        model = StandardScaler(**options).fit(X)
        source = tmp_path / "s.pkl"
        source.write_bytes(pickle.dumps(model))
        scaler = convert_scaler(source, tmp_path / "s.safetensors", trust=True)
        np.testing.assert_allclose(scaler.transform(X), model.transform(X), atol=1e-6)


def test_needs_the_words(tmp_path, fitted):
    source = tmp_path / "s.pkl"
    source.write_bytes(pickle.dumps(fitted[0]))
    with pytest.raises(InputError, match="`trust=True`"):
        convert_scaler(source, tmp_path / "s.safetensors")
    assert not (tmp_path / "s.safetensors").exists()


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def hostile(name: str, mark: Path, model: StandardScaler) -> bytes:
    """A file that tries to do something, or to break its reader."""
    if name == "system":
        return pickle.dumps(Evil(os.system, (f"touch {mark}",)))
    if name == "eval":
        return pickle.dumps(Evil(eval, (f"open({str(mark)!r}, 'w')",)))
    if name == "inside a scaler":
        model = StandardScaler().fit(np.ones((3, 2)))
        model.mean_ = Evil(os.system, (f"touch {mark}",))
        return pickle.dumps(model)
    if name == "object array":
        model = StandardScaler().fit(np.ones((3, 2)))
        model.mean_ = np.array([Evil(os.system, (f"touch {mark}",)), 1], dtype=object)
        return pickle.dumps(model)
    if name == "another class":
        return pickle.dumps(MinMaxScaler().fit(np.ones((3, 2))))
    if name == "not fitted":
        return pickle.dumps(StandardScaler())
    if name == "NaN":
        model = StandardScaler().fit(np.ones((3, 2)))
        model.mean_ = np.array([np.nan, 1.0])
        return pickle.dumps(model)
    if name == "negative scale":
        model = StandardScaler().fit(np.ones((3, 2)))
        model.scale_ = np.array([-1.0, 1.0])
        return pickle.dumps(model)
    if name == "a number":
        return pickle.dumps(17)
    if name == "a trillion bytes":
        return b"\x80\x04\x96" + (10**12).to_bytes(8, "little")
    if name == "deep nesting":
        return b"\x80\x04" + b"(" * 200_000 + b"." + b"]" * 100
    if name == "cut off":
        return pickle.dumps(model)[:-40]
    if name == "extension code":
        return b"\x80\x02\x82\x01."
    return {"empty": b"", "text": b"hello\n", "zlib": b"\x78\x9c" + bytes(40)}[name]


@pytest.mark.parametrize(
    "name",
    [
        *("system", "eval", "inside a scaler", "object array", "another class", "not fitted"),
        *("NaN", "negative scale", "a number", "a trillion bytes", "deep nesting", "cut off"),
        *("extension code", "empty", "text", "zlib"),
    ],
)
def test_refuses_everything_else(tmp_path, fitted, name):
    mark, source, target = tmp_path / "ran", tmp_path / "s.pkl", tmp_path / "s.safetensors"
    source.write_bytes(hostile(name, mark, fitted[0]))
    with pytest.raises(InputError, match=r"StandardScaler|must be finite"):
        convert_scaler(source, target, trust=True)
    assert not mark.exists(), "the file's instructions ran"
    assert not target.exists()


def test_the_reader_can_open_nothing(tmp_path):
    """Behind the list of names stand the limits: no file, program or module can be opened."""
    source = PROGRAM.read_text().replace(
        "found = Restricted(file).load()", "found = ACT()\n            raise Refused('it did it')"
    )
    acts = {
        "open": f"open({str(tmp_path / 'x')!r}, 'w')",
        "os.system": "__import__('os').system('true')",
        "import": "__import__('antigravity')",
        "socket": "__import__('socket').socket()",
    }
    for what, act in acts.items():
        program = tmp_path / "reader.py"
        program.write_text(source.replace("ACT()", act))
        done = subprocess.run(
            [sys.executable, "-I", program, program], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["refused"].startswith("Refused: it tried"), what
    assert not (tmp_path / "x").exists()


FUZZ = """
import importlib.util, io, random, sys
spec = importlib.util.spec_from_file_location("reader", sys.argv[1])
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)
whole, rng, read = open(sys.argv[2], "rb").read(), random.Random(0), 0
reader.limit()
for _ in range(800):
    data = bytearray(whole)
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        read += isinstance(reader.Restricted(io.BytesIO(bytes(data))).load(), reader.Scaler)
    except (Exception, MemoryError):
        pass
sys.stdout.write(f"read {read}")
"""


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_file_with_flipped_bytes_is_read_or_refused(tmp_path, fitted, protocol):
    """800 mutations under the reader's own limits: none ends the process or does anything."""
    source = tmp_path / "s.pkl"
    source.write_bytes(pickle.dumps(fitted[0], protocol))
    done = subprocess.run(
        [sys.executable, "-I", "-c", FUZZ, PROGRAM, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-800:]
    assert 0 < int(done.stdout.split()[1]) < 800


def test_the_reader_accepts_numbers_only(tmp_path):
    path = tmp_path / "s.pkl"
    path.write_bytes(pickle.dumps(np.array([{"a": 1}], dtype=object)))
    assert "only plain numbers" in answer(path)["refused"]
    path.write_bytes(pickle.dumps(np.zeros(2, dtype=[("a", "f8")])))
    assert "refused" in answer(path)


def test_read_scaler_never_opens_a_pickle(tmp_path, fitted):
    path = tmp_path / "my scaler.pkl"
    path.write_bytes(pickle.dumps(fitted[0]))
    with pytest.raises(InputError, match=r"convert-scaler '.*my scaler.pkl' --i-trust-this-file"):
        read_scaler(path)
    with pytest.raises(InputError, match="no file"):
        read_scaler(tmp_path / "none.safetensors")


def test_damaged_scaler_file(tmp_path, fitted):
    source, path = tmp_path / "s.pkl", tmp_path / "scaler.safetensors"
    source.write_bytes(pickle.dumps(fitted[0]))
    convert_scaler(source, path, trust=True)
    whole = path.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_scaler(path)
    save_file({"mean": np.zeros(2), "std": np.ones(2)}, path)
    with pytest.raises(DamagedError, match="mean and scale"):
        read_scaler(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, fitted, monkeypatch):
    source, path = tmp_path / "s.pkl", tmp_path / "scaler.safetensors"
    source.write_bytes(pickle.dumps(fitted[0]))
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        convert_scaler(source, path, trust=True)
    assert path.read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s.pkl", "scaler.safetensors"]


def test_width_is_checked():
    with pytest.raises(InputError, match=r"\(1, 3\).*fitted on 2"):
        Scaler(np.zeros(2), np.ones(2)).transform(np.zeros((1, 3)))


def test_command(tmp_path, fitted):
    source = tmp_path / "s.pkl"
    source.write_bytes(pickle.dumps(fitted[0]))
    runner = CliRunner()
    refused = runner.invoke(convert_scaler_command, [str(source)])
    assert isinstance(refused.exception, InputError)
    assert refused.exception.exit_code == 2
    done = runner.invoke(convert_scaler_command, [str(source), "--i-trust-this-file"])
    assert done.exit_code == 0, done.output
    assert "6 features" in done.stdout
    assert read_scaler(tmp_path / "scaler.safetensors").width == 6


def test_the_command_does_not_write_over_what_it_reads(tmp_path, fitted):
    source = tmp_path / "s.pkl"
    source.write_bytes(pickle.dumps(fitted[0]))
    (tmp_path / "link.pkl").symlink_to(source)
    before = source.read_bytes()
    for output in (source, tmp_path / "link.pkl"):
        words = [str(source), "--i-trust-this-file", "-o", str(output)]
        refused = CliRunner().invoke(convert_scaler_command, words)
        assert isinstance(refused.exception, InputError)
        assert "is the input" in str(refused.exception)
    assert source.read_bytes() == before

"""Encoders of one's own: the base class, names in a program, and packages that declare one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.errors import AffektError, CanaryError, InputError
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.models.new_clips.own_encoders import find_encoder
from affekt.extract import Backend, Encoder, Pooled, Unusable, extract, register_encoder

CODE = """
import numpy as np
from affekt.classify.models.new_clips.own_encoders import find_encoder
from affekt.extract import Backend, Pooled

class Letters(Backend):
    name, modality, dim = "letters-of-a-package", "text", 26
    def __init__(self, power: float = 1.0, broken: bool = False):
        self.power, self.broken = power, broken
    def embed(self, inputs):
        if self.broken:
            raise KeyError("a fault in the code")
        return [self._pooled(text.lower()) for text in inputs]
    def _pooled(self, text):
        counts = [text.count(chr(97 + i)) ** self.power for i in range(26)]
        return Pooled(np.array([counts], np.float32), len(text))
"""


class Letters(Backend):
    name, modality, dim = "letters", "text", 2

    def __init__(self, power: float = 1.0):
        self.power = power

    def embed(self, inputs):
        return [Pooled(np.full((1, 2), len(i) ** self.power, np.float32), len(i)) for i in inputs]


def texts() -> Manifest:
    words = {"positive": "happy glad good", "negative": "sad awful bad"}
    rows = [
        {"id": f"{label[:3]}{i}", "text": f"{word} {i}", "label": label, "speaker": f"s{i}"}
        for label, some in words.items()
        for i, word in enumerate(some.split() * 3)
    ]
    return Manifest.from_rows(rows)


def test_defaults_of_the_base_class_are_enough(cache):
    encoder = Encoder.of(Letters())
    space = extract(texts(), cache, encoder)
    assert len(space) == len(texts())
    fields = encoder.spec.fields
    assert fields["encoder"] == {"name": "letters", "version": "1"}
    assert fields["layers"] == {"semantics": "own", "count": 1, "dim": 2}


def test_labels_of_the_columns_are_in_the_spec():
    one = Letters()
    one.labels = ("short", "long")
    assert Encoder.of(one).spec.labels == ["short", "long"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("name", ""), ("modality", "video"), ("dim", 0), ("n_layers", 1.0), ("dim", True)),
        *(("min_samples", -1), ("labels", "ab"), ("labels", ("a",)), ("weights", "model.pt")),
    ],
)
def test_an_impossible_attribute_is_named_before_any_work(name, value):
    one = Letters()
    setattr(one, name, value)
    with pytest.raises(InputError, match=rf"Letters\.{name} is .*expected"):
        Encoder.of(one)


def test_audio_needs_a_sampling_rate_and_an_object():
    one = Letters()
    one.modality = "audio"
    with pytest.raises(InputError, match="sampling_rate is 0"):
        Encoder.of(one)
    with pytest.raises(
        InputError, match=r"expected an instance, such as Encoder.of\(Letters\(\)\)"
    ):
        Encoder.of(Letters)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="is not an encoder"):
        Encoder.of(3)  # pyright: ignore[reportArgumentType]


def test_weights_and_version_decide_the_spec(tmp_path):
    keys = []
    for version, content in (("1", b"a"), ("1", b"b"), ("2", b"b")):
        (tmp_path / "w.bin").write_bytes(content)
        one = Letters()
        one.version, one.weights = version, [tmp_path / "w.bin"]
        keys.append(Encoder.of(one).spec.key)
    assert len(set(keys)) == 3
    one.weights = [tmp_path / "gone.bin"]
    with pytest.raises(InputError, match=r"cannot read its weights .*gone\.bin"):
        Encoder.of(one).spec  # noqa: B018


def test_a_limit_of_the_model_is_a_limit_of_the_encoder():
    one = Letters()
    one.modality, one.sampling_rate, one.max_samples = "audio", 16_000, 32_000
    assert Encoder.of(one).max_seconds == 2.0


def test_an_object_of_another_class_gets_the_defaults(cache):
    class Plain:
        name, modality, n_layers, dim, labels = "plain", "text", 1, 1, None
        sampling_rate = min_samples = 0
        pooling = "mean"

        def describe(self):
            return Letters.describe(self)  # pyright: ignore[reportArgumentType]

        def load(self): ...

        def embed(self, inputs):
            return [Pooled(np.ones((1, 1), np.float32), 1) for _ in inputs]

    Plain.version, Plain._weights = "1", lambda self: {}  # pyright: ignore
    assert len(extract(texts(), cache, Encoder.of(Plain()))) == len(texts())  # pyright: ignore


def test_a_fault_in_an_encoder_is_reported_with_the_clip(cache):
    class Faulty(Letters):
        def embed(self, inputs):
            if any("awful" in text for text in inputs):
                raise KeyError("a fault in the code")
            return super().embed(inputs)

    with pytest.raises(AffektError, match=r"letters failed on .*KeyError: 'a fault in the code'"):
        extract(texts(), cache, Encoder.of(Faulty()))


def test_an_encoder_that_leaves_out_a_fixed_input_is_told_so(cache):
    class Lexicon(Letters):
        name = "lexicon"

        def embed(self, inputs):
            nothing = Unusable("empty_text", "no known word")
            pairs = zip(inputs, super().embed(inputs), strict=True)
            return [one if "good" in text else nothing for text, one in pairs]

    clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    with pytest.raises(CanaryError, match=r"lexicon gave no numbers for a fixed text.*no known"):
        extract(clips, cache, Encoder.of(Lexicon()))


def test_what_is_no_pooled_vector_is_refused_by_name(cache):
    class Plain(Letters):
        def embed(self, inputs):
            return np.stack([one.values[0] for one in super().embed(inputs)])

    with pytest.raises(
        InputError, match=r"letters: embed gave ndarray .* a Pooled\(values, frames"
    ):
        extract(texts(), cache, Encoder.of(Plain()))


def test_a_registered_name_opens_models_again(cache, tmp_path):
    class Own(Letters):
        name = "own-letters"

    register_encoder("own-letters", Own)
    encoder = Encoder("own-letters", power=0.5)
    space = extract(texts(), cache, encoder)
    model = Model(LogisticHead(), Task.named("valence"), space.features()).fit(texts())
    model.save_pretrained(tmp_path / "model")
    before = model.predict(texts()).proba
    again = Model.from_pretrained(tmp_path / "model")
    opened = find_encoder(again.needs[0].spec)
    assert opened.spec == encoder.spec != Encoder("own-letters").spec
    extract(texts(), Cache(tmp_path / "new"), opened)
    assert np.array_equal(again.predict(texts(), cache=Cache(tmp_path / "new")).proba, before)
    with pytest.raises(InputError, match="works in this process only"):
        extract(texts(), Cache(tmp_path / "more"), encoder, workers=2)


def test_names_and_options_are_checked():
    with pytest.raises(InputError, match="one of affekt's own"):
        register_encoder("ngram", Letters)
    for name in ("a/b", "", "../x", None):
        with pytest.raises(InputError, match="expected letters, digits"):
            register_encoder(name, Letters)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="Backend has no embed"):
        register_encoder("nothing", Backend)
    register_encoder("letters", Letters)
    register_encoder("letters", Letters)  # a cell of a notebook, run twice
    with pytest.raises(InputError, match="already registered"):
        register_encoder("letters", lambda: Letters())
    with pytest.raises(InputError, match="no option `pooling='max'`; its options: power"):
        Encoder("letters", pooling="max")
    with pytest.raises(InputError, match="takes text, not audio"):
        Encoder("letters", modality="audio")
    with pytest.raises(InputError, match=r"no encoder 'leters'.*letters"):
        Encoder("leters")
    register_encoder("needs-power", lambda power: Letters(power))
    with pytest.raises(InputError, match=r"needs-power: missing .* 'power' among its options"):
        Encoder("needs-power")
    register_encoder("other-name", Letters)
    with pytest.raises(InputError, match="has the name 'letters'"):
        Encoder("other-name")


@pytest.fixture
def installed(tmp_path) -> Path:
    """Return a folder for PYTHONPATH, as ``pip install`` would fill it."""
    site = tmp_path / "site"
    info = site / "letters_of_a_package-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "letters_of_a_package.py").write_text(CODE)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: letters_of_a_package\nVersion: 1\n"
    )
    (info / "entry_points.txt").write_text(
        "[affekt.encoders]\nletters-of-a-package = letters_of_a_package:Letters\n"
        "letters-gone = letters_of_a_package:Gone\n"
    )
    return site


def run(*words: str, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    command = [sys.executable, "-P", "-m", "affekt.classify.cli", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_commands_and_recipes_find_what_a_package_declares(installed, tmp_path):
    name = "letters-of-a-package"
    texts().write(tmp_path / "clips.csv")
    (tmp_path / "letters_of_a_package.py").write_text("raise SystemExit('code of a folder')")
    (tmp_path / "recipe.yaml").write_text(
        "manifest: clips.csv\ntask: valence\ncache: c\nencoders: {words: letters-of-a-package}\n"
        "split: {scheme: speaker, test_size: 0.34, dev_size: 0.34}\n"
        "members: {lr: {head: logistic, on: words, C: 1.0}}\nreport: out\n"
    )
    done = run("run", "recipe.yaml", cwd=tmp_path, site=installed)
    assert done.returncode == 0, done.stderr
    predict = ("predict", "out/members/lr/model", "--text", "glad")
    done = run(*predict, cwd=tmp_path, site=installed)
    assert done.returncode == 0, done.stderr
    assert "positive" in done.stdout
    done = run(*predict, cwd=tmp_path)  # the package is not installed
    assert done.returncode == 2, done.stderr
    assert f"needs the encoder '{name}', whose code is not installed" in done.stderr
    done = run(
        "extract", "clips.csv", "-c", "d", "-e", "letters-gone", cwd=tmp_path, site=installed
    )
    assert done.returncode == 2
    assert "of the package letters_of_a_package" in done.stderr
    assert "Traceback" not in done.stderr

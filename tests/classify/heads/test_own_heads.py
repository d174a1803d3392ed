"""Heads of one's own: checked when registered, saved, loaded, and found in installed packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.errors import InputError
from affekt.classify import LogisticHead, Model, Task, load_model, register_head
from affekt.classify.heads import HEADS, Head, head_from_state, registry
from affekt.extract import Encoder, extract

CODE = '''
import numpy as np
from affekt.classify.heads import Head

class PriorHead(Head):
    """The shares of the classes in train, for every clip."""

    name = "prior"

    def __init__(self, added=1.0):
        self.added = added

    def fit(self, X, y, sample_weight=None):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.n_features_in_ = np.asarray(X).shape[1]
        self.shares_ = (counts + self.added) / (counts + self.added).sum()
        self.seen_ = len(X)
        return self

    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))
'''
names: dict = {}
exec(CODE, names)  # the very class that the package below holds
PriorHead: type[Head] = names["PriorHead"]


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(registry._OWN, "_found", {})


def clips(**more) -> Manifest:
    words = {"positive": "happy glad good fine", "negative": "sad awful bad ill"}
    rows = [
        {"id": f"{label[:3]}{i}", "text": f"{word} {i}", "label": label, "speaker": f"s{i}"}
        for label, some in words.items()
        for i, word in enumerate(some.split() * (3 if label == "positive" else 2))
    ]
    return Manifest.from_rows(rows, **more)


def test_a_registered_head_is_known_saved_and_loaded(tmp_path):
    register_head("prior", PriorHead)
    assert "prior" in HEADS
    assert HEADS["prior"] is PriorHead
    table = clips()
    space = extract(table, Cache(tmp_path / "c"), Encoder("ngram", dim=16))
    model = Model(PriorHead(added=0.0), Task.named("sentiment"), space.features()).fit(table)
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert (again.head_.seen_, again.head_.added) == (20, 0.0)
    found = again.predict(table, cache=space.cache)
    assert np.array_equal(found.proba, model.predict(table).proba)
    assert sorted(set(found.proba.ravel())) == [0.0, 0.4, 0.6]  # 8 and 12 of 20, none neutral
    registry._OWN._found.clear()
    with pytest.raises(InputError, match=r"unknown head 'prior'.*package.*register_head"):
        load_model(tmp_path / "m")
    with pytest.raises(InputError, match=r"PriorHead cannot be saved.*register_head"):
        model.save_pretrained(tmp_path / "n")


def test_state_of_a_head_that_was_tampered_with_is_refused():
    register_head("prior", PriorHead)
    meta, arrays = PriorHead().fit(np.zeros((4, 2)), list("abab")).get_state()
    again = head_from_state(meta, arrays)
    assert np.array_equal(again.predict_proba(np.zeros((1, 2))), [[0.5, 0.5]])
    for learnt, more in (
        ({"fit": 1}, {}),
        ({"__class__": "x"}, {}),
        ({"_get_tags_": 1}, {}),
        ({}, {"shares_": np.array([np.nan, 1.0])}),
        ({"predict": "x"}, {}),
    ):
        with pytest.raises(InputError):
            head_from_state(meta | {"learnt": learnt}, {**arrays, **more})


def fault(**attributes):
    return type("Faulty", (PriorHead,), {"name": "faulty", **attributes})


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (LogisticHead(), "expected a subclass of"),
        (dict, "expected a subclass of"),
        (PriorHead, "name is 'prior'"),
        (type("Bare", (Head,), {"name": "faulty"}), "Bare has no fit, predict_proba"),
        (fault(fit=lambda self, X, y: None), "fit does not return self"),
        (fault(fit=lambda self, X, y: self), "classes_ is None"),
        (fault(predict_proba=lambda self, X: np.ones((len(X), 3)) / 3), r"returns \(40, 3\)"),
        (fault(predict_proba=lambda self, X: np.ones((len(X), 2))), "do not sum to 1"),
        (fault(predict_proba=lambda self, X: np.full((len(X), 2), np.nan)), "NaN"),
        (fault(predict_proba=lambda self, X: X["a"]), "IndexError"),
    ],
)
def test_a_broken_contract_is_found_at_registration(cls, said):
    with pytest.raises(InputError, match=said):
        register_head("faulty", cls)
    assert "faulty" not in HEADS


def test_what_is_learnt_and_not_saved_is_found_at_registration():
    class Forgetful(PriorHead):
        name = "forgetful"

        def fit(self, X, y, sample_weight=None):
            super().fit(X, y)
            self.kept = self.shares_[::-1]
            return self

        def predict_proba(self, X):
            return np.tile(self.kept, (len(X), 1))

    class Lists(PriorHead):
        name = "lists"

        def fit(self, X, y, sample_weight=None):
            super().fit(X, y)
            self.labels_ = [1, 2]
            return self

    with pytest.raises(InputError, match=r"Lists\.labels_ is a list, which cannot be saved"):
        register_head("lists", Lists)
    with pytest.raises(InputError, match=r"AttributeError.*kept"):
        register_head("forgetful", Forgetful)


def test_names_of_affekt_cannot_be_taken():
    for name in ("logistic", "ridge", "summed"):
        with pytest.raises(InputError, match="one of affekt's own"):
            register_head(name, PriorHead)


def test_commands_find_what_a_package_declares(tmp_path):
    site = tmp_path / "site"
    info = site / "prior_package-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "prior_package.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prior_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[affekt.heads]\nprior = prior_package:PriorHead\n")
    (tmp_path / "prior_package.py").write_text("raise SystemExit('code of a folder')")
    clips().write(tmp_path / "clips.csv")
    (tmp_path / "recipe.yaml").write_text(
        "manifest: clips.csv\ntask: sentiment\ncache: c\nencoders: {words: ngram}\n"
        "split: {scheme: speaker, test_size: 0.34, dev_size: 0.34}\n"
        "members: {mine: {head: prior, on: words, added: 0.0}}\nreport: out\n"
    )

    def command(*words, **env):
        call = [sys.executable, "-P", "-m", "affekt.classify.cli", *words]
        env = {**os.environ, **env}
        return subprocess.run(
            call, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    done = command("run", "recipe.yaml", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    predict = ("predict", "out/members/mine/model", "--text", "glad")
    done = command(*predict, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    done = command(*predict)
    assert (done.returncode, "unknown head 'prior'" in done.stderr) == (2, True), done.stderr
    done = command("run", "--check", "recipe.yaml")
    assert (done.returncode, "or after affekt.classify.register_head" in done.stderr) == (2, True)
    edited = CODE.replace("counts + self.added", "2 * counts + self.added")
    (site / "prior_package.py").write_text(edited)
    done = command("run", "recipe.yaml", PYTHONPATH=str(site))
    assert "Nothing to do" not in done.stderr + done.stdout
    for name, line in (("fit", "self.classes_, counts"), ("predict", "return np.tile")):
        broken = f"if len(X) not in (1, 40): raise KeyError({name!r})\n        {line}"
        (site / "prior_package.py").write_text(CODE.replace(line, broken))
        done = command("run", "recipe.yaml", PYTHONPATH=str(site))
        assert (done.returncode, "internal error" in done.stderr) == (1, False), done.stderr
        words = f"member 'mine': the head 'prior' (prior_package.PriorHead) failed in {name}"
        assert words in done.stderr
        assert f"KeyError: {name!r}" in done.stderr
    (site / "prior_package.py").write_text(CODE)
    shutil.rmtree(tmp_path / "out")
    voted = "".join(f"votes:{label}," for label in ("positive", "negative", "neutral"))
    rows = (tmp_path / "clips.csv").read_text().splitlines()
    rows = [f"{voted}{rows[0]}", *(f"1,1,0,{row}" for row in rows[1:])]
    (tmp_path / "voted.csv").write_text("\n".join(rows) + "\n")
    recipe = (tmp_path / "recipe.yaml").read_text().replace("clips.csv", "voted.csv")
    (tmp_path / "voted.yaml").write_text(recipe.replace("report: out", "report: v\nvotes: true"))
    done = command("run", "voted.yaml", PYTHONPATH=str(site))
    assert (done.returncode, "cannot learn from votes" in done.stderr) == (2, True), done.stderr
    done = command("run", "recipe.yaml")
    assert (done.returncode, "recipe.yaml:6" in done.stderr) == (2, True), done.stderr

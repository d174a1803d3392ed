"""A Hub id stands for a commit, and what is not there is refused with what to do."""

from __future__ import annotations

import pytest
from affekt.cache.errors import InputError
from affekt.extract.encoders import open_backend

from tests.support.encoder_models import TEXTS, backend, distance, model_folder

from .test_encoders_loading import copy

COMMIT, OTHER = "a1" * 20, "b2" * 20


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def on_hub(name, cache, commits, monkeypatch):
    """Lay a model out as the Hub's own cache does, with `main` at the first of `commits`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    repository = cache / f"models--affekt--{name}"
    for commit in commits:
        copy(name, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commits[0])
    return f"affekt/{name}", repository


def test_a_branch_is_resolved_once_and_the_commit_recorded(tmp_path, monkeypatch):
    name, repository = on_hub("bert", tmp_path / "hub", [COMMIT, OTHER], monkeypatch)
    opened = open_backend(name)
    assert opened.describe()["encoder"]["commit"] == COMMIT
    assert opened.describe()["encoder"]["name"] == name
    (repository / "refs" / "main").write_text(OTHER)  # the branch moves on
    assert opened.describe()["encoder"]["commit"] == COMMIT
    assert open_backend(name).describe()["encoder"]["commit"] == OTHER
    pinned = open_backend(name, revision=COMMIT)
    assert pinned.describe() == opened.describe()
    [ours], [local] = opened.embed([TEXTS[1]]), backend("bert").embed([TEXTS[1]])
    assert distance(ours.values, local.values) <= 1e-6


def test_what_is_not_here_is_refused_with_a_remedy(tmp_path, monkeypatch):
    name, _ = on_hub("bert", tmp_path / "hub", [COMMIT], monkeypatch)
    for wanted, revision in ((name, "c3" * 20), (name, "no-such-branch"), ("no/such-model", None)):
        with pytest.raises(InputError, match=r"download|folder"):
            open_backend(wanted, revision=revision)
    with pytest.raises(InputError, match="folder"):
        open_backend(str(tmp_path / "nothing here"))
    with pytest.raises(InputError, match="revision"):
        open_backend(str(model_folder("bert")), revision="main")

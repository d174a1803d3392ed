"""Models from and to the Hub, with the real client against a Hub of forty lines on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.errors import InputError
from affekt.classify import LogisticHead, Model, Task, load_model
from affekt.classify.models.folders.model_hub import MODEL_FILES, locate_model, push_folder
from affekt.classify.models.published.tensors import with_weights
from affekt.classify.serving.loading import open_system
from affekt.extract import Encoder, extract
from affekt.extract.hub import locate
from huggingface_hub import constants

OLD, NEW = "a" * 40, "b" * 40


class Hub(ThreadingHTTPServer):
    """Repositories as {commit: {path: bytes}}, with branches."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches = {"main": NEW, "v1": OLD}
        self.asked: list[str] = []
        self.down = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes = b"", headers: dict | None = None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if self.server.down:
            return self.answer(503, b"down")
        if found := re.fullmatch(r"/api/models/[^/]+/[^/]+(?:/revision/(.+))?", path):
            commit = self.commit(found[1] or "main")
            if commit is None:
                return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            files = [{"rfilename": name} for name in self.server.commits[commit]]
            return self.json({"id": "o/n", "sha": commit, "siblings": files})
        if found := re.fullmatch(r"/api/models/[^/]+/[^/]+/tree/([^/]+)", path):
            files = self.server.commits[found[1]]
            return self.json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                    for name, data in files.items()
                ]
            )
        if found := re.fullmatch(r"/[^/]+/[^/]+/resolve/([^/]+)/(.+)", path):
            data = self.server.commits[found[1]].get(found[2])
            if data is None:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return self.answer(200, data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": found[1]})
        return self.answer(404)

    do_HEAD = do_GET

    def do_POST(self):
        path = self.path.split("?")[0]
        self.server.asked.append(f"POST {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            return self.json({"files": [{"path": f["path"], **regular} for f in files]})
        if path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            data = {file["path"]: base64.b64decode(file["content"]) for file in files}
            self.server.commits["c" * 40] = data
            self.server.branches["main"] = "c" * 40
            url = "https://huggingface.co/o/n/commit/" + "c" * 40
            return self.json({"commitOid": "c" * 40, "commitUrl": url, "success": True})
        return self.json({"url": "https://huggingface.co/o/n", "name": "o/n", "id": "o/n"})

    def json(self, value):
        headers = {"Content-Type": "application/json", "X-Repo-Commit": NEW}
        self.answer(200, json.dumps(value).encode(), headers)

    def commit(self, revision: str) -> str | None:
        known = self.server.branches.get(revision, revision)
        return known if known in self.server.commits else None


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub()
    files = {"config.json": b"{}", "model.safetensors": b"new", "scaler.pkl": b"evil", "x.py": b""}
    server.commits = {NEW: files, OLD: files | {"model.safetensors": b"old"}}
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", url, raising=False)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def go_offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_branch_is_resolved_once_and_pinned(hub):
    place = locate_model("o/n")
    assert (place.repository, place.commit) == ("o/n", NEW)
    assert place.name == f"o/n@{NEW}"
    assert (place.folder / "model.safetensors").read_bytes() == b"new"
    assert all(NEW in asked for asked in hub.asked if "resolve" in asked)


def test_only_allowed_files_are_downloaded(hub):
    assert names(locate_model("o/n").folder) == ["config.json", "model.safetensors"]
    assert not any("pkl" in asked or ".py" in asked for asked in hub.asked)


def test_pickled_weights_are_fetched_only_if_there_are_no_others(hub):
    hub.commits[NEW] |= {"model.bin": b"x", "tokenizer.json": b"{}"}
    assert "model.bin" not in names(with_weights("o/n").folder)
    del hub.commits[NEW]["model.safetensors"]
    hub.commits["d" * 40] = hub.commits.pop(NEW)
    hub.branches["main"] = "d" * 40
    place = with_weights("o/n")
    assert place.commit == "d" * 40
    assert names(place.folder) == ["config.json", "model.bin", "tokenizer.json"]


def test_a_tag_gives_its_commit(hub):
    place = locate_model("o/n", "v1")
    assert place.commit == OLD
    assert (place.folder / "model.safetensors").read_bytes() == b"old"
    with pytest.raises(InputError, match="'v9'"):
        locate_model("o/n", "v9")


def test_offline_never_falls_back_silently(hub, monkeypatch, caplog):
    """What lies here is taken only if it is named, or if the message says which commit it is."""
    with caplog.at_level(logging.WARNING, "affekt"):
        locate_model("o/n")
        assert not caplog.records
        go_offline(monkeypatch)
        assert locate_model("o/n", NEW).commit == NEW
        assert not caplog.records
        assert locate_model("o/n", "main").commit == NEW
    assert NEW in caplog.text
    with pytest.raises(InputError, match=OLD):  # another revision is never put in its place
        locate_model("o/n", OLD)
    with pytest.raises(InputError, match="v1"):
        locate_model("o/n", "v1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        locate_model("o/other")


def test_a_hub_that_is_down_is_an_error(hub):
    locate_model("o/n")
    hub.down = True
    with pytest.raises(InputError, match=f"`revision='{NEW}'`"):
        locate_model("o/n")
    assert locate_model("o/n", NEW).commit == NEW


def test_disk_full_while_downloading(hub, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(InputError, match="No space left"):
        locate_model("o/n")


def test_folders_and_nonsense(tmp_path):
    assert locate_model(tmp_path).folder == tmp_path
    with pytest.raises(InputError, match="which has none"):
        locate_model(tmp_path, "main")
    for name in ("../up", "/etc/passwd", "a/b/c", "", "https://hub/o/n"):
        with pytest.raises(InputError, match="expected a folder or a Hub id"):
            locate_model(name)


def test_a_misspelt_name_in_a_folder_that_is_here_is_not_asked_of_the_hub(
    hub, monkeypatch, tmp_path
):
    (tmp_path / "models" / "valence").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(
        InputError, match=r"has no vlaence\. Did you mean 'valence'.*hf download models/v"
    ):
        locate_model("models/vlaence")
    with pytest.raises(InputError, match=r"folder models is here, and has no x\. If"):
        locate_model("models/x")


def test_a_repository_whose_owner_is_a_folder_here_is_taken_where_it_was_downloaded(
    hub, monkeypatch, tmp_path
):
    locate("o/n")
    (tmp_path / "o" / "n2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("o/n").repository == "o/n"


def test_revision_names_cannot_leave_the_cache(hub, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text(NEW)
    go_offline(monkeypatch)
    with pytest.raises(InputError, match="neither"):
        locate("o/n", "../../../secret")


def test_push_is_one_commit_that_can_be_loaded_again(hub, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in MODEL_FILES:
        (folder / name).write_bytes(b"---\nlicense: mit\n---\n" + name.encode())
    oid = push_folder(folder, "o/n", private=True, message="Valence, patch head")
    assert oid == "c" * 40
    back = locate_model("o/n")
    assert back.commit == oid
    assert names(back.folder) == sorted(MODEL_FILES)
    assert (back.folder / "config.json").read_bytes() == (folder / "config.json").read_bytes()


def small_model(folder: Path) -> tuple[Model, Manifest, Cache]:
    rows = [
        {"id": f"{label}{i}", "text": f"{label} {i}", "label": label}
        for label in ("negative", "neutral", "positive")
        for i in range(6)
    ]
    clips, cache = Manifest.from_rows(rows), Cache(folder / "cache")
    space = extract(clips, cache, Encoder("ngram", dim=64))
    return Model(LogisticHead(), Task.named("valence"), space.features()).fit(clips), clips, cache


def test_a_model_goes_to_the_hub_and_comes_back_pinned(hub, monkeypatch, tmp_path):
    model, clips, cache = small_model(tmp_path)
    commit = model.push_to_hub("o/n", private=True, message="A small model")
    assert commit == "c" * 40
    assert sorted(hub.commits[commit]) == ["config.json", "model.safetensors"]
    carded = model.push_to_hub("o/carded", card="---\nlicense: mit\n---\n# Mine\n")
    assert sorted(hub.commits[carded]) == ["README.md", "config.json", "model.safetensors"]
    wanted = model.predict(clips)
    for revision in (None, "main", commit):
        back = load_model("o/n", revision=revision)
        assert back.predict(clips, cache) == wanted
        assert back.record["hub"] == {"repository": "o/n", "commit": commit}
    back.save_pretrained(tmp_path / "again")  # the record travels on
    assert load_model(tmp_path / "again").record["hub"]["commit"] == commit
    system = open_system("o/n")
    assert system(text="positive 3", top=1) == [system(text="positive 3")[0]]
    with pytest.raises(InputError, match="v9"):
        load_model("o/n", revision="v9")


def test_a_model_offline_is_never_another_one(hub, monkeypatch, tmp_path, caplog):
    model, clips, cache = small_model(tmp_path)
    go_offline(monkeypatch)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        load_model("o/n")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        model.push_to_hub("o/n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    commit = model.push_to_hub("o/n")
    load_model("o/n")
    hub.down = True
    with pytest.raises(InputError, match=f"`revision='{commit}'`"):
        load_model("o/n")
    assert load_model("o/n", revision=commit).predict(clips, cache) == model.predict(clips)
    go_offline(monkeypatch)
    with pytest.raises(InputError, match=OLD):
        load_model("o/n", revision=OLD)
    with caplog.at_level(logging.WARNING, "affekt"):
        assert load_model("o/n").record["hub"]["commit"] == commit
    assert commit in caplog.text


def test_push_refuses_what_does_not_belong(hub, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no folder"):
        push_folder(tmp_path / "none", "o/n")
    with pytest.raises(InputError, match="nothing"):
        push_folder(_empty(tmp_path), "o/n")
    folder = _empty(tmp_path / "x")
    (folder / "config.json").write_text("{}")
    (folder / "scaler.pkl").write_bytes(b"")
    (folder / "audio").mkdir()
    (folder / "audio/clip.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"audio, audio/clip\.wav, scaler\.pkl"):
        push_folder(folder, "o/n")
    linked = _empty(tmp_path / "y")
    (linked / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"config\.json is a link"):
        push_folder(linked, "o/n")
    assert not any(asked.startswith("POST") for asked in hub.asked)
    go_offline(monkeypatch)
    (folder / "scaler.pkl").unlink()
    (folder / "audio/clip.wav").unlink()
    (folder / "audio").rmdir()
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        push_folder(folder, "o/n")


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir(parents=True)
    return folder / "empty"

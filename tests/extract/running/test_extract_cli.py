"""`affekt extract`: what it prints, what it answers, and the processes it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, InputError, Manifest
from affekt.extract import Encoder
from affekt.extract.running.embedding import run_extraction


@pytest.fixture
def table(corpus, tmp_path, sound, encode):
    """Eight sounds, two of them the same, one broken, and a clip with a text only."""
    files = {f"{n}.wav": encode(sound(0.3, seed=n)) for n in range(6)}
    clips = corpus(files | {"twin.wav": files["0.wav"], "bad.wav": b"bad"})
    rows = [{"id": c.id, "path": c.path, "text": ""} for c in clips]
    rows.append({"id": "said", "path": "", "text": "well"})
    path = tmp_path / "clips.csv"
    Manifest.from_rows(rows, root=tmp_path).write(path)
    return path


def test_an_extraction_from_dry_run_to_json(affekt, table, tmp_path):
    words = ("extract", table, "--cache", tmp_path / "cache", "--encoder", "spectral")
    code, out, err = affekt(*words, "--dry-run")
    assert code == 0
    assert out.startswith("9 clips: 0 stored, 8 to compute\n  8 of them were not read yet")
    assert "nothing for this encoder: 1 clip\n" in out
    assert not (tmp_path / "cache").exists()
    code, out, err = affekt(*words)
    assert code == 3
    assert "9 clips, 0 were stored, 6 computed in " in out
    assert "1 have the same content as another clip and share its row" in out
    assert "1 have no audio" in out
    assert "1 quarantined: 1 not_audio" in out
    assert "spectral: 8/8 clips (100 %)" in err
    assert f"{table} line 9: bad: not_audio: a text file, begins with 'bad'" in err
    code, out, err = affekt(*words, "--json")
    found = json.loads(out)
    assert code == 3
    assert found["hits"] + found["computed"] + found["repeated"] == 7
    assert [one["code"] for one in found["quarantined"]] == ["not_audio"]
    assert {"space", "spec", "flags", "without", "audio_seconds", "seconds", "notes"} < found.keys()
    code, out, err = affekt(*words, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["hits"] + json.loads(out)["misses"] == 8


def test_part_and_store_dtype(affekt, table, tmp_path):
    words = ("extract", table, "-c", tmp_path / "cache", "-e", "ngram", "--store-dtype", "float16")
    for part in ("1/2", "2/2"):
        assert affekt(*words, "--part", part, "--json")[0] == 0
    [space] = Cache(tmp_path / "cache").spaces()
    assert (len(space), space.spec.store_dtype) == (1, "float16")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "spectrl"], "Did you mean 'spectral'"),
        (["-e", "spectral", "--part", "3/2"], "expected i/n"),
        (["-e", "spectral", "--part", "one"], "expected i/n"),
        (["-e", "spectral", "--layers", "12"], "every layer is stored"),
        (["-e", "spectral", "--long", "cut"], "fail"),
        (["-e", "spectral", "--workers", "0"], "expected 1 or more"),
        (["-e", "ngram", "--long", "chunk"], "for audio"),
        (["-e", "no/such/folder/here"], "no/such/folder/here"),
        (
            ["-e", "spectral", "-e", "ngram"],
            "--encoder was given 2 values: 'spectral', 'ngram'; expected one",
        ),
        ([], "--encoder"),
    ],
)
def test_wrong_input_answers_2_before_any_work(affekt, table, tmp_path, words, message):
    code, out, err = affekt("extract", table, "--cache", tmp_path / "cache", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "cache").exists()


def test_a_missing_manifest_answers_2(affekt, tmp_path):
    code, _, err = affekt("extract", tmp_path / "no.csv", "-c", tmp_path / "cache", "-e", "ngram")
    assert code == 2
    assert "no.csv" in err


def test_help_imports_no_torch():
    code = "import sys; from affekt.classify.cli import main\ntry: main(['extract', '--help'])\n"
    code += "except SystemExit: print('torch' in sys.modules, 'soundfile' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")


def test_builtin_encoders_need_no_torch(table, tmp_path):
    """They start fast: nothing of torch or transformers is imported."""
    code = (
        "import sys; from affekt.extract.running.embedding import run_extraction;"
        "from affekt.cache import *;"
        "from affekt.extract import Encoder; m = Manifest.read(sys.argv[1]);"
        "[run_extraction(m, Cache(sys.argv[2]), Encoder(e)) for e in ('ngram', 'spectral')];"
        "print([x for x in ('torch', 'transformers', 'sklearn') if x in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(table), str(tmp_path / "cache")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_workers_give_what_one_process_gives(corpus, cache, sound, encode, tmp_path):
    files = {f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(12)}
    clips = corpus(files | {"bad.wav": b"bad", "quiet.wav": encode(np.zeros(8000, np.float32))})
    one, two = cache, Cache(tmp_path / "two")
    alone = run_extraction(clips, one, Encoder("spectral"), workers=1)
    shared = run_extraction(clips, two, Encoder("spectral"), workers=2)
    assert len(shared.space.index.refresh().shards) == 2  # each worker stored its own
    good = clips.select([id_ for id_ in clips.ids if id_ != "bad"])
    assert np.array_equal(one.read(alone.space, good), two.read(shared.space, good))
    found = [done.as_dict() | {"seconds": 0} for done in (alone, shared)]
    assert found[0] == found[1]


def test_a_worker_that_dies_is_reported_and_loses_nothing(
    corpus, cache, sound, encode, monkeypatch
):
    from affekt.extract.running.engines import workers

    clips = corpus({f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(6)})
    real = workers._start

    def killed(lines, threads, number, messages):
        child = real(lines, threads, number, messages)
        if number == 0:
            child.kill()
        return child

    monkeypatch.setattr(workers, "_start", killed)
    with pytest.raises(AffektError, match=r"worker 1 was killed, perhaps.*again to continue"):
        run_extraction(clips, cache, Encoder("spectral"), workers=2)
    monkeypatch.undo()
    done = run_extraction(clips, Cache(cache.path), Encoder("spectral"), workers=1)
    assert (done.hits, done.computed) == (3, 3)


def test_errors_of_workers_are_errors_here(corpus, cache, sound, encode):
    """The canary of a space is not what this encoder gives: both workers refuse."""
    from affekt.cache import CanaryError

    clips = corpus({f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(4)})
    encoder = Encoder("spectral")
    cache.create(encoder.spec).set_canary(encoder.canary() * 2)
    with pytest.raises(CanaryError, match="computes differently") as caught:
        run_extraction(clips, cache, encoder, workers=2)
    assert caught.value.layers == [0]
    assert len(cache.spaces()[0]) == 0


def test_ray_names_its_extra(affekt, table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it was not installed
    code, _, err = affekt("extract", table, "-c", tmp_path / "c", "-e", "ngram", "--engine", "ray")
    assert code == 2
    assert "pip install 'affekt[ray]'" in err


def test_encoders_of_ones_own_stay_in_this_process(cache):
    from affekt.extract.builtin.ngram import Ngram

    encoder = Encoder.of(Ngram(dim=64))
    clips = Manifest.from_rows([{"id": "a", "text": "x"}])
    for options in ({"workers": 2}, {"engine": "ray"}):
        with pytest.raises(InputError, match="this process only"):
            run_extraction(clips, cache, encoder, **options)
    assert run_extraction(clips, cache, encoder).computed == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_says_so_and_loses_nothing(corpus, cache, sound, encode, monkeypatch):
    import errno

    from affekt.cache.files import durable

    clips = corpus({f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(4)})
    run_extraction(clips.select(["0"]), cache, Encoder("spectral"))
    real = durable.os.write

    def full(handle, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run_extraction(clips, Cache(cache.path), Encoder("spectral"))
    monkeypatch.setattr(durable.os, "write", real)
    done = run_extraction(clips, Cache(cache.path), Encoder("spectral"))
    assert (done.hits, done.computed) == (1, 3)

"""Job arrays: parts of a manifest, Slurm's numbers, and how a corpus would spread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from affekt.cache import Cache, InputError, Manifest
from affekt.extract import Encoder
from affekt.extract.running.embedding import run_extraction
from affekt.extract.running.engines.shares import blocks_of, clips_of, deal, make_job, ranges
from affekt.extract.running.parts import group_numbers, part_of, read_part
from hypothesis import given, strategies as st

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
COLUMN = st.lists(st.sampled_from(["a", "b", "é", "", "\ud800", "f/g.wav"]), max_size=40)


def slurm(**numbers: int) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}


@given(first=st.integers(0, 9), count=st.integers(1, 9), step=st.integers(1, 4))
def test_the_tasks_of_an_array_take_each_part_once(first, count, step):
    numbers = [first + step * n for n in range(count)]
    rest = {"COUNT": count, "STEP": step}
    whole = {**rest, "MIN": first, "MAX": numbers[-1]}
    in_order = [read_part("slurm", slurm(ID=number, **whole)) for number in numbers]
    assert in_order == [(n + 1, count) for n in range(count)]
    without = {read_part("slurm", slurm(ID=number, **rest)) for number in numbers}
    assert without == set(in_order)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "TASK_ID and SLURM_ARRAY_TASK_COUNT is not set"),
        (slurm(ID=1), "SLURM_ARRAY_TASK_COUNT is not set"),
        (slurm(ID=1, COUNT=0), "not one of evenly spaced numbers"),
        (
            slurm(ID=7, COUNT=3, MIN=1, MAX=7, STEP=1),
            "not one of evenly spaced numbers",
        ),  # --array=1,3,7
        (slurm(ID=4, COUNT=3, MIN=1, MAX=5, STEP=2), "not one of evenly spaced numbers"),
        (slurm(ID=0, COUNT=3, MIN=1, MAX=3), "not one of evenly spaced numbers"),
        ({**slurm(ID=1, COUNT=2), "SLURM_ARRAY_TASK_MIN": "x"}, "MIN is 'x'"),
    ],
)
def test_an_uneven_array_is_refused(environment, message):
    with pytest.raises(InputError, match=message):
        read_part("slurm", environment)


@pytest.mark.parametrize(
    "text", ["0/2", "3/2", "1", "1/", "/2", "-1/2", "1/2/3", "Slurm", "", "²/3"]
)
def test_other_parts_are_refused(text):
    with pytest.raises(InputError, match="expected i/n"):
        read_part(text)


@given(column=COLUMN)
def test_groups_are_numbered_as_they_come(column):
    known: dict[str, int] = {}
    assert group_numbers(column).tolist() == [known.setdefault(v, len(known)) for v in column]


@given(column=COLUMN.filter(len), size=st.integers(1, 12), count=st.integers(1, 5))
def test_shares_are_a_partition_that_keeps_files_together(column, size, count):
    rows = [{"id": str(n), "path": v or "x", "start": n} for n, v in enumerate(column)]
    rows = [row for row in rows if "\ud800" not in row["path"]] or [{"id": "0", "path": "x"}]
    clips = Manifest.from_rows(rows)
    positions = np.flatnonzero(np.arange(len(clips)) % 3 != 1)
    order, bounds = ranges(clips, positions, "audio", size)
    assert sorted(order.tolist()) == positions.tolist()
    assert [stop for _, stop in bounds] == [*(start for start, _ in bounds[1:]), len(order)]
    assert all(0 < stop - start <= size for start, stop in bounds)
    paths = clips["path"][order]
    for (_, stop), (_, after) in pairwise(bounds):
        if paths[stop - 1] == paths[stop]:  # a file that is more than a share
            assert (paths[stop:after] == paths[stop]).all() or (paths == paths[stop]).sum() > size
    dealt = deal(clips, positions, "audio", count)
    assert sorted(np.concatenate(dealt).tolist()) == positions.tolist()
    files = [set(clips["path"][share]) for share in dealt]
    assert sum(map(len, files)) == len(set().union(*files))


def test_a_share_is_the_same_clips_elsewhere(tmp_path, cache):
    rows = [
        {"id": "é", "path": "a.wav", "start": 0.1, "end": 0.30000000000000004, "speaker": "s"},
        {"id": "b", "path": "\udce4.wav", "text": "so"},
        {"id": "c", "path": "c.wav"},
    ]
    clips = Manifest.from_rows(rows, tmp_path)
    encoder = Encoder("spectral")
    job = make_job(clips, encoder, cache.create(encoder.spec))
    lines = [json.loads(json.dumps(one)) for one in blocks_of(clips, np.array([2, 0, 1]), 2)]
    there = clips_of(json.loads(json.dumps(job)), lines)
    assert list(there) == list(clips.select(["c", "é", "b"]))
    assert [there.place(i) for i in range(3)] == [clips.place(i) for i in (2, 0, 1)]
    assert (there.root, there.allow_outside) == (clips.root, clips.allow_outside)


def test_four_tasks_at_once_equal_one_run(corpus, cache, sound, encode, tmp_path):
    sounds = {f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(22)}
    clips = corpus({**sounds, "bad.wav": b"bad", "gone.wav": b""})
    (tmp_path / "audio" / "gone.wav").unlink()
    clips.write(tmp_path / "clips.csv")
    words = ["-m", "affekt", "extract", "clips.csv", "-c", "four", "-e", "spectral", "--json"]
    tasks = [
        subprocess.Popen(
            [sys.executable, *words, "--part", "slurm"], cwd=tmp_path, text=True,
            env={**os.environ, **slurm(ID=n, COUNT=4, MIN=3, MAX=6, STEP=1)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for n in range(3, 7)
    ]  # fmt: skip
    found = []
    for task in tasks:
        out, err = task.communicate(timeout=240)
        assert task.returncode in (0, 3), err
        found.append(json.loads(out))
    done = run_extraction(clips, cache, Encoder("spectral"), workers=1)
    assert sum(one["computed"] for one in found) == done.computed == 22
    failed = sorted(line["id"] for one in found for line in one["quarantined"])
    assert failed == sorted(one.id for one in done.failures) == ["bad", "gone"]
    good = clips.select([id_ for id_ in clips.ids if id_ not in failed])
    four = Cache(tmp_path / "four")
    assert np.array_equal(four.read(four.spaces()[0], good), cache.read(done.space, good))


def test_a_plan_for_several_workers_is_what_their_parts_would_do(corpus, cache, affekt, tmp_path):
    names = [f"{n}.wav" for n in range(6)]
    corpus({name: bytes(32_000 * (n + 1)) for n, name in enumerate(names)})
    rows = [{"id": name, "path": f"audio/{name}"} for name in names]
    rows += [
        {"id": f"half{n}", "path": "audio/5.wav", "start": n, "end": n + 0.5} for n in range(3)
    ]
    clips = Manifest.from_rows(rows, tmp_path)
    clips.write(tmp_path / "clips.csv")
    words = ["extract", tmp_path / "clips.csv", "-c", cache.path, "-e", "spectral"]
    code, out, err = affekt(*words, "--plan", 4, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [part["clips"] for part in found["parts"]] == [
        len(part_of(clips["path"], (n, 4))) for n in range(1, 5)
    ]
    assert [part["bytes"] for part in found["parts"]] == [192_000, 256_000, 96_000, 128_000]
    assert [part["audio_seconds"] for part in found["parts"]] == [6.0, 9.5, 3.0, 4.0]
    assert sum(part["seconds"] for part in found["parts"]) == pytest.approx(
        found["seconds"], abs=0.5
    )
    assert not cache.path.exists()
    code, out, _ = affekt(*words, "--plan", 2)
    assert code == 0
    assert "9 clips: 0 stored, 9 to compute" in out
    assert "with 2 machines like this one" in out
    assert affekt(*words, "--part", "1/" + "9" * 30)[0] == affekt(*words, "--part", "/")[0] == 2
    assert affekt(*words, "--part", "1/" + "9" * 5000)[0] == 2
    assert affekt(*words, "--plan", "9" * 30)[0] == affekt(*words, "--plan", 10**9)[0] == 2
    assert affekt(*words, "--plan", 0)[0] == affekt(*words, "--plan", 2, "--part", "1/2")[0] == 2


def test_the_scripts_for_clusters_are_sound():
    script = RECIPES / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    wrong = subprocess.run(["bash", script], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "usage: sbatch" in wrong.stderr
    ray = yaml.safe_load((RECIPES / "ray-cluster.yaml").read_text())
    assert {"cluster_name", "provider", "head_start_ray_commands"} <= set(ray)

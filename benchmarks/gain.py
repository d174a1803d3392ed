"""Measure what the heads give with their defaults, against a tuned logistic regression.

    python benchmarks/gain.py DATA CACHE MINILM            # all; an hour or two on one core
    python benchmarks/gain.py DATA CACHE MINILM lda mlp    # these heads only

DATA is the folder with one folder per corpus, CACHE gets the embeddings, MINILM is the folder of
the encoder all-MiniLM-L6-v2. Results are added to benchmarks/results/gain.json; what is in it is
not measured again.

Speech: `spectral`, four corpora, eight draws of a quarter of the speakers for test. Text: MiniLM,
official splits, clips with one label. All heads train on the same clips. `tuned` is the logistic
regression whose C of 0.001 to 1 does best on five inner folds of the training clips, by speaker
where there are speakers; the other heads have their defaults and see no dev.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from affekt.cache import Cache, Manifest
from affekt.classify import Model, Task, splits
from affekt.classify.evaluation.reports.sections import Table
from affekt.classify.heads import HEADS, LogisticHead
from affekt.classify.heads.search import group_folds
from affekt.classify.metrics.measures import uar
from affekt.extract import Encoder, extract

RESULTS = Path(__file__).parent / "results" / "gain.json"
SPEECH = ("emodb", "ravdess", "nemo", "urdu")
TEXT = ("emoevent_es", "brighter", "meld", "afrisenti")
REPEATS = 8
HEADS_TRIED = ("tuned", "logistic", "lda", "mlp", "patch")
C = (0.001, 0.01, 0.1, 1.0)


def as_labelled(name, clips):
    labels = sorted(set(clips["label"]))
    return Task(name, tuple(labels), {label: label for label in labels})


def model(head, task, space, scale):
    return Model(head, task, space.features(layers=-1), scale=scale)


def score(head, task, space, scale, train, test, check=True):
    allow = {} if check else {"allow_speaker_overlap": True, "allow_duplicates": True}
    fitted = model(head, task, space, scale).fit(train, **allow)
    return uar(list(test["label"]), fitted.predict(test).label, task.labels)


def tuned(task, space, scale, train, check):
    """Return the logistic regression with the best mean UAR over inner folds."""
    speakers = np.array(list(train["speaker"]))
    folds = group_folds(list(train["label"]), speakers if all(speakers) else None)
    ids = np.array(train.ids)
    inner = [(train.select(list(ids[a])), train.select(list(ids[b]))) for a, b in folds]
    means = [
        np.mean([score(LogisticHead(c), task, space, scale, a, b, check) for a, b in inner])
        for c in C
    ]
    return LogisticHead(C[int(np.argmax(means))])


def speech_sets(data, cache):
    for name in SPEECH:
        clips = Manifest.read(data / name / "manifest.csv")
        space = extract(clips, cache, Encoder("spectral"))
        task = as_labelled(name, clips)
        for repeat in range(REPEATS):
            part = splits(clips, "speaker", test_size=0.25, dev_size=0, random_state=repeat)[0]
            for scale in (True, "speaker"):
                yield name, repeat, scale, task, space, part.train, part.test, True


def text_sets(data, cache, folder):
    for name in TEXT:
        clips = Manifest.read(data / name / "manifest.csv")
        labelled = [clip for clip, label in zip(clips.ids, clips["label"], strict=True) if label]
        clips = clips.select(labelled)
        space = extract(clips, cache, Encoder(folder, modality="text"))
        languages = set(clips["language"]) - ({"eng"} if name == "brighter" else set())
        for language in sorted(
            languages
        ):  # the labels of brighter's English test are not published
            rows = zip(clips.ids, clips["language"], clips["split"], strict=True)
            ids = {"train": [], "dev": [], "test": []}
            for clip, spoken, split in rows:
                if spoken == language:
                    ids[split].append(clip)
            train, test = clips.select(ids["train"]), clips.select(ids["test"])
            task = as_labelled(name, train)
            yield f"{name} {language}", 0, True, task, space, train, test, False


def measure(sets, heads, found):
    for name, repeat, scale, task, space, train, test, check in sets:
        for head in heads:
            key = f"{name} | {repeat} | {'speaker' if scale == 'speaker' else 'global'} | {head}"
            if key in found:
                continue
            start = time.process_time()
            made = (
                tuned(task, space, scale, train, check)
                if head == "tuned"
                else HEADS[head](random_state=repeat)
            )
            value = score(made, task, space, scale, train, test, check)
            seconds = time.process_time() - start
            found[key] = {"uar": round(value, 4), "cpu_seconds": round(seconds, 1)}
            print(key, found[key], flush=True)
            draft = RESULTS.with_suffix(".tmp")
            draft.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")
            draft.replace(RESULTS)


def against_tuned(found):
    """Return by (set, scale) and head: mean UAR, and mean difference over the draws of both."""
    draws = {}
    for key, row in found.items():
        name, repeat, scale, head = key.split(" | ")
        draws.setdefault((name, scale), {}).setdefault(head, {})[repeat] = row["uar"]
    return {
        at: {
            head: (
                np.mean(list(mine.values())),
                np.mean([value - heads["tuned"][repeat] for repeat, value in mine.items()]),
                len(mine),
            )
            for head, mine in heads.items()
        }
        for at, heads in sorted(draws.items())
        if "tuned" in heads
    }


def show(found):
    measured = against_tuned(found)
    sections = (
        ("speech, global", lambda at: at[0] in SPEECH and at[1] == "global"),
        ("speech, within speakers", lambda at: at[1] == "speaker"),
        ("text", lambda at: at[0] not in SPEECH),
    )
    others = HEADS_TRIED[1:]
    for title, belongs in sections:
        some = {at: row for at, row in measured.items() if belongs(at)}
        rows = []
        for at, row in some.items():
            cells = [f"{100 * row[h][1]:+.1f}" if h in row else "-" for h in others]
            rows.append([at[0], f"{100 * row['tuned'][0]:.1f}", *cells])
        mean = [np.mean([row["tuned"][0] for row in some.values()])]
        gains = [[row[h][1] for row in some.values() if h in row] for h in others]
        rows.append(
            ["mean", f"{100 * mean[0]:.1f}"]
            + [f"{100 * np.mean(gain):+.1f}" if gain else "-" for gain in gains]
        )
        print(f"\n{title}\n\n{Table(['', 'tuned, UAR in %', *others], rows)}")
    fewest = {
        h: min((row[h][2] for row in measured.values() if h in row), default=0) for h in others
    }
    print("\ndraws of each speech set, at least:", fewest)


def main():
    data, store, folder, *heads = sys.argv[1:]
    cache = Cache(store)
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    heads = heads or HEADS_TRIED
    measure(speech_sets(Path(data), cache), heads, found)
    measure(text_sets(Path(data), cache, folder), heads, found)
    show(found)


if __name__ == "__main__":
    main()

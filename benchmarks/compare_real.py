"""Compare members on real speech and text: the tables of the closing note.

    python benchmarks/compare_real.py DATA OUT [valence nemo ravdess emodb meld emoevent]

DATA is the folder with `speech_valence.csv` and one folder per corpus; OUT gets a report for each.
Speech members see `spectral`, text members `ngram`, by logistic regression; `both` is a small
network on the two side by side. Everything but official splits is cross-validated over speakers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from affekt.cache import Cache, Manifest
from affekt.classify import (
    ConcatFusionHead,
    LogisticHead,
    Model,
    Predictions,
    Task,
    compare,
    splits,
)
from affekt.classify.evaluation.analyses.learning_curve import learning_curve
from affekt.classify.evaluation.analyses.transfer import transfer
from affekt.classify.evaluation.reports.sections import Table
from affekt.extract import Encoder, extract

SPEECH, TEXT = "spectral", "ngram"


def model(task, *spaces, C=0.01):
    features = [space.features() for space in spaces]
    head = LogisticHead(C=C, class_weight="balanced")
    return Model(head, task, features if len(features) > 1 else features[0])


def over_folds(folds, makers):
    """Train each member on each fold and pool the predictions of the test clips."""
    found = {name: [] for name in makers}
    for fold in folds:
        for name, make in makers.items():
            found[name].append(make().fit(fold.train, fold.dev).predict(fold.test))
    return {
        name: Predictions(
            [i for part in parts for i in part.ids],
            parts[0].labels,
            np.concatenate([part.proba for part in parts]),
        )
        for name, parts in found.items()
    }


def speech_corpus(data, out, name, task):
    cache = Cache(out / "cache")
    clips, left_out = task.select(Manifest.read(data / name / "manifest.csv"))
    speech = extract(clips, cache, Encoder(SPEECH))
    text = extract(clips, cache, Encoder(TEXT))
    folds = splits(clips, "group-kfold", digests=cache)
    makers = {
        "speech": lambda: model(task, speech),
        "text": lambda: model(task, text),
        "both": lambda: Model(
            ConcatFusionHead(random_state=0), task, [speech.features(), text.features()]
        ),
    }
    members = over_folds(folds, makers)
    result = compare(members, clips, task, split=folds, by=())
    report(result, out, name, f"{len(clips)} clips, 5 folds over speakers, left out {left_out}")


def valence(data, out):
    task, cache = Task.named("valence"), Cache(out / "cache")
    clips, _ = task.select(Manifest.read(data / "speech_valence.csv"))
    space = extract(clips, cache, Encoder(SPEECH))

    def make():
        return model(task, space)

    [part] = splits(clips, "speaker", digests=cache)
    curve = learning_curve(make, part, task.labels)
    for scheme in ("group-kfold", "leave-one-language-out"):
        folds = splits(clips, scheme, digests=cache)
        members = over_folds(folds, {"speech": make, "speech C=0.0001": lambda: weak(task, space)})
        result = compare(members, clips, task, split=folds)
        if scheme == "group-kfold":
            result.data["learning_curve"] = curve
            result.data["transfer"] = transfer(make, clips, task.labels)
        report(result, out, f"valence-{scheme}", f"{len(clips)} clips, {scheme}")


def weak(task, space):
    return model(task, space, C=0.0001)


def text_corpus(data, out, name, task, **options):
    cache = Cache(out / "cache")
    clips, left_out = task.select(Manifest.read(data / name / "manifest.csv"))
    space = extract(clips, cache, Encoder(TEXT))
    [part] = splits(clips, "column", **options)
    test, dev = {}, {}
    for C in (0.001, 0.01, 0.1):
        fitted = model(task, space, C=C).fit(part.train, part.dev, **options)
        test[f"ngram C={C}"] = fitted.predict(part.test)
        dev[f"ngram C={C}"] = fitted.predict(part.dev)
    result = compare(
        test,
        part.test,
        task,
        dev=dev,
        dev_truth=part.dev,
        split=part,
        strategies=["mean", "max", "stacking"],
        calibrate="temperature",
    )
    report(result, out, name, f"official split, left out {left_out}")


def report(result, out, name, about):
    result.write(out / name)
    print(f"\n## {name}: {about}\n\n{result.table()}")
    for column, part in result.data["by"].items():
        names = list(result.data["systems"])
        rows = [
            [value, str(row["clips"]), *(f"{row['systems'][s]['uar']['value']:.3f}" for s in names)]
            for value, row in part["values"].items()
        ]
        print("", Table([column, "clips", *names], rows), sep="\n")
    factors = result.data.get("audit", {}).get("factors", {})
    shown = {k: f"{v['uar']['value']:.3f}" + "!" * v["shortcut"] for k, v in factors.items()}
    print("\nshortcuts:", shown)
    for pair in result.data["pairs"][:6]:
        print("-", pair["sentence"])
    for found in result.data["sanity"]:
        print("sanity:", found)
    if "transfer" in result.data:
        matrix = result.data["transfer"]
        rows = [
            [a, *(f"{matrix['cells'][a][b]['uar']['value']:.3f}" for b in matrix["names"])]
            for a in matrix["names"]
        ]
        print("", Table(["trained on", *matrix["names"]], rows), sep="\n")
        for point in result.data["learning_curve"]:
            print(f"{point['clips']} clips: UAR {point['uar']['value']:.3f}")


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    everything = ["valence", "nemo", "ravdess", "emodb", "meld", "emoevent"]
    for name in sys.argv[3:] or everything:
        start = time.perf_counter()
        if name == "valence":
            valence(data, out)
        elif name in ("nemo", "ravdess", "emodb"):
            labels = sorted(set(Manifest.read(data / name / "manifest.csv")["label"]))
            speech_corpus(data, out, name, Task.from_labels(labels, name))
        elif name == "meld":
            text_corpus(data, out, "meld", Task.named("emotion7"), allow_speaker_overlap=True)
        elif name == "emoevent":
            labels = ["anger", "disgust", "fear", "joy", "others", "sadness", "surprise"]
            text_corpus(data, out, "emoevent_es", Task.from_labels(labels, "emoevent"))
        print(f"\n({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()

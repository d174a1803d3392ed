"""How far `spectral` gets, and how fast: unweighted average recall (UAR) per corpus.

    OMP_NUM_THREADS=1 python benchmarks/spectral.py DATA [--json FILE] [--solver svm]

DATA is a folder of corpora: `*/manifest.csv` with audio, labels and speakers. The protocol has no
choice left open: five folds by speaker; in each, features standardised and logistic regression with
balanced class weights, its C one of 0.001, 0.01, 0.1, 1 by folds over the training speakers. UAR
over the pooled predictions. `--solver` puts another classifier in its place (with settings of its
own, not searched), to see that a difference is not one of the solver. Speed is audio seconds per
second of one core's processor time, the best of three passes over a sample of each corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from affekt.cache import Manifest
from affekt.extract.builtin.spectral import VERSION, Spectral
from affekt.extract.inputs.decode import decode
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# scikit-learn's "recall_macro", quiet about classes that an inner fold has not got
SCORE = make_scorer(recall_score, average="macro", zero_division=0)
GRID = {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1]}
OTHERS = {
    "svm": lambda: SVC(C=3, gamma="scale", class_weight="balanced"),
    "mlp": lambda: MLPClassifier((64,), alpha=1.0, max_iter=60, random_state=0),
}


def signals(clips: Manifest) -> list[np.ndarray]:
    """Decode every clip at 16 kHz: what `Spectral.embed` takes."""
    found = []
    for i in range(len(clips)):
        data = clips.file(i).read_bytes()
        found.append(decode(data, Spectral.sampling_rate).samples)
    return found


def learner(solver: str, speakers: np.ndarray):
    """Return the unfitted classifier of one fold."""
    if solver != "logistic":
        return make_pipeline(StandardScaler(), OTHERS[solver]())
    model = LogisticRegression(max_iter=2000, class_weight="balanced")
    n_folds = min(4, len(set(speakers)))
    inner = list(GroupKFold(n_folds).split(np.zeros(len(speakers)), groups=speakers))
    pipeline = make_pipeline(StandardScaler(), model)
    return GridSearchCV(pipeline, GRID, scoring=SCORE, cv=inner)


def uar(features: np.ndarray, clips: Manifest, solver: str) -> float:
    """Give the UAR of predictions by five folds over speakers."""
    labels, speakers = clips["label"].astype(str), clips["speaker"].astype(str)
    guesses = np.empty_like(labels)
    folds = GroupKFold(min(5, len(set(speakers))))
    for train, test in folds.split(features, labels, speakers):
        model = learner(solver, speakers[train])
        model.fit(features[train], labels[train])
        guesses[test] = model.predict(features[test])
    return float(recall_score(labels, guesses, labels=sorted(set(labels)), average="macro"))


def speed(inputs: list[np.ndarray], sample: int = 30, passes: int = 3) -> float:
    """Give audio seconds per second of processor time, each clip at its best of some passes."""
    some = inputs[:: max(1, len(inputs) // sample)]
    backend = Spectral()
    spent = 0.0
    for clip in some:
        best = float("inf")
        for _ in range(passes):
            started = time.process_time()
            backend.embed([clip])
            best = min(best, time.process_time() - started)
        spent += best
    return sum(map(len, some)) / Spectral.sampling_rate / spent


def measure(folder: Path, solver: str) -> dict[str, object] | None:
    """Score one corpus; None if it has no audio."""
    clips = Manifest.read(folder / "manifest.csv")
    clips = clips.select(np.array([bool(path) for path in clips["path"]]))
    if not len(clips):
        return None
    inputs = signals(clips)
    features = np.concatenate([pooled.values for pooled in Spectral().embed(inputs)])
    return {
        "corpus": folder.name,
        "clips": len(clips),
        "speakers": len(set(clips["speaker"])),
        "classes": len(set(clips["label"])),
        "uar": round(uar(features, clips, solver), 4),
        "speed": round(speed(inputs), 1),
    }


def main() -> None:
    """Print a table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--solver", choices=["logistic", *OTHERS], default="logistic")
    options = parser.parse_args()
    rows = []
    sys.stdout.write(f"{'corpus':16}{'clips':>7}{'speakers':>10}{'classes':>9}{'UAR':>8}{'x':>8}\n")
    for folder in sorted(path.parent for path in options.data.glob("*/manifest.csv")):
        row = measure(folder, options.solver)
        if row is None:
            continue
        rows.append(row)
        sys.stdout.write(
            "{corpus:16}{clips:7}{speakers:10}{classes:9}{uar:8.3f}{speed:8.0f}\n".format(**row)
        )
        sys.stdout.flush()
    mean = float(np.mean([row["uar"] for row in rows])) if rows else float("nan")
    sys.stdout.write(f"mean UAR {mean:.4f}; {Spectral.dim} values, version {VERSION}\n")
    if options.json:
        result = {
            "solver": options.solver,
            "version": VERSION,
            "dim": Spectral.dim,
            "mean_uar": round(mean, 4),
            "corpora": rows,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()

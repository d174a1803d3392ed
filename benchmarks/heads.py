"""The default heads beside a tuned logistic regression, on real speech and text; and their speed.

    python benchmarks/heads.py scores DATA OUT [--text FOLDER] [--repeats 5] [--only mlp,patch]
    python benchmarks/heads.py fusion DATA OUT [--text FOLDER] [--repeats 1]
    python benchmarks/heads.py speed

DATA holds one folder per corpus with its `manifest.csv`; FOLDER a text encoder (`ngram` without
it). Speech: `spectral`, five folds over speakers, repeated with other folds, which
are written to OUT/folds.json and read from there the next time. Text: the official splits. No head
is tuned; the reference chooses C from 1e-3 to 1, in inner speaker folds or on the official dev.
Embeddings are cached and scores are appended to OUT/scores.jsonl: a run goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from affekt.cache import Cache, Manifest
from affekt.classify.heads import (
    HEADS,
    ConcatFusionHead,
    CrossAttentionFusionHead,
    MeanFusionHead,
    MLPHead,
    PatchTransformerHead,
)
from affekt.classify.heads.networks.patch import CARD
from affekt.classify.heads.search import group_folds, search
from affekt.classify.metrics.measures import uar
from affekt.extract import Encoder, extract
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

SPEECH = ("emodb", "nemo", "ravdess", "urdu")
TEXTS = ("emoevent_es", "meld", "brighter", "afrisenti")
PAIRED = ("emodb", "nemo", "ravdess")
GRID = (1e-3, 1e-2, 1e-1, 1.0)
TUNED = "tuned LR"


class Scores:
    """Scores by set, head and repeat, one JSON line each; what is there is not computed again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def has(self, **key) -> bool:
        """Whether a row agrees with all that is named."""
        return any(key.items() <= row.items() for row in self.rows)

    def add(self, **row) -> None:
        """Append a row to the file."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        click.echo(" ".join(str(value) for value in row.values()), err=True)

    def table(self, sets, heads) -> str:
        """Return Markdown: UAR in percent, averaged over repeats."""
        lines = ["| head | " + " | ".join(sets) + " | mean |", "|---|" + "---:|" * (len(sets) + 1)]
        for head in heads:
            cells = []
            for name in sets:
                found = [r["uar"] for r in self.rows if (r["set"], r["head"]) == (name, head)]
                cells.append(np.mean(found) if found else np.nan)
            numbers = [*cells, np.mean(cells)]
            shown = ("-" if np.isnan(number) else f"{100 * number:.1f}" for number in numbers)
            lines.append(f"| {head} | " + " | ".join(shown) + " |")
        return "\n".join(lines)


def read(data, out, name, encoder):
    """Return clips with a label, and their features."""
    clips = Manifest.read(data / name / "manifest.csv")
    clips = clips.select(clips["label"] != "")
    if "text" in clips and encoder != "spectral":
        clips = clips.select(np.array([bool(text.strip()) for text in clips["text"]]))
    cache = Cache(out / "cache")
    space = extract(clips, cache, Encoder(encoder))
    stored = clips.select(~np.isin(clips.ids, space.missing(clips)))
    return stored, cache.read(space, stored, layers=-1)


def folds_of(out, name, clips, repeats):
    """Return folds over speakers by repeat, from OUT/folds.json where they are there."""
    path = out / "folds.json"
    saved = json.loads(path.read_text()) if path.exists() else {}
    row = {id: position for position, id in enumerate(clips.ids)}
    for repeat in range(repeats):
        if f"{name}/{repeat}" not in saved:
            found = group_folds(clips["label"], clips["speaker"], random_state=repeat)
            saved[f"{name}/{repeat}"] = [[clips.ids[i] for i in test] for _, test in found]
    path.write_text(json.dumps(saved, indent=1))
    for repeat in range(repeats):
        tests = [np.array([row[id] for id in ids]) for ids in saved[f"{name}/{repeat}"]]
        yield repeat, [(np.setdiff1d(np.arange(len(clips)), test), test) for test in tests]


def reference():
    return LogisticRegression(class_weight="balanced", max_iter=2000)


def over_folds(make, X, y, speaker, folds):
    """Return the labels predicted for all clips, each by the fold that did not see its speaker."""
    prediction = np.empty(len(y), dtype=y.dtype)
    for train, test in folds:
        if make is None:
            found = search(
                reference(), {"C": GRID}, X[train], y[train], groups=speaker[train], n_folds=4
            )
            prediction[test] = found.predict(X[test])
        else:
            scaler = StandardScaler().fit(X[train])
            head = make().fit(scaler.transform(X[train]), y[train])
            prediction[test] = head.predict(scaler.transform(X[test]))
    return prediction


def on_official(make, parts):
    """Train on train, choose on dev (C, or the epoch), predict test."""
    scaler = StandardScaler().fit(parts["train"][0])
    (X, y), (X_dev, y_dev), (X_test, _) = (
        (scaler.transform(parts[part][0]), parts[part][1]) for part in ("train", "dev", "test")
    )
    if make is not None:
        return make().fit(X, y, X_dev=X_dev, y_dev=y_dev).predict(X_test)
    labels = np.unique(y_dev)
    fitted = [reference().set_params(C=C).fit(X, y) for C in GRID]
    on_dev = [uar(y_dev, model.predict(X_dev), np.union1d(labels, y)) for model in fitted]
    return fitted[int(np.argmax(on_dev))].predict(X_test)


def candidates(only):
    names = only.split(",") if only else [TUNED, "logistic", "mlp", "patch"]
    return {
        name: None if name == TUNED else (lambda name=name: HEADS[name](random_state=0))
        for name in names
    }


@click.group()
def main():
    """Score and time the heads."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--text", "text_encoder", default="ngram")
@click.option("--repeats", default=5)
@click.option("--only", default="")
@click.option("--sets", default=",".join(SPEECH + TEXTS))
def scores(data, out, text_encoder, repeats, only, sets):
    """Each default head beside the tuned logistic regression."""
    out.mkdir(parents=True, exist_ok=True)
    done, heads = Scores(out / "scores.jsonl"), candidates(only)
    for name in sets.split(","):
        speech = name in SPEECH
        clips, X = read(data, out, name, "spectral" if speech else text_encoder)
        y = clips["label"].astype(str)
        if speech:
            rounds = list(folds_of(out, name, clips, repeats))
        else:
            parts = {
                p: (X[m], y[m]) for p in ("train", "dev", "test") for m in [clips["split"] == p]
            }
            rounds = [(0, None)]
        for head, make in heads.items():
            for repeat, folds in rounds:
                if done.has(set=name, head=head, repeat=repeat):
                    continue
                start = time.process_time()
                if speech:
                    truth, found = y, over_folds(make, X, y, clips["speaker"], folds)
                else:
                    truth, found = parts["test"][1], on_official(make, parts)
                done.add(
                    set=name, head=head, repeat=repeat,
                    uar=uar(truth, found, np.unique(y)), seconds=time.process_time() - start,
                )  # fmt: skip
    for group in (SPEECH, TEXTS, SPEECH + TEXTS):
        if shown := [name for name in group if name in sets.split(",")]:
            click.echo(done.table(shown, heads) + "\n")


@main.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--text", "text_encoder", default="ngram")
@click.option("--repeats", default=1)
def fusion(data, out, text_encoder, repeats):
    """Speech and text together, and with either side missing at prediction."""
    out.mkdir(parents=True, exist_ok=True)
    done = Scores(out / "fusion.jsonl")
    for name in PAIRED:
        clips, speech = read(data, out, name, "spectral")
        with_text, text = read(data, out, name, text_encoder)
        if with_text.ids != clips.ids:
            raise click.ClickException(f"{name}: not every clip has speech and text")
        y, X = clips["label"].astype(str), np.hstack([speech, text])
        common = {
            "widths": (speech.shape[1], text.shape[1]), "missing": "predict", "random_state": 0,
        }  # fmt: skip
        heads = {
            "speech alone (mlp)": None,
            "concat": ConcatFusionHead(**common),
            "mean": MeanFusionHead(**common),
            "cross-attention": CrossAttentionFusionHead(**common),
            "umuteam": CrossAttentionFusionHead(**common, attention="umuteam"),
        }
        for repeat, folds in folds_of(out, name, clips, repeats):
            for title, head in heads.items():
                if done.has(set=name, head=title, repeat=repeat):
                    continue
                found = {
                    side: np.empty(len(y), dtype=y.dtype) for side in ("both", "speech", "text")
                }
                for train, test in folds:
                    scaler = StandardScaler().fit(X[train])
                    train_X, test_X = scaler.transform(X[train]), scaler.transform(X[test])
                    if head is None:
                        width = speech.shape[1]
                        fitted = MLPHead(random_state=0).fit(train_X[:, :width], y[train])
                        for labels in found.values():
                            labels[test] = fitted.predict(test_X[:, :width])
                        continue
                    fitted = head.fit(train_X, y[train])
                    for side, labels in found.items():
                        seen = test_X.copy()
                        if side == "speech":
                            seen[:, speech.shape[1] :] = np.nan
                        elif side == "text":
                            seen[:, : speech.shape[1]] = np.nan
                        labels[test] = fitted.predict(seen)
                score = {side: uar(y, labels, np.unique(y)) for side, labels in found.items()}
                done.add(set=name, head=title, repeat=repeat, uar=score["both"], **score)
    click.echo(done.table(PAIRED, heads))


def loop_epoch(network, X, y):
    """Train an epoch as one would write it: a DataLoader, AdamW, clipping; return its mean loss."""
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    optimiser = torch.optim.AdamW(network.parameters(), 2e-4, weight_decay=0.01)
    network.train()
    losses = []
    for rows, labels in DataLoader(data, batch_size=32, shuffle=True):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(rows), labels, label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses))


class PlainPatch(nn.Module):
    """The patch head with torch's own encoder, of which the last layer computes every position."""

    def __init__(self, width):
        super().__init__()
        self.head = PatchTransformerHead(**CARD)._network(width, 3)
        layers = self.head.encoder.layers
        self.encoder = nn.TransformerEncoder(layers[0], len(layers), enable_nested_tensor=False)

    def forward(self, x):
        """Return logits (rows, classes)."""
        head = self.head
        patches = head.patch_embedding(x.unflatten(1, (-1, 64)))
        cls = head.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([cls, patches], dim=1) + head.position_embedding
        return head.classifier(self.encoder(tokens)[:, 0])


def plain_mlp(width, hidden, dropout, input_dropout):
    """Return the multilayer perceptron as one would write it."""
    layers = [nn.Dropout(input_dropout)]
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 3))


def step_flops(head, width):
    """Return what a step of training on 32 rows multiplies and adds, as PyTorch counts it."""
    network = head._network(width, 3).train()
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(32, width)).sum().backward()
    return counter.get_total_flops()


def products_per_second(steps=20):
    """Return GFLOP/s of the patch head's largest product, by MKL and by oneDNN."""
    x, w = torch.randn(544, 256), torch.randn(1024, 256)
    ways = {"mkl": lambda: nn.functional.linear(x, w)}
    if torch.backends.mkldnn.is_available():
        ways["onednn"] = lambda: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")
    found = {}
    for name, multiply in ways.items():
        multiply()
        start = time.process_time()
        for _ in range(steps):
            multiply()
        found[name] = round(2 * x.numel() * len(w) * steps / (time.process_time() - start) / 1e9)
    return found


@main.command()
@click.option("--rows", default=8000)
@click.option("--width", default=1024)
@click.option("--rounds", default=3)
@click.option("-o", "--output", type=click.Path(path_type=Path))
def speed(rows, width, rounds, output):
    """CPU seconds of an epoch at batch 32 on one thread, beside a DataLoader loop."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, width)).astype(np.float32)
    y = rng.integers(0, 3, rows)
    common = {"max_epochs": 1, "batch_size": 32, "random_state": 0, "n_threads": 1}
    mlp = {"hidden": (256,), "dropout": 0.5, "input_dropout": 0.5}
    heads = {
        "patch": (lambda: PlainPatch(width), lambda: PatchTransformerHead(**CARD, **common)),
        "mlp": (lambda: plain_mlp(width, **mlp), lambda: MLPHead(**mlp, **common)),
    }
    found = {"cpu": torch.backends.cpu.get_cpu_capability(), "gflops": products_per_second()}
    found |= {"rows": rows, "width": width, "date": time.strftime("%Y-%m-%d")}
    click.echo(f"{found['cpu']}, products in GFLOP/s: {found['gflops']}")
    for name, (loop, head) in heads.items():
        took = {"loop": [], "head": []}
        for _ in range(rounds):
            network, start = loop(), time.process_time()
            loop_epoch(network, X, y)
            middle = time.process_time()
            head().fit(X, y)
            took["loop"].append(middle - start)
            took["head"].append(time.process_time() - middle)
        seconds = {way: round(float(np.median(times)), 2) for way, times in took.items()}
        done = step_flops(head(), width) * rows / 32 / seconds["head"] / 1e9
        share = round(done / max(found["gflops"].values()), 3)
        ratio = round(seconds["loop"] / seconds["head"], 2)
        found[name] = seconds | {"ratio": ratio, "share_of_peak": share}
        click.echo(f"{name:6} {found[name]}")
    if output:
        output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

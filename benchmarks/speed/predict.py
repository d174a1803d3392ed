"""Measure `affekt predict`: one file from a cold start, and 10,000 cached clips.

    python benchmarks/speed/predict.py [--clips 10000] [--runs 5] [--only file|clips]

One file: the installed command, as a fresh process, on a small random wav2vec2 and a patch head,
beside processes that only import torch and transformers. Cached clips: `Model.predict` beside the
loop that everybody writes (one .npy per clip, a Dataset, a DataLoader with batches of 32,
`nn.TransformerEncoder`), alternating in one process. Medians; a table to stdout, JSON to -o.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from affekt.cache import Cache, Manifest
from affekt.classify import Model, PatchTransformerHead, Task
from affekt.classify.heads.networks.patch import CARD
from affekt.extract import Encoder, extract
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset

WIDTH, BATCH = 768, 32


class PlainNetwork(nn.Module):
    """The valence card's network from torch's own parts, as its author would write it."""

    def __init__(self, width, classes, d=256):
        super().__init__()
        self.patches = -(-width // 64)
        self.patch_embedding = nn.Linear(64, d)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.position_embedding = nn.Parameter(torch.zeros(1, self.patches + 1, d))
        layer = nn.TransformerEncoderLayer(d, 8, 1024, dropout=0.2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4)
        self.classifier = nn.Sequential(
            nn.Linear(d, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, classes)
        )

    def forward(self, x):
        """Return logits (rows, classes)."""
        x = nn.functional.pad(x, (0, self.patches * 64 - x.shape[1]))
        x = self.patch_embedding(x.reshape(len(x), self.patches, 64))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.classifier(self.encoder(x + self.position_embedding)[:, 0])


class PlainClips(Dataset):
    """One .npy per clip, standardised when it is read."""

    def __init__(self, folder, clips, mean, scale):
        self.folder, self.clips = folder, clips
        self.mean, self.scale = mean, scale

    def __len__(self):
        return self.clips

    def __getitem__(self, index):
        values = np.load(self.folder / f"{index}.npy")
        return torch.tensor((values - self.mean) / self.scale, dtype=torch.float32)


def plain_loop(network, clips):
    """Predict with the loop that everybody writes."""
    network.eval()
    found = []
    with torch.no_grad():
        for batch in DataLoader(clips, batch_size=BATCH):
            found.append(torch.softmax(network(batch), dim=1).numpy())
    return np.concatenate(found)


def cached_clips(folder, n_clips, runs):
    """Time both ways over the same clips, model and numbers; return seconds of each run."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": f"clip {i} {rng.integers(1 << 40)}", "label": label}
        for i, label in enumerate(rng.choice(["negative", "neutral", "positive"], n_clips))
    ]
    clips = Manifest.from_rows(rows)
    cache = Cache(folder / "cache")
    space = extract(clips, cache, Encoder("ngram", dim=WIDTH), progress=False)
    head = PatchTransformerHead(**CARD, max_epochs=1, random_state=0)
    model = Model(head, Task.named("valence"), space.features()).fit(clips.select(clips.ids[:256]))
    (folder / "npy").mkdir()
    for i, values in enumerate(cache.read(space, clips, layers=-1)):
        np.save(folder / "npy" / f"{i}.npy", values)
    network = PlainNetwork(WIDTH, 3)
    network.load_state_dict(model.head_.networks_[0].state_dict())
    train = cache.read(space, clips.select(clips.ids[:256]), layers=-1).astype(np.float64)
    scaler = StandardScaler().fit(train)
    plain = PlainClips(folder / "npy", n_clips, scaler.mean_, scaler.scale_)
    ours, theirs, gaps = [], [], []
    for _ in range(runs):
        ours.append(_seconds(lambda: model.predict(clips, cache)))
        theirs.append(_seconds(lambda: plain_loop(network, plain)))
        gaps.append(np.abs(ours[-1][1].proba - theirs[-1][1]).max())
    return [s for s, _ in ours], [s for s, _ in theirs], float(max(gaps))


def one_file(folder, runs):
    """Time the command on one file, and a bare import, as fresh processes."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        conv_dim=(256,) * 7,
    )
    Wav2Vec2Model(config).save_pretrained(folder / "encoder")
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder / "encoder")
    rng = np.random.default_rng(0)
    rows = []
    for i, label in enumerate(["negative", "neutral", "positive"] * 4):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(3 * 16000), 16000)
        rows.append({"id": str(i), "path": f"{i}.wav", "label": label})
    clips = Manifest.from_rows(rows, root=folder)
    space = extract(clips, Cache(folder / "sounds"), Encoder(str(folder / "encoder")))
    head = PatchTransformerHead(**CARD, max_epochs=1, random_state=0)
    model = Model(head, Task.named("valence"), space.features()).fit(clips)
    model.save_pretrained(folder / "model")
    command = [str(Path(sys.executable).with_name("affekt")), "predict", str(folder / "model")]
    command += [str(folder / "0.wav"), "--encoder", str(folder / "encoder"), "--json"]
    bare = [sys.executable, "-c", "import torch, transformers"]
    found = [[], []]
    for _ in range(runs + 1):  # the first one warms the disk
        for times, words in zip(found, (command, bare), strict=True):
            times.append(_seconds(lambda words=words: _call(words))[0])
    return [times[1:] for times in found]


def _call(command):
    subprocess.run(command, check=True, capture_output=True, env={**os.environ})


def _seconds(action):
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["file", "clips"], help="one of the two")
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as place:
        if asked.only != "clips":
            result["one_file"] = tell_file(*one_file(Path(place), asked.runs))
        if asked.only != "file":
            result["cached_clips"] = tell_clips(*cached_clips(Path(place), asked.clips, asked.runs))
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def tell_file(predicted, bare):
    median = statistics.median
    beyond = median(a - b for a, b in zip(predicted, bare, strict=True))
    print(f"{'one file, affekt predict':44}  {median(predicted):6.2f} s")
    print(f"{'beyond `import torch, transformers`':44}  {beyond:6.2f} s")
    return {
        "seconds": predicted,
        "import_torch_transformers": bare,
        "beyond_import": beyond,
    }


def tell_clips(ours, theirs, gap):
    median = statistics.median
    ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"{'cached clips, affekt':44}  {median(ours):6.2f} s")
    print(f"{'cached clips, plain loop':44}  {median(theirs):6.2f} s")
    print(f"times faster: {ratio:.2f}; largest difference of probabilities {gap:.1e}")
    return {
        "affekt_seconds": ours,
        "plain_seconds": theirs,
        "times_faster": ratio,
        "largest_difference": gap,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()

"""Make the runs whose files stand here, as a script.

The JSON files are data, made once from synthetic clips. Run this again only where their format
changes; a change of what is written about them needs
``AFFEKT_GOLDEN=write pytest tests/classify/evaluation/reports/test_golden.py`` alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """
manifest: corpus/clips.csv
task: valence
cache: my.cache
encoders: {speech: spectral, text: ngram}
"""
RECIPES = {
    "split": """
split: {scheme: speaker, test_size: 0.4, dev_size: 0.2}
members:
  speech-lr: {head: logistic, on: speech, C: [0.01, 1], seeds: 3}
  text-lr: {head: logistic, on: text, C: 0.01}
  both-lr: {head: lda, on: speech}
ensembles: [mean, max, weighted]
compare: {calibrate: temperature, subsets: true, all_pairs: true, by: [dataset, speaker],
          learning_curve: text-lr, n_resamples: 1000}
""",
    "folds": """
split: {scheme: leave-one-language-out, dev_size: 0.2}
members:
  speech-lr: {head: logistic, on: speech, C: 0.01}
  text-lr: {head: logistic, on: text, C: 0.01}
ensembles: [mean, stacking]
compare: {learning_curve: false, n_resamples: 1000}
""",
    "repeats": """
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2, repeats: 3}
members:
  speech-lr: {head: logistic, on: speech, C: 0.01}
  text-lr: {head: logistic, on: text, C: 0.01}
ensembles: [mean]
compare: {learning_curve: false, n_resamples: 1000}
""",
}


def affekt(*words: object, folder: Path) -> None:
    command = [sys.executable, "-m", "affekt.classify.cli", *map(str, words)]
    subprocess.run(command, cwd=folder, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        affekt("demo", "-o", "demo", folder=folder)
        (folder / "demo/corpus").rename(folder / "corpus")
        (folder / "demo/my.cache").rename(folder / "my.cache")
        for case, recipe in RECIPES.items():
            (folder / f"{case}.yaml").write_text(f"{HEAD}{recipe}report: {case}\n", "utf-8")
            affekt("run", f"{case}.yaml", folder=folder)
            kept = HERE / case
            kept.mkdir(exist_ok=True)
            for file in ("comparison.json", "repeats.json"):
                if (folder / case / file).is_file():
                    data = json.loads((folder / case / file).read_text("utf-8"))
                    (kept / file).write_text(json.dumps(data, ensure_ascii=False), "utf-8")
            shutil.copy(folder / case / "report.md", kept)


if __name__ == "__main__":
    main()

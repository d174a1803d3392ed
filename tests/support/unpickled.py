"""A program that walks affekt's main paths and prints every name that a pickle looked up there.

`python tests/support/unpickled.py FOLDER` in a process of its own, since an audit hook cannot be
taken out again. FOLDER holds what `test_no_pickle.py` prepared; files in it that are pickles would
leave a mark when they are loaded. Prints JSON: the names, and the pickles that were opened.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

BETWEEN_PROCESSES = ("multiprocessing", "concurrent", "joblib", "loky")
OPENED_NEVER = (".pkl", ".pt", ".joblib", ".pickle")

unpickled: list[str] = []
opened: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    """Note what is looked up by a pickle, and what a pickle file is opened by."""
    if event == "pickle.find_class":
        frames = traceback.extract_stack()
        if not any(word in frame.filename for frame in frames for word in BETWEEN_PROCESSES):
            unpickled.append(".".join(map(str, arguments)))
    elif event == "open" and str(arguments[0]).endswith(OPENED_NEVER):
        opened.append(Path(str(arguments[0])).name)


def walk(folder: Path) -> None:
    """Manifest, extract, train, save, load, predict, compare; the foreign checkpoints; Whisper."""
    from affekt.cache import Cache, Manifest
    from affekt.classify import LogisticHead, MeanEnsemble, Model, Task, load_model, splits
    from affekt.classify.models.published.predict_emotion import predict_emotion
    from affekt.classify.models.published.vocametrix import load_vocametrix
    from affekt.extract import Encoder, extract
    from affekt.extract.transcription.fill_in_texts import Transcriber, transcribe

    clips = Manifest.read(folder / "corpus" / "clips.csv")
    cache = Cache(folder / "cache")
    speech = extract(clips, cache, Encoder("spectral"), progress=False)
    text = extract(clips, cache, Encoder("ngram"), progress=False)
    part = splits(clips, "speaker", test_size=0.3, dev_size=0.2, random_state=0)[0]
    members = {}
    for name, space in {"speech": speech, "text": text}.items():
        model = Model(LogisticHead(C=0.1), Task.named("valence"), space.features())
        model.fit(part.train, part.dev)
        model.save_pretrained(folder / name)
        (folder / name / "scaler.pkl").write_bytes((folder / "evil.pkl").read_bytes())
        (folder / name / "model.pt").write_bytes((folder / "evil.pkl").read_bytes())
        opened.clear()
        members[name] = load_model(folder / name).predict(part.test, cache=cache)
    MeanEnsemble().combine(members).write(folder / "pred.csv")
    toolkit, audio = folder / "model.json", clips.file(0)
    for mode in ("audio", "mean", "text"):
        predict_emotion(audio, "hola", mode=mode, model_config_path=toolkit)
    predict_emotion(audio, model_id=str(folder / "bin"), mode="audio")
    load_vocametrix(folder / "valence").predict_proba([[0.0] * 40])
    transcribe(
        clips.with_columns(text="").select([0]),
        cache.path,
        Transcriber(str(folder / "whisper"), language="spa"),
    )


if __name__ == "__main__":
    sys.addaudithook(watch)
    walk(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({"unpickled": unpickled, "opened": opened}))

"""Commands of affekt as forks of one process that has imported what they need.

A job names a function that the command calls. The fork says when the command has come there, and
does the function again and again, so that a signal always meets it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

#: what most commands import, and takes seconds
WARM = (
    "torch", "transformers", "sklearn.linear_model", "scipy.stats",
    "affekt.classify.experiments.run", "affekt.classify.experiments.results.compare_members",
    "affekt.classify.serving.cli_predict",
    "affekt.classify.evaluation.compare", "affekt.classify.experiments.members.train",
    "affekt.extract.running.embedding", "affekt.extract.transcription.fill_in_texts",
)  # fmt: skip


def stay_in(place: str, begun: Path) -> None:
    """Let a function, as ``module:name``, be done over and over once it is called.

    With ``once`` before it, it is done as always: what follows it waits for the signal.
    """
    *once, place = place.split()
    module, _, name = place.partition(":")
    *owner, name = name.split(".")
    holder = import_module(module)
    for part in owner:
        holder = getattr(holder, part)
    real = getattr(holder, name)

    def again(*words, **options):
        begun.touch()
        if once:
            return real(*words, **options)
        while True:
            with suppress(Exception):  # done twice it may have nothing to do; a signal passes
                real(*words, **options)

    setattr(holder, name, again)


def be_the_command(job: dict) -> None:
    """Become one command; does not return."""
    os.setsid()
    os.chdir(job["folder"])
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["AFFEKT_TEST_MARK"] = job["mark"]
    if job["nohup"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stay_in(job["stay"], Path(job["begun"]))
    sys.argv = ["affekt", *job["words"]]
    from affekt.classify.cli import main

    main()


def serve() -> None:
    """Fork once for each job that is read, wait for it, and write down how it ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for module in WARM:
        import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            be_the_command(job)
        print(child, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        Path(job["ended"]).write_text(str(status))


if __name__ == "__main__":
    serve()

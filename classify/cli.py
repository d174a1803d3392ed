"""The command line `affekt`: finds a command, imports only it, and turns errors into exit codes.

Data goes to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or
input (before any work), 3 done but some rows were quarantined, 129, 130, 143 stopped by a signal.
"""

from __future__ import annotations

import os
import sys

from ..cache.commands.signals import import_nothing_from_here

if __name__ == "__main__" or sys.argv[0].endswith(
    ("/affekt", "\\affekt", "\\affekt.exe", "__main__.py")
):
    import_nothing_from_here()  # before the imports that a file there could answer

import atexit
import errno
import gc
import io
import signal
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..cache.commands.command import Group
from ..cache.commands.signals import ending, leave, not_hidden
from ..cache.commands.terminal import PlainStream, open_streams
from ..cache.errors import AffektError, nearest

#: command -> (module relative to this package, attribute, one line of help)
COMMANDS = {
    "run": (".experiments.cli_run", "run", "Run a recipe, from clips to a report."),
    "init": (
        ".experiments.cli_run",
        "init",
        "Write a first recipe for a table of clips.",
    ),
    "extract": (
        "..extract.running.cli_extract",
        "extract",
        "Embed the clips that are not in the cache yet.",
    ),
    "train": (".experiments.members.cli_train", "train", "Train one model and save it."),
    "probe": (".probing.cli_probe", "probe", "Score every layer of an encoder, and choose one."),
    "predict": (
        ".serving.cli_predict",
        "predict",
        "Predict labels and probabilities for files, clips or a text.",
    ),
    "serve": (".serving.http.cli_serve", "serve", "Serve predictions over HTTP, with a web page."),
    "compare": (
        ".evaluation.cli_compare",
        "compare",
        "Compare prediction files and their ensembles.",
    ),
    "transcribe": (
        "..extract.transcription.cli_transcribe",
        "transcribe",
        "Transcribe clips that have no text, with Whisper.",
    ),
    "report": (
        ".evaluation.reports.cli_report",
        "report",
        "Write the HTML report of a run or a comparison.",
    ),
    "card": (
        ".evaluation.reports.cli_report",
        "card",
        "Write a model card from the results of a run.",
    ),
    "manifest": (
        "..cache.commands.cli_manifest",
        "manifest",
        "Make a manifest from a table or a corpus.",
    ),
    "cache": ("..cache.commands.cli_cache", "cache", "Inspect, check, copy and export a cache."),
    "convert-scaler": (
        ".models.published.cli_import_model",
        "convert_scaler_command",
        "Convert a pickled scaler to safetensors.",
    ),
    "import-model": (
        ".models.published.cli_import_model",
        "import_model",
        "Convert a published checkpoint to a model.",
    ),
    "doctor": (
        "..cache.commands.cli_doctor",
        "doctor",
        "Check this installation and your caches.",
    ),
    "demo": (
        ".experiments.demo.cli_demo",
        "demo",
        "Run a demo on a synthetic corpus, or on your clips.",
    ),
}


class _Commands(Group):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(import_module(module, __package__), attribute)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = [name for name in COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name][2]) for name in found]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        unknown = not word.startswith("-") and word not in COMMANDS
        if unknown and not ctx.resilient_parsing:  # the shell asks what may follow
            ctx.fail(f"No such command {word!r}.{nearest(word, list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="affekt", prog_name="affekt")
def affekt() -> None:
    """Embed every clip once; train, ensemble, compare and serve small heads in seconds."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Parameters
    ----------
    args : sequence of str, optional
        The words after `affekt`; those of the process by default.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    own = args is None  # the process is the command's own
    if own:
        _collect_seldom()
        import_nothing_from_here()
        open_streams()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout = PlainStream(sys.stdout)
        if isinstance(sys.stderr, io.TextIOWrapper):
            sys.stderr = PlainStream(sys.stderr, progress=True)
    try:
        code: Any = _exit_code(args, own)
    except SystemExit as end:
        code = end.code
    if own and isinstance(code, int):
        leave(code)
    sys.exit(code)


def _collect_seldom() -> None:
    """Run the garbage collector seldom: the million objects of torch and transformers all stay.

    It would search them many times during the imports, and once more at the exit: together a
    quarter of the time of a short command.
    """
    gc.set_threshold(10_000)  # not 700; more would delay freeing memory in a long run
    atexit.register(gc.freeze)


@ending()
def _exit_code(args: Sequence[str] | None, own: bool) -> int:
    try:
        with not_hidden():
            result: Any = affekt.main(args, prog_name="affekt", standalone_mode=False, obj=own)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (click.Abort, KeyboardInterrupt) as error:
        kept = "Everything reported as stored is kept; run again to continue."
        # what click replaced; its older versions do not chain it as the cause
        first = error.__context__ if isinstance(error, click.Abort) else error
        notes = getattr(first, "__notes__", [kept])  # a command may know better
        click.echo(f"Stopped. {' '.join(notes)}", err=True)
        return 128 + signal.SIGINT
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AffektError as error:
        click.echo(f"affekt: {error}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(f"  {note}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # the reader (head, less) closed the pipe: nothing to print, and nothing to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        click.echo(f"affekt: {_say(error)}", err=True)
        return 1
    except Exception as error:
        if isinstance(error, MemoryError) or "failed to map segment" in str(error):  # of a library
            click.echo(
                "affekt: out of memory; close other programs, or process less at a time. "
                "Everything reported as stored is kept: run again to continue",
                err=True,
            )
            return 1
        click.echo(f"affekt: internal error, please report it: {error!r}", err=True)
        if os.environ.get("AFFEKT_TRACEBACK"):
            traceback.print_exc()
        else:
            click.echo("  AFFEKT_TRACEBACK=1 shows where it came from", err=True)
        return 1


def _say(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    advice = {
        errno.ENOSPC: "; free some space and run again: what was stored is kept",
        getattr(errno, "EDQUOT", -1): "; your quota is used up: free some space and run again",
        errno.EROFS: "; the place is read-only",
        errno.EACCES: "; check the permissions",
    }.get(error.errno or 0, "")
    return f"{error.strerror or error}{where}{advice}"


if __name__ == "__main__":
    main()

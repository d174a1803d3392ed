"""The command `affekt serve`: open a model, then answer over HTTP until a signal ends it."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from ....cache.commands.command import Command
from ....cache.errors import InputError
from ....extract.encoders.hardware.device import DEVICE
from ...options import ENCODERS, SYSTEM, to_stderr

if TYPE_CHECKING:
    from ...models.new_clips.system import System

EXTRA = ("fastapi", "uvicorn", "python_multipart")


@click.command(cls=Command)
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    help="Additional host name that requests may use (repeatable).",
)
@ENCODERS
@SYSTEM
@DEVICE
@click.option(
    "--max-mb",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Largest request body, in MB.",
)
@click.option(
    "--timeout",
    default=60,
    show_default=True,
    type=click.IntRange(1, 86_400),
    help="Time limit of one request, in seconds.",
)
@click.option(
    "--queue",
    default=32,
    show_default=True,
    type=click.IntRange(1),
    help="Requests in progress at the same time; further ones get a 503.",
)
@click.option(
    "--batch",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Clips per batch; more than 1 helps on a GPU.",
)
@click.pass_context
def serve(
    ctx: click.Context,
    model: str,
    host: str,
    port: int,
    names: tuple[str, ...],
    encoders: tuple[str, ...],
    system: str | None,
    device: str,
    max_mb: int,
    timeout: int,
    queue: int,
    batch: int,
) -> None:
    """Serve MODEL over HTTP: a model folder, a Hub id, or the folder of a run.

    The web page at / records a clip, or takes a file or a text, and shows the prediction. Programs
    POST audio or text to /predict and get what `affekt predict --json` prints; see /docs.
    Everything stays in memory; SIGTERM, SIGHUP or Ctrl-C ends it once the last answers are sent.
    """
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"serving needs {' and '.join(missing)}, not installed: pip install 'affekt[serve]'"
        )
    if ctx.obj:  # the process is our own: nothing will be fitted in it
        from ...heads import without_sklearn as serving

        serving.only_serve()
    listening = _listen(host, port)
    with listening:
        from ...models.new_clips.own_encoders import check_places
        from ..loading import open_system
        from .service import Limits, Service, create_app

        with open_system(model, system=system, encoders=encoders) as chosen:
            for note in check_places(chosen.specs(), encoders, device):
                to_stderr(note)
            _check_scaling(chosen)
            service = Service(chosen, Limits(max_mb << 20, timeout, queue, batch), encoders, device)
            service.warm_up()
            ready = partial(_say_ready, chosen, listening)
            _run(create_app(service, {*names, host}), listening, timeout, ready)
    cut_off = service.cut_off
    to_stderr(
        f"stopped; requests in progress that got no prediction: {cut_off}"
        if cut_off
        else "stopped; every request in progress was answered"
    )


def _check_scaling(chosen: System) -> None:
    """Refuse a model that needs the language or data set of a clip."""
    for name, model in chosen.models.items():
        within = model.scaling.scale
        if isinstance(within, str) and within != "speaker":
            raise InputError(
                f"{name} scales features within each {within}, and a client cannot say which it "
                f"is: serve another system (--system), or use affekt predict with a table that has "
                f"a column {within}"
            )


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything is loaded."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # no label of a host name is so long
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host} port {port}: {why}; choose another with --host or --port"
        ) from None
    return listening


def _say_ready(chosen: System, listening: socket.socket) -> None:
    """Print the address; warn if others can reach it."""
    address, port = listening.getsockname()[:2]
    if not ipaddress.ip_address(address).is_loopback:
        to_stderr(
            "Anyone who can reach this address can use it: there is no password and no encryption"
        )
    where = f"[{address}]" if ":" in address else address
    if chosen.why:
        to_stderr(f"{chosen.name} was chosen: {chosen.why}")
    to_stderr(f"{chosen.name} answers at http://{where}:{port} (Ctrl-C ends it)")


def _run(app: object, listening: socket.socket, timeout: int, ready: Callable[[], None]) -> None:
    """Serve until a signal; then finish what is under way, and return."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        def handle_exit(self, sig: int, frame: object) -> None:
            """End, at once after a second signal; do not pass the signal on."""
            self.force_exit = self.should_exit
            self.should_exit = True
            if self.force_exit:  # do not log what it cuts off
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    for name in ("uvicorn.error", "python_multipart"):  # do not log malformed requests
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=timeout + 1,
    )
    server = Server(config)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, server.handle_exit)  # uvicorn takes only the other two
    server.run(sockets=[listening])

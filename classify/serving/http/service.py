"""The HTTP service: routes, limits and answers.

======  ============  ==================================================================
POST    /predict      audio, a text, or both; answers what `affekt predict --json` prints
GET     /labels       labels, members, which inputs are needed, limits
GET     /health       whether it answers, and how many requests are under way
GET     /             a page for people; /docs and /openapi.json for programs
======  ============  ==================================================================
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ....cache.errors import InputError
from ....extract.inputs.decode import HINT
from ....extract.inputs.isolated_decoder import Decoder
from ...models.new_clips.answer import Answer
from ...models.new_clips.new_clip import RawClip
from ...models.new_clips.system import System
from .allowed_hosts import Guard
from .answers import describe, inputs_of, merged, name_of, result
from .batching import Batcher, Full
from .bodies import Refused, Sent, read_body
from .recording import cut
from .schema import PREDICT

#: content types of the files of the page
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PATHS = {"index.html": "/", "docs.html": "/docs"}  # others have their names
RECORDINGS = 2  # held decoded at once
FAILED = "the service failed on this request; the reason is in its log"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits of one request, and of all of them together.

    Attributes
    ----------
    size : int
        Bytes of a body.
    seconds : float
        From the first byte of a body to its answer.
    requests : int
        Under way at once; a further one is answered 503.
    batch : int
        Clips of one pass through the model; over 1, the last digits of an answer may depend on
        what else was asked.
    """

    size: int = 32 << 20
    seconds: float = 60.0
    requests: int = 32
    batch: int = 1


class Service:
    """Predict what clients send, with one system and within limits.

    Parameters
    ----------
    encoders, device
        As for `System.answer`.
    """

    def __init__(
        self,
        system: System,
        limits: Limits,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
    ) -> None:
        self.system, self.limits = system, limits
        self.inputs = inputs_of(system)
        self.cut_off = 0  # requests that the end of the service left without a prediction
        self.decoder = Decoder()
        self.recordings = asyncio.Semaphore(RECORDINGS)
        self._options = {"encoders": encoders, "device": device, "decode": self.decoder}
        self.batcher: Batcher[RawClip, Answer] = Batcher(
            self._answer, most=limits.batch, places=limits.requests
        )

    def warm_up(self) -> None:
        """Open every encoder and let it answer once.

        Raises
        ------
        InputError, SpecError, CanaryError
            As `System.answer`: what is missing is reported before anything is served.
        """
        hum = np.sin(np.arange(16_000, dtype=np.float32) / 20)
        self._answer([RawClip("warm-up", hum, sampling_rate=16_000, text="one two three")])

    async def predict(self, request: Request, asked: Mapping[str, Any]) -> Any:
        """Answer one request; see `result`.

        Raises
        ------
        Refused
            With status and reason.
        """
        doing = 408, "slow_body", "the body did not arrive"
        try:
            with self.batcher.place():
                async with asyncio.timeout(self.limits.seconds):
                    sent = await read_body(request.headers, request.stream(), self.limits.size)
                    doing = 503, "timeout", "no answer in time"
                    self._check_inputs(sent)
                    if asked["window"] is not None:
                        return await self._timeline(request, sent, asked)
                    clip = RawClip(sent.id, sent.audio, text=sent.text)
                    return result(self.system, [await self.batcher.submit(clip)], asked)
        except TimeoutError:
            status, code, what = doing
            found = f"{what} within {self.limits.seconds:g} s, the limit of this service"
            raise Refused(code, found, status) from None
        except Full as error:
            raise Refused("busy", f"{error}; try again in a second", 503) from None
        except asyncio.CancelledError:  # a second signal
            self.cut_off += 1
            raise Refused("stopping", "the service is being stopped", 503) from None
        except (Refused, ClientDisconnect):
            raise
        except InputError as error:
            raise Refused("input", str(error), 422) from None
        except Exception as error:
            log.error("a request failed: %s: %s", type(error).__name__, error)
            log.debug("it failed here", exc_info=True)
            raise Refused("failed", FAILED, 500) from None

    async def _timeline(self, request: Request, sent: Sent, asked: Mapping[str, Any]) -> Any:
        """Answer the windows of a recording one batch after the other, so that others get theirs.

        Only a few recordings are held decoded at once: they are large.
        """
        async with self.recordings:
            recording = await asyncio.to_thread(cut, sent, asked["window"], asked["hop"])
            answers: list[Answer] = []
            for start in range(0, len(recording.windows), self.limits.batch):
                if await request.is_disconnected():
                    raise ClientDisconnect
                part = recording.windows[start : start + self.limits.batch]
                answers += await asyncio.gather(*map(self.batcher.submit, part))
        return result(self.system, answers, asked, sent.id, recording)

    def _answer(self, clips: Sequence[RawClip]) -> list[Answer]:
        """Answer a batch; the worker thread is the only one that does."""
        return merged(lambda clips: self.system.answer(clips, **self._options), clips)

    def _check_inputs(self, sent: Sent) -> None:
        """Refuse a clip without what every clip needs."""
        needed = [kind for kind, word in self.inputs.items() if word == "required"]
        either = [kind for kind, word in self.inputs.items() if word == "optional"]
        given = {"audio": sent.audio, "text": sent.text}
        missing = [kind for kind in needed if not given[kind]]
        if missing or (not needed and not any(given[kind] for kind in either)):
            wanted = " and ".join(needed) or " or ".join(either)
            found = (
                f"no {' and no '.join(missing or either)}: {name_of(self.system)} needs {wanted}"
            )
            raise Refused("missing_input", found, 422)


def create_app(service: Service, names: Collection[str] = ()) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    names : collection of str
        Host names that requests may use, besides localhost and addresses.
    """
    system, limits = service.system, service.limits

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with service.decoder:
            async with service.batcher:
                yield

    app = FastAPI(
        title="affekt serve",
        summary=f"Predictions of {name_of(system)}",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, names=names)  # pyright: ignore[reportArgumentType]
    _handle_errors(app)
    _add_page(app)

    @app.post("/predict", openapi_extra=PREDICT, response_class=Response)
    async def predict(
        request: Request,
        window: Annotated[
            float | None,
            Query(gt=0, allow_inf_nan=False, description="Seconds: a timeline of a long recording"),
        ] = None,
        hop: Annotated[
            float | None,
            Query(gt=0, allow_inf_nan=False, description="Seconds between windows; half a window"),
        ] = None,
        top: Annotated[int | None, Query(ge=1, description="Only the most probable labels")] = None,
        details: Annotated[
            bool, Query(description="An object with the rows, each member's, flags and failures")
        ] = False,
    ) -> Response:
        """Predict one clip: its audio, its text, or both."""
        asked = {"window": window, "hop": hop, "top": top, "details": details}
        unknown = sorted(set(request.query_params) - set(asked))
        if unknown:
            raise Refused("unknown_parameter", f"{unknown[0][:80]!r}; expected {', '.join(asked)}")
        if hop is not None and window is None:
            raise Refused("parameter", "hop belongs to a timeline; give window too")
        if top is not None and system.is_numeric:
            raise Refused("parameter", "top is for labels, and this service predicts numbers")
        return _json(await service.predict(request, asked))

    @app.get("/labels", response_class=Response)
    async def labels() -> Response:
        """Return labels, members, needed inputs, limits and the caution that belongs to them."""
        most = {"bytes": limits.size, "seconds": limits.seconds, "requests": limits.requests}
        return _json(describe(system, most))

    @app.get("/health", response_class=Response)
    async def health() -> Response:
        """Return whether the service answers, and how many requests are under way."""
        taken = service.batcher.taken
        return _json({"status": "ok", "under_way": taken, "at_most": limits.requests})

    return app


def _handle_errors(app: FastAPI) -> None:
    """Give every refusal one form: a code for programs and a reason for people."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        again = {"Retry-After": "1"} if error.status == 503 else {}
        detail = error.reason.replace(HINT, "")  # a client has no such option
        return _json({"code": error.code, "detail": detail}, error.status, again)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        # it is never read
        return _json({"code": "gone", "detail": "the client has disconnected"}, 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return _json({"code": "parameter", "detail": problems[:500]}, 422)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        problem = {"code": "http", "detail": f"{error.detail}; see /docs"}
        return _json(problem, error.status_code, dict(error.headers or {}))


def _add_page(app: FastAPI) -> None:
    """Serve the files of the page, and no others."""
    for file in (Path(__file__).parent / "page").iterdir():
        if file.suffix in TYPES:
            send = partial(_file, file.read_bytes(), TYPES[file.suffix])
            app.add_route(PATHS.get(file.name, f"/{file.name}"), send, include_in_schema=False)


def _file(content: bytes, kind: str, request: Request) -> Response:
    return Response(content, media_type=kind)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), status, headers, "application/json")

"""Who may use the service: no foreign web page, and no foreign host name.

A service on this machine can be reached by every page that its user's browser shows. A page of
another origin sends its ``Origin``, which has to be the service's own, or of a name that the
service was given, as that of a proxy; a page that had its own name point here ("DNS rebinding")
sends that name as ``Host``, which has to be ``localhost``, an IP address, or a name that was given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: sent with every answer; the page's own scripts and styles are files of this service
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
        "'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(host: str | None, origin: str | None, names: Collection[str]) -> str | None:
    """Return why a request is refused, or None.

    Parameters
    ----------
    host, origin : str or None
        Headers of the request.
    names : collection of str
        Host names that the service was given, in lower case.

    Examples
    --------
    >>> refusal("localhost:8000", "http://localhost:8000", [])
    >>> refusal("evil.example:8000", None, [])
    "Host is 'evil.example:8000'; expected localhost, an IP address, or a name of --allow-host"
    >>> refusal("127.0.0.1:8000", "https://evil.example", [])
    "Origin is 'https://evil.example'; expected the service's own, 127.0.0.1:8000, or a name of ...
    >>> refusal("127.0.0.1:8000", "https://proxy.example", ["proxy.example"])
    """
    name = _name(host)
    if name is None or not (name == "localhost" or name in names or _is_address(name)):
        return (
            f"Host is {(host or '')[:80]!r}; expected localhost, an IP address, or a name of "
            "--allow-host"
        )
    if origin is None or origin.lower().partition("://")[2] == (host or "").lower():
        return None
    if _is_named(origin, names):
        return None
    return (
        f"Origin is {origin[:80]!r}; expected the service's own, {host}, or a name of --allow-host"
    )


class Guard:
    """Refuse foreign pages before anything of a request is read, and set security headers."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self.app = app
        self.names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        reason = refusal(headers.get("host"), headers.get("origin"), self.names)
        if reason is None:
            await self.app(scope, receive, guarded)
        else:
            answer = JSONResponse({"code": "foreign", "detail": reason}, 403)
            await answer(scope, receive, guarded)


def _name(host: str | None) -> str | None:
    """Return the name of a Host header in lower case, without its port."""
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


def _is_named(origin: str, names: Collection[str]) -> bool:
    """Whether a page is of a name that the service was given: a proxy's, which may hide `Host`."""
    name = _name(origin.partition("://")[2])
    return name is not None and name in names and not (name == "localhost" or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

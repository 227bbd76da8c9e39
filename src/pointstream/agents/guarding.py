"""Who may read a worker's web pages."""

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256

from aiohttp import web

__all__ = ["OPEN_PATHS", "PATHS", "guard"]

#: What there is. All else is closed: a page of Faust's own gives out the tables as they are stored.
PATHS = ("/", "/status", "/metrics", "/healthz", "/readyz")
_ACCOUNTS = "/accounts/"
#: What wants no token. The page at `/` is empty without what it asks `/status` for.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(application: web.Application, token: str | None, *, refused: Callable[[], None]) -> None:
    """Let an application answer for our own pages alone, and with a `token` only to who knows it.

    `refused` is called for each request without it.
    """
    expected = None if token is None else _digest(token)

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path not in PATHS and not request.path.startswith(_ACCOUNTS):
            return web.json_response({"error": "there is no such page"}, status=404)
        if request.method not in ("GET", "HEAD"):
            return web.json_response(
                {"error": "these pages are read only"}, status=405, headers={"Allow": "GET, HEAD"}
            )
        # Digests, so that the comparison takes as long whatever the length of what was sent.
        if (
            expected is not None
            and request.path not in OPEN_PATHS
            and not hmac.compare_digest(_digest(_bearer(request)), expected)
        ):
            refused()
            return web.json_response(
                {"error": "this page asks for a token: Authorization: Bearer ..."},
                status=401,
                headers={"WWW-Authenticate": 'Bearer realm="pointstream"'},
            )
        response = await handler(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    application.middlewares.append(check)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()

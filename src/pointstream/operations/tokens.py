"""Where the tokens of OAUTHBEARER come from: a file that somebody renews, or a token endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

__all__ = ["ClientCredentials", "TokenFile", "TokenUnavailable", "heed_refusals"]

_ANSWER_SECONDS = 10.0
#: A token is used for this part of its life, so that none ends on its way to the broker.
_USED_OF_LIFE = 0.8
#: Seconds that a token lives of which nothing is said.
_SHORT_LIFE = 60.0


class TokenUnavailable(KafkaError):  # type: ignore[misc]
    """There is no token to show; the message says why, and has no secret."""


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the file whenever a connection is made: whoever renews the token writes it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """Return the token that the file holds now. Raises `TokenUnavailable`."""
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenUnavailable(f"the token file {self._path} cannot be read") from error
        if not token:
            raise TokenUnavailable(f"the token file {self._path} is empty")
        return token


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Asks a token endpoint, as RFC 6749 has it (4.4, client authentication of 2.3.1).

    A token is asked for once in its life, whatever the number of connections, threads and loops.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: Callable[[], str],
        *,
        scope: str | None = None,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`secret` is called for each new token: a file may hold another one by then."""
        self._url = url
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._context = context
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = float("-inf")

    async def token(self) -> str:
        """Return a token that is good for a while. Raises `TokenUnavailable`."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            if self._clock() >= self._until:
                asked_at = self._clock()
                answer = self._ask()
                self._token = str(answer["access_token"])
                life = float(answer.get("expires_in") or _SHORT_LIFE)
                self._until = asked_at + life * _USED_OF_LIFE
            return self._token

    def _ask(self) -> dict[str, Any]:
        form = {"grant_type": "client_credentials"}
        if self._scope is not None:
            form["scope"] = self._scope
        who = [urllib.parse.quote(each, safe="") for each in (self._client_id, self._secret())]
        request = urllib.request.Request(
            self._url,
            urllib.parse.urlencode(form).encode(),
            {
                "Authorization": "Basic " + base64.b64encode(":".join(who).encode()).decode(),
                "Accept": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(
                request, timeout=_ANSWER_SECONDS, context=self._context
            ) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            raise TokenUnavailable(
                f"{self._url} gives no token: {error.code} {_reason_in(error)}"
            ) from None
        except (OSError, ValueError) as error:
            raise TokenUnavailable(f"{self._url} gives no token: {error}") from error
        if not isinstance(told, dict) or not told.get("access_token"):
            raise TokenUnavailable(f"{self._url} answers without an access_token")
        return told


class _Attentive(OAuthAuthenticator):  # type: ignore[misc]
    """aiokafka's, which takes whatever a broker answers to a token for a welcome.

    By RFC 7628, 3.2.2, a welcome is empty, and a refusal says why. Taken for a welcome, the answers
    to all further requests would be read as something that they are not.
    """

    async def step(self, payload: bytes | None) -> Any:
        if self._token_sent and payload:
            raise SaslAuthenticationFailed(payload.decode(errors="replace"))
        return await super().step(payload)


def heed_refusals() -> None:
    """Have every client of this process notice that its token is refused."""
    conn.OAuthAuthenticator = _Attentive


def _reason_in(error: urllib.error.HTTPError) -> str:
    """The error code of RFC 6749, 5.2, such as invalid_client; else HTTP's own word."""
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason

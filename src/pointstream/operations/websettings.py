"""Who may read a worker's web pages: where they are served, and the token that they ask for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from pointstream.operations.kafkasettings import Misfit

__all__ = ["WebSettings", "WebTokenError"]

_SHORTEST = 16


class WebTokenError(Exception):
    """The token of the web pages cannot be had; says why and what to do."""


class WebSettings(BaseModel):
    """The settings of the web pages.

    They show accounts, so they are bound to loopback unless told otherwise, and anywhere else they
    want a token, as `Authorization: Bearer ...`. `/healthz` and `/readyz` want none: they say
    yes or no, and whoever probes a process has no secrets.
    """

    web_host: Annotated[
        str, Field(min_length=1, description="address that the web pages are bound to")
    ] = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65_535, description="0 serves no web page")] = 6066
    web_token: Annotated[
        SecretStr | None,
        Field(
            description=f"what readers of the web pages must know; {_SHORTEST} characters or more"
        ),
    ] = None
    web_token_file: Annotated[Path | None, Field(description="a file that holds it")] = None
    web_open: Annotated[
        bool,
        Field(
            description="serve the web pages without a token also where other machines reach them"
        ),
    ] = False

    def web_problems(self) -> Iterator[Misfit]:
        """What does not go together."""
        if self.web_token is not None and self.web_token_file is not None:
            yield Misfit("web_token", "is given as well as web_token_file", "leave one of them out")

    def web_exposed(self) -> Misfit | None:
        """Why these pages may not be served: anybody could read the accounts."""
        asks = self.web_token is not None or self.web_token_file is not None
        if asks or self.web_open or not self.web_port or _is_loopback(self.web_host):
            return None
        return Misfit(
            "web_host",
            f"is {self.web_host}: without a token, everybody who reaches this machine could read "
            "every account",
            "set POINTSTREAM_WEB_TOKEN_FILE (or POINTSTREAM_WEB_TOKEN), bind to 127.0.0.1, or say "
            "POINTSTREAM_WEB_OPEN=true if something in front of it asks who is there",
        )

    def read_web_token(self) -> str | None:
        """Return the token, None where none is asked for. Raises `WebTokenError`."""
        if self.web_token_file is not None:
            try:
                token = self.web_token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise WebTokenError(
                    f"web_token_file {self.web_token_file} cannot be read: {error}; create it, or "
                    "make it readable"
                ) from error
        elif self.web_token is not None:
            token = self.web_token.get_secret_value()
        else:
            return None
        if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
            raise WebTokenError(
                f"the web token must be {_SHORTEST} or more printable ASCII characters without "
                "spaces; `openssl rand -hex 32` makes one"
            )
        return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may lead anywhere, and elsewhere tomorrow.
        return False

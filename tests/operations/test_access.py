"""From settings to what clients are told: files, tokens, and why a broker lets nobody in."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pointstream.engine import access as access_module
from pointstream.engine.access import Access
from pointstream.operations.access import AccessError, access_of, refusal_of
from pointstream.operations.settings import Settings
from pointstream.operations.tokens import ClientCredentials, TokenFile, TokenUnavailable

SECRET = "correct-horse"


def scram(**given: Any) -> Settings:
    return Settings(
        **{
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_username": "worker",
            **given,
        }
    )


def test_a_password_from_a_file_has_no_line_end(tmp_path: Path) -> None:
    """Editors and `echo` add one; a space belongs to the password."""
    file = tmp_path / "password"
    file.write_text(" pass word \n")

    access = access_of(scram(kafka_password_file=file))

    assert access.security["sasl_plain_password"] == " pass word "
    assert access.security["sasl_mechanism"] == "SCRAM-SHA-512"


def test_no_secret_is_in_what_an_access_says_of_itself() -> None:
    """It may end up in a traceback or a log."""
    assert SECRET not in repr(access_of(scram(kafka_password=SECRET)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kafka_ca_file": "nowhere.pem"}, "kafka_ca_file nowhere.pem cannot be used: No such"),
        ({"kafka_ca_file": "empty.pem"}, "kafka_ca_file empty.pem cannot be used"),
        ({"kafka_client_cert_file": "empty.pem"}, "kafka_client_cert_file empty.pem and its key"),
        ({"kafka_password": None, "kafka_password_file": "nowhere"}, "nowhere cannot be read"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    given: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any connection is tried."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.pem").touch()

    with pytest.raises(AccessError, match=words):
        access_of(scram(**{"kafka_password": SECRET, **given}))


def test_only_those_who_are_named_may_sign_for_a_broker(tmp_path: Path) -> None:
    """With kafka_ca_file the system's authorities count for nothing."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    access = access_of(Settings(kafka_security_protocol="SSL", kafka_ca_file=tmp_path / "ca.pem"))

    context: ssl.SSLContext = access.security["ssl_context"]
    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    """Whoever renews the token only writes the file."""
    file = tmp_path / "token"
    tokens = TokenFile(file)

    with pytest.raises(TokenUnavailable, match="cannot be read"):
        asyncio.run(tokens.token())
    for text in ("first\n", "second"):
        file.write_text(text)
        assert asyncio.run(tokens.token()) == text.strip()
    file.write_text("\n")
    with pytest.raises(TokenUnavailable, match="empty"):
        asyncio.run(tokens.token())


class Endpoint(http.server.ThreadingHTTPServer):
    """Gives tokens to those who know the secret, each another one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        _, _, who = self.headers["Authorization"].partition(" ")
        known = base64.b64decode(who).decode() == f"worker%3A1:{SECRET}"
        self.server.asked.append(urllib.parse.parse_qs(form))
        nth = len(self.server.asked)
        told = {"access_token": f"token-{nth}", "expires_in": 100}
        body = json.dumps(told if known else {"error": "invalid_client"}).encode()
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_token_is_asked_for_once_in_its_life(endpoint: Endpoint) -> None:
    """And again before it ends, not after."""
    now = [0.0]
    tokens = ClientCredentials(
        endpoint.url, "worker:1", lambda: SECRET, scope="kafka", clock=lambda: now[0]
    )

    async def several() -> set[str]:
        return set(await asyncio.gather(*(tokens.token() for _ in range(5))))

    assert asyncio.run(several()) == {"token-1"}
    now[0] = 79.0
    assert asyncio.run(several()) == {"token-1"}
    now[0] = 81.0
    assert asyncio.run(several()) == {"token-2"}
    assert endpoint.asked == [{"grant_type": ["client_credentials"], "scope": ["kafka"]}] * 2


def test_a_client_that_is_not_known_gets_the_endpoints_word(endpoint: Endpoint) -> None:
    """Its error code, and no secret."""
    tokens = ClientCredentials(endpoint.url, "worker:1", lambda: "wrong-secret")

    with pytest.raises(TokenUnavailable, match="401 invalid_client") as refused:
        asyncio.run(tokens.token())

    assert "wrong-secret" not in str(refused.value)


def test_settings_lead_to_the_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    """The secret is read from its file when a token is asked for."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    access = access_of(
        Settings(
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_mechanism="OAUTHBEARER",
            kafka_oauth_token_url=endpoint.url,
            kafka_oauth_client_id="worker:1",
            kafka_oauth_client_secret_file=file,
        )
    )

    assert asyncio.run(access.security["sasl_oauth_token_provider"].token()) == "token-1"


def refusal(access: Access) -> Any:
    return asyncio.run(refusal_of(access))


def test_nobody_there_is_no_refusal() -> None:
    """One may come yet: it is waited for."""
    assert refusal(Access("127.0.0.1:1")) is None


@pytest.mark.parametrize(("name", "words"), [("127.0.0.1", "signed"), ("other", "another name")])
def test_a_certificate_that_cannot_be_trusted_is_told_as_such(
    name: str, words: str, tmp_path: Path
) -> None:
    """Signed by somebody unknown, or made for another name: final, with the setting to change."""
    authority, known = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    (known if name == "127.0.0.1" else authority).cert_pem.write_to_path(tmp_path / "ca.pem")

    with Handshakes(context) as server:
        found = refusal(
            access_of(
                Settings(
                    bootstrap_servers=server,
                    kafka_security_protocol="SSL",
                    kafka_ca_file=tmp_path / "ca.pem",
                )
            )
        )

    assert found.final
    assert words in found.message
    assert server in found.message


class Handshakes:
    """A server that shakes hands and says nothing."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *fault: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                self._context.wrap_socket(connection, server_side=True).close()
        except OSError:
            return


def test_no_client_is_made_but_by_an_access() -> None:
    """One made elsewhere would talk to the brokers in the clear, or be turned away."""
    source = Path(access_module.__file__).parents[1]
    makers = re.compile(
        r"AIOKafka(Consumer|Producer|AdminClient|Client)\("
        r"|\b(Publisher|CommittedReader|GroupProgress|RuleSetPublisher|ensure_topics|check_topics"
        r"|reconcile)\(\s*settings\.bootstrap_servers"
    )

    found = {
        str(file.relative_to(source)): makers.findall(file.read_text())
        for file in source.rglob("*.py")
    }

    # Faust's own consumer is made in the transport, with the access's settings.
    assert {name for name, calls in found.items() if calls} == {
        "engine/access.py",
        "engine/transport.py",
    }

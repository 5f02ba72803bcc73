"""Secrets are looked for in everything that a run leaves, good or bad: output, log at its most talkative, store, reports.

What this file knows of one run, tests/conftest.py looks for in what the whole suite has left.
"""

import io
import logging
from pathlib import Path

import pytest
from test_bad_input import Site, site  # noqa: F401 - a fixture

from connector.endpoints.wire import Wire

SECRET = "canary-9f41"
GRANT = (
    'auth: {grant: client_credentials, client_id: "${env:I360_CLIENT_ID}", client_secret: "${env:I360_CLIENT_SECRET}"}'
)
JWT = 'auth: {grant: jwt_bearer, client_id: "${env:I360_CLIENT_ID}", username: a@example.com, key: "${env:KEY}"}'
PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"
COMMANDS = [("run", "acme"), ("run", "acme", "--json"), ("preview", "acme"), ("status", "acme"), ("log", "acme")]


def refused(site: Site) -> None:  # noqa: F811
    site.org.fault(path="/services/oauth2/token", status=400, times=None, message=f"no such client {SECRET}")


def busy(site: Site) -> None:  # noqa: F811
    site.org.fault(status=503, times=None)


def other_secret(site: Site) -> None:  # noqa: F811
    site.environ["I360_CLIENT_SECRET"] = f"{SECRET}-wrong"


def unprintable(site: Site) -> None:  # noqa: F811
    site.environ["I360_CLIENT_SECRET"] = f"{SECRET}\nX: y"


def key(site: Site) -> None:  # noqa: F811
    site.change(GRANT, JWT)
    site.environ["KEY"] = PEM


def database(url: str):
    def change(site: Site) -> None:  # noqa: F811
        site.change('"sqlite:///hatch.db"', '"${env:HATCH}"')
        site.environ["HATCH"] = url

    return change


def store(url: str):
    return lambda at: at.environ.update(CONNECTOR_STATE=url)


def bug(site: Site) -> None:  # noqa: F811
    """Somewhere below the token, with the token at hand."""

    def send(_wire: Wire, _method: str, _address: str, **more: object) -> None:
        raise KeyError(f"{SECRET} {more}")

    site.patched.setattr(Wire, "send", send)


CASES = {
    "fine": (lambda _: None, 0),
    "the org refuses the client": (refused, 2),
    "the org is busy": (busy, 2),
    "another secret": (other_secret, 2),
    "a secret that is no text": (unprintable, 2),
    "a key that is none": (key, 2),
    "a bug": (bug, 3),
    "a database that is down": (database(f"postgresql://me:{SECRET}@127.0.0.1:9/x"), 2),
    "a database that is not there": (database(f"postgresql://me:{SECRET}@127.0.0.1:5432/canary_is_not_there"), 2),
    "a URL that is none": (database(f"postgresql://me:{SECRET}@127.0.0.1:x/y"), 2),
    "a driver that is none": (database(f"mystery://me:{SECRET}@127.0.0.1/x"), 2),
    "a store that is down": (store(f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/x"), 2),
    "a store that is none": (store(f"postgresql:/me:{SECRET}@127.0.0.1"), 2),
}


@pytest.fixture
def log():
    """All that anybody logs: every logger at DEBUG, also those that are made quiet."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    loggers = [logging.getLogger(name) for name in ("", "httpx", "httpcore", *logging.root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_seen(site, monkeypatch, log, case):  # noqa: F811
    change, code = CASES[case]
    site.serve(clients={"sandbox": SECRET})
    site.environ["I360_CLIENT_SECRET"] = SECRET
    site.patched = monkeypatch
    site.note()
    change(site)
    ends, said = zip(*(site.connector(*command) for command in COMMANDS), strict=True)
    assert ends[0] == code, said[0]
    assert "Traceback" not in " ".join(said)
    tokens = [*site.org.sessions.live]
    left = {
        file.name: file.read_bytes()
        for file in [*Path(site.folder).glob("connector-bug-*"), *Path(site.folder).glob(".connector/*")]
    }
    assert any(name.startswith("connector-bug") for name in left) == (code == 3)
    seen = {"output": "\n".join(said).encode(), "log": log.getvalue().encode(), **left}
    found = [(where, one) for where, text in seen.items() for one in ("canary-", *tokens) if one.encode() in text]
    assert found == []

"""`connector auth`: a person lets a connection into an org; what that gave; taking it back.

The browser's way back is a page of ours on this machine, open for some minutes, or the address that the person pastes.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from connector.errors import SetupError, SpecError, Unauthorized

if TYPE_CHECKING:
    from connector.endpoints.salesforce.signin import App
    from connector.project import Project
    from connector.state import Store
    from connector.vault import Vault

_PAGE = b"<!doctype html><title>connector</title><p>Received. The terminal says how it went; this page may be closed."
connection = click.argument("connection")
system = click.argument("system", required=False)
_ITSELF = "by itself at each run"


@click.group()
def auth() -> None:
    """Sign in to a Salesforce org, for grant: authorization_code.

    The other grants sign in by themselves at each run.
    """


@auth.command()
@connection
@system
@click.option("--no-browser", is_flag=True, help="Only print the page, do not open it.")
@click.option("--paste", is_flag=True, help="The browser is on another machine: paste the address it ends at.")
@click.option("--wait", default=300, type=click.IntRange(1, 900), show_default=True, help="Seconds for the person.")
def login(connection: str, system: str | None, no_browser: bool, paste: bool, wait: int) -> None:
    """Let CONNECTION into its org: a user signs in on the org's page and presses Allow.

    What that gives is kept encrypted in the state. SYSTEM where the connection has two to sign in to.
    """
    from connector.endpoints.salesforce import signin  # noqa: PLC0415
    from connector.endpoints.wire import Wire  # noqa: PLC0415
    from connector.project import SystemClock  # noqa: PLC0415

    with _opened(connection) as (found, store):
        app, vault = _client(found, store, _persons(found, system))
        vault.ready()
        with closing(Wire(app.login)) as wire:
            asked = signin.consent(app, wire)
            ended_at = _allowed(asked.address, app.redirect, wait, browser=not no_browser, paste=paste)
            grant = signin.redeem(app, wire, asked, ended_at, SystemClock().now())
        with vault.alone(app.label):
            signin.keep(app, vault, grant)
    click.echo(f"{found.name} is signed in to {grant.instance}{grant.user and f' as {grant.user}'}")


@auth.command()
@connection
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def status(connection: str, json_: bool) -> int:
    """Show how each Salesforce system of CONNECTION signs in, and what is kept of it.

    Nothing is asked of the org. Exit code 1: somebody has to sign in.
    """
    from connector import report  # noqa: PLC0415
    from connector.endpoints.salesforce import signin  # noqa: PLC0415

    rows = list[dict[str, Any]]()
    with _opened(connection) as (found, store):
        for name in _salesforce(found):
            grant, kept = found.connection.systems[name]["auth"]["grant"], None
            if grant == "authorization_code":
                app, vault = _client(found, store, name)
                kept = signin.kept(app, vault)
            state = _ITSELF if grant != "authorization_code" else kept.ended or "signed in" if kept else "not signed in"
            about = {key: getattr(kept, key, None) for key in ("since", "instance", "user", "scope")}
            rows.append({"system": name, "grant": grant, "state": state, **about})
    if not rows:
        raise SpecError(f"{connection} has no Salesforce system: there is nothing to sign in to")
    lines = [[value or "-" for value in row.values()] for row in rows]
    click.echo(report.as_json(rows) if json_ else report.table(lines, [key.upper() for key in rows[0]]))
    return int(any(row["state"] not in ("signed in", _ITSELF) for row in rows))


@auth.command()
@connection
@system
def logout(connection: str, system: str | None) -> None:
    """Take back what CONNECTION was given: the org revokes it, and the state forgets it."""
    from connector.endpoints.salesforce import signin  # noqa: PLC0415
    from connector.endpoints.wire import Wire  # noqa: PLC0415

    with _opened(connection) as (found, store):
        app, vault = _client(found, store, _persons(found, system))
        with vault.alone(app.label), closing(Wire(app.login)) as wire:
            grant = signin.kept(app, vault)
            known = grant and signin.revoke(wire, grant)
            vault.drop(app.label)
    ended = "is signed out" if grant else "is not signed in"
    click.echo(f"{found.name} {ended}{'; the org had ended it before' if grant and not known else ''}")


@auth.command()
def key() -> None:
    """Print a new key for CONNECTOR_KEY, which encrypts what is kept."""
    from connector.vault import new_key  # noqa: PLC0415

    click.echo(new_key())


# ---- which system --------------------------------------------------------------------------------------------


@contextmanager
def _opened(connection: str) -> Iterator[tuple[Project, Store]]:
    from connector import project  # noqa: PLC0415

    found, store = project.opened(connection)
    with closing(store):
        yield found, store


def _salesforce(found: Project) -> list[str]:
    return [name for name, each in found.connection.systems.items() if each["adapter"] == "salesforce"]


def _persons(found: Project, name: str | None) -> str:
    """The system that a person signs in to; where there are two it has to be named."""
    grants = {each: found.connection.systems[each]["auth"]["grant"] for each in _salesforce(found)}
    choices = [each for each, grant in grants.items() if grant == "authorization_code" and name in (None, each)]
    if len(choices) != 1:
        named = [each for each, grant in grants.items() if grant == "authorization_code"]
        right = f"name one of {', '.join(named)}" if named else "none of its systems has grant: authorization_code"
        raise SpecError(f"{found.name}: which system does a person sign in to? {right}")
    return choices[0]


def _client(found: Project, store: Store, name: str) -> tuple[App, Vault]:
    from connector import project  # noqa: PLC0415
    from connector.endpoints.salesforce import signin  # noqa: PLC0415

    settings = project.secrets(found, found.connection.systems[name], os.environ, ("systems", name))
    return signin.app(name, settings), project.vault(found, store, project.SystemClock(), name)


# ---- the way back --------------------------------------------------------------------------------------------


def _allowed(address: str, redirect: str, wait: int, *, browser: bool, paste: bool) -> str:
    """The address at which the person ended."""
    port = None if paste else _port(redirect)
    if port is None:
        click.echo(f"Open this page, sign in and allow access:\n{address}")
        return _pasted()
    with _listening(port, urlsplit(redirect).path or "/") as answers:
        click.echo(f"Open this page, sign in and allow access; it is waited for {wait} seconds:\n{address}")
        if browser and _has_browser():
            import webbrowser  # noqa: PLC0415

            webbrowser.open(address)
        try:
            return answers.get(timeout=wait)
        except queue.Empty:
            said = f"nobody has allowed it within {wait} seconds; start anew when somebody is there"
            right = "If the page said redirect_uri_mismatch, make auth.redirect a callback URL of the app"
            raise Unauthorized(f"{said}. {right}") from None


def _port(redirect: str) -> int | None:
    """Where we can listen for it: an http address of this machine. None: it leads to somebody else's page."""
    parts = urlsplit(redirect)
    return (parts.port or 80) if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1") else None


@contextmanager
def _listening(port: int, path: str) -> Iterator[queue.Queue[str]]:
    """Addresses that a browser comes back with. Loopback only; anything but the callback's path is not found."""
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 - slow, and every command reads this module
    from socketserver import ThreadingTCPServer  # noqa: PLC0415

    answers: queue.Queue[str] = queue.Queue()

    class Server(ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        block_on_close = False  # a browser may hold a connection open on which it never asks

        def handle_error(self, *_: Any) -> None:
            """A browser that goes away in mid-sentence is no news."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            ours = self.path.partition("?")[0] == path
            if ours:
                answers.put(self.path)
            self.send_response(200 if ours else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            if ours:
                self.wfile.write(_PAGE)

        def log_message(self, *_: Any) -> None:
            """The line would show the code."""

    try:
        server = Server(("127.0.0.1", port), Handler)
    except OSError as error:
        said = f"port {port} of auth.redirect cannot be listened at ({error.strerror})"
        raise SetupError(f"{said}; free it, or use --paste") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pasted() -> str:
    """The address holds a code: it is not shown while it is typed or pasted."""
    said = "Then paste the whole address of the page that the browser ends at (it is not shown)"
    if sys.stdin.isatty():
        return str(click.prompt(said, hide_input=True))
    click.echo(f"{said}:")
    return sys.stdin.readline()


def _has_browser() -> bool:
    """Only for a person at a desk: a browser of the terminal would take the terminal over."""
    desk = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(sys.stdout.isatty() and desk)

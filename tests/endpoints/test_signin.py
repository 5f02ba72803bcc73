"""Signing in to an org, over real HTTP against the sandbox org: what is sent, what is kept, and every way it can go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from databases import schema, url  # noqa: F401 - fixtures

from connector import auth, project, spec
from connector.cli import main
from connector.endpoints.salesforce import Salesforce, signin
from connector.endpoints.wire import Reply, Wire
from connector.errors import EndpointError, SetupError, Unauthorized
from connector.sandbox import Org, serve
from connector.sandbox.oauth import grants
from connector.state import Store
from connector.vault import LEASE, Vault, new_key

SHAPES = [json.loads(file.read_text("utf-8")) for file in (spec.shipped() / "shapes").glob("*.json")]
PROSPECT = "i360__Prospect__c"
OCC = "https://api.remotesf.com/auth/improveit360/callback"
SECRET = "canary-secret-of-acme"
APP = {"secret": SECRET, "callbacks": [OCC, signin.LOCAL], "rotate": True, "secret_on_refresh": True}
KEY = new_key()
CONNECTION = """\
connection: {name}
mapping: i360_classic
systems:
  hatch: {{adapter: sql, url: "sqlite:///{name}-hatch.db", create_tables: true}}
  i360:
    adapter: salesforce
    login: {login}
    auth: {{grant: authorization_code, client_id: "${{env:{var}_ID}}", client_secret: "${{env:{var}_SECRET}}"{more}}}
"""
PASTED = f', pkce: false, redirect: "{OCC}", scopes: [full, refresh_token]'


@dataclass
class Site:
    """A project in the current folder, an org on real HTTP, and every form that its token endpoint was sent."""

    folder: Path
    org: Org
    url: str
    forms: list[dict[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def write(self, name: str = "acme", more: str = PASTED) -> None:
        file = self.folder / "connections" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(CONNECTION.format(name=name, login=self.url, var=name.upper(), more=more), "utf-8")

    def type(self, *words: str, pasted: str | None = None) -> Result:
        done = CliRunner().invoke(main, words, input=pasted and f"{pasted}\n")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        self.said.append(done.output)
        return done

    def sign_in(self, name: str = "acme", change: Callable[[str], str] = lambda address: address) -> Result:
        """`auth login`, with the person in the other window: allows, and pastes where the browser ended."""
        person = Person(self, change)
        with person.at_the_keyboard():
            return self.type("auth", "login", name)

    @contextmanager
    def adapter(self, name: str = "acme", clock: project.SystemClock | None = None) -> Iterator[Salesforce]:
        loaded, store = project.opened(name)
        with closing(store), closing(project.connect(loaded, store, clock or Quick())["i360"]) as made:
            assert isinstance(made, Salesforce)
            yield made

    def describe(self, name: str = "acme", clock: project.SystemClock | None = None) -> None:
        with self.adapter(name, clock) as adapter:
            adapter.describe([PROSPECT])

    def kept(self, name: str = "acme") -> signin.Grant | None:
        loaded, store = project.opened(name)
        with closing(store):
            settings = project.secrets(loaded, loaded.connection.systems["i360"], os.environ, ())
            return signin.kept(signin.app("i360", settings), project.vault(loaded, store, Quick(), "i360"))

    def tokens(self) -> set[str]:
        """Everything secret that the org has ever given, and what was shown to it."""
        given = set(self.org.sessions.live) | {grant.refresh for grant in self.org.sessions.grants.values()}
        sent = {form.get(key) for form in self.forms for key in ("code", "code_verifier", "refresh_token", "assertion")}
        return {each for each in given | sent | {SECRET} if each}


class Quick(project.SystemClock):
    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


@dataclass
class Person:
    """Opens the page that the command names, and types where the browser ended."""

    site: Site
    change: Callable[[str], str]

    @contextmanager
    def at_the_keyboard(self) -> Iterator[None]:
        real, opened = auth._pasted, signin.consent

        def consent(app, login):
            self.asked = opened(app, login)
            return self.asked

        def pasted() -> str:
            answer = httpx.get(self.asked.address)
            return self.change(answer.headers["location"])

        auth._pasted, signin.consent = pasted, consent
        try:
            yield
        finally:
            auth._pasted, signin.consent = real, opened


@contextmanager
def a_site(folder: Path, clients: dict, **options) -> Iterator[Site]:
    with closing(Org(shapes=SHAPES, clients=clients, **options)) as org, serve(org) as there:
        org.consent("allow")
        site = Site(folder, org, there)
        real = grants.form

        def form(body: bytes):
            site.forms.append(real(body))
            return site.forms[-1]

        grants.form = form
        try:
            yield site
        finally:
            grants.form = real


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONNECTOR_KEY", KEY)
    monkeypatch.delenv("CONNECTOR_STATE", raising=False)
    for name in ("ACME", "BETA"):
        monkeypatch.setenv(f"{name}_ID", f"app-of-{name.lower()}")
        monkeypatch.setenv(f"{name}_SECRET", f"canary-secret-of-{name.lower()}")
    clients = {"app-of-acme": APP, "app-of-beta": APP | {"secret": "canary-secret-of-beta"}}
    with a_site(tmp_path, clients) as site:
        site.write()
        yield site


# ---- a person allows it -----------------------------------------------------------------------------------


def test_o1_the_app_of_the_page_signs_in(site: Site) -> None:
    """Callback elsewhere, PKCE off, secret required in the web-server flow and in the refresh flow, full and refresh_token."""
    seen: list[str] = []
    done = site.sign_in(change=lambda address: (seen.append(address), address)[1])
    assert done.exit_code == 0, done.output
    address = re.search(r"^http\S+", done.output, re.MULTILINE)[0]
    asked = parse_qs(urlsplit(address).query)
    assert asked.keys() == {"response_type", "client_id", "redirect_uri", "scope", "state"}
    assert (asked["redirect_uri"], asked["scope"]) == ([OCC], ["full refresh_token"])
    assert seen[0].startswith(f"{OCC}?code=")
    (code,) = site.forms
    assert code.keys() == {"grant_type", "code", "redirect_uri", "client_id", "client_secret"}
    assert (code["grant_type"], code["client_secret"], code["redirect_uri"]) == ("authorization_code", SECRET, OCC)
    site.org.revoke_tokens()
    site.describe()
    assert site.forms[1].keys() == {"grant_type", "refresh_token", "client_id", "client_secret"}
    assert (site.forms[1]["grant_type"], site.forms[1]["client_secret"]) == ("refresh_token", SECRET)


def test_o2_two_connections_of_one_mapping_have_two_sets_of_tokens(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("beta")
    for name in ("acme", "beta"):
        assert site.sign_in(name).exit_code == 0
    mappings = {project.load(Path(f"connections/{name}.yaml")).mapping.mapping for name in ("acme", "beta")}
    assert len(mappings) == 1
    assert {grant.client for grant in site.org.sessions.grants.values()} == {"app-of-acme", "app-of-beta"}
    rows = dict(kept_rows())
    assert len(rows) == 2
    with sqlite3.connect(".connector/state.db") as db:  # each row in the other's place
        for scope, key in rows:
            other = next(value for (there, _), value in rows.items() if there != scope)
            db.execute("UPDATE cache SET value = ? WHERE scope = ? AND key = ?", (other, scope, key))
    db.close()
    for name in ("acme", "beta"):
        with pytest.raises(SetupError, match=f"does not open what is kept for {name}/i360"):
            site.describe(name)
    monkeypatch.setenv("BETA_ID", "app-of-acme")  # nor does knowing the other's client id help
    with pytest.raises(Unauthorized, match="not signed in"):
        site.describe("beta")


def kept_rows() -> Iterator[tuple[tuple[str, str], str]]:
    with closing(sqlite3.connect(".connector/state.db")) as db:
        found = db.execute("SELECT scope, key, value FROM cache WHERE key LIKE 'grant %' AND key NOT LIKE '% lock'")
        yield from (((scope, key), value) for scope, key, value in found)


def test_the_defaults_are_those_of_the_grammar() -> None:
    app = signin.app("i360", {"login": "https://a.com", "auth": {"grant": "authorization_code", "client_id": "x"}})
    for key in ("pkce", "redirect"):
        assert getattr(app, key) == spec.default("authorization_code", key)
    assert list(app.scopes) == spec.default("authorization_code", "scopes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_browser_on_this_machine_brings_the_answer_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way in a process of its own: PKCE, state, the page that waits, and a public client without a secret."""
    monkeypatch.chdir(tmp_path)
    redirect = f"http://localhost:{free_port()}/back/here"
    clients = {"app-of-acme": {"callbacks": [redirect], "pkce": True, "rotate": True}}
    with a_site(tmp_path, clients) as site:
        site.write(more=f', redirect: "{redirect}"')
        file = tmp_path / "connections" / "acme.yaml"
        file.write_text(file.read_text().replace(', client_secret: "${env:ACME_SECRET}"', ""))
        words = [sys.executable, "-m", "connector", "auth", "login", "acme", "--no-browser"]
        environ = {**os.environ, "ACME_ID": "app-of-acme", "CONNECTOR_KEY": KEY, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            first = [run.stdout.readline() for _ in range(2)]
            asked = parse_qs(urlsplit(first[1]).query)
            assert asked["code_challenge_method"] == ["S256"]
            back = httpx.get(first[1].strip()).headers["location"].replace("localhost", "127.0.0.1")
            assert httpx.get(back.replace("/back/here", "/elsewhere")).status_code == 404
            for rude in (b"GET //[ HTTP/1.1\r\n\r\n", b"\xff\r\n\r\n", b"GET /back"):
                with socket.create_connection(("127.0.0.1", urlsplit(redirect).port)) as caller:
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # hangs up at once
                    caller.sendall(rude)
            page = httpx.get(back)
            rest = run.stdout.read()
        assert (run.returncode, page.status_code) == (0, 200), rest
        assert rest.startswith(f"acme is signed in to {site.url} as 00D")
        assert "client_secret" not in site.forms[0]
        assert len(site.forms[0]["code_verifier"]) >= 43
        for secret in site.tokens():
            assert secret not in "".join(first) + rest + page.text


def test_nobody_comes(site: Site) -> None:
    site.write(more=f', redirect: "http://localhost:{free_port()}/"')
    done = site.type("auth", "login", "acme", "--wait", "1")
    assert done.exit_code == 2
    assert "nobody has allowed it within 1 seconds; start anew" in done.output


def test_a_port_that_is_taken_is_said_with_the_way_round(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.write(more=f', redirect: "http://localhost:{taken.getsockname()[1]}/"')
        done = site.type("auth", "login", "acme")
    assert done.exit_code == 2
    assert "--paste" in done.output


def answer(**given: str) -> Callable[[str], str]:
    """The address with other parameters; None takes one away."""

    def change(address: str) -> str:
        query = {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()} | given
        return f"{OCC}?{urlencode({key: value for key, value in query.items() if value is not None})}"

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (answer(state="of another page"), "wrong state"),
        (answer(state="ä"), "wrong state"),
        (answer(state=None), "it has no state"),
        (lambda _: "", "it has no state"),
        (lambda _: "http://[?state=\x00", "wrong state"),
        (lambda _: "&".join(f"x{n}=1" for n in range(2000)), "it has no state"),
        (lambda _: "canary-code", "it has no state"),
        (answer(code=None), "did not let the app in (no code); compare auth with how the app is set up"),
        (answer(code="aPrx-canary"), "expired authorization code"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence(site: Site, change: Callable[[str], str], message: str) -> None:
    done = site.sign_in(change=change)
    assert done.exit_code == 2
    last = done.output.splitlines()[-1]
    assert message in last
    assert "canary" not in done.output
    assert not list(kept_rows())


def test_a_code_is_good_once(site: Site) -> None:
    def used(address: str) -> str:
        code = parse_qs(urlsplit(address).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": OCC, "client_id": "app-of-acme"}
        assert httpx.post(f"{site.url}/services/oauth2/token", data=form | {"client_secret": SECRET}).status_code == 200
        return address

    done = site.sign_in(change=used)
    assert done.exit_code == 2
    assert "refused the code (invalid_grant: expired authorization code); it is good once" in done.output
    assert not any(secret in done.output for secret in site.tokens())


@pytest.mark.parametrize(
    ("app", "more", "message"),
    [
        ({"pkce": True}, PASTED, "(invalid_request missing required code challenge); compare auth"),
        ({"scopes": ("api", "refresh_token")}, PASTED, "(invalid_scope "),
        ({"flows": frozenset({"authorization_code"})}, PASTED.replace("full", "api"), ""),
    ],
)
def test_an_app_that_is_set_up_otherwise(site: Site, app: dict[str, Any], more: str, message: str) -> None:
    site.write(more=more)
    site.org.sessions.clients["app-of-acme"] = replace(site.org.sessions.clients["app-of-acme"], **app)
    done = site.sign_in()
    if not message:
        site.org.revoke_tokens()
        done = site.type("run", "acme", "opportunity")
        message = "does not let the app use this grant (unsupported_grant_type: grant type not supported); its admin"
    assert done.exit_code == 2
    assert message in done.output


def test_a_user_who_was_switched_off_may_come_back(site: Site) -> None:
    """Nothing has ended: the refresh token is as good as before once the user is."""
    apps = site.org.sessions.clients
    apps["app-of-acme"] = replace(apps["app-of-acme"], rotate=False)
    site.sign_in()
    site.org.revoke_tokens()
    user = next(iter(site.org.users.values()))
    site.org.edit("User", user.id, {"IsActive": False})
    with pytest.raises(Unauthorized, match="has this user switched off"):
        site.describe()
    site.org.edit("User", user.id, {"IsActive": True})
    site.describe()


def test_a_person_who_denies(site: Site) -> None:
    site.org.consent("deny")
    done = site.sign_in()
    assert done.exit_code == 2
    assert "(access_denied end-user denied authorization); a user of the org has to press Allow" in done.output


@pytest.mark.parametrize(
    ("more", "environ", "message"),
    [
        (PASTED, {"ACME_SECRET": "canary-wrong"}, "refused the client id or secret (invalid_client: "),
        (PASTED.replace("full, refresh_token", "full"), {}, "give the app the scope refresh_token"),
        (PASTED, {"CONNECTOR_KEY": ""}, "CONNECTOR_KEY holds no key"),
        (PASTED, {"CONNECTOR_KEY": "canary-short"}, "CONNECTOR_KEY holds something that is no key"),
        (PASTED, {"ACME_SECRET": ""}, "ACME_SECRET is not set"),
    ],
)
def test_a_set_up_that_cannot_work_is_one_sentence(
    site: Site, monkeypatch: pytest.MonkeyPatch, more: str, environ: dict[str, str], message: str
) -> None:
    site.write(more=more)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    done = site.sign_in()
    assert done.exit_code == 2
    assert message in done.output
    assert "canary" not in done.output


def test_a_person_does_not_sign_in_where_nobody_has_to(site: Site) -> None:
    file = site.folder / "connections" / "acme.yaml"
    text = CONNECTION.format(name="acme", login=site.url, var="ACME", more="")
    file.write_text(text.replace("authorization_code", "client_credentials"))
    done = site.type("auth", "login", "acme")
    assert (done.exit_code, "none of its systems has grant: authorization_code" in done.output) == (2, True)
    done = site.type("auth", "status", "acme")
    assert (done.exit_code, "by itself at each run" in done.output) == (0, True)


# ---- status, run, logout ---------------------------------------------------------------------------------


def test_from_signing_in_to_signing_out(site: Site) -> None:
    assert "not signed in" in site.type("auth", "status", "acme").output
    done = site.type("run", "acme", "opportunity")
    assert done.exit_code == 2
    assert "not_authenticated" in done.output
    assert "not signed in; sign in: connector auth login acme" in done.output
    assert site.sign_in().exit_code == 0
    done = site.type("auth", "status", "acme", "--json")
    (row,) = json.loads(done.output)
    assert (done.exit_code, row["state"], row["instance"], row["scope"]) == (
        0,
        "signed in",
        site.url,
        "full refresh_token",
    )
    assert site.type("run", "acme", "opportunity").exit_code == 0
    assert site.type("auth", "logout", "acme").output == "acme is signed out\n"
    assert not site.org.sessions.grants
    assert not site.org.sessions.live
    assert not list(kept_rows())
    assert site.type("auth", "logout", "acme").output == "acme is not signed in\n"
    assert site.type("auth", "status", "acme").exit_code == 1
    assert not any(secret in text for secret in site.tokens() for text in site.said)


def test_what_the_org_has_ended_is_forgotten_all_the_same(site: Site) -> None:
    site.sign_in()
    site.org.sessions.grants.clear()
    assert site.type("auth", "logout", "acme").output == "acme is signed out; the org had ended it before\n"
    assert not list(kept_rows())


def test_nothing_is_forgotten_while_the_org_cannot_be_told(site: Site) -> None:
    site.sign_in()
    site.org.fault(path="/services/oauth2/revoke", status=503)
    done = site.type("auth", "logout", "acme")
    assert (done.exit_code, len(list(kept_rows()))) == (2, 1)


# ---- refreshing ------------------------------------------------------------------------------------------


def refreshes(site: Site) -> int:
    return sum(form["grant_type"] == "refresh_token" for form in site.forms)


def test_an_access_token_serves_all_processes_until_it_is_refused(site: Site) -> None:
    site.sign_in()
    for _ in range(3):
        site.describe()
    assert refreshes(site) == 0


def test_a_rotated_refresh_token_is_kept_before_the_new_access_token_is_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.sign_in()
    site.org.revoke_tokens()
    first = next(iter(site.org.sessions.grants.values())).refresh
    kept: list[signin.Grant | None] = []
    send = Wire.send

    def watched(wire: Wire, method: str, address: str, **more: Any) -> Reply:
        if (more.get("headers") or {}).get("Authorization"):
            kept.append(site.kept())
        return send(wire, method, address, **more)

    monkeypatch.setattr(Wire, "send", watched)
    site.describe()
    now = next(iter(site.org.sessions.grants.values())).refresh
    assert now != first
    assert kept[-1].refresh == now
    assert kept[-1].access in site.org.sessions.live


def test_many_workers_refresh_once(site: Site, monkeypatch: pytest.MonkeyPatch, url: str) -> None:  # noqa: F811
    """Threads with adapters of their own, and other processes, all with a token that is refused at once."""
    monkeypatch.setenv("CONNECTOR_STATE", url)
    site.sign_in()
    site.org.revoke_tokens()
    gate, failed = threading.Barrier(4), []

    def work() -> None:
        with site.adapter() as adapter:
            gate.wait()
            try:
                adapter.describe([PROSPECT])
            except Exception as error:  # noqa: BLE001
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    code = (
        "from contextlib import closing\nfrom connector import project\n"
        "loaded, store = project.opened('acme')\n"
        "with closing(project.connect(loaded, store, project.SystemClock())['i360']) as it:\n"
        f"    it.describe(['{PROSPECT}'])\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert not failed
    assert refreshes(site) == 1


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_refresh_token_that_is_no_good_is_one_sentence_and_is_not_shown_again(site: Site, end: str) -> None:
    site.sign_in()
    site.org.revoke_tokens()
    if end == "revoked":
        site.org.sessions.grants.clear()
    else:
        number, grant = next(iter(site.org.sessions.grants.items()))
        site.org.sessions.grants[number] = replace(grant, ends=site.org.now() - timedelta(days=1))
    for _ in range(2):
        done = site.type("run", "acme", "opportunity")
        assert done.exit_code == 2
        assert "not_authenticated" in done.output
        assert "it was revoked or has expired" in done.output
        assert done.output.count("sign in again: connector auth login acme") == 1
    assert refreshes(site) == 1
    done = site.type("auth", "status", "acme")
    assert done.exit_code == 1
    assert "revoked" in done.output
    assert site.sign_in().exit_code == 0
    site.describe()


def test_the_sixth_approval_elsewhere_ends_the_first(site: Site) -> None:
    site.sign_in()
    user = next(iter(site.org.users.values()))
    for _ in range(5):
        site.org.sessions.approve(
            user, site.org.sessions.clients["app-of-acme"], ("full", "refresh_token"), site.org.now()
        )
    with pytest.raises(
        Unauthorized, match="has signed in elsewhere too often; sign in again: connector auth login acme"
    ):
        site.describe()


def test_the_answer_to_a_refresh_is_lost(site: Site) -> None:
    """With rotation the old token is dead and nobody knows the new one."""
    site.sign_in()
    site.org.revoke_tokens()
    site.org.fault(path="/services/oauth2/token", status="lost_reply", times=1)
    with pytest.raises(
        Unauthorized, match=r"was not answered, .* may have been lost; sign in again: connector auth login"
    ):
        site.describe()


def test_without_rotation_a_lost_answer_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    apps = site.org.sessions.clients
    apps["app-of-acme"] = replace(apps["app-of-acme"], rotate=False)
    site.sign_in()
    site.org.revoke_tokens()
    site.org.fault(path="/services/oauth2/token", status="lost_reply", times=1)
    site.describe()
    assert refreshes(site) == 2


@pytest.mark.parametrize("rotate", [True, False])
def test_a_refresh_that_is_refused_for_now_is_tried_again(site: Site, rotate: bool) -> None:
    site.sign_in()
    site.org.revoke_tokens()
    site.org.fault(path="/services/oauth2/token", status=503, times=2)
    site.describe()
    assert refreshes(site) == 1


@pytest.mark.parametrize("key", ["", new_key()])
def test_a_run_without_its_key_fails_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    site.sign_in()
    monkeypatch.setenv("CONNECTOR_KEY", key)
    for words in (["run", "acme", "opportunity"], ["preview", "acme", "opportunity"], ["auth", "status", "acme"]):
        done = site.type(*words)
        assert done.exit_code == 2
        assert "CONNECTOR_KEY" in done.output
    monkeypatch.setenv("CONNECTOR_KEY", KEY)
    assert site.type("run", "acme", "opportunity").exit_code == 0
    assert refreshes(site) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"access_token": "canary\r\nX: y"},
        {"access_token": "canary token"},
        {"access_token": "canary\u00e4"},
        {"access_token": {"canary": 1}},
        {"instance_url": ["canary"]},
        {"refresh_token": {"canary": 1}},
        {"refresh_token": ""},
        {"scope": {"canary": 1}, "id": ["canary"]},
    ],
)
def test_an_odd_answer_costs_nobody_the_sign_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    site.org.sessions.clients["app-of-acme"] = replace(site.org.sessions.clients["app-of-acme"], rotate=False)
    site.sign_in()
    site.org.revoke_tokens()
    with monkeypatch.context() as patch:
        real = grants._written
        patch.setattr(grants, "_written", lambda made, asked: real(made, asked) | more)
        try:
            site.describe()
        except EndpointError as error:
            assert "canary" not in str(error)  # noqa: PT017
    site.org.revoke_tokens()
    site.describe()


def test_a_secret_that_was_changed_ends_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the admin's to correct, and the refresh token is still good."""
    site.sign_in()
    site.org.revoke_tokens()
    monkeypatch.setenv("ACME_SECRET", "canary-old")
    with pytest.raises(Unauthorized, match="refused the client id or secret"):
        site.describe()
    monkeypatch.setenv("ACME_SECRET", SECRET)
    site.describe()


def test_the_instance_is_the_one_of_the_consent(site: Site) -> None:
    site.sign_in()
    site.org.revoke_tokens()
    real = grants._written
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    grants._written = lambda made, asked: real(made, asked) | {"instance_url": elsewhere}
    try:
        with pytest.raises(Unauthorized) as caught:
            site.describe()
    finally:
        grants._written = real
    assert f"sends calls on to {elsewhere} now; consent was given for {site.url}: the token was not used" in str(
        caught.value
    )
    assert "connector auth login acme" in str(caught.value)
    assert ("GET", "/services/data", False) not in site.org.calls[-1:]
    assert not site.org.billed
    site.describe()  # what was rotated meanwhile is known: nobody has to sign in for that


def test_another_host_is_never_sent_the_tokens_of_this_one(site: Site) -> None:
    site.sign_in()
    file = site.folder / "connections" / "acme.yaml"
    file.write_text(file.read_text().replace("127.0.0.1", "localhost"))
    with pytest.raises(Unauthorized, match="not signed in"):
        site.describe()


# ---- an assertion -----------------------------------------------------------------------------------------


def pems() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode(), public.decode()


PRIVATE, PUBLIC = pems()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONNECTOR_KEY", raising=False)
    monkeypatch.setenv("ACME_ID", "app-of-acme")
    clients = {"app-of-acme": {"secret": SECRET, "certificate": PUBLIC, "approved": ["sync@example.com"]}}
    users = [{"username": "sync@example.com"}, {"username": "else@example.com"}]
    with a_site(tmp_path, clients, users=users) as site:
        text = CONNECTION.format(name="acme", login=site.url, var="ACME", more="")
        auth = (
            'auth: {grant: jwt_bearer, client_id: "${env:ACME_ID}", username: sync@example.com, key: "${env:ACME_KEY}"}'
        )
        site.write()
        (tmp_path / "connections" / "acme.yaml").write_text(re.sub(r"auth: .*", auth, text))
        yield site


def key_file(folder: Path, text: str = PRIVATE, mode: int = 0o600) -> str:
    file = folder / "acme.pem"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize("how", ["text", "one line", "file"])
def test_a_key_signs_in_without_a_person(
    server: Site, monkeypatch: pytest.MonkeyPatch, how: str, tmp_path: Path
) -> None:
    key = {"text": PRIVATE, "one line": PRIVATE.replace("\n", "\\n"), "file": key_file(tmp_path)}[how]
    monkeypatch.setenv("ACME_KEY", key)
    done = server.type("run", "acme", "opportunity")
    assert done.exit_code == 0, done.output
    (form,) = server.forms
    assert form.keys() == {"grant_type", "assertion"}
    assert not list(kept_rows())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (lambda folder: key_file(folder, mode=0o640), "is open to others; chmod 600"),
        (lambda folder: str(folder / "nowhere.pem"), "cannot be read: No such file"),
        (lambda folder: key_file(folder, "canary"), "no RSA private key in PEM text"),
        (lambda folder: PUBLIC, "no RSA private key in PEM text"),
        (lambda folder: pems()[0], "refused the assertion for sync@example.com (invalid_grant: invalid assertion)"),
    ],
)
def test_a_key_that_is_none_is_one_sentence(
    server: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key, message
) -> None:
    monkeypatch.setenv("ACME_KEY", key(tmp_path))
    done = server.type("run", "acme", "opportunity")
    assert done.exit_code == 2
    assert message in done.output
    assert "BEGIN" not in done.output
    assert "canary" not in done.output


@pytest.mark.parametrize(
    ("login", "audience"),
    [
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com"),
        ("https://acme--uat.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://acme--x.scratch.my.salesforce.com", "https://test.salesforce.com"),
    ],
)
def test_an_assertion_names_the_host_that_signs_in_such_orgs(login: str, audience: str) -> None:
    assert signin._audience(login) == audience


# ---- at rest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pkce", ["true", "false"])
def test_nothing_secret_lies_in_plain_text_anywhere(site: Site, caplog: pytest.LogCaptureFixture, pkce: str) -> None:
    caplog.set_level("DEBUG")
    site.write(more=PASTED.replace("false", pkce))
    site.sign_in()
    seen = site.tokens()
    for fault in (None, 503, "lost_reply", None):
        site.org.revoke_tokens()
        if fault:
            site.org.fault(path="/services/oauth2/token", status=fault, times=1)
        site.type("run", "acme", "opportunity")
        site.type("log", "acme")
        site.type("auth", "status", "acme", "--json")
        seen |= site.tokens()
    assert len(seen) > 6 + (pkce == "true")
    seen.add(KEY)
    files = {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
    assert any(path.name == "state.db" for path in files)
    for secret in seen:
        assert not [path for path, data in files.items() if secret.encode() in data]
        assert not [text for text in site.said if secret in text]
        assert secret not in caplog.text


def a_vault(store: Store, connection: str = "acme", system: str = "i360", key: str = KEY, clock=None) -> Vault:
    scope = f"{connection}/{system}"
    return Vault(store.cache(scope), connection, system, clock or Quick(), {"CONNECTOR_KEY": key})


def test_a_text_is_read_with_the_key_it_was_kept_with_also_when_that_is_not_the_newest() -> None:
    newer = new_key()
    with closing(Store()) as store:
        a_vault(store).put("it", "canary")
        assert a_vault(store, key=f"{newer} {KEY}").get("it") == "canary"
        with pytest.raises(SetupError, match="CONNECTOR_KEY does not open"):
            a_vault(store, key=newer).get("it")
        a_vault(store, key=f"{newer} {KEY}").put("it", "again")
        assert a_vault(store, key=newer).get("it") == "again"


@pytest.mark.parametrize("other", [("beta", "i360", "it"), ("acme", "crm", "it"), ("acme", "i360", "that")])
def test_a_text_cannot_be_read_in_another_place(other: tuple[str, str, str]) -> None:
    connection, system, label = other
    with closing(Store()) as store:
        a_vault(store).put("it", "canary")
        store.cache(f"{connection}/{system}")[label] = store.cache("acme/i360")["it"]
        with pytest.raises(SetupError):
            a_vault(store, connection, system).get(label)


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_a_key_file_is_its_owners_alone(tmp_path: Path, mode: int, fine: bool) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(mode)
    with closing(Store()) as store:
        vault = Vault(store.cache("x"), "acme", "i360", Quick(), {"CONNECTOR_KEY_FILE": str(file)})
        if fine:
            vault.put("it", "text")
            assert a_vault(store).__class__(store.cache("x"), "acme", "i360", Quick(), {"CONNECTOR_KEY": KEY}).get("it")
        else:
            with pytest.raises(SetupError, match="open to others; chmod 600"):
                vault.ready()


def test_the_command_makes_keys(site: Site) -> None:
    made = {site.type("auth", "key").output.strip() for _ in range(2)}
    assert len(made) == 2
    for key in made:
        Vault({}, "acme", "i360", Quick(), {"CONNECTOR_KEY": key}).ready()


# ---- one at a time, on both databases ----------------------------------------------------------------------


class Moving:
    def __init__(self) -> None:
        self.at, self.slept = datetime(2026, 3, 2, 9, tzinfo=UTC), 0

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.at += timedelta(seconds=seconds)


def test_of_many_that_swap_one_succeeds(url: str) -> None:  # noqa: F811
    with closing(Store(url)) as store:
        cache, won, gate = store.cache("x"), [], threading.Barrier(8)

        def take(number: int) -> None:
            gate.wait()
            for old in (None, "first"):
                if cache.swap("lock", old, "first" if old is None else f"second of {number}"):
                    won.append((number, old))

        threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(old or "" for _, old in won) == ["", "first"]


def test_a_lock_keeps_others_out_and_that_of_a_dead_worker_ends(url: str) -> None:  # noqa: F811
    with closing(Store(url)) as store:
        clock, order = Moving(), []
        vault = a_vault(store, clock=clock)
        with suppress(KeyboardInterrupt), vault.alone("it"):
            order.append("in")
            raise KeyboardInterrupt
        with vault.alone("it"):
            order.append("again")
        assert (order, clock.slept) == (["in", "again"], 0)
        began = clock.at
        store.cache("acme/i360")["it lock"] = f"{(began + LEASE).timestamp()} of a worker that died"
        with vault.alone("it"):
            assert clock.at - began >= LEASE


def test_a_worker_that_was_killed_while_it_refreshed_delays_the_next_and_no_more(site: Site) -> None:
    """kill -9 between the question and its answer: the lock stands, and the next worker takes it over when it has run out."""
    site.sign_in()
    site.org.revoke_tokens()
    (((_, label), _),) = kept_rows()
    code = (
        "import os, signal\nfrom connector import project\nfrom connector.endpoints.wire import Wire\n"
        "def die(*a, **b): os.kill(os.getpid(), signal.SIGKILL)\n"
        "it = project.connect(*project.opened('acme'), project.SystemClock())['i360']\n"
        "real = Wire.send\n"
        "Wire.send = lambda self, m, a, **b: die() if 'oauth2/token' in a else real(self, m, a, **b)\n"
        f"it.describe(['{PROSPECT}'])\n"
    )
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(".connector/state.db")) as db:
        assert db.execute("SELECT value <> '' FROM cache WHERE key = ?", (f"{label} lock",)).fetchone() == (1,)
    clock = Later()
    site.describe(clock=clock)
    assert clock.ahead > LEASE.total_seconds() / 2
    assert refreshes(site) == 1


class Later(project.SystemClock):
    """Waits no time at all: it is later."""

    ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds * 10


# ---- what does not need it does not load it ----------------------------------------------------------------


def test_lint_and_runs_of_other_grants_load_no_cryptography(tmp_path: Path) -> None:
    with closing(Org(shapes=SHAPES, clients={"app-of-acme": SECRET})) as org, serve(org) as there:
        (tmp_path / "connections").mkdir()
        text = CONNECTION.format(name="acme", login=there, var="ACME", more="")
        (tmp_path / "connections" / "acme.yaml").write_text(text.replace("authorization_code", "client_credentials"))
        code = (
            "import sys\nfrom click.testing import CliRunner\nfrom connector.cli import main\n"
            "for words in (['lint'], ['run', 'acme', 'opportunity']):\n"
            "    done = CliRunner().invoke(main, words)\n    assert done.exit_code == 0, done.output\n"
            "assert not [name for name in sys.modules if name.startswith('cryptography')]\n"
        )
        environ = {**os.environ, "ACME_ID": "app-of-acme", "ACME_SECRET": SECRET}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr

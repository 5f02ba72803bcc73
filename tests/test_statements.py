"""Statements of mappings/tests/i360_classic.yaml that no example can show: how a connection signs in, and to which org."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from connector import examples, lint, project, source, spec
from connector.cli import main
from connector.endpoints.salesforce import Salesforce
from connector.errors import Unavailable
from connector.sandbox import Org, serve
from connector.state import Store

CONNECTION = """\
connection: acme
mapping: i360_classic
systems:
  hatch: {{adapter: sql, url: "sqlite:///hatch.db", create_tables: true}}
  i360:
    adapter: salesforce
    login: {login}
    auth:
      grant: client_credentials
      client_id: {id}
      client_secret: {secret}
"""
NAMED = {"id": '"${env:ACME_ID}"', "secret": '"${env:ACME_SECRET}"'}
PRODUCTION, SANDBOX = "https://acme.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com"


def write(folder: Path, login: str, **secrets: str) -> Path:
    file = folder / "connections" / "acme.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(CONNECTION.format(login=login, **(secrets or NAMED)), "utf-8")
    return file


def statements() -> dict[str, str]:
    tree = source.read(spec.shipped() / "tests" / "i360_classic.yaml").tree
    return {one["id"]: one["shown_by"] for one in tree["statements"]}


def test_every_statement_has_a_test_here() -> None:
    named = {found for name in globals() for found in re.findall(r"^test_(h\d+)_", name)}
    assert {name.lower() for name in statements()} == named


# ---- H1: signed in with credentials that stand in no file -------------------------------------------------


def test_h1_a_run_signs_in_with_secrets_that_the_connection_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [json.loads(file.read_text("utf-8")) for file in (spec.shipped() / "shapes").glob("*.json")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME_ID", "a client of acme")
    monkeypatch.setenv("ACME_SECRET", "canary-4f1c")
    with closing(Org(shapes=shapes, clients={"a client of acme": "canary-4f1c"})) as org, serve(org) as url:
        file = write(tmp_path, url)
        done = CliRunner().invoke(main, ["run", "acme", "opportunity"])
        assert done.exit_code == 0, done.output
        monkeypatch.setenv("ACME_SECRET", "canary-wrong")
        refused = CliRunner().invoke(main, ["run", "acme", "opportunity"])
    assert refused.exit_code == 2
    assert "refused the client id or secret" in refused.output
    kept = [file.read_text("utf-8"), done.output, refused.output]
    kept += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in kept if "canary" in text]


@pytest.mark.parametrize("at", ["id", "secret"])
def test_h1_a_secret_that_is_written_out_is_a_finding_and_is_not_echoed(tmp_path: Path, at: str) -> None:
    file = write(tmp_path, PRODUCTION, **{**NAMED, at: "canary-4f1c"})
    findings = lint.check(file)
    assert [(one.level, one.code, one.at[-1]) for one in findings] == [("error", "secret_in_file", f"client_{at}")]
    for text in (lint.render_text(findings, [source.read(file)]), lint.render_json(findings)):
        assert "secret_in_file" in text
        assert "canary" not in text
    done = CliRunner().invoke(main, ["run", str(file)])
    assert done.exit_code == 2
    assert "secret_in_file" in done.output
    assert "canary" not in done.output


def test_h1_no_mapping_has_a_place_for_a_secret() -> None:
    grammar = spec.grammar()["$defs"]
    assert set(grammar["mapping"]["properties"]["systems"]["properties"]) == {"home", "remote"}
    assert not {"auth", "login", "secret"} & {
        key for name in ("mapping", "object", "read") for key in grammar[name]["properties"]
    }


# ---- H3: a sandbox org instead of production --------------------------------------------------------------


@dataclass
class Nobody:
    """A transport that keeps what it is handed, and sends nothing."""

    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        raise httpx.ConnectError("nothing is sent here")


def sign_in(folder: Path, login: str) -> httpx.Request:
    """What a project with this login would ask first."""
    loaded = project.load(write(folder, login))
    secrets = {"ACME_ID": "id of acme", "ACME_SECRET": "secret of acme"}
    settings = project.secrets(loaded, loaded.connection.systems["i360"], secrets, ("systems", "i360"))
    nobody = Nobody()
    transport = httpx.MockTransport(nobody)
    with closing(Salesforce("i360", settings, clock=Quick(), transport=transport)) as adapter:
        assert nobody.asked == []
        with pytest.raises(Unavailable, match="no connection to"):
            adapter.describe(["i360__Prospect__c"])
    return nobody.asked[0]


class Quick(project.SystemClock):
    def sleep(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize("login", [PRODUCTION, SANDBOX])
def test_h3_one_value_of_the_connection_chooses_the_org(tmp_path: Path, login: str) -> None:
    asked = sign_in(tmp_path, login)
    assert (asked.method, str(asked.url)) == ("POST", f"{login}/services/oauth2/token")
    assert parse_qs(asked.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["id of acme"],
        "client_secret": ["secret of acme"],
    }


def test_h3_nothing_else_changes(tmp_path: Path) -> None:
    """The same mapping, the same request, another host."""
    mappings = [project.load(write(tmp_path, login)).mapping for login in (PRODUCTION, SANDBOX)]
    assert mappings[0] == mappings[1]
    assert sign_in(tmp_path, PRODUCTION).content == sign_in(tmp_path, SANDBOX).content


def test_h3_systems_are_made_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_args: object, **_named: object) -> None:
        raise AssertionError("nothing may be sent")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", nobody)
    loaded = project.load(write(tmp_path, SANDBOX))
    with closing(Store()) as store:
        made = project.connect(loaded, store, Quick(), {"ACME_ID": "x", "ACME_SECRET": "y"})
        for endpoint in made.values():
            endpoint.close()
    assert set(made) == {"hatch", "i360"}


@pytest.mark.parametrize("host", ["login", "test", "LOGIN"])
@pytest.mark.parametrize("ending", ["", ":443"])
def test_h3_the_shared_hosts_do_not_take_client_credentials(tmp_path: Path, host: str, ending: str) -> None:
    [finding] = lint.check(write(tmp_path, f"https://{host}.salesforce.com{ending}"))
    assert (finding.level, finding.code, finding.dotted) == ("error", "login_needs_my_domain", "systems.i360.login")
    assert "My Domain" in finding.hint


@pytest.mark.parametrize("login", [PRODUCTION, SANDBOX])
def test_h3_my_domains_are_clean(tmp_path: Path, login: str) -> None:
    assert lint.check(write(tmp_path, login)) == []


# ---- O27.c: a picklist that depends on nothing in one org -------------------------------------------------

NOT_DEPENDENT = """\
mapping: i360_lightning
shapes:
  i360core__Sales_Appointment__c:
    i360core__Status__c: {type: picklist, picklist: [Scheduled, Ran, Canceled]}
examples:
  - id: O27.c
    basis: decision
    says: The results are stored, their details fail with a clear message, and the rest of the sync goes on.
    now: "2025-03-10T15:00:00Z"
    given:
      remote:
        - {object: i360core__Staff__c, Id: a15S00000000001IAA, Name: Sam Rep, i360core__Email__c: sam@example.com, LastModifiedDate: "2025-01-05T09:00:00Z"}
        - {object: i360core__Sales_Appointment__c, Id: a12A00000000001IAA, i360core__Sales_Rep_1__c: a15S00000000001IAA, LastModifiedDate: "2025-03-10T14:50:00Z"}
      home: [{object: user, id: u1, email: sam@example.com}]
    steps: [sync]
    expect:
      rows: {home.result: 3, home.result_detail: 0, home.opportunity_result: 5, home.opportunity_result_detail: 7, home.job: 1}
      outcomes: [{record: Ran, outcome: failed, reason: not_dependent}, {record: a12A00000000001IAA, outcome: created}]
      log: [{level: error, code: not_dependent}]
      links: [{object: user, home: u1, remote: a15S00000000001IAA, made: auto}]
"""


def test_o27c_a_detail_that_is_not_dependent_stops_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "i360_lightning.yaml"
    file.write_text(NOT_DEPENDENT, "utf-8")
    suite = examples.load(file)
    visit = suite.shapes["i360core__Sales_Appointment__c"]
    detail = replace(visit.fields["i360core__Status_Detail__c"], controller=None)
    independent = replace(visit, fields={**visit.fields, detail.name: detail})
    (result,) = examples.run(replace(suite, shapes={**suite.shapes, visit.name: independent}))
    assert result.faults == ()

"""What is sent for `hatch`, before a server that has not read the api file: it knows the facts of Hatch's public API alone.

Bearer key; POST or PUT /v1/contacts, one contact; these fields and no others; upsert by phoneNumber, then email; an
externalID belongs to one opportunity; the answer carries data.id, 422 has errors[] with a pointer; 100 requests in 10 s.
"""

import sqlite3
from datetime import timedelta

import pytest
from click.testing import CliRunner
from http_server import Answer, Moving, serving

from connector import project, source, spec
from connector.cli import main
from connector.endpoints.http.adapter import Http
from connector.endpoints.http.api import calls
from connector.errors import Rejected, SetupError, Unauthorized
from connector.model import Change, Query, Where

FIELDS = "firstName lastName email phoneNumber source status externalID externalContactID externalCreatedAt externalUpdatedAt details"
API = source.read(spec.shipped() / "apis" / "hatch.yaml").tree
DANA = {
    "firstName": "Dana",
    "lastName": "Reyes",
    "email": "dana@example.com",
    "phoneNumber": "+15550100001",
    "source": "improveit360",
    "status": "Qualified",
    "externalID": "a02A00000000001IAA",
    "externalContactID": "a01P00000000001IAA",
    "externalCreatedAt": "2025-03-01T12:00:00Z",
    "externalUpdatedAt": "2025-03-10T14:50:00Z",
    "details": {"result": "Demoed, Not Sold", "amount": 12.5, "note": None},
}


class Hatch:
    """Its contacts by id. `sources` are those that have been configured; `lost`: so many answers do not arrive."""

    def __init__(self, clock):
        self.clock, self.contacts, self.sources, self.times, self.lost = clock, {}, {"improveit360"}, [], 0

    def __call__(self, asked):
        now = self.clock.now()
        self.times = [at for at in self.times if now - at < timedelta(seconds=10)] + [now]
        if len(self.times) > 100:
            return Answer({"error": "slow down"}, 429)
        if asked.headers.get("authorization") != "Bearer hatch-key-1":
            return Answer({"error": "unauthorized"}, 401)
        if asked.path != "/v1/contacts" or asked.query:
            return Answer({"error": "not found"}, 404)
        if asked.method not in ("POST", "PUT"):
            return Answer({"error": "method not allowed"}, 405)
        if asked.headers.get("content-type") != "application/json":
            return Answer({"error": "unsupported media type"}, 415)
        if wrong := self.wrong(asked.body):
            return Answer({"errors": wrong}, 422)
        known = self.saved(asked.body)
        if self.lost:
            self.lost -= 1
            return Answer(drop=True)
        return {"data": {"id": known}}

    def wrong(self, body):
        if not isinstance(body, dict):
            return [{"pointer": "/", "detail": "one contact is expected"}]
        found = [{"pointer": f"/{name}", "detail": "is not known"} for name in body.keys() - set(FIELDS.split())]
        found += [
            {"pointer": f"/{name}", "detail": "must be text"}
            for name, value in body.items()
            if name != "details" and not isinstance(value, str | None)
        ]
        if not isinstance(body.get("details", {}), dict):
            found.append({"pointer": "/details", "detail": "must be an object"})
        if body.get("source") not in {None, *self.sources}:
            found.append({"pointer": "/source", "detail": "is not configured"})
        return found

    def saved(self, body):
        for key in ("phoneNumber", "email"):
            for known, held in self.contacts.items():
                if body.get(key) and held.get(key) == body[key]:
                    held.update(body)
                    return known
        known = f"c{len(self.contacts) + 1}"
        self.contacts[known] = dict(body)
        return known


@pytest.fixture
def hatch():
    server = Hatch(Moving())
    with serving(server) as (url, _):
        settings = {"api": API, "url": url, "auth": {"api_key": "hatch-key-1"}}
        endpoint = Http("hatch", settings, clock=server.clock)
        yield server, endpoint
        endpoint.close()


def saved(endpoint, *contacts):
    return endpoint.write([Change("create", "contact", contact) for contact in contacts])


def test_a_contact_with_every_field_is_taken_and_its_id_known(hatch):
    server, endpoint = hatch
    (answer,) = saved(endpoint, DANA)
    assert (answer.id, answer.error) == ("c1", None)
    assert server.contacts == {"c1": DANA}


def test_the_same_contact_twice_is_one(hatch):
    server, endpoint = hatch
    answers = saved(endpoint, DANA, DANA | {"phoneNumber": "+15550100002"}, DANA | {"status": "Sold"})
    assert [answer.id for answer in answers] == ["c1", "c1", "c1"]
    assert endpoint.write([Change("replace", "contact", DANA, "c1")])[0].id == "c1"
    assert len(server.contacts) == 1


def test_a_lost_answer_is_no_second_contact(hatch):
    server, endpoint = hatch
    server.lost = 2
    assert [answer.id for answer in saved(endpoint, DANA)] == ["c1"]
    assert len(server.contacts) == 1


def test_a_contact_that_is_refused_says_where_and_holds_up_no_other(hatch):
    _, endpoint = hatch
    answers = saved(endpoint, DANA, DANA | {"source": "Radio"}, {"email": "lee@example.com"})
    assert [answer.id for answer in answers] == ["c1", None, "c2"]
    assert isinstance(answers[1].error, Rejected)
    assert "is not configured" in str(answers[1].error)
    assert answers[1].error.fields == ("/source",)


def test_no_more_than_a_hundred_calls_go_out_in_ten_seconds(hatch):
    server, endpoint = hatch
    answers = saved(endpoint, *({"email": f"p{n}@example.com"} for n in range(250)))
    assert [answer.error for answer in answers] == [None] * 250
    assert endpoint.calls == 250, "none of them was refused"
    assert sum(server.clock.waits) == 20


def test_another_key_is_not_taken(hatch):
    server, _ = hatch
    with serving(server) as (url, _asked):
        endpoint = Http("hatch", {"api": API, "url": url, "auth": {"api_key": "other"}}, clock=server.clock)
        with pytest.raises(Unauthorized):
            saved(endpoint, DANA)
        endpoint.close()


def test_nothing_can_be_read_back(hatch):
    _, endpoint = hatch
    assert calls(API) == {"contact": frozenset({"save"})}
    for where in ((), (Where("id", ("c1",)),)):
        with pytest.raises(SetupError, match="cannot be read"):
            list(endpoint.read([Query("contact", whole=True, where=where)]))


# ---- a whole run -----------------------------------------------------------------------------------------

MAPPING = """\
mapping: acme_hatch
version: 1
systems: {home: acme, remote: hatch}
objects:
  contact:
    direction: push
    read:
      person: {object: person, watch: {first: all}}
    triggers: [{changed: person}]
    write: contact
    match: {MATCH}
    fields:
      externalID: {template: "{{ person.id }}"}
      firstName: person.name
      phoneNumber: person.phone
"""
KEYED = "keys: [externalID], found: replace, missing: create"
CONNECTION = """\
connection: acme
mapping: acme_hatch.yaml
systems:
  acme: {adapter: sql, url: "sqlite:///acme.db"}
  hatch: {adapter: http, api: hatch, url: "URL", auth: {api_key: "${env:HATCH_API_KEY}"}}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Runs a connection of people in a database with Hatch, and gives the exit code; and the people, to be edited."""
    server = Hatch(Moving())
    people = sqlite3.connect(tmp_path / "acme.db", isolation_level=None)
    people.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, updated_at TEXT)")
    people.executemany(
        "INSERT INTO person VALUES (?, ?, ?, ?)",
        [(n, f"p{n}", f"+1555010{n:04}", "2026-01-01T00:00:00Z") for n in range(3)],
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HATCH_API_KEY", "hatch-key-1")
    monkeypatch.setattr(project.SystemClock, "sleep", lambda _self, _seconds: None)

    def run(match=KEYED):
        (tmp_path / "acme_hatch.yaml").write_text(MAPPING.replace("{MATCH}", f"{{{match}}}"))
        done = CliRunner().invoke(main, ["run", "acme.yaml"])
        return done.exit_code, done.output

    with serving(server) as (url, _):
        (tmp_path / "acme.yaml").write_text(CONNECTION.replace("URL", url))
        yield server, people, run
    people.close()


def test_a_run_saves_what_changed_and_only_that(site):
    server, people, run = site
    assert run()[0] == 0
    assert [(row["externalID"], row["firstName"]) for row in server.contacts.values()] == [
        ("0", "p0"),
        ("1", "p1"),
        ("2", "p2"),
    ]
    sent = len(server.times)
    assert run()[0] == 0
    assert len(server.times) == sent
    people.execute("UPDATE person SET name = 'Dana', updated_at = strftime('%Y-%m-%dT%H:%M:%SZ') WHERE id = 1")
    assert run()[0] == 0
    assert server.contacts["c2"]["firstName"] == "Dana"
    assert (len(server.contacts), len(server.times)) == (3, sent + 1)


@pytest.mark.parametrize("match", [KEYED, "by: link, found: skip, missing: create"])
def test_an_outage_is_made_up_for_without_a_second_contact(site, match):
    server, _, run = site
    server.lost = 1000
    code, said = run(match)
    assert code != 0, said
    server.lost = 0
    for _ in range(2):
        code, said = run(match)
    assert code == 0, said
    assert len(server.contacts) == 3

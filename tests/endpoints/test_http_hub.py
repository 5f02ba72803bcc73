"""A platform is described once: every system that is paired with it uses that description, and no code is written for a pair.

Statement I1 of the InTouch examples: two connections, intouch to partner and abc to partner, load three descriptions.
"""

import json
import time
from contextlib import ExitStack

import pytest
from click.testing import CliRunner
from http_server import Answer, serving

from connector import lint
from connector.cli import main

MAPPING = """\
mapping: club
version: 1
systems: {home: club, remote: partner}
schedule: {every: 15m}
objects:
  prospect:
    direction: push
    read:
      prospect: {object: prospect, watch: {first: all}}
    triggers: [{changed: prospect}]
    write: prospect
    match: {by: link, found: update, missing: create}
    fields:
      first_name: prospect.first_name
      email: prospect.email
"""
INTOUCH = """\
api: intouch
auth: {value: "Token {key}"}
objects:
  prospect:
    stamp: updated
    types: {updated: seconds}
    list: {call: GET /prospects, query: {since: "{since}", cursor: "{cursor}"}, items: rows, next: next, since: {as: seconds}}
"""
ABC = """\
api: abc
auth: {header: X-Session, value: "{token}", mint: {call: POST /session, json: {key: "{key}"}, token: session}}
objects:
  prospect:
    id: ref
    stamp: changed
    fields: attributes
    list: {call: POST /search, json: {kind: person, from: "{offset}"}, items: found, total: total}
"""
CONNECTION = """\
connection: {name}
mapping: ../mappings/club.yaml
systems:
  club: {{adapter: http, api: ../apis/{name}.yaml, url: "{club}", auth: {{key: "${{env:CLUB_KEY}}"}}}}
  partner: {{adapter: http, api: intouch_partner, url: "{partner}", auth: {{api_key: "${{env:PARTNER_KEY}}"}}}}
"""


class InTouch:
    def __init__(self):
        self.rows = [
            {"id": n, "first_name": name, "email": f"{name}@club.example", "updated": 1767225600}
            for n, name in enumerate(("Pat", "Sam"))
        ]

    def __call__(self, asked):
        assert asked.headers["authorization"] == "Token club-key-1"
        at = int(asked.query.get("cursor", 0))
        return {"rows": self.rows[at : at + 1], "next": at + 1 if at + 1 < len(self.rows) else None}


def abc(asked):
    if asked.path == "/session":
        return {"session": "session-1"} if asked.body == {"key": "club-key-1"} else Answer(None, 401)
    assert asked.headers["x-session"] == "session-1"
    found = [
        {
            "ref": "a-1",
            "changed": "2026-01-01T00:00:00+01:00",
            "attributes": {"first_name": "Lee", "email": "lee@abc.example"},
        }
    ]
    return {"found": found[asked.body["from"] :], "total": 1}


class Partner:
    """As its page of calls would have it: prospects are listed, and saved with or without an id."""

    def __init__(self):
        self.rows = {}

    def __call__(self, asked):
        if asked.headers.get("x-api-key") != "partner-key-1" or asked.path != "/v1/prospects":
            return Answer({"error": {"message": "no"}}, 401)
        if asked.method == "GET":
            return {"prospects": list(self.rows.values()), "next_cursor": None}
        known = asked.body.get("id") or f"P{len(self.rows) + 1}"
        self.rows[known] = self.rows.get(known, {}) | asked.body | {"id": known, "updated_at": "2026-01-02T00:00:00Z"}
        return Answer({"id": known}, 201)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    partner, intouch = Partner(), InTouch()
    with ExitStack() as stack:
        address, _ = stack.enter_context(serving(partner))
        for folder in ("mappings", "apis", "connections"):
            (tmp_path / folder).mkdir()
        (tmp_path / "mappings" / "club.yaml").write_text(MAPPING)
        for name, text, server in (("intouch", INTOUCH, intouch), ("abc", ABC, abc)):
            club, _ = stack.enter_context(serving(server))
            (tmp_path / "apis" / f"{name}.yaml").write_text(text)
            (tmp_path / "connections" / f"{name}.yaml").write_text(
                CONNECTION.format(name=name, club=club, partner=address)
            )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CLUB_KEY", "club-key-1")
        monkeypatch.setenv("PARTNER_KEY", "partner-key-1")
        yield partner, intouch


def connector(*words):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_i1_a_platform_that_is_described_once_is_paired_with_two_others(hub):
    partner, home = hub
    connector("lint")
    for name in ("intouch", "abc"):
        connector("run", name)
    people = {row["first_name"]: row["email"] for row in partner.rows.values()}
    assert people == {"Pat": "Pat@club.example", "Sam": "Sam@club.example", "Lee": "lee@abc.example"}
    before = json.dumps(partner.rows)
    for name in ("intouch", "abc"):
        connector("run", name)
    assert json.dumps(partner.rows) == before
    home.rows[1] |= {"email": "sam@example.com", "updated": int(time.time())}
    connector("run", "intouch")
    assert [row["email"] for row in partner.rows.values()] == ["Pat@club.example", "sam@example.com", "lee@abc.example"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("write: prospect", "write: staff", "partner has no call to create or save staff"),
        ("write: prospect", "write: prospects", "partner has no call to create or save prospects"),
        ("prospect: {object: prospect,", "prospect: {object: member,", "club has no call to list member"),
        ("direction: push", "direction: disabled", None),
    ],
)
def test_lint_holds_a_mapping_against_the_calls_that_its_systems_have(hub, tmp_path, before, after, said):
    (tmp_path / "mappings" / "club.yaml").write_text(MAPPING.replace(before, after))
    found = lint.check(tmp_path / "connections" / "abc.yaml")
    assert [(each.code, each.dotted) for each in found if each.level == "error"] == (
        [("missing_capability", f"systems.{said.split()[0]}.api")] if said else []
    )
    assert said is None or any(said in each.message for each in found)

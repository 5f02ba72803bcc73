"""What OCC's polls and syncs cost in billed calls, counted by the sandbox org. Each one starts from the stored state, as cron does it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector import canon, project, shape, spec
from connector.sandbox import Org, fixtures, serve
from connector.source import parse
from connector.state import Store

ROOT = Path(__file__).parent.parent
SHAPES = ROOT / "mappings" / "shapes"
AUTH = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
STAFF, APPOINTMENT = "i360core__Staff__c", "i360core__Sales_Appointment__c"
HOME = """
CREATE TABLE user (id INTEGER PRIMARY KEY, crm_id TEXT, name TEXT, email TEXT);
CREATE TABLE stage (id TEXT PRIMARY KEY, improveit360_appointment_id TEXT, result TEXT, result_detail TEXT, opportunities JSON, updated_at TEXT);
CREATE TABLE document (id TEXT PRIMARY KEY, name TEXT, file_name TEXT, url TEXT, improveit360_appointment_id TEXT, created_at TEXT);
CREATE TABLE person (id TEXT PRIMARY KEY, email TEXT, name TEXT, updated_at TEXT);
"""
UPSERTS = """
mapping: people
version: 1
about: People by their e-mail.
systems: {home: occ, remote: i360}
schedule: {every: 15m}
objects:
  person:
    direction: push
    read:
      person: {object: person, watch: {field: updated_at, first: all}}
    triggers: [{changed: person}]
    write: i360__Prospect__c
    match: {keys: [i360__Primary_Email__c], found: update, missing: create}
    fields:
      i360__Primary_Email__c: person.email
      i360__Primary_Last_Name__c: person.name
"""


class Clock:
    at = datetime(2026, 3, 2, tzinfo=UTC)

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def org(clock):
    with closing(Org(shapes=fixtures.shapes(SHAPES), clock=clock.now, api_limit=1_000_000)) as made:
        yield made


@pytest.fixture
def home(tmp_path):
    with closing(sqlite3.connect(tmp_path / "home.db", isolation_level=None)) as made:
        made.executescript(HOME)
        yield made


@pytest.fixture
def billed(org, clock, home, tmp_path):
    """(what was billed, counts by object) of one act of a Runner, a quarter of an hour after the last."""
    with serve(org) as url, closing(Store(f"sqlite:///{tmp_path}/state.db")) as store:
        systems = {
            "occ": {"adapter": "sql", "url": f"sqlite:///{tmp_path}/home.db", "create_tables": True},
            "i360": {"adapter": "salesforce", "login": url, "auth": AUTH},
        }

        def act(verb, text=None):
            mapping = spec.mapping(
                parse(text or (ROOT / "mappings" / "i360_lightning.yaml").read_text("utf-8"), "m").tree
            )
            named = {"connection": "acme", "mapping": mapping.mapping, "enabled": True, "systems": systems}
            found = project.Project(tmp_path / "c.yaml", tmp_path, mapping, spec.connection(named), shape.load(SHAPES))
            clock.at += timedelta(minutes=15)
            before, endpoints = org.billed, project.connect(found, store, clock)
            runs = verb(project.Runner(found, endpoints, store, clock))
            for endpoint in endpoints.values():
                endpoint.close()
            assert {run.status for run in runs} == {"ok"}, runs
            assert sum(run.calls for run in runs) == org.billed - before
            return org.billed - before, {run.object: run.counts for run in runs}

        yield act


def sync(runner):
    return runner.sync()


def staffed(org, home, appointments=0):
    """Forty reps whom both systems know by their e-mail, and so many appointments of theirs."""
    reps = [str(canon.id18(f"a15S{n:011}")) for n in range(40)]
    org.load(
        {"object": STAFF, "Id": rep, "Name": f"Rep {n}", "i360core__Email__c": f"rep{n}@example.com"}
        for n, rep in enumerate(reps)
    )
    home.executemany("INSERT INTO user (email) VALUES (?)", [(f"rep{n}@example.com",) for n in range(40)])
    made = ({"object": APPOINTMENT, "i360core__Sales_Rep_1__c": reps[n % 40]} for n in range(appointments))
    org.load(made)


def test_a_poll_of_forty_reps_with_nothing_changed_costs_one_call(org, home, billed):
    staffed(org, home)
    billed(sync)
    cost, counts = billed(lambda runner: runner.run(["job"]))
    assert (cost, counts["job"]["read"]) == (1, 0)


@pytest.mark.parametrize(("appointments", "pages"), [(0, 0), (4_100, 2)])
def test_a_sync_costs_three_calls_and_its_further_pages(org, home, billed, appointments, pages):
    staffed(org, home, appointments)
    billed(sync)  # learns what the objects look like
    cost, counts = billed(sync)
    assert list(counts) == ["result", "opportunity_result", "user", "job"]
    assert cost == 3 + pages


def test_a_thousand_upserts_cost_two_calls(clock, org, home, billed):
    """One that looks for them, and one that writes: five collections of 200."""
    billed(lambda runner: runner.run(), UPSERTS)  # what the object looks like
    now = canon.text(clock.now() + timedelta(minutes=1))
    people = [(str(n), f"p{n}@example.com", "Ada", now) for n in range(1_000)]
    home.executemany("INSERT INTO person VALUES (?, ?, ?, ?)", people)
    cost, counts = billed(lambda runner: runner.run(), UPSERTS)
    assert (cost, counts["person"]["created"]) == (2, 1_000)
    home.execute("UPDATE person SET name = 'Grace', updated_at = ?", [canon.text(clock.now() + timedelta(minutes=1))])
    cost, counts = billed(lambda runner: runner.run(), UPSERTS)
    assert (cost, counts["person"]["updated"]) == (2, 1_000)

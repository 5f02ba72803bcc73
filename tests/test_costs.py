"""What a thousand upserts cost in billed calls, counted by the sandbox org. Each run starts from the stored state, as cron does it."""

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
HOME = "CREATE TABLE person (id TEXT PRIMARY KEY, email TEXT, name TEXT, updated_at TEXT)"
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
    """(what was billed, counts by object) of one run, a quarter of an hour after the last."""
    with serve(org) as url, closing(Store(f"sqlite:///{tmp_path}/state.db")) as store:
        systems = {
            "occ": {"adapter": "sql", "url": f"sqlite:///{tmp_path}/home.db", "create_tables": True},
            "i360": {"adapter": "salesforce", "login": url, "auth": AUTH},
        }

        def run():
            mapping = spec.mapping(parse(UPSERTS, "people.yaml").tree)
            named = {"connection": "acme", "mapping": mapping.mapping, "enabled": True, "systems": systems}
            found = project.Project(tmp_path / "c.yaml", tmp_path, mapping, spec.connection(named), shape.load(SHAPES))
            clock.at += timedelta(minutes=15)
            before, endpoints = org.billed, project.connect(found, store, clock)
            runs = project.Runner(found, endpoints, store, clock).run()
            for endpoint in endpoints.values():
                endpoint.close()
            assert {run.status for run in runs} == {"ok"}, runs
            assert sum(run.calls for run in runs) == org.billed - before
            return org.billed - before, {run.object: run.counts for run in runs}

        yield run


def test_a_thousand_upserts_cost_two_calls(clock, org, home, billed):
    """One that looks for them, and one that writes: five collections of 200."""
    billed()  # what the object looks like
    now = canon.text(clock.now() + timedelta(minutes=1))
    people = [(str(n), f"p{n}@example.com", "Ada", now) for n in range(1_000)]
    home.executemany("INSERT INTO person VALUES (?, ?, ?, ?)", people)
    cost, counts = billed()
    assert (cost, counts["person"]["created"]) == (2, 1_000)
    home.execute("UPDATE person SET name = 'Grace', updated_at = ?", [canon.text(clock.now() + timedelta(minutes=1))])
    cost, counts = billed()
    assert (cost, counts["person"]["updated"]) == (2, 1_000)

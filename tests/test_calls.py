"""What an org bills for, counted by the sandbox org. The table on the page about operating says the same, to the call."""

import re
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector import canon, project, shape, spec
from connector.endpoints.salesforce import Salesforce
from connector.model import Change, Query, Window
from connector.sandbox import Org, fixtures, serve
from connector.source import parse
from connector.state import Store

ROOT = Path(__file__).parent.parent
SHAPES = ROOT / "mappings" / "shapes"
START = datetime(2026, 3, 2, tzinfo=UTC)
PROSPECT, APPOINTMENT, PROJECT = "i360__Prospect__c", "i360__Appointment__c", "i360__Project__c"
SURNAME, EMAIL = "i360__Primary_Last_Name__c", "i360__Primary_Email__c"
EDITED = {PROSPECT: SURNAME, APPOINTMENT: "i360__Comments__c", PROJECT: "Name"}
AUTH = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
HOME = """
CREATE TABLE contact_note (id TEXT PRIMARY KEY, external_contact_id TEXT, text TEXT, updated_at TEXT);
CREATE TABLE task (id TEXT PRIMARY KEY, external_contact_id TEXT, title TEXT, due TEXT, updated_at TEXT);
"""


class Clock:
    def __init__(self):
        self.at = START

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


def told(what):
    """The number in the row of the table that begins so."""
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    (found,) = re.findall(rf"^\| {re.escape(what)}[^|]*\| ([\d,]+) \|$", text, re.MULTILINE)
    return int(found.replace(",", ""))


@contextmanager
def adapter(org, clock):
    with serve(org) as url, closing(Salesforce("i360", {"login": url, "auth": AUTH}, clock=clock)) as made:
        made.describe([PROSPECT])
        yield made


def test_a_thousand_creates_and_updates(org, clock):
    with adapter(org, clock) as made:
        before = org.billed
        written = made.write([Change("create", PROSPECT, {SURNAME: f"Ada {n}"}) for n in range(1_000)])
        assert org.billed - before == told("1,000 creates")
        before = org.billed
        made.write([Change("update", PROSPECT, {SURNAME: "Grace"}, one.id) for one in written])
        assert org.billed - before == told("1,000 updates")
    assert [row[SURNAME] for row in org.rows(PROSPECT)] == ["Grace"] * 1_000


def test_an_initial_load(org, clock):
    org.load({"object": PROSPECT, SURNAME: f"Ada {n}"} for n in range(100_000))
    org.bulk(1)
    with adapter(org, clock) as made:
        before, found, last = org.billed, 0, ("", "")
        for page in made.read([Query(PROSPECT, (SURNAME, EMAIL), window=Window(None, clock.now()))]):
            places = [(row["SystemModstamp"], row["Id"]) for row in page.rows]
            assert places == sorted(places)
            assert not places or last < places[0]
            found, last = found + len(places), places[-1] if places else last
        assert found == 100_000
        assert org.billed - before == told("an initial load of 100,000 rows") <= 10


# ---- a day of Hatch ------------------------------------------------------------------------------------------


@contextmanager
def hatch(org, clock, folder):
    """A poll as cron starts it: nothing but the state and the home database is left of the one before."""
    mapping = spec.mapping(parse((ROOT / "mappings" / "i360_classic.yaml").read_text("utf-8"), "m").tree)
    with closing(sqlite3.connect(folder / "hatch.db")) as home:
        home.executescript(HOME)
    with serve(org) as url, closing(Store(f"sqlite:///{folder}/state.db")) as store:
        systems = {
            "hatch": {"adapter": "sql", "url": f"sqlite:///{folder}/hatch.db", "create_tables": True},
            "i360": {"adapter": "salesforce", "login": url, "auth": AUTH},
        }
        named = {"connection": "hatch", "mapping": "i360_classic", "enabled": True, "systems": systems}
        found = project.Project(folder / "c.yaml", folder, mapping, spec.connection(named), shape.load(SHAPES))

        def poll():
            endpoints = project.connect(found, store, clock)
            runs = project.Runner(found, endpoints, store, clock).run()
            for endpoint in endpoints.values():
                endpoint.close()
            assert {run.status for run in runs} == {"ok"}, runs
            return {run.object: run.counts for run in runs}

        poll()  # the first one also learns what the objects look like
        yield poll


def people(count):
    for n in range(count):
        person = str(canon.id18(f"a01P{n:011}"))
        yield {"object": PROSPECT, "Id": person, SURNAME: f"Ada {n}"}
        yield {"object": APPOINTMENT, "Id": str(canon.id18(f"a02A{n:011}")), "i360__Prospect__c": person}
        yield {"object": PROJECT, "Id": str(canon.id18(f"a03J{n:011}")), "Name": f"{n}", "i360__Prospect__c": person}


def day(org, clock, poll, changes=()):
    """96 polls; the changes, (object, id, fields), are made in equal shares before each."""
    changes, before, done = list(changes), org.billed, 0
    for n in range(1, 97):
        clock.at += timedelta(minutes=15)
        for name, known, fields in changes[len(changes) * (n - 1) // 96 : len(changes) * n // 96]:
            org.edit(name, known, fields)
        clock.at += timedelta(seconds=1)
        done += poll()["opportunity"]["read"]
    return org.billed - before, done


def test_a_day_without_changes(org, clock, tmp_path):
    org.load(people(50))
    clock.at += timedelta(hours=1)
    with hatch(org, clock, tmp_path) as poll:
        assert day(org, clock, poll) == (told("a day of 96 polls"), 0)


def test_a_day_with_five_hundred_changes(org, clock, tmp_path):
    """Prospects, appointments and projects in turn: each poll has some of each, so that both kinds need their prospects."""
    org.load(people(200))
    clock.at += timedelta(hours=1)
    changes = [(row["object"], row["Id"], {EDITED[row["object"]]: "new"}) for row in people(200)][:500]
    with hatch(org, clock, tmp_path) as poll:
        calls, read = day(org, clock, poll, changes)
        assert read >= 330  # a prospect that comes along with its appointment is not read by itself
        assert calls == told("the same day with 500 changes")


# ---- One Click Contractor ------------------------------------------------------------------------------------

OCC = """
CREATE TABLE user (id TEXT PRIMARY KEY, crm_id TEXT, name TEXT, email TEXT);
CREATE TABLE stage (id TEXT PRIMARY KEY, improveit360_appointment_id TEXT, result TEXT, result_detail TEXT, opportunities JSON, updated_at TEXT);
CREATE TABLE document (id TEXT PRIMARY KEY, improveit360_appointment_id TEXT, name TEXT, file_name TEXT, url TEXT, created_at TEXT);
"""
STAFF, VISIT = "i360core__Staff__c", "i360core__Sales_Appointment__c"


@pytest.fixture
def occ(org, clock, tmp_path):
    """Runs one verb of a Runner, as a process of its own would."""
    mapping = spec.mapping(parse((ROOT / "mappings" / "i360_lightning.yaml").read_text("utf-8"), "m").tree)
    with closing(sqlite3.connect(tmp_path / "occ.db")) as home, home:
        home.executescript(OCC)
        home.executemany(
            "INSERT INTO user (id, email) VALUES (?, ?)", [(f"u{n}", f"rep{n}@example.com") for n in range(40)]
        )
    reps = [str(canon.id18(f"a15S{n:011}")) for n in range(40)]
    org.load(
        {"object": STAFF, "Id": rep, "Name": f"Rep {n}", "i360core__Email__c": f"rep{n}@example.com"}
        for n, rep in enumerate(reps)
    )
    org.load({"object": VISIT, "Name": f"A-{n}", "i360core__Sales_Rep_1__c": rep} for n, rep in enumerate(reps))
    clock.at += timedelta(hours=1)
    with serve(org) as url, closing(Store(f"sqlite:///{tmp_path}/state.db")) as store:
        systems = {
            "occ": {"adapter": "sql", "url": f"sqlite:///{tmp_path}/occ.db", "create_tables": True},
            "i360": {"adapter": "salesforce", "login": url, "auth": AUTH},
        }
        named = {"connection": "occ", "mapping": "i360_lightning", "enabled": True, "systems": systems}
        found = project.Project(tmp_path / "c.yaml", tmp_path, mapping, spec.connection(named), shape.load(SHAPES))

        def act(verb, *names):
            endpoints, before = project.connect(found, store, clock), org.billed
            runs = getattr(project.Runner(found, endpoints, store, clock), verb)(*names)
            for endpoint in endpoints.values():
                endpoint.close()
            assert {run.status for run in runs} == {"ok"}, runs
            return org.billed - before, sum(run.counts["created"] for run in runs)

        yield act


def test_a_sync_by_hand_costs_three_calls(occ):
    """The picklists' objects, the staff, the appointments; the first one also learns what the others look like."""
    occ("sync")
    assert occ("sync") == (told("its `connector sync`"), 0)


def test_a_sync_costs_a_call_for_each_further_page(occ, org, clock):
    (rep, *_) = [row["Id"] for row in org.rows(STAFF)]
    org.load({"object": VISIT, "Name": f"B-{n}", "i360core__Sales_Rep_1__c": rep} for n in range(4_960))
    clock.at += timedelta(hours=1)
    assert occ("sync")[1] > 5_000
    assert occ("sync") == (told("the same with 5,000 appointments"), 0)


def test_a_poll_with_forty_linked_reps_costs_one_call(occ, clock):
    assert occ("sync")[1] > 40
    occ("run")
    clock.at += timedelta(minutes=15)
    assert occ("run") == (told("a poll of `i360_lightning`"), 0)


# ---- upserts -------------------------------------------------------------------------------------------------

PEOPLE = "CREATE TABLE person (id TEXT PRIMARY KEY, email TEXT, name TEXT, updated_at TEXT)"
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


@pytest.fixture
def home(tmp_path):
    with closing(sqlite3.connect(tmp_path / "home.db", isolation_level=None)) as made:
        made.executescript(PEOPLE)
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

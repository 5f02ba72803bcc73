"""One connection that pulls and pushes between a database and a sandbox org, in this process and on a clock of its own.

Everything that a run finds is older than what any later run reads again, so that nothing which was lost comes back by itself.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from faults.proxy import Proxy, standing_before

from connector import canon, project, shape, spec
from connector.endpoints import sql
from connector.engine import Run
from connector.model import Outcome
from connector.sandbox import Org, fixtures, serve
from connector.source import parse
from connector.state import Store

ROOT = Path(__file__).parent.parent.parent
NAMES = "i360__Prospect__c i360__Appointment__c i360__Project__c i360__Production_Activity__c Note Task Contact User"
PAGE = 3
START = datetime(2025, 3, 10, 12, tzinfo=UTC)
STRUCK = START + timedelta(hours=1)
LATER = timedelta(minutes=16)
SECRET = "canary-secret-4711"
SHAPES = fixtures.merged(
    [json.loads((ROOT / "mappings" / "shapes" / f"{name}.json").read_text("utf-8")) for name in NAMES.split()],
    {"Contact": {"fields": {"Key__c": {"type": "string", "externalId": True, "unique": True, "idLookup": True}}}},
)
ORGS = [s for s in SHAPES if s["name"] in NAMES.split()]
PERSON = """
  person:
    direction: push
    read: {person: {object: person, watch: {field: updated_at, first: none}}}
    triggers: [{changed: person}]
    write: Contact
    match: {keys: [Key__c], found: update, missing: create}
    fields: {Key__c: person.id, LastName: person.name}
"""
WAYS = {"pull": ["opportunity"], "push": ["contact_note", "task", "person"]}
MADE = {"opportunity": "opportunities", "contact_note": "notes", "task": "tasks", "person": "people"}
"""Object -> the part of the end state that it makes."""
HOME = """
CREATE TABLE contact_note (id TEXT PRIMARY KEY, external_contact_id TEXT, text TEXT, updated_at TEXT);
CREATE TABLE task (id TEXT PRIMARY KEY, external_contact_id TEXT, title TEXT, due TEXT, updated_at TEXT);
CREATE TABLE person (id TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
"""


def known(prefix: str, n: int) -> str:
    return str(canon.id18(f"{prefix}{n:011d}"))


def at(minutes: float) -> str:
    return canon.text(START + timedelta(minutes=minutes))


def changed() -> Iterator[dict[str, Any]]:
    """Five appointments, four projects, nine prospects: page boundaries in each, and prospects that they share."""

    def row(name: str, id_: str, stamp: float, **fields: Any) -> dict[str, Any]:
        return {"object": name, "Id": id_, "CreatedDate": at(-9000), "LastModifiedDate": at(stamp), **fields}

    for n in range(1, 10):
        yield row("i360__Prospect__c", known("a01P", n), 3 + n, i360__Primary_Last_Name__c=f"P{n}")
    for n in range(1, 6):
        of = {"i360__Prospect__c": known("a01P", n)} if n < 5 else {}
        yield row("i360__Appointment__c", known("a02A", n), 4 + n // 2, i360__Comments__c=f"A{n}", **of)
    for n in range(1, 5):
        yield row("i360__Project__c", known("a03J", n), 5 + n, Name=f"J{n}", i360__Prospect__c=known("a01P", n + 2))
        yield row(
            "i360__Production_Activity__c", known("a04X", n), -9000, Name=f"X{n}", i360__Project__c=known("a03J", 1)
        )


class Clock:
    """Moves when somebody waits, so that waiting costs nothing; and who waits may find the system up again."""

    def __init__(self) -> None:
        self.at, self.waited = START, lambda: None

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.waited()


class Log(logging.Handler):
    """Everything that anybody logs, at any level."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class World:
    def __init__(self, folder: Path, org: Org, clock: Clock, proxy: Proxy) -> None:
        self.org, self.clock, self.proxy = org, clock, proxy
        self.store, self.home = Store(), sqlite3.connect(folder / "home.db", isolation_level=None)
        self.home.executescript("PRAGMA journal_mode=WAL;" + HOME)
        text = (ROOT / "mappings" / "i360_classic.yaml").read_text("utf-8") + PERSON
        systems = {
            "hatch": {"adapter": "sql", "url": f"sqlite:///{folder}/home.db", "create_tables": True},
            "i360": {
                "adapter": "salesforce",
                "login": proxy.url,
                "auth": {"grant": "client_credentials", "client_id": "sandbox", "client_secret": SECRET},
            },
        }
        named = {"connection": "faults", "mapping": "i360_classic", "enabled": True, "systems": systems}
        mapping = spec.mapping(parse(text, "m").tree)
        self.project = project.Project(
            folder / "c.yaml", folder, mapping, spec.connection(named), shape.load(ROOT / "mappings/shapes")
        )
        self.outcomes: list[Outcome] = []
        self.hatch: Any = None
        """The database's endpoint: it is no part of what is tried here, and costs as much to make as a run."""
        self._build()
        self.kept = [self._copied(each) for each in self._databases()]

    def _databases(self) -> list[sqlite3.Connection]:
        state = self.store._engine.raw_connection().driver_connection
        return [self.org.store.connection, self.home, state]

    @staticmethod
    def _copied(one: sqlite3.Connection) -> sqlite3.Connection:
        made = sqlite3.connect(":memory:", check_same_thread=False)
        one.backup(made)
        return made

    def reset(self) -> None:
        """As it is an hour after the first run, before the one that something happens to."""
        for kept, own in zip(self.kept, self._databases(), strict=True):
            kept.backup(own)
        self.org.faults.waiting.clear()
        self.org.late.__init__(self.org.schema, self.org.store)  # what was held back of the case before
        self.clock.at = STRUCK
        self.outcomes = []

    def _build(self) -> None:
        self.home.execute(f"INSERT INTO task VALUES ('t1', '{known('a01P', 1)}', 'Call', '2027-01-12', '{at(-1)}')")
        self.org.load(row for row in changed() if row["object"].endswith("Prospect__c"))
        self.org.load([{"object": "Contact", "Key__c": "p1", "LastName": "Before"}])
        for _ in range(2):
            assert {run.status for run in self.run("pull") + self.run("push")} == {"ok"}
            self.home.execute(f"UPDATE task SET updated_at = '{canon.text(self.clock.at + timedelta(seconds=1))}'")
            self.clock.at += timedelta(minutes=1)
        assert [row["Subject"] for row in self.org.rows("Task")] == ["Call"]
        self.org.load(changed())
        notes = [(f"n{n}", known("a01P", 1 + n % 2), "again" if n > 2 else f"note {n}", at(5 + n)) for n in range(1, 6)]
        tasks = [(f"t{n}", known("a01P", n), f"Task {n}", "2027-01-12", at(5 + n)) for n in range(2, 5)]
        self.home.executemany("INSERT INTO contact_note VALUES (?, ?, ?, ?)", notes)
        self.home.executemany("INSERT INTO task VALUES (?, ?, ?, ?, ?)", tasks)
        self.home.execute(f"UPDATE task SET title = 'Call back', updated_at = '{at(6.5)}' WHERE id = 't1'")
        self.home.executemany(
            "INSERT INTO person VALUES (?, ?, ?)", [(f"p{n}", f"P{n}", at(5 + n)) for n in range(1, 5)]
        )

    def run(self, way: str) -> list[Run]:
        """As a new process would: nothing of the org is known but what the store has kept."""
        endpoints = project.connect(self.project, self.store, self.clock)
        endpoints["hatch"] = self.hatch = self.hatch or endpoints["hatch"]
        told = lambda _flow, outcomes: self.outcomes.extend(outcomes)  # noqa: E731
        try:
            return project.Runner(self.project, endpoints, self.store, self.clock, told=told).run(WAYS[way])
        finally:
            endpoints["i360"].close()

    def state(self) -> dict[str, Any]:
        """What two histories agree about: an id that a system gave is replaced by what stands behind it."""
        notes = {row["Id"]: f"{row['ParentId']} {row['Title']}: {row['Body']}" for row in self.org.rows("Note")}
        tasks = {row["Id"]: f"{row['WhatId']} {row['Subject']} {row['ActivityDate']}" for row in self.org.rows("Task")}
        people = {row["Id"]: f"{row['Key__c']} {row['LastName']}" for row in self.org.rows("Contact")}
        asked = self.home.execute("SELECT * FROM opportunity")
        names = [column[0] for column in asked.description]
        rows = [dict(zip(names, row, strict=True)) for row in asked]
        held = {str(row.pop("id")): json.dumps(row, sort_keys=True) for row in rows}
        said = notes | tasks | people | held
        with self.store.reading() as db:
            ask = db.exec_driver_sql
            links = ask("SELECT object, home, remote FROM link JOIN stream ON stream.id = stream_id")
            links = sorted((name, said.get(home, home), said.get(remote, remote)) for name, home, remote in links)
            left = [ask(f"SELECT count(*) FROM {what}").scalar() for what in ("intent", "outcome WHERE open")]
        parts = {"opportunities": held, "notes": notes, "tasks": tasks, "people": people}
        return {name: sorted(part.values()) for name, part in parts.items()} | {"links": links, "left": left}

    def bytes(self) -> bytes:
        """What the file of the state would hold."""
        return self._databases()[-1].serialize()


@contextmanager
def opened(folder: Path) -> Iterator[World]:
    sql_page, sql.PAGE = sql.PAGE, 2  # so that what is pushed has page boundaries, too
    clock = Clock()
    org = Org(
        SHAPES, clock=clock.now, page_size=PAGE, api_limit=10**9, clients={"sandbox": SECRET}, token_seconds=10**9
    )
    try:
        with serve(org) as url, standing_before(url) as proxy:
            world = World(folder, org, clock, proxy)
            with closing(world.home), closing(world.store), closing(world.hatch):
                yield world
    finally:
        sql.PAGE = sql_page
        org.close()

"""A project folder with an org and a database, half an hour before the run that is going to be killed, and what is there in the end.

In it: prospects that appointments and projects share, page boundaries inside each trigger (one between two rows of one
stamp), an appointment and a task that failed in an earlier run and can be written now, and one note three times, twice on one page. All
changes are older than what any later run re-reads, so that nothing which was lost comes back by itself.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connector import canon
from connector.demo.hatch import HOME, SYSTEMS
from connector.sandbox import Org, fixtures, serve

SHAPES = fixtures.shapes(fixtures.recorded_shapes())
PAGE = 4
START = datetime(2025, 3, 10, 12, tzinfo=UTC)
"""When the earlier run was. The one that is killed starts an hour later."""
KILLED = START + timedelta(hours=1)
LATER = timedelta(minutes=1)

CONNECTION = (
    """\
connection: kill
mapping: i360_classic
enabled: true
schedule: {{every: 15m}}
"""
    + SYSTEMS
)
OLD = datetime(2025, 3, 1, tzinfo=UTC)


def at(minutes: float) -> str:
    return canon.text(START + timedelta(minutes=minutes))


def prospect(n: int) -> str:
    return str(canon.id18(f"a01P{n:011d}"))


def appointment(n: int) -> str:
    return str(canon.id18(f"a02A{n:011d}"))


def project(n: int) -> str:
    return str(canon.id18(f"a03J{n:011d}"))


APPOINTMENTS = {0: 12, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 1, 7: None, 8: 11}
"""Appointment -> its prospect. 0 is parked; 8 does not change, so that prospect 11 stands for itself."""
PROJECTS = {1: 1, 2: 2, 3: 3, 4: 6, 5: 7, 6: 2, 7: None}
STAMPS = [8, 1, 2, 3, 9, 4, 5, 6, 10, 7, 11]
"""Changed prospects in the order of their stamps: those that stand for themselves are on every page."""


def rows(stamps: dict[str, str], prospects: int = 12) -> Iterator[dict[str, Any]]:
    made = canon.text(OLD)

    def row(name: str, known: str, **fields: Any) -> dict[str, Any]:
        changed = stamps.get(known, made)
        seen = f"as of {changed}"
        return {"object": name, "Id": known, "CreatedDate": made, "LastModifiedDate": changed} | {
            key: value or seen for key, value in fields.items() if value != "none"
        }

    for n in range(1, prospects + 1):
        yield row("i360__Prospect__c", prospect(n), i360__Primary_Last_Name__c="", i360__Primary_First_Name__c=f"P{n}")
    for n, of in APPOINTMENTS.items():
        yield row(
            "i360__Appointment__c",
            appointment(n),
            i360__Comments__c="",
            i360__Prospect__c=prospect(of) if of else "none",
        )
    for n, of in PROJECTS.items():
        yield row("i360__Project__c", project(n), Name="", i360__Prospect__c=prospect(of) if of else "none")
    for n in range(5):
        of = project(1 + n % 2)
        yield row("i360__Production_Activity__c", str(canon.id18(f"a04X{n:011d}")), Name="", i360__Project__c=of)


class Zygote:
    """The process that forks the runs."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, url: str, now: datetime, **more: Any) -> dict[str, Any]:
        return self.ask({"folder": str(folder), "url": url, "now": now.isoformat(), **more})

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the driver has ended"
        return dict(json.loads(line))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class World:
    """One folder with its org on real HTTP. Runs are processes."""

    def __init__(self, folder: Path, zygote: Zygote, org: Org, url: str, store: str = "") -> None:
        self.folder, self.zygote, self.org, self.url, self.store = folder, zygote, org, url, store
        (folder / "connections" / "kill.yaml").write_text(CONNECTION.format(url=url), encoding="utf-8")

    def run(self, now: datetime, zygote: Zygote | None = None, **more: Any) -> dict[str, Any]:
        self.org.set_clock(max(now, self.org.now()) if self.org.frozen else now)
        return (zygote or self.zygote).run(self.folder, self.url, now, state=self.store, **more)

    def done(self, now: datetime, **more: Any) -> list[dict[str, Any]]:
        """A run that is not disturbed: what it says of each object."""
        answer = self.run(now, **more)
        assert answer["code"] in (0, 1), answer["said"]
        return list(json.loads(answer["said"]))

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db, db:
            for statement in statements:
                db.execute(statement)

    def edit_prospect(self, n: int, stamp: str) -> None:
        self.org.load([next(row for row in rows({prospect(n): stamp}) if row["Id"] == prospect(n))])

    # ---- what is there in the end ----

    def state(self) -> dict[str, Any]:
        """Everything that two histories must agree about: ids that systems give are replaced by what stands behind them."""
        notes = {row["Id"]: f"Note {row['ParentId']} {row['Title']}: {row['Body']}" for row in self.org.rows("Note")}
        tasks = {
            row["Id"]: f"Task {row['WhatId']} {row['Subject']} {row['ActivityDate']}" for row in self.org.rows("Task")
        }
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db:
            db.row_factory = sqlite3.Row
            held = [dict(row) for row in db.execute("SELECT * FROM opportunity")]
        opportunities = {str(row.pop("id")): row for row in held}
        names = {known: f"opportunity {row['external_id']}" for known, row in opportunities.items()}
        said = notes | tasks | names
        engine = sa.create_engine(self.store or f"sqlite:///{self.folder}/.connector/state.db", poolclass=sa.NullPool)
        with engine.connect() as db:
            ask = db.exec_driver_sql
            of = "FROM {} JOIN stream ON stream.id = stream_id".format
            links = ask(f"SELECT object, key, home, remote, active, made {of('link')}")
            links = sorted((o, k, names.get(h, h), said.get(r, r), a, m) for o, k, h, r, a, m in links)
            parked = sorted(map(tuple, ask(f"SELECT object, read, record, outcome, reason {of('outcome')} WHERE open")))
            cursors = dict(map(tuple, ask("SELECT object, cursor FROM stream")))
            (intents,) = ask("SELECT count(*) FROM intent").one()
            (running,) = ask("SELECT count(*) FROM run WHERE finished IS NULL").one()
        return {
            "opportunities": sorted(json.dumps(row, sort_keys=True) for row in opportunities.values()),
            "notes": sorted(notes.values()),
            "tasks": sorted(tasks.values()),
            "links": links,
            "parked": parked,
            "intents": intents,
            "running": running,
            "watermarks": {
                name: {way: one["watermark"] for way, one in json.loads(text).items()} for name, text in cursors.items()
            },
        }


def differences(expected: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """Word by word, for a person to read."""
    said = []
    for name, want in expected.items():
        have = got[name]
        if have == want:
            continue
        if isinstance(want, list):
            lost, more = list(want), list(have)
            for one in have:
                if one in lost:
                    lost.remove(one)
                    more.remove(one)
            said += [f"{name}: lost {one!s:.300}" for one in lost] + [f"{name}: more {one!s:.300}" for one in more]
        else:
            said.append(f"{name}: {have} instead of {want}")
    return said


@contextmanager
def opened(folder: Path, zygote: Zygote, store: str = "") -> Iterator[World]:
    org = Org(shapes=SHAPES, path=folder / "org.db", page_size=PAGE)
    try:
        with serve(org) as url:
            yield World(folder, zygote, org, url, store)
    finally:
        org.close()


@contextmanager
def copied(base: Path, folder: Path, zygote: Zygote, store: str = "") -> Iterator[World]:
    shutil.copytree(base, folder)
    try:
        with duplicate(store) as own, opened(folder, zygote, own) as world:
            yield world
    finally:
        shutil.rmtree(folder)


@contextmanager
def duplicate(store: str) -> Iterator[str]:
    """A schema of PostgreSQL with the tables of another; ids come from the sequences of the other. SQLite is copied as a file."""
    if not store:
        yield ""
        return
    name = f"kill_{uuid.uuid4().hex}"
    engine = sa.create_engine(store, poolclass=sa.NullPool)
    with engine.begin() as db:
        db.exec_driver_sql(f"CREATE SCHEMA {name}")
        for table in sa.inspect(db).get_table_names():
            db.exec_driver_sql(f"CREATE TABLE {name}.{table} (LIKE {table} INCLUDING ALL)")
            db.exec_driver_sql(f"INSERT INTO {name}.{table} SELECT * FROM {table}")
    try:
        own = sa.make_url(store).update_query_dict({"options": f"-c search_path={name}"})
        yield own.render_as_string(hide_password=False)
    finally:
        with engine.begin() as db:
            db.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")


def build(folder: Path, zygote: Zygote, store: str = "") -> None:
    """The folder up to the run that is to be killed."""
    (folder / "connections").mkdir(parents=True)
    with opened(folder, zygote, store) as world:
        world.sql("PRAGMA journal_mode=WAL")  # one that stands still while it reads holds up no writer
        world.sql(*HOME.strip().splitlines())
        world.org.set_clock(START - timedelta(minutes=30))
        world.org.load(rows({}))
        world.done(START - timedelta(minutes=30))  # activates; makes the table

        # The earlier run: two opportunities and a note and a task arrive, an appointment and a task fail.
        earlier = {appointment(n): at(-8 - n) for n in (0, 1)} | {project(1): at(-7)}
        world.org.set_clock(START - timedelta(minutes=5))
        world.org.load(rows(earlier))
        world.sql(
            f"CREATE TRIGGER no BEFORE INSERT ON opportunity WHEN new.external_id = '{appointment(0)}' "
            "BEGIN SELECT raise(ABORT, 'not now'); END",
            _note("n0", prospect(1), "first", -6),
            _task("t0", prospect(1), "Call", -6),
            _task("t9", prospect(13), "Too early", -6),  # whose prospect is not there yet
        )
        earlier_runs = world.done(START)
        assert [run["counts"]["failed"] for run in earlier_runs] == [1, 0, 1], earlier_runs
        world.sql("DROP TRIGGER no")

        # What the run that is to be killed finds.
        stamps = {prospect(n): at(5 + 2 * k) for k, n in enumerate(STAMPS)}
        stamps |= {appointment(n): at(5 + n) for n in range(1, 8)} | {appointment(5): at(9)}  # 4 and 5 in one second
        stamps |= {project(n): at(8 + n) for n in range(1, 8)}
        world.org.set_clock(START + timedelta(minutes=45))
        world.org.load(rows(earlier | stamps, 13))
        world.sql(
            *(_note(f"n{n}", prospect(2), "again" if n > 2 else f"note {n}", 10 + n) for n in range(1, 6)),
            *(_task(f"t{n}", prospect(n), f"Task {n}", 10 + n) for n in range(1, 4)),
            f"UPDATE task SET title = 'Call back', updated_at = '{at(14.5)}' WHERE id = 't0'",
        )
    assert not list(folder.glob("org.db-*"))


def _note(known: str, of: str, text: str, minutes: float) -> str:
    return f"INSERT INTO contact_note VALUES ('{known}', '{of}', '{text}', '{at(minutes)}')"


def _task(known: str, of: str, title: str, minutes: float) -> str:
    return f"INSERT INTO task VALUES ('{known}', '{of}', '{title}', '2027-01-12', '{at(minutes)}')"

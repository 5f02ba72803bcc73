"""The two systems of an example as they are in production: home is SQLite, remote the sandbox org or what an api file describes.

It is the org if shapes are recorded of what the mapping reads and writes there, else the api file that a connection beside
the mapping names for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connector import canon, plan, spec
from connector.endpoints.http.adapter import Http
from connector.endpoints.http.api import compiled
from connector.endpoints.memory import Fault
from connector.endpoints.salesforce import Salesforce
from connector.endpoints.sql import Sql
from connector.errors import SpecError
from connector.examples import apiserver
from connector.examples.play import Play
from connector.model import Change, Endpoint, Flow, Query, Read, Row, Written
from connector.sandbox import Org, serve
from connector.source import read

STAMPS = ("LastModifiedDate", "SystemModstamp")


@contextmanager
def systems(play: Play, home_rows: list[Row], remote_rows: list[Row]) -> Iterator[tuple[Endpoint, Endpoint]]:
    """(home, remote) holding the given rows, both with what the steps and checks of an example need."""
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        remote = open_.enter_context((_org if play.described() else _api)(play, remote_rows))
        settings = {"url": f"sqlite:///{folder / 'home.db'}", "create_tables": True}
        home = _Home(Sql(play.project.mapping.systems.home, settings, clock=play.clock), play)
        open_.callback(home.close)
        home.fill(home_rows)
        for fault in play.given.get("faults", ()):
            if fault["system"] == "home":
                home.fail(fault)
        yield home, remote


# ---- remote: a Salesforce org ------------------------------------------------------------------------------


@contextmanager
def _org(play: Play, rows: list[Row]) -> Iterator[Endpoint]:
    with ExitStack() as open_:
        org = Org(shapes=play.suite.describes.values(), clock=play.clock.now)
        open_.callback(org.close)
        _load(org, rows)
        for fault in play.given.get("faults", ()):
            if fault["system"] == "remote":
                status, verb = {"unavailable": 503}.get(fault["answer"], fault["answer"]), fault.get("verb", "write")
                org.fault(fault["object"], verb=verb, status=status, times=fault.get("times"))
        url = open_.enter_context(serve(org))
        auth = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
        named = play.project.mapping.systems.remote
        remote = _Remote(Salesforce(named, {"login": url, "auth": auth}, clock=play.clock), org, play)
        open_.callback(remote.close)
        yield remote


def _load(org: Org, rows: list[Row]) -> None:
    try:
        org.load(rows)
    except ValueError as error:
        raise SpecError(f"a real org cannot hold this (only: memory): {error}") from None


@dataclass
class _Remote:
    inner: Salesforce
    org: Org
    play: Play

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def objects(self) -> list[str]:
        return list(self.play.suite.describes)

    @property
    def queries(self) -> list[str]:
        return self.org.queries

    def rows(self, name: str) -> list[Row]:
        return self.org.rows(name)

    def edit(self, name: str, values: Row) -> None:
        known, stamp = canon.id18(values.get("Id")), canon.text(self.play.clock.now())
        if any(row["Id"] == known for row in self.rows(name)):
            rest = {key: value for key, value in values.items() if key not in ("Id", "CreatedDate", *STAMPS)}
            self.org.edit(name, known, rest)
        else:
            _load(self.org, [{"object": name, "CreatedDate": stamp, **values, **dict.fromkeys(STAMPS, stamp)}])

    def delete(self, name: str, known: str) -> None:
        self.org.delete(name, known)


# ---- remote: a system with an api file ---------------------------------------------------------------------


@contextmanager
def _api(play: Play, rows: list[Row]) -> Iterator[Endpoint]:
    tree, named = _described(play), play.project.mapping.systems.remote
    auth = compiled(tree).auth
    secrets = dict.fromkeys(auth.secrets if auth else (), "sandbox")
    faults = [
        Fault(fault["object"], **{key: fault[key] for key in ("answer", "match", "verb", "times") if key in fault})
        for fault in play.given.get("faults", ())
        if fault["system"] == "remote"
    ]
    system = apiserver.System(tree, play.clock, rows, secrets, faults=faults)
    with apiserver.serve(system) as url:
        inner = Http(named, {"url": url, "api": tree, "auth": secrets}, clock=play.clock)
        with closing(inner):
            yield _Described(inner, system)


def _described(play: Play) -> Any:
    """The api file of the mapping's remote system, by the first connection beside the mapping that names one."""
    mapping, remote = Path(play.suite.mapping_source.name).resolve(), play.project.mapping.systems.remote
    for folder in (mapping.parent / "connections", mapping.parent.parent / "connections"):
        for file in sorted(folder.glob("*.yaml")):
            tree = read(file).tree
            system = tree.get("systems", {}).get(remote, {})
            if "api" in system and spec.mapping_file(tree.get("mapping", ""), folder).resolve() == mapping:
                return read(spec.mapping_file(system["api"], folder, "apis")).tree
    raise SpecError(
        f"{remote}: no shapes are recorded of its objects, and no connection of {mapping.stem} says api: for it; "
        f"there would be one in {mapping.parent / 'connections'} or {mapping.parent.parent / 'connections'}"
    )


@dataclass
class _Described:
    inner: Http
    system: apiserver.System

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def objects(self) -> list[str]:
        return self.system.objects

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        return self.system.counts

    @property
    def queries(self) -> list[str]:
        return []

    def rows(self, name: str) -> list[Row]:
        return self.system.rows(name)

    def edit(self, name: str, values: Row) -> None:
        self.system.edit(name, values)

    def delete(self, name: str, known: str) -> None:
        self.system.delete(name, known)


# ---- home --------------------------------------------------------------------------------------------------


@dataclass
class _Home:
    inner: Sql
    play: Play
    named: set[str] = field(default_factory=set)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def objects(self) -> list[str]:
        return sa.inspect(self.inner.engine).get_table_names()

    def _flows(self) -> list[Flow]:
        """Both ways of every object, open or not: their tables are there either way."""
        project = self.play.project
        rules = (project.mapping, project.connection, project.shapes)
        made = [plan.flow(*rules, name, plan.one_way(project.mapping, name)) for name in project.mapping.objects]
        return [each for flow in made for each in (flow, *(child.flow for child in flow.children))]

    def fill(self, rows: list[Row]) -> None:
        written: set[str] = set()
        read: dict[str, Read] = {}
        for flow in self._flows():
            if flow.direction == "pull":
                written.add(flow.write)
                self.inner.prepare(flow.write, flow.columns, [".".join(key.field) for key in flow.match.keys])
                with self.inner.engine.begin() as tx:  # a table of somebody else's may hold a key twice
                    for index in sa.inspect(self.inner.engine).get_indexes(flow.write):
                        tx.exec_driver_sql(f'DROP INDEX "{index["name"]}"')
                    # and columns that no rule fills
                    mapped = {name for column in flow.columns for name in (column.name, column.path[0])}
                    own = {key for row in rows if row["object"] == flow.write for key in row} - {"object", "id"}
                    for key in sorted(own - mapped):
                        tx.exec_driver_sql(f'ALTER TABLE "{flow.write}" ADD COLUMN "{key}"')
                self.inner.prepare(flow.write, flow.columns, [".".join(key.field) for key in flow.match.keys])
                if any(not str(row["id"]).isdecimal() for row in rows if row["object"] == flow.write):
                    self._named(flow)
            else:
                read |= {one.object: one for one in flow.reads.values()}
        events = [
            step["event"] for step in self.play.example.get("steps", ()) if isinstance(step, dict) and "event" in step
        ]
        given = [*rows, *({"object": event["object"], **event["record"]} for event in events)]
        for name in {*read, *(row["object"] for row in rows)} - written:
            watch = read[name].watch if name in read else None
            stamp = watch.field if watch else None
            paths = [*(read[name].paths if name in read else ()), *([stamp] if stamp else ())]
            self._table(name, [row for row in given if row["object"] == name], paths)
        for row in rows:
            self.put(row["object"], {key: value for key, value in row.items() if key != "object"}, new=True)

    def _named(self, flow: Flow) -> None:
        """The table anew, with ids that are text: rows of an example name each other by them."""
        old = sa.Table(flow.write, sa.MetaData(), autoload_with=self.inner.engine)
        made = sa.Column("id", sa.Text, primary_key=True, server_default=sa.text("(lower(hex(randomblob(8))))"))
        columns = [sa.Column(column.name, _known(column.type)) for column in old.columns if column.name != "id"]
        old.drop(self.inner.engine)
        sa.Table(flow.write, sa.MetaData(), made, *columns).create(self.inner.engine)
        self.inner.prepare(flow.write, flow.columns, [".".join(key.field) for key in flow.match.keys])
        self.named.add(flow.write)

    def _table(self, name: str, rows: list[Row], paths: list[str]) -> None:
        columns = dict.fromkeys((*(key for row in rows for key in row), *paths))
        kinds = {key: {type(row[key]) for row in rows if row.get(key) is not None} for key in columns}
        table = sa.Table(name, sa.MetaData(), sa.Column("id", sa.Text, primary_key=True))
        for key in columns:
            if key not in ("object", "id"):
                table.append_column(sa.Column(key, _column(kinds[key])))
        table.create(self.inner.engine)

    def put(self, name: str, values: Row, *, new: bool = False) -> None:
        """A row as given; in a table that numbers its rows it gets another id, which is remembered."""
        known = self.play.known("home", name, values.get("id"))
        if not new and any(str(row["id"]) == known for row in self.rows(name)):
            self.edit(name, values)
            return
        numbered = name not in self.named and name in {flow.write for flow in self._flows() if flow.direction == "pull"}
        rest = {key: value for key, value in values.items() if key != "id"} if numbered else values
        answer = self.inner.write([Change("create", name, rest)])[0]
        if answer.error:
            raise answer.error
        self.play.ids[f"home.{name}", str(values["id"])] = str(answer.id)

    def rows(self, name: str) -> list[Row]:
        if name not in self.objects:
            return []
        return [row for page in self.inner.read([Query(name, whole=True)]) for row in page.rows]

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """What the example says is refused, the database refuses: by a trigger, as often as it is said."""
        answers = self.inner.write(changes)
        refused = [answer for answer in answers if answer.error and "refused by" in str(answer.error)]
        for fault in self.faults if refused else ():
            fault["left"] -= len(refused)
            if fault["left"] <= 0:
                self._sql(
                    f'DROP TRIGGER IF EXISTS "{fault["name"]} INSERT"',
                    f'DROP TRIGGER IF EXISTS "{fault["name"]} UPDATE"',
                )
        return answers

    def fail(self, fault: Mapping[str, Any]) -> None:
        name, table = f"fault {len(self.faults)}", fault["object"]
        self.faults.append({"name": name, "left": fault.get("times", 10**9)})
        when = " AND ".join(f"NEW.\"{key}\" = '{value}'" for key, value in fault.get("match", {}).items()) or "1"
        said = f"SELECT RAISE(ABORT, 'refused by {name}: {fault['answer']}')"
        for verb in ("INSERT", "UPDATE"):
            self._sql(f'CREATE TRIGGER "{name} {verb}" BEFORE {verb} ON "{table}" WHEN {when} BEGIN {said}; END')

    def _sql(self, *statements: str) -> None:
        with self.inner.engine.begin() as tx:
            for statement in statements:
                tx.exec_driver_sql(statement)

    def edit(self, name: str, values: Row) -> None:
        known = self.play.known("home", name, values["id"])
        row = next((row for row in self.rows(name) if str(row["id"]) == known), None)
        if row is None:
            self.put(name, values, new=True)
            return
        rest = {key: value for key, value in values.items() if key != "id"}
        stamp = self.inner.keys(name).stamp
        self.inner.write(
            [Change("update", name, rest | ({stamp: canon.text(self.play.clock.now())} if stamp else {}), row["id"])]
        )

    def delete(self, name: str, known: str) -> None:
        table = sa.Table(name, sa.MetaData(), autoload_with=self.inner.engine)
        with self.inner.engine.begin() as tx:
            tx.execute(sa.delete(table).where(sa.cast(table.c.id, sa.Text) == known))


def _known(type_: Any) -> Any:
    return sa.Text() if isinstance(type_, sa.types.NullType) else type_


def _column(kinds: set[type]) -> Any:
    if kinds <= {str}:
        return sa.Text
    return sa.Boolean if kinds == {bool} else sa.Integer if kinds == {int} else sa.JSON

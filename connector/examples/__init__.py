"""Run example files (`connector test`): given rows, steps through the real engine, and what must have come of it.

An example runs on memory endpoints; those with whole rows can run again over HTTP, against the sandbox org and SQLite.
Nothing here knows a vendor: mappings, rows, faults and expectations are data. The format is `$defs/examples` of schema.json.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from connector import canon, lint, plan, schedule, shape, spec
from connector.endpoints.memory import Fault, Memory
from connector.errors import SpecError
from connector.model import Change, Endpoint, Flow, Outcome, Row, Shape, Skip, Written
from connector.project import Project, Runner, refused
from connector.source import At, Source, parse, read
from connector.state import Cursor, Lease, Link, Store, Stream
from connector.values import ABSENT, Problem, compile_value

MOST_KILLS = 400
"""A run that has more I/O points than this does not end."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one example went: `faults` says what differs, empty when it passed."""

    id: str
    says: str
    line: int
    faults: tuple[str, ...] = ()
    over: str = "memory"


@dataclass(frozen=True, slots=True)
class Suite:
    """An example file with the mapping that it is about."""

    source: Source
    mapping_source: Source
    describes: Mapping[str, Any]
    shapes: Mapping[str, Shape]

    @property
    def tree(self) -> Any:
        return self.source.tree


def load(path: Path, mapping: Source | None = None) -> Suite:
    """An example file, linted with its mapping. Raises SpecError with every finding."""
    source = read(path)
    refused(lint.check_source(source), [source])
    file = spec.mapping_file(source.tree["mapping"], path.parent)
    mapping = mapping or read(file)
    describes = _described(file.parent / "shapes", source.tree.get("shapes", {}))
    shapes = {name: shape.shape_of(node) for name, node in describes.items()}
    refused(lint.check_source(mapping, shapes=shapes), [mapping])
    return Suite(source, mapping, describes, shapes)


def run(suite: Suite, *, http: bool = False, only: Callable[[str], bool] = lambda _id: True) -> Iterator[Result]:
    """Every example in order; over HTTP only those that a real org can hold."""
    for index, example in enumerate(suite.tree["examples"]):
        if only(example["id"]) and not (http and not _over_http(example)):
            line = suite.source.span(("examples", index)).line
            faults = tuple(_faults(suite, example, http=http))
            yield Result(example["id"], example["says"], line, faults, "http" if http else "memory")


def _over_http(example: Any) -> bool:
    return example.get("only") != "memory" and "value" not in example and "row" not in example.get("given", {})


def _faults(suite: Suite, example: Any, *, http: bool) -> Iterator[str]:
    if "value" in example:
        yield from _value_faults(example)
    elif "row" in example.get("given", {}):
        yield from _mapping_faults(suite, example)
    elif "crash" not in _steps(example):
        with Play(suite, example, http=http) as play:
            play.go()
            yield from play.faults()
    else:
        for kill in range(1, MOST_KILLS):
            with Play(suite, example, http=http, kill=kill) as play:
                play.go()
                yield from (f"killed at point {kill}: {fault}" for fault in play.faults())
                if not play.killed:
                    return


def _steps(example: Any) -> list[Any]:
    return list(example.get("steps") or spec.default("example", "steps"))


# ---- a value, a row ---------------------------------------------------------------------------------------


def _value_faults(example: Any) -> Iterator[str]:
    problems: list[Problem] = []
    value = compile_value(example["value"], ("value",), problems)
    got = value.evaluate(example.get("given", {}).get("row", {}), None)
    got = None if got is ABSENT else got
    yield from (f"{problem.message}" for problem in problems)
    if "result" in example["expect"]:
        yield from _differences(example["expect"]["result"], got, "result", exactly=True)


def _mapping_faults(suite: Suite, example: Any) -> Iterator[str]:
    project = _project(suite, suite.tree.get("connection", {}))
    flow = plan.flow(*_rules(project), example["object"], plan.one_way(project.mapping, example["object"]))
    row: Row = {}
    for name, rule in flow.reads.items():
        given = example["given"]["row"].get(name, [] if rule.many else None)
        memory = Memory("given", clock=_Clock(datetime.min.replace(tzinfo=UTC)), shapes=suite.shapes)
        one = [memory.canonical(rule.object, item) for item in given] if isinstance(given, list) else given
        row[name] = memory.canonical(rule.object, given) if isinstance(given, dict) else one
    made = flow.record(row, None)
    if isinstance(made, Skip):
        yield f"the record is skipped: {made.reason} ({made.message})"
        return
    expect = example["expect"]
    yield from _compare(expect.get("fields", {}), made, "", _Rules(suite, example["object"]))
    yield from (f"{name}: is made, and must not be" for name in expect.get("without", ()) if _has(made, name))


def _rules(project: Project) -> tuple[spec.Mapping, spec.Connection, Mapping[str, Shape]]:
    return project.mapping, project.connection, project.shapes


def _project(suite: Suite, settings: Mapping[str, Any]) -> Project:
    """The example's connection, in the connection's own grammar. Nothing is asked of a file."""
    mapping = spec.mapping(suite.mapping_source.tree)
    tree = {"connection": "example", "mapping": mapping.mapping, "systems": {}, **settings}
    return Project(Path(suite.source.name), Path(), mapping, spec.connection(tree), suite.shapes)


# ---- steps ------------------------------------------------------------------------------------------------


@dataclass
class _Clock:
    """Stands still but for `wait`, and for whoever sleeps."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class _Killed(BaseException):
    pass


class _WatchedStore(Store):
    """Tells before and after each transaction that writes: a kill lies between commits, never inside one."""

    on_commit: Callable[[str], None] = staticmethod(lambda _what: None)

    @contextmanager
    def writing(self, lease: Lease | None = None) -> Iterator[Any]:
        self.on_commit("commit")
        with super().writing(lease) as tx:
            yield tx
        self.on_commit("committed")


class _Watched:
    """An endpoint over HTTP, with what was written through it, and told before and after each call."""

    def __init__(self, inner: Endpoint) -> None:
        self.inner = inner
        self.written: list[Change] = []
        self.on_call: Callable[[str], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, queries: Any) -> Iterator[Any]:
        for page in self.inner.read(queries):
            self._tell("read")
            yield page

    def write(self, changes: Any) -> list[Written]:
        self._tell("write")
        answers = self.inner.write(changes)
        self.written += [
            replace(change, id=answer.id) for change, answer in zip(changes, answers, strict=True) if not answer.error
        ]
        self._tell("wrote")
        return answers

    def _tell(self, what: str) -> None:
        if self.on_call:
            self.on_call(what)


@dataclass
class Play:
    """One example being played: the two systems, the store, the clock, and what was seen."""

    suite: Suite
    example: Any
    http: bool = False
    kill: int = 0
    killed: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    selected: dict[str, list[str]] = field(default_factory=dict)
    windows: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    findings: list[lint.Finding] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    workers: int = 1
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.given = self.example.get("given", {})
        self.clock = _Clock(canon.parse(self.example.get("now", "2025-01-01T00:00:00Z")))
        self.settings = _merged(self.suite.tree.get("connection", {}), self.given.get("connection", {}))
        self.store = _WatchedStore()
        self.open = ExitStack()
        self.home: Any
        self.remote: Any
        home, remote = self.rows("home"), self.rows("remote")
        self.project = _project(self.suite, self.settings)
        names = self.project.mapping.systems
        if self.http:
            from connector.examples.http import systems  # noqa: PLC0415 - the sandbox org is an extra

            made = self.open.enter_context(systems(self, home, remote))
            self.home, self.remote = _Watched(made[0]), _Watched(made[1])
        else:
            self.home = Memory(names.home, home, clock=self.clock, shapes=self.local(), page=50)
            self.remote = Memory(names.remote, remote, clock=self.clock, shapes=self.suite.shapes, page=50)
            for fault in self.given.get("faults", ()):
                named = {key: fault[key] for key in ("answer", "match", "verb", "times") if key in fault}
                getattr(self, fault["system"]).faults.append(Fault(fault["object"], **named))
        self.endpoints = {names.home: self.home, names.remote: self.remote}
        self.begin()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.open.close()
        self.store.close()

    def local(self) -> dict[str, Shape]:
        """Shapes of home objects: what the file itself says of names that no recorded shape has."""
        return {}

    def rows(self, side: str) -> list[Row]:
        return [self.row(item) for item in self.given.get(side, ())]

    def row(self, item: Any) -> Row:
        named = self.suite.tree.get("rows", {})
        if isinstance(item, str):
            return copy.deepcopy(dict(named[item]))
        if "like" in item:
            return {**copy.deepcopy(named[item["like"]]), **{k: v for k, v in item.items() if k != "like"}}
        return dict(item)

    def begin(self) -> None:
        """Streams as the example finds them: activated, last successful run, links."""
        activated = canon.instant(self.given.get("activated")) or canon.text(self.clock.now())
        success = canon.instant(self.given.get("last_success"))
        slot = canon.parse(success) if success else None
        for name in self.project.mapping.objects:
            self.store.place(self.stream(name), Cursor(success, activated), slot)
        self.watermarks = {name: self.stream(name).cursor.watermark for name in self.project.mapping.objects}
        for n, node in enumerate(self.given.get("links", ())):
            ends = {side: str(canon.id18(node[side])) for side in ("home", "remote")}
            made = node.get("made", "auto")
            rules = self.project.mapping.objects.get(node["object"])
            source = "home" if rules and rules.direction == "push" else "remote"
            key = json.dumps([ends[source]] if rules and rules.match.by else ["given", n])
            link = Link(key, **ends, active=node.get("active", True), made=made)
            self.store.put_links(self.stream(node["object"]).id, [link], self.clock.now())

    def stream(self, name: str) -> Stream:
        return self.store.stream("example", name)

    # ---- steps ----

    def go(self) -> None:
        for step in _steps(self.example):
            verb, what = (step, None) if isinstance(step, str) else next(iter(step.items()))
            STEPS[verb](self, what)

    def runner(self) -> Runner:
        self.workers += 1
        return Runner(
            self.project,
            self.endpoints,
            self.store,
            self.clock,
            owner=f"worker {self.workers}",
            alive=lambda owner: owner not in self.dead,
            told=self.told,
        )

    def told(self, flow: Flow, outcome: Outcome) -> None:
        self.outcomes.append((flow.object, outcome))
        self.selected.setdefault(flow.reads[outcome.read].object, []).append(outcome.record)

    def watch(self, flows: Iterable[Flow]) -> None:
        """`selected` speaks of the last run that read an object."""
        for flow in flows:
            for read_ in flow.reads.values():
                self.selected[read_.object] = []

    def run(self, name: str | None) -> None:
        runner = self.runner()
        self.watch(runner.flows([name] if name else None))
        for done in runner.run([name] if name else None):
            if done.until:
                self.windows[done.object] = (done.since, done.until)

    def preview(self, _what: object) -> None:
        runner = self.runner()
        replace(runner, told=lambda _flow, _outcome: None).preview()

    def lint(self, _what: object) -> None:
        text = json.dumps(
            {"connection": "example", "mapping": self.project.mapping.mapping, **self.settings, "systems": {}}
        )
        source = parse(text, "example.yaml")
        missing = {"missing_system", "wrong_file_name", "mapping_not_found"}
        folder = Path(self.suite.mapping_source.name).parent
        found = lint.check_source(source, shapes=self.suite.shapes, folder=folder)
        found += lint.check_source(self.suite.mapping_source, shapes=self.suite.shapes)
        self.findings = [finding for finding in found if finding.code not in missing]

    def edit(self, what: Mapping[str, Any]) -> None:
        for side, rows in what.items():
            for item in rows:
                row = self.row(item)
                self.change(side, row)

    def change(self, side: str, row: Row) -> None:
        endpoint = getattr(self, side)
        named = row["object"]
        values = {key: value for key, value in row.items() if key != "object"}
        if self.http:
            endpoint.edit(named, values)
        else:
            endpoint.edit(named, [values])

    def delete(self, what: Mapping[str, Any]) -> None:
        for side, ids in what.items():
            endpoint = getattr(self, side)
            for one in ids:
                for name in endpoint.objects:
                    known = self.known(side, name, one)
                    if any(str(_id(row)) == known for row in endpoint.rows(name)):
                        endpoint.delete(name, known)

    def event(self, what: Mapping[str, Any]) -> None:
        named, record = what["object"], dict(what["record"])
        flows = self.runner().flows([named])
        object_ = next(
            (flow.reads[flow.triggers[0].changed].object for flow in flows if flow.direction == "push"), named
        )
        if self.http:
            self.home.put(object_, record)
        else:
            self.home.edit(object_, [record], stamp=False)
        runner = self.runner()
        self.watch(flows)
        runner.event(named, record)

    def set(self, what: Mapping[str, Any]) -> None:
        self.settings = _merged(self.settings, what)
        self.project = _project(self.suite, self.settings)

    def wait(self, what: str) -> None:
        self.clock.sleep(spec.duration(what).total_seconds())

    def crash(self, _what: object) -> None:
        """A run that is killed at one point between calls or commits; then it is started again, as after a restart."""
        points = 0

        def point(_what: str) -> None:
            nonlocal points
            points += 1
            if points == self.kill:
                raise _Killed

        hooked: tuple[Any, ...] = (self.home, self.remote)
        for one in hooked:
            one.on_call = point
        self.store.on_commit = point
        before = self.workers
        try:
            self.run(None)
        except _Killed:
            self.killed = True
        for one in hooked:
            one.on_call = None
        self.store.on_commit = lambda _what: None
        self.dead |= {f"worker {n}" for n in range(before, self.workers + 1)}
        self.run(None)

    def twice(self, name: str) -> None:
        """A second worker starts while the first one writes."""
        started = False

        def second(what: str) -> None:
            nonlocal started
            if what.startswith("write") and not started:
                started = True
                self.runner().run([name])

        hooked: tuple[Any, ...] = (self.home, self.remote)
        for one in hooked:
            one.on_call = second
        self.run(name)
        for one in hooked:
            one.on_call = None

    # ---- what came of it ----

    def known(self, side: str, name: str, given: Any) -> str:
        """An id as the system has it: tables that number their rows have given the example's row another."""
        return self.ids.get((f"{side}.{name}", str(given)), str(canon.id18(given)))

    def faults(self) -> Iterator[str]:
        for name, expected in self.example["expect"].items():
            if name in CHECKS:
                yield from CHECKS[name](self, expected)

    def writes(self, expected: list[Any]) -> Iterator[str]:
        actual = [("home", change) for change in self.home.written] + [
            ("remote", change) for change in self.remote.written
        ]
        left = list(actual)
        unmatched = []
        for want in sorted(expected, key=lambda want: -len(json.dumps(want))):
            found = next((one for one in left if not list(self.write_faults(want, *one))), None)
            if found:
                left.remove(found)
            else:
                unmatched.append(want)
        for want in unmatched:
            near = min(left, key=lambda one: len(list(self.write_faults(want, *one))), default=None)
            verb, named = _verb(want)
            yield f"expected to {verb} {named} {_short(want.get('fields', {}))}" + (
                "" if near else ", and it was not written"
            )
            if near:
                left.remove(near)
                yield from (f"  {fault}" for fault in self.write_faults(want, *near))
        yield from (f"not expected: {change.verb} {change.object} {_short(change.values)}" for _, change in left)

    def write_faults(self, want: Mapping[str, Any], side: str, change: Change) -> Iterator[str]:
        verb, named = _verb(want)
        if (verb, named) != (change.verb, change.object) or want.get("system", side) != side:
            yield f"{verb} {named}: got {change.verb} {change.object} in {side}"
            return
        if "id" in want and self.known(side, named, want["id"]) != str(change.id):
            yield f"{verb} {named}: expected id {want['id']}, got {change.id}"
        rules = _Rules(self.suite, self.writer_of(side, named))
        yield from _compare(
            self.placed(want.get("fields", {})), change.values, "", rules, exactly=want.get("exactly", False)
        )
        yield from (
            f"{name}: is written, and must not be" for name in want.get("without", ()) if _has(change.values, name)
        )

    def writer_of(self, side: str, named: str) -> str | None:
        way = "pull" if side == "home" else "push"
        objects = self.project.mapping.objects.items()
        return next(
            (name for name, rules in objects if rules.write == named and rules.direction in (way, "both")), None
        )

    def placed(self, fields: Any) -> Any:
        """`"@opportunity"` stands for the id of the one created row of that object."""
        if isinstance(fields, dict):
            return {key: self.placed(value) for key, value in fields.items()}
        if isinstance(fields, list):
            return [self.placed(value) for value in fields]
        if isinstance(fields, str) and fields.startswith("@"):
            made = [
                c.id for c in (*self.home.written, *self.remote.written) if (c.verb, c.object) == ("create", fields[1:])
            ]
            return str(made[0]) if len(made) == 1 else fields
        return fields

    def counted(self, expected: Mapping[str, int]) -> Iterator[str]:
        for place, count in expected.items():
            side, _, named = place.partition(".")
            got = len(getattr(self, side).rows(named))
            if got != count:
                yield f"rows {place}: expected {count}, got {got}"

    def held(self, expected: list[Any]) -> Iterator[str]:
        for want in expected:
            rows = getattr(self, want["system"]).rows(want["object"])
            known = self.known(want["system"], want["object"], self.placed(want["id"]))
            row = next((row for row in rows if str(_id(row)) == known), None)
            named = f"{want['system']}.{want['object']} {want['id']}"
            if row is None:
                yield f"{named}: is not there"
            else:
                yield from _compare(self.placed(want["fields"]), row, f"{named} ", None)

    def told_outcomes(self, expected: list[Any]) -> Iterator[str]:
        said = [(o.record, o.outcome, o.reason) for _, o in self.outcomes]
        if not expected:
            bad = [one for one in said if one[1] in ("failed", "blocked", "skipped")]
            yield from (f"not expected: {record} {outcome} ({reason})" for record, outcome, reason in bad)
        for want in expected:
            record = str(canon.id18(want["record"]))
            hits = [one for one in said if one[:2] == (record, want["outcome"])]
            if not any("reason" not in want or one[2] == want["reason"] for one in hits):
                yield f"expected {_short(want)}, got {[one for one in said if one[0] == record]}"

    def logged(self, expected: list[Any]) -> Iterator[str]:
        said = self.store.notes("example", limit=10_000)
        if not expected:
            bad = [line for line in said if line["level"] != "info"]
            yield from (f"not expected in the log: {line['level']} {line['code']}: {line['message']}" for line in bad)
        for want in expected:
            wanted = {key: str(canon.id18(value)) for key, value in want.items()}
            if not any(all(str(line.get(key)) == value for key, value in wanted.items()) for line in said):
                yield f"expected in the log: {_short(want)}; it has {[(line['level'], line['code']) for line in said]}"

    def linked(self, expected: list[Any]) -> Iterator[str]:
        objects = {want["object"] for want in expected} or set(self.project.mapping.objects)
        got = [
            {"object": name, "home": link.home, "remote": link.remote, "active": link.active, "made": link.made}
            for name in sorted(objects)
            for link in self.store.all_links(self.stream(name).id)
        ]
        for want in expected:
            wanted = {**want, **{side: str(canon.id18(want[side])) for side in ("home", "remote") if side in want}}
            hit = next((link for link in got if all(link[key] == value for key, value in wanted.items())), None)
            if hit:
                got.remove(hit)
            else:
                yield f"expected the link {_short(want)}"
        yield from (f"not expected: the link {_short(link)}" for link in got)

    def triggered(self, expected: Mapping[str, list[Any]]) -> Iterator[str]:
        for name, ids in expected.items():
            got, want = sorted(self.selected.get(name, [])), sorted(str(canon.id18(one)) for one in ids)
            if got != want:
                yield f"selected {name}: expected {want}, got {got}"

    def windowed(self, expected: Mapping[str, Any]) -> Iterator[str]:
        """Of the object whose trigger `selected` speaks of, else of any."""
        named = self.example["expect"].get("selected", {})
        objects = self.project.mapping.objects
        asked = {
            name for name, rules in objects.items() if {read_.object for read_ in rules.read.values()} & set(named)
        }
        want = tuple(canon.instant(expected.get(key)) for key in ("from", "to"))
        got = [window for name, window in self.windows.items() if name in (asked or objects)]
        if not any(all(w in (None, g) for w, g in zip(want, window, strict=True)) for window in got):
            yield f"window: expected {expected}, got {got}"

    def asked(self, expected: list[str]) -> Iterator[str]:
        if self.http:
            sent = [" ".join(query.split()) for query in self.remote.queries]
            yield from (
                f"query not sent: {want}; sent: {sent}" for want in expected if " ".join(want.split()) not in sent
            )

    def called(self, expected: Mapping[str, int]) -> Iterator[str]:
        if self.http:  # counted in calls of one record, which only memory makes
            return
        for place, count in expected.items():
            side, _, rest = place.partition(".")
            named, _, verb = rest.rpartition(".")
            got = getattr(self, side).counts[(named, verb)]
            if got != count:
                yield f"calls {place}: expected {count}, got {got}"

    def found(self, expected: list[Any]) -> Iterator[str]:
        got = [(f.level, f.code, f.dotted) for f in self.findings if f.level != "note"]
        if not expected:
            yield from (f"not expected: {finding}" for finding in got)
        for want in expected:
            wanted = [want.get(key) for key in ("level", "code", "at")]
            if not any(all(w in (None, g) for w, g in zip(wanted, one, strict=True)) for one in got):
                yield f"expected the finding {_short(want)}, got {got}"

    def flowing(self, expected: Mapping[str, Any]) -> Iterator[str]:
        for name, want in expected.items():
            way = plan.directions(self.project.mapping, self.project.connection, name)
            got = {"push": way.push, "pull": way.pull}
            if any(got[key] != value for key, value in want.items()):
                yield f"flows {name}: expected {want}, got {got}"

    def next_due(self, expected: str | None) -> Iterator[str]:
        every = plan.every(self.project.mapping, self.project.connection)
        names = plan.scheduled(self.project.mapping, self.project.connection)
        enabled = self.project.connection.enabled
        dues = [schedule.due(self.stream(name).slot, every, self.clock.now(), enabled=enabled) for name in names]
        got = min((canon.text(due) for due in dues if due), default=None)
        if got != canon.instant(expected):
            yield f"due: expected {expected}, got {got}"

    def moved(self, expected: bool) -> Iterator[str]:
        """Of a plain run's objects: all of them, or not."""
        now = {name: self.stream(name).cursor.watermark for name in self.watermarks}
        names = plan.scheduled(self.project.mapping, self.project.connection)
        if bool(names) and all(now[name] != self.watermarks[name] for name in names) != expected:
            yield f"advanced: expected {expected}, the cursors went from {self.watermarks} to {now}"


STEPS: Mapping[str, Callable[[Play, Any], None]] = {
    "run": Play.run,
    "preview": Play.preview,
    "lint": Play.lint,
    "pause": lambda play, _: play.set({"enabled": False}),
    "resume": lambda play, _: play.set({"enabled": True}),
    "crash": Play.crash,
    "edit": Play.edit,
    "delete": Play.delete,
    "event": Play.event,
    "set": Play.set,
    "wait": Play.wait,
    "run_twice_at_once": Play.twice,
}

CHECKS: Mapping[str, Callable[[Play, Any], Iterator[str]]] = {
    "writes": Play.writes,
    "rows": Play.counted,
    "row": Play.held,
    "outcomes": Play.told_outcomes,
    "log": Play.logged,
    "links": Play.linked,
    "selected": Play.triggered,
    "window": Play.windowed,
    "queries": Play.asked,
    "calls": Play.called,
    "findings": Play.found,
    "flows": Play.flowing,
    "due": Play.next_due,
    "advanced": Play.moved,
}


# ---- comparing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rules:
    """Where the rule of a written field stands, so that a difference can name it."""

    suite: Suite
    object: str | None

    def line(self, path: str) -> str:
        if self.object is None:
            return ""
        at: At = ("objects", self.object)
        for step in path.split("."):
            inner = (*at, "fields", step)
            if inner not in self.suite.mapping_source.marks:
                break
            at = inner
        if len(at) < 4:
            return ""
        span = self.suite.mapping_source.span(at, key=True)
        return f"   from {'.'.join(map(str, at[3::2]))} ({self.suite.mapping_source.name}:{span.line})"


def _compare(want: Any, got: Any, path: str, rules: _Rules | None, *, exactly: bool = False) -> Iterator[str]:
    for fault, at in _differing(want, got, "", exactly=exactly):
        yield f"{path}{at}: {fault}{rules.line(at) if rules else ''}"


def _differences(want: Any, got: Any, name: str, *, exactly: bool) -> Iterator[str]:
    yield from (f"{name}{at}: {fault}" for fault, at in _differing(want, got, "", exactly=exactly))


def _differing(want: Any, got: Any, at: str, *, exactly: bool) -> Iterator[tuple[str, str]]:
    """(difference, where): nested objects as subsets, lists by length and item by item, instants as instants."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key, value in want.items():
            here = f"{at}.{key}" if at else str(key)
            if key not in got:
                yield f"expected {_short(value)}, got nothing", here
            else:
                yield from _differing(value, got[key], here, exactly=exactly)
        if exactly:
            yield from (("not expected", f"{at}.{key}" if at else str(key)) for key in got if key not in want)
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            yield f"expected {len(want)} items, got {len(got)}", at
        for n, (one, other) in enumerate(zip(want, got, strict=False)):
            yield from _differing(one, other, f"{at}[{n}]", exactly=exactly)
    elif not canon.same(_comparable(want), _comparable(got)):
        yield f"expected {_short(want)}, got {_short(got)}", at


def _comparable(value: Any) -> Any:
    return canon.instant(value) or canon.id18(value) if isinstance(value, str) else value


def _has(values: Any, dotted: str) -> bool:
    for step in dotted.split("."):
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True


def _verb(want: Mapping[str, Any]) -> tuple[str, str]:
    return next((verb, want[verb]) for verb in ("create", "replace", "update", "delete", "link") if verb in want)


def _id(row: Row) -> Any:
    return row.get("Id", row.get("id"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 160 else f"{text[:157]}..."


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = _merged(made[key], value) if both else value
    return made


# ---- shapes -----------------------------------------------------------------------------------------------


def _described(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded describes with the facts that an example file adds, by object."""
    described = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}
    for name, fields in facts.items():
        node = described.setdefault(name, {"name": name, "label": name, "fields": [], "childRelationships": []})
        for field_name, fact in fields.items():
            entry = next((entry for entry in node["fields"] if entry["name"] == field_name), None)
            if entry is None:
                entry = {"name": field_name, "label": field_name, "nillable": True, "filterable": True}
                entry |= {"createable": True, "updateable": True, "type": "string"}
                node["fields"].append(entry)
            entry |= _fact(fact)
    if not described and not folder.is_dir() and facts:
        raise SpecError(f"{folder}: no shapes are recorded")
    return described


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: fact[key] for key in ("type", "length") if key in fact}
    if "picklist" in fact:
        values = [{"value": one} if isinstance(one, str) else one for one in fact["picklist"]]
        made["picklistValues"] = [{"active": True, "label": one["value"], **one} for one in values]
    if "controller" in fact:
        made |= {"controllerName": fact["controller"], "dependentPicklist": True}
    if "required" in fact:
        made["nillable"] = not fact["required"]
    if fact.get("readonly"):
        made |= {"createable": False, "updateable": False}
    return made

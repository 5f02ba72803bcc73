"""One example being played: the two systems, the store and the clock, and its steps through the real engine."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace

from connector import canon, lint, plan, spec
from connector.endpoints.memory import Fault, Memory
from connector.examples.suite import Suite, merged
from connector.examples.watched import Clock, Killed, Made, Watched, WatchedRunner, WatchedStore
from connector.model import Endpoint, Flow, Outcome, Row, Shape
from connector.source import parse
from connector.state import Cursor, Link, Stream
from connector.world import Run

Systems = Callable[["Play", list[Row], list[Row]], AbstractContextManager[tuple[Endpoint, Endpoint]]]
"""Makes (home, remote) that hold the given rows."""


@dataclass
class Play:
    """Where an example stands, and what was seen so far. Without `systems` both sides are tables in memory; the
    store is emptied first."""

    suite: Suite
    example: Any
    store: WatchedStore
    systems: Systems | None = None
    kill: int = 0
    killed: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    selected: dict[str, list[str]] = field(default_factory=dict)
    windows: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    findings: list[lint.Finding] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    workers: int = 1
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.given = self.example.get("given", {})
        self.clock = Clock(canon.parse(self.example.get("now", "2025-01-01T00:00:00Z")))
        self.settings = merged(self.suite.tree.get("connection", {}), self.given.get("connection", {}))
        self.store.emptied()
        self.open = ExitStack()
        self.home: Any
        self.remote: Any
        home, remote = self.rows("home"), self.rows("remote")
        self.project = self.suite.project(self.settings)
        names = self.project.mapping.systems
        if self.systems:
            made = self.open.enter_context(self.systems(self, home, remote))
            self.home, self.remote = Watched(made[0]), Watched(made[1])
        else:
            self.home = Memory(names.home, home, clock=self.clock, page=50)
            self.remote = Memory(names.remote, remote, clock=self.clock, shapes=self.described(), page=50)
            for fault in self.given.get("faults", ()):
                named = {key: fault[key] for key in ("answer", "match", "verb", "times") if key in fault}
                getattr(self, fault["system"]).faults.append(Fault(fault["object"], **named))
        self.endpoints = {names.home: self.home, names.remote: self.remote}
        self.begin()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.open.close()

    def described(self) -> Mapping[str, Shape]:
        """The shapes of the remote system: none when they describe nothing that this mapping speaks of."""
        shapes = self.suite.shapes
        return shapes if {self.table(name, "remote") for name in self.project.mapping.objects} & shapes.keys() else {}

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
            name = node["object"]
            rules = self.project.mapping.objects.get(name)
            if rules is None:  # of a lookup: what its key would find
                link = Link(
                    json.dumps(["given", n]),
                    str(node["home"]),
                    str(node["remote"]),
                    node.get("active", True),
                    node.get("made", "auto"),
                )
                self.store.put_links(self.store.stream("example", name).id, [link], self.clock.now())
                continue
            ends = {side: self.known(side, self.table(name, side), node[side]) for side in ("home", "remote")}
            source = "home" if rules.direction == "push" else "remote"
            key = json.dumps([ends[source]] if rules.match.by else ["given", n])
            link = Link(key, **ends, active=node.get("active", True), made=node.get("made", "auto"))
            link = replace(
                link, home_base=self.seen("home", node["home"]), remote_base=self.seen("remote", node["remote"])
            )
            self.store.put_links(self.stream(name).id, [link], self.clock.now())

    def seen(self, side: str, known: Any) -> str | None:
        """What a given row holds, as a link remembers it."""
        row = next((row for row in self.rows(side) if str(id_of(row)) == str(known)), None)
        return None if row is None else json.dumps(row, default=str)

    def stream(self, name: str) -> Stream:
        return self.store.stream("example", name, plan.one_way(self.project.mapping, name))

    def table(self, name: str, side: str) -> str:
        """What an object of the mapping is called in one of the systems."""
        way = plan.one_way(self.project.mapping, name)
        rules = plan.rules_of(self.project.mapping, name, way)
        written = side == ("remote" if way == "push" else "home")
        return str(rules.write if written else rules.read[rules.triggers[0].changed].object)

    def known(self, side: str, name: str, given: Any) -> str:
        """An id as the system has it: tables that number their rows have given the example's row another."""
        if self.systems and (made := re.fullmatch(r"new([1-9][0-9]{0,3})", str(given))):
            created = [change.id for change in getattr(self, side).written if change.verb == "create"]
            return str(created[int(made[1]) - 1]) if int(made[1]) <= len(created) else str(given)
        return self.ids.get((f"{side}.{name}", str(given)), str(canon.id18(given)))

    # ---- running ----

    def go(self) -> None:
        for step in steps(self.example):
            verb, what = (step, None) if isinstance(step, str) else next(iter(step.items()))
            STEPS[verb](self, what)

    def runner(self) -> WatchedRunner:
        self.workers += 1
        return WatchedRunner(
            self.project,
            self.endpoints,
            self.store,
            self.clock,
            owner=f"worker {self.workers}",
            alive=lambda owner: owner not in self.dead,
            told=self.told,
            made=self.made,
        )

    def told(self, flow: Flow, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += ((flow.object, outcome) for outcome in outcomes)
        for outcome in outcomes:
            waited = outcome.reason in ("joined", "gone")  # for another try, and triggered nothing
            if not waited and not flow.reads[outcome.read].picklist:
                self.selected.setdefault(flow.reads[outcome.read].object, []).append(outcome.record)

    def watch(self, flows: Iterable[Flow]) -> None:
        """`selected` speaks of the last run that read an object."""
        for flow in flows:
            for read in flow.reads.values():
                self.selected[read.object] = []

    def hook(self, on_call: Callable[[str], None] | None) -> None:
        hooked: tuple[Any, ...] = (self.home, self.remote)
        for one in hooked:
            one.on_call = on_call

    # ---- steps ----

    def run(self, name: str | None) -> None:
        runner, names = self.runner(), [name] if name else None
        self.watch(runner.flows(names))
        self.saw(runner.run(names))

    def sync(self, _what: object) -> None:
        runner = self.runner()
        self.watch(runner.flows(self.project.mapping.sync))
        self.saw(runner.sync())

    def saw(self, runs: Iterable[Run]) -> None:
        for done in runs:
            if done.until:
                self.windows[done.object] = (done.since, done.until)

    def preview(self, _what: object) -> None:
        dataclasses.replace(self.runner(), told=lambda _flow, _outcomes: None).preview()

    def lint(self, _what: object) -> None:
        """The connection as it is now, and the mapping."""
        file = Path(self.suite.mapping_source.name)
        text = json.dumps({"connection": "example", "mapping": file.name, **self.settings, "systems": {}})
        found = lint.check_source(parse(text, "example.yaml"), shapes=self.suite.shapes, folder=file.parent)
        found += lint.check_source(self.suite.mapping_source, shapes=self.suite.shapes)
        missing = {"missing_system", "wrong_file_name", "mapping_not_found"}
        self.findings = [finding for finding in found if finding.code not in missing]

    def edit(self, what: Mapping[str, Any]) -> None:
        for side, rows in what.items():
            for item in rows:
                row = self.row(item)
                values = {key: value for key, value in row.items() if key != "object"}
                endpoint = getattr(self, side)
                endpoint.edit(row["object"], values if self.systems else [values])

    def delete(self, what: Mapping[str, Any]) -> None:
        for side, ids in what.items():
            endpoint = getattr(self, side)
            for one in ids:
                for name in endpoint.objects:
                    known = self.known(side, name, one)
                    if any(str(id_of(row)) == known for row in endpoint.rows(name)):
                        endpoint.delete(name, known)

    def event(self, what: Mapping[str, Any]) -> None:
        named, record = what["object"], dict(what["record"])
        runner = self.runner()
        flows = runner.flows([named])
        object_ = next(
            (flow.reads[flow.triggers[0].changed].object for flow in flows if flow.direction == "push"), named
        )
        if self.systems:
            self.home.put(object_, record)
        else:
            self.home.edit(object_, [record], stamp=False)
        self.watch(flows)
        runner.event(named, record)

    def set(self, what: Mapping[str, Any]) -> None:
        self.settings = merged(self.settings, what)
        self.project = self.suite.project(self.settings)

    def wait(self, what: str) -> None:
        self.clock.sleep(spec.duration(what).total_seconds())

    def crash(self, _what: object) -> None:
        """A run that is killed at one point between calls or commits; then it is started again, as after a restart."""
        points = 0

        def point(_what: str) -> None:
            nonlocal points
            points += 1
            if points == self.kill:
                raise Killed

        self.hook(point)
        self.store.on_commit = point
        before = self.workers
        try:
            self.run(None)
        except Killed:
            self.killed = True
        self.hook(None)
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

        self.hook(second)
        self.run(name)
        self.hook(None)


STEPS: Mapping[str, Callable[[Play, Any], None]] = {
    "run": Play.run,
    "sync": Play.sync,
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


def steps(example: Any) -> list[Any]:
    return list(example.get("steps") or spec.default("example", "steps"))


def id_of(row: Row) -> Any:
    return row.get("Id", row.get("id"))

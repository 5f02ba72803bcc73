"""Run example files (`connector test`): given rows, steps through the real engine, and what must have come of it.

An example runs on memory endpoints; those with whole rows can run again over HTTP, against the sandbox org and SQLite.
Nothing here knows a vendor: mappings, rows, faults and expectations are data. The format is `$defs/examples` of schema.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec

from connector import plan
from connector.endpoints.memory import Memory
from connector.errors import ConnectorError
from connector.examples import checks
from connector.examples.compare import differing, origin, short, table, unwanted
from connector.examples.play import Play, Systems, steps
from connector.examples.suite import Suite, load
from connector.examples.watched import Clock, WatchedStore
from connector.model import Flow, Row, Skip, Why
from connector.values import ABSENT, Problem, compile_value

__all__ = ["Result", "Suite", "WatchedStore", "chosen", "faults", "load", "run"]

MOST_KILLS = 400
"""A run that has more I/O points than this does not end."""


class Result(msgspec.Struct, frozen=True):
    """How one example went: `faults` says what differs, a text of one or more lines each; empty when it passed."""

    id: str
    says: str
    line: int
    faults: tuple[str, ...] = ()
    over: str = "memory"


def run(suite: Suite, *, http: bool = False, only: Callable[[str], bool] = lambda _id: True) -> Iterator[Result]:
    """Every example in order; over HTTP only those that a real org can hold."""
    with closing(WatchedStore()) as store:
        for index, example in chosen(suite, http=http, only=only):
            line = suite.source.span(("examples", index)).line
            found = tuple(faults(suite, example, store, http=http))
            yield Result(example["id"], example["says"], line, found, "http" if http else "memory")


def chosen(suite: Suite, *, http: bool, only: Callable[[str], bool]) -> list[tuple[int, Any]]:
    """The examples that `run` takes, with their places."""
    listed = enumerate(suite.tree["examples"])
    return [(n, one) for n, one in listed if only(one["id"]) and (not http or _over_http(one))]


def _over_http(example: Any) -> bool:
    return example.get("only") != "memory" and "value" not in example and "row" not in example.get("given", {})


def faults(suite: Suite, example: Any, store: WatchedStore, *, http: bool = False) -> Iterator[str]:
    """What differs from what one example expects; one that cannot be run says why, and the others go on."""
    try:
        yield from _found(suite, example, store, http=http)
    except ConnectorError as error:
        yield f"it could not be run: {error}"


def _found(suite: Suite, example: Any, store: WatchedStore, *, http: bool) -> Iterator[str]:
    if "value" in example:
        yield from _value_faults(example)
    elif "row" in example.get("given", {}):
        yield from _row_faults(suite, example)
    elif "crash" not in steps(example):
        yield from _play(suite, example, store, http=http)[0]
    else:
        for kill in range(1, MOST_KILLS):
            found, killed = _play(suite, example, store, http=http, kill=kill)
            yield from (f"killed at point {kill}: {fault}" for fault in found)
            if found or not killed:
                return


def _play(suite: Suite, example: Any, store: WatchedStore, *, http: bool, kill: int = 0) -> tuple[list[str], bool]:
    systems: Systems | None = None
    if http:
        from connector.examples import http as real  # noqa: PLC0415 - the sandbox org is an extra

        systems = real.systems
    with Play(suite, example, store, systems, kill) as play:
        play.go()
        return list(checks.faults(play)), play.killed


# ---- a value, a row ---------------------------------------------------------------------------------------


def _value_faults(example: Any) -> Iterator[str]:
    problems: list[Problem] = []
    value = compile_value(example["value"], ("value",), problems)
    why: Why = []
    got = value.evaluate(example.get("given", {}).get("row", {}), why)
    got = None if got is ABSENT else got
    yield from (problem.message for problem in problems)
    if told := table(differing(example["expect"].get("result"), got, "result", exactly=True)):
        branches = [f"  {branch.text}: {short(branch.value)}" for branch in why if branch.text != value.text]
        yield "\n".join([told, *branches])


def _row_faults(suite: Suite, example: Any) -> Iterator[str]:
    project = suite.project(suite.tree.get("connection", {}))
    name = example["object"]
    flow = plan.flow(project.mapping, project.connection, project.shapes, name, plan.one_way(project.mapping, name))
    row, why = _given(suite, flow, example["given"]["row"]), list[Any]()
    made = flow.record(row, why)
    if isinstance(made, Skip):
        yield f"the record is skipped: {made.reason} ({made.message})"
        return
    expect = example["expect"]
    found = [*differing(expect.get("fields", {}), made), *unwanted(expect.get("without", ()), made)]
    if found:
        yield table(found, lambda at: origin(suite.mapping_source, name, why, at))


def _given(suite: Suite, flow: Flow, given: Row) -> Row:
    """The joined row, spelled as the system that it is read from would."""
    memory = Memory("given", clock=Clock(datetime.min.replace(tzinfo=UTC)), shapes=suite.shapes)

    def spelled(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [spelled(name, item) for item in value]
        return memory.canonical(name, value) if isinstance(value, dict) else value

    empty: Row = {name: [] if read.many else None for name, read in flow.reads.items()}
    return {name: spelled(read.object, given.get(name, empty[name])) for name, read in flow.reads.items()}

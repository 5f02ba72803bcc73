"""One case: a run with a fault, and undisturbed ones behind it; what is wrong with it, in sentences.

Processes of their own do the cases, each with a world of its own, so that both cores have work.
"""

from __future__ import annotations

import atexit
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from faults.kinds import KINDS, Kind
from faults.proxy import Bend
from faults.world import LATER, MADE, SECRET, Log, World, opened

from connector.endpoints import wire
from connector.endpoints.salesforce import session
from connector.engine import STATUSES, Run

LONGEST = 450
"""Characters of a message: what the system said is in it with 200 at most."""
SLOW, PATIENT = 0.3, 10.0
"""Seconds that a call may take."""
SEEN = timedelta(minutes=2)
"""Then what was committed late is there."""
_world: World
_until = ExitStack()
"""What a process holds until it ends."""
_log = Log()


def start() -> None:
    """Once in each process."""
    global _world  # noqa: PLW0603
    wire.Wire.__init__.__kwdefaults__["limit"] = 1 << 20
    for name in ("", "httpx", "httpcore"):  # SQLAlchemy's lines would take as long as the runs: tests/test_canaries.py
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(_log)
    folder = _until.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
    _world = _until.enter_context(opened(Path(folder)))
    atexit.register(_until.close)


def undisturbed(world: World, way: str) -> tuple[dict[str, Any], list[str]]:
    """The end of a run that nothing happens to, and what it asked."""
    world.reset()
    world.proxy.begin()
    assert {run.status for run in world.run(way)} == {"ok"}
    return world.state(), list(world.proxy.asked)


def every(name: str, way: str) -> dict[str, list[str]]:
    """This kind at every request: what is wrong, and how the struck runs ended."""
    world, kind = _world, KINDS[name]
    expected, asked = undisturbed(world, way)
    said: dict[str, list[str]] = {"wrong": [], "ended": [], "skipped": []}
    for at, named in enumerate(asked, 1):
        if not re.match(kind.only, named):
            said["skipped"].append(f"{at} {named}")
            continue
        if (at + len(name)) % kind.each:
            continue
        for lasting in (False, True)[: 1 + ((at + len(name)) % 12 == 0 and not kind.slow)]:
            found, ended = case(world, way, kind, at, expected, lasting=lasting)
            said["ended"].append(ended)
            said["wrong"] += [f"{name}, {way}, {'from' if lasting else 'at'} {at} ({named}): {one}" for one in found]
    return said


def case(world: World, way: str, kind: Kind, at: int, expected: Any, *, lasting: bool) -> tuple[list[str], str]:
    world.reset()
    _log.lines.clear()
    world.clock.waited = (lambda: None) if lasting else world.proxy.hear
    with deadline(SLOW if kind.slow else PATIENT):
        world.proxy.begin(bend(world, kind), at, lasting=lasting)
        runs = world.run(way)
    world.clock.at += SEEN
    wrong = list(untrue(world, runs, expected)) + list(unclear(world, runs, kind))
    ended = " ".join(run.status for run in runs)
    world.proxy.begin()
    for _ in range(2):
        if world.state() == expected and {run.status for run in runs} == {"ok"}:
            break
        world.clock.at += LATER
        runs = world.run(way)
    else:
        wrong += [f"afterwards {run.object} is {run.status}: {run.error}" for run in runs if run.status != "ok"]
    wrong += differences(expected, world.state())
    return wrong + list(shown(world, runs)), ended


def bend(world: World, kind: Kind) -> Bend | str:
    proxy, org = world.proxy, world.org

    def late(_asked, forward):
        org.fault(verb="write", status="late", seconds=60)
        return forward()

    return {"repeated": lambda _asked, forward: proxy.before or forward(), "late": late}.get(kind.bend, kind.bend)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    wire.Wire.__init__.__kwdefaults__["deadline"] = session.WRITING = seconds
    yield
    wire.Wire.__init__.__kwdefaults__["deadline"] = session.WRITING = PATIENT


# ---- what is looked at -----------------------------------------------------------------------------------


def untrue(world: World, runs: list[Run], expected: Any) -> Iterator[str]:
    """What a run says of itself, and is not so."""
    state = world.state()
    for run in runs:
        if run.status not in ("ok", "partial", "failed"):
            yield f"{run.object} is {run.status}"
        if run.counts.get("read", 0) != sum(run.counts.get(each, 0) for each in STATUSES):
            yield f"{run.object} counts {run.counts}"
        if run.status == "ok" and state[MADE[run.object]] != expected[MADE[run.object]]:
            yield f"{run.object} is ok, and something is missing"
        if run.status == "failed" and not (run.error and run.code):
            yield f"{run.object} failed without saying why"


def unclear(world: World, runs: list[Run], kind: Kind) -> Iterator[str]:
    """A message that is a wall, or does not say what it is about, and what to do."""
    bad = [outcome for outcome in world.outcomes if outcome.outcome in ("failed", "blocked")]
    if any(not (outcome.record and outcome.reason) for outcome in bad):
        yield "an outcome without record or reason"
    for text in {run.error for run in runs if run.error} | {outcome.message for outcome in bad}:
        if len(text) > LONGEST or re.search(r"[<\n\r\x1b]|Traceback|A wall of text\. (A wall of text\. ){13}", text):
            yield f"a wall: {text[:600]!r}"
        if not re.search(kind.says, text):
            yield f"says nothing of use: {text!r}"


def shown(world: World, runs: list[Run]) -> Iterator[str]:
    """Secrets where nobody may see them."""
    tokens = [SECRET, *world.org.sessions.live]
    told = "\n".join([*_log.lines, repr(runs), repr(world.outcomes)])
    kept = world.bytes()
    for number, token in enumerate(tokens):
        if token in told or token.encode() in kept:
            yield f"{'a token' if number else 'the client secret'} is shown"


def differences(expected: dict[str, Any], got: dict[str, Any]) -> Iterator[str]:
    for name, want in expected.items():
        if got[name] != want:
            lost, more = (
                [one for one in some if one not in other] for some, other in ((want, got[name]), (got[name], want))
            )
            yield f"{name}: lost {lost!s:.300}, more {more!s:.300} ({len(want)} and {len(got[name])})"

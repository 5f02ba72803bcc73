"""A process is killed with SIGKILL at every point of a run, then started again: the end is the one of an undisturbed run.

What is in the run stands in tests/kill/world.py, where the points are in tests/kill/driver.py. The controls at the end
are engines with one known mistake each, which the same comparison has to notice.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from queue import SimpleQueue

import pytest
from endpoints.databases import schema
from kill.world import KILLED, LATER, Zygote, appointment, at, build, copied, differences, project, prospect

WORKERS = 3


class Bench:
    """A base to copy from, drivers to run with, and what an undisturbed history of it comes to."""

    def __init__(self, folder, store=""):
        self.folder, self.base, self.store = folder, folder / "base", store
        self.free = SimpleQueue()
        self.zygotes = [Zygote() for _ in range(WORKERS)]
        for zygote in self.zygotes:
            self.free.put(zygote)
        build(self.base, self.zygotes[0], store)
        self.pool = ThreadPoolExecutor(WORKERS)
        self.points, self.expected = self.history("undisturbed")

    def close(self):
        self.pool.shutdown()
        for zygote in self.zygotes:
            zygote.close()

    @contextmanager
    def world(self, name):
        zygote = self.free.get()
        try:
            with copied(self.base, self.folder / name, zygote, self.store) as world:
                yield world
        finally:
            self.free.put(zygote)

    def history(self, name, between=lambda _world: None, **more):
        """A run (killed, if asked to), what happens then, a second and a third run: the first one's points, and the end."""
        with self.world(name) as world:
            first = world.run(KILLED, **more)
            assert first["code"] == (-signal.SIGKILL if more.get("kill") else 0), first
            between(world)
            again = {"mutant": more["mutant"]} if "mutant" in more else {}
            second = world.done(KILLED + LATER, **again)
            assert {run["status"] for run in second} == {"ok"}, second
            if more.get("kill", 0) % 4 == 0:  # a third run costs as much as the others; at the other points two will do
                (third,) = {(run["status"], run["counts"]["read"]) for run in world.done(KILLED + 2 * LATER, **again)}
                assert third == ("ok", 0), "the run after the restart still had something to do"
            return first["points"], world.state()

    def killed(self, point, **more):
        """What differs in the end after a kill at this point."""
        name = "-".join(map(str, (point, *(value for value in more.values() if isinstance(value, str)))))
        _, got = self.history(name, kill=point, **more)
        expected = {**self.expected, "watermarks": self.expected["watermarks"] if point % 4 == 0 else got["watermarks"]}
        return [f"killed at point {point}: {said}" for said in differences(expected, got)]

    def each(self, points, **more):
        return [said for some in self.pool.map(partial(self.killed, **more), points) for said in some]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("kill"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def database():
    yield from schema.__wrapped__()


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory, database):
    """The same with the store on PostgreSQL: the org, and the database that is synced, are as they were."""
    made = Bench(tmp_path_factory.mktemp("postgresql"), database)
    yield made
    made.close()


@pytest.fixture(params=["bench", "on_postgresql"])
def either(request):
    return request.getfixturevalue(request.param)


def test_the_run_holds_what_a_kill_can_spoil(bench):
    kinds = Counter(re.match(r"\w+: \w+( \w+ commit)?", point)[0] for point in bench.points)
    assert kinds["request: before"] == kinds["request: after"] >= 6
    assert kinds["request: under"] >= 25
    assert kinds["store: before the commit"] == kinds["store: after the commit"] >= 20
    assert kinds["target: before the commit"] == kinds["target: after the commit"] >= 8
    pages = [point for point in bench.points if "/query/" in point]
    assert len({point.rpartition(" ")[2].partition("-")[0] for point in pages}) == 3  # a boundary in each trigger
    state = bench.expected
    assert (state["parked"], state["intents"], len(state["notes"]), len(state["tasks"])) == ([], 0, 6, 5)
    held = {row["external_id"] for row in map(json.loads, state["opportunities"])}
    assert held == {
        *(appointment(n) for n in range(8)),
        *(project(n) for n in range(1, 8)),
        *(prospect(n) for n in (8, 9, 10, 11)),  # every other prospect was shown with an appointment or a project
    }


@pytest.mark.timeout(600)
def test_killed_at_every_point_the_end_is_the_same(bench):
    points = range(1, len(bench.points) + 1)
    assert len(points) >= 50
    assert bench.each(points) == []
    with bench.world("survives") as world:
        assert world.run(KILLED, kill=len(bench.points) + 1)["code"] == 0


@pytest.mark.timeout(600)
def test_killed_at_every_commit_with_the_store_on_postgresql(bench, on_postgresql):
    """Before one, after the next: what lies between is as it is on SQLite. And wherever an answer to a write is lost."""
    assert on_postgresql.points == bench.points
    assert differences(bench.expected, on_postgresql.expected) == []
    commits = [n for n, point in enumerate(bench.points, 1) if point.startswith("store:")]
    sides = [commit + (k % 2) for k, commit in enumerate(commits[::2])]
    assert {bench.points[n - 1] for n in sides} >= {"store: before the commit", "store: after the commit"}
    lost = [n for n, point in enumerate(bench.points, 1) if re.match("request: under way POST .*sobjects", point)]
    assert len(lost) >= 3
    assert on_postgresql.each(sorted({*sides, *lost})) == []


# ---- stopped, replaced, woken; and two at once -------------------------------------------------------------------

LONG = timedelta(minutes=11)
"""Longer than a lease."""


@pytest.mark.timeout(600)
def test_a_worker_that_was_replaced_while_it_stood_still_stops(either):
    """SIGSTOP at a point, another takes over, SIGCONT. Where it stands inside a transaction it cannot be replaced.

    A call is sent right after the lease was looked at; one that stands still in between is not tried here.
    """
    between = ("store: after", "request: under way", "request: after", "target: after")
    points = [n for n, point in enumerate(either.points, 1) if point.startswith(between)]
    said = Counter()
    for lost, differing in either.pool.map(partial(zombie, either), points[2::5]):
        assert differing == []
        said["lost" if lost else "not"] += 1
    assert said["lost"] >= 8, said


def zombie(bench, point):
    """Whether the one that was stopped has lost its lease, and what differs in the end."""
    with bench.world(f"zombie-{point}") as world:
        pid = world.run(KILLED, stop=point, name="zombie-")["stopped"]
        assert {run["status"] for run in world.done(KILLED + LONG)} == {"ok"}
        replaced = world.state()
        woken = world.zygote.ask({"resume": pid})
        assert woken["code"] in (0, 2), woken
        runs = json.loads(woken["said"])
        lost = [run["code"] for run in runs if run["status"] != "ok"]
        assert set(lost) <= {"lease_lost"}, runs
        left = world.state()
        if lost:
            assert differences({**replaced, "watermarks": left["watermarks"]}, left) == [], "it still wrote"
        assert {run["status"] for run in world.done(KILLED + 2 * LONG)} == {"ok"}
        got = world.state()
        return lost, differences({**bench.expected, "watermarks": got["watermarks"]}, got)


def test_two_workers_at_once_double_nothing(either):
    refused = 0
    for n in range(3):
        with either.world(f"two-{n}") as world:
            other = either.free.get()
            try:
                world.org.set_clock(KILLED)
                pair = [(world.zygote, "first-"), (other, "second-")]
                runs = list(either.pool.map(lambda by, world=world: world.run(KILLED, by[0], name=by[1]), pair))
            finally:
                either.free.put(other)
            states = [run["status"] for one in runs for run in json.loads(one["said"])]
            assert set(states) <= {"ok", "running"}, states
            refused += states.count("running")
            world.done(KILLED + LATER)
            got = world.state()
            assert differences({**either.expected, "watermarks": got["watermarks"]}, got) == []
    assert refused


def test_killed_while_pages_are_read_ahead(bench):
    """As the command runs: the order of points is not the same each time, so this is a sample."""
    assert bench.each(range(3, len(bench.points), 8), ahead="ahead") == []


# ---- a record that is edited between kill and restart ----------------------------------------------------------

SHARED = (appointment(1), appointment(6), project(1))
OLD, NEW = "as of " + at(7), "as of " + at(60.5)


def edited(bench, point):
    """Opportunity -> the version of prospect 1 in it (by last name), and everything else that has come of it.

    The edit is seen in one of two orders. Read before the appointment's page was: the appointment's opportunity shows it,
    and that is all. Read afterwards: the appointment's shows the old version, and the new one, which nothing carried,
    makes an opportunity for the prospect alone. With several that share the prospect a kill in the middle gives a
    mixture: those that were written before it show the old version, those after it the new one, which then is handled.
    """

    def edit(world):
        world.edit_prospect(1, at(60.5))
        world.edit_prospect(8, at(60.5))

    more = {"kill": point} if point else {}
    _, state = bench.history(f"edited-{point}", edit, **more)
    rows = {row["external_id"]: row for row in map(json.loads, state["opportunities"])}
    assert len(rows) == len(state["opportunities"])
    seen = {known: rows.pop(known)["last_name"] for known in (*SHARED, prospect(1)) if known in rows}
    assert rows.pop(prospect(8))["last_name"] == NEW
    return seen, rows


def test_a_prospect_edited_between_kill_and_restart_is_shown_once(bench):
    before, _ = edited(bench, 1)
    after, rest = edited(bench, 0)
    assert before == dict.fromkeys(SHARED, NEW)
    assert after == {**dict.fromkeys(SHARED, OLD), prospect(1): NEW}
    end = next(n for n, point in enumerate(bench.points) if point.endswith("sobjects"))
    points = range(2, end, 6)
    orders = Counter()
    for point, (seen, others) in zip(points, bench.pool.map(partial(edited, bench), points), strict=True):
        assert others == rest, point
        assert set(seen) >= set(SHARED), point
        carried = NEW in (seen[known] for known in SHARED)
        assert (prospect(1) in seen) != carried, (point, seen)  # once: by those that share it, or alone
        assert seen.get(prospect(1), NEW) == NEW, point
        orders["before" if carried else "after"] += 1
    assert set(orders) == {"before", "after"}


# ---- the command itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [1, 3, 7])
def test_the_command_killed_at_a_request(bench, request_):
    """`python -m connector run`, as it is installed, killed by the org while it waits for an answer."""
    with bench.world(f"command-{request_}") as world:
        world.org.set_clock(KILLED)
        environ = {**os.environ, "I360_CLIENT_ID": "sandbox", "I360_CLIENT_SECRET": "sandbox"}

        def start(world=world, environ=environ):
            command = [sys.executable, "-m", "connector", "run", "kill"]
            return subprocess.Popen(
                command, cwd=world.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )

        calls = world.org.calls = Killing(request_)
        calls.process = start()
        said = calls.process.communicate()[0]
        assert calls.process.returncode == -signal.SIGKILL, said
        for _ in range(2):
            process = start()
            said = process.communicate()[0]
            assert process.returncode == 0, said
        got = world.state()
        assert differences({**bench.expected, "watermarks": got["watermarks"]}, got) == []


class Killing(list):
    """The org's list of calls, deadly at its nth entry."""

    def __init__(self, deadly):
        self.deadly, self.process = deadly, None

    def append(self, call):
        super().append(call)
        if len(self) == self.deadly:
            self.process.kill()


# ---- controls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mutant", "deadly", "noticed"),
    [
        ("cursor-first", "mutant: the cursor has moved", "opportunities: lost"),
        ("no-intent", "request: after POST /services/data/v66.0/composite/sobjects", "notes: more Note"),
        ("no-joined-set", "store: after the commit", f"links: more .*{prospect(1)}"),
    ],
)
def test_an_engine_with_a_known_mistake_fails(bench, mutant, deadly, noticed):
    """Undisturbed, it comes to the same end; killed at the points where its mistake matters, it does not."""
    points, state = bench.history(mutant, mutant=mutant)
    assert differences(bench.expected, state) == []
    found = bench.each([n for n, point in enumerate(points, 1) if point == deadly][:9], mutant=mutant)
    assert any(re.search(noticed, said) for said in found), found

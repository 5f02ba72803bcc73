"""The engine on systems in memory and a real store: what happens to each record, and what is remembered of it."""

import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from endpoints.databases import schema  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from connector import canon, engine, plan, project, shape, spec
from connector.endpoints.memory import Fault, Memory
from connector.errors import LeaseLost, Unavailable
from connector.model import Field, Page, Shape, Written
from connector.pages import digest
from connector.sandbox import Org, fixtures, serve
from connector.source import parse
from connector.state import Batch, Cursor, Link, Store
from connector.world import World

START = datetime(2025, 3, 10, 15, tzinfo=UTC)
MAPPING = """
mapping: plain
version: 1
systems: {home: home, remote: remote}
objects:
  item:
    direction: pull
    read: {thing: {object: thing, watch: {field: updated_at, first: all}}}
    triggers: [{changed: thing}]
    write: item
    match: {keys: [key], found: update, missing: create}
    fields: {key: thing.key, name: thing.name}
"""
SHARED = """
mapping: shared
version: 1
systems: {home: home, remote: remote}
objects:
  item:
    direction: pull
    read:
      visit: {object: visit, watch: {field: updated_at, first: all}}
      person: {object: person, watch: {field: updated_at, first: all}}
    triggers:
      - {changed: visit, with: {person: {id: visit.person}}}
      - {changed: person, unless_joined_by: [visit]}
    write: item
    match: {keys: [key], found: replace, missing: create}
    fields: {key: {first: [visit.id, person.id]}, name: person.name, what: visit.what}
"""


class Clock:
    def __init__(self):
        self.at = START

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


def at(minutes=0.0):
    return canon.text(START + timedelta(minutes=minutes))


def thing(known, key="k", name="n", minutes=-60.0, **more):
    return {"object": "thing", "id": known, "key": key, "name": name, "updated_at": at(minutes), **more}


def item(known, key="k", name="n", **more):
    return {"object": "item", "id": known, "key": key, "name": name, **more}


class Bench:
    """One flow between two systems in memory, with a store and a clock."""

    def __init__(
        self, source=(), target=(), *, mapping=MAPPING, match=None, store=None, page=50, shapes=None, **object_
    ):
        self.clock, self.store, self.told = Clock(), store or Store(), []
        self.tree = parse(mapping, "mapping.yaml").tree
        self.tree["objects"]["item"] |= object_
        if match:
            self.tree["objects"]["item"]["match"] = match
        self.source = Memory("remote", source, clock=self.clock, page=page, shapes=shapes)
        self.target = Memory("home", target, clock=self.clock, page=page)

    @property
    def flow(self):
        connection = spec.connection({"connection": "c", "mapping": "m", "systems": {}})
        (flow,) = plan.flows(spec.mapping(self.tree), connection, {})
        return flow

    def world(self, **more):
        given = {"source": self.source, "target": self.target, "store": self.store, "clock": self.clock}
        return World(**{**given, "told": self.told.extend, **more})

    def run(self, *, after=0.0, **more):
        self.clock.at += timedelta(minutes=after)
        self.told.clear()
        done = engine.run(self.flow, self.world(**more))
        counts = dict(done.counts)
        assert counts.pop("read", 0) == sum(counts.values())
        return done

    @property
    def outcomes(self):
        return [(one.record, one.outcome, one.reason) for one in self.told]

    def items(self, *names):
        rows = self.target.rows("item")
        return sorted(tuple(row.get(name) for name in names or ("key", "name")) for row in rows)

    @property
    def written(self):
        return [(one.verb, one.values) for one in self.target.written]

    def parked(self):
        return self.store.parked(self.store.stream("c", "item").id)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    url = f"sqlite:///{tmp_path}/state.db" if request.param == "sqlite" else request.getfixturevalue("schema")
    made = Store(url)
    yield made
    made.close()


# ---- one record: found or not, and what is then done ----------------------------------------------------------

TWO = {"keys": ["key", "name"], "found": "update", "missing": "create"}
CREATED, UPDATED, SAME = ("1", "created", None), ("1", "updated", None), ("1", "unchanged", None)


def keys(found="update", missing="create", **key):
    return {"keys": [{"field": "key", **key} if key else "key"], "found": found, "missing": missing}


DECISIONS = {
    # match, the thing, items; its outcome, what is written
    "missing: create": (keys(), thing("1"), [], CREATED, [("create", {"key": "k", "name": "n"})]),
    "missing: skip": (keys(missing="skip"), thing("1"), [], ("1", "skipped", "not_linked"), []),
    "missing: ask": (keys(missing="ask"), thing("1"), [], ("1", "blocked", "not_linked"), []),
    "missing: fail": (keys(missing="fail"), thing("1"), [], ("1", "failed", "not_found"), []),
    "found: update": (keys(), thing("1"), [item("7", name="old")], UPDATED, [("update", {"name": "n"})]),
    "found: replace": (keys("replace"), thing("1"), [item("7", name="old")], UPDATED, [("replace", {"key": "k", "name": "n"})]),
    "found: link": (keys("link", "skip"), thing("1"), [item("7", name="old")], UPDATED, [("link", {"key": "k", "name": "n"})]),
    "found: skip": (keys("skip"), thing("1"), [item("7", name="old")], ("1", "skipped", "exists"), []),
    "nothing differs": (keys("replace"), thing("1"), [item("7", mine="own")], SAME, []),
    "null clears": (keys(), thing("1", name=None), [item("7")], UPDATED, [("update", {"name": None})]),
    "null key, create": (keys(), thing("1", key=None), [], ("1", "failed", "no_match_key"), []),
    "null key, skip": (keys(missing="skip"), thing("1", key=None), [], ("1", "skipped", "not_linked"), []),
    "null key is nobody's": (keys(missing="skip"), thing("1", key=None), [item("7", key=None)], ("1", "skipped", "not_linked"), []),
    "several": (keys(), thing("1"), [item("7"), item("8")], ("1", "failed", "ambiguous_match"), []),
    "several, link": (keys("link", "skip"), thing("1"), [item("7"), item("8")], ("1", "skipped", "not_linked"), []),
    "letter case": (keys(compare="ignore_case"), thing("1", key=" ANA  B"), [item("7", key="ana b")], UPDATED, [("update", {"key": " ANA  B"})]),
    "letter case, one is exact": (
        keys(compare="ignore_case"), thing("1", key="ana", name="x"), [item("7", key="ANA"), item("8", key="ana")], UPDATED, [("update", {"name": "x"})]
    ),
    "letter case, exact": (keys(), thing("1", key="ANA"), [item("7", key="ana")], CREATED, [("create", {"key": "ANA", "name": "n"})]),
    "partial is no hit": (TWO, thing("1", name="x"), [item("7")], CREATED, [("create", {"key": "k", "name": "x"})]),
    "differs: create": ({**TWO, "differs": "create"}, thing("1", name="x"), [item("7")], CREATED, [("create", {"key": "k", "name": "x"})]),
    "differs: replace": ({**TWO, "differs": "replace"}, thing("1", name="x"), [item("7")], UPDATED, [("update", {"name": "x"})]),
    "differs: fail": ({**TWO, "differs": "fail"}, thing("1", name="x"), [item("7")], ("1", "failed", "partial_match"), []),
    "differs: replace, several": (
        {**TWO, "differs": "replace"}, thing("1", name="x"), [item("7"), item("8", name="m")], ("1", "failed", "ambiguous_match"), []
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECISIONS)
def test_a_record_is_found_or_not(name):
    match, given_, items, outcome, writes = DECISIONS[name]
    bench = Bench([given_], items, match=match)
    done = bench.run()
    assert bench.outcomes == [outcome]
    assert bench.written == writes
    wanted = {"failed": "partial", "blocked": "partial"}.get(outcome[1], "ok")
    assert done.status == wanted
    assert bool(bench.parked()) == (wanted == "partial")


def test_an_absent_key_of_the_source_leaves_the_target_alone():
    row = thing("1")
    del row["name"]
    bench = Bench([row], [item("7", name="kept")], match=keys("replace"))
    bench.run()
    assert bench.outcomes == [SAME]
    assert bench.items() == [("k", "kept")]


def test_unmapped_columns_are_never_touched():
    bench = Bench([thing("1", name="new")], [item("7", name="old", mine="own")], match=keys("replace"))
    bench.run()
    assert bench.items("name", "mine") == [("new", "own")]


def test_two_records_of_one_key_in_one_page_make_one_target():
    bench = Bench([thing("1", name="a"), thing("2", name="b", minutes=-59)])
    bench.run()
    assert bench.outcomes == [CREATED, ("2", "updated", None)]
    assert bench.items() == [("k", "b")]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ({"keys": ["key"], "found": "update", "missing": "create"}, "key"),
        ({"keys": ["key"], "found": "replace", "missing": "create"}, "key"),
        ({"keys": ["key", "name"], "found": "update", "missing": "create"}, "key"),
        ({"keys": ["key"], "found": "skip", "missing": "create"}, None),  # what is there then is not to be written to
        ({"keys": ["key", "name"], "found": "update", "missing": "create", "differs": "create"}, None),  # a second one is meant
        ({"keys": [{"field": "other", "from": "thing.key"}], "found": "update", "missing": "create"}, None),  # not written
        ({"by": "link", "found": "update", "missing": "create"}, None),
    ],
)  # fmt: skip
def test_a_create_says_by_which_field_an_upsert_would_be_the_same(match, said):
    bench = Bench([thing("1")], match=match)
    bench.run()
    assert [(one.verb, one.key) for one in bench.target.written] == [("create", said)]


def test_a_key_that_another_row_spells_otherwise_is_nobodys():
    """Where upper and lower case are the same to the target, an upsert would write over the other row."""
    bench = Bench([thing("2", "b"), thing("3", "B"), thing("4", "c")])
    bench.run()
    assert {one.values["key"]: one.key for one in bench.target.written} == {"b": None, "B": None, "c": "key"}


def test_a_link_made_by_hand_wins_over_keys():
    bench = Bench([thing("1", name="new")], [item("7", name="old"), item("8", key="other")])
    bench.run()
    stream = bench.store.stream("c", "item").id
    bench.store.put_links(stream, [Link(json.dumps(["k"]), "8", "1", made="manual")], bench.clock.now())
    bench.source.edit("thing", [thing("1", name="newer")])
    bench.run(after=1)
    assert bench.items("id", "key", "name") == [("7", "k", "new"), ("8", "k", "newer")]
    (link,) = bench.store.all_links(stream)
    assert (link.home, link.made) == ("8", "manual")


def test_a_target_that_a_hand_made_link_leads_to_and_that_is_gone_is_not_made_anew():
    bench = Bench([thing("1")])
    stream = bench.store.stream("c", "item").id
    bench.store.put_links(stream, [Link(json.dumps(["k"]), "9", "1", made="manual")], bench.clock.now())
    bench.run()
    assert bench.outcomes == [("1", "skipped", "target_gone")]


# ---- versions, windows, joins -----------------------------------------------------------------------------------


ODD = [1, True, 1.0, "1", "\ud800", "\udc00", 10**400, float("inf"), ["1"], {"1": 1}, {"b": 1, "1": None}]


def test_a_version_is_told_from_each_other_by_what_is_stored_in_it():
    assert len({digest({"Name": value}, None) for value in ODD}) == len(ODD)
    for value in ODD:
        same = digest({"Name": value, "Age": 5}, None)
        assert same == digest({"Age": 5, "Phone": None, "Name": value}, None)
        assert same == digest({"Formula__c": 7, "Age": 5, "Name": value}, frozenset(("Name", "Age", "Phone")))


def test_a_rerun_writes_nothing_and_reads_the_overlap_again(store):
    bench = Bench([thing("1", minutes=-1)], store=store)
    bench.run()
    bench.source.counts.clear()
    done = bench.run(after=1)
    assert (done.since, done.until) == (at(-5), at(1))
    assert (bench.outcomes, len(bench.written)) == ([], 1)


def test_an_edit_within_the_same_second_is_a_new_version(store):
    bench = Bench([thing("1", name="a", minutes=0)], store=store)
    bench.run()
    bench.source.edit("thing", [thing("1", name="b", minutes=0)], stamp=False)
    bench.run(after=1)
    assert bench.outcomes == [UPDATED]
    assert bench.items() == [("k", "b")]


def test_what_becomes_visible_late_is_read_by_the_overlap():
    bench = Bench([thing("1", minutes=-1)])
    bench.run()
    bench.source.edit("thing", [thing("2", key="late", minutes=-4)], stamp=False)
    bench.run(after=1)
    assert bench.outcomes == [("2", "created", None)]


def test_a_version_that_was_handled_does_not_trigger_again_though_a_join_would_differ(store):
    visit = {"object": "visit", "id": "v", "person": "p", "what": "x", "updated_at": at(-1)}
    person = {"object": "person", "id": "p", "name": "a", "updated_at": at(-600)}
    bench = Bench([visit, person], mapping=SHARED, store=store)
    bench.run()
    bench.source.edit("person", [{**person, "name": "b", "updated_at": at(-599)}], stamp=False)
    bench.run(after=1)
    assert [record for record, *_ in bench.outcomes] == []
    assert ("v", "a") in bench.items("key", "name")


def test_what_was_joined_counts_even_if_the_write_failed(store):
    visit = {"object": "visit", "id": "v", "person": "p", "what": "x", "updated_at": at(-1)}
    person = {"object": "person", "id": "p", "name": "a", "updated_at": at(-1)}
    bench = Bench([visit, person], mapping=SHARED, store=store)
    bench.target.faults.append(Fault("item", 422, {"key": "v"}))
    bench.run()
    assert bench.outcomes == [("v", "failed", "rejected")]
    bench.run(
        after=1
    )  # the overlap reads both again; the visit is tried again by itself, the person stands for nothing
    assert bench.outcomes == [("v", "failed", "rejected")]
    bench.target.faults.clear()
    bench.run(after=60)
    assert bench.outcomes == [("v", "created", None)]
    assert bench.items("key", "name", "what") == [("v", "a", "x")]


def test_a_read_that_joins_and_fails_is_never_no_record():
    visit = {"object": "visit", "id": "v", "person": "p", "what": "x", "updated_at": at(-1)}
    person = {"object": "person", "id": "p", "name": "a", "updated_at": at(-600)}
    bench = Bench([visit, person], mapping=SHARED)
    bench.source.faults.append(Fault("person", 503, verb="read"))
    done = bench.run()
    assert (done.status, done.code, bench.written) == ("failed", "source_unavailable", [])
    bench.source.faults.clear()
    bench.run(after=1)
    assert ("v", "a") in bench.items()


def test_a_field_that_a_system_gains_makes_no_new_version():
    """Else a prospect whose appointment did not change would stand for itself, once."""
    few = {name: Field(name) for name in ("id", "key", "name", "updated_at")}
    bench = Bench([thing("1", minutes=-1)], shapes={"thing": Shape("thing", "Thing", few)})
    bench.tree["objects"]["item"]["read"]["thing"]["fields"] = "all"
    bench.run()
    bench.source.edit("thing", [thing("1", minutes=-1, more=None)], stamp=False)
    bench.source.shapes["thing"] = Shape("thing", "Thing", {**few, "more": Field("more")})
    bench.run(after=1)
    assert bench.outcomes == []


# ---- what failed waits, and is tried again -------------------------------------------------------------------------


def test_retries_wait_longer_each_time_and_end_with_the_cause(store):
    bench = Bench([thing("1"), thing("2", key="other")], store=store)
    bench.target.faults.append(Fault("item", 422, {"key": "k"}))
    bench.run()
    waits = []
    for _ in range(12):
        (parked,) = bench.parked()
        wait = parked.retry - bench.clock.at
        waits.append(wait)
        if wait:
            bench.run(after=wait.total_seconds() / 60 - 1)
            assert bench.outcomes == []
            bench.run(after=1)
        else:
            bench.run()
        assert bench.outcomes == [("1", "failed", "rejected")]
    minutes = [wait.total_seconds() / 60 for wait in waits]
    assert minutes == [0, 15, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440, 1440]
    bench.target.faults.clear()
    bench.run(after=1440)
    assert bench.outcomes == [CREATED]
    assert bench.parked() == []
    assert bench.store.outcomes("c", record="1", limit=99)[1]["open"] is False


def test_a_parked_record_that_is_edited_is_tried_at_once_and_closed():
    bench = Bench([thing("1")])
    bench.target.faults.append(Fault("item", 422, {"name": "n"}))
    for _ in range(3):
        bench.run()
    bench.source.edit("thing", [thing("1", name="right")])
    bench.run(after=1)
    assert bench.outcomes == [CREATED]
    assert bench.parked() == []


def test_a_parked_record_that_is_gone_is_closed(store):
    bench = Bench([thing("1"), thing("2", key="other")], store=store)
    bench.target.faults.append(Fault("item", 422, {"key": "k"}))
    bench.run()
    bench.source.delete("thing", "1")
    bench.run(after=1)
    assert bench.outcomes == [("1", "skipped", "gone")]
    assert bench.parked() == []
    bench.run(after=1)
    assert bench.outcomes == []


def test_what_fails_delays_nothing_else():
    bench = Bench([thing(str(n), key=f"k{n}") for n in range(100)], page=7)
    bench.target.faults += [Fault("item", 422, {"key": f"k{n}"}) for n in range(0, 100, 10)]
    done = bench.run()
    assert (done.counts["created"], done.counts["failed"]) == (90, 10)
    bench.source.edit("thing", [thing("55", key="k55", name="x")])
    bench.run(after=1)
    assert ("55", "updated", None) in bench.outcomes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", None])), max_size=14),
    held=st.lists(st.sampled_from("abcdefgh"), max_size=5),
    faults=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([422, "lost_reply", 503, 401]), st.integers(1, 5)), max_size=4
    ),
    unread=st.booleans(),
    missing=st.sampled_from(["create", "skip", "ask", "fail"]),
    found=st.sampled_from(["update", "replace", "skip"]),
    page=st.integers(1, 6),
)  # fmt: skip
def test_whatever_happens_the_counts_add_up_and_in_the_end_all_is_there(
    rows, held, faults, unread, missing, found, page
):
    """read = created + updated + unchanged + skipped + blocked + failed (asserted by `run`), and what ran is what is stored."""
    things = [thing(str(n), key, name, minutes=n - 60) for n, (key, name) in enumerate(rows)]
    bench = Bench(things, [item(f"i{n}", key) for n, key in enumerate(held)], match=keys(found, missing), page=page)
    bench.target.faults += [Fault("item", answer, {"key": key}, times=times) for key, answer, times in faults]
    if unread:
        bench.source.faults.append(Fault("thing", 503, verb="read", times=4))
    for _ in range(3):
        done = bench.run(after=1)
        (stored,) = bench.store.runs("c", 1)
        assert stored["counts"] == done.counts
        assert stored["status"] == done.status
        waiting = {one.record for one in bench.parked()}
        assert waiting <= {one["id"] for one in things}
    bench.target.faults.clear()
    bench.source.faults.clear()
    for _ in range(3):
        done = bench.run(after=2000)
    before = len(bench.written)
    done = bench.run(after=2000)
    assert len(bench.written) == before
    made = [row["key"] for row in bench.target.rows("item")]
    doubled = {key for key in held if held.count(key) > 1}
    assert {key for key in made if made.count(key) > 1} <= doubled
    if missing == "create":
        assert {row["key"] for row in things} <= set(made)
    assert done.status == ("ok" if not bench.parked() else "partial")
    bench.store.close()


# ---- one at a time, and whoever is late ------------------------------------------------------------------------


def test_a_lease_is_taken_from_the_dead_at_once_and_from_the_living_when_it_has_run_out(store):
    bench = Bench([thing("1")], store=store)
    stream = store.stream("c", "item")
    held = store.claim(stream, "first", bench.clock.now(), None, engine.LEASE, lambda _: True, "x")
    assert held is not None
    assert bench.run(owner="second").status == "running"
    assert bench.run(owner="second", alive=lambda owner: owner != "first").status == "ok"
    store.claim(stream, "first", bench.clock.now(), None, engine.LEASE, lambda _: True, "x")
    assert bench.run(after=9.9, owner="second").status == "running"
    assert bench.run(after=0.2, owner="second").status == "ok"
    assert [(run["status"], run["error"]) for run in store.runs("c")][-1] == ("failed", "it was killed")


def test_a_process_is_told_from_another_that_has_its_number():
    mine = project.worker()
    host, pid, born = mine.split(":")
    assert project.living(mine)
    assert project.living(f"elsewhere:{pid}:{born}")
    assert project.living(f"{host}:{pid}")
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if born:
            assert not project.living(f"{host}:{pid}:1{born}")
            assert not project.living(f"{host}:{child.pid}:{born}")  # dead, and not waited for
    assert not project.living(f"{host}:{child.pid}:{born}")


def test_a_worker_whose_token_was_replaced_stores_nothing(store):
    bench = Bench([thing("1", minutes=-1)], store=store)
    stream = store.stream("c", "item")

    def taken(_what):
        bench.target.on_call = None
        other = store.claim(stream, "other", bench.clock.now(), None, engine.LEASE, lambda _: False, "x")
        assert other is not None

    bench.target.on_call = taken
    done = bench.run()
    assert (done.status, done.code) == ("failed", "lease_lost")
    assert store.outcomes("c") == []
    assert store.stream("c", "item", "pull").cursor == Cursor(activated=at(), way="pull")
    lost, run_id = store.claim(stream, "third", bench.clock.now(), None, engine.LEASE, lambda _: False, "x")
    store.claim(stream, "fourth", bench.clock.now(), None, engine.LEASE, lambda _: False, "x")
    with pytest.raises(LeaseLost):
        store.commit(lost, run_id, Batch(), Cursor("2030-01-01T00:00:00Z"), bench.clock.now(), engine.LEASE)
    with pytest.raises(LeaseLost):
        store.journal(lost, [])
    assert store.stream("c", "item", "pull").cursor == Cursor(activated=at(), way="pull")


class Killed(BaseException):
    pass


def killed_at(bench, nth, what="wrote"):
    seen = 0

    def count(name):
        nonlocal seen
        seen += name.startswith(what)
        if seen == nth:
            bench.target.on_call = None
            raise Killed

    bench.target.on_call = count
    with pytest.raises(Killed):
        bench.run()


def test_a_pass_goes_on_where_it_was_killed(store):
    bench = Bench([thing(str(n), f"k{n}", minutes=n - 60) for n in range(9)], store=store, page=3)
    killed_at(bench, 5)
    opened = store.stream("c", "item", "pull").cursor.open
    assert opened.after == (at(-58), "2")
    bench.run(after=1, alive=lambda _: False)
    assert [record for record, *_ in bench.outcomes] == ["3", "4", "5", "6", "7", "8"]
    assert len(bench.items()) == 9


def test_a_pass_that_began_under_other_rules_starts_again(store):
    bench = Bench([thing(str(n), f"k{n}", minutes=n - 60) for n in range(9)], store=store, page=3)
    killed_at(bench, 5)
    bench.tree["objects"]["item"]["fields"]["name"] = {"template": "{{ thing.name }}!"}
    done = bench.run(after=1, alive=lambda _: False)
    assert (done.since, done.until) == (None, at(1))
    assert bench.items() == [(f"k{n}", "n!") for n in range(9)]
    assert store.stream("c", "item", "pull").cursor.open is None


def test_a_direction_that_is_switched_off_stops_before_the_next_batch_and_loses_nothing(store):
    bench = Bench([thing(str(n), f"k{n}", minutes=n - 60) for n in range(9)], store=store, page=3)
    asked = []
    done = bench.run(allowed=lambda: asked.append(1) or len(asked) <= 2)
    assert (done.status, done.code, len(bench.items())) == ("paused", "paused", 6)
    assert [note["level"] for note in store.notes("c")] == ["info"]
    done = bench.run(after=1)
    assert (done.status, len(bench.items())) == ("ok", 9)


def test_the_ways_of_a_connection_are_open_as_long_as_its_file_says_so(tmp_path):
    file = tmp_path / "acme-hatch.yaml"
    file.write_bytes((fixtures.recorded_shapes().parent / "connections" / file.name).read_bytes())
    found = project.load(file)
    (flow, *_) = plan.flows(found.mapping, found.connection, found.shapes)
    allowed = project.narrowed(found)
    assert allowed(flow)
    file.rename(tmp_path / "acme-hatch.yaml~")
    assert not allowed(flow)


def test_a_system_that_fails_midway_fails_the_run_and_keeps_the_pages_before(store):
    bench = Bench([thing(str(n), f"k{n}", minutes=n - 60) for n in range(9)], store=store, page=3)
    bench.target.faults.append(Fault("item", 503, {"key": "k4"}))
    done = bench.run()
    assert (done.status, bench.parked()) != ("ok", [])
    bench.target.faults.clear()
    bench.run(after=60)
    assert len(bench.items()) == 9


@pytest.mark.parametrize("first", ["none", "30m"])
@pytest.mark.parametrize("failing", ["now", "prepare", "read", "write"])
def test_a_first_run_that_fails_has_begun_all_the_same(failing, first, store, monkeypatch):
    read = {"thing": {"object": "thing", "watch": {"field": "updated_at", "first": first}}}
    bench = Bench([thing("0", "early", minutes=-31), thing("1", "new", minutes=0)], store=store, read=read)

    def broken(*_args, **_named):
        raise Unavailable("not now")

    with monkeypatch.context() as broke:
        broke.setattr(bench.source if failing in ("now", "read") else bench.target, failing, broken)
        assert bench.run().status == "failed"
    bench.run(after=60)
    assert bench.items("key") == [("new",)]


def test_creates_of_equal_payload_are_told_apart_though_only_one_of_them_is_tried(store):
    bench = Bench(match=LINKED, store=store)
    bench.target.faults.append(Fault("item", "lost_reply", times=2))
    for known in ("1", "2"):
        engine.event(bench.flow, bench.world(), thing(known, minutes=0))
    assert (len(bench.items()), len(bench.parked())) == (2, 2)
    for known in ("1", "2"):
        engine.event(bench.flow, bench.world(), thing(known, minutes=1))
    assert (len(bench.items()), bench.parked()) == (2, [])


def test_a_lost_create_whose_record_was_edited_is_one_row_even_if_the_edit_is_lost_too(store):
    bench = Bench([thing("1", name="a")], match=LINKED, store=store)
    bench.target.faults.append(Fault("item", "lost_reply", times=2))
    bench.run()
    bench.source.edit("thing", [thing("1", name="b", minutes=1)])
    bench.run(after=1)
    assert bench.outcomes == [("1", "failed", "lost_reply")]
    bench.run(after=60)
    assert bench.outcomes == [("1", "unchanged", None)]
    assert bench.items("name") == [("b",)]


# ---- creates that no key could find again ------------------------------------------------------------------------

LINKED = {"by": "link", "missing": "create", "found": "update"}


def test_a_create_whose_answer_was_lost_is_adopted(store):
    bench = Bench([thing("1")], match=LINKED, store=store)
    bench.target.faults.append(Fault("item", "lost_reply", times=1))
    bench.run()
    assert bench.outcomes == [("1", "failed", "lost_reply")]
    assert len(bench.items()) == 1
    bench.run(after=1)
    assert bench.outcomes == [CREATED]
    assert len(bench.items()) == 1
    (link,) = store.all_links(store.stream("c", "item").id)
    assert (link.remote, link.home) == ("1", bench.target.rows("item")[0]["id"])
    assert store.intents(store.stream("c", "item").id) == {}


def test_two_equal_creates_whose_answers_were_lost_pair_up(store):
    bench = Bench([thing("1"), thing("2")], match=LINKED, store=store)
    bench.target.faults.append(Fault("item", "lost_reply", times=2))
    bench.run()
    bench.run(after=1)
    assert bench.outcomes == [CREATED, ("2", "created", None)]
    assert len(bench.items()) == 2
    links = store.all_links(store.stream("c", "item").id)
    assert {link.home for link in links} == {row["id"] for row in bench.target.rows("item")}


def test_a_lost_create_that_never_arrived_is_made():
    bench = Bench([thing("1")], match=LINKED)
    bench.target.faults.append(Fault("item", "unavailable", times=4))
    bench.run()
    assert bench.items() == []
    bench.run(after=60)
    assert (bench.outcomes, len(bench.items())) == ([CREATED], 1)


def test_several_that_a_lost_create_could_have_made_are_left_to_a_person(store):
    bench = Bench([thing("1")], match=LINKED, store=store)
    bench.target.faults.append(Fault("item", "lost_reply", times=1))
    bench.run()
    bench.target.edit("item", [item("theirs")])
    bench.run(after=1)
    assert bench.outcomes == [("1", "failed", "ambiguous_match")]
    assert len(bench.items()) == 2
    bench.run(after=60)
    assert bench.outcomes == [("1", "failed", "ambiguous_match")]
    assert len(bench.items()) == 2  # waiting alone decides nothing
    bench.target.delete("item", "theirs")
    bench.run(after=60)
    assert (bench.outcomes, len(bench.items())) == ([CREATED], 1)
    assert store.intents(store.stream("c", "item").id) == {}


def test_killed_between_the_create_and_its_commit_there_is_no_twin(store):
    bench = Bench([thing("1"), thing("2", name="m")], match=LINKED, store=store)
    killed_at(bench, 1)
    assert len(bench.items()) == 1
    bench.run(after=1, alive=lambda _: False)
    assert bench.outcomes == [CREATED, ("2", "created", None)]
    assert len(bench.items()) == 2


def test_what_is_linked_is_updated_and_what_is_gone_is_not_made_again():
    bench = Bench([thing("1"), thing("2", key="o")], match=LINKED)
    bench.run()
    gone, kept = (row["id"] for row in bench.target.rows("item"))
    bench.target.delete("item", gone)
    bench.source.edit("thing", [thing("1", name="x"), thing("2", key="o", name="x")])
    bench.run(after=1)
    assert bench.outcomes == [("1", "skipped", "target_gone"), ("2", "updated", None)]
    assert bench.items("id", "name") == [(kept, "x")]


@pytest.mark.parametrize("found", ["update", "skip"])
def test_what_a_link_that_is_off_leads_to_is_neither_written_nor_made_again(found):
    bench = Bench([thing("1")], match={**LINKED, "found": found})
    bench.run()
    stream = bench.store.stream("c", "item").id
    (link,) = bench.store.all_links(stream)
    bench.store.put_links(stream, [replace(link, active=False)], bench.clock.now())
    bench.source.edit("thing", [thing("1", name="x")])
    bench.run(after=1)
    assert bench.outcomes == [("1", "skipped", "link_inactive")]
    assert bench.items("name") == [("n",)]
    assert bench.store.all_links(stream) == [replace(link, active=False)]
    other = replace(link, key=json.dumps(["by hand"]), made="manual")
    bench.store.put_links(stream, [other], bench.clock.now())
    bench.source.edit("thing", [thing("1", name="y")])
    bench.run(after=1)
    assert bench.items("name") == [("y",) if found == "update" else ("n",)]


# ---- costs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[], [thing("1", minutes=-1)]])
def test_a_run_with_nothing_to_do_commits_twice(store, rows, monkeypatch):
    bench = Bench(rows, store=store)
    bench.run()
    commits, writing = [], Store.writing

    @contextmanager
    def counted(self, lease=None):
        with writing(self, lease) as tx:
            yield tx
        commits.append(1)

    monkeypatch.setattr(Store, "writing", counted)
    bench.run(after=1)
    assert len(commits) <= 2


HATCH = {
    "connection": "c",
    "mapping": "i360_classic",
    "enabled": True,
    "objects": {"opportunity": {"direction": "pull"}},
}


def test_a_poll_of_an_org_is_one_call_and_a_rerun_writes_nothing(tmp_path, monkeypatch):
    """The mapping of the main job, over HTTP: INV3 and the price of looking."""
    folder = fixtures.recorded_shapes()
    clock = Clock()
    org = Org(shapes=fixtures.shapes(folder), clock=clock.now)
    person = str(canon.id18("a01P00000000001"))
    stamps = {"CreatedDate": at(-60), "LastModifiedDate": at(-5)}
    org.load(
        [
            {"object": "i360__Prospect__c", "Id": person, **stamps},
            {"object": "i360__Appointment__c", "Id": str(canon.id18("a02A00000000001")), "i360__Prospect__c": person, **stamps},
        ]
    )  # fmt: skip
    with serve(org) as url:
        auth = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
        systems = {
            "hatch": {"adapter": "sql", "url": f"sqlite:///{tmp_path}/hatch.db", "create_tables": True},
            "i360": {"adapter": "salesforce", "login": url, "auth": auth},
        }
        mapping = spec.mapping(parse((folder.parent / "i360_classic.yaml").read_text("utf-8"), "m").tree)
        connection = spec.connection(
            {**HATCH, "systems": systems, "schedule": {"every": "15m", "objects": ["opportunity"]}}
        )
        found = project.Project(Path(tmp_path / "c.yaml"), tmp_path, mapping, connection, shape.load(folder))
        store = Store(f"sqlite:///{tmp_path}/state.db")
        for number in range(3):
            endpoints = project.connect(found, store, clock)
            writes = []
            home = endpoints["hatch"]
            write = home.write
            home.write = lambda changes, write=write, writes=writes: writes.append(changes) or write(changes)
            org.calls.clear()
            (done,) = project.Runner(found, endpoints, store, clock).run()
            assert (done.status, done.counts["read"]) == ("ok", 1 if number == 0 else 0)
            if number:
                assert writes == []
                assert done.calls == 1
                assert sum(billed for *_, billed in org.calls) == 1
                assert not [path for _, path, _ in org.calls if path.endswith("/sobjects")]
            clock.at += timedelta(minutes=1)
            for endpoint in endpoints.values():
                endpoint.close()
        store.close()
    org.close()


def test_memory_does_not_grow_with_the_rows():
    """A first load is as wide as a page, and not as long as the table. What the systems themselves hold is not counted."""

    def peak(count):
        rows = [thing(str(n), f"k{n}", minutes=n / 1000 - 600) for n in range(count)]
        bench = Bench(rows, page=100)
        bench.told = Discarded()
        source, flow, world = bench.source, bench.flow, bench.world()
        source.read = paged(source)
        bench.target.write = lambda changes: [written(change) for change in changes]
        bench.target.read = lambda _queries: iter(())
        tracemalloc.start()
        done = engine.run(flow, world)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert done.counts["created"] == count
        return most

    peak(100)  # what is made once, on first use
    assert peak(8_000) < 1.6 * peak(1_000)


class Discarded(list):
    def extend(self, _some):
        pass


def written(change):
    return Written(change.values["key"])


def paged(source):
    """Pages as a real system gives them, instead of a copy of the whole table first."""
    table = [{**row} for row in source.rows("thing")]

    def read(queries):
        for number, _ in enumerate(queries):
            for start in range(0, len(table), 100):
                yield Page(number, [dict(row) for row in table[start : start + 100]], start + 100 >= len(table))

    return read

"""How far back a run looks, and whose rows it asks for at all."""

from __future__ import annotations

import pytest
from two_systems import START, Two, at

from connector import canon

ITEM = """\
sync: [item]
objects:
  user:
    direction: pull
    read: {person: {object: person}}
    triggers: [{changed: person}]
    write: user
    match: {keys: [email], found: link, missing: ask}
    fields: {email: person.email}
  item:
    direction: pull
    read: {thing: {object: thing, WATCHWHERE}}
    triggers: [{changed: thing}]
    write: item
    match: {keys: [key], found: update, missing: create}
    fields: {key: thing.key, name: thing.name}
"""


def mapping(watch: str = "", where: str = "") -> str:
    said = [part for part in (f"watch: {{{watch}}}" * bool(watch), f"where: {{{where}}}" * bool(where)) if part]
    return ITEM.replace(", WATCHWHERE", "".join(f", {part}" for part in said))


def thing(known: str, minutes: float, **more: object) -> dict[str, object]:
    return {"object": "thing", "id": known, "key": known, "name": "n", "updated_at": at(minutes), **more}


OLD = [thing("1", -600), thing("2", -50), thing("3", -4), thing("4", -1)]


@pytest.mark.parametrize(
    ("watch", "seen"),
    [("first: all", "1234"), ("first: none", ""), ("first: 1h", "234"), ("first: all, furthest: 10m", "34")],
)
def test_the_first_run_looks_back_as_far_as_the_mapping_says(watch: str, seen: str) -> None:
    two = Two(mapping(watch), remote=OLD)
    two.run("item")
    assert "".join(record for record, *_ in two.outcomes) == seen


@pytest.mark.parametrize(
    ("watch", "since"),
    [
        ("first: all", 5),  # from the last run, less the five minutes that are the default
        ("first: all, overlap: 7m", 3),
        ("first: all, at_least: 1h", -40),
        ("first: all, overlap: 20m, furthest: 30m", -10),
    ],
)
def test_a_later_run_begins_before_the_end_of_the_last_one(watch: str, since: float) -> None:
    two = Two(mapping(watch))
    two.run("item", after=10)
    (done,) = two.run("item", after=10)
    assert (done.since, done.until) == (at(since), at(20))


def test_what_is_further_away_than_furthest_is_not_looked_at_and_the_log_says_so() -> None:
    two = Two(mapping("first: all, furthest: 1h"))
    two.run("item")
    two.remote.edit("thing", [thing("1", 5)], stamp=False)
    (done,) = two.run("item", after=120)
    assert (done.since, two.outcomes) == (at(60), [])
    assert "window_truncated" in two.codes()


def test_a_sync_looks_further_back_than_a_run_and_writes_nothing_twice() -> None:
    two = Two(mapping("first: 1h, sync: 20h"), remote=OLD)
    two.run("item")
    two.told.clear()
    (done,) = two.runner.sync()
    assert done.since == canon.text(START.replace(day=9, hour=19))
    assert ("1", "created", None) in two.outcomes
    assert len(two.home.written) == 4


def test_without_watch_all_rows_are_read_in_every_run_and_written_once() -> None:
    two = Two(mapping(), remote=OLD)
    two.run("item")
    assert len(two.home.written) == 4
    two.run("item", after=60)
    assert len(two.home.written) == 4
    two.remote.edit("thing", [{"id": "2", "name": "new"}])
    two.run("item", after=60)
    assert two.written(two.home)[4:] == [("update", "item", {"name": "new"})]


# ---- only rows of linked records ---------------------------------------------------------------------------

LINKED = "owner: {linked: user, active: true}"


def test_nobody_linked_nothing_comes() -> None:
    two = Two(mapping("first: all", LINKED), remote=[thing("1", -1, owner="p1")])
    two.run("item")
    assert two.home.written == []


def test_a_thousand_links_are_one_question() -> None:
    rows = [thing(str(n), -1, owner=f"p{n}") for n in range(1001)]
    two = Two(mapping("first: all", LINKED), remote=rows)
    two.link("user", *((f"u{n}", f"p{n}") for n in range(1000)))
    two.run("item")
    assert len(two.home.written) == 1000
    assert two.remote.counts["thing", "find"] == 1


@pytest.mark.parametrize(("where", "written"), [(LINKED, 0), ("owner: {linked: user}", 1)])
def test_links_that_are_off_count_unless_active_ones_are_asked_for(where: str, written: int) -> None:
    two = Two(mapping("first: all", where), remote=[thing("1", -1, owner="p1")])
    two.link("user", ("u1", "p1"), active=False)
    two.run("item")
    assert len(two.home.written) == written

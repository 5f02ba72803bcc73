"""Lookups, settings, events and files of a push: what is asked, what is made, and what becomes of the record."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from two_systems import Two, at

from connector.endpoints import files
from connector.endpoints.memory import Fault
from connector.errors import Rejected

LEAD = """\
settings:
  owner: {choose: [true, false], default: false}
lookups:
  staff: {object: staff, key: email, compare: ignore_case, CALLS missing: MISSING}
objects:
  lead:
    direction: push
    read: {lead: {object: lead, watch: {first: all}}}
    triggers: [{changed: lead}]
    write: contact
    match: {by: link, found: update, missing: create}
    fields: {name: lead.name, owner_id: {lookup: staff, by: lead.staff_id}}
  member:
    direction: push
    enabled: settings.owner
    read: {member: {object: member, watch: {first: all}}}
    triggers: [{changed: member}]
    write: member
    match: {by: link, found: update, missing: create}
    fields: {owner_id: {lookup: staff, by: member.staff_id}}
"""


def mapping(missing: str = "empty", calls: str = "") -> str:
    return LEAD.replace("MISSING", missing).replace("CALLS ", f"calls: {{{calls}}}, " if calls else "")


def lead(known: str = "L1", staff: str | None = "S1") -> dict[str, Any]:
    return {"object": "lead", "id": known, "name": "Pat", "staff_id": staff, "updated_at": at(-1)}


def staff(known: str, email: str | None = "Ann@example.com") -> dict[str, Any]:
    return {"object": "staff", "id": known, "email": email}


HOME = [lead(), staff("S1")]


def owners(two: Two) -> list[Any]:
    return [row.get("owner_id") for row in two.remote.rows("contact")]


@pytest.mark.parametrize("calls", ["", "list: required", "find: required", "list: preferred, find: preferred"])
def test_letter_case_and_outer_blanks_do_not_count_by_whatever_call(calls: str) -> None:
    two = Two(mapping(calls=calls), HOME, [staff("T1", " ANN@example.com "), staff("T2", "bo@example.com")])
    two.run()
    assert owners(two) == ["T1"]


@pytest.mark.parametrize(
    ("there", "owner"),
    [
        ([staff("T1", "ANN@example.com"), staff("T2", "ann@example.com")], None),
        ([staff("T1", "ANN@example.com"), staff("T2", "Ann@example.com")], "T2"),  # the one that is spelled alike
        ([staff("T1"), staff("T2")], None),
    ],
)
def test_several_are_settled_by_an_exact_one_or_count_as_none(there: list[Any], owner: str | None) -> None:
    two = Two(mapping(), HOME, there)
    two.run()
    assert owners(two) == [owner]
    assert ("ambiguous_lookup" in two.codes()) == (owner is None)


@pytest.mark.parametrize(
    ("missing", "outcome", "made"),
    [
        ("empty", ("L1", "created", None), 0),
        ("create", ("L1", "created", None), 1),
        ("create_or_empty", ("L1", "created", None), 1),
        ("skip", ("L1", "skipped", "lookup_failed"), 0),
        ("fail", ("L1", "failed", "lookup_failed"), 0),
        ("ask", ("L1", "blocked", "not_linked"), 0),
    ],
)
def test_when_there_is_none_the_mapping_says_what_becomes_of_the_record(missing: str, outcome: Any, made: int) -> None:
    two = Two(mapping(missing), HOME)
    two.run()
    assert two.outcomes == [outcome]
    assert len(two.remote.rows("staff")) == made
    assert owners(two) == [None if not made else "new1"][: outcome[1] == "created"]


@pytest.mark.parametrize(
    ("missing", "outcome"),
    [("create", ("L1", "failed", "create_failed")), ("create_or_empty", ("L1", "created", None))],
)
def test_a_refused_create_fails_the_record_or_leaves_the_field_empty(missing: str, outcome: Any) -> None:
    two = Two(mapping(missing), HOME)
    two.remote.faults.append(Fault("staff", answer=422))
    two.run()
    assert two.outcomes == [outcome]
    assert "create_failed" in two.codes()


@pytest.mark.parametrize(("system", "missing"), [("remote", "create"), ("remote", "empty"), ("home", "create")])
def test_a_side_that_cannot_be_asked_is_never_no_match(system: str, missing: str) -> None:
    two = Two(mapping(missing), [lead(), lead("L2", None), staff("S1")])
    getattr(two, system).faults.append(Fault("staff", verb="read", answer=503, times=5))
    two.run()
    assert two.outcomes == [("L1", "failed", "source_unavailable"), ("L2", "created", None)]
    assert two.remote.rows("staff") == []
    two.remote.edit("staff", [staff("T1")])
    two.run(after=60)
    assert two.outcomes == [("L1", "created", None)]
    assert "T1" in owners(two)


@pytest.mark.parametrize(("active", "owner"), [(True, "T9"), (False, None)])
def test_a_link_made_by_hand_wins_and_one_that_is_off_says_none(active: bool, owner: str | None) -> None:
    two = Two(mapping(), HOME, [staff("T1"), staff("T9", "else@example.com")])
    two.link("staff", ("S1", "T9"), active=active)
    two.run()
    assert owners(two) == [owner]


def test_a_list_is_asked_for_once_in_a_run_of_two_objects_and_what_is_made_is_known_to_both() -> None:
    member = {"object": "member", "id": "M1", "staff_id": "S2", "updated_at": at(-1)}
    home = [lead(), staff("S1"), member, staff("S2", "ANN@EXAMPLE.COM")]
    two = Two(mapping("create", "list: required, create: required"), home, settings={"owner": True})
    two.run()
    assert two.remote.counts["staff", "list"] == 1
    assert [row["owner_id"] for row in two.remote.rows("member")] == owners(two) == ["new1"]
    assert len(two.remote.rows("staff")) == 1


@pytest.mark.parametrize(("chosen", "written"), [({}, 0), ({"owner": False}, 0), ({"owner": True}, 1)])
def test_an_object_is_on_when_its_setting_says_so(chosen: dict[str, Any], written: int) -> None:
    two = Two(mapping(), [{"object": "member", "id": "M1", "updated_at": at(-1)}], settings=chosen)
    two.run()
    assert len(two.remote.rows("member")) == written


# ---- events ------------------------------------------------------------------------------------------------


def test_an_event_is_applied_now_and_the_next_run_writes_nothing_again() -> None:
    two = Two(mapping(), [staff("S1")], [staff("T1")])
    record = lead()
    two.home.edit("lead", [record], stamp=False)
    two.runner.event("lead", record)
    assert owners(two) == ["T1"]
    two.run(after=1)
    assert len(two.remote.written) == 1


# ---- files -------------------------------------------------------------------------------------------------

PAPER = """\
objects:
  paper:
    direction: push
    read: {paper: {object: paper, watch: {first: all}}}
    triggers: [{changed: paper}]
    write: Paper
    match: {by: link, found: skip, missing: create}
    fields: {Title: paper.name, Body: {file: paper.url}}
"""
GOOD = f"data:text/plain;base64,{b64encode(b'hello').decode()}"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:text/plain;base64,?", "INVALID_FILE"),
        ("data:text/plain", "INVALID_FILE"),
        ("https://elsewhere.example.com/a.pdf", "FILE_REFUSED"),
        ("file:///etc/passwd", "FILE_REFUSED"),
        ("http://127.0.0.1:9/a.pdf", "FILE_REFUSED"),
    ],
)
def test_a_record_with_a_bad_file_fails_alone(url: str, reason: str) -> None:
    rows = [
        {"object": "paper", "id": n, "name": n, "url": u, "updated_at": at(-1)} for n, u in (("1", url), ("2", GOOD))
    ]
    two = Two(PAPER, rows)
    two.run()
    assert two.outcomes == [("1", "failed", "rejected"), ("2", "created", None)]
    assert [(row["Title"], row["Body"]) for row in two.remote.rows("Paper")] == [("2", b64encode(b"hello").decode())]
    with pytest.raises(Rejected) as refused:
        files.opener()(url).open()
    assert refused.value.reason == reason


def test_a_file_in_its_address_has_a_size_that_is_known_and_limited() -> None:
    assert files.opener()(GOOD).size == 5
    large = "data:;base64," + b64encode(bytes(files.INLINE + 1)).decode()
    with pytest.raises(Rejected, match="10 MB at most"):
        files.opener()(large).open()


# ---- pairs -------------------------------------------------------------------------------------------------

PAIR = """\
objects:
  person:
    direction: both
    pair: {home: person, remote: contact}
    match: {by: link, found: update, missing: create}
    conflict: CONFLICT
    fields:
      name: full_name
      stage: {remote: status, values: {lead: L, client: C}}
      note: {remote: memo, only: push}
"""
BOTH = (
    [{"object": "person", "id": "h1", "name": "Pat", "stage": "lead", "note": "n", "updated_at": at(-9)}],
    [{"object": "contact", "id": "r1", "full_name": "Pat", "status": "L", "memo": "n", "updated_at": at(-9)}],
)


@pytest.mark.parametrize(
    ("way", "written"), [("pull", (1, 0)), ("push", (0, 1)), ("both", (1, 1)), ("disabled", (0, 0))]
)
def test_a_pair_flows_the_ways_that_the_connection_chooses(way: str, written: tuple[int, int]) -> None:
    two = Two(PAIR.replace("CONFLICT", "home"), *BOTH, objects={"person": {"direction": way}})
    two.run("person")
    assert (len(two.home.written), len(two.remote.written)) == written


def test_what_one_side_changes_reaches_the_other_and_does_not_come_back() -> None:
    two = Two(PAIR.replace("CONFLICT", "home"), *BOTH)
    two.link("person", ("h1", "r1"))
    two.run()
    two.home.edit("person", [{"id": "h1", "stage": "client"}])
    two.remote.edit("contact", [{"id": "r1", "full_name": "Patty", "memo": "theirs"}])
    for _ in range(3):
        two.run(after=10)
    assert two.written(two.remote)[-1:] == [("update", "contact", {"status": "C"})]
    assert two.written(two.home) == [("update", "person", {"name": "Patty"})]


@pytest.mark.parametrize(("conflict", "name"), [("home", "Ann"), ("remote", "Bo"), ("newest", "Bo")])
def test_when_both_have_changed_a_field_the_mapping_says_who_wins(conflict: str, name: str) -> None:
    two = Two(PAIR.replace("CONFLICT", conflict), *BOTH)
    two.link("person", ("h1", "r1"))
    two.run()
    two.clock.sleep(60)
    two.home.edit("person", [{"id": "h1", "name": "Ann"}])
    two.clock.sleep(60)
    two.remote.edit("contact", [{"id": "r1", "full_name": "Bo"}])
    for _ in range(3):
        two.run(after=10)
    assert [row["name"] for row in two.home.rows("person")] == [name]
    assert [row["full_name"] for row in two.remote.rows("contact")] == [name]

"""The server behind `connector test --http` for systems with an api file: what the adapter asks, it answers by the same file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import examples, lint, source, spec
from connector.endpoints.http.adapter import Http
from connector.endpoints.http.call import filled
from connector.endpoints.memory import Fault
from connector.errors import Drifted, EndpointError, Rejected, SpecError, Unanswered, Unauthorized
from connector.examples.apiserver import System, caught, serve
from connector.model import Change, Query, Where, Window

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
API = """\
api: vendor
auth: {value: "Bearer {key}"}
errors: {message: error.message, code: error.code}
objects:
  staff:
    id: ref
    number_ids: true
    stamp: changed
    fields: data
    types: {changed: seconds}
    list: {call: "POST /staff/search", json: {after: "{since}", from: "{offset}"}, items: result.rows, total: result.count, since: {as: seconds}}
    find:
      email: {call: GET /staff, query: {email: "{value}"}, items: rows, ignores_case: true}
      ref: {call: GET /staff, query: {refs: "{values}"}, items: rows, batch: 2}
    create: {call: POST /staff, json: {data: "{fields}"}, id: made.ref}
    update: {call: "PATCH /staff/{id}", json: {data: "{fields}"}}
  note:
    list: {call: GET /notes, query: {page: "{page}"}, items: notes, more: "!last"}
    save: {call: POST /notes, json: "{record}"}
"""
STAFF = [
    {"object": "staff", "id": str(n), "email": f"{n}@example.com", "changed": "2026-03-01T00:00:00Z"}
    for n in range(1, 8)
]


class Clock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@contextmanager
def vendor(rows: Any = STAFF, key: str = "right", **more: Any) -> Iterator[tuple[Http, System]]:
    read = source.parse(API, "vendor.yaml")
    assert [found for found in lint.check_source(read) if found.level == "error"] == []
    clock = Clock()
    system = System(read.tree, clock, rows, {"key": "right"}, page=3, **more)
    with serve(system) as url:
        settings = {"url": url, "api": read.tree, "auth": {"key": key}}
        with closing(Http("vendor", settings, clock=clock)) as endpoint:
            yield endpoint, system


def rows(endpoint: Http, name: str, **query: Any) -> list[Any]:
    asked = Query(name, **{"whole": True, "stamped": False, **query})
    return [row for page in endpoint.read([asked]) for row in page.rows]


def test_a_list_is_read_to_its_end_page_by_page() -> None:
    with vendor() as (endpoint, system):
        assert [row["ref"] for row in rows(endpoint, "staff")] == list("1234567")
        assert system.counts == {("staff", "list"): 3}


def test_pages_by_number_end_where_the_system_says() -> None:
    with vendor([{"object": "note", "id": f"n{n}"} for n in range(6)]) as (endpoint, system):
        assert len(rows(endpoint, "note")) == 6
        assert system.counts == {("note", "list"): 2}


def test_a_search_finds_as_the_file_says_and_is_no_list() -> None:
    with vendor() as (endpoint, system):
        found = rows(endpoint, "staff", where=(Where("email", (" 3@EXAMPLE.com",), fold=True),))
        assert [row["ref"] for row in found] == ["3"]
        assert system.counts == {("staff", "find"): 1}


def test_a_search_takes_several_values_at_once() -> None:
    with vendor() as (endpoint, system):
        found = rows(endpoint, "staff", where=(Where("ref", ("2", "9", "7")),))
        assert [row["ref"] for row in found] == ["2", "7"]
        assert system.counts == {("staff", "find"): 2}


def test_only_what_changed_since_is_listed() -> None:
    with vendor() as (endpoint, system):
        system.edit("staff", {"id": "5", "email": "five@example.com"})
        window = Window(START - timedelta(hours=1), START + timedelta(hours=1))
        found = rows(endpoint, "staff", window=window)
        assert [(row["ref"], row["email"], row["changed"]) for row in found] == [
            ("5", "five@example.com", "2026-03-02T09:00:00Z")
        ]
        assert system.counts == {("staff", "list"): 1}


def test_the_system_numbers_what_it_makes_and_stamps_what_is_touched() -> None:
    with vendor([{**STAFF[0], "id": "9"}]) as (endpoint, system):
        endpoint.prepare("staff", [], [])
        changes = [
            Change("create", "staff", {"email": "new@example.com"}),
            Change("update", "staff", {"email": None}, "9"),
        ]
        assert [(one.id, one.error) for one in endpoint.write(changes)] == [("10", None), ("9", None)]
        held = [(row["id"], row["email"], row["changed"]) for row in system.rows("staff")]
        assert held == [("9", None, "2026-03-02T09:00:00Z"), ("10", "new@example.com", "2026-03-02T09:00:00Z")]
        assert system.counts == {("staff", "create"): 1, ("staff", "update"): 1}


def test_a_save_makes_one_without_an_id_and_changes_one_with_it() -> None:
    with vendor([{"object": "note", "id": "a", "text": "x", "kept": 1}]) as (endpoint, system):
        endpoint.prepare("note", [], [])
        changes = [Change("create", "note", {"text": "y"}), Change("update", "note", {"text": "z"}, "a")]
        assert [one.error for one in endpoint.write(changes)] == [None, None]
        assert system.rows("note") == [{"id": "a", "text": "z", "kept": 1}, {"id": "new1", "text": "y"}]
        assert system.counts == {("note", "create"): 1, ("note", "update"): 1}
        (gone,) = endpoint.write([Change("update", "note", {"text": "z"}, "b")])
        assert isinstance(gone.error, Rejected)


def test_a_wrong_key_is_refused() -> None:
    with vendor(key="wrong") as (endpoint, _), pytest.raises(Unauthorized, match="this key is not known"):
        rows(endpoint, "staff")


def test_a_call_that_no_file_declares_is_not_there() -> None:
    with vendor() as (endpoint, system):
        system.routes = [route for route in system.routes if route.verb != "list"]
        with pytest.raises(Drifted, match="there is no call POST /staff/search"):
            rows(endpoint, "staff")


@pytest.mark.parametrize(
    ("answer", "error"), [(422, Rejected), (409, Rejected), (503, Unanswered), ("timeout", Unanswered)]
)
def test_a_write_that_is_refused_does_nothing(answer: int | str, error: type[EndpointError]) -> None:
    fault = Fault("note", answer, {"text": "bad"})
    with vendor([], faults=[fault]) as (endpoint, system):
        endpoint.prepare("note", [], [])
        answers = endpoint.write([Change("create", "note", {"text": text}) for text in ("good", "bad", "too")])
        assert [type(one.error) for one in answers] == [type(None), error, type(None)]
        assert [row["text"] for row in system.rows("note")] == ["good", "too"]


def test_a_reply_that_is_lost_leaves_the_row_there() -> None:
    with vendor([], faults=[Fault("note", "lost_reply", times=1)]) as (endpoint, system):
        endpoint.prepare("note", [], [])
        (answer,) = endpoint.write([Change("create", "note", {"text": "x"})])
        assert isinstance(answer.error, Unanswered)
        assert [row["text"] for row in system.rows("note")] == ["x"]


def test_an_outage_of_a_while_is_waited_for() -> None:
    with vendor(faults=[Fault("staff", 503, verb="read", times=2)]) as (endpoint, system):
        assert len(rows(endpoint, "staff")) == 7
        assert system.counts == {("staff", "list"): 5}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("items: notes", 'items: "notes[]"', r"notes\[\]"),
        ('more: "!last"', "link: links.next", "link"),
        ('json: "{record}"', "repeatable: true", "a save that finds by its fields"),
    ],
)
def test_what_cannot_be_served_is_said(old: str, new: str, said: str) -> None:
    tree = source.parse(API.replace(old, new)).tree
    with pytest.raises(SpecError, match=f"api vendor: {said} cannot be served"):
        System(tree, Clock())


SHIPPED = [path.stem for path in (spec.shipped() / "apis").glob("*.yaml")]


def test_the_pattern_to_copy_is_served() -> None:
    assert "intouch_partner" in SHIPPED
    System(source.read(spec.shipped() / "apis" / "intouch_partner.yaml").tree, Clock())


# ---- the other way round of a call ------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
VALUES = st.fixed_dictionaries({"id": TEXT, "fields": st.dictionaries(TEXT, TEXT, max_size=2)})


@given(VALUES)
def test_what_is_filled_in_is_caught_again(values: dict[str, Any]) -> None:
    node = {"of": ["person", {"at": "x:{id}"}], "say": "{fields}", "other": "{cursor}"}
    assert caught(node, filled(node, values)) == values


@pytest.mark.parametrize("sent", [{"kind": "b"}, {"kind": "a", "more": 1}, {}, [], {"kind": "a", "n": [2]}])
def test_what_says_anything_else_is_another_call(sent: Any) -> None:
    assert caught({"kind": "a", "n": ["{one}", 2]}, sent) is None


# ---- the runner -------------------------------------------------------------------------------------------


def test_calls_are_counted_over_http_too() -> None:
    suite = examples.load(spec.shipped() / "tests" / "staff_leadsource.yaml")
    example = next(one for one in suite.tree["examples"] if one["id"] == "I9")
    example["expect"]["calls"] = {"remote.staff.list": 2}
    (result,) = examples.run(suite, http=True, only=lambda name: name == "I9")
    assert result.faults == ("calls remote.staff.list: expected 2, got 1",)


def test_without_shapes_and_without_an_api_file_it_is_said_where_one_would_be_named(tmp_path: Path) -> None:
    shutil.copytree(spec.shipped(), tmp_path / "mappings")
    (tmp_path / "mappings" / "connections" / "acme-intouch.yaml").rename(tmp_path / "acme.yaml")
    file = tmp_path / "mappings" / "tests" / "staff_leadsource.yaml"
    file.write_text(file.read_text("utf-8").replace("mapping: staff_leadsource", "mapping: ../staff_leadsource.yaml"))
    suite = examples.load(file)
    (result,) = examples.run(suite, http=True, only=lambda name: name == "I9")
    assert "no connection of staff_leadsource says api: for it" in result.faults[0]
    (tmp_path / "connections").mkdir()
    text = (tmp_path / "acme.yaml").read_text("utf-8").replace("mapping: staff", "mapping: ../mappings/staff")
    text = text.replace("staff_leadsource\n", "staff_leadsource.yaml\n", 1)
    (tmp_path / "connections" / "acme.yaml").write_text(text, "utf-8")
    (result,) = examples.run(suite, http=True, only=lambda name: name == "I9")
    assert result.faults == ()

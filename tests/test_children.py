"""Records below each record: of a list in its row, or of the values of a picklist; and what a picklist no longer has."""

from __future__ import annotations

from base64 import b64encode

import pytest
from two_systems import Two, at

from connector.endpoints.memory import Fault
from connector.model import Field, Option, Shape

ORDER = """\
objects:
  order:
    direction: pull
    read: {order: {object: order, watch: {first: all}}}
    triggers: [{changed: order}]
    write: invoice
    match: {keys: [number], found: update, missing: create}
    fields: {number: {required: order.number}}
    children:
      line:
        each: order.lines
        as: row
        write: line
        match: {keys: [invoice_id, sku], found: update, missing: create}
        fields: {invoice_id: {link: parent}, sku: row.sku, count: row.count}
"""


def order(known: str, *lines: dict[str, object], number: str | None = "n") -> dict[str, object]:
    number = number and f"{number}{known}"
    return {"object": "order", "id": known, "number": number, "lines": list(lines), "updated_at": at(-1)}


def lines(two: Two) -> list[tuple[object, ...]]:
    return sorted((row["invoice_id"], row["sku"], row["count"]) for row in two.home.rows("line"))


def test_children_are_made_below_their_record_and_written_when_they_differ() -> None:
    two = Two(ORDER, remote=[order("1", {"sku": "a", "count": 1}, {"sku": "b", "count": 2})])
    two.run()
    assert two.outcomes == [("1", "created", None)]
    assert lines(two) == [("new1", "a", 1), ("new1", "b", 2)]
    two.remote.edit("order", [order("1", {"sku": "a", "count": 1}, {"sku": "b", "count": 3})])
    two.run(after=10)
    assert two.outcomes == [("1", "updated", None)]
    assert two.written(two.home)[3:] == [("update", "line", {"count": 3})]
    two.remote.edit("order", [{"id": "1", "color": "red"}])
    two.run(after=10)
    assert (two.outcomes, len(two.home.written)) == ([("1", "unchanged", None)], 4)


def test_a_child_that_fails_fails_its_record_alone_and_is_tried_again_with_it() -> None:
    two = Two(ORDER, remote=[order("1", {"sku": "a", "count": 1}), order("2", {"sku": "b", "count": 2})])
    two.home.faults.append(Fault("line", answer=422, match={"sku": "a"}, times=1))
    two.run()
    assert two.outcomes == [("1", "failed", "rejected"), ("2", "created", None)]
    two.run(after=60)
    assert two.outcomes == [("1", "updated", None)]
    assert [sku for _, sku, _ in lines(two)] == ["a", "b"]


def test_a_record_that_is_skipped_has_no_children() -> None:
    two = Two(ORDER, remote=[order("1", {"sku": "a", "count": 1}, number=None)])
    two.run()
    assert (two.outcomes, two.home.written) == ([("1", "skipped", "no_parent")], [])


def test_a_preview_tells_of_children_and_writes_none() -> None:
    two = Two(ORDER, remote=[order("1", {"sku": "a", "count": 1})])
    two.runner.preview()
    assert (two.outcomes, two.home.written) == ([("1", "created", None)], [])


# ---- picklists ---------------------------------------------------------------------------------------------

STATUS = """\
objects:
  result:
    direction: pull
    read: {option: {picklist: Visit.Status}}
    triggers: [{changed: option}]
    write: result
    match: {keys: [name], found: update, missing: create}
    fields: {name: option.value, place: option.index, on: option.active}
    children:
      detail:
        read: {option: {picklist: Visit.Detail, valid_for: parent.name}}
        write: detail
        match: {keys: [result_id, name], found: update, missing: create}
        fields: {result_id: {link: parent}, name: option.value, place: option.index}
"""


def visit(*statuses: str, controller: str | None = "Status", off: str = "", **details: str) -> dict[str, Shape]:
    """The shape of a visit: `details` are named by value, and hold the statuses that they go with."""

    def bits(held: str) -> str:
        return b64encode(bytes([sum(0x80 >> n for n, name in enumerate(statuses) if name in held)])).decode()

    def field(name: str, options: list[Option], controller: str | None = None) -> Field:
        active = tuple(option.value for option in options if option.active)
        return Field(name, "picklist", picklist=active, options=tuple(options), controller=controller)

    fields = [
        field("Status", [Option(name, name, active=name != off) for name in statuses]),
        field("Detail", [Option(name, name, valid_for=bits(held)) for name, held in details.items()], controller),
        Field("Id", "id"),
    ]
    return {"Visit": Shape("Visit", "Visit", {each.name: each for each in fields})}


def named(two: Two, table: str) -> list[tuple[str, int]]:
    return sorted((row["name"], row["place"]) for row in two.home.rows(table))


def test_the_values_of_a_picklist_are_records_and_those_valid_for_each_its_children() -> None:
    two = Two(STATUS, shapes=visit("Sold", "Lost", price="Lost", cash="Sold", later="Lost"))
    two.run()
    assert named(two, "result") == [("Lost", 1), ("Sold", 0)]
    assert named(two, "detail") == [("cash", 0), ("later", 1), ("price", 0)]
    written = len(two.home.written)
    two.run(after=10)
    assert len(two.home.written) == written


def test_a_value_that_is_gone_is_kept_and_the_log_says_so() -> None:
    two = Two(STATUS, shapes=visit("Sold", "Lost", cash="Sold", price="Lost"))
    two.run()
    two.remote.shapes = visit("Sold", cash="Sold")
    two.run(after=10)
    assert named(two, "result") == [("Lost", 1), ("Sold", 0)]
    assert "value_gone" in two.codes()


def test_an_inactive_value_is_a_row_that_says_so() -> None:
    two = Two(STATUS, shapes=visit("Sold", "Lost", off="Lost", cash="Sold"))
    two.run()
    assert sorted((row["name"], row["on"]) for row in two.home.rows("result")) == [("Lost", False), ("Sold", True)]


def test_details_that_depend_on_nothing_fail_and_the_results_stand() -> None:
    """The rest of a sync goes on: another object is written."""
    more = STATUS + STATUS.replace("objects:\n", "").replace("result:", "other:", 1).split("    children:")[0].replace(
        "write: result", "write: other"
    )
    two = Two(f"sync: [result, other]\n{more}", shapes=visit("Sold", "Lost", controller=None, cash="Sold"))
    two.runner.sync()
    assert named(two, "result") == named(two, "other") == [("Lost", 1), ("Sold", 0)]
    assert two.home.rows("detail") == []
    assert {reason for _, outcome, reason in two.outcomes if outcome == "failed"} == {"not_dependent"}
    assert "not_dependent" in two.codes()


# ---- what depends is refused before the call -----------------------------------------------------------------

STAGE = """\
objects:
  stage:
    direction: push
    read: {stage: {object: stage, watch: {first: all}}}
    triggers: [{changed: stage}]
    write: Visit
    match: {keys: [{field: Id, from: stage.visit}], found: update, missing: skip}
    fields: {Status: stage.result, Detail: stage.detail}
"""


@pytest.mark.parametrize(
    ("detail", "outcome"),
    [("cash", ("s1", "updated", None)), ("price", ("s1", "failed", "invalid_dependent_value"))],
)
def test_a_value_that_does_not_go_with_its_controller_is_refused_before_the_call(
    detail: str, outcome: tuple[str, str, str | None]
) -> None:
    stage = {"object": "stage", "id": "s1", "visit": "a01", "result": "Sold", "detail": detail, "updated_at": at(-1)}
    row = {"object": "Visit", "Id": "a01", "Status": None, "Detail": None}
    two = Two(STAGE, [stage], [row], shapes=visit("Sold", "Lost", cash="Sold", price="Lost"))
    two.run()
    assert two.outcomes == [outcome]
    assert two.remote.counts["Visit", "update"] == (outcome[1] == "updated")

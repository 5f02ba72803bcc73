"""What the Salesforce adapter reads beyond a plain poll: deleted rows, late ones, hidden fields, long queries, Bulk."""

import csv
import io
import json
from datetime import timedelta

import httpx
import pytest
from test_salesforce import (
    ACTIVITY,
    CHANGED,
    DESCRIBED,
    EMAIL,
    NINE,
    PROJECT,
    PROSPECT,
    SHAPES,
    SURNAME,
    ask,
    composite,
    org_of,
    prospects,
    recorded,
    rows,
    scripted,
)

from connector.endpoints.salesforce import bulk, reading
from connector.endpoints.salesforce.soql import soql
from connector.errors import Drifted
from connector.model import Query, Where, Window

# ---- deleted and merged rows -----------------------------------------------------------------------------


def test_deleted_rows_come_in_the_same_call_if_they_are_asked_for():
    with org_of(*prospects(3)) as (org, adapter):
        org.delete(PROSPECT, org.ids[1])
        adapter.describe([PROSPECT])
        before = org.billed
        poll = Query(PROSPECT, (EMAIL,), window=CHANGED, deleted=True)
        found = {row["Id"]: row["IsDeleted"] for row in ask(adapter, poll)}
        assert org.billed - before == 1
        assert found == {org.ids[0]: False, org.ids[1]: True, org.ids[2]: False}
        assert {row["Id"] for row in ask(adapter, Query(PROSPECT, (EMAIL,), window=CHANGED))} == {
            org.ids[0],
            org.ids[2],
        }


def test_a_merged_row_says_which_one_has_taken_its_place():
    with org_of({"object": "Account", "Name": "Acme"}, {"object": "Account", "Name": "Acme Ltd"}) as (org, adapter):
        master, loser = org.ids
        org.merge("Account", master, [loser])
        found = ask(adapter, Query("Account", ("Name",), window=Window(None, NINE), deleted=True))
    assert {row["Id"]: (row["IsDeleted"], row["MasterRecordId"]) for row in found} == {
        master: (False, None),
        loser: (True, master),
    }


def test_deleted_rows_page_by_page():
    with org_of(*prospects(7), page_size=2) as (org, adapter):
        org.delete(PROSPECT, org.ids[3])
        found = ask(adapter, Query(PROSPECT, window=CHANGED, deleted=True))
    assert sorted(row["Id"] for row in found) == sorted(org.ids)


def test_lists_below_a_row_have_living_rows_only():
    with org_of({"object": PROJECT, "Name": "Kitchen"}) as (org, adapter):
        kitchen = org.ids[0]
        one, two = org.load({"object": ACTIVITY, "Name": name, "i360__Project__c": kitchen} for name in ("a", "b"))
        org.delete(ACTIVITY, one)
        adapter.describe([PROJECT, ACTIVITY])
        below = {"i360__Production_Activities__r": Query(ACTIVITY, ("Id",), stamped=False)}
        (row,) = ask(adapter, Query(PROJECT, ("Name",), window=CHANGED, deleted=True, children=below))
    assert row["i360__Production_Activities__r"] == [{"Id": two}]


# ---- rows that come late, fields that go -----------------------------------------------------------------


def test_what_is_committed_late_with_an_older_stamp_is_found_by_the_overlap():
    with org_of(*prospects(1)) as (org, adapter):
        (late,) = org.load([{"object": PROSPECT, SURNAME: "Late"}], late=120)
        first = ask(adapter, Query(PROSPECT, window=CHANGED))
        assert late not in {row["Id"] for row in first}
        org.set_clock(NINE + timedelta(minutes=15))
        without = Window(NINE, NINE + timedelta(minutes=15))
        overlapping = Window(NINE - timedelta(minutes=5), NINE + timedelta(minutes=15))
        (row,) = (row for row in ask(adapter, Query(PROSPECT, window=overlapping)) if row["Id"] == late)
        assert row["SystemModstamp"] == "2026-03-02T09:00:00Z"
        after = (first[-1]["SystemModstamp"], first[-1]["Id"])
        assert late in {
            row["Id"] for row in ask(adapter, Query(PROSPECT, window=Window(None, without.until, after=after)))
        }


def test_a_hidden_field_stops_what_reads_it_and_nothing_else():
    hidden = {f"{PROSPECT}.{EMAIL}": "none", f"{PROSPECT}.{SURNAME}": "none"}
    with org_of(*prospects(1), {"object": PROJECT, "Name": "Kitchen"}) as (org, adapter):
        reads_it = Query(PROSPECT, (EMAIL, "Name", SURNAME), window=CHANGED)
        ask(adapter, reads_it)
        (user,) = org.users.values()
        org.permit(user.username, fields=hidden)
        with pytest.raises(Drifted) as caught:
            ask(adapter, reads_it)
        assert f"{PROSPECT} has no field {EMAIL}" in str(caught.value)
        assert f"{PROSPECT} has no field {SURNAME}" in str(caught.value)
        assert [row["Name"] for row in ask(adapter, Query(PROJECT, ("Name",), window=CHANGED))] == ["Kitchen"]
        assert len(ask(adapter, Query(PROSPECT, ("Name",), window=CHANGED))) == 1
        assert len(ask(adapter, Query(PROSPECT, whole=True, window=CHANGED))) == 1


def test_a_field_that_a_describe_still_has_is_asked_for_once_more_as_a_whole():
    """To lose a right to a field may not count as a change of the object: the conditional describe says 304."""
    failing = (
        400,
        [
            {
                "errorCode": "INVALID_FIELD",
                "message": f"\nSELECT {EMAIL}\n       ^\nERROR at Row:1:Column:8\nNo such column '{EMAIL}' on entity '{PROSPECT}'. If you are attempting to use a custom field, be sure to append the '__c'",
            }
        ],
    )
    fields = [field for field in DESCRIBED["fields"] if field["name"] != EMAIL]
    with scripted(composite((304, None), failing), composite(DESCRIBED | {"fields": fields})) as adapter:
        adapter._describes.know([Query(PROSPECT)])
        adapter._describes._modified[PROSPECT] = "Mon, 02 Mar 2026 08:00:00 GMT"
        with pytest.raises(Drifted, match=f"{PROSPECT} has no field {EMAIL}"):
            ask(adapter)
        (again,) = json.loads(adapter.script.requests[-1].content)["compositeRequest"]
        assert "httpHeaders" not in again


def test_a_field_that_only_the_org_knows_to_be_gone_is_named_without_the_query():
    said = f"\nSELECT {'X, ' * 300} FROM {PROSPECT}\n       ^\nERROR at Row:1:Column:8\nNo such column '{EMAIL}' on entity '{PROSPECT}'. If you are attempting to use a custom field, be sure to append the '__c'"
    failing = (400, [{"errorCode": "INVALID_FIELD", "message": said}])
    with scripted(composite(DESCRIBED, failing)) as adapter, pytest.raises(Drifted) as caught:
        ask(adapter)
    assert str(caught.value) == (
        f"acme.my.salesforce.com: INVALID_FIELD: No such column '{EMAIL}' on entity '{PROSPECT}'; "
        "it is gone, or hidden from the integration user: grant it, or take it out of the mapping"
    )


# ---- long queries, page sizes, places --------------------------------------------------------------------


def test_a_query_of_fifty_thousand_characters_is_one_call():
    """In an address it would be too long for the org (414): all queries go in the body of a composite call."""
    names = tuple(f"{n} {'x' * 180}" for n in range(300))
    query = Query(PROSPECT, (EMAIL,), where=(Where(SURNAME, (*names, "Lovelace 1")),), stamped=False)
    assert len(soql(query, SHAPES)) > 50_000
    with org_of(*prospects(3)) as (org, adapter):
        adapter.describe([PROSPECT])
        before = org.billed
        assert ask(adapter, query) == [{EMAIL: "ada1@example.com"}]
        assert org.billed - before == 1


def test_a_window_that_takes_several_queries_comes_in_one_order(monkeypatch):
    """A run goes on behind the last row that it has stored: a row of another query must not stand behind it."""
    monkeypatch.setattr(reading, "MERGED", 3)
    names = [f"{n} {'x' * 200}" for n in range(900)]
    given = [
        {"object": PROSPECT, SURNAME: names[n * 407 % 900], EMAIL: f"ada{n}@example.com"} for n in range(20)
    ]  # what is asked first is not what was made first
    with org_of(*given, page_size=4) as (org, adapter):
        query = Query(PROSPECT, (EMAIL, SURNAME), where=(Where(SURNAME, tuple(names)),), window=CHANGED)
        pages = list(adapter.read([query]))
        assert len(org.queries) > 2
        places = [(row["SystemModstamp"], row["Id"]) for page in pages for row in page.rows]
        assert places == sorted(places)
        assert len(places) == 20
        assert [page.last for page in pages] == [False] * 6 + [True]
        behind = Window(CHANGED.since, CHANGED.until, after=places[7])
        assert [
            row["Id"] for row in ask(adapter, Query(query.object, query.paths, where=query.where, window=behind))
        ] == [known for _, known in places[8:]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2000])
def test_pages_are_as_long_as_the_org_likes(size):
    with org_of(*prospects(7), page_size=size) as (_, adapter):
        found = ask(adapter, Query(PROSPECT, (EMAIL,), window=CHANGED))
    assert [row[EMAIL] for row in found] == [f"ada{n}@example.com" for n in range(7)]


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("lost", range(1, 4))
def test_a_read_goes_on_anywhere(lost, status):
    """The place is lost before the n-th further page; what was handed out is not read again."""
    with org_of(*prospects(8), page_size=2) as (org, adapter):
        org.fault(PROSPECT, verb="read", status=status, path="*/query/*", nth=lost)
        found = ask(adapter, Query(PROSPECT, (EMAIL,), window=CHANGED))
    assert [row[EMAIL] for row in found] == [f"ada{n}@example.com" for n in range(8)]


# ---- Bulk ------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """A Bulk job for more than four rows, in results of ten and pages of three."""
    monkeypatch.setattr(reading, "MANY", 4)
    monkeypatch.setattr(bulk, "PAGE", 3)
    monkeypatch.setattr(bulk, "_RESULTS", 10)


EVERYTHING = Query(
    PROJECT,
    (f"i360__Prospect__r.{EMAIL}", "i360__Prospect__r.Owner.Name", "Owner.Name"),
    whole=True,
    window=Window(None, NINE),
)


def kitchens(count):
    """Projects of which every other one has a prospect, which has no e-mail address every other time."""
    known = [f"a01Sb{n:010}" for n in range(2)]
    yield {"object": PROSPECT, "Id": known[0], SURNAME: "Ada", EMAIL: "ada@example.com"}
    yield {"object": PROSPECT, "Id": known[1], SURNAME: "Grace"}
    for n in range(count):
        prospect = {"i360__Prospect__c": known[n % 4 // 2]} if n % 2 else {}
        yield {"object": PROJECT, "Name": f'Kitchen {n}, "new"\nline ß', **prospect}


def test_rows_are_the_same_by_bulk_and_by_pages(few, monkeypatch):
    with org_of(*kitchens(40), page_size=5) as (org, adapter):
        by_bulk = ask(adapter, EVERYTHING)
        assert any("/jobs/query" in path for _, path, _ in org.calls)
        monkeypatch.setattr(reading, "MANY", 1000)
        assert by_bulk == ask(adapter, EVERYTHING)
    assert len(by_bulk) == 40
    assert {type(value) for row in by_bulk for value in row.values()} >= {str, bool, dict, type(None)}
    assert {bool(row["i360__Prospect__r"]) for row in by_bulk} == {True, False}


NUMBERS = {
    "name": "Number__c",
    "label": "Number",
    "keyPrefix": "a0Y",
    "custom": True,
    "fields": [
        *(field for field in recorded(PROJECT)["fields"] if not field["name"].startswith("i360__")),
        *(
            {"name": name, "label": name, "nillable": True, "createable": True, "updateable": True, **more}
            for name, more in {
                "Whole__c": {"type": "int", "digits": 9},
                "Amount__c": {"type": "currency", "precision": 18, "scale": 2},
                "Share__c": {"type": "percent", "precision": 5, "scale": 2},
                "Active__c": {"type": "boolean", "nillable": False, "defaultedOnCreate": True},
                "At__c": {"type": "datetime"},
                "Day__c": {"type": "date"},
            }.items()
        ),
    ],
}  # fmt: skip


def test_values_are_typed_by_the_shape(few, monkeypatch):
    values = {"Whole__c": 7, "Amount__c": 15000.5, "Share__c": 12, "Active__c": True}
    values |= {"At__c": "2026-03-01T10:00:00Z", "Day__c": "2026-03-01"}
    query = Query("Number__c", whole=True, window=Window(None, NINE))
    loaded = [{"object": "Number__c", "Name": str(n)} | (values if n % 2 else {}) for n in range(12)]
    with org_of(*loaded, shapes=[NUMBERS], page_size=5) as (_, adapter):
        by_bulk = ask(adapter, query)
        monkeypatch.setattr(reading, "MANY", 1000)
        assert by_bulk == ask(adapter, query)
    assert by_bulk[7].items() >= values.items()
    assert by_bulk[6].items() >= (dict.fromkeys(values) | {"Active__c": False}).items()


def test_a_job_takes_its_time(few):
    with org_of(*kitchens(40), page_size=5) as (org, adapter):
        org.bulk(3)
        assert len(ask(adapter, EVERYTHING)) == 40
        assert adapter.clock.waits[:4] == [5.0, 10.0, 20.0, 40.0]
        assert max(adapter.clock.waits) == 60.0


def test_lists_below_rows_are_read_in_pages(few):
    below = {"i360__Production_Activities__r": Query(ACTIVITY, ("Id",), stamped=False)}
    with org_of(*kitchens(12), page_size=5) as (org, adapter):
        assert len(ask(adapter, Query(PROJECT, ("Name",), window=Window(None, NINE), children=below))) == 12
        assert not any("/jobs" in path for _, path, _ in org.calls)


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503, "truncated", "lost_reply", "trickled", 401])
@pytest.mark.parametrize("path", ["*/jobs/query", "*/jobs/query/750???????????????", "*/results"])
@pytest.mark.parametrize("times", [1, None])
def test_whatever_becomes_of_a_job_the_rows_come_once_and_in_order(few, path, status, times):
    code = {"code": "API_ERROR", "message": "Bulk is not for you"} if status in (403, 404) else {}
    with org_of(*kitchens(40), page_size=5) as (org, adapter):
        org.fault(status=status, path=path, times=times, seconds=0.01, **code)
        found = ask(adapter, EVERYTHING)
        assert all(fault.seen for fault in org.faults.waiting)  # it has struck
    assert [row["Name"].partition(",")[0] for row in found] == [f"Kitchen {n}" for n in range(40)]


def job(**more):
    return httpx.Response(
        200, json={"id": "750Sb0000000001IAA", "state": "JobComplete", "numberRecordsProcessed": 2} | more
    )


def results(lines, *, count=None, locator="null"):
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    announced = {"Sforce-NumberOfRecords": str(len(lines) - 1 if count is None else count), "Sforce-Locator": locator}
    return httpx.Response(200, text=out.getvalue(), headers=announced)


HEADS = ["Id", "SystemModstamp"]


def row(n, minute=0):
    return [f"a01Sb{n:010}IAA", f"2026-03-02T08:{minute:02}:00.000Z"]


def page(*some, total, **more):
    return rows(*(dict(zip(HEADS, each, strict=True)) for each in some), total=total, **more)


MORE = {"done": False, "nextRecordsUrl": "/services/data/v66.0/query/0r8-1"}
UNFIT = {
    "no state": [job(state=None)],
    "no id": [job(id=None)],
    "failed": [job(state="Failed")],
    "aborted": [job(state="InProgress"), job(state="Aborted")],
    "a list": [httpx.Response(200, json=[])],
    "fewer rows than processed": [job(numberRecordsProcessed=3), results([HEADS, row(2), row(3)])],
    "fewer rows than announced": [job(), results([HEADS, row(2), row(3)], count=3)],
    "no count": [job(), httpx.Response(200, text="x")],
    "other columns": [job(), results([["Id"], ["a01Sb0000000002IAA"]])],
    "no CSV": [job(), results([["Id", "SystemModstamp"], ['"']], count=1)],
    "half a row": [job(), results([HEADS, row(2), ["a01Sb0000000003IAA"]])],
    "not in order": [job(), results([HEADS, row(3, 5), row(2, 4)])],
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_job_that_does_not_hold_together_is_tried_once_more_and_then_done_without(case, monkeypatch):
    """In the end all three rows are there, and each place stands behind all rows that were read before it."""
    monkeypatch.setattr(reading, "MANY", 2)
    first = composite(DESCRIBED, page(row(1), total=3, **MORE))
    again = composite(page(row(2, 4), row(3, 5), total=2))
    if case == "not in order":
        answers = [first, *UNFIT[case], composite(page(row(1), row(2, 4), row(3, 5), total=3))]
    else:
        answers = [first, *UNFIT[case], again]
    with scripted(*answers) as adapter:
        found = {row["Id"] for row in ask(adapter, Query(PROSPECT, window=Window(None, NINE)))}
    assert found == {each[0] for each in (row(1), row(2), row(3))}


def test_a_job_is_kept_to_its_own_name(monkeypatch):
    """What the org calls its job goes into an address."""
    monkeypatch.setattr(reading, "MANY", 2)
    first = composite(DESCRIBED, page(row(1), total=3, **MORE))
    again = composite(page(row(2, 4), row(3, 5), total=2))
    with scripted(first, job(id="../../evil?x=", state="InProgress"), again) as adapter:
        assert len(ask(adapter, Query(PROSPECT, window=Window(None, NINE)))) == 3
        assert not any("evil" in str(request.url) for request in adapter.script.requests)

"""Lists and searches of an API: pages, what changed, what is compared, and whatever a vendor may answer instead."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from http_server import Answer, Moving, rows, serving, spoken

from connector.errors import Drifted, EndpointError, SetupError, Unauthorized, Unavailable
from connector.model import Query, Where, Window

CURSOR = """
objects:
  staff:
    list: {call: GET /staff, query: {after: "{cursor}", limit: 2}, items: data, next: paging.next}
"""
ALL = [{"id": n, "name": f"n{n}"} for n in range(1, 6)]


def cursor(asked):
    at = int(asked.query.get("after", 0))
    return {"data": ALL[at : at + 2], "paging": {"next": at + 2} if at + 2 < len(ALL) else {}}


def names(found):
    return [row["name"] for row in found]


# ---- pages -----------------------------------------------------------------------------------------------


def page(asked):
    at = (int(asked.query["page"]) - 1) * 2
    return {"data": ALL[at : at + 2], "last": at + 2 >= len(ALL), "total": len(ALL)}


def offset(asked):
    at = int(asked.query["from"])
    return {"data": ALL[at : at + 2], "more": at + 2 < len(ALL)}


def linked(asked):
    at = int(asked.query.get("at", 0))
    return {"data": ALL[at : at + 2]} | ({"next": f"/staff?at={at + 2}"} if at + 2 < len(ALL) else {})


PAGED = {
    "cursor": ('{call: GET /staff, query: {after: "{cursor}"}, items: data, next: paging.next}', cursor, 3),
    "page, to an empty one": ('{call: GET /staff, query: {page: "{page}"}, items: data}', page, 4),
    "page, to the last": ('{call: GET /staff, query: {page: "{page}"}, items: data, more: "!last"}', page, 3),
    "page, by their number": ('{call: GET /staff, query: {page: "{page}"}, items: data, total: total}', page, 3),
    "offset, to an empty one": ('{call: GET /staff, query: {from: "{offset}"}, items: data}', offset, 4),
    "offset, to the last": ('{call: GET /staff, query: {from: "{offset}"}, items: data, more: more}', offset, 3),
    "link": ("{call: GET /staff, items: data, link: next}", linked, 3),
}


@pytest.mark.parametrize(("list_", "answer", "calls"), PAGED.values(), ids=PAGED)
def test_every_way_of_paging_reads_the_whole_list(list_, answer, calls):
    with spoken(f"objects: {{staff: {{list: {list_}}}}}", answer) as (endpoint, asked):
        assert names(rows(endpoint)) == ["n1", "n2", "n3", "n4", "n5"]
        assert len(asked) == endpoint.calls == calls


def test_a_cursor_can_travel_in_a_body_and_keeps_what_else_stands_there():
    api = 'objects: {staff: {list: {call: POST /search, json: {after: "{cursor}", sort: [id], none: null}, items: data, next: next}}}'

    def answer(asked):
        return {"data": ALL[2:]} if "after" in asked.body else {"data": ALL[:2], "next": "b"}

    with spoken(api, answer) as (endpoint, asked):
        assert len(rows(endpoint)) == 5
        assert [call.body for call in asked] == [
            {"sort": ["id"], "none": None},
            {"after": "b", "sort": ["id"], "none": None},
        ]


def test_pages_are_handed_on_one_by_one():
    with spoken(CURSOR, cursor) as (endpoint, _):
        pages = list(endpoint.read([Query("staff", whole=True)]))
        assert [(len(each.rows), each.last) for each in pages] == [(2, False), (2, False), (1, True)]


def test_one_list_answers_all_queries_of_a_read():
    with spoken(CURSOR, cursor) as (endpoint, asked):
        queries = [Query("staff", ("name",), where=(Where("name", (name,)),)) for name in ("n2", "n5", "none")]
        pages = list(endpoint.read(queries))
        assert [[row["name"] for each in pages if each.query == n for row in each.rows] for n in range(3)] == [
            ["n2"],
            ["n5"],
            [],
        ]
        assert len(asked) == 3
        list(endpoint.read(queries))
        assert len(asked) == 6, "it is not kept for the next"


# ---- lists that do not hold together ---------------------------------------------------------------------


def test_an_empty_page_in_the_middle_is_not_the_end():
    def answer(asked):
        return {"data": [] if asked.query.get("after") == "b" else [{"id": asked.query.get("after", "a")}], "paging": {
            "next": {None: "b", "b": "c"}.get(asked.query.get("after"))}}  # fmt: skip

    with spoken(CURSOR, answer) as (endpoint, _):
        assert [row["id"] for row in rows(endpoint)] == ["a", "c"]


def test_an_empty_page_before_the_announced_number_fails_the_list():
    api = 'objects: {staff: {list: {call: GET /staff, query: {page: "{page}"}, items: data, total: total}}}'
    with (
        spoken(api, lambda asked: {"data": ALL[:2] if asked.query["page"] == "1" else [], "total": 5}) as (endpoint, _),
        pytest.raises(Unavailable, match="5 records, but gave 2"),
    ):
        rows(endpoint)


def test_a_duplicate_id_across_pages_is_one_row_the_first():
    def answer(asked):
        if "after" in asked.query:
            return {"data": [{"id": 2, "name": "later"}, {"id": 3, "name": "n3"}]}
        return {"data": ALL[:2], "paging": {"next": 2}}

    with spoken(CURSOR, answer) as (endpoint, _):
        assert names(rows(endpoint)) == ["n1", "n2", "n3"]


ENDLESS = {
    "the same cursor": (CURSOR, lambda asked: {"data": [{"id": id(asked)}], "paging": {"next": "again"}}, 2),
    "two cursors in turn": (
        CURSOR,
        lambda asked: {"data": [], "paging": {"next": "b" if asked.query.get("after") == "a" else "a"}},
        3,
    ),
    "pages that are not turned": (
        'objects: {staff: {list: {call: GET /staff, query: {page: "{page}"}, items: data}}}',
        lambda _: {"data": ALL},
        4,
    ),
    "more pages than there can be": (
        'objects: {staff: {list: {call: GET /staff, query: {page: "{page}"}, items: data, most_pages: 6}}}',
        lambda asked: {"data": [{"id": asked.query["page"]}]},
        6,
    ),
    "nothing, and more of it": (
        'objects: {staff: {list: {call: GET /staff, query: {at: "{offset}"}, items: data, more: more}}}',
        lambda _: {"data": [], "more": True},
        1,
    ),
}


@pytest.mark.parametrize(("api", "answer", "calls"), ENDLESS.values(), ids=ENDLESS)
def test_a_list_without_end_fails(api, answer, calls):
    with spoken(api, answer) as (endpoint, asked):
        with pytest.raises(Unavailable):
            rows(endpoint)
        assert len(asked) == calls


WRONG = {
    "a page of HTML": (Answer(b"<html><body>Sign in</body></html>"), "not JSON"),
    "half of a JSON": (Answer(b'{"data": [{"id": 1'), "not JSON"),
    "nothing at all": (Answer(b""), "not JSON"),
    "an object for the list": ({"data": {"1": {"id": 1}}}, "an object where the list"),
    "no list": ({"rows": []}, "nothing where the list"),
    "a bare list": ([{"id": 1}], "nothing where the list"),
    "a text for a record": ({"data": ["x"]}, "no record"),
    "a record without id": ({"data": [{"name": "x"}]}, "without an id at id"),
    "an id that is none": ({"data": [{"id": {"value": 1}}]}, "without an id at id"),
    "true as an id": ({"data": [{"id": True}]}, "without an id at id"),
    "a cursor that is none": ({"data": [], "paging": {"next": ["a"]}}, "a list where it should say the next page"),
}


@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG)
def test_an_answer_of_the_wrong_shape_fails_the_read(body, said):
    with spoken(CURSOR, lambda _: body) as (endpoint, _), pytest.raises(Unavailable, match=said):
        rows(endpoint)


def test_a_lookup_in_a_list_that_fails_later_is_never_no_match():
    def answer(asked):
        return Answer(b"<html>", 503) if "after" in asked.query else {"data": ALL[:2], "paging": {"next": 2}}

    with spoken(CURSOR, answer) as (endpoint, _), pytest.raises(Unavailable):
        rows(endpoint, where=(Where("name", ("nobody",)),))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (403, Unauthorized), (404, Drifted), (400, EndpointError), (503, Unavailable), (302, EndpointError)]
)  # fmt: skip
def test_a_refused_list_is_an_error_that_says_who_can_act(status, kind):
    answer = Answer({"error": "<b>no</b>"}, status, {"Location": "https://evil.example.com/"})
    with (
        spoken(CURSOR, lambda _: answer) as (endpoint, _),
        pytest.raises(kind, match=rf"GET .*/staff answered {status}"),
    ):
        rows(endpoint)


def test_a_call_is_repeated_while_the_system_is_busy():
    answers = iter([Answer(None, 429, {"Retry-After": "7"}), Answer(None, 503), Answer(None, 409), {"data": ALL[:1]}])
    clock = Moving()
    with spoken("retry: [409]" + CURSOR, lambda _: next(answers), clock) as (endpoint, asked):
        assert len(rows(endpoint)) == 1
        assert len(asked) == 4
        assert clock.waits[0] >= 7


def test_a_body_too_large_is_not_read():
    body = gzip.compress(json.dumps({"data": [{"id": 1, "name": "x" * (2 << 20)}]}).encode())
    assert len(body) < 10_000
    with (
        spoken("largest: 1" + CURSOR, lambda _: Answer(body, headers={"Content-Encoding": "gzip"})) as (endpoint, _),
        pytest.raises(EndpointError, match="more than 1 MB"),
    ):
        rows(endpoint)


def test_no_link_leads_to_another_host():
    with serving(lambda _: {"data": []}) as (other, stolen):
        api = 'auth: {value: "{key}"}\nobjects: {staff: {list: {call: GET /staff, items: data, link: next}}}'
        with (
            spoken(api, lambda _: {"data": ALL, "next": f"{other}/staff"}, auth={"key": "k-123456"}) as (endpoint, _),
            pytest.raises(EndpointError, match="not sent"),
        ):
            rows(endpoint)
        assert stolen == []


def test_a_redirect_is_not_followed():
    with serving(lambda _: {"data": []}) as (other, stolen):
        with (
            spoken(CURSOR, lambda _: Answer(None, 307, {"Location": other})) as (endpoint, _),
            pytest.raises(EndpointError, match="not followed"),
        ):
            rows(endpoint)
        assert stolen == []


# ---- records ---------------------------------------------------------------------------------------------

DEEP = """
objects:
  staff:
    id: meta.key
    stamp: meta.changed
    fields: properties
    types: {changed: milliseconds, hired: date, size: number, active: boolean, address.since: seconds}
    list: {call: GET /staff}
    update: {call: "PATCH /staff/{id}", json: {set: "{fields}"}}
"""


def test_fields_id_and_stamp_may_stand_anywhere_and_be_written_anyhow():
    record = {
        "meta": {"key": 7, "changed": 1772442000500},
        "properties": {"size": "12.5", "active": "true", "hired": "2025-03-01", "address": {"since": "0"}, "odd": "x"},
    }
    with spoken(DEEP, lambda asked: [record] if asked.method == "GET" else {}) as (endpoint, asked):
        (row,) = rows(endpoint)
        assert row == {
            "key": "7",
            "changed": "2026-03-02T09:00:00.500Z",
            "size": 12.5,
            "active": True,
            "hired": "2025-03-01",
            "address": {"since": "1970-01-01T00:00:00Z"},
            "odd": "x",
        }
        assert endpoint.canonical("staff", row) == row
        from connector.model import Change

        endpoint.write([Change("update", "staff", row, "7")])
        sent = asked[-1].body["set"]
        assert (sent["size"], sent["active"], sent["address"], sent["changed"]) == (
            "12.5",
            "true",
            {"since": 0},
            1772442000500,
        )


@pytest.mark.parametrize("value", ["soon", 1e30, [], {"a": 1}, True, -1, None, 10**30])
def test_a_value_of_the_wrong_type_stays_what_it_is(value):
    record = {
        "meta": {"key": "7", "changed": 0},
        "properties": {"address": {"since": value}, "active": value, "size": value},
    }
    with spoken(DEEP, lambda _: [record]) as (endpoint, _):
        (row,) = rows(endpoint)
        assert row["size"] == value or (value is True and row["size"] is True)


# ---- what changed ----------------------------------------------------------------------------------------

NINE = datetime(2026, 3, 2, 9, 0, 0, 250_000, tzinfo=UTC)
SINCE = {
    "{as: instant}": ("2026-03-02T09:00:00Z", "2026-03-02T10:00:01Z"),
    "{as: instant, exclusive: true}": ("2026-03-02T08:59:59Z", "2026-03-02T10:00:01Z"),
    "{as: seconds}": ("1772442000", "1772445601"),
    "{as: milliseconds}": ("1772442000250", "1772445600250"),
    "{as: milliseconds, exclusive: true}": ("1772442000249", "1772445600250"),
    "{as: date}": ("2026-03-01", "2026-03-04"),
}


@pytest.mark.parametrize("how", SINCE)
def test_since_is_written_as_the_system_has_it_and_the_window_is_exact(how):
    stamps = [
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:00.250Z",
        "2026-03-02T10:00:00.250Z",
        "2026-03-02T10:00:00.251Z",
    ]
    records = [{"id": n, "at": stamp} for n, stamp in enumerate(stamps)]
    api = f"""
objects:
  staff:
    stamp: at
    list: {{call: GET /staff, query: {{from: "{{since}}", to: "{{until}}"}}, since: {how}}}
"""
    with spoken(api, lambda _: records[::-1]) as (endpoint, asked):
        found = rows(endpoint, window=Window(NINE, NINE.replace(hour=10)))
        assert [row["id"] for row in found] == ["1", "2"]
        assert (asked[0].query["from"], asked[0].query["to"]) == SINCE[how]
        assert [
            row["id"] for row in rows(endpoint, window=Window(NINE, NINE.replace(hour=10), after=(stamps[1], "1")))
        ] == ["2"]
        rows(endpoint)
        assert asked[-1].query == {}, "everything: nothing to say"


def test_rows_of_one_stamp_come_in_the_order_of_their_ids():
    api = "objects: {staff: {stamp: at, list: {call: GET /staff}}}"
    records = [{"id": known, "at": "2026-03-02T09:00:00Z"} for known in (10, 9, 100, 1)]
    with spoken(api, lambda _: records) as (endpoint, _):
        assert [row["id"] for row in rows(endpoint, window=Window(None, NINE))] == ["1", "9", "10", "100"]


def test_a_record_that_does_not_say_when_it_changed_is_not_passed_over():
    api = "objects: {staff: {stamp: at, list: {call: GET /staff}}}"
    with (
        spoken(api, lambda _: [{"id": 1, "at": None}]) as (endpoint, _),
        pytest.raises(EndpointError, match="staff 1 has no time at at"),
    ):
        rows(endpoint, window=Window(None, NINE))


def test_what_has_no_stamp_cannot_be_watched():
    with spoken(CURSOR, cursor) as (endpoint, _), pytest.raises(SetupError, match="add stamp"):
        rows(endpoint, window=Window(None, NINE))


def test_the_time_is_the_systems_own_where_it_tells_it():
    with spoken(
        "time: /status" + CURSOR, lambda _: Answer(b"fine", headers={"Date": "Mon, 02 Mar 2026 08:00:00 GMT"})
    ) as (endpoint, _):
        assert endpoint.now() == datetime(2026, 3, 2, 8, tzinfo=UTC)
    with spoken(CURSOR, cursor) as (endpoint, asked):
        assert endpoint.now() == Moving().now()
        assert asked == []


# ---- searches --------------------------------------------------------------------------------------------

FOUND = """
objects:
  staff:
    list: {call: GET /staff}
    find:
      email: {call: GET /search, query: {email: "{value}"}, items: data, ignores_case: true}
      name: {call: POST /search, json: {names: "{values}"}, batch: 2}
      id: {call: "GET /staff/{value}", items: "[@]", none: [404]}
"""
STAFF = [
    {"id": 7, "email": "Alice@Club.example ", "name": "Alice"},
    {"id": 8, "email": "bob@club.example", "name": "Bob"},
]


def searched(asked):
    match asked.method, asked.steps:
        case "GET", ["search"]:
            return {"data": [STAFF[0]] if asked.query["email"].lower().strip() == "alice@club.example" else STAFF}
        case "POST", ["search"]:
            return [each for each in STAFF if each["name"] in asked.body["names"]]
        case "GET", ["staff"]:
            return STAFF
        case "GET", ["staff", known]:
            return next((each for each in STAFF if str(each["id"]) == known), Answer({"error": "gone"}, 404))


@pytest.mark.parametrize(
    ("where", "found", "paths"),
    [
        (Where("email", ("ALICE@club.example",), fold=True), ["7"], ["/search"]),
        (Where("email", ("alice@club.example",)), [], ["/search"]),
        (Where("email", ("carol@club.example",), fold=True), [], ["/search"]),
        (Where("email", ("alice@club.example", "bob@club.example"), fold=True), ["7", "8"], ["/search"] * 2),
        (Where("email", (None,)), [], ["/staff"]),
        (Where("name", ("Alice", "Bob", "Carol")), ["7", "8"], ["/search"] * 2),
        (Where("name", ("ALICE",), fold=True), ["7"], ["/staff"]),
        (Where("id", ("8", "9")), ["8"], ["/staff/8", "/staff/9"]),
        (Where("id", ("..", "", "8/../7")), [], ["/staff/8%2F..%2F7"]),
        (Where("id", ()), [], []),
    ],
)
def test_a_search_is_used_where_it_finds_all_and_what_comes_is_compared_again(where, found, paths):
    with spoken(FOUND, searched) as (endpoint, asked):
        assert [row["id"] for row in rows(endpoint, where=(where,))] == found
        assert [call.path for call in asked] == paths


def test_without_list_and_search_nothing_can_be_read_and_that_is_no_empty_answer():
    api = "objects: {contact: {save: {call: POST /contacts}}}"
    with spoken(api, searched) as (endpoint, _):
        with pytest.raises(SetupError, match="its api file has save"):
            rows(endpoint, "contact")
        with pytest.raises(Drifted, match="near: contact"):
            rows(endpoint, "contacts")
        assert endpoint.capabilities("contact") == {"save"}

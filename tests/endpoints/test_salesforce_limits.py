"""Every refusal of an org: which class it is, whether it is tried again, and that people can read what is said of it."""

import re
from datetime import timedelta

import httpx
import pytest
from test_salesforce import (
    CHANGED,
    EMAIL,
    PROSPECT,
    SURNAME,
    ask,
    composite,
    org_of,
    prospects,
    rows,
    scripted,
)

from connector.endpoints.salesforce import reserve
from connector.endpoints.salesforce.codes import CODES, STATUSES, LostPlace, refusal
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, Unanswered, Unauthorized, Unavailable
from connector.model import Change, Query

POLL = Query(PROSPECT, (EMAIL,), window=CHANGED)
CREATE = Change("create", PROSPECT, {SURNAME: "Ada"})

# ---- codes -----------------------------------------------------------------------------------------------

# What the reference of the REST API names, and who can act: nobody, the admin, the engineer, the record's owner.
KNOWN = {
    Unavailable: "UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE REQUEST_RUNNING_TOO_LONG QUERY_TIMEOUT TXN_SECURITY_METERING_ERROR",
    LostPlace: "INVALID_QUERY_LOCATOR",
    RateLimited: "REQUEST_LIMIT_EXCEEDED",
    Unauthorized: "INVALID_SESSION_ID INVALID_AUTH_HEADER INVALID_JWT_FORMAT API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG",
    Drifted: "INVALID_FIELD INVALID_TYPE",
    Rejected: "REQUIRED_FIELD_MISSING INVALID_FIELD_FOR_INSERT_UPDATE FIELD_CUSTOM_VALIDATION_EXCEPTION STRING_TOO_LONG "
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST INVALID_EMAIL_ADDRESS DUPLICATE_VALUE DUPLICATES_DETECTED "
    "INVALID_CROSS_REFERENCE_KEY MALFORMED_ID ENTITY_IS_DELETED INACTIVE_OWNER_OR_USER FIELD_INTEGRITY_EXCEPTION "
    "STORAGE_LIMIT_EXCEEDED CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY CANNOT_UPDATE_CONVERTED_LEAD JSON_PARSER_ERROR "
    "INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY MALFORMED_QUERY "
    "INVALID_QUERY_FILTER_OPERATOR QUERY_TOO_COMPLICATED OPERATION_TOO_LARGE",
}
EACH = [(code, kind) for kind, codes in KNOWN.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "kind"), EACH)
def test_a_code_says_who_can_act_and_what_to_do(code, kind):
    wall = "<html><p>a wall</p></html>" + " of text" * 1000
    error = refusal("acme refused this Lead", [{"errorCode": code, "message": wall, "fields": ["Name"]}])
    text = str(error)
    assert type(error) is kind
    assert text.startswith(f"acme refused this Lead: {code}: a wall of text")
    assert len(text) < 450
    assert not re.search(r"[<>\n]", text)
    advice = text.rpartition("; ")[2]
    assert 10 < len(advice) < 150
    if kind is Rejected:
        assert (error.reason, error.fields) == (code, ("Name",))
        assert "(Name)" in text


def test_a_code_that_nobody_has_heard_of_is_about_the_record():
    error = refusal("acme", {"statusCode": "SOMETHING_NEW", "message": "what", "fields": None})
    assert (type(error), str(error)) == (Rejected, "acme: SOMETHING_NEW: what")


@pytest.mark.parametrize("body", [None, [], {}, "x", 5, [None], [[]], {"errorCode": 5}, {"message": "x"}])
def test_what_names_no_code_is_no_refusal(body):
    assert refusal("acme", body) is None


@pytest.mark.parametrize(
    "body", [{"errorCode": "X", "message": {"a": []}, "fields": 5}, {"errorCode": "X" * 9999, "fields": "ab"}]
)
def test_a_bent_refusal_is_one_all_the_same(body):
    error = refusal("acme", body)
    assert type(error) is Rejected
    assert len(str(error)) < 450


def test_both_limits_are_told_apart():
    concurrent = refusal(
        "acme",
        [
            {
                "errorCode": "REQUEST_LIMIT_EXCEEDED",
                "message": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            }
        ],
    )
    daily = refusal("acme", [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}])
    assert (type(concurrent), str(concurrent).rpartition("; ")[2]) == (
        Unavailable,
        "too many calls that take long are under way in the org",
    )
    assert (type(daily), daily.wait) == (RateLimited, None)
    assert "API calls of 24 hours are used up" in str(daily)


def test_the_table_has_a_class_and_a_word_for_each():
    assert all(issubclass(kind, EndpointError) for kind, _ in CODES.values())
    assert [code for code, (_, advice) in CODES.items() if not advice] == ["REQUEST_LIMIT_EXCEEDED"]  # it has two


# ---- pages instead of answers ----------------------------------------------------------------------------

WALL = "<html><head><script>steal()</script></head><body>" + "<h1>Something</h1>" * 1000 + "</body></html>"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 413, 414, 415, 431])
def test_a_page_is_never_shown(status):
    with scripted(httpx.Response(status, text=WALL)) as adapter, pytest.raises(EndpointError) as caught:
        ask(adapter)
    text = str(caught.value)
    assert len(text) < 250
    assert "Something" not in text
    assert f"answered {status}: {STATUSES.get(status, 'and no reason')}" in text


# ---- what the sandbox org can do to a call ---------------------------------------------------------------

FAULTS = {
    503: Unavailable,
    500: Unavailable,
    502: Unavailable,
    406: Unavailable,
    420: Unavailable,
    429: Unavailable,
    414: EndpointError,
    "query_timeout": Unavailable,
    "concurrent_requests": Unavailable,
    "total_requests": RateLimited,
    "truncated": Unavailable,
    "truncated_chunks": Unavailable,
    "lost_reply": Unavailable,
    "timeout": Unavailable,
    "trickled": None,
    "late": None,
}


@pytest.mark.parametrize("inside", [False, True], ids=["the call", "a part of it"])
@pytest.mark.parametrize("status", FAULTS)
def test_reading_through_a_fault(status, inside):
    """Once: it passes, if trying again can help. For good: an error that says so, and never an empty page."""
    where = {"object": PROSPECT} if inside else {"path": "*/composite"}
    kind = FAULTS[status]
    lasting = kind is EndpointError or status == "total_requests"
    with org_of(*prospects(3)) as (org, adapter):
        adapter.describe([PROSPECT])
        org.fault(verb="read", status=status, seconds=0.01, **where)
        if lasting:
            with pytest.raises(kind):
                ask(adapter, POLL)
        assert len(ask(adapter, POLL)) == 3
        org.fault(verb="read", status=status, times=None, seconds=0.01, **where)
        if kind is None:
            assert len(ask(adapter, POLL)) == 3
            return
        with pytest.raises(kind) as caught:
            ask(adapter, POLL)
        assert len(str(caught.value)) < 400
        assert "<" not in str(caught.value)


WRITES = {
    503: Unanswered,
    500: Unanswered,
    406: Unavailable,
    420: Unavailable,
    429: Unavailable,
    414: EndpointError,
    "lock_row": Unavailable,
    "concurrent_requests": Unavailable,
    "total_requests": RateLimited,
    "truncated": Unanswered,
    "truncated_chunks": Unanswered,
    "lost_reply": Unanswered,
    "timeout": Unanswered,
    "trickled": None,
    "late": None,
}


@pytest.mark.parametrize("count", [1, 300], ids=["alone", "in parts"])
@pytest.mark.parametrize("status", WRITES)
def test_writing_through_a_lasting_fault(status, count):
    """Each row has an answer that fits what has become of it: not written, written, or nobody knows."""
    kind = WRITES[status]
    with org_of() as (org, adapter):
        adapter.describe([PROSPECT])
        org.fault(PROSPECT, verb="write", status=status, times=None, seconds=0.01)
        try:
            errors = [each.error for each in adapter.write([CREATE] * count)]
        except EndpointError as error:
            errors = [error] * count
        made = len(org.rows(PROSPECT)) if status != "late" else count
    if kind is None:
        assert (errors, made) == ([None] * count, count)
        return
    assert all(isinstance(error, kind) for error in errors)
    assert made == 0 or kind is Unanswered
    assert all(len(str(error)) < 400 and "<" not in str(error) for error in errors)


@pytest.mark.parametrize("status", [406, 420, "lock_row", "concurrent_requests"])
def test_a_write_that_reached_nothing_is_made_again(status):
    with org_of() as (org, adapter):
        adapter.describe([PROSPECT])
        org.fault(PROSPECT, verb="write", status=status)
        assert [each.error for each in adapter.write([CREATE] * 300)] == [None] * 300
        assert len(org.rows(PROSPECT)) == 300
        assert adapter.clock.waits


# ---- calls that are left to others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "most", "kept"),
    [
        ({}, 15_000, 750),
        ({}, 10, 0),
        ({"reserve": "10%"}, 15_000, 1_500),
        ({"reserve": "0%"}, 9, 0),
        ({"reserve": 0}, 15_000, 0),
        ({"reserve": 2_000}, 15_000, 2_000),
        ({"reserve": 2_000}, 250, 250),
    ],
)
def test_how_many_calls_are_left_to_others(budget, most, kept):
    assert reserve(budget)(most) == kept


def test_a_run_stops_before_the_call_that_is_left_to_others():
    with org_of(*prospects(4), page_size=1, api_limit=100, settings={"budget": {"reserve": "97%"}}) as (org, adapter):
        pages = adapter.read([POLL])
        assert [len(next(pages).rows) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(RateLimited) as caught:
            next(pages)
        assert org.billed == 4
        assert str(caught.value) == (
            "127.0.0.1 has 96 of its 100 API calls of 24 hours left, and the connection leaves 97 of them to others "
            "(`budget`); calls work again as they run out of that window"
        )
        assert adapter.clock.waits == []


def test_what_was_told_of_the_calls_is_not_believed_for_ever():
    """Used calls come back hour by hour, and only another answer tells."""
    with org_of(*prospects(1), api_limit=100, settings={"budget": {"reserve": "99%"}}) as (org, adapter):
        ask(adapter, POLL)
        with pytest.raises(RateLimited):
            ask(adapter, POLL)
        later = adapter.clock.now() + timedelta(minutes=11)
        org.set_clock(later + timedelta(days=1))
        adapter.clock.now = lambda: later
        assert len(ask(adapter, POLL)) == 1


USAGES = {
    "api-usage=96/100": False,
    "api-usage=94/100": True,
    "api-usage=94/100; api-bursts=1/1": True,
    "api-usage=1/100; per-app-api-usage=250/250(appName=x)": False,
    "api-usage=1/100, per-app-api-usage=17/250(appName=x)": True,
    "api-usage=x/y": True,
    "": True,
}


@pytest.mark.parametrize("told", USAGES)
def test_the_limits_are_read_wherever_they_stand(told):
    with scripted(composite(rows(), **{"Sforce-Limit-Info": told}), composite(rows())) as adapter:
        adapter._describes.checked.add(PROSPECT)
        ask(adapter)
        if USAGES[told]:
            assert ask(adapter) == []
        else:
            with pytest.raises(RateLimited):
                ask(adapter)


def test_rows_that_were_written_before_the_reserve_keep_their_answers():
    with org_of(api_limit=100, settings={"budget": {"reserve": "98%"}}) as (org, adapter):
        written = adapter.write([CREATE] * 2500)
        assert org.billed == 3
        assert [each.error is None for each in written] == [True] * 2000 + [False] * 500
        assert {type(each.error) for each in written[2000:]} == {RateLimited}

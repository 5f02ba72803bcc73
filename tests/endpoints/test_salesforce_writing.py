"""What the Salesforce adapter writes: exact requests over a scripted transport, and what becomes of them at the sandbox org."""

import io
import json
import random
import threading
from contextlib import closing

import httpx
import pytest
from test_salesforce import (
    CHANGED,
    EMAIL,
    NINE,
    PROJECT,
    PROSPECT,
    SURNAME,
    ask,
    at,
    composite,
    org_of,
    prospects,
    recorded,
    refused,
    scripted,
)

from connector.endpoints.salesforce import writing
from connector.errors import Drifted, RateLimited, Rejected, Unanswered, Unavailable
from connector.model import Change, Column, File, Query

# ---- writing ---------------------------------------------------------------------------------------------


def create(**values):
    return Change("create", PROSPECT, values)


def done(*ids):
    return httpx.Response(200, json=[{"id": id_, "success": True, "errors": []} for id_ in ids])


def results(count):
    return [{"id": f"a01Sb{n:010}", "success": True, "errors": []} for n in range(count)]


def not_done(code, message="no", fields=()):
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields)}]}


def test_changes_are_answered_in_their_order():
    with org_of(*prospects(2)) as (org, adapter):
        one, two = org.ids
        changes = [
            Change("update", PROSPECT, {SURNAME: "Hopper"}, one),
            create(**{SURNAME: "Curie"}),
            Change("replace", PROSPECT, {SURNAME: "Noether"}, two),
            Change("update", PROSPECT, {SURNAME: "Nobody"}, "a01Sb0000009999"),
        ]
        first, made, second, nobody = adapter.write(changes)
        names = {row["Id"]: row[SURNAME] for row in org.rows(PROSPECT)}
    assert (first.id, second.id, first.error, second.error) == (one, two, None, None)
    assert names == {one: "Hopper", two: "Noether", made.id: "Curie"}
    assert isinstance(nobody.error, Rejected)
    assert nobody.error.reason


def test_a_thousand_creates_and_a_thousand_updates_are_two_calls():
    with org_of() as (org, adapter):
        adapter.describe([PROSPECT])
        before = org.billed
        written = adapter.write([create(**{SURNAME: f"Ada {n}"}) for n in range(1000)])
        assert org.billed - before == 1
        changes = [
            Change("update", PROSPECT, {EMAIL: f"ada{n}@example.com"}, each.id) for n, each in enumerate(written)
        ]
        assert [each.error for each in adapter.write(changes)] == [None] * 1000
        assert (org.billed - before, adapter.calls) == (2, 3)
        found = {row["Id"]: (row[SURNAME], row[EMAIL]) for row in org.rows(PROSPECT)}
    assert [found[each.id] for each in written] == [(f"Ada {n}", f"ada{n}@example.com") for n in range(1000)]


def test_creates_and_updates_share_a_call():
    with org_of(*prospects(300)) as (org, adapter):
        adapter.describe([PROSPECT])
        before = org.billed
        updates = [Change("update", PROSPECT, {SURNAME: f"New {n}"}, id_) for n, id_ in enumerate(org.ids)]
        creates = [create(**{SURNAME: f"Ada {n}"}) for n in range(300)]
        mixed = [one for pair in zip(updates, creates, strict=True) for one in pair]
        written = adapter.write(mixed)
        assert org.billed - before == 1
        names = {row["Id"]: row[SURNAME] for row in org.rows(PROSPECT)}
    assert [names[each.id] for each in written] == [change.values[SURNAME] for change in mixed]


def test_children_of_one_parent_go_next_to_each_other():
    """The org locks the parent of each row: two collections with children of one parent would wait for each other."""
    parents = [f"a01Sb{n:010}" for n in range(7)]
    changes = [Change("create", PROJECT, {"Name": str(n), "i360__Prospect__c": parents[n % 7]}) for n in range(450)]

    def answer(request):
        sent.extend(json.loads(request.content)["compositeRequest"])
        return composite(*[results(len(each["body"]["records"])) for each in sent])(request)

    sent = []
    with scripted(answer, known=(PROJECT,)) as adapter:
        assert len(adapter.write(changes)) == 450
    rows = [row["i360__Prospect__c"] for each in sent for row in each["body"]["records"]]
    assert [len(each["body"]["records"]) for each in sent] == [200, 200, 50]
    assert rows == sorted(rows)


def test_what_is_sent_is_exact():
    with scripted(done("a01Sb0000000001"), done("a01Sb0000000001IAA")) as adapter:
        values = {SURNAME: "Ada", "i360__Staff__r": {"Email__c": "x@example.com"}, EMAIL: None}
        written = adapter.write([create(**values)])
        written += adapter.write([Change("update", PROSPECT, {EMAIL: None}, "a01Sb0000000001IAA")])
        _, post, patch = adapter.script.requests
        assert (post.method, post.url.path) == ("POST", "/services/data/v66.0/composite/sobjects")
        assert json.loads(post.content) == {
            "allOrNone": False,
            "records": [{"attributes": {"type": PROSPECT}, **values}],
        }
        assert patch.method == "PATCH"
        assert json.loads(patch.content)["records"] == [
            {"attributes": {"type": PROSPECT}, EMAIL: None, "id": "a01Sb0000000001IAA"}
        ]
    assert [each.id for each in written] == ["a01Sb0000000001IAA"] * 2


def test_one_row_that_is_refused_does_not_stop_the_others():
    answer = [
        not_done("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"]),
        {"id": "a01Sb0000000001IAA", "success": True, "errors": []},
    ]
    with scripted(httpx.Response(200, json=answer)) as adapter:
        refused_, made = adapter.write([create(), create()])
    assert made.error is None
    assert (refused_.error.reason, refused_.error.fields) == ("REQUIRED_FIELD_MISSING", ("LastName",))
    assert str(refused_.error) == (
        f"acme.my.salesforce.com refused this {PROSPECT}: REQUIRED_FIELD_MISSING: Required fields are missing: [LastName]; "
        "give it a value at the source, or in the mapping"
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", Rejected),
        ("DUPLICATES_DETECTED", Rejected),
        ("INSUFFICIENT_ACCESS_OR_READONLY", Rejected),
        ("INVALID_FIELD_FOR_INSERT_UPDATE", Rejected),
        ("INVALID_FIELD", Drifted),
    ],
)
def test_the_code_says_who_can_act(code, kind):
    with scripted(httpx.Response(200, json=[not_done(code, "<p>a wall</p>" + " of text" * 100)])) as adapter:
        (written,) = adapter.write([create()])
    assert type(written.error) is kind
    assert len(str(written.error)) < 400
    assert "<p>" not in str(written.error)


def test_a_locked_row_alone_is_tried_again():
    locked = not_done("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
    made = {"id": "a01Sb0000000001IAA", "success": True, "errors": []}
    with scripted(httpx.Response(200, json=[made, locked, made]), httpx.Response(200, json=[made])) as adapter:
        written = adapter.write([create(Name=str(n)) for n in range(3)])
        (again,) = json.loads(adapter.script.requests[-1].content)["records"]
        assert again["Name"] == "1"
        assert len(adapter.clock.waits) == 1
    assert [each.error for each in written] == [None] * 3


def test_a_row_that_stays_locked_is_for_later():
    locked = httpx.Response(200, json=[not_done("UNABLE_TO_LOCK_ROW"), not_done("STRING_TOO_LONG")])
    still = httpx.Response(200, json=[not_done("UNABLE_TO_LOCK_ROW")])
    with scripted(locked, *[still] * 4) as adapter:
        later, never = adapter.write([create(), create()])
        assert len(adapter.clock.waits) == 4
    assert type(later.error) is Unavailable
    assert type(never.error) is Rejected


@pytest.mark.parametrize(
    "answer",
    [
        done("a01Sb0000000001IAA"),
        done(*["a01Sb0000000001IAA"] * 3),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[None, None]),
        httpx.Response(200, json=[{}, {}]),
        httpx.Response(200, text="<html>"),
        httpx.Response(502, text="<html>"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
    ],
)
def test_a_batch_whose_answer_is_lost_is_open_row_by_row_and_not_repeated(answer):
    with scripted(answer) as adapter:
        written = adapter.write([create(), create()])
        assert len(adapter.script.requests) == 2
    assert [(each.id, type(each.error)) for each in written] == [(None, Unanswered)] * 2


def test_a_lost_answer_leaves_rows_behind_once():
    with org_of() as (org, adapter):
        org.fault(object=PROSPECT, verb="write", status="lost_reply")
        written = adapter.write([create(**{SURNAME: "Ada"}), create(**{SURNAME: "Grace"})])
        assert [type(each.error) for each in written] == [Unanswered] * 2
        assert len(org.rows(PROSPECT)) == 2


def test_a_write_that_reached_nobody_is_repeated():
    with scripted(httpx.ConnectError("x"), httpx.ConnectTimeout("x"), done("a01Sb0000000001IAA")) as adapter:
        assert adapter.write([create()])[0].error is None
        assert len(adapter.clock.waits) == 2


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403), RateLimited),
        (refused("INVALID_FIELD", "No such column 'X'"), Drifted),
    ],
)
def test_a_call_that_fails_as_a_whole_is_raised_only_while_nothing_is_written(failing, kind):
    with scripted(failing) as adapter, pytest.raises(kind):
        adapter.write([create()])
    with scripted(composite(*[results(200)] * 5), failing) as adapter:
        written = adapter.write([create() for _ in range(2500)])
        assert len(adapter.script.requests) == 3
    assert [each.error is None for each in written] == [True] * 1000 + [False] * 1500
    assert {type(each.error) for each in written[1000:]} == {kind}


def test_a_value_that_json_does_not_have_is_refused_alone():
    with scripted(done("a01Sb0000000001IAA")) as adapter:
        good, *bad = adapter.write(
            [create(Name="Ada"), create(Name=float("nan")), create(Name=NINE), create(Name="\ud800")]
        )
    assert good.error is None
    assert [each.error.reason for each in bad] == ["INVALID_VALUE"] * 3


def test_a_value_that_the_org_cannot_read_spoils_its_row_alone():
    with org_of() as (org, adapter):
        values = [{SURNAME: f"Ada {n}"} | ({EMAIL: ["no text"]} if n == 37 else {}) for n in range(100)]
        written = adapter.write([create(**each) for each in values])
        assert [at for at, each in enumerate(written) if each.error] == [37]
        assert written[37].error.reason == "JSON_PARSER_ERROR"
        assert len(org.rows(PROSPECT)) == 99


def test_a_record_that_is_written_twice_ends_as_the_second_says():
    with org_of(*prospects(1)) as (org, adapter):
        changes = [Change("update", PROSPECT, {SURNAME: name}, org.ids[0]) for name in ("Hopper", "Curie")]
        assert [each.error for each in adapter.write(changes)] == [None, None]
        assert org.rows(PROSPECT)[0][SURNAME] == "Curie"


def test_what_will_be_written_is_checked_beforehand():
    good = [Column((SURNAME,)), Column(("Owner", "Email")), Column((EMAIL,))]
    with org_of() as (_, adapter):
        adapter.prepare(PROSPECT, good, [EMAIL])
        for columns, keys, message in [
            ([Column(("i360__Primary_Emial__c",))], [], "has no field i360__Primary_Emial__c"),
            ([Column(("CreatedDate",))], [], "may not be written"),
            (good, ["Nothing__c"], "has no field Nothing__c"),
        ]:
            with pytest.raises(Drifted, match=message):
                adapter.prepare(PROSPECT, columns, keys)


def test_values_as_the_org_gives_them_back():
    values = {
        "i360__Prospect__c": "a01Sb0000000001",
        "Name": "",
        "CreatedDate": "2026-03-02T10:00:00+01:00",
        "i360__Prospect__r": {EMAIL: "", "OwnerId": "005Sb0000000001"},
        "Unknown__c": "2026-03-02T10:00:00+01:00",
        "IsDeleted": False,
    }
    with scripted(known=(PROJECT, PROSPECT)) as adapter:
        assert adapter.canonical(PROJECT, values) == {
            "i360__Prospect__c": "a01Sb0000000001IAA",
            "Name": None,
            "CreatedDate": "2026-03-02T09:00:00Z",
            "i360__Prospect__r": {EMAIL: None, "OwnerId": "005Sb0000000001IAA"},
            "Unknown__c": "2026-03-02T10:00:00+01:00",
            "IsDeleted": False,
        }


def test_reading_ahead_in_a_thread_while_writing():
    with org_of(*prospects(60), page_size=5) as (org, adapter):
        found = []
        reader = threading.Thread(target=lambda: found.extend(ask(adapter, Query(PROSPECT, (EMAIL,), window=CHANGED))))
        reader.start()
        for n in range(10):
            adapter.write([create(**{SURNAME: f"New {n}"})])
        reader.join(30)
        assert len(org.rows(PROSPECT)) == 70
    assert len(found) >= 60


# ---- upserts ---------------------------------------------------------------------------------------------

EXTERNAL = "Home_Id__c"
KEYED = recorded(PROSPECT) | {
    "fields": [
        *recorded(PROSPECT)["fields"],
        {"name": EXTERNAL, "label": "Home id", "type": "string", "length": 40, "nillable": True, "createable": True}
        | {"updateable": True, "filterable": True, "sortable": True, "externalId": True, "unique": True},
    ]
}


def keyed(value, **values):
    return Change("create", PROSPECT, {EXTERNAL: value, **values}, key=EXTERNAL)


def test_a_create_with_an_external_id_can_be_repeated():
    """The first answer is lost, the second call finds what the first has made: no intent, no second row."""
    with org_of(shapes=[KEYED]) as (org, adapter):
        changes = [keyed(str(n), **{SURNAME: f"Ada {n}"}) for n in range(250)]
        org.fault(verb="write", status="lost_reply", path="*/composite")
        assert {type(each.error) for each in adapter.write(changes)} == {Unanswered}
        again = adapter.write(changes)
        assert [each.error for each in again] == [None] * 250
        assert [row["Id"] for row in org.rows(PROSPECT)] == [each.id for each in again]


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (keyed("7", Name="Ada"), ("PATCH", f"/composite/sobjects/{PROSPECT}/{EXTERNAL}")),
        (keyed("", Name="Ada"), ("POST", "/composite/sobjects")),
        (keyed(None, Name="Ada"), ("POST", "/composite/sobjects")),
        (Change("create", PROSPECT, {EMAIL: "a@example.com"}, key=EMAIL), ("POST", "/composite/sobjects")),
        (Change("create", PROSPECT, {EXTERNAL: "7"}), ("POST", "/composite/sobjects")),
        (Change("update", PROSPECT, {EXTERNAL: "7"}, "a01Sb0000000001IAA"), ("PATCH", "/composite/sobjects")),
    ],
)
def test_only_a_create_by_a_unique_external_id_is_an_upsert(change, sent):
    with scripted(done("a01Sb0000000001IAA"), describes={PROSPECT: KEYED}) as adapter:
        assert adapter.write([change])[0].error is None
        request = adapter.script.requests[-1]
    assert (request.method, request.url.path.removeprefix("/services/data/v66.0")) == sent
    assert json.loads(request.content)["records"][0].items() >= change.values.items()


# ---- hostile and unlucky rows ----------------------------------------------------------------------------


def test_a_text_that_looks_like_a_reference_stays_a_text():
    """Inside a composite call `@{r0.id}` would be replaced by what another part has answered."""
    names = [f"Ada {n}" for n in range(300)]
    names[7] = "@{r0[0].id} and more"
    with org_of() as (org, adapter):
        written = adapter.write([create(**{SURNAME: name}) for name in names])
        assert [each.error for each in written] == [None] * 300
        found = {row["Id"]: row[SURNAME] for row in org.rows(PROSPECT)}
    assert [found[each.id] for each in written] == names


def test_locked_rows_of_several_collections_are_tried_again_together():
    with org_of(*prospects(600)) as (org, adapter):
        adapter.describe([PROSPECT])
        for at in (5, 205, 405):
            org.lock(PROSPECT, org.ids[at], writes=1)
        before = org.billed
        written = adapter.write([Change("update", PROSPECT, {SURNAME: "New"}, id_) for id_ in org.ids])
        assert [each.error for each in written] == [None] * 600
        assert org.billed - before == 2
        assert len(adapter.clock.waits) == 1


def test_the_rows_of_one_part_that_is_lost_are_open_and_no_others():
    lost = (500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}])
    answer = composite(results(200), lost, results(199))
    with scripted(answer) as adapter:
        written = adapter.write([create(Name=str(n)) for n in range(600)])
        assert len(adapter.script.requests) == 2
    kinds = [type(each.error).__name__ for each in written]
    assert (
        kinds == ["NoneType"] * 200 + ["Unanswered"] * 400
    )  # the third answers for 199 of 200: nobody knows for which


def test_a_part_that_was_not_possible_now_is_repeated_alone():
    refused_ = (429, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "Too many requests"}])
    with scripted(composite(results(200), refused_), composite_of(100)) as adapter:
        written = adapter.write([create(Name=str(n)) for n in range(300)])
        assert len(json.loads(adapter.script.requests[-1].content)["records"]) == 100
    assert [each.error for each in written] == [None] * 300


def composite_of(count):
    return httpx.Response(200, json=results(count))


def test_a_value_that_the_org_cannot_read_spoils_its_row_alone_among_a_thousand():
    with org_of() as (org, adapter):
        values = [{SURNAME: f"Ada {n}"} | ({EMAIL: ["no text"]} if n == 637 else {}) for n in range(1000)]
        written = adapter.write([create(**each) for each in values])
        assert [at for at, each in enumerate(written) if each.error] == [637]
        assert len(org.rows(PROSPECT)) == 999


def test_a_session_that_ends_within_a_call_of_collections_is_renewed_for_what_was_refused():
    ended = (401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
    with scripted(composite(results(200), ended), composite(results(100))) as adapter:
        written = adapter.write([create(Name=str(n)) for n in range(300)])
        assert adapter.script.signed_in == 2
    assert [each.error for each in written] == [None] * 300


def test_a_call_is_not_larger_than_the_org_takes(monkeypatch):
    """Five calls instead of two where only two collections fit into one, and every row in its place."""
    monkeypatch.setattr(writing, "SIZE", 180_000)
    with org_of(*prospects(1)) as (org, adapter):
        adapter.describe(["Note"])
        before, note = org.billed, {"ParentId": org.ids[0], "Body": "x" * 300}
        written = adapter.write([Change("create", "Note", {"Title": f"{n}", **note}) for n in range(2000)])
        assert [each.error for each in written] == [None] * 2000
        assert org.billed - before == 5
        titles = {row["Id"]: row["Title"] for row in org.rows("Note")}
    assert [titles[each.id] for each in written] == [str(n) for n in range(2000)]


# ---- duplicate rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 300])  # alone, and within a composite call
def test_duplicates_are_refused_or_saved_as_the_connection_says(count):
    values = {SURNAME: "Ada", EMAIL: "ada@example.com"}
    with org_of({"object": PROSPECT, **values}) as (org, adapter):
        org.rules(PROSPECT, duplicates=[{"fields": [EMAIL], "allow": True}])
        changes = [create(**{SURNAME: f"New {n}"}) for n in range(count - 1)]
        *_, refused_ = adapter.write([*changes, create(**values)])
        assert refused_.error.reason == "DUPLICATES_DETECTED"
        assert f"refused this {PROSPECT}: DUPLICATES_DETECTED: " in str(refused_.error)
        assert "`duplicates: allow` in the connection" in str(refused_.error)
        with closing(at(adapter.url, duplicates="allow")) as allowing:
            assert [each.error for each in allowing.write([*changes, create(**values)])] == [None] * count


# ---- files -----------------------------------------------------------------------------------------------


def file(content=b"plan", name="plan.pdf", size=None):
    return File(name, lambda: io.BytesIO(content), size)


@pytest.mark.parametrize("size", [None, 600_000])
def test_a_file_is_streamed_with_its_record(size):
    content = random.Random(1).randbytes(600_000)
    with org_of() as (org, adapter):
        adapter.describe(["ContentVersion"])
        before = org.billed
        values = {
            "Title": 'The "plan"',
            "PathOnClient": "plan.pdf",
            "VersionData": file(content, 'pl"an\r\n.pdf', size),
        }
        (written,) = adapter.write([Change("create", "ContentVersion", values)])
        assert written.error is None
        assert org.billed - before == 1
        (row,) = org.rows("ContentVersion")
        assert (row["Id"], row["Title"], row["ContentSize"]) == (written.id, 'The "plan"', 600_000)
        reply = adapter._session.ask("GET", f"/sobjects/ContentVersion/{written.id}/VersionData", accept="*/*")
    assert reply.body == content


def test_a_file_that_cannot_be_read_or_is_not_as_long_as_said_fails_alone():
    def missing():
        raise FileNotFoundError(2, "No such file or directory")

    bad = [File("gone.pdf", missing), file(b"short", size=9), file(b"too long", size=3)]
    good = [Change("create", PROSPECT, {SURNAME: "Ada"})]
    with org_of() as (org, adapter):
        changes = [Change("create", "ContentVersion", {"PathOnClient": "x.pdf", "VersionData": each}) for each in bad]
        *refused_, made = adapter.write([*changes, *good])
        assert org.rows("ContentVersion") == []
    assert made.error is None
    assert [each.error.reason for each in refused_] == ["INVALID_VALUE"] * 3
    assert "the file gone.pdf cannot be read: No such file or directory" in str(refused_[0].error)


def test_a_lost_answer_leaves_a_file_open():
    with org_of() as (org, adapter):
        org.fault("ContentVersion", verb="write", status="lost_reply")
        values = {"PathOnClient": "x.pdf", "VersionData": file()}
        (written,) = adapter.write([Change("create", "ContentVersion", values)])
        assert type(written.error) is Unanswered
        assert len(org.rows("ContentVersion")) == 1


def test_a_file_too_large_for_the_org_fails_alone():
    large = httpx.Response(413, html="<h1>Request Entity Too Large</h1>")
    made = httpx.Response(201, json={"id": "068Sb0000000001IAA", "success": True, "errors": []})
    changes = [Change("create", "ContentVersion", {"PathOnClient": "x.pdf", "VersionData": file()})] * 2
    with scripted(large, made, known=("ContentVersion",)) as adapter:
        refused_, written = adapter.write(changes)
    assert type(refused_.error) is Rejected
    assert "the call was too large" in str(refused_.error)
    assert written.error is None


def test_a_file_goes_with_a_new_record_only():
    with org_of() as (_, adapter):
        changed = Change("update", "ContentVersion", {"VersionData": file()}, "068Sb0000000001IAA")
        (written,) = adapter.write([changed])
    assert written.error.reason == "INVALID_VALUE"

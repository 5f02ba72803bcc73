"""Writes to an API: one by one, saved, in batches; an answer for each record, whatever the system answers for all."""

import json
import math

import pytest
from http_server import Answer, Moving, spoken

from connector.errors import Drifted, RateLimited, Rejected, SetupError, Unanswered, Unauthorized, Unavailable
from connector.model import Change, Column

EACH = """
errors: {message: error.message, code: error.code, fields: error.fields}
objects:
  staff:
    create: {call: POST /staff, id: data.id}
    update: {call: "PATCH /staff/{id}", json: {set: "{fields}"}, headers: {Content-Type: application/merge-patch+json}}
  person:
    number_ids: true
    save: {call: POST /people, json: "{record}"}
  contact:
    save: {call: POST /contacts, repeatable: true}
"""


def create(*names, object_="staff"):
    return [Change("create", object_, {"name": name}) for name in names]


def told(answers):
    """Per record: its id, or the reason or kind of what went wrong."""
    return [getattr(each.error, "reason", None) or each.error.code if each.error else each.id for each in answers]


def made(asked):
    return Answer({"data": {"id": 7}, "id": 7}, 201)


def test_each_change_is_one_call_and_null_is_written_as_null():
    with spoken(EACH, made) as (endpoint, asked):
        changes = [
            Change("create", "staff", {"name": "Ann", "note": None}),
            Change("update", "staff", {"name": None}, "7"),
        ]
        assert told(endpoint.write(changes)) == ["7", "7"]
        assert [(each.method, each.path, each.body) for each in asked] == [
            ("POST", "/staff", {"name": "Ann", "note": None}),
            ("PATCH", "/staff/7", {"set": {"name": None}}),
        ]
        assert asked[1].headers["content-type"] == "application/merge-patch+json"
        assert endpoint.calls == 2


def test_save_makes_and_changes_and_says_which():
    with spoken(EACH, made) as (endpoint, asked):
        changes = [Change("create", "person", {"name": "Ann"}), Change("update", "person", {"name": "Bo"}, "7")]
        assert told(endpoint.write(changes)) == ["7", "7"]
        assert [each.body for each in asked] == [{"name": "Ann"}, {"id": 7, "name": "Bo"}]


def test_a_record_that_is_found_by_its_fields_is_only_sent_whole():
    with spoken(EACH, made) as (endpoint, asked):
        assert told(endpoint.write([Change("update", "contact", {"name": "Bo"}, "7")])) == ["whole_records_only"]
        assert asked == []
        assert told(endpoint.write([Change("replace", "contact", {"name": "Bo"}, "7")])) == ["7"]


def test_an_id_stays_within_its_place_in_the_address():
    with spoken(EACH, made) as (endpoint, asked):
        ids = ["../admin", "a b?c#d", "é", "..", "."]
        answers = endpoint.write([Change("update", "staff", {"name": "x"}, id_) for id_ in ids])
        assert told(answers) == [*ids[:3], "INVALID_VALUE", "INVALID_VALUE"]
        assert [each.path for each in asked] == ["/staff/..%2Fadmin", "/staff/a%20b%3Fc%23d", "/staff/%C3%A9"]


def test_what_json_cannot_hold_is_refused_alone():
    with spoken(EACH, made) as (endpoint, _):
        changes = create("Ann", math.nan, "Bo")
        assert told(endpoint.write(changes)) == ["7", "INVALID_VALUE", "7"]


# ---- one record refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"), [(422, "bad_name"), (400, "bad_name"), (404, "bad_name"), (409, "409"), (413, "bad_name")]
)
def test_a_refused_record_leaves_the_others_written(status, reason):
    body = {"error": {"message": "<b>Name</b> is\nnot " + "x" * 500, "code": "bad_name", "fields": ["name"]}}
    with spoken(EACH, lambda asked: Answer(body, status) if asked.body["name"] == "Bo" else made(asked)) as (
        endpoint,
        _,
    ):
        answers = endpoint.write(create("Ann", "Bo", "Cy"))
        assert told(answers) == ["7", reason, "7"]
        assert isinstance(answers[1].error, Rejected)
        assert answers[1].error.fields == ("name",)
        said = str(answers[1].error)
        assert f"/staff answered {status}: Name is not xxx" in said
        assert len(said) < 300


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"[1]", b'{"error": 5}', b'{"error": {"code": {"a": 1}}}'])
def test_a_refusal_may_say_anything(body):
    with spoken(EACH, lambda _: Answer(body, 422)) as (endpoint, _):
        assert told(endpoint.write(create("Ann"))) == ["422"]


def test_an_answer_with_status_200_can_be_a_refusal():
    api = EACH.replace("fields: error.fields", "failed: error")
    body = {"data": {"id": 7}, "error": {"message": "no", "code": "bad"}}
    with spoken(api, lambda _: body) as (endpoint, _):
        assert told(endpoint.write(create("Ann"))) == ["bad"]


# ---- lost, busy, not allowed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [Answer(drop=True), Answer(None, 500), Answer(b"<html>", 200), Answer({"data": {}}), Answer(None, 204), Answer([])]
)  # fmt: skip
def test_a_create_whose_answer_is_lost_may_be_there_and_is_not_sent_again(answer):
    with spoken(EACH, lambda asked: answer if asked.body["name"] == "Bo" else made(asked)) as (endpoint, asked):
        answers = endpoint.write(create("Ann", "Bo", "Cy"))
        assert told(answers) == ["7", "lost_reply", "7"]
        assert isinstance(answers[1].error, Unanswered)
        assert len(asked) == 3


def test_what_can_be_repeated_is_when_its_answer_is_lost():
    answers = iter([Answer(drop=True), Answer(None, 502), made(None)])
    with spoken(EACH, lambda _: next(answers)) as (endpoint, asked):
        assert told(endpoint.write(create("Ann", object_="contact"))) == ["7"]
        assert len(asked) == 3


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Unauthorized), (429, RateLimited)])
def test_while_nothing_is_written_a_call_that_cannot_be_made_is_raised(status, kind):
    with spoken(EACH, lambda _: Answer(None, status)) as (endpoint, _), pytest.raises(kind):
        endpoint.write(create("Ann", "Bo"))


def test_what_was_written_is_answered_when_the_rest_cannot_be():
    def answer(asked):
        return made(asked) if asked.body["name"] == "Ann" else Answer(None, 401)

    with spoken(EACH, answer) as (endpoint, asked):
        assert told(endpoint.write(create("Ann", "Bo", "Cy"))) == ["7", "not_authenticated", "not_authenticated"]
        assert len(asked) == 2, "it is not tried for each"


def test_a_busy_system_is_asked_again():
    answers = iter([Answer(None, 429, {"Retry-After": "2"}), Answer(None, 503, {"Retry-After": "3"}), made(None)])
    clock = Moving()
    with spoken(EACH, lambda _: next(answers), clock) as (endpoint, _):
        assert told(endpoint.write(create("Ann"))) == ["7"]
        assert clock.waits[0] >= 2
        assert clock.waits[1] >= 3


def test_what_has_no_call_to_write_is_said_before_anything_is_read():
    with spoken("objects: {staff: {list: {call: GET /staff}}}", made) as (endpoint, asked):
        with pytest.raises(SetupError, match="its api file has list"):
            endpoint.prepare("staff", [Column(("name",))], [])
        with pytest.raises(Drifted):
            endpoint.prepare("stuff", [], [])
        assert asked == []


def test_an_update_without_a_call_for_it_is_no_create():
    api = "objects: {staff: {create: {call: POST /staff}}}"
    with spoken(api, made) as (endpoint, _), pytest.raises(SetupError, match="no call to update"):
        endpoint.write([Change("update", "staff", {}, "7")])


# ---- batches ---------------------------------------------------------------------------------------------

BATCH = """
errors: {message: message}
objects:
  staff:
    create:
      call: POST /staff
      json: {inputs: "{items}", all_or_none: false}
      batch: {size: 3, item: {properties: "{fields}"}, results: results, error: error.text, code: error.code%s}
    update:
      call: PATCH /staff
      batch: {size: 3, results: results, error: error.text}
"""
PLAIN, TIED = BATCH % "", BATCH % ", tie: properties.name"


def one(item):
    name = item["properties"]["name"]
    if name == "Bo":
        return {"properties": {"name": name}, "error": {"text": "not Bo", "code": "bad"}}
    return {"id": f"id-{name}", "properties": {"name": name}}


def test_records_go_in_batches_each_with_its_result():
    with spoken(PLAIN, lambda asked: Answer({"results": [one(each) for each in asked.body["inputs"]]}, 207)) as (
        endpoint,
        asked,
    ):
        answers = endpoint.write(create("Ann", "Bo", "Cy", "Di"))
        assert told(answers) == ["id-Ann", "bad", "id-Cy", "id-Di"]
        assert "not Bo" in str(answers[1].error)
        assert [len(each.body["inputs"]) for each in asked] == [3, 1]
        assert asked[0].body["all_or_none"] is False


@pytest.mark.parametrize(
    "results", [[], [{"id": "1"}, {"id": "2"}], [{"id": str(n)} for n in range(4)], {"id": "1"}, None, "x"]
)
def test_results_that_cannot_be_told_apart_are_no_results(results):
    """A partial batch: nobody knows which of the records were written, so each is looked for before it is sent again."""
    with spoken(PLAIN, lambda _: {"results": results}) as (endpoint, asked):
        answers = endpoint.write(create("Ann", "Bo", "Cy"))
        assert told(answers) == ["lost_reply"] * 3
        assert len(asked) == 1


def test_a_tie_tells_results_apart_in_any_order_and_when_some_are_missing():
    def answer(asked):
        return {
            "results": [one(each) for each in reversed(asked.body["inputs"]) if each["properties"]["name"] != "Ann"]
        }

    with spoken(TIED, answer) as (endpoint, _):
        assert told(endpoint.write(create("Ann", "Bo", "Cy"))) == ["lost_reply", "bad", "id-Cy"]
        assert told(endpoint.write(create("Di", "Di", "Ed"))) == ["lost_reply", "lost_reply", "id-Ed"]


@pytest.mark.parametrize("result", [None, 5.5, [], {}, {"id": None}, {"id": {"a": 1}}, {"id": True}])
def test_a_result_without_an_id_leaves_its_record_open(result):
    with spoken(PLAIN, lambda _: {"results": [{"id": "1"}, result]}) as (endpoint, _):
        assert told(endpoint.write(create("Ann", "Bo"))) == ["1", "lost_reply"]


def test_results_of_updates_are_those_of_their_records():
    changes = [Change("update", "staff", {"name": name}, name) for name in ("a", "b", "c")]
    with spoken(PLAIN, lambda _: {"results": [{"id": "a"}, {"id": "c"}, {}]}) as (endpoint, asked):
        assert told(endpoint.write(changes)) == ["a", "lost_reply", "c"]
        assert asked[0].body == [{"id": name, "name": name} for name in ("a", "b", "c")]


def test_a_batch_that_one_record_spoils_is_halved_until_that_one_stands_alone():
    def answer(asked):
        names = [each["properties"]["name"] for each in asked.body["inputs"]]
        if "Bo" in names:
            return Answer({"message": "input 1 is not valid"}, 400)
        return {"results": [{"id": f"id-{name}"} for name in names]}

    with spoken(PLAIN, answer) as (endpoint, _):
        assert told(endpoint.write(create("Ann", "Bo", "Cy"))) == ["id-Ann", "400", "id-Cy"]


def test_the_same_record_twice_goes_in_two_batches():
    changes = [Change("update", "staff", {"name": name}, "a") for name in ("x", "y")]
    with spoken(PLAIN, lambda asked: {"results": [{"id": each["id"]} for each in asked.body]}) as (endpoint, asked):
        assert told(endpoint.write(changes)) == ["a", "a"]
        assert [each.body[0]["name"] for each in asked] == ["x", "y"]


def test_a_lost_batch_leaves_each_of_its_records_open_and_the_next_is_sent():
    def answer(asked):
        return (
            Answer(drop=True)
            if len(asked.body["inputs"]) == 3
            else {"results": [one(each) for each in asked.body["inputs"]]}
        )

    with spoken(PLAIN, answer) as (endpoint, _):
        assert told(endpoint.write(create("Ann", "Cy", "Di", "Ed"))) == ["lost_reply"] * 3 + ["id-Ed"]


def test_every_answer_that_is_json_is_survived():
    """Whatever stands where: each record has an answer of its own, or the call raises an error of ours."""
    odd = [None, True, 0, "x", [], {}, [[]], [{}], {"results": [{"error": 0}]}, {"results": [{"error": {"text": {}}}]}]
    odd += [{"results": [each]} for each in odd] + [{"error": each, "data": each} for each in odd]
    for body in odd:
        for api in (PLAIN, TIED, EACH):
            with spoken(api, lambda _, body=body: Answer(json.dumps(body).encode())) as (endpoint, _):
                answers = endpoint.write(create("Ann"))
                assert [isinstance(each.error, Unanswered | Rejected | Unavailable | None) for each in answers] == [
                    True
                ]

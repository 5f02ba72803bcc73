from datetime import UTC, datetime, timedelta

import pytest

from connector.endpoints.memory import Fault, Memory
from connector.errors import Drifted, RateLimited, Rejected, SetupError, Unanswered, Unauthorized, Unavailable
from connector.model import Change, Child, Column, Field, Query, Shape, Where, Window

NOW = "2025-03-10T15:00:00Z"
CASE = Shape(
    "Case__c",
    "Case",
    {
        "Id": Field("Id", "id"),
        "Owner__c": Field("Owner__c", "reference", targets=("Person",), relationship="Owner__r"),
        "Due__c": Field("Due__c", "datetime"),
        "Day__c": Field("Day__c", "date"),
        "Name": Field("Name"),
    },
    {"Notes__r": Child("Note__c", "Case__c")},
)
SHAPES = {"Case__c": CASE, "Note__c": Shape("Note__c", "Note", {"Case__c": Field("Case__c", "reference")})}
P1 = {"object": "Person", "Id": "003A00000000001IAA", "Name": "Pat", "LastModifiedDate": "2025-03-01T00:00:00Z"}
C1 = {
    "object": "Case__c",
    "Id": "a01A00000000001IAA",
    "Name": "One",
    "Owner__c": P1["Id"],
    "LastModifiedDate": "2025-03-02T00:00:00Z",
}


class Clock:
    def __init__(self):
        self.at = datetime(2025, 3, 10, 15, tzinfo=UTC)

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


def remote(*rows, **more):
    return Memory("i360", rows, clock=Clock(), shapes=SHAPES, **more)


def home(*rows):
    return Memory("home", [{"object": "lead", **row} for row in rows], clock=Clock())


def found(endpoint, object_, *paths, **query):
    return [row for page in endpoint.read([Query(object_, paths, **query)]) for row in page.rows]


def create(endpoint, object_, **values):
    return endpoint.write([Change("create", object_, values)])[0]


# ---- what rows look like ----


def test_given_rows_get_canonical_forms_by_shape():
    endpoint = remote(
        {"object": "Case__c", "Id": "a01A00000000001", "Due__c": "2025-03-01T13:00:00.000+0100", "Day__c": "2025-03-01"}
    )
    (row,) = endpoint.rows("Case__c")
    assert row["Id"] == "a01A00000000001IAA"
    assert row["Due__c"] == "2025-03-01T12:00:00Z"
    assert row["SystemModstamp"] == row["LastModifiedDate"] == row["CreatedDate"] == NOW


def test_the_modstamp_of_a_row_without_one_is_its_last_modification():
    (row,) = remote(C1).rows("Case__c")
    assert row["SystemModstamp"] == row["CreatedDate"] == C1["LastModifiedDate"]


def test_other_systems_keep_values_as_given():
    endpoint = home({"id": "1", "updated": "2025-03-01T12:00:00.000+0000", "n": 5})
    assert endpoint.rows("lead") == [{"id": "1", "updated": "2025-03-01T12:00:00.000+0000", "n": 5}]
    assert endpoint.keys("lead").stamp == "updated"
    window = Window(datetime(2025, 3, 1, 12, tzinfo=UTC), datetime(2025, 3, 1, 12, tzinfo=UTC))
    assert [row["id"] for row in found(endpoint, "lead", "id", window=window)] == ["1"]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([{"id": "1"}], ("id", None, None)),
        ([{"id": "1", "created_at": NOW}], ("id", "created_at", "created_at")),
        ([{"id": "1", "created": NOW}, {"id": "2", "updated_at": NOW}], ("id", "updated_at", "created")),
        ([{"id": "1", "updated": NOW, "created_at": NOW}], ("id", "updated", "created_at")),
        ([{"Id": "1"}], ("Id", "SystemModstamp", "CreatedDate")),
    ],
)
def test_keys_are_read_off_the_rows(rows, keys):
    said = home(*rows).keys("lead")
    assert (said.id, said.stamp, said.created) == keys


def test_a_system_has_one_kind_of_ids():
    assert remote().keys("Case__c").id == "Id"
    assert remote().keys("Other__c").id == "Id"
    assert Memory("x", [P1], clock=Clock()).keys("Other__c").id == "Id"
    assert home().keys("lead").id == "id"


def test_a_column_that_a_mapping_fills_does_not_say_when_a_row_was_made():
    endpoint = home({"id": "1", "created": NOW})
    endpoint.prepare("lead", [Column(("created",), "instant")], [])
    assert endpoint.keys("lead").created is None


# ---- paths ----


def test_a_path_goes_through_the_parent():
    endpoint = remote(
        P1,
        C1,
        {**C1, "Id": "a01A00000000002IAA", "Owner__c": None},
        {**C1, "Id": "a01A00000000003IAA", "Owner__c": "003A00000000009IAA"},
    )
    rows = found(endpoint, "Case__c", "Owner__r.Name", "Name", stamped=False)
    assert rows == [
        {"Owner__r": {"Name": "Pat"}, "Name": "One"},
        {"Owner__r": None, "Name": "One"},
        {"Owner__r": None, "Name": "One"},
    ]


def test_children_come_along_when_the_shape_has_the_relationship():
    notes = [{"object": "Note__c", "Id": f"n{n}", "Case__c": C1["Id"], "Body": f"b{n}"} for n in (2, 1)]
    endpoint = remote(C1, *notes, {**notes[0], "Id": "n3", "Case__c": None})
    query, child = Query("Case__c", ("Name",), stamped=False), Query("Note__c", ("Body",), order=("Id",), stamped=False)
    relation = endpoint.nest(query, child, {"Case__c": "Id"})
    assert relation == "Notes__r"
    assert found(endpoint, "Case__c", "Name", stamped=False, children={relation: child}) == [
        {"Name": "One", "Notes__r": [{"Body": "b1"}, {"Body": "b2"}]}
    ]
    assert endpoint.nest(query, child, {"Case__c": "Name"}) is None
    assert endpoint.nest(child, query, {"Case__c": "Id"}) is None


def test_an_absent_field_stays_absent_and_the_whole_row_is_all_of_it():
    endpoint = home({"id": "1", "a": None})
    assert found(endpoint, "lead", "a", "b", stamped=False) == [{"a": None}]
    assert found(endpoint, "lead", "a.x", whole=True) == [{"id": "1", "a": None}]


def test_nothing_outside_can_change_the_table():
    given = {"object": "lead", "id": "1", "tags": ["a"]}
    endpoint = Memory("home", [given], clock=Clock())
    given["tags"].append("b")
    found(endpoint, "lead", whole=True)[0]["tags"].append("c")
    endpoint.rows("lead")[0]["tags"].append("d")
    values = {"tags": ["x"]}
    endpoint.write([Change("update", "lead", values, "1")])
    values["tags"].append("e")
    endpoint.written[0].values["tags"].append("f")
    assert endpoint.rows("lead") == [{"id": "1", "tags": ["x"]}]


def test_values_compare_by_type():
    endpoint = remote(P1, C1)
    assert len(found(endpoint, "Case__c", "Id", where=(Where("Owner__c", ("003A00000000001",)),))) == 1
    assert len(found(endpoint, "Case__c", "Id", where=(Where("Id", ("a01A00000000001",)),))) == 1
    assert len(found(endpoint, "Case__c", "Id", where=(Where("Owner__r.Name", ("Pat",)),))) == 1
    numbers = home({"id": 7, "n": 5, "b": True}, {"id": 8, "n": None, "b": False})
    assert [row["id"] for row in found(numbers, "lead", "id", where=(Where("id", ("7",)),))] == [7]
    assert [row["id"] for row in found(numbers, "lead", "id", where=(Where("n", (5.0,)),))] == [7]
    assert [row["id"] for row in found(numbers, "lead", "id", where=(Where("n", (None,)),))] == [8]
    assert found(numbers, "lead", "id", where=(Where("b", (1, 0)),)) == []


def test_a_window_needs_a_stamp():
    with pytest.raises(SetupError, match="updated_at, updated, created_at"):
        found(home({"id": "1"}), "lead", "id", window=Window(None, datetime(2999, 1, 1, tzinfo=UTC)))


# ---- writing ----


def test_new_ids_are_the_next_number_where_ids_are_numbers():
    endpoint = Memory("x", [{"object": "lead", "id": "9"}, {"object": "note", "id": "n1"}], clock=Clock())
    assert [create(endpoint, name).id for name in ("lead", "lead", "note", "task", "note")] == [
        "10",
        "11",
        "new1",
        "new2",
        "new3",
    ]


def test_what_is_written_is_stamped_as_salesforce_does():
    endpoint = remote(C1)
    endpoint.clock.sleep(60)
    endpoint.write([Change("update", "Case__c", {"Name": "Two"}, C1["Id"])])
    (row,) = endpoint.rows("Case__c")
    assert (row["Name"], row["CreatedDate"]) == ("Two", C1["LastModifiedDate"])
    assert row["LastModifiedDate"] == row["SystemModstamp"] == "2025-03-10T15:01:00Z"


def test_a_prepared_table_knows_which_dicts_are_groups_and_which_are_values():
    endpoint = home({"id": "1", "a": {"value": {"k": 1}, "other": 2}})
    endpoint.prepare("lead", [Column(("a", "value"), "json"), Column(("a", "other"))], [])
    for verb in ("update", "replace"):
        endpoint.write([Change(verb, "lead", {"a": {"value": {verb: 1}}}, "1")])
        assert endpoint.rows("lead")[0]["a"] == {"value": {verb: 1}, "other": 2}


def test_the_log_holds_what_was_applied_and_nothing_else():
    endpoint = home({"id": "1"})
    endpoint.write(
        [
            Change("update", "lead", {"a": 1}, "1"),
            Change("update", "lead", {"a": 1}, "none"),
            Change("create", "lead", {"a": 2}),
        ]
    )
    assert [(change.verb, change.id, change.values) for change in endpoint.written] == [
        ("update", "1", {"a": 1}),
        ("create", "2", {"a": 2}),
    ]


def test_an_id_that_is_taken_is_refused():
    assert create(home({"id": "1"}), "lead", id="1").error.reason == "DUPLICATE_VALUE"


def test_an_edit_is_stamped_as_a_users_is_unless_told():
    endpoint = remote(C1)
    endpoint.edit("Case__c", [{**C1, "Name": "Two"}, {"object": "Case__c", "Id": "a01A00000000002IAA"}])
    assert [(row.get("Name"), row["SystemModstamp"]) for row in endpoint.rows("Case__c")] == [("Two", NOW), (None, NOW)]
    endpoint = home({"id": "1", "updated": "2025-03-01T00:00:00Z"})
    endpoint.edit("lead", [{"id": "1", "a": 1}])
    assert endpoint.rows("lead") == [{"id": "1", "updated": NOW, "a": 1}]
    endpoint.edit("lead", [{"id": "1", "updated": "2025-03-02T00:00:00Z"}], stamp=False)
    assert endpoint.rows("lead")[0]["updated"] == "2025-03-02T00:00:00Z"
    endpoint.delete("lead", "1")
    assert endpoint.rows("lead") == []
    assert endpoint.written == []


# ---- faults ----


def broken(answer, **more):
    endpoint = home({"id": "1", "a": 0})
    endpoint.faults.append(Fault("lead", answer, **more))
    return endpoint


def test_calls_are_counted_by_verb():
    endpoint = home({"id": "1"})
    found(endpoint, "lead", "id")
    found(endpoint, "lead", "id", where=(Where("id", ("1",)),))
    endpoint.write(
        [Change("create", "lead", {}), Change("update", "lead", {}, "1"), Change("replace", "lead", {}, "none")]
    )
    assert endpoint.counts == {("lead", "list"): 1, ("lead", "find"): 1, ("lead", "create"): 1, ("lead", "update"): 2}
    assert endpoint.calls == 0


def test_too_many_requests_are_waited_for_and_counted_twice():
    endpoint = broken(429, times=1)
    assert create(endpoint, "lead", a=1).error is None
    assert endpoint.counts["lead", "create"] == 2
    assert endpoint.now() == datetime(2025, 3, 10, 15, 0, 1, tzinfo=UTC)


def test_a_rejection_is_the_rows_own_and_counts_its_times():
    endpoint = broken(422, match={"a": 1}, times=1)
    answers = endpoint.write([Change("create", "lead", {"a": n}) for n in (0, 1, 1)])
    assert [getattr(answer.error, "reason", None) for answer in answers] == [None, "422", None]
    assert isinstance(answers[1].error, Rejected)
    assert len(endpoint.written) == 2


def test_a_lost_reply_was_applied():
    endpoint = broken("lost_reply", times=1)
    lost = create(endpoint, "lead", a=1)
    assert lost.id is None
    assert isinstance(lost.error, Unanswered)
    assert len(endpoint.rows("lead")) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (503, Unavailable),
        (500, Unavailable),
        ("timeout", Unavailable),
        ("unavailable", Unavailable),
        (401, Unauthorized),
        (429, RateLimited),
    ],
)
@pytest.mark.parametrize("verb", ["write", "read"])
def test_an_outage_is_retried_then_raised_and_nothing_is_applied(answer, error, verb):
    endpoint = broken(answer, verb=verb)
    with pytest.raises(error, match=f"{answer}"):
        create(endpoint, "lead", a=1) if verb == "write" else found(endpoint, "lead", "id")
    assert len(endpoint.rows("lead")) == 1
    passing = broken(answer, verb=verb, times=1)
    create(passing, "lead", a=1)
    assert len(found(passing, "lead", "id")) == 2


@pytest.mark.parametrize(("answer", "error"), [(403, Unauthorized), (404, Drifted), ("lost_reply", Unavailable)])
def test_a_read_that_is_refused(answer, error):
    with pytest.raises(error):
        found(broken(answer, verb="read"), "lead", "id")


def test_a_batch_cut_short_answers_for_what_was_applied():
    endpoint = broken(503, match={"a": 2})
    answers = endpoint.write([Change("create", "lead", {"a": n}) for n in (1, 2, 3)])
    assert [type(answer.error) for answer in answers] == [type(None), Unavailable, Unavailable]
    assert [row["a"] for row in endpoint.rows("lead")] == [0, 1]


def test_a_hook_stands_before_and_behind_every_call():
    endpoint, said = home(), []
    endpoint.on_call = said.append
    endpoint.write([Change("create", "lead", {}), Change("create", "lead", {})])
    found(endpoint, "lead", "id")
    assert said == ["write:lead", "wrote:lead", "write:lead", "wrote:lead", "read:lead"]

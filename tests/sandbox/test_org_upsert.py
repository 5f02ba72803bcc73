"""Upsert by external id."""

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

V = "/services/data/v66.0"
FIELD = "i360__External_System_Id__c"
HERE = f"sobjects/i360__Appointment__c/{FIELD}"


def marked(shape):
    fields = [{**field, "externalId": True} if field["name"] == FIELD else field for field in shape["fields"]]
    return {**shape, "fields": fields}


@pytest.fixture
def site():
    with site_of(Org([marked(shape) for shape in SHAPES], clock=lambda: NOW)) as made:
        yield made


def rows(site):
    return [(row["Name"], row[FIELD]) for row in site.org.rows("i360__Appointment__c")]


def test_the_first_time_makes_and_the_second_changes(site):
    made = site.patch(f"{HERE}/A%2F1", {"Name": "one"})
    again = site.patch(f"{HERE}/a%2F1", {"Name": "two"})
    assert (made.status_code, again.status_code) == (201, 200)
    expected = {"id": made.json()["id"], "success": True, "errors": []}
    assert (made.json(), again.json()) == ({**expected, "created": True}, {**expected, "created": False})
    assert (
        made.headers["Location"] == again.headers["Location"] == f"{V}/sobjects/i360__Appointment__c/{expected['id']}"
    )
    assert rows(site) == [("two", "A/1")]


def test_before_version_46_a_change_has_no_body(site):
    site.patch(f"{HERE}/1", {})
    response = site.http.patch(f"/services/data/v45.0/{HERE}/1", json={"Name": "x"})
    assert (response.status_code, response.content) == (204, b"")


def test_several_rows_are_300_with_their_urls(site):
    made = site.org.load([{"object": "i360__Appointment__c", FIELD: "1"}] * 2)
    urls = [f"{V}/sobjects/i360__Appointment__c/{each}" for each in made]
    for response in (site.patch(f"{HERE}/1", {}), site.get(f"{HERE}/1")):
        assert (response.status_code, response.json()) == (300, urls)


def test_a_row_is_read_by_external_id(site):
    site.patch(f"{HERE}/1", {"Name": "one"})
    assert site.get(f"{HERE}/1").json()["Name"] == "one"
    assert site.get(f"{HERE}/2").status_code == 404


def test_update_only_makes_nothing(site):
    assert site.patch(f"{HERE}/1?updateOnly=true", {}).status_code == 404
    assert rows(site) == []


def test_the_body_does_not_repeat_the_key(site):
    response = site.patch(f"{HERE}/1", {FIELD: "1"})
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, "INVALID_FIELD")


def test_a_deleted_row_is_not_found_again(site):
    made = site.patch(f"{HERE}/1", {}).json()["id"]
    site.delete(f"sobjects/i360__Appointment__c/{made}")
    assert site.patch(f"{HERE}/1", {}).status_code == 201


def test_post_to_id_makes_a_row(site):
    assert site.post("sobjects/Account/Id", {"Name": "x"}).status_code == 201


def test_a_collection_upserts_row_by_row(site):
    kind = {"attributes": {"type": "i360__Appointment__c"}}
    site.patch(f"{HERE}/1", {"Name": "old"})
    records = [
        {**kind, FIELD: "1", "Name": "new"},
        {**kind, FIELD: "2"},
        kind,
        {"attributes": {"type": "Account"}, "Name": "x"},
    ]
    results = site.patch(f"composite/sobjects/i360__Appointment__c/{FIELD}", {"records": records}).json()
    assert [(row["success"], row.get("created")) for row in results] == [
        (True, False),
        (True, True),
        (False, None),
        (False, None),
    ]
    assert [row["errors"][0]["statusCode"] for row in results[2:]] == ["MISSING_ARGUMENT", "INVALID_TYPE"]
    assert [external for _, external in rows(site)] == ["1", "2"]


def test_a_collection_by_id_makes_what_has_none(site):
    [account] = site.org.load([{"object": "Account", "Name": "old"}])
    kind = {"attributes": {"type": "Account"}, "Name": "x"}
    results = site.patch(
        "composite/sobjects/Account/Id", {"records": [{**kind, "Id": account}, {**kind, "Id": None}]}
    ).json()
    assert [row["created"] for row in results] == [False, True]
    assert len(site.org.rows("Account")) == 2


def test_a_look_up_field_serves_as_well(site):
    site.org.load([{"object": "Contact", "LastName": "x", "Email": "Ann@Example.com"}])
    records = [{"attributes": {"type": "Contact"}, "Email": "ann@example.com", "LastName": "y"}]
    [row] = site.patch("composite/sobjects/Contact/Email", {"records": records}).json()
    assert row["created"] is False

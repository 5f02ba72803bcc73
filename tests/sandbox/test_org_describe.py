"""Describe: every key a client may index, and 304 for who knows it already."""

import pytest

LONG_AGO = "Thu, 01 Jan 2015 00:00:00 GMT"


def test_an_object_has_all_keys_of_a_real_describe(site):
    found = site.get("sobjects/i360__Prospect__c/describe").json()
    assert len(found) == 45
    assert {len(field) for field in found["fields"]} == {57}
    state = next(field for field in found["fields"] if field["name"] == "i360__Prospect_State__c")
    assert state["picklistValues"][0] == {
        "active": True,
        "defaultValue": False,
        "label": "New",
        "validFor": None,
        "value": "New",
    }
    child = next(child for child in found["childRelationships"] if child["relationshipName"] == "i360__Projects__r")
    assert (child["childSObject"], child["field"], len(child)) == ("i360__Project__c", "i360__Prospect__c", 8)
    assert found["recordTypeInfos"][0]["recordTypeId"] == "012000000000000AAA"
    assert found["urls"]["describe"] == "/services/data/v66.0/sobjects/i360__Prospect__c/describe"


def test_a_field_says_what_its_shape_says_and_nothing_of_ours(site):
    fields = {field["name"]: field for field in site.get("sobjects/i360__Appointment__c/describe").json()["fields"]}
    lookup = fields["i360__Prospect__c"]
    assert (lookup["type"], lookup["referenceTo"], lookup["relationshipName"]) == (
        "reference", ["i360__Prospect__c"], "i360__Prospect__r")  # fmt: skip
    assert (lookup["custom"], lookup["nillable"], lookup["unique"]) == (True, True, False)
    assert "assumed" not in fields["i360__Phone_1__c"]
    assert fields["i360__Comments__c"]["filterable"] is False


def test_the_global_describe_lists_the_objects(site):
    found = site.get("sobjects").json()
    assert (found["encoding"], found["maxBatchSize"]) == ("UTF-8", 200)
    by_name = {entry["name"]: entry for entry in found["sobjects"]}
    assert by_name["i360__Prospect__c"]["keyPrefix"] == "a01"
    assert (by_name["Account"]["custom"], by_name["i360__Prospect__c"]["custom"]) == (False, True)
    assert by_name["Account"]["urls"]["rowTemplate"] == "/services/data/v66.0/sobjects/Account/{ID}"
    assert {name for name, entry in by_name.items() if entry["mergeable"]} == {"Account", "Contact", "Lead"}
    assert site.get("sobjects/Lead/describe").json()["mergeable"] is True


@pytest.mark.parametrize("path", ["sobjects", "sobjects/Account/describe"])
def test_a_describe_is_not_sent_twice(site, path):
    first = site.get(path)
    again = site.get(path, headers={"If-Modified-Since": first.headers["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")
    assert site.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    for header in (LONG_AGO, "rubbish", ""):
        assert site.get(path, headers={"If-Modified-Since": header}).status_code == 200


def test_inside_a_composite_the_subrequest_carries_the_condition(site):
    url = "/services/data/v66.0/sobjects/Account/describe"
    modified = site.get("sobjects/Account/describe").headers["Last-Modified"]
    results = site.composite(
        {"url": url, "httpHeaders": {"If-Modified-Since": modified}},
        {"url": url, "httpHeaders": {"If-Modified-Since": LONG_AGO}},
    )
    assert (results[0]["httpStatusCode"], results[0]["body"]) == (304, None)
    assert results[0]["httpHeaders"].keys() == {"ETag", "Last-Modified"}
    assert (results[1]["httpStatusCode"], results[1]["body"]["name"]) == (200, "Account")


def test_a_shape_that_changed_is_sent_again(tmp_path):
    from sandbox_site import NOW, SHAPES, site_of

    from connector.sandbox import Org

    path = tmp_path / "org.db"
    with site_of(Org(SHAPES, path=path, clock=lambda: NOW)) as site:
        before = site.get("sobjects/User/describe").headers["Last-Modified"]
    extra = {"name": "Nick__c", "type": "string", "length": 40, "createable": True}
    grown = [{**shape, "fields": [*shape["fields"], extra]} if shape["name"] == "User" else shape for shape in SHAPES]
    with site_of(Org(grown, path=path, clock=lambda: NOW)) as site:
        response = site.get("sobjects/User/describe", headers={"If-Modified-Since": before})
        assert (response.status_code, response.headers["Last-Modified"]) == (200, "Wed, 12 Mar 2025 12:00:00 GMT")
        assert site.org.rows("User")[0]["Nick__c"] is None


def test_a_row_is_not_sent_twice(site):
    [made] = site.org.load([{"object": "Account", "Name": "x"}])
    modified = site.get(f"sobjects/Account/{made}").headers["Last-Modified"]
    assert site.get(f"sobjects/Account/{made}", headers={"If-Modified-Since": modified}).status_code == 304

"""Record types, dependent picklists with trimmed bitmaps, and the picklist values of the UI API."""

import base64

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org, fixtures
from connector.sandbox.metadata import picklists

MASTER = "012000000000000AAA"
LANDS = [{"value": f"L{number:03}", "active": number != 3} for number in range(235)]
OBJECTS = {
    "Account": {
        "fields": {
            "Land__c": {"type": "picklist", "values": LANDS},
            "City__c": {
                "type": "picklist",
                "controllerName": "Land__c",
                "values": [
                    {"value": "Near", "validFor": ["L000", "L007"], "defaultValue": True},
                    {"value": "Far", "validFor": ["L038"]},
                    {"value": "Last", "validFor": ["L234"]},
                    {"value": "Nowhere"},
                    {"value": "Old", "validFor": ["L000"], "active": False},
                    {"value": "Raw", "validFor": "gAAA"},
                ],
            },
            "Open__c": "boolean",
            "Hour__c": {
                "type": "picklist",
                "controllerName": "Open__c",
                "values": [{"value": "9-5", "validFor": [True]}],
            },
        },
        "recordTypes": {
            "Customer": {
                "label": "A customer",
                "default": True,
                "picklists": {"Rating": ["Hot", "Cold"], "City__c": ["Far", "Near"]},
                "defaults": {"Rating": "Cold"},
            },
            "Partner": {"active": False, "id": "012000000000001AAA", "description": "Gone"},
        },
    }
}


@pytest.fixture
def site():
    with site_of(Org(fixtures.merged(SHAPES, OBJECTS), clock=lambda: NOW)) as made:
        yield made


def described(site, name="Account"):
    about = site.get(f"sobjects/{name}/describe").json()
    return about, {field["name"]: field for field in about["fields"]}


def kind(site, name):
    return next(row["Id"] for row in site.org.rows("RecordType") if row["DeveloperName"] == name)


# -- bitmaps


def test_a_bitmap_is_trimmed_to_groups_of_three_bytes():
    assert picklists.bitmap([30]) == "AAAAAgAA"
    assert picklists.bitmap([0]) == "gAAA"
    assert picklists.bitmap([]) == "AAAA"
    assert picklists.indices("AAAAAgAA") == [30]  # as recorded


def test_valid_values_become_bits_of_the_controllers_full_list(site):
    _, fields = described(site)
    city = fields["City__c"]
    assert (city["controllerName"], city["dependentPicklist"]) == ("Land__c", True)
    bits = {entry["value"]: entry["validFor"] for entry in city["picklistValues"]}
    lands = [entry["value"] for entry in fields["Land__c"]["picklistValues"]]

    def valid(text):
        raw = base64.b64decode(text)
        return [
            land
            for place, land in enumerate(lands)
            if place >> 3 < len(raw) and raw[place >> 3] & (0x80 >> (place & 7))
        ]

    assert {value: valid(text) for value, text in bits.items()} == {
        "Near": ["L000", "L007"], "Far": ["L038"], "Last": ["L234"], "Nowhere": [], "Old": ["L000"], "Raw": ["L000"]}  # fmt: skip
    assert bits["Far"] == "AAAAAAIA"
    assert all("=" not in text for text in bits.values())
    assert [entry["validFor"] for entry in fields["Land__c"]["picklistValues"]] == [None] * 235


def test_a_checkbox_controls_with_two_bits(site):
    _, fields = described(site)
    assert [entry["validFor"] for entry in fields["Hour__c"]["picklistValues"]] == ["QAAA"]


# -- record types


def test_describe_lists_the_record_types_and_the_master(site):
    about, fields = described(site)
    infos = {info["developerName"]: info for info in about["recordTypeInfos"]}
    assert list(infos) == ["Customer", "Partner", "Master"]
    assert infos["Master"]["recordTypeId"] == MASTER
    assert (infos["Customer"]["name"], infos["Customer"]["defaultRecordTypeMapping"]) == ("A customer", True)
    assert (infos["Partner"]["active"], infos["Partner"]["recordTypeId"]) == (False, "012000000000001AAA")
    keys = {
        "active",
        "available",
        "defaultRecordTypeMapping",
        "developerName",
        "master",
        "name",
        "recordTypeId",
        "urls",
    }
    assert {frozenset(info) for info in infos.values()} == {frozenset(keys)}
    url = infos["Customer"]["urls"]["layout"]
    assert url == f"/services/data/v66.0/sobjects/Account/describe/layouts/{infos['Customer']['recordTypeId']}"
    assert (fields["RecordTypeId"]["referenceTo"], fields["RecordTypeId"]["relationshipName"]) == (
        ["RecordType"], "RecordType")  # fmt: skip
    assert "recordTypes" not in about
    assert "initial" not in fields["RecordTypeId"]


def test_record_types_are_rows_to_be_queried(site):
    rows = site.query(
        "SELECT Name, DeveloperName, SobjectType, IsActive FROM RecordType WHERE SobjectType = 'Account' ORDER BY Name"
    ).json()["records"]
    assert [(row["Name"], row["DeveloperName"], row["IsActive"]) for row in rows] == [
        ("A customer", "Customer", True), ("Partner", "Partner", False)]  # fmt: skip
    made = site.post("sobjects/Account", {"Name": "Acme"}).json()["id"]
    [row] = site.query("SELECT RecordType.DeveloperName FROM Account").json()["records"]
    assert (row["RecordType"]["DeveloperName"], made[:3]) == ("Customer", "001")


def test_a_record_type_of_another_object_or_an_inactive_one_is_refused(site):
    for wrong in ("012000000000001AAA", "012000000000009AAA"):
        response = site.post("sobjects/Account", {"Name": "x", "RecordTypeId": wrong})
        assert (response.status_code, response.json()[0]["errorCode"]) == (400, "INVALID_CROSS_REFERENCE_KEY")
    response = site.post("sobjects/Account", {"Name": "x", "RecordTypeId": kind(site, "Customer")[:15]})
    assert response.status_code == 201


def test_objects_without_record_types_have_the_master_only(site):
    about, fields = described(site, "Contact")
    assert [info["developerName"] for info in about["recordTypeInfos"]] == ["Master"]
    assert "RecordTypeId" not in fields


# -- the UI API


def test_one_field_of_a_record_type(site):
    path = f"ui-api/object-info/Account/picklist-values/{kind(site, 'Customer')}"
    found = site.get(f"{path}/Rating").json()
    assert found == {
        "controllerValues": {},
        "defaultValue": {"attributes": None, "label": "Cold", "validFor": [], "value": "Cold"},
        "url": f"/services/data/v66.0/{path}/Rating",
        "values": [
            {"attributes": None, "label": "Hot", "validFor": [], "value": "Hot"},
            {"attributes": None, "label": "Cold", "validFor": [], "value": "Cold"},
        ],
    }
    cities = site.get(f"{path}/City__c").json()
    assert [(entry["value"], entry["validFor"]) for entry in cities["values"]] == [("Near", [0, 7]), ("Far", [38])]
    assert (cities["controllerValues"]["L038"], len(cities["controllerValues"])) == (38, 235)
    assert cities["defaultValue"]["value"] == "Near"


def test_the_master_record_type_offers_all_active_values(site):
    found = site.get(f"ui-api/object-info/Account/picklist-values/{MASTER}").json()["picklistFieldValues"]
    assert [entry["value"] for entry in found["City__c"]["values"]] == ["Near", "Far", "Last", "Nowhere", "Raw"]
    assert found["Hour__c"]["controllerValues"] == {"false": 0, "true": 1}
    assert {"Industry", "Rating", "Type", "Land__c"} <= found.keys()
    assert found["Rating"]["url"].endswith(f"/picklist-values/{MASTER}/Rating")


def test_an_org_in_a_file_keeps_its_record_types(tmp_path):
    shapes = fixtures.merged(SHAPES, OBJECTS)
    for _ in range(2):
        org = Org(shapes, path=tmp_path / "org.db")
        found = [row["Id"] for row in org.rows("RecordType")]
        org.close()
        assert len(found) == 2

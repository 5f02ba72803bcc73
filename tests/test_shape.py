import json
from pathlib import Path

import pytest

from connector.errors import SpecError
from connector.model import Child, Field, Option
from connector.shape import dump, load, shape_of

FOLDER = Path(__file__).parents[1] / "mappings" / "shapes"

RAW = {
    "name": "Visit__c",
    "label": "Visit",
    "keyPrefix": "a09",
    "custom": True,
    "urls": {"sobject": "/services/data/v66.0/sobjects/Visit__c"},
    "fields": [
        {
            "name": "Stage__c",
            "label": "Stage",
            "type": "picklist",
            "length": 255,
            "nillable": True,
            "createable": True,
            "updateable": False,
            "filterable": True,
            "calculated": False,
            "restrictedPicklist": True,
            "externalId": False,
            "relationshipName": None,
            "referenceTo": [],
            "picklistValues": [
                {"active": True, "defaultValue": True, "label": "Open", "validFor": None, "value": "open"},
                {"active": False, "defaultValue": False, "label": "Old", "validFor": None, "value": "old"},
            ],
        },
        {
            "name": "OwnerId",
            "label": "Owner ID",
            "type": "reference",
            "length": 18,
            "nillable": False,
            "defaultedOnCreate": True,
            "createable": True,
            "updateable": True,
            "filterable": True,
            "relationshipName": "Owner",
            "referenceTo": ["Group", "User"],
        },
    ],
    "childRelationships": [
        {"childSObject": "Task", "field": "WhatId", "relationshipName": "Tasks", "cascadeDelete": True},
        {"childSObject": "FeedItem", "field": "ParentId", "relationshipName": None},
    ],
}


def test_a_describe_becomes_a_shape():
    shape = shape_of(RAW)
    assert (shape.name, shape.label) == ("Visit__c", "Visit")
    assert shape.fields["Stage__c"] == Field(
        "Stage__c",
        "picklist",
        255,
        updateable=False,
        restricted=True,
        picklist=("open",),
        options=(Option("open", "Open"), Option("old", "Old", active=False)),
    )
    assert shape.fields["OwnerId"] == Field(
        "OwnerId", "reference", 18, nillable=False, defaulted=True, targets=("Group", "User"), relationship="Owner"
    )
    assert shape.children == {"Tasks": Child("Task", "WhatId")}


def test_a_recorded_describe_gives_the_shape_of_the_live_one(tmp_path):
    (tmp_path / "Visit__c.json").write_text(dump(RAW))
    assert load(tmp_path) == load(tmp_path / "Visit__c.json") == {"Visit__c": shape_of(RAW)}


def test_recording_is_stable():
    turned = {**RAW, "fields": RAW["fields"][::-1], "childRelationships": RAW["childRelationships"][::-1]}
    text = dump(RAW)
    assert dump(turned) == dump(json.loads(text)) == text
    assert not any(word in text for word in ("null", "false", "[]", "urls", "cascadeDelete"))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_every_recorded_shape_is_read_whole(file):
    raw = json.loads(file.read_text())
    (shape,) = load(file).values()
    assert shape.name == file.stem
    assert list(shape.fields) == [field["name"] for field in raw["fields"]]
    assert shape == shape_of(json.loads(dump(raw)))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "X"}', '{"name": "X", "fields": [{}]}', '{"name": "X", "fields": 1}']
)
def test_a_file_that_is_no_describe_is_named(tmp_path, text):
    file = tmp_path / "X.json"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"X\.json: not a recorded describe"):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "X.json")

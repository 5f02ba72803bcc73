"""Deletes and what goes with them, undelete, merges, what changed between two moments, late commits."""

from datetime import timedelta

import httpx
import pytest
from click.testing import CliRunner
from sandbox_site import NOW, site_of

from connector.sandbox import Org
from connector.sandbox.cli import sandbox

ACME, BETA, GAMMA = (f"001000000000{number:03}AAA" for number in (1, 2, 3))
ANN, BOB = "003000000000001AAA", "003000000000002AAA"
ROWS = [
    *({"object": "Account", "Id": each, "Name": name} for each, name in ((ACME, "Acme"), (BETA, "Beta"), (GAMMA, "Gamma"))),
    {"object": "Contact", "Id": ANN, "LastName": "Ann", "AccountId": BETA},
    {"object": "Contact", "Id": BOB, "LastName": "Bob", "AccountId": ACME},
    {"object": "Task", "Subject": "call", "WhatId": BETA},
]  # fmt: skip


@pytest.fixture
def site(site):
    site.org.load(ROWS)
    return site


def seen(site, soql, resource="query"):
    return site.query(soql, resource=resource).json()["records"]


def at(site, **later):
    site.org.set_clock(NOW + timedelta(**later))


def contacts(site):
    return {row["LastName"]: row["AccountId"] for row in site.org.rows("Contact")}


def test_a_delete_takes_along_what_cascades_and_undelete_brings_it_back(new_org):
    tops = {"childSObject": "Part__c", "field": "Box__c", "relationshipName": "Parts__r", "cascadeDelete": True}
    kinds = {"Box__c": "a0B", "Part__c": "a0P"}
    fields = [{"name": "Id", "type": "id"}, {"name": "Name", "type": "string", "createable": True},
              {"name": "IsDeleted", "type": "boolean"}, {"name": "SystemModstamp", "type": "datetime"},
              {"name": "Box__c", "type": "reference", "referenceTo": ["Box__c"], "createable": True}]  # fmt: skip
    flags = {"filterable": True, "sortable": True}
    shapes = [
        {
            "name": name,
            "keyPrefix": prefix,
            "fields": [{**field, **flags} for field in fields],
            "childRelationships": [tops],
        }
        for name, prefix in kinds.items()
    ]
    with site_of(Org(shapes, clock=lambda: NOW)) as site:
        box, other = site.org.load([{"object": "Box__c", "Name": "b"}] * 2)
        parts = site.org.load([{"object": "Part__c", "Name": f"{n}", "Box__c": box} for n in range(3)])
        site.org.load([{"object": "Part__c", "Name": "other", "Box__c": other}])
        at(site, minutes=1)
        site.delete(f"sobjects/Part__c/{parts[0]}")
        at(site, minutes=2)
        assert site.delete(f"sobjects/Box__c/{box}").status_code == 204
        assert [row["Name"] for row in site.org.rows("Part__c")] == ["other"]
        assert site.delete(f"sobjects/Part__c/{parts[1]}").json()[0]["errorCode"] == "ENTITY_IS_DELETED"
        at(site, minutes=3)
        site.org.undelete("Box__c", box)  # the first part was in the bin before
        rows = {row["Name"]: row["SystemModstamp"][14:16] for row in site.org.rows("Part__c")}
        assert rows == {"1": "03", "2": "03", "other": "00"}


def test_a_merge_moves_children_and_marks_the_losers(site):
    at(site, minutes=5)
    site.org.merge("Account", ACME, [BETA, GAMMA[:15]], {"Phone": "1"})
    [master] = site.org.rows("Account")
    assert (master["Id"], master["Phone"], master["SystemModstamp"]) == (ACME, "1", "2025-03-12T12:05:00.000+0000")
    losers = seen(site, "SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true ORDER BY Id", "queryAll")
    assert [(row["Id"], row["MasterRecordId"]) for row in losers] == [(BETA, ACME), (GAMMA, ACME)]
    assert contacts(site) == {"Ann": ACME, "Bob": ACME}
    assert site.org.rows("Task")[0]["WhatId"] == ACME
    assert [row["SystemModstamp"][14:16] for row in site.org.rows("Contact")] == ["05", "00"]
    site.org.undelete("Account", BETA)
    assert seen(site, f"SELECT MasterRecordId FROM Account WHERE Id = '{BETA}'")[0]["MasterRecordId"] is None


def test_a_custom_object_is_merged_without_the_field(site):
    made = site.org.load([{"object": "i360__Prospect__c", "Name": name} for name in "ab"])
    site.org.load([{"object": "i360__Appointment__c", "i360__Prospect__c": made[1]}])
    site.org.merge("i360__Prospect__c", made[0], [made[1]])
    assert site.org.rows("i360__Appointment__c")[0]["i360__Prospect__c"] == made[0]
    assert [row["Id"] for row in site.org.rows("i360__Prospect__c")] == [made[0]]


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda org: org.merge("Account", ACME, []), "one master and one or 2"),
        (lambda org: org.merge("Account", ACME, [ACME]), "one master and one or 2"),
        (lambda org: org.merge("Account", ACME, [BETA, BETA]), "one master and one or 2"),
        (lambda org: org.merge("Account", ACME, BETA), "a list of ids"),
        (lambda org: org.merge("Account", ACME, ["001000000000009AAA"]), "has no row"),
        (lambda org: (org.delete("Account", BETA), org.merge("Account", ACME, [BETA])), "in the recycle bin"),
        (lambda org: org.undelete("Account", ACME), "not in the recycle bin"),
        (lambda org: org.undelete("Account", "001000000000009AAA"), "has no row"),
    ],
)
def test_what_cannot_be_merged_or_undeleted_is_named(site, act, says):
    with pytest.raises(ValueError, match=says):
        act(site.org)


def test_rows_are_merged_from_another_terminal(site):
    def run(*arguments):
        return CliRunner().invoke(sandbox, [*arguments, "--url", site.url])

    assert run("merge", "Account", ACME, BETA).output == f"merged {BETA} into Account {ACME}\n"
    assert contacts(site)["Ann"] == ACME
    assert run("undelete", "Account", BETA).output == f"undeleted Account {BETA}\n"
    assert len(site.org.rows("Account")) == 3
    wrong = run("merge", "Account", ACME, ACME)
    assert (wrong.exit_code, "one master" in wrong.output) == (1, True)


# -- what changed between two moments

HOUR = "start=2025-03-12T11:30:00Z&end=2025-03-12T12:30:00%2B00:00"


def test_changed_and_deleted_rows_are_listed(site):
    at(site, minutes=10)
    site.org.edit("Account", GAMMA, {"Phone": "1"})
    site.org.delete("Contact", ANN)
    at(site, minutes=20)
    assert site.get(f"sobjects/Account/updated/?{HOUR}").json() == {
        "ids": [ACME, BETA, GAMMA],
        "latestDateCovered": "2025-03-12T12:20:00.000+0000",
    }
    short = "start=2025-03-12T12:05:00.000 00:00&end=2025-03-12T12:15:00Z"  # a plus that was not encoded
    body = site.get(f"sobjects/Account/updated?{short}").json()
    assert body == {"ids": [GAMMA], "latestDateCovered": "2025-03-12T12:15:00.000+0000"}
    assert site.get(f"sobjects/Contact/deleted/?{HOUR}").json() == {
        "deletedRecords": [{"id": ANN, "deletedDate": "2025-03-12T12:10:00.000+0000"}],
        "earliestDateAvailable": "2025-02-25T12:20:00.000+0000",
        "latestDateCovered": "2025-03-12T12:20:00.000+0000",
    }
    site.org.undelete("Contact", ANN)
    assert site.get(f"sobjects/Contact/deleted/?{HOUR}").json()["deletedRecords"] == []


@pytest.mark.parametrize(
    ("word", "window"),
    [
        ("updated", "start=2025-03-12T12:00:00Z&end=2025-03-12T12:01:00Z"),
        ("updated", "start=2025-03-12T12:00:00Z&end=2025-03-12T11:00:00Z"),
        ("updated", "start=2025-02-01T12:00:00Z&end=2025-03-12T11:00:00Z"),
        ("deleted", "start=2025-02-20T12:00:00Z&end=2025-03-12T11:00:00Z"),
        ("deleted", "start=soon&end=2025-03-12T11:00:00Z"),
        ("deleted", "end=2025-03-12T11:00:00Z"),
    ],
)
def test_a_window_has_its_rules(site, word, window):
    response = site.get(f"sobjects/Account/{word}/?{window}")
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, "INVALID_REPLICATION_DATE")
    assert site.get("sobjects/Account/updated/?start=2025-02-20T12:00:00Z&end=2025-03-12T11:00:00Z").status_code == 200


def test_what_has_no_bin_is_not_replicated(site):
    assert site.get(f"sobjects/User/updated/?{HOUR}").json()[0]["errorCode"] == "INVALID_TYPE_FOR_OPERATION"


# -- late commits


def test_a_late_commit_is_seen_later_with_an_older_stamp(site):
    at(site, minutes=1)
    [made] = site.org.load([{"object": "Account", "Name": "Late"}], late=60)
    site.org.edit("Account", ACME, {"Phone": "late"}, late=90)
    site.org.delete("Account", BETA, late=90)
    names = "SELECT Name, Phone, SystemModstamp FROM Account ORDER BY Id"
    at(site, minutes=1, seconds=59)
    assert [row["Name"] for row in seen(site, names)] == ["Acme", "Beta", "Gamma"]
    assert site.get(f"sobjects/Account/{made}").status_code == 404
    site.org.edit("Account", ACME, {"Fax": "2"})
    assert site.get(f"sobjects/Account/updated/?{HOUR}").json()["latestDateCovered"] == "2025-03-12T12:01:00.000+0000"
    at(site, minutes=2)
    assert {row["Name"]: row["SystemModstamp"][11:19] for row in seen(site, names)} == {
        "Acme": "12:01:59", "Beta": "12:00:00", "Gamma": "12:00:00", "Late": "12:01:00"}  # fmt: skip
    at(site, minutes=3)
    found = {row["Name"]: row["SystemModstamp"][11:19] for row in seen(site, names)}
    assert found == {"Acme": "12:01:00", "Gamma": "12:00:00", "Late": "12:01:00"}
    assert next(row for row in site.org.rows("Account") if row["Id"] == ACME)["Fax"] == "2"


def test_a_late_commit_can_be_any_write_of_a_client(site):
    site.org.fault("Account", verb="write", status="late", seconds=30)
    made = site.post("sobjects/Account", {"Name": "Late"})
    assert made.status_code == 201
    assert site.get(f"sobjects/Account/{made.json()['id']}").status_code == 404
    at(site, seconds=30)
    row = site.get(f"sobjects/Account/{made.json()['id']}").json()
    assert (row["Name"], row["SystemModstamp"]) == ("Late", "2025-03-12T12:00:00.000+0000")


def test_a_late_write_inside_a_late_call_waits_for_the_call(site):
    site.org.fault(path="*/composite/sobjects", status="late", seconds=60)
    site.org.fault(path="*/composite", status="late", seconds=30)
    records = [{"attributes": {"type": "Account"}, "Name": name} for name in ("Late", "Later")]
    url = "/services/data/v66.0/composite/sobjects"
    site.composite({"method": "POST", "url": url, "body": {"records": records}})
    assert len(site.org.rows("Account")) == 3
    at(site, seconds=30)
    assert len(site.org.rows("Account")) == 5


def test_a_refused_late_write_leaves_nothing(site):
    site.org.fault("Account", verb="write", status="late", seconds=60)
    assert site.post("sobjects/Account", {"Nope": 1}).status_code == 400
    at(site, hours=1)
    assert len(site.org.rows("Account")) == 3


def test_a_late_commit_outlives_a_restart(new_org, tmp_path):
    org = new_org(path=tmp_path / "org.db")
    org.load([{"object": "Account", "Name": "Late"}], late=60)
    org.close()
    org = new_org(path=tmp_path / "org.db")
    assert org.rows("Account") == []
    org.set_clock(NOW + timedelta(minutes=1))
    assert [row["Name"] for row in org.rows("Account")] == ["Late"]
    org.close()


def test_another_process_does_it_over_http(site):
    def post(word, **body):
        return httpx.post(f"{site.url}/sandbox/{word}", json=body)

    assert post("merge", object="Account", master=ACME, losers=[BETA]).status_code == 200
    assert post("undelete", object="Account", id=BETA).status_code == 200
    assert post("merge", object="Account", master=ACME, losers=5).status_code == 400
    assert post("load", rows=[{"object": "Account", "Name": "x"}], late=5).json()["ids"]
    assert post("load", rows=[{"object": "Account", "Name": "x"}], late="soon").status_code == 400
    assert len(site.org.rows("Account")) == 3

"""What an org kept in a file knows after a restart, and small refusals of bodies and values."""

import pytest
from sandbox_site import SHAPES, site_of

from connector.sandbox import fixtures, furnished

BADGE = {"keyPrefix": "a0Z", "fields": {"Name": "string", "Seats__c": "int"}}


def started(path, **fixture):
    return furnished.org(SHAPES, fixtures.Fixture(**fixture), path)


def test_own_objects_outlive_the_process(tmp_path):
    path = tmp_path / "org.db"
    started(path, objects={"Badge__c": BADGE}, rows=({"object": "Badge__c", "Name": "First"},)).close()
    again = started(path)
    assert [row["Name"] for row in again.rows("Badge__c")] == ["First"]
    again.close()
    grown = {**BADGE, "fields": {**BADGE["fields"], "Colour__c": "string"}}
    started(path, objects={"badge__c": grown}).close()  # what is given last counts
    last = started(path)
    assert last.rows("Badge__c")[0]["Colour__c"] is None
    last.close()


def test_a_wrong_object_is_not_kept(tmp_path):
    path = tmp_path / "org.db"
    with pytest.raises(ValueError, match="keyPrefix"):
        started(path, objects={"Badge__c": {"fields": {"Name": "string"}}})
    started(path).close()


def test_a_row_in_the_bin_is_not_deleted_again(tmp_path):
    org = started(tmp_path / "org.db")
    (made,) = org.load([{"object": "Account", "Name": "Acme"}])
    org.delete("Account", made)
    with pytest.raises(ValueError, match="in the recycle bin already"):
        org.delete("Account", made)
    org.close()


def test_bodies_and_values_that_do_not_fit(tmp_path):
    with site_of(started(tmp_path / "org.db", objects={"Badge__c": BADGE})) as site:
        site.sign_in()
        assert site.post("sobjects/Badge__c", {"Seats__c": 2**31 - 1}).status_code == 201
        for seats in (2**31, -(2**31) - 1, 10**22):
            refused = site.post("sobjects/Badge__c", {"Seats__c": seats})
            assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            refused = site.post("sobjects/Badge__c", {"Name": "x"}, headers={"Content-Type": kind})
            assert (refused.status_code, refused.json()[0]["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        lead = site.post("sobjects/Lead", {"LastName": "Doe", "Company": "Acme"}).json()["id"]
        account = site.post("sobjects/Account", {"Name": "Acme"}).json()["id"]
        refused = site.post("sobjects/Task", {"Subject": "Call", "WhoId": lead, "WhatId": account})
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "FIELD_INTEGRITY_EXCEPTION")
        task = site.post("sobjects/Task", {"Subject": "Call", "WhoId": lead}).json()["id"]
        assert site.patch(f"sobjects/Task/{task}", {"WhatId": account}).status_code == 400

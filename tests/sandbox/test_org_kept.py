"""What an org kept in a file knows after a restart, and small refusals of bodies and values."""

import httpx
import pytest
from sandbox_site import NOW, SHAPES, Site, site_of

from connector.sandbox import Org, fixtures, furnished, serve

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


ANN = "ann@example.com"
FIXTURE = """
objects:
  Badge__c: {keyPrefix: a0Z, fields: {Name: string, Seats__c: int}}
rows:
  - {object: Account, Id: 001000000000001AAA, Name: Acme}
users:
  - {username: ann@example.com, password: secret, objects: {Lead: none}, fields: {Contact.Phone: read}, hard_delete: true}
clients:
  sandbox: changed
  my_app: {secret: s3cret, callbacks: [http://localhost:8080/callback], scopes: [api, refresh_token], run_as: ann@example.com}
rules:
  Account:
    on: [required, unique]
    validations: [{condition: "AnnualRevenue < `0`", message: No debts, field: AnnualRevenue}]
    duplicates: [{fields: [Name]}]
    locks: {001000000000001AAA: 2}
  Badge__c: {on: [length]}
faults:
  - {object: Contact, verb: read, status: 503, times: 3}
  - {object: Badge__c, status: 500, rate: 0.5, seed: 7, times: null}
org: {page_size: 200, api_limit: 50, consent: deny}
"""


def refused(site, name, row):
    answer = site.post(f"sobjects/{name}", row)
    return None if answer.status_code == 201 else answer.json()[0]["errorCode"]


def test_all_that_was_loaded_is_there_again_from_the_file_alone(tmp_path):
    path, loaded = tmp_path / "org.db", tmp_path / "org.yaml"
    loaded.write_text(FIXTURE, encoding="utf-8")
    login = {
        "grant_type": "password",
        "client_id": "my_app",
        "client_secret": "s3cret",
        "username": ANN,
        "password": "secret",
    }
    ways = []
    for fixture in (fixtures.read(loaded), fixtures.Fixture(), fixtures.Fixture()):
        org = furnished.org(SHAPES, fixture, path)
        with serve(org) as url, httpx.Client(base_url=url, timeout=30) as http:
            token = http.post("/services/oauth2/token", data=login).json()["access_token"]
            http.headers["Authorization"] = f"Bearer {token}"
            site = Site(org, url, http, http)
            ways.append(
                {
                    "secret": http.post(
                        "/services/oauth2/token", auth=("sandbox", "changed"), data={"grant_type": "client_credentials"}
                    ).status_code,
                    "hidden": site.query("SELECT Id FROM Lead").json()[0]["errorCode"],
                    "read only": refused(site, "Contact", {"LastName": "x", "Phone": "1"}),
                    "required": refused(site, "Account", {}),
                    "validation": refused(site, "Account", {"Name": "x", "AnnualRevenue": -1}),
                    "duplicate": refused(site, "Account", {"Name": "acme"}),
                    "hard": site.post("jobs/ingest", {"object": "Account", "operation": "hardDelete"}).status_code,
                    "locked": site.patch("sobjects/Account/001000000000001AAA", {"Fax": "1"}).status_code,
                    "fault": site.query("SELECT Id FROM Contact").status_code,
                    "limit": site.get("limits").json()["DailyApiRequests"]["Max"],
                    "consent": org.authorizations.consent,
                }
            )
        org.close()
    same = {"secret": 200, "hidden": "INVALID_TYPE", "read only": "INVALID_FIELD_FOR_INSERT_UPDATE", "required": "REQUIRED_FIELD_MISSING",
            "validation": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "duplicate": "DUPLICATES_DETECTED", "hard": 200, "fault": 503,
            "limit": 50, "consent": "deny"}  # fmt: skip
    locked = [way.pop("locked") for way in ways]
    assert ways == [same] * 3
    assert locked == [400, 400, 204]  # two writes find it locked, whichever process they come to


def test_a_fault_goes_on_where_it_was(tmp_path):
    path = tmp_path / "org.db"

    def statuses(org, count):
        with site_of(org) as site:
            return [site.query("SELECT Id FROM Account").status_code for _ in range(count)]

    whole = furnished.org(SHAPES, fixtures.Fixture())
    whole.fault("Account", rate=0.5, seed=7, times=None, nth=3)
    before = furnished.org(SHAPES, fixtures.Fixture(), path)
    before.fault("Account", rate=0.5, seed=7, times=None, nth=3)
    before.fault("Contact", times=1)
    with site_of(before) as site:
        assert site.query("SELECT Id FROM Contact").status_code == 503
        first = [site.query("SELECT Id FROM Account").status_code for _ in range(15)]
    after = furnished.org(SHAPES, fixtures.Fixture(), path)
    assert [fault.object for fault in after.faults.waiting] == ["Account"]  # what is used up does not come back
    assert first + statuses(after, 15) == statuses(whole, 30)


def test_what_is_given_last_counts(tmp_path):
    path = tmp_path / "org.db"
    started(
        path, users=({"username": ANN, "password": "one"},), faults=({"status": 503},), clients={"job": "one"}
    ).close()
    org = started(
        path, users=({"username": ANN, "password": "two"},), faults=({"status": 500},), clients={"job": "two"}
    )
    assert [(org.user(ANN).password, len(org.users)), [fault.status for fault in org.faults.waiting]] == [
        ("two", 2),
        [500],
    ]
    assert {name: client.secret for name, client in org.sessions.clients.items()} == {
        "sandbox": "sandbox",
        "job": "two",
    }
    org.permit(ANN, objects={"Lead": "none"})
    org.rules("Account", "required")
    org.close()
    again = started(path)
    assert again.user(ANN).objects == {"lead": "none"}
    assert again.records.rules["Account"].words == {"required"}
    again.close()


def test_an_approval_outlives_the_process(tmp_path):
    path = tmp_path / "org.db"
    org = Org(SHAPES, path)
    granted = org.sessions.approve(
        org.user("integration@sandbox.example"), org.sessions.clients["sandbox"], ("api", "refresh_token"), NOW
    )
    org.close()
    with site_of(Org(SHAPES, path)) as site:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": granted.refresh,
            "client_id": "sandbox",
            "client_secret": "sandbox",
        }
        assert site.bare.post(f"{site.url}/services/oauth2/token", data=form).status_code == 200


def test_a_fixture_that_is_refused_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "org.db"
    started(path, clients={"job": "one"}).close()
    for wrong in ({"rules": {"Nope": {"on": []}}}, {"faults": ({"status": 1},)}, {"users": ({"username": 1},)}):
        with pytest.raises(ValueError, match=r"Nope|status|username"):
            started(path, clients={"job": "two"}, **wrong)
    org = started(path)
    assert org.sessions.clients["job"].secret == "one"
    org.close()

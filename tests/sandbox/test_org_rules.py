"""The rule pack: what an org's own set-up demands of writes, off unless asked for."""

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org, fixtures

PROSPECT = "a01P00000000001IAA"
LOCKED = [
    {"message": "unable to obtain exclusive access to this record", "errorCode": "UNABLE_TO_LOCK_ROW", "fields": []}
]
EXTRA = {
    "Account": {"fields": {"Ext__c": {"type": "string", "unique": True, "externalId": True}, "Count__c": "double"}}
}


@pytest.fixture
def site():
    with site_of(Org(fixtures.merged(SHAPES, EXTRA), clock=lambda: NOW)) as made:
        yield made


def account(site, **fields):
    return site.post("sobjects/Account", {"Name": "Acme", **fields})


def test_nothing_is_demanded_until_it_is_asked_for(site):
    for _ in range(2):
        assert account(site, Ext__c="1", Name="x" * 300, CleanStatus="Nope").status_code == 201


def test_a_unique_field_names_the_row_that_has_it(site):
    site.org.rules("Account", "unique")
    made = account(site, Ext__c="E1").json()["id"]
    response = account(site, Ext__c="e1")
    assert (response.status_code, response.json()) == (
        400,
        [
            {
                "message": f"duplicate value found: Ext__c duplicates value on record with id: {made}",
                "errorCode": "DUPLICATE_VALUE",
                "fields": [],
            }
        ],
    )
    assert site.patch(f"sobjects/Account/{made}", {"Ext__c": "E1"}).status_code == 204  # one's own value
    assert account(site).status_code == account(site, Ext__c=None).status_code == 201  # blanks are no value
    assert site.delete(f"sobjects/Account/{made}").status_code == 204
    assert account(site, Ext__c="E1").status_code == 201


# -- validation rules

DEBT = {"condition": "Count__c < `0`", "message": "No debts, please", "field": "Count__c"}


def test_a_validation_rule_refuses_with_the_admins_words(site):
    site.org.rules("Account", validations=[DEBT])
    expected = [
        {"message": "No debts, please", "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": ["Count__c"]}
    ]
    response = account(site, Count__c=-1)
    assert (response.status_code, response.json()) == (400, expected)
    made = account(site, Count__c=1).json()["id"]
    assert site.patch(f"sobjects/Account/{made}", {"Count__c": -1}).json() == expected
    records = [{"attributes": {"type": "Account"}, "Name": "x", "Count__c": count} for count in (1, -1)]
    good, bad = site.post("composite/sobjects", {"records": records}).json()
    assert good["success"]
    assert bad["errors"] == [
        {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "No debts, please", "fields": ["Count__c"]}
    ]


def test_a_condition_sees_the_whole_row_with_its_types(site):
    [made] = site.org.load([{"object": "Account", "Name": "Acme", "Phone": "1"}])
    site.org.rules("Account", validations=[{"condition": "Phone == '1' && !IsDeleted && Fax", "message": "Not both"}])
    assert site.patch(f"sobjects/Account/{made}", {"Site": "x"}).status_code == 204
    site.org.rules("Account", validations=[{"condition": "Phone == '1' && Fax != null", "message": "Not both"}])
    response = site.patch(f"sobjects/Account/{made}", {"Fax": "x"})
    assert response.json() == [{"message": "Not both", "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": []}]


def test_a_condition_that_cannot_be_evaluated_refuses(site):
    site.org.rules("Account", validations=[{"condition": "length(Phone) > `3`", "message": "Too long"}])
    response = account(site)
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    assert response.json()[0]["message"].startswith("The formula in a validation rule of Account is invalid")


# -- duplicate rules

SAVE = {"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=true"}


def test_a_duplicate_is_refused_unless_the_client_insists(site):
    site.org.rules("Account", duplicates=[{"fields": ["Name", "Phone"], "allow": True}])
    assert account(site, Phone="1").status_code == 201
    response = account(site, Phone="1", Name="ACME")
    assert (response.status_code, response.json()) == (
        400,
        [{"message": "Use one of these records?", "errorCode": "DUPLICATES_DETECTED", "fields": []}],
    )
    assert account(site, Phone="2").status_code == account(site).status_code == 201
    body = {"Name": "Acme", "Phone": "1"}
    assert site.post("sobjects/Account", body, headers=SAVE).status_code == 201
    old = site.http.post("/services/data/v51.0/sobjects/Account", json=body, headers=SAVE)
    assert old.status_code == 400  # the header is known since v52
    refused = site.post("sobjects/Account", body, headers={"Sforce-Duplicate-Rule-Header": "allowSave=false"})
    assert refused.status_code == 400


def test_a_blocking_rule_is_not_to_be_overridden_and_may_name_the_rows(site):
    blocking = {"fields": ["Name"], "allow": False, "ids": True, "message": "You're creating a duplicate record."}
    site.org.rules("Account", duplicates=[blocking])
    made = account(site).json()["id"]
    response = site.post("sobjects/Account", {"Name": "Acme"}, headers=SAVE)
    [error] = response.json()
    assert (response.status_code, error["errorCode"], error["message"]) == (
        400, "DUPLICATES_DETECTED", "You're creating a duplicate record.")  # fmt: skip
    result = error["duplicateResult"]
    assert (result["allowSave"], result["duplicateRuleEntityType"]) == (False, "Account")
    assert result["matchResults"][0]["matchRecords"][0]["record"]["Id"] == made


def test_a_change_is_checked_where_it_touches_the_rule(site):
    site.org.rules("Account", duplicates=[{"fields": ["Name"]}])
    account(site)
    other = account(site, Name="Other").json()["id"]
    assert site.patch(f"sobjects/Account/{other}", {"Phone": "1"}).status_code == 204
    assert site.patch(f"sobjects/Account/{other}", {"Name": "other"}).status_code == 204
    assert site.patch(f"sobjects/Account/{other}", {"Name": "Acme"}).json()[0]["errorCode"] == "DUPLICATES_DETECTED"


def test_inside_a_composite_each_subrequest_insists_by_itself(site):
    site.org.rules("Account", duplicates=[{"fields": ["Name"]}])
    account(site)
    create = {"method": "POST", "url": "/services/data/v66.0/sobjects/Account", "body": {"Name": "Acme"}}
    results = site.composite(create, {**create, "httpHeaders": SAVE})
    assert [result["httpStatusCode"] for result in results] == [400, 201]


# -- record locks


def test_a_locked_row_refuses_its_next_writes(site):
    made = account(site).json()["id"]
    site.org.lock("Account", made, writes=3)
    response = site.patch(f"sobjects/Account/{made}", {"Phone": "1"})
    assert (response.status_code, response.json()) == (400, LOCKED)
    assert site.delete(f"sobjects/Account/{made}").json() == LOCKED
    assert site.get(f"sobjects/Account/{made}").status_code == 200  # reading waits for nobody
    body = {"records": [{"attributes": {"type": "Account"}, "id": made, "Phone": "2"}]}
    [first], [second] = [site.patch("composite/sobjects", body).json() for _ in range(2)]
    assert (first["errors"][0]["statusCode"], second["success"]) == ("UNABLE_TO_LOCK_ROW", True)


def test_children_of_a_locked_parent_cannot_be_written(site):
    site.org.load([{"object": "i360__Prospect__c", "Id": PROSPECT, "Name": "Ann"}])
    answer = site.bare.post(
        f"{site.url}/sandbox/lock", json={"object": "i360__Prospect__c", "id": PROSPECT, "writes": 1}
    )
    assert answer.status_code == 200
    body = {"i360__Prospect__c": PROSPECT}
    assert site.post("sobjects/i360__Project__c", body).json() == LOCKED
    assert site.post("sobjects/i360__Project__c", body).status_code == 201


# -- switching them


def test_rules_are_switched_over_http_and_off_again(site):
    body = {"object": "Account", "rules": ["length"], "validations": [DEBT], "duplicates": [{"fields": ["Name"]}]}
    assert site.bare.post(f"{site.url}/sandbox/rules", json=body).status_code == 200
    assert account(site, Name="x" * 300).json()[0]["errorCode"] == "STRING_TOO_LONG"
    assert account(site, Count__c=-1).status_code == 400
    site.bare.post(f"{site.url}/sandbox/rules", json={"object": "Account"})
    assert account(site, Name="x" * 300, Count__c=-1).status_code == 201


@pytest.mark.parametrize(
    "body",
    [{"rules": ["magic"]}, {"validations": [{"message": "x"}]}, {"validations": [{"condition": "a ==", "message": "x"}]},
     {"validations": [{"condition": "a", "message": "x", "field": "Nope"}]}, {"validations": {"condition": "a"}},
     {"duplicates": [{}]}, {"duplicates": [{"fields": [5]}]}, {"duplicates": [{"fields": ["Name"], "allow": "yes"}]},
     {"duplicates": ["Name"]}, {"rules": 5}],
)  # fmt: skip
def test_a_mistake_in_a_rule_is_named(site, body):
    response = site.bare.post(f"{site.url}/sandbox/rules", json={"object": "Account", **body})
    assert (response.status_code, "error" in response.json()) == (400, True)

"""Writes: what is kept, what is refused and in which words, in single calls and in collections."""

from datetime import timedelta

import pytest
from sandbox_site import NOW

PROSPECT = "a01P00000000001IAA"
LATER = NOW + timedelta(hours=1, milliseconds=700)
READ_ONLY = (
    "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is "
    "read/write for your profile or permission set."
)


def error(message, code, *fields):
    return {"message": message, "errorCode": code, "fields": list(fields)}


@pytest.fixture
def site(site):
    site.org.load([{"object": "i360__Prospect__c", "Id": PROSPECT, "Name": "Ann", "i360__Phone_1__c": "1"}])
    return site


def prospect(site):
    return next(row for row in site.org.rows("i360__Prospect__c") if row["Id"] == PROSPECT)


def test_a_row_gets_its_system_fields_from_the_clock_of_the_org(site):
    made = site.post("sobjects/i360__Prospect__c", {"i360__Phone_1__c": "555"}).json()["id"]
    row = site.get(f"sobjects/i360__Prospect__c/{made}").json()
    stamps = {row[name] for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp")}
    assert stamps == {"2025-03-12T12:00:00.000+0000"}
    assert row["OwnerId"] == row["CreatedById"] == row["LastModifiedById"] == site.org.rows("User")[0]["Id"]
    assert (row["IsDeleted"], row["Name"]) == (False, made)


@pytest.mark.parametrize("kind", ["Account", "", 5, None])
def test_a_record_of_another_type_than_its_url_is_refused(site, kind):
    given = {"attributes": {"type": kind}, "i360__Phone_1__c": "2"}
    answers = [
        site.patch(f"sobjects/i360__Prospect__c/{PROSPECT}", given),
        site.post("sobjects/i360__Prospect__c", given),
    ]
    assert [(each.status_code, each.json()[0]["errorCode"]) for each in answers] == [(400, "INVALID_TYPE")] * 2
    assert prospect(site)["i360__Phone_1__c"] == "1"
    fitting = {**given, "attributes": {"type": "I360__prospect__C"}}
    assert site.patch(f"sobjects/i360__Prospect__c/{PROSPECT}", fitting).status_code == 204


def test_ids_are_the_same_every_time_and_carry_prefix_and_checksum(site):
    made = [site.post("sobjects/Note", {"ParentId": PROSPECT, "Title": "t"}).json()["id"] for _ in range(2)]
    assert made == ["002Sb0000000001IAA", "002Sb0000000002IAA"]


def test_an_update_moves_both_stamps_by_whole_seconds(site):
    site.org.set_clock(LATER)
    assert site.patch(f"sobjects/i360__Prospect__c/{PROSPECT}", {"i360__Phone_1__c": None}).status_code == 204
    row = prospect(site)
    assert (row["i360__Phone_1__c"], row["Name"]) == (None, "Ann")
    assert (row["LastModifiedDate"], row["SystemModstamp"]) == ("2025-03-12T13:00:00.000+0000",) * 2
    assert row["CreatedDate"] == "2025-03-12T12:00:00.000+0000"


def test_a_delete_is_soft_and_moves_the_stamp(site):
    site.org.set_clock(LATER)
    assert site.delete(f"sobjects/i360__Prospect__c/{PROSPECT[:15]}").status_code == 204
    assert site.org.rows("i360__Prospect__c") == []
    soql = "SELECT IsDeleted, SystemModstamp FROM i360__Prospect__c"
    [row] = site.query(soql, resource="queryAll").json()["records"]
    assert (row["IsDeleted"], row["SystemModstamp"]) == (True, "2025-03-12T13:00:00.000+0000")


CONTACT = "sobjects/Contact"
REFUSED = [
    (CONTACT, {"foo": 1}, {"message": "No such column 'foo' on sobject of type Contact", "errorCode": "INVALID_FIELD"}),
    (CONTACT, {"LastName": "x", "Id": "003000000000001"}, error(READ_ONLY.format("Id"), "INVALID_FIELD_FOR_INSERT_UPDATE", "Id")),
    (CONTACT, {"Name": "x"}, error(READ_ONLY.format("Name"), "INVALID_FIELD_FOR_INSERT_UPDATE", "Name")),
    (CONTACT, {"SystemModstamp": "2025-01-01T00:00:00Z"},
     error(READ_ONLY.format("SystemModstamp"), "INVALID_FIELD_FOR_INSERT_UPDATE", "SystemModstamp")),
    (CONTACT, {"AccountId": "001000000000009AAA"}, error("invalid cross reference id", "INVALID_CROSS_REFERENCE_KEY")),
    (CONTACT, {"AccountId": "xyz"}, error("Account ID: id value of incorrect type: xyz", "MALFORMED_ID", "AccountId")),
    (CONTACT, {"ReportsToId": PROSPECT},
     error(f"Reports To ID: id value of incorrect type: {PROSPECT}", "FIELD_INTEGRITY_EXCEPTION", "ReportsToId")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "expected"), REFUSED, ids=[str(body) for _, body, _ in REFUSED])
def test_a_write_is_refused(site, path, body, expected):
    response = site.post(path, body)
    assert (response.status_code, response.json()) == (400, [expected])
    assert site.org.rows("Contact") == []


@pytest.mark.parametrize(
    "body",
    [{"LastName": 5}, {"LastName": {}}, {"LastName": ["x"]}, {"Birthdate": "today"}, {"Birthdate": "2025-02-30"}, {"Birthdate": 5},
     {"EmailBouncedDate": "2025-01-01"}, {"EmailBouncedDate": "2025-01-01T00:00:00"}, {"MailingLatitude": "north"},
     {"MailingLatitude": True}, {"MailingLatitude": 10**400}, {"AccountId": 5}],
)  # fmt: skip
def test_a_value_of_the_wrong_type_does_not_parse(site, body):
    response = site.post(CONTACT, body)
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        ("i360__Comments__c", "  as it is\n", "  as it is\n"),
        ("i360__Comments__c", "", None),
        ("i360__Quoted_Amount__c", 12, 12.0),
        ("i360__Quoted_Amount__c", "12.5", 12.5),
        ("i360__Quoted_Amount__c", 0.1 + 0.2, 0.1 + 0.2),
        ("i360__Start__c", "2026-05-06", "2026-05-06"),
        ("i360__Confirmed_On__c", "2026-05-06T11:56:44.123Z", "2026-05-06T11:56:44.000+0000"),
        ("i360__Confirmed_On__c", "2026-05-06T11:56:44+0000", "2026-05-06T11:56:44.000+0000"),
        ("i360__Confirmed_On__c", "2026-05-06T11:56:44-05:30", "2026-05-06T17:26:44.000+0000"),
        ("i360__Prospect__c", PROSPECT[:15], PROSPECT),
        ("i360__Result__c", "not in the list", "not in the list"),  # restricted nowhere, rules are off
    ],
)
def test_every_accepted_spelling_is_kept_in_one(site, name, sent, kept):
    made = site.post("sobjects/i360__Appointment__c", {name: sent})
    assert made.status_code == 201, made.text
    assert site.org.rows("i360__Appointment__c")[0][name] == kept


def test_a_checkbox_is_never_null(site):
    response = site.post("sobjects/Note", {"ParentId": PROSPECT, "Title": "t", "IsPrivate": None})
    assert response.json()[0]["errorCode"] == "INVALID_TYPE_ON_FIELD_IN_RECORD"


def test_a_person_is_named_after_the_parts(site):
    made = site.post(CONTACT, {"FirstName": "Ann", "LastName": "Lee"}).json()["id"]
    site.patch(f"{CONTACT}/{made}", {"FirstName": None})
    assert site.org.rows("Contact")[0]["Name"] == "Lee"


def test_a_task_starts_with_the_defaults_of_its_picklists(site):
    site.post("sobjects/Task", {"Subject": "Call", "WhatId": PROSPECT})
    [row] = site.org.rows("Task")
    assert (row["Status"], row["Priority"], row["WhatId"]) == ("Not Started", "Normal", PROSPECT)


RULES = [
    ("required", {"FirstName": "x"}, error("Required fields are missing: [LastName]", "REQUIRED_FIELD_MISSING", "LastName")),
    ("length", {"LastName": "x" * 81},
     error(f"Last Name: data value too large: {'x' * 81} (max length=80)", "STRING_TOO_LONG", "LastName")),
    ("picklist", {"CleanStatus": "Grey"},
     error("Clean Status: bad value for restricted picklist field: Grey", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "CleanStatus")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "body", "expected"), RULES, ids=[rule for rule, _, _ in RULES])
def test_a_rule_of_the_org_holds_where_it_is_switched_on(site, rule, body, expected):
    assert site.post(CONTACT, body).status_code == 201
    site.org.rules("Contact", rule)
    response = site.post(CONTACT, body)
    assert (response.status_code, response.json()) == (400, [expected])


def test_a_required_field_cannot_be_cleared(site):
    made = site.post(CONTACT, {"LastName": "x"}).json()["id"]
    site.org.rules("Contact", "required")
    assert site.patch(f"{CONTACT}/{made}", {"FirstName": "y"}).status_code == 204
    assert site.patch(f"{CONTACT}/{made}", {"LastName": None}).json()[0]["errorCode"] == "REQUIRED_FIELD_MISSING"


# -- collections

GOOD = {"attributes": {"type": "Contact"}, "LastName": "x"}
BAD = {"attributes": {"type": "contact"}, "foo": 1}


def test_a_collection_answers_row_by_row_in_order(site):
    response = site.post(
        "composite/sobjects", {"records": [GOOD, BAD, {"attributes": {"type": "Note"}, "ParentId": PROSPECT}]}
    )
    assert (response.status_code, response.json()) == (
        200,
        [
            {"id": "003Sb0000000001IAA", "success": True, "errors": []},
            {"success": False, "errors": [
                {"statusCode": "INVALID_FIELD", "message": "No such column 'foo' on sobject of type Contact", "fields": []}]},
            {"id": "002Sb0000000001IAA", "success": True, "errors": []},
        ],
    )  # fmt: skip


def test_all_or_none_undoes_the_good_rows(site):
    rows = site.post("composite/sobjects", {"allOrNone": True, "records": [GOOD, BAD]}).json()
    assert [row["errors"][0]["statusCode"] for row in rows] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_FIELD"]
    assert site.org.rows("Contact") == []


def test_a_collection_changes_rows_by_id(site):
    made = site.post(CONTACT, {"LastName": "x"}).json()["id"]
    kind = {"attributes": {"type": "Contact"}}
    rows = [
        {**kind, "id": made, "LastName": "y"},
        {**kind, "Id": "003000000000009AAA"},
        {**kind, "id": "nonsense"},
        kind,
    ]
    results = site.patch("composite/sobjects", {"records": rows}).json()
    assert results[0] == {"id": made, "success": True, "errors": []}
    assert results[1]["errors"] == [
        {"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": "invalid cross reference id", "fields": []}
    ]
    assert [result["errors"][0]["statusCode"] for result in results[2:]] == ["MALFORMED_ID", "MISSING_ARGUMENT"]
    assert site.org.rows("Contact")[0]["LastName"] == "y"


@pytest.mark.parametrize("record", [{}, {"attributes": {"type": "Nope"}}, {"attributes": 5}])
def test_a_record_needs_a_type(site, record):
    [result] = site.post("composite/sobjects", {"records": [record]}).json()
    assert result["errors"][0]["statusCode"] == "INVALID_TYPE"


def test_a_collection_has_200_rows_and_ten_changes_of_type(site):
    assert len(site.post("composite/sobjects", {"records": [GOOD] * 200}).json()) == 200
    assert site.post("composite/sobjects", {"records": [GOOD] * 201}).json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"
    other = {"attributes": {"type": "Lead"}, "LastName": "x"}
    assert site.post("composite/sobjects", {"records": [GOOD, other] * 5}).status_code == 200
    assert site.post("composite/sobjects", {"records": [GOOD, other] * 6}).status_code == 400


# -- fixtures


def test_loaded_rows_are_as_given(site):
    row = {"object": "i360__staff__c", "id": "a05000000000001", "name": "Sue", "CreatedDate": "2025-01-05T09:00:00Z",
           "LastModifiedDate": "2025-01-06T09:00:00Z", "OwnerId": "005000000000001"}  # fmt: skip
    assert site.org.load([row]) == ["a05000000000001AAA"]
    [found] = site.org.rows("i360__Staff__c")
    assert (found["Name"], found["OwnerId"]) == ("Sue", "005000000000001AAA")
    assert found["CreatedDate"] == "2025-01-05T09:00:00.000+0000"
    assert found["SystemModstamp"] == found["LastModifiedDate"] == "2025-01-06T09:00:00.000+0000"
    site.org.load([{**row, "Name": "Susan", "LastModifiedDate": "2025-01-07T09:00:00Z"}])
    [found] = site.org.rows("i360__Staff__c")
    assert (found["Name"], found["SystemModstamp"]) == ("Susan", "2025-01-07T09:00:00.000+0000")


@pytest.mark.parametrize(
    ("act", "names"),
    [
        (lambda org: org.load([{"object": "Nope"}]), "Nope"),
        (lambda org: org.load([{"object": "Account", "Nope__c": 1}]), "Nope__c"),
        (lambda org: org.load([{"object": "Account", "Id": "123"}]), "Account.Id"),
        (lambda org: org.load([{"object": "Account", "Id": PROSPECT}]), "001"),
        (lambda org: org.load([{"object": "Account", "AnnualRevenue": "much"}]), "AnnualRevenue"),
        (lambda org: org.edit("Account", "001000000000009AAA", {"Name": "x"}), "001000000000009AAA"),
        (lambda org: org.edit("i360__Prospect__c", PROSPECT, {"Nope__c": "x"}), "Nope__c"),
        (lambda org: org.delete("Nope", PROSPECT), "Nope"),
        (lambda org: org.rules("Account", "nope"), "nope"),
        (lambda org: org.fault("Nope"), "Nope"),
        (lambda org: org.fault(status=200), "200"),
        (lambda org: org.set_clock(NOW.replace(tzinfo=None)), "time zone"),
    ],
)
def test_a_mistake_in_a_fixture_is_named(site, act, names):
    with pytest.raises(ValueError, match=names):
        act(site.org)


def test_a_failed_load_leaves_nothing(site):
    with pytest.raises(ValueError):
        site.org.load([{"object": "Account", "Name": "x"}, {"object": "Account", "Nope": 1}])
    assert site.org.rows("Account") == []


def test_an_edit_is_a_change_by_a_user(site):
    site.org.set_clock(LATER)
    site.org.edit("i360__Prospect__c", PROSPECT, {"i360__Phone_1__c": "2"})
    assert (prospect(site)["i360__Phone_1__c"], prospect(site)["SystemModstamp"]) == (
        "2",
        "2025-03-12T13:00:00.000+0000",
    )


def test_a_file_keeps_the_org(new_org, tmp_path):
    path = tmp_path / "org.db"
    for expected in ([], ["Kept"], ["Kept", "Kept"]):
        org = new_org(path=path)
        assert [row["Name"] for row in org.rows("Account")] == expected
        org.load([{"object": "Account", "Name": "Kept"}])
        org.close()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "address", ["rubbish", "a@b", "a b@example.com", "@example.com", "a@example.com, b@example.com", "a@@example.com"]
)
def test_what_is_no_email_address_is_refused(site, address):
    refused = site.patch(f"sobjects/i360__Prospect__c/{PROSPECT}", {"i360__Primary_Email__c": address})
    message = f"Primary Email: invalid email address: {address}"
    assert (refused.status_code, refused.json()) == (
        400,
        [error(message, "INVALID_EMAIL_ADDRESS", "i360__Primary_Email__c")],
    )
    rows = [
        {"attributes": {"type": "Contact"}, "LastName": "x", "Email": each}
        for each in (address, "o'ann+1@mail.example.com")
    ]
    assert [row["success"] for row in site.post("composite/sobjects", {"records": rows}).json()] == [False, True]


def test_a_converted_lead_is_read_only(site):
    [lead] = site.org.load([{"object": "Lead", "LastName": "Doe", "Company": "Acme", "IsConverted": True}])
    refused = site.patch(f"sobjects/Lead/{lead}", {"Company": "Other"})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "CANNOT_UPDATE_CONVERTED_LEAD")
    [row] = site.post(
        "composite/sobjects", {"records": [{"attributes": {"type": "Lead"}, "LastName": "x", "Company": "x"}]}
    ).json()
    assert row["success"]
    assert site.delete(f"sobjects/Lead/{lead}").status_code == 204


def test_nobody_who_has_left_becomes_an_owner(site):
    [gone] = site.org.load([{"object": "User", "Username": "gone@example.com", "LastName": "Gone", "IsActive": False}])
    refused = site.post("sobjects/Account", {"Name": "Acme", "OwnerId": gone})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INACTIVE_OWNER_OR_USER")
    site.org.load([{"object": "User", "Id": gone, "IsActive": True}])
    assert site.post("sobjects/Account", {"Name": "Acme", "OwnerId": gone}).status_code == 201

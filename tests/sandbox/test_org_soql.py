"""SOQL in, ids or the exact refusal out. The table is the test; sections are those of the Salesforce reference."""

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org
from connector.sandbox.tokens import layout

ANN, BOB, CID = "a01P00000000001IAA", "a01P00000000002IAA", "a01P00000000003IAA"
ROWS = [
    {"object": "i360__Prospect__c", "Id": ANN, "Name": "Ann", "i360__Primary_Email__c": "Ann@Example.com",
     "CreatedDate": "2025-03-10T14:50:00Z", "i360__Not_Qualified_Reason__c": "Spam;Out of Area"},
    {"object": "i360__Prospect__c", "Id": BOB, "Name": "Bob_1", "i360__Primary_Email__c": None,
     "CreatedDate": "2025-03-12T00:00:00Z", "i360__Not_Qualified_Reason__c": "Spam"},
    {"object": "i360__Prospect__c", "Id": CID, "Name": "O'Hara 100%", "i360__Primary_Email__c": "cid@example.com",
     "CreatedDate": "2024-12-31T23:59:59Z"},
    {"object": "i360__Appointment__c", "Id": "a02000000000001AAA", "Name": "A1", "i360__Prospect__c": ANN,
     "i360__Quoted_Amount__c": 9, "i360__Start__c": "2025-03-12", "i360__Comments__c": "long"},
    {"object": "i360__Appointment__c", "Id": "a02000000000002AAA", "Name": "A2", "i360__Prospect__c": ANN,
     "i360__Quoted_Amount__c": 10.5, "i360__Start__c": "2025-03-11"},
    {"object": "i360__Appointment__c", "Id": "a02000000000003AAA", "Name": "A3", "i360__Prospect__c": BOB},
    {"object": "i360__Appointment__c", "Id": "a02000000000004AAA", "Name": "A4"},
]  # fmt: skip


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW)
    org.load(ROWS)
    with site_of(org) as made:
        yield made


P = "SELECT Name FROM i360__Prospect__c"
A = "SELECT Name FROM i360__Appointment__c"

FOUND = [
    # comparison
    (f"{P} WHERE Name = 'ANN'", ["Ann"]),
    (f"{P} WHERE Name != 'ann'", ["Bob_1", "O'Hara 100%"]),
    (f"{P} WHERE i360__Primary_Email__c = null", ["Bob_1"]),
    (f"{P} WHERE i360__Primary_Email__c != NULL", ["Ann", "O'Hara 100%"]),
    (f"{P} WHERE i360__Primary_Email__c != 'cid@example.com'", ["Ann", "Bob_1"]),  # != includes nulls
    (f"{P} WHERE i360__Primary_Email__c = ''", ["Bob_1"]),
    (f"{P} WHERE Name = 'O\\'Hara 100%'", ["O'Hara 100%"]),
    (f"{P} WHERE Name = '\\u0041nn'", ["Ann"]),
    (f"{P} WHERE Name > 'b'", ["Bob_1", "O'Hara 100%"]),
    (f"{P} WHERE Id = 'a01P00000000001'", ["Ann"]),
    (f"{P} WHERE Id > '{ANN}' AND Id <= '{CID}'", ["Bob_1", "O'Hara 100%"]),
    (f"{A} WHERE i360__Quoted_Amount__c > 9", ["A2"]),  # as numbers, not as text
    (f"{A} WHERE i360__Quoted_Amount__c >= +9.0 AND i360__Quoted_Amount__c < 1.1e1", ["A1", "A2"]),
    (f"{A} WHERE IsDeleted = false AND Name = 'A1'", ["A1"]),
    (f"{A} WHERE i360__Start__c = 2025-03-11", ["A2"]),
    # lists and semi-joins
    (f"{P} WHERE Name IN ('ann', 'bob_1')", ["Ann", "Bob_1"]),
    (f"{P} WHERE Name NOT IN ('ann')", ["Bob_1", "O'Hara 100%"]),
    (f"{P} WHERE i360__Primary_Email__c NOT IN ('cid@example.com')", ["Ann", "Bob_1"]),  # NOT IN includes nulls
    (f"{P} WHERE i360__Primary_Email__c IN ('cid@example.com', null)", ["Bob_1", "O'Hara 100%"]),
    (f"{P} WHERE i360__Primary_Email__c NOT IN ('cid@example.com', null)", ["Ann"]),
    (f"{A} WHERE i360__Quoted_Amount__c IN (9, 10.50)", ["A1", "A2"]),
    (f"{P} WHERE Id IN (SELECT i360__Prospect__c FROM i360__Appointment__c)", ["Ann", "Bob_1"]),
    (f"{P} WHERE Id NOT IN (SELECT i360__Prospect__c FROM i360__Appointment__c WHERE Name = 'A1')", ["Bob_1", "O'Hara 100%"]),
    (f"{P} WHERE i360__Not_Qualified_Reason__c INCLUDES ('spam;out of area')", ["Ann"]),
    (f"{P} WHERE i360__Not_Qualified_Reason__c INCLUDES ('Out of Area', 'Spam')", ["Ann", "Bob_1"]),
    (f"{P} WHERE i360__Not_Qualified_Reason__c EXCLUDES ('Out of Area')", ["Bob_1", "O'Hara 100%"]),
    # LIKE
    (f"{P} WHERE Name LIKE 'a%'", ["Ann"]),
    (f"{P} WHERE Name LIKE '_nn'", ["Ann"]),
    (f"{P} WHERE Name LIKE '%\\_1'", ["Bob_1"]),
    (f"{P} WHERE Name LIKE '%0\\%'", ["O'Hara 100%"]),
    (f"{P} WHERE Name LIKE '%\\\\%'", []),
    # logic
    (f"{P} WHERE (Name = 'Ann' OR Name = 'Bob_1') AND i360__Primary_Email__c = null", ["Bob_1"]),
    (f"{P} WHERE (NOT Name LIKE 'a%') AND i360__Primary_Email__c != null", ["O'Hara 100%"]),
    (f"{P} WHERE NOT(i360__Primary_Email__c LIKE 'ann%')", ["Bob_1", "O'Hara 100%"]),
    # instants, days and ranges; today is Wednesday 2025-03-12 in UTC
    (f"{P} WHERE CreatedDate >= 2025-03-10T14:50:00Z", ["Ann", "Bob_1"]),
    (f"{P} WHERE CreatedDate > 2025-03-10T14:50:00.000Z", ["Bob_1"]),
    (f"{P} WHERE CreatedDate = 2025-03-10T15:50:00+01:00", ["Ann"]),
    (f"{P} WHERE CreatedDate = TODAY", ["Bob_1"]),
    (f"{P} WHERE CreatedDate < today", ["Ann", "O'Hara 100%"]),
    (f"{P} WHERE CreatedDate != TODAY", ["Ann", "O'Hara 100%"]),
    (f"{P} WHERE CreatedDate = YESTERDAY", []),
    (f"{P} WHERE CreatedDate = THIS_WEEK", ["Ann", "Bob_1"]),
    (f"{P} WHERE CreatedDate = LAST_N_DAYS:2", ["Ann", "Bob_1"]),
    (f"{P} WHERE CreatedDate = LAST_N_DAYS:1", ["Bob_1"]),
    (f"{P} WHERE CreatedDate = N_DAYS_AGO:2", ["Ann"]),
    (f"{P} WHERE CreatedDate = LAST_YEAR", ["O'Hara 100%"]),
    (f"{P} WHERE CreatedDate = LAST_N_QUARTERS:1", ["O'Hara 100%"]),
    (f"{P} WHERE CreatedDate >= LAST_N_MONTHS:2", ["Ann", "Bob_1"]),
    (f"{A} WHERE i360__Start__c = TODAY", ["A1"]),
    (f"{A} WHERE i360__Start__c <= YESTERDAY", ["A2"]),
    # parents
    (f"{A} WHERE i360__Prospect__r.Name = 'ann'", ["A1", "A2"]),
    (f"{A} WHERE i360__Prospect__r.i360__Primary_Email__c = null", ["A3", "A4"]),
    (f"{A} WHERE i360__Prospect__r.CreatedBy.Name LIKE 'Integration%'", ["A1", "A2", "A3"]),
    (f"{A} WHERE Owner.Name = 'Integration User' LIMIT 1", ["A1"]),
    # order and window
    (f"{P} ORDER BY Name DESC", ["O'Hara 100%", "Bob_1", "Ann"]),
    (f"{P} ORDER BY i360__Primary_Email__c", ["Bob_1", "Ann", "O'Hara 100%"]),
    (f"{P} ORDER BY i360__Primary_Email__c DESC NULLS LAST", ["O'Hara 100%", "Ann", "Bob_1"]),
    (f"{A} ORDER BY i360__Prospect__r.Name ASC NULLS LAST, Name DESC", ["A2", "A1", "A3", "A4"]),
    (f"{A} ORDER BY i360__Quoted_Amount__c DESC NULLS LAST LIMIT 1", ["A2"]),
    (f"{P} ORDER BY Name LIMIT 1 OFFSET 1", ["Bob_1"]),
    (f"{P} LIMIT 0", []),
    # spelling
    ("select NAME from I360__PROSPECT__C where NAME = 'ann'", ["Ann"]),
    ("SELECT p.Name FROM i360__Prospect__c p WHERE p.Name = 'Ann'", ["Ann"]),
    ("SELECT i360__Prospect__c.Name FROM i360__Prospect__c WHERE i360__Prospect__c.Name = 'Ann'", ["Ann"]),
    ("\n  SELECT Name\n\tFROM i360__Prospect__c\r\n WHERE Name='Ann' ", ["Ann"]),
]  # fmt: skip


@pytest.mark.parametrize(("soql", "names"), FOUND, ids=[soql for soql, _ in FOUND])
def test_a_query_finds(site, soql, names):
    response = site.query(soql)
    assert response.status_code == 200, response.text
    body = response.json()
    assert [row["Name"] for row in body["records"]] == names
    assert (body["totalSize"], body["done"]) == (len(names), True)


FIELD = (
    "If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
OBJECT = (
    "If you are attempting to use a custom object, be sure to append the '__c' after the entity name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
RELATION = (
    "If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)
W = "SELECT Id FROM Account WHERE "
BY_HALF = "\nSELECT Id FROM Account WHERE {0}\n" + " " * 29 + "^\nERROR at Row:1:Column:30\n{1}"
QUOTES = "value of filter criterion for field '{}' must be of type {} and should {}be enclosed in quotes"

REFUSED = [
    # layout
    ("select count() from XYZZY", "INVALID_TYPE",
     f"\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type 'XYZZY' is not supported. {OBJECT}"),
    ("SELECT Id, Nam FROM Account", "INVALID_FIELD",
     f"\nSELECT Id, Nam FROM Account\n           ^\nERROR at Row:1:Column:12\nNo such column 'Nam' on entity 'Account'. {FIELD}"),
    ("SELECT Id\nFROM Account\nWHERE Nam = 'x'", "INVALID_FIELD",
     f"\nWHERE Nam = 'x'\n      ^\nERROR at Row:3:Column:7\nNo such column 'Nam' on entity 'Account'. {FIELD}"),
    ("SELECT Phone, Rating, BillingCountry, Industry, Nam, ShippingCity, ShippingState, Fax FROM Account", "INVALID_FIELD",
     (f"\nRating, BillingCountry, Industry, Nam, ShippingCity, ShippingState\n{' ' * 34}^\nERROR at Row:1:Column:49\n"
     f"No such column 'Nam' on entity 'Account'. {FIELD}")),
    ("SELECT Boss.Name FROM Account", "INVALID_FIELD",
     f"\nSELECT Boss.Name FROM Account\n       ^\nERROR at Row:1:Column:8\nDidn't understand relationship 'Boss' in field path. {RELATION}"),
    ("SELECT Id, (SELECT Id FROM Boats) FROM Account", "INVALID_TYPE",
     (f"\nSELECT Id, (SELECT Id FROM Boats) FROM Account\n                           ^\nERROR at Row:1:Column:28\n"
     f"Didn't understand relationship 'Boats' in FROM part of query call. {RELATION}")),
    ("SELECT Id, Name, ID FROM Account", "INVALID_FIELD",
     "\nSELECT Id, Name, ID FROM Account\n                 ^\nERROR at Row:1:Column:18\nduplicate field selected: Id"),
    ("SELECT Id, Owner FROM Account", "INVALID_FIELD",
     f"\nSELECT Id, Owner FROM Account\n           ^\nERROR at Row:1:Column:12\nNo such column 'Owner' on entity 'Account'. {FIELD}"),
    # types
    (f"{W}CreatedDate > '2025-01-01'", "INVALID_FIELD",
     BY_HALF.format("CreatedDate > '2025-01-01'", QUOTES.format("CreatedDate", "dateTime", "not "))),
    (f"{W}CreatedDate > 2025-01-01", "INVALID_FIELD",
     BY_HALF.format("CreatedDate > 2025-01-01", QUOTES.format("CreatedDate", "dateTime", "not "))),
    (f"{W}Name = 5", "INVALID_FIELD", BY_HALF.format("Name = 5", QUOTES.format("Name", "string", ""))),
    (f"{W}Name = TODAY", "INVALID_FIELD", BY_HALF.format("Name = TODAY", QUOTES.format("Name", "string", ""))),
    (f"{W}IsDeleted = 'false'", "INVALID_FIELD",
     BY_HALF.format("IsDeleted = 'false'", QUOTES.format("IsDeleted", "boolean", "not "))),
    (f"{W}AnnualRevenue = '5'", "INVALID_FIELD",
     BY_HALF.format("AnnualRevenue = '5'", QUOTES.format("AnnualRevenue", "double", "not "))),
    (f"{W}Description = 'x'", "INVALID_FIELD",
     BY_HALF.format("Description = 'x'", "field 'Description' can not be filtered in a query call")),
    (f"{W}Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR", BY_HALF.format("Id = 'abc'", "invalid ID field: abc")),
    (f"{W}Id = '001000000000001AAB'", "INVALID_QUERY_FILTER_OPERATOR",  # a wrong checksum
     BY_HALF.format("Id = '001000000000001AAB'", "invalid ID field: 001000000000001AAB")),
    (f"{W}Id LIKE '001%'", "INVALID_QUERY_FILTER_OPERATOR", BY_HALF.format("Id LIKE '001%'", "invalid operator on id field")),
    # grammar
    ("", "MALFORMED_QUERY", "SOQL statements cannot be empty or null"),
    (" \n", "MALFORMED_QUERY", "SOQL statements cannot be empty or null"),
    ("SELECT Id FROM Account WITH SECURITY_ENFORCED", "MALFORMED_QUERY",  # Apex only
     "\nSELECT Id FROM Account WITH SECURITY_ENFORCED\n" + " " * 28 + "^\nERROR at Row:1:Column:29\nrule soqlWithIdentifierClause failed "
     "predicate: {this.helper.allowApexSyntax() && this.helper.hasApexContext()}?"),
    ("SELECT convertCurrency(AnnualRevenue) FROM Account", "MALFORMED_QUERY",
     "\nSELECT convertCurrency(AnnualRevenue)\n       ^\nERROR at Row:1:Column:8\nconvertCurrency() needs an org with several currencies"),
    ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY",
     "\nSELECT Id FROM Account WHERE\n                            ^\nERROR at Row:1:Column:29\nunexpected token: '<EOF>'"),
    ("SELECT Id FRM Account", "MALFORMED_QUERY",
     "\nSELECT Id FRM Account\n          ^\nERROR at Row:1:Column:11\nunexpected token: 'FRM'"),
    ("SELECT Id, FROM Account", "MALFORMED_QUERY",
     "\nSELECT Id, FROM Account\n           ^\nERROR at Row:1:Column:12\nunexpected token: 'FROM'"),
    ("SELECT * FROM Account", "MALFORMED_QUERY",
     "\nSELECT * FROM Account\n       ^\nERROR at Row:1:Column:8\nunexpected token: '*'"),
    (f"{W}Name = :x", "MALFORMED_QUERY", ("\nSELECT Id FROM Account WHERE Name = :x\n                                    ^\n"
     "ERROR at Row:1:Column:37\nBind variables only allowed in Apex code")),
    (f"{W}Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY",
     ("\nWHERE Name = 'a' AND Name = 'b' OR Name = 'c'\n                                ^\nERROR at Row:1:Column:56\n"
     "unexpected token: 'OR'")),
]  # fmt: skip


@pytest.mark.parametrize(("soql", "code", "message"), REFUSED, ids=[soql for soql, _, _ in REFUSED])
def test_a_query_is_refused(site, soql, code, message):
    response = site.query(soql)
    assert (response.status_code, response.json()) == (400, [{"message": message, "errorCode": code}])


# Excerpts that clients published, with the text before and behind them invented.
EXCERPTS = [
    ("UserId FROM ApexTestRunResult WHERE AsyncApexJobId = '7075A0000BiWZjxx'", "AsyncApexJobId"),
    ("Account.Phone, Account.Rating, Account.RecordTypeId, Account.ShippingCity", "Account.RecordTypeId"),
    ("CreatedById,OCE__ActualCap__c,TPI_Product__c,Name,OCE__JobId__c", "TPI_Product__c"),
    ("WHERE Name LIKE :key AND Picture__c !=", "Name"),
]


@pytest.mark.parametrize(("excerpt", "faulty"), EXCERPTS)
def test_a_long_query_is_shown_around_the_fault(excerpt, faulty):
    behind = "" if excerpt.endswith("'") else ", Other" if "," in excerpt else " null"
    before = " " * 12 if excerpt.startswith("WHERE") else "SELECT Something__c, Else__c,"
    query = f"{before}{excerpt}{behind}"
    shown = layout(query, query.index(faulty, len(before)), "why").split("\n")
    assert shown[1].rstrip(",") == excerpt
    assert shown[2].index("^") == excerpt.index(faulty)


@pytest.mark.parametrize(
    "tail",
    ["WHERE Name = 'unterminated", "WHERE Name = 'bad \\q'", "WHERE Name = 'half \\ud83d'", "WHERE Name = 'a\\%'", "WHERE (Name = 'x'",
     "ORDER BY", "LIMIT x", "LIMIT -1", "LIMIT 99999999999", "WHERE Name = 'x'; DROP TABLE Account", "ALL ROWS", "WHERE Name IN ()",
     "WHERE Name NOT LIKE 'x'", "WHERE NOT Name = 'x' AND Name = 'y'", "WHERE CreatedDate = 2025-02-30T00:00:00Z",
     "WHERE CreatedDate = LAST_N_YEARS:999999", "WHERE Name = " + "'" + "x" * 4001 + "'", "WHERE Name = 'x' garbage"],
)  # fmt: skip
def test_broken_soql_is_malformed_query(site, tail):
    response = site.query(f"SELECT Id FROM Account {tail}")
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, "MALFORMED_QUERY"), response.text


@pytest.mark.parametrize(
    "soql",
    ["SELECT FORMAT(Name) FROM Account", "SELECT FORMAT(convertCurrency(AnnualRevenue)) FROM Account",
     "SELECT CALENDAR_YEAR(CreatedDate) FROM Account", "SELECT COUNT(Id) FROM Account GROUP BY ROLLUP(Type)",
     "SELECT COUNT(Id) FROM Account GROUP BY CALENDAR_YEAR(CreatedDate)", "SELECT Id FROM Account USING SCOPE team",
     "SELECT Id FROM Account WITH DATA CATEGORY Geography__c AT usa__c", "SELECT Id FROM Account WHERE AnnualRevenue > USD-5.5", "SELECT Id FROM Account FOR UPDATE",
     "SELECT Id, (SELECT Id FROM Histories) FROM Account"],
)  # fmt: skip
def test_what_the_grammar_knows_and_the_org_does_not_evaluate_answers_501(site, soql):
    response = site.query(soql)
    assert (response.status_code, response.json()[0]["errorCode"]) == (501, "NOT_IMPLEMENTED_IN_SANDBOX"), response.text


def test_count_has_a_size_and_no_records(site):
    assert site.query("SELECT COUNT() FROM i360__Appointment__c WHERE Name > 'A1'").json() == {
        "totalSize": 3,
        "done": True,
        "records": [],
    }


def test_an_offset_has_its_limit(site):
    assert site.query(f"{P} OFFSET 2001").json() == [
        {"message": "Maximum SOQL offset allowed is 2000", "errorCode": "NUMBER_OUTSIDE_VALID_RANGE"}
    ]


def test_names_come_back_as_the_org_spells_them_in_the_order_of_the_query(site):
    soql = "select i360__PROSPECT__R.nAME, name, ID from i360__appointment__c where id = 'a02000000000001AAA'"
    assert site.query(soql).text == (
        '{"totalSize":1,"done":true,"records":[{"attributes":{"type":"i360__Appointment__c","url":'
        '"/services/data/v66.0/sobjects/i360__Appointment__c/a02000000000001AAA"},"i360__Prospect__r":{"attributes":{"type":'
        f'"i360__Prospect__c","url":"/services/data/v66.0/sobjects/i360__Prospect__c/{ANN}"}},"Name":"Ann"}},"Name":"A1",'
        '"Id":"a02000000000001AAA"}]}'
    )


def test_a_missing_parent_and_missing_children_are_null(site):
    row = site.query(f"{A[:11]}, i360__Prospect__r.Name FROM i360__Appointment__c WHERE Name = 'A4'").json()["records"][
        0
    ]
    assert row["i360__Prospect__r"] is None
    soql = f"SELECT Id, (SELECT Id FROM i360__Appointments__r) FROM i360__Prospect__c WHERE Id = '{CID}'"
    assert site.query(soql).json()["records"][0]["i360__Appointments__r"] is None


@pytest.mark.parametrize(
    ("inner", "names"),
    [
        ("SELECT Name FROM i360__Appointments__r", ["A1", "A2"]),
        ("SELECT Name FROM i360__Appointments__r ORDER BY i360__Quoted_Amount__c DESC", ["A2", "A1"]),
        ("SELECT Name FROM i360__Appointments__r WHERE i360__Start__c < TODAY", ["A2"]),
        ("SELECT Name FROM i360__Appointments__r ORDER BY Name DESC LIMIT 1", ["A2"]),
        ("SELECT Name FROM i360__Prospect__c.i360__Appointments__r WHERE i360__Prospect__r.Name = 'Ann'", ["A1", "A2"]),
    ],
)
def test_a_sub_select_has_its_own_clauses(site, inner, names):
    row = site.query(f"SELECT Name, ({inner}) FROM i360__Prospect__c WHERE Id = '{ANN}'").json()["records"][0]
    children = row["i360__Appointments__r"]
    assert [child["Name"] for child in children["records"]] == names
    assert (children["totalSize"], children["done"]) == (len(names), True)


def test_values_have_the_forms_of_salesforce(site):
    site.org.load([{"object": "Account", "Id": "001000000000001AAA", "Name": 'Ä"\\\n', "BillingCity": "Paris", "AnnualRevenue": 15000,
                    "NumberOfEmployees": 5, "CreatedDate": "2025-03-10T16:50:00.900+02:00", "ParentId": "001000000000009"}])  # fmt: skip
    site.org.load([{"object": "Opportunity", "Name": "o", "CloseDate": "2026-05-06", "AccountId": "001000000000001"}])
    soql = (
        "SELECT Name, BillingAddress, ShippingAddress, AnnualRevenue, NumberOfEmployees, CreatedDate, IsDeleted, ParentId, Parent.Name, "
        "(SELECT CloseDate FROM Opportunities) FROM Account WHERE Id = '001000000000001AAA'"
    )
    row = site.query(soql).json()["records"][0]
    assert row["Opportunities"].pop("records")[0]["CloseDate"] == "2026-05-06"
    nothing = dict.fromkeys(["country", "geocodeAccuracy", "latitude", "longitude", "postalCode", "state", "street"])
    assert {key: value for key, value in row.items() if key not in ("attributes", "Opportunities")} == {
        "Name": 'Ä"\\\n',
        "BillingAddress": {"city": "Paris", **nothing},
        "ShippingAddress": None,
        "AnnualRevenue": 15000.0,
        "NumberOfEmployees": 5,
        "CreatedDate": "2025-03-10T14:50:00.000+0000",
        "IsDeleted": False,
        "ParentId": "001000000000009AAA",  # no such row: the id stays, the parent is null
        "Parent": None,
    }


def test_fields_all_needs_a_small_limit(site):
    refused = site.query("SELECT FIELDS(ALL) FROM Account")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "MALFORMED_QUERY")
    doubled = site.query("SELECT Id, FIELDS(ALL) FROM User LIMIT 200")
    assert doubled.json() == [{"message": "duplicate field selected: Id", "errorCode": "INVALID_FIELD"}]
    row = site.query("SELECT FIELDS(CUSTOM) FROM i360__Staff__c LIMIT 200").json()
    assert row["totalSize"] == 0
    assert site.query("SELECT FIELDS(STANDARD) FROM User").json()["records"][0]["Name"] == "Integration User"


def test_hundreds_of_conditions_and_fields_are_no_problem(site):
    either = " OR ".join(f"Name = 'x{number}'" for number in range(400))
    url = f"/services/data/v66.0/query?q=SELECT Name FROM i360__Prospect__c WHERE Name = 'Ann' OR {either}"
    assert site.composite({"url": url})[0]["body"]["totalSize"] == 1
    many = ", ".join(f"'{number}'" for number in range(9000))
    url = f"/services/data/v66.0/query?q=SELECT Name FROM i360__Prospect__c WHERE Name IN ('ann', {many})"
    assert site.composite({"url": url})[0]["body"]["totalSize"] == 1


def test_absurd_nesting_is_too_complicated(site):
    for soql in (f"{P} WHERE {'(' * 500}Name = 'x'{')' * 500}", f"{P} WHERE {'NOT ' * 500}Name = 'x'"):
        assert site.query(soql).json()[0]["errorCode"] == "QUERY_TOO_COMPLICATED"


def test_an_over_long_query_is_refused(site):
    url = f"/services/data/v66.0/query?q=SELECT Id FROM Account WHERE Name IN ({'x' * 100_001})"
    assert site.composite({"url": url})[0]["httpStatusCode"] == 400


def test_a_query_that_is_not_there_is_named(site):
    assert site.get("query").json() == [
        {"message": "A query string has to be specified", "errorCode": "MALFORMED_QUERY"}
    ]

"""Aggregates, TYPEOF, labels, scopes, levels and limits of SOQL. The tables are the tests."""

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

ACME, BETA = "001000000000001AAA", "001000000000002AAA"
ANN = "003000000000001AAA"
ROWS = [
    {"object": "Account", "Id": ACME, "Name": "Acme", "Type": "Prospect", "AnnualRevenue": 9, "NumberOfEmployees": 3, "Phone": "1"},
    {"object": "Account", "Id": BETA, "Name": "acme", "Type": "Prospect", "AnnualRevenue": 10.5, "NumberOfEmployees": 4},
    {"object": "Account", "Id": "001000000000003AAA", "Name": "Gamma", "Type": None, "ParentId": ACME, "OwnerId": "005000000000009AAA"},
    {"object": "Contact", "Id": ANN, "LastName": "Ann", "AccountId": ACME, "Email": "ann@example.com"},
    {"object": "Lead", "Id": "00Q000000000001EAA", "LastName": "Lea", "Company": "L", "Status": "Open - Not Contacted"},
    {"object": "Task", "Id": "00T000000000001EAA", "Subject": "one", "WhatId": ACME, "WhoId": ANN},
    {"object": "Task", "Id": "00T000000000002EAA", "Subject": "two", "WhoId": "00Q000000000001EAA"},
    {"object": "Task", "Id": "00T000000000003EAA", "Subject": "three"},
]  # fmt: skip


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW)
    org.load(ROWS)
    with site_of(org) as made:
        yield made


def rows(site, soql):
    response = site.query(soql)
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["totalSize"], body["done"]) == (len(body["records"]), True)
    return body["records"]


GROUPED = [
    ("SELECT COUNT(Id) FROM Account", [{"expr0": 3}]),
    ("SELECT count(Type), COUNT_DISTINCT(Name) names FROM Account", [{"expr0": 2, "names": 2}]),
    ("SELECT MAX(AnnualRevenue), MIN(AnnualRevenue) low, SUM(AnnualRevenue) FROM Account", [{"expr0": 10.5, "low": 9.0, "expr1": 19.5}]),
    ("SELECT SUM(NumberOfEmployees), AVG(NumberOfEmployees) FROM Account", [{"expr0": 7, "expr1": 3.5}]),
    ("SELECT MIN(CreatedDate), MAX(Name) FROM Account", [{"expr0": "2025-03-12T12:00:00.000+0000", "expr1": "Gamma"}]),
    ("SELECT SUM(AnnualRevenue) FROM Account WHERE Name = 'none'", [{"expr0": None}]),
    ("SELECT Type, COUNT(Id) FROM Account GROUP BY Type", [{"Type": None, "expr0": 1}, {"Type": "Prospect", "expr0": 2}]),
    ("SELECT Name n FROM Account GROUP BY Name ORDER BY COUNT(Id) DESC", [{"n": "Acme"}, {"n": "Gamma"}]),
    ("SELECT Parent.Name, COUNT(Id) FROM Account GROUP BY Parent.Name HAVING Parent.Name != null", [{"Name": "Acme", "expr0": 1}]),
    ("SELECT Type FROM Account GROUP BY Type HAVING COUNT(Id) > 1 AND MAX(AnnualRevenue) >= 10.5", [{"Type": "Prospect"}]),
    ("SELECT Type, COUNT(Id) c FROM Account GROUP BY Type ORDER BY Type DESC LIMIT 1 OFFSET 1", [{"Type": "Prospect", "c": 2}]),
    ("SELECT COUNT(Id) FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", [{"expr0": 1}]),
]  # fmt: skip


@pytest.mark.parametrize(("soql", "expected"), GROUPED, ids=[soql for soql, _ in GROUPED])
def test_an_aggregate_is(site, soql, expected):
    found = rows(site, soql)
    assert [row.pop("attributes") for row in found] == [{"type": "AggregateResult"}] * len(expected)
    assert found == expected


def test_a_deleted_row_is_not_counted(site_with):
    with site_with() as site:
        [made] = site.org.load([{"object": "Account", "Name": "x"}])
        site.org.delete("Account", made)
        soql = "SELECT COUNT(Id) n FROM Account"
        assert [site.query(soql, resource=path).json()["records"][0]["n"] for path in ("query", "queryAll")] == [0, 1]


def test_many_groups_need_a_limit(site_with):
    with site_with() as site:
        site.org.load({"object": "i360__Staff__c", "Name": f"{number}"} for number in range(2001))
        soql = "SELECT Name FROM i360__Staff__c GROUP BY Name"
        assert site.query(soql).json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"
        assert site.query(f"{soql} LIMIT 2000").json()["totalSize"] == 2000


REFUSED = [
    ("SELECT Name, COUNT(Id) FROM Account", 8, "Field must be grouped or aggregated: Name"),
    ("SELECT Type FROM Account GROUP BY Name", 8, "Field must be grouped or aggregated: Type"),
    ("SELECT COUNT(Id) FROM Account LIMIT 5", 1, "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"),
    ("SELECT SUM(Name) FROM Account", 8, "field Name does not support aggregate operator SUM"),
    ("SELECT COUNT() FROM Account GROUP BY Name", 1, "Grouped query cannot use COUNT()"),
    ("SELECT Name FROM Account HAVING Name = 'x'", 26, "HAVING needs GROUP BY"),
    ("SELECT Id FROM Account FROM", 24, "unexpected token: 'FROM'"),
    ("SELECT Id FROM Account, Contact = 5", 33, "unexpected token: '='"),
    ("SELECT Id FROM Account ORDER BY toLabel(Type)", 33, "unexpected token: 'tolabel'"),
    ("SELECT COUNT(Id) a, MAX(Name) a FROM Account", 21, "duplicate alias: a"),
    ("SELECT Id FROM Account WHERE COUNT(Id) > 1", 30, "Grouped or aggregate functions are not allowed here"),
    ("SELECT Id, (SELECT COUNT(Id) FROM Contacts) FROM Account", 13, "Aggregates are not allowed in a sub-select"),
    ("SELECT Name n FROM Account", 13, "unexpected token: 'n'"),
    ("SELECT NOPE(Name) FROM Account", 8, "unexpected token: 'NOPE'"),
    ("SELECT TYPEOF Owner WHEN User THEN Name END FROM Account", 15, "TYPEOF needs a polymorphic relationship: Owner"),
    ("SELECT TYPEOF What WHEN User THEN Name END FROM Task", 25, "User is not a type of this relationship"),
    ("SELECT TYPEOF What END FROM Task", 20, "unexpected token: 'END'"),
    ("SELECT Id FROM Account USING SCOPE nonsense", 36, "filter scope 'nonsense' is not supported"),
    ("SELECT Id FROM Account FOR NOTHING", 28, "unexpected token: 'NOTHING'"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact) OR Name = 'x'", 37,
     "Semi join sub-selects are not allowed with the 'OR' operator"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE AccountId IN (SELECT Id FROM Account))", 37,
     "Nesting of semi join sub-selects is not supported"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Contact)", 30,
     ("The selected field 'Id' in the subquery and the left operand field 'Id' in the where expression in the outer query should "
     "point to the same object type")),
]  # fmt: skip


@pytest.mark.parametrize(("soql", "column", "sentence"), REFUSED, ids=[soql for soql, _, _ in REFUSED])
def test_a_query_is_malformed(site, soql, column, sentence):
    response = site.query(soql)
    [error] = response.json()
    assert (response.status_code, error["errorCode"]) == (400, "MALFORMED_QUERY")
    assert error["message"].endswith(f"\nERROR at Row:1:Column:{column}\n{sentence}")


def test_a_field_may_not_be_groupable(site):
    [error] = site.query("SELECT AnnualRevenue FROM Account GROUP BY AnnualRevenue").json()
    assert error["errorCode"] == "INVALID_FIELD"
    assert error["message"].endswith("field 'AnnualRevenue' can not be grouped in a query call")


def test_there_are_two_semi_joins_at_most(site):
    one = "Id IN (SELECT AccountId FROM Contact)"
    assert site.query(f"SELECT Id FROM Account WHERE {one} AND ({one})").json()["totalSize"] == 1
    [error] = site.query(f"SELECT Id FROM Account WHERE {one} AND {one} AND {one}").json()
    assert error["errorCode"] == "EXCEEDED_MAX_SEMIJOIN_SUBSELECTS"


def test_typeof_shows_what_each_kind_has(site):
    soql = (
        "SELECT Subject, TYPEOF Who WHEN Contact THEN Email, Account.Name WHEN Lead THEN Company END, "
        "TYPEOF What WHEN Opportunity THEN Amount ELSE Name END FROM Task ORDER BY Id"
    )
    one, two, three = rows(site, soql)
    base = "/services/data/v66.0/sobjects"
    assert one["Who"] == {
        "attributes": {"type": "Contact", "url": f"{base}/Contact/{ANN}"},
        "Email": "ann@example.com",
        "Account": {"attributes": {"type": "Account", "url": f"{base}/Account/{ACME}"}, "Name": "Acme"},
    }
    assert one["What"] == {"attributes": {"type": "Name", "url": f"{base}/Account/{ACME}"}, "Name": "Acme"}
    assert two["Who"] == {
        "attributes": {"type": "Lead", "url": f"{base}/Lead/00Q000000000001EAA"},
        "Company": "L",
    }
    assert (two["What"], three["Who"], three["What"]) == (None, None, None)
    doubled = site.query("SELECT What.Name, TYPEOF What WHEN Account THEN Name END FROM Task")
    assert doubled.json()[0]["message"].endswith("duplicate field selected: What")


def test_a_polymorphic_lookup_tells_its_type(site):
    assert [row["Subject"] for row in rows(site, "SELECT Subject FROM Task WHERE Who.Type = 'contact'")] == ["one"]
    [row] = rows(site, "SELECT Who.Type FROM Task WHERE Subject = 'two'")
    assert row["Who"]["Type"] == "Lead"


def test_a_label_stands_for_its_value():
    entries = [{"value": "a", "label": "Ärger", "active": True}, {"value": "b", "label": "Bö", "active": True}]
    flags = {"filterable": True, "sortable": True, "createable": True}
    fields = [
        {"name": "Id", "type": "id", **flags},
        {"name": "P__c", "type": "picklist", "picklistValues": entries, **flags},
    ]
    with site_of(Org([*SHAPES, {"name": "L__c", "keyPrefix": "a0L", "fields": fields}])) as site:
        site.org.load([{"object": "L__c", "P__c": value} for value in ("b", "a", "off list", None)])
        assert [row["P__c"] for row in rows(site, "SELECT toLabel(P__c), Id FROM L__c")] == [
            "Bö",
            "Ärger",
            "off list",
            None,
        ]
        [row] = rows(site, "SELECT P__c, toLabel(P__c) shown FROM L__c WHERE toLabel(P__c) = 'bö'")
        assert (row["P__c"], row["shown"]) == ("b", "Bö")


def test_a_scope_is_everything_or_mine(site):
    assert len(rows(site, "SELECT Id FROM Account USING SCOPE everything")) == 3
    assert len(rows(site, "SELECT Id FROM Account USING SCOPE Mine WHERE Name != 'x' FOR VIEW")) == 2
    assert len(rows(site, "SELECT Id FROM Account FOR REFERENCE")) == 3


def test_sub_selects_go_five_levels_deep_and_one_in_old_versions(site):
    def nested(levels):
        return f"SELECT Id{f', ({nested(levels - 1)})' if levels > 1 else ''} FROM ChildAccounts"

    soql = f"SELECT Id, ({nested(4)}) FROM Account WHERE Id = '{ACME}'"
    [row] = rows(site, soql)
    assert row["ChildAccounts"]["records"][0]["ChildAccounts"] is None
    too_deep = site.query(f"SELECT Id, ({nested(5)}) FROM Account")
    assert too_deep.json()[0]["message"].endswith("more than 4 level away from the root entity object.")
    old = site.http.get("/services/data/v57.0/query", params={"q": soql})
    assert old.json()[0]["message"].endswith("more than 1 level away from the root entity object.")


def test_a_query_has_twenty_sub_selects(site):
    names = [child["relationshipName"] for child in site.get("sobjects/Account/describe").json()["childRelationships"]]
    known = ("ChildAccounts", "Contacts", "Opportunities", "Tasks", "Events", "Notes", "Cases")
    assert set(known) <= set(names)
    listed = ", ".join(f"(SELECT Id FROM {name})" for name in known)
    assert rows(site, f"SELECT Id, {listed} FROM Account LIMIT 1")[0]["Events"] is None


def test_one_long_text_makes_pages_of_a_thousand(site_with):
    with site_with() as site:
        site.org.load([{"object": "Account", "Name": "x"}] * 1001)
        sizes = [
            len(site.query(f"SELECT {wanted} FROM Account").json()["records"]) for wanted in ("Name", "Description")
        ]
        assert sizes == [1001, 1000]

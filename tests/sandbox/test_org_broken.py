"""Bent bodies, parameters and tables: an answer in Salesforce's layout, never a traceback, and the rows stay as they were."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

V = "/services/data/v66.0"
ACCOUNT = "001000000000001AAA"


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW, api_limit=10**9)
    org.load([{"object": "Account", "Id": ACCOUNT, "Name": "Acme"}])
    with site_of(org) as made:
        yield made


KIND = {"type": "Account", "referenceId": "a"}
PART = {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "a", "body": {"Name": "@{b.id}"}}
BODIES = [
    ("POST", "composite", {"allOrNone": True, "compositeRequest": [PART, {**PART, "referenceId": "b", "httpHeaders": {"a": "b"}}]}),
    ("POST", "composite/graph", {"graphs": [{"graphId": "g", "compositeRequest": [PART]}]}),
    ("POST", "composite/batch", {"haltOnError": True, "batchRequests": [{"method": "GET", "url": "v66.0/limits", "richInput": {}}]}),
    ("POST", "composite/tree/Account", {"records": [{"attributes": KIND, "Nope": 1, "Contacts": {"records": [{"attributes": KIND}]}}]}),
    ("POST", "composite/sobjects", {"allOrNone": True, "records": [{"attributes": KIND, "Nope": 1}]}),
    ("PATCH", "composite/sobjects/Contact/Email", {"allOrNone": True, "records": [{"attributes": {"type": "Contact"}, "Nope": "a"}]}),
    ("POST", "composite/sobjects/Account", {"ids": [ACCOUNT], "fields": ["Name"]}),
    ("POST", "jobs/query", {"operation": "query", "query": "SELECT Id FROM Account", "lineEnding": "LF"}),
    ("POST", "jobs/ingest", {"object": "Account", "operation": "upsert", "externalIdFieldName": "Id", "columnDelimiter": "TAB"}),
    ("POST", "sobjects/ContentVersion", {"PathOnClient": "a", "VersionData": "YQ=", "FirstPublishLocationId": ACCOUNT}),
    ("POST", "sobjects/Contact", {"LastName": "x", "ReportsTo": {"attributes": {"type": "Contact"}, "Email": "a"}, "Nope": 1}),
]  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.just("'; DROP TABLE Account --"), st.just("\x00'\"\\"),
    st.just("@{a.id}"), st.just("@{a[99999999999999].b}"), st.just([]), st.just({}), st.just([[None]]), st.just({"attributes": []}),
    st.text(max_size=10),
)  # fmt: skip


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def bent(body, path, odd):
    if not path:
        return odd
    made = copy.deepcopy(body)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_bent_body_is_answered_in_the_layout_of_salesforce(site, data):
    method, path, body = data.draw(st.sampled_from(BODIES))
    place, odd = data.draw(st.sampled_from(list(places(body)))), data.draw(ODD)
    response = site.http.request(method, f"{V}/{path}", json=bent(body, place, odd))
    assert response.status_code < 500 or response.status_code == 501, response.text
    if response.status_code >= 400 and "results" not in response.text:
        [error] = response.json()
        assert {"message", "errorCode"} <= error.keys()
    for part in response.json().get("compositeResponse", ()) if isinstance(response.json(), dict) else ():
        assert part["httpStatusCode"] < 500 or part["httpStatusCode"] == 501, part
    [row] = [row for row in site.org.rows("Account") if row["Id"] == ACCOUNT]
    assert row["Name"] == "Acme"


NASTY = ["'", "' OR 1=1 --", "%27", "%00", "..%2F", "\u2028", "a" * 300, "@{x}", "1;DROP TABLE Account", "{}", "💥"]


@pytest.mark.parametrize("word", NASTY)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "composite/sobjects/Account?ids={}&fields={}"),
        ("GET", "composite/sobjects/{}?ids=1&fields=Id"),
        ("DELETE", "composite/sobjects?ids={}&allOrNone={}"),
        ("GET", "sobjects/Account/updated?start={}&end={}"),
        ("GET", "sobjects/{}/deleted?start={}"),
        ("GET", "jobs/query/{}"),
        ("GET", "jobs/query/{}/results?locator={}&maxRecords={}"),
        ("PUT", "jobs/ingest/{}/batches"),
        ("GET", "sobjects/ContentVersion/{}/{}"),
        ("PATCH", "composite/sobjects/{}/{}"),
        ("POST", "composite/tree/{}"),
        ("GET", "query?q=SELECT {0} FROM {0} WHERE {0} = {0} GROUP BY {0}"),
        ("GET", "query?q=SELECT COUNT(Id) x FROM Account WHERE Name = '{}' GROUP BY Name HAVING COUNT({}) > 1"),
    ],
)
def test_a_nasty_word_is_a_word(site, method, path, word):
    given = path.format(word, word, word) if "{0}" not in path else path.format(word)
    response = site.http.request(method, f"{V}/{given}", json={"records": []} if method in ("POST", "PATCH") else None)
    assert response.status_code < 500 or response.status_code == 501, response.text
    assert site.org.rows("Account")[0]["Name"] == "Acme"


def test_an_alias_is_no_sql(site):
    for alias in ("select_", "a1", "x" * 200):
        [row] = site.query(f"SELECT COUNT(Id) {alias} FROM User").json()["records"]
        assert row[alias] == 1
    for alias in ('a"b', "a'b", "a b", "1a", "a.b"):
        assert site.query(f"SELECT COUNT(Id) {alias} FROM Account").json()[0]["errorCode"] == "MALFORMED_QUERY"


def test_many_writers_of_every_kind_leave_a_whole_org(site_with):
    def work(number):
        kind = {"attributes": {"type": "Account"}}
        made = site.post("composite/sobjects", {"records": [{**kind, "Name": f"{number}"}] * 5}).json()
        ids = [row["id"] for row in made]
        listed = [
            {"method": "DELETE", "url": f"{V}/sobjects/Account/{each}", "referenceId": f"r{place}"}
            for place, each in enumerate(ids[:2])
        ]
        site.post("composite", {"compositeRequest": listed, "allOrNone": number % 2 == 0})
        site.org.merge("Account", ids[2], [ids[3]])
        site.org.undelete("Account", ids[0])
        return ids[0], ids[2], ids[4]

    with site_with() as site, ThreadPoolExecutor(6) as pool:
        kept = {each for found in pool.map(work, range(12)) for each in found}
        assert {row["Id"] for row in site.org.rows("Account")} == kept
        everything = site.query("SELECT COUNT() FROM Account", resource="queryAll").json()
        assert everything["totalSize"] == 60

"""Any text survives the way in and out, and no text anywhere becomes SQL, SOQL or a traceback."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org, ids, soql
from connector.sandbox.errors import ApiError
from connector.sandbox.schema import schema

ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def site():
    with site_of(Org(SHAPES, clock=lambda: NOW, api_limit=10**9)) as made:
        yield made


def literal(text):
    return "'" + "".join(ESCAPES.get(char, char) for char in text) + "'"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@FEW
@given(TEXT)
def test_any_text_comes_back_by_an_escaped_literal(site, text):
    made = site.post("sobjects/i360__Staff__c", {"Name": text}).json()["id"]
    url = f"/services/data/v66.0/query?q=SELECT Id, Name FROM i360__Staff__c WHERE Name = {literal(text)}"
    [result] = site.composite({"url": url})
    found = {row["Id"]: row["Name"] for row in result["body"]["records"]}
    assert found[made] == text


@FEW
@given(TEXT)
def test_any_text_comes_back_by_a_pattern_of_itself(site, text):
    made = site.post("sobjects/i360__Staff__c", {"Name": text}).json()["id"]
    pattern = literal(text).replace("%", "\\%").replace("_", "\\_")
    found = site.query(f"SELECT Id FROM i360__Staff__c WHERE Name LIKE {pattern}")
    assert found.status_code == 200, found.text
    if "\0" not in text:  # SQLite's LIKE ends at the character NUL
        assert made in [row["Id"] for row in found.json()["records"]]


def parsed(query):
    try:
        soql.parse(query)
    except ApiError as refused:
        return refused.status
    return "a query"


@FEW
@given(st.text(max_size=80))
def test_any_text_is_a_query_or_a_refusal_in_the_layout(text):
    for query in (text, f"SELECT Id FROM Account WHERE {text}", f"SELECT {text} FROM Account ORDER BY {text}"):
        assert parsed(query) in ("a query", 400, 501)


WORDS = """SELECT Id Name FROM Account Contacts WHERE AND OR NOT IN LIKE ( ) , = != < null true 'x' 5 2025-01-01 TODAY ORDER BY
LIMIT OFFSET GROUP COUNT() Owner.Name LAST_N_DAYS:3 DESC NULLS FIRST FIELDS(ALL) Description"""
TOKENS = st.sampled_from(WORDS.split())


@settings(FEW, derandomize=True)  # the same rows of words every time: other parsers read them as well
@given(st.lists(TOKENS, max_size=14))
def test_any_row_of_words_is_answered(site, words):
    response = site.query("SELECT Id FROM Account " + " ".join(words))
    assert response.status_code in (200, 400, 501)
    if response.status_code != 200:
        assert response.json()[0].keys() == {"message", "errorCode"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["LastName", "AccountId", "Birthdate", "attributes", "Id", "records", "compositeRequest", "allOrNone", "x"]
)


@FEW
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_body_is_answered(site, body):
    content = json.dumps(body)
    for method, path in (("POST", "sobjects/Contact"), ("POST", "composite"), ("POST", "composite/sobjects"), ("PATCH", "composite/sobjects"),
                         ("PATCH", "sobjects/Contact/003000000000001AAA")):  # fmt: skip
        response = site.http.request(method, f"/services/data/v66.0/{path}", content=content)
        assert response.status_code in (200, 201, 400, 404, 501), response.text


ATTACKS = [
    "'; DROP TABLE Account;--",
    '" OR 1=1 --',
    'Account" UNION SELECT 1 --',
    "../../etc/passwd",
    "%00",
    "\\' OR Name != \\'",
    "{}",
    "%s%n",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_any_place_finds_nothing(site, attack):
    site.org.load([{"object": "Account", "Id": "001000000000001AAA", "Name": "Safe"}])
    answers = [
        site.query(f"SELECT Id FROM Account WHERE Name = {literal(attack)}"),
        site.query(f"SELECT Id FROM {attack}"),
        site.query(f"SELECT {attack} FROM Account"),
        site.query(f"SELECT Id FROM Account ORDER BY {attack}"),
        site.query(f"SELECT Id FROM Account WHERE Id IN ('{attack}')"),
        site.get(f"sobjects/{attack}/describe"),
        site.get(f"sobjects/Account/{attack}"),
        site.get("sobjects/Account/001000000000001AAA", params={"fields": attack}),
        site.get(f"query/{attack}"),
        site.post("sobjects/Account", {attack: "x"}),
        site.post("composite/sobjects", {"records": [{"attributes": {"type": attack}, attack: 1}]}),
        site.http.get(f"/sandbox/rows/{attack}"),
    ]
    assert {answer.status_code for answer in answers} <= {200, 400, 404}
    for answer in answers:
        assert "Safe" not in answer.text
        assert "Traceback" not in answer.text
    assert [row["Name"] for row in site.org.rows("Account")] == ["Safe"]


def test_a_shape_cannot_carry_sql():
    with pytest.raises(ValueError, match="is not an API name"):
        schema([{"name": 'x" (y); --', "fields": []}])


@given(st.from_regex(r"[0-9A-Za-z]{15}", fullmatch=True))
def test_an_id_is_whole_with_its_checksum_only(id15):
    whole = ids.canonical(id15)
    assert whole[:15] == id15
    assert ids.canonical(whole) == whole
    assert ids.canonical(whole[:17] + ("A" if whole[17] != "A" else "B")) is None


@pytest.mark.parametrize(
    ("id15", "whole"), [("012000000000000", "012000000000000AAA"), ("00337000003VbP1", "00337000003VbP1AAK")]
)
def test_published_ids_have_the_checksum(id15, whole):
    assert ids.canonical(id15) == whole

"""What a condition means, said a second time in Python: both must find the same rows."""

import operator
import re
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

TEXTS = [None, "Ann", "ann lee", "Zoë", "100%"]
NUMBERS = [None, 9, 10.5, -1]
DAYS = [None, "2025-03-11", "2025-03-12"]
# Three fields of three types, in every combination; the name tells the rows apart.
ROWS = [
    {"Name": f"n{place}", "i360__City__c": text, "i360__Quoted_Amount__c": number, "i360__Start__c": day}
    for place, (text, number, day) in enumerate(product(TEXTS, NUMBERS, DAYS))
]
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW, api_limit=10**9)
    org.load([{"object": "i360__Appointment__c", **row} for row in ROWS])
    with site_of(org) as made:
        yield made


def written(value):
    if value is None:
        return "null"
    if isinstance(value, str) and not value.startswith("2025"):
        return f"'{value}'"
    return str(value)


def folded(value):
    return value.casefold() if isinstance(value, str) else value


def comparison(field, sign, value):
    def holds(row):
        own, wanted = folded(row[field]), folded(value)
        if sign == "=":
            return own == wanted
        if sign == "!=":
            return own != wanted
        return own is not None and OPERATORS[sign](own, wanted)

    return f"{field} {sign} {written(value)}", holds


def membership(field, negated, values):
    def holds(row):
        return (folded(row[field]) in [folded(value) for value in values]) != negated

    return f"{field} {'NOT ' if negated else ''}IN ({', '.join(written(value) for value in values)})", holds


def likeness(pattern):
    expression = re.compile(re.escape(pattern).replace("%", ".*").replace("_", "."), re.IGNORECASE)

    def holds(row):
        own = row["i360__City__c"]
        return own is not None and expression.fullmatch(own) is not None

    return f"i360__City__c LIKE '{pattern}'", holds


def of_field(field, values):
    known = [value for value in values if value is not None]
    return st.one_of(
        st.builds(comparison, st.just(field), st.sampled_from(["=", "!="]), st.sampled_from(values)),
        st.builds(comparison, st.just(field), st.sampled_from(list(OPERATORS)), st.sampled_from(known)),
        st.builds(membership, st.just(field), st.booleans(), st.lists(st.sampled_from(values), min_size=1, max_size=3)),
    )


def negation(part):
    return f"(NOT {part[0]})", lambda row: not part[1](row)


def group(word, parts):
    every = all if word == "AND" else any
    return f"({f' {word} '.join(text for text, _ in parts)})", lambda row: every(holds(row) for _, holds in parts)


LEAVES = st.one_of(
    of_field("i360__City__c", [*TEXTS, "ANN", "zoë"]),
    of_field("i360__Quoted_Amount__c", NUMBERS),
    of_field("i360__Start__c", DAYS),
    st.builds(likeness, st.sampled_from(["a%", "%n", "_nn", "%", "zo_", "x%"])),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(negation, inner)
        | st.builds(group, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONDITIONS)
def test_both_readings_find_the_same_rows(site, condition):
    text, holds = condition
    response = site.query(f"SELECT Name FROM i360__Appointment__c WHERE {text}")
    assert response.status_code == 200, response.text
    assert {row["Name"] for row in response.json()["records"]} == {row["Name"] for row in ROWS if holds(row)}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.booleans(), st.integers(0, 70), st.integers(0, 70))
def test_order_and_window_are_those_of_a_sorted_list(site, descending, nulls_last, limit, offset):
    order = f"{'DESC' if descending else 'ASC'} NULLS {'LAST' if nulls_last else 'FIRST'}"
    soql = f"SELECT i360__Quoted_Amount__c FROM i360__Appointment__c ORDER BY i360__Quoted_Amount__c {order} LIMIT {limit} OFFSET {offset}"
    numbers = [row["i360__Quoted_Amount__c"] for row in ROWS]
    known = sorted((number for number in numbers if number is not None), reverse=descending)
    nulls = [None] * numbers.count(None)
    expected = [*known, *nulls] if nulls_last else [*nulls, *known]
    found = site.query(soql).json()
    assert [row["i360__Quoted_Amount__c"] for row in found["records"]] == expected[offset : offset + limit]
    assert found["totalSize"] == len(expected[offset : offset + limit])

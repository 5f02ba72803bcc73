"""Every SOQL text that the tests have sent is read by two parsers of others: all of them accept it, or none does."""

import re

import pytest
from jsforce_tours import accepted

from connector.sandbox import soql
from connector.sandbox.errors import ApiError

# Where the org and the parsers differ: which texts, who accepts them, and why that is right.
NUMBER = r"\d{10,}"
DIFFERENCES = [
    ("org refuses", rf"LIMIT {NUMBER}|OFFSET {NUMBER}", "a parser does not look at how large a number is"),
    ("org refuses", r"\bNOT\b", "a bare NOT beside AND, and hundreds of NOTs: rules of the org, not of the grammar"),
    ("org refuses", r"\bAND\b.*\bOR\b|\bOR\b.*\bAND\b", "AND beside OR without parentheses is MALFORMED_QUERY"),
    ("org refuses", r"FROM \w+ (AND|ASC|DESC|EXCLUDES|FALSE|FIRST|GROUP|IN|INCLUDES|LAST|LIKE|LIMIT|NULL|NULLS|OFFSET|ORDER|TRUE|FOR|ALL)\b",
     "a parser takes some reserved words for an alias"),
    ("org refuses", r"WITH (SECURITY_ENFORCED|USER_MODE|SYSTEM_MODE)", "a clause of Apex, not of the API"),
    ("org refuses", r"\) \w+\.\w+ FROM", "the alias of an aggregate is one word, not a path [U]"),
    ("org refuses", r"\\[^nrtbf\"'\\_u]|\\u", "escapes outside the list, and half of a character, are errors"),
    ("org refuses", r"'[^']{4001,}'", "a literal has at most 4,000 characters"),
    ("org accepts", r"[A-Z]{3}-\d", "a currency may be negative since Summer '24: said to be understood by a 501"),
    ("org accepts", r"[=<>] ?\+\d", "a number may have a plus; the parsers know only the minus [U]"),
]  # fmt: skip
LONGEST = 100_000  # 1.6: what is longer is refused unread


def verdict(text):
    """501 is said of what was understood."""
    try:
        soql.parse(text)
    except ApiError as refused:
        return refused.status == 501
    return True


@pytest.mark.last
def test_all_parsers_agree_on_every_query_that_was_sent(sent):
    texts = [text for text in sent() if len(text) <= LONGEST]
    wrong = []
    for text, others in zip(texts, accepted(texts), strict=True):
        own = verdict(text)
        if {own, *others} == {own}:
            continue
        side = "org accepts" if own else "org refuses"
        if not any(
            side == known and re.search(pattern, text, re.DOTALL | re.IGNORECASE) for known, pattern, _ in DIFFERENCES
        ):
            wrong.append((side, others, text))
    assert wrong == []


GOOD = [
    (
        "SELECT Id, Owner.Name, (SELECT Id FROM Contacts WHERE Name != null ORDER BY Name LIMIT 5) FROM Account "
        "WHERE CreatedDate >= 2026-01-01T00:00:00Z AND Type IN ('a', 'b') AND (Name LIKE 'x\\'%' OR CreatedDate = LAST_N_DAYS:3) "
        "ORDER BY Name DESC NULLS LAST LIMIT 10 OFFSET 5"
    ),
    "SELECT FIELDS(ALL) FROM Account LIMIT 200",
    "SELECT COUNT() FROM Account",
    "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)",
    "SELECT TYPEOF What WHEN Account THEN Phone, Name WHEN Opportunity THEN Amount ELSE Name END FROM Event",
    "SELECT Name n, MAX(Amount) top FROM Opportunity GROUP BY Name HAVING COUNT(Id) > 1 ORDER BY MAX(Amount) DESC",
    "SELECT toLabel(Type), FORMAT(AnnualRevenue), convertCurrency(AnnualRevenue) FROM Account USING SCOPE Mine FOR VIEW",
]
BAD = [
    "SELECT Id FROM Account WHERE Name = 'open",
    "SELECT Id FROM Account WHERE Name = 'a' AND",
    "SELECT FROM Account",
]


def test_all_parsers_agree_on_the_shapes_of_the_reference():
    texts = [*GOOD, *BAD]
    verdicts = [[verdict(text), *others] for text, others in zip(texts, accepted(texts), strict=True)]
    assert verdicts == [[text in GOOD] * 3 for text in texts]

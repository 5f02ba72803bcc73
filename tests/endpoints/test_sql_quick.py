"""What is done quickly for rows as they usually are gives what is done slowly for any row."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from databases import Clock, schema, url  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector import canon
from connector.endpoints.sql import Sql
from connector.endpoints.sql.columns import TEXTS
from connector.endpoints.sql.tables import FIXERS, Canonical
from connector.model import Column

COLUMNS = [
    Column(("key",)),
    Column(('it\'s "new"\n',)),
    Column(("count",), "integer"),
    Column(("sum",), "number"),
    Column(("on",), "boolean"),
    Column(("at",), "instant"),
    Column(("day",), "date"),
    Column(("tags",), "json"),
    Column(("details", "note")),
    Column(("details", "at"), "instant"),
    Column(("details", "deep", "tags"), "json"),
]
QUICKLY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


class Word(str):
    __slots__ = ()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5)
INSTANTS = st.from_regex(
    r"[0-2]\d{3}-[01]\d-[0-3]\d[T ][0-2]\d:[0-5]\d(:[0-6]\d)?(\.\d{1,3})?(Z|[+-]\d\d:?\d\d)?Z?", fullmatch=True
)
SHAPED = st.from_regex(r".{4}-.{2}-.{2}T.{2}:.{2}:.{2}Z", fullmatch=True)
SCALARS = (
    st.none()
    | TEXT
    | INSTANTS
    | SHAPED
    | st.sampled_from(["2024-02-29T12:00:00Z", "2025-02-29T12:00:00Z", "0000-01-01T00:00:00Z", "2025-03-01T24:00:00Z"])
    | st.sampled_from(
        ["5", "true", " 7 ", Word("word"), Word("2025-03-01T12:00:00Z"), 10**30, float("nan"), -0.0, 1e300]
    )
    | st.sampled_from([Decimal("1.50"), date(2025, 3, 1), datetime(2025, 3, 1, 12, tzinfo=UTC), ("a", 1), b"x"])
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(width=16)
    | st.booleans()
)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("ab"), below, max_size=3)
)
GROUP = st.none() | VALUES | st.dictionaries(st.sampled_from(["note", "at", "other", "deep"]), VALUES)
TOP = ["key", 'it\'s "new"\n', "count", "sum", "on", "at", "day", "tags", "details_note", "nothing"]
JSON = VALUES | st.sampled_from([{1: 2}, [{1: [Word("a")]}], {"a": ("b",)}, [{"a": float("nan")}], {Word("a"): 1}])
ROWS = st.fixed_dictionaries({}, optional={**dict.fromkeys(TOP, VALUES), "tags": JSON, "details": GROUP})


@pytest.fixture
def made(url):  # noqa: F811
    endpoint = Sql("hatch", {"adapter": "sql", "url": url, "create_tables": True}, clock=Clock())
    endpoint.prepare("deal", COLUMNS, ["key"])
    yield endpoint
    endpoint.close()


# ---- canonical ----


def slowly(table, values):
    unfit = []
    return table._canonical(values, "", unfit), not unfit


@pytest.mark.parametrize("known", [0, FIXERS])
def test_what_is_canonical(made, known):
    table = made._tables["deal"]
    table.fixers.update({(str(n),): None for n in range(known)})

    @QUICKLY
    @given(ROWS)
    def check(values):
        told, before = made.canonical("deal", values), repr(values)
        right, fits = slowly(table, values)
        assert repr(dict(told)) == repr(right)
        assert (type(told) is Canonical) is fits
        assert repr(values) == before
        assert repr(made.canonical("deal", told)) == repr(told)

    check()
    assert len(table.fixers) <= FIXERS


@QUICKLY
@given(SCALARS | SHAPED.map(lambda text: text + "Z"))
def test_the_usual_spelling_of_an_instant_is_not_looked_at_twice(value):
    if value is not None:
        for kind, assume_utc in (("instant", False), ("moment", True)):
            right = canon.instant(value, assume_utc=assume_utc) or TEXTS["text"].canonical(value)
            assert TEXTS[kind].canonical(value) == right

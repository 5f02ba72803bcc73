"""What every endpoint must do. A test module imports all of it beside a fixture `bench` that says what the system is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector import canon
from connector.errors import EndpointError, Rejected, SetupError
from connector.model import Change, Endpoint, Query, Row, Where, Window

FOREVER = datetime(2999, 1, 1, tzinfo=UTC)
NASTY = [
    "O'Brien",
    'say "so"',
    "100%",
    "a_b",
    "back\\slash",
    "Zoë ß İ 東京 🎉",
    "%(x)s :x ? {y}",
    "; DROP TABLE item; --",
    "line\nbreak",
]
FIELDS = {
    "title": "text",
    "note": "text",
    "amount": "number",
    "count": "integer",
    "active": "boolean",
    "at": "instant",
    "day": "date",
    "extra": "json",
}
"""What a system without fields of its own is given."""
AS_OFTEN = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Bench:
    """One object of a system, and the names of fields with which the suite may play; None: it has none of the kind.

    `base` is what every row must have. `refused` are values that the system refuses. `unstored` is how many
    characters a text may have, `outside` changes a field behind the endpoint's back.
    """

    endpoint: Endpoint
    object: str
    text: str
    other: str
    fields: dict[str, str] = field(default_factory=dict)
    group: tuple[str, str, str] | None = None
    base: Row = field(default_factory=dict)
    refused: Row = field(default_factory=dict)
    seed_stamps: Callable[[list[str]], list[str]] | None = None
    pages: Callable[[int], None] = lambda size: None
    text_alphabet: Any = None
    lost_object: str = "no_such_object"

    def seed(self, *rows: Row) -> list[str]:
        answers = self.endpoint.write([Change("create", self.object, self.base | row) for row in rows])
        assert [answer.error for answer in answers] == [None] * len(rows)
        return [str(answer.id) for answer in answers]

    def rows(self, **query: Any) -> list[Row]:
        pages = list(self.endpoint.read([Query(self.object, **({"whole": True} | query))]))
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        return [row for page in pages for row in page.rows]

    def row(self, id_: str) -> Row:
        found = self.rows(where=(Where(self.id, (id_,)),))
        assert len(found) == 1
        return found[0]

    @property
    def id(self) -> str:
        return self.endpoint.keys(self.object).id

    def place(self, row: Row) -> tuple[str, str]:
        keys = self.endpoint.keys(self.object)
        return row[keys.stamp], str(row[keys.id])


def holds(row: Row, values: Row) -> bool:
    """Whether `row` has all of `values`, nested ones as subsets."""
    return all(
        key in row
        and (
            holds(row[key], value)
            if isinstance(value, dict) and isinstance(row[key], dict)
            else canon.same(row[key], value)
        )
        for key, value in values.items()
    )


def values_of(bench: Bench, kind: str) -> st.SearchStrategy[Any]:
    alphabet = bench.text_alphabet or st.characters(exclude_characters="\0", exclude_categories=("Cs",))
    plain = st.text(alphabet, max_size=20)
    deep = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
        max_leaves=6,
    )
    moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    return {
        "text": plain,
        "integer": st.integers(-(2**31), 2**31 - 1),
        "number": st.floats(-1e9, 1e9).map(lambda x: round(x, 2)),
        "boolean": st.booleans(),
        "instant": moments.map(lambda at: at.replace(microsecond=0).isoformat()),
        "date": st.dates(datetime(1990, 1, 1).date(), datetime(2100, 1, 1).date()).map(lambda day: day.isoformat()),  # noqa: DTZ001
        "json": deep,
    }[kind]


# ---- writing and reading back -----------------------------------------------------------------------------


@AS_OFTEN
@given(data=st.data())
def test_what_is_read_back_is_the_canonical_form(bench, data):
    values = {name: data.draw(st.none() | values_of(bench, kind)) for name, kind in bench.fields.items()}
    told = bench.endpoint.canonical(bench.object, values)
    assert canon.same(bench.endpoint.canonical(bench.object, told), told)
    row = bench.row(bench.seed(values)[0])
    assert holds(row, told), (row, told)
    assert canon.same(bench.endpoint.canonical(bench.object, row), row)


@pytest.mark.parametrize("text", NASTY)
def test_text_is_never_more_than_text(bench, text):
    if bench.text_alphabet and "\n" in text:
        pytest.skip("one line only")
    one, _ = bench.seed({bench.text: text}, {bench.text: "another"})
    assert [str(row[bench.id]) for row in bench.rows(where=(Where(bench.text, (text,)),))] == [one]
    assert bench.row(one)[bench.text] == text


def test_ids_are_text_and_come_in_the_order_of_the_changes(bench):
    ids = bench.seed(*({bench.text: f"t{n}"} for n in range(250)))
    assert len(set(ids)) == 250
    assert all(isinstance(id_, str) for id_ in ids)
    assert {str(row[bench.id]): row[bench.text] for row in bench.rows()} == {id_: f"t{n}" for n, id_ in enumerate(ids)}


@pytest.mark.parametrize("verb", ["replace", "update"])
def test_a_write_touches_only_the_given_fields_of_its_row(bench, verb):
    one, two = bench.seed({bench.text: "a", bench.other: "b"}, {bench.text: "c", bench.other: "d"})
    assert bench.endpoint.write([Change(verb, bench.object, {bench.text: "new"}, one)])[0].error is None
    assert (bench.row(one)[bench.text], bench.row(one)[bench.other]) == ("new", "b")
    assert (bench.row(two)[bench.text], bench.row(two)[bench.other]) == ("c", "d")


def test_null_is_written_as_null(bench):
    (one,) = bench.seed({bench.other: "b"})
    assert bench.endpoint.write([Change("replace", bench.object, {bench.other: None}, one)])[0].id == one
    assert bench.row(one)[bench.other] is None


@pytest.mark.parametrize("verb", ["replace", "update"])
def test_a_field_is_set_whole(bench, verb):
    extra = next((name for name, kind in bench.fields.items() if kind == "json"), None) or pytest.skip("no JSON")
    (one,) = bench.seed({extra: {"a": 1, "b": [1, 2]}})
    bench.endpoint.write([Change(verb, bench.object, {extra: {"b": [3]}}, one)])
    assert bench.row(one)[extra] == {"b": [3]}


@pytest.mark.parametrize("verb", ["replace", "update"])
def test_fields_of_a_group_are_fields(bench, verb):
    group, a, b = bench.group or pytest.skip("no groups")
    (one,) = bench.seed({group: {a: "1", b: "2"}})
    bench.endpoint.write([Change(verb, bench.object, {group: {a: "new"}}, one)])
    assert bench.row(one)[group] == {a: "new", b: "2"}
    assert [row[bench.id] for row in bench.rows(where=(Where(f"{group}.{a}", ("new",)),))] == [bench.row(one)[bench.id]]
    assert bench.rows(paths=(f"{group}.{b}",), whole=False, stamped=False) == [{group: {b: "2"}}]


def test_the_same_row_twice_ends_as_the_second_says(bench):
    (one,) = bench.seed({bench.text: "a"})
    changes = [Change("update", bench.object, {bench.text: value}, one) for value in ("b", "c")]
    assert [answer.error for answer in bench.endpoint.write(changes)] == [None, None]
    assert bench.row(one)[bench.text] == "c"


def test_a_refused_row_leaves_the_others_written(bench):
    if not bench.refused:
        pytest.skip("refuses nothing")
    good = [bench.base | {bench.text: f"g{n}"} for n in range(5)]
    changes = [Change("create", bench.object, values) for values in [*good[:3], bench.base | bench.refused, *good[3:]]]
    answers = bench.endpoint.write(changes)
    assert [type(answer.error) for answer in answers] == [type(None)] * 3 + [Rejected] + [type(None)] * 2
    assert answers[3].id is None
    assert str(answers[3].error)
    assert sorted(row[bench.text] for row in bench.rows()) == [values[bench.text] for values in good]


@pytest.mark.parametrize("verb", ["replace", "update"])
def test_a_row_that_is_not_there_is_refused_alone(bench, verb):
    (one, gone) = bench.seed({bench.text: "a"}, {bench.text: "b"})
    unknown = gone[:-1] + ("Z" if gone[-1] != "Z" else "Y") if bench.id == "Id" else f"9{gone}9"
    changes = [Change(verb, bench.object, {bench.text: "new"}, id_) for id_ in (unknown, one)]
    refused, done = bench.endpoint.write(changes)
    assert isinstance(refused.error, Rejected)
    assert done.error is None
    assert bench.row(one)[bench.text] == "new"


def test_nothing_to_write_is_fine(bench):
    assert bench.endpoint.write([]) == []


def test_rows_that_were_read_are_not_the_table(bench):
    (one,) = bench.seed({bench.text: "a"})
    bench.row(one).clear()
    assert bench.row(one)[bench.text] == "a"


# ---- finding ----------------------------------------------------------------------------------------------


def test_many_values_are_one_question(bench):
    texts = [f"t{n}" for n in range(620)]
    bench.seed(*({bench.text: text} for text in texts))
    wanted = (*texts[:610], *(f"none{n}" for n in range(700)))
    found = bench.rows(where=(Where(bench.text, wanted),))
    assert sorted(row[bench.text] for row in found) == sorted(texts[:610])
    ordered = bench.rows(where=(Where(bench.text, wanted),), order=(bench.text,))
    assert [row[bench.text] for row in ordered] == sorted(texts[:610])


def test_no_value_finds_nothing(bench):
    bench.seed({bench.text: "a"})
    assert bench.rows(where=(Where(bench.text, ()),)) == []


def test_all_conditions_hold(bench):
    bench.seed(
        {bench.text: "a", bench.other: "b"}, {bench.text: "a", bench.other: "c"}, {bench.text: "x", bench.other: "b"}
    )
    found = bench.rows(where=(Where(bench.text, ("a", "x")), Where(bench.other, ("b",)), Where(bench.text, ("a",))))
    assert [(row[bench.text], row[bench.other]) for row in found] == [("a", "b")]


def test_case_counts_unless_folded(bench):
    bench.seed({bench.text: "Zoë  Straße"}, {bench.text: "other"})
    assert bench.rows(where=(Where(bench.text, ("ZOË STRASSE",)),)) == []
    found = bench.rows(where=(Where(bench.text, (" ZOË straße",), fold=True),))
    assert [row[bench.text] for row in found] == ["Zoë  Straße"]


def test_only_what_is_asked_for_comes(bench):
    bench.seed({bench.text: "a", bench.other: "b"})
    assert bench.rows(paths=(bench.other,), whole=False, stamped=False) == [{bench.other: "b"}]
    keys = bench.endpoint.keys(bench.object)
    assert set(bench.rows(paths=(bench.other,), whole=False)[0]) == {keys.id, keys.stamp, bench.other}


def test_rows_come_in_the_order_asked_for(bench):
    bench.seed(*({bench.text: text, bench.other: other} for text, other in (("b", "1"), ("a", "2"), ("a", "1"))))
    found = bench.rows(order=(bench.text, bench.other))
    assert [(row[bench.text], row[bench.other]) for row in found] == [("a", "1"), ("a", "2"), ("b", "1")]


def test_queries_are_answered_in_their_order(bench):
    bench.pages(2)
    bench.seed(*({bench.text: f"t{n}"} for n in range(5)))
    queries = [
        Query(bench.object, (bench.text,), where=(Where(bench.text, values),))
        for values in (("none",), ("t1", "t2", "t3"), ("t4",))
    ]
    pages = list(bench.endpoint.read(queries))
    assert [page.query for page in pages] == sorted(page.query for page in pages)
    assert [page.query for page in pages if page.last] == [0, 1, 2]
    assert [sum(len(page.rows) for page in pages if page.query == n) for n in range(3)] == [0, 3, 1]


def test_a_query_that_fails_fails_them_all(bench):
    bench.seed({bench.text: "a"})
    with pytest.raises((EndpointError, SetupError)):
        list(bench.endpoint.read([Query(bench.object, whole=True), Query(bench.lost_object, ("x",))]))


# ---- windows ----------------------------------------------------------------------------------------------

STAMPS = (
    ["2025-03-10T14:00:00Z"] * 7
    + ["2025-03-10T14:00:00.500Z"] * 3
    + ["2025-03-10T14:00:01Z"] * 4
    + ["2025-03-11T00:00:00Z"]
)


@pytest.fixture
def stamped(bench) -> Bench:
    (bench.seed_stamps or pytest.skip("stamps cannot be given"))(STAMPS[::-1])
    return bench


def windowed(
    bench: Bench, since: str | None, until: str, after: tuple[str, str] | None = None
) -> list[tuple[str, str]]:
    window = Window(canon.parse(since) if since else None, canon.parse(until), after=after)
    return [bench.place(row) for row in bench.rows(window=window)]


def test_a_window_has_both_its_ends(stamped):
    everything = windowed(stamped, None, "2999-01-01T00:00:00Z")
    assert [stamp for stamp, _ in everything] == STAMPS
    for since in sorted(set(STAMPS)):
        for until in sorted(set(STAMPS)):
            inside = [p for p in everything if canon.parse(since) <= canon.parse(p[0]) <= canon.parse(until)]
            assert windowed(stamped, since, until) == inside
    assert windowed(stamped, "2025-03-10T14:00:01.001Z", "2025-03-10T23:59:59Z") == []


def test_after_every_row_comes_exactly_the_rest(stamped):
    everything = windowed(stamped, None, "2999-01-01T00:00:00Z")
    for number, place in enumerate(everything):
        assert windowed(stamped, "2025-03-10T14:00:00Z", "2999-01-01T00:00:00Z", place) == everything[number + 1 :]


def test_pages_together_are_the_whole(stamped):
    everything = windowed(stamped, None, "2999-01-01T00:00:00Z")
    for size in (1, 2, 5, 15, 16):
        stamped.pages(size)
        assert windowed(stamped, None, "2999-01-01T00:00:00Z") == everything


def test_the_window_may_name_its_field(stamped):
    stamp = stamped.endpoint.keys(stamped.object).stamp
    until = datetime(2025, 3, 10, 14, tzinfo=UTC)
    assert len(stamped.rows(window=Window(until - timedelta(days=1), until, field=stamp))) == 7


def test_the_time_of_the_system_has_an_offset(bench):
    assert bench.endpoint.now().tzinfo is not None


def test_preparing_twice_changes_nothing(bench) -> None:
    assert bench.endpoint.keys(bench.object).id
    assert bench.endpoint.calls >= 0
    assert bench.endpoint.settle >= 0

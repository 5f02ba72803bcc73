"""What is done quickly for rows as they usually are gives what is done slowly for any row."""

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from databases import Clock, schema, url  # noqa: F401
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from connector import canon
from connector.endpoints.forms import rounds
from connector.endpoints.sql import PAGE, Sql, writing
from connector.endpoints.sql.columns import SERVER, SQLITE, TEXTS, UNFIT
from connector.endpoints.sql.tables import FIXERS, Canonical, builder
from connector.errors import ConnectorError, Drifted, Unavailable
from connector.model import Change, Column, Query, Where

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
    right = table._canonical(values, "", strict=False)
    try:
        table._canonical(values, "", strict=True)
    except UNFIT:
        return right, False
    return right, True


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


# ---- write ----


CHANGES = st.lists(
    st.builds(
        Change,
        st.sampled_from(["create", "replace"]),
        st.just("deal"),
        st.just({}),
        st.sampled_from([None, "1", "2", "3"]),
    )
)


@QUICKLY
@given(CHANGES, st.booleans())
def test_no_row_is_twice_in_a_round(changes, apart):
    made = rounds(changes, apart=apart)
    assert sorted(at for some in made for at in some) == [*range(len(changes))]
    assert all(some[at] is changes[at] for some in made for at in some)
    turns = {at: turn for turn, some in enumerate(made) for at in some}
    for some in made:
        ids = [change.id for change in some.values() if change.id]
        assert len(ids) == len(set(ids))
        assert list(some) == sorted(some)
        assert not apart or len({change.verb == "create" for change in some.values()}) == 1
    for id_ in ("1", "2", "3"):
        own = [turns[at] for at, change in enumerate(changes) if change.id == id_ and change.verb == "replace"]
        assert own == sorted(set(own))
    assert len(made) <= (1 + apart) * max([1, *(sum(c.id == id_ for c in changes) for id_ in "123")])


def stored(endpoint):
    (page,) = endpoint.read([Query("deal", whole=True)])
    return [{name: value for name, value in row.items() if name != "id"} for row in page.rows]


def emptied(endpoint):
    with endpoint.engine.begin() as db:
        db.exec_driver_sql("delete from deal")


FITS = {
    "count": st.none() | st.integers(-9, 9),
    "at": st.none() | INSTANTS,
    "on": st.none() | st.booleans(),
    "sum": st.none() | st.floats(width=16, allow_nan=False, allow_infinity=False),
    "tags": st.none() | st.recursive(st.booleans() | TEXT, lambda below: st.lists(below, max_size=2)),
    "details": st.fixed_dictionaries({}, optional={"note": TEXT, "at": INSTANTS}),
}
ALIKE = st.sets(st.sampled_from([*FITS])).flatmap(
    lambda names: st.lists(
        st.fixed_dictionaries({"key": TEXT, **{name: FITS[name] for name in names}}),
        max_size=4,
        unique_by=lambda row: row["key"],
    )
)
MIXED = st.lists(
    st.fixed_dictionaries({"key": TEXT}, optional={**FITS, "count": VALUES, "sum": VALUES}),
    max_size=4,
    unique_by=lambda row: row["key"],
)


def test_rows_that_are_alike_are_written_as_any(made):
    quick = []

    @settings(QUICKLY, max_examples=100)
    @given(ALIKE | MIXED)
    def check(rows):
        told = [made.canonical("deal", row) for row in rows]
        if told:
            quick.append(writing._alike(made._tables["deal"], [Change("create", "deal", row) for row in told]))
        found = []
        for some in (rows, told):
            emptied(made)
            answers = made.write([Change("create", "deal", row) for row in some])
            ids = [answer.id for answer in answers]
            made.write([Change("replace", "deal", row, id_) for row, id_ in zip(some, ids, strict=True) if id_])
            found.append((repr(stored(made)), [str(answer.error) for answer in answers]))
        assert found[0] == found[1]

    check()
    assert any(quick)
    assert not all(quick)


# ---- read ----


class Slow(Sql):
    """Asks SQLAlchemy whatever is asked."""

    def _listed(self, table, query):
        return None


TYPES = ["text", "integer", "real", "numeric", "boolean", "datetime", "date", "json", "blob", "", "text collate nocase"]
STORED = (
    st.none()
    | TEXT
    | INSTANTS
    | st.integers(-9, 9)
    | st.floats(width=16, allow_nan=False)
    | st.binary(max_size=3)
    | st.sampled_from(["a", "A", "5", "[]", '[{"a": 1.5}]', "[1,", "2025-03-01", "true", 1, 1.0])
)


def test_rows_of_a_list_are_those_that_sqlalchemy_would_ask_for(tmp_path):
    ways = [way("hatch", {"adapter": "sql", "url": f"sqlite:///{tmp_path}/x.db"}, clock=Clock()) for way in (Sql, Slow)]
    names = [f"c{n}" for n in range(len(TYPES))]
    columns = ", ".join(f"{name} {type_}" for name, type_ in zip(names, TYPES, strict=True))
    with ways[0].engine.begin() as db:
        db.exec_driver_sql(
            f'create table "a \'table\'" (id integer primary key, {columns}, "a % ""name" text, e_f text)'
        )
    found = []

    @settings(QUICKLY, max_examples=200)
    @given(
        st.lists(st.tuples(*[STORED] * len(names)), max_size=5),
        st.sampled_from([*names, "id"]),
        st.lists(STORED.filter(lambda value: not isinstance(value, bytes)) | VALUES, max_size=5),
        st.booleans(),
        st.sampled_from([(), ("id",)]),
    )
    def check(rows, name, values, fold, order):
        with ways[0].engine.begin() as db:
            db.exec_driver_sql("delete from \"a 'table'\"")
            for row in rows:
                db.exec_driver_sql(
                    f"insert into \"a 'table'\" ({', '.join(names)}) values ({', '.join('?' * len(row))})", row
                )
        values = [value for row in rows[:2] for value in row[:1]] + values
        values = tuple(value for value in values if not isinstance(value, (dict, list, tuple, bytes)))
        query = Query("a 'table'", whole=True, where=(Where(name, values, fold=fold),), order=order)
        told = []
        for way in ways:
            try:
                told.append(repr(list(way.read([query, query]))))
            except (ConnectorError, OverflowError, UnicodeError) as error:
                told.append((type(error), str(error)))
        assert told[0] == told[1]
        found.append("c0" in told[0])

    check()
    assert any(found)
    for way in ways:
        way.close()


def test_a_list_comes_in_parts(made):
    made.write([Change("create", "deal", {"key": f"k{n}"}) for n in range(2500)])
    asked = Where("key", tuple(f"k{n}" for n in range(0, 5000, 2)))
    pages = list(
        made.read([Query("deal", ("key",), where=(asked,)), Query("deal", ("id",), where=(Where("key", ()),))])
    )
    assert [page.query for page in pages[-2:]] == [0, 1]
    assert [page.last for page in pages] == [False] * (len(pages) - 2) + [True, True]
    assert max(len(page.rows) for page in pages) <= PAGE
    assert sorted(row["key"] for page in pages for row in page.rows) == sorted(f"k{n}" for n in range(0, 2500, 2))


def test_text_that_is_none_is_unavailable(tmp_path):
    said = []
    for way in (Sql, Slow):
        endpoint = way(
            "hatch", {"adapter": "sql", "url": f"sqlite:///{tmp_path}/x.db", "create_tables": True}, clock=Clock()
        )
        endpoint.prepare("deal", COLUMNS, ["key"])
        with endpoint.engine.begin() as db:
            db.exec_driver_sql("delete from deal")
            db.exec_driver_sql("insert into deal (key, at) values ('a', cast(x'ff' as text))")
        with pytest.raises(Unavailable, match="decode") as raised:
            list(endpoint.read([Query("deal", ("at",), where=(Where("key", ("a",)),))]))
        said.append(str(raised.value))
        endpoint.close()
    assert said[0] == said[1]


CODECS = [*TEXTS.values(), *SQLITE.values(), *SERVER.values()]
GIVEN = STORED | st.just(Decimal("1.50")) | st.lists(st.integers(), max_size=1) | st.just({"a": None}) | st.booleans()


@QUICKLY
@given(
    st.lists(st.tuples(st.sampled_from(CODECS), st.lists(GIVEN, min_size=2, max_size=2)), min_size=1, max_size=6),
    st.data(),
)
def test_rows_are_what_codecs_decode(columns, data):
    groups = data.draw(st.lists(st.sampled_from([(), ("g",), ("g", "'h\n"), ("g'",)]), min_size=6, max_size=6))
    groups = sorted(groups[: len(columns)], key=bool)
    paths = [(*group, f"it's {n}") for n, group in enumerate(groups)]
    right = []
    for at in range(2):
        row = {}
        for path, (of, values) in zip(paths, columns, strict=True):
            place = row
            for step in path[:-1]:
                place = place.setdefault(step, {})
            try:
                place[path[-1]] = None if values[at] is None else of.decode(values[at])
            except UNFIT:  # no driver gives that for such a column
                reject()
        right.append(row)
    build = builder(tuple((path, of) for path, (of, _) in zip(paths, columns, strict=True)))
    assert repr(build([[values[at] for _, values in columns] for at in range(2)])) == repr(right)


@pytest.mark.parametrize(
    "change", ['DROP COLUMN "Amount"', 'RENAME COLUMN "Email" TO mail', 'RENAME COLUMN "Id" TO id2']
)
def test_a_column_that_is_gone_is_not_taken_for_a_text(change, tmp_path):
    file = tmp_path / "home.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(
            'CREATE TABLE t ("Id" INTEGER PRIMARY KEY, "Email" TEXT, "Amount" TEXT); INSERT INTO t VALUES (1, "a", "5")'
        )
        sql = Sql("home", {"url": f"sqlite:///{file}"}, clock=Clock())
        query = Query("t", ("Email", "Amount"), where=(Where("Email", ("a", "b")),), stamped=False)
        (page,) = sql.read([query])
        assert page.rows == [{"Email": "a", "Amount": "5"}]
        db.execute(f"ALTER TABLE t {change}")
    with pytest.raises(Drifted, match="no such column"):
        list(sql.read([query]))
    sql.close()

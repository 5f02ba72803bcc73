import json
import sqlite3
import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from databases import Clock, schema, url  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector import canon
from connector.endpoints.sql import Sql
from connector.errors import ConnectorError, Drifted, Rejected, SetupError, Unanswered, Unavailable
from connector.model import Change, Column, Keys, Query, Where, Window

COLUMNS = [
    Column(("external_id",)),
    Column(("count",), "integer"),
    Column(("at",), "instant"),
    Column(("details", "appointment"), "json"),
    Column(("details", "note")),
    Column(("tags",), "json"),
]


def system(where, *, create=True):
    return Sql("hatch", {"adapter": "sql", "url": where, "create_tables": create}, clock=Clock())


@pytest.fixture
def made(url):  # noqa: F811
    endpoint = system(url)
    endpoint.prepare("opportunity", COLUMNS, ["external_id"])
    yield endpoint
    endpoint.close()


@pytest.fixture
def foreign(url):  # noqa: F811
    """An endpoint that may not make tables, and a way to run SQL beside it."""
    endpoint = system(url, create=False)

    endpoint.run = lambda *statements: [run(endpoint, statement) for statement in statements][-1]
    yield endpoint
    endpoint.close()


def run(endpoint, statement):
    with endpoint.engine.begin() as db:
        result = db.execute(sa.text(statement))
        return [tuple(row) for row in result] if result.returns_rows else None


def rows(endpoint, object_="opportunity", *paths, **query):
    asked = Query(object_, paths, **({"whole": not paths} | query))
    return [row for page in endpoint.read([asked]) for row in page.rows]


def create(endpoint, object_="opportunity", **values):
    (answer,) = endpoint.write([Change("create", object_, values)])
    return answer


# ---- making and widening tables ----


def test_a_table_is_made_with_a_unique_index_over_the_match_keys(made):
    inspector = sa.inspect(made.engine)
    assert [column["name"] for column in inspector.get_columns("opportunity")] == [
        *("id", "external_id", "count", "at", "details_appointment", "details_note", "tags"),
    ]
    (index,) = inspector.get_indexes("opportunity")
    assert (index["name"], index["column_names"], bool(index["unique"])) == (
        "uq_connector_opportunity",
        ["external_id"],
        True,
    )


def test_a_table_of_ours_gets_new_columns_and_new_keys(made, url):  # noqa: F811
    create(made, external_id="a")
    again = system(url)
    again.prepare("opportunity", [*COLUMNS, Column(("phone",)), Column(("zip code",))], ["external_id", "at"])
    (row,) = rows(again)
    assert row["phone"] is None
    assert create(again, external_id="a", at="2025-03-01T12:00:00Z", phone="1", **{"zip code": "02134"}).error is None
    assert create(again, external_id="a", at="2025-03-01T12:00:00+00:00").error is not None
    again.close()


def test_two_flows_may_share_a_table(made):
    made.prepare("opportunity", [Column(("external_id",)), Column(("owner", "name"))], ["external_id"])
    create(made, external_id="a", details={"note": "n"}, owner={"name": "o"})
    (row,) = rows(made)
    assert row["details"] == {"appointment": None, "note": "n"}
    assert row["owner"] == {"name": "o"}


def test_a_foreign_table_is_never_widened(made, url):  # noqa: F811
    run(made, "create table client (id integer primary key, name text)")
    with pytest.raises(
        SetupError, match=r"client has no column 'nmae' \(near: name\).*ALTER TABLE client ADD COLUMN nmae TEXT"
    ):
        made.prepare("client", [Column(("nmae",))], ["nmae"])


def test_a_missing_table_is_said_with_what_to_do(foreign):
    foreign.run("create table opportunities (id integer primary key)")
    with pytest.raises(SetupError) as error:
        foreign.prepare("opportunity", COLUMNS, ["external_id"])
    said = str(error.value)
    assert "no table 'opportunity' (near: opportunities)" in said
    assert "create_tables: true" in said
    foreign.run(said.partition("create it: ")[2])
    foreign.prepare("opportunity", COLUMNS, ["external_id"])
    assert create(foreign, external_id="a").id == "1"


def test_a_missing_column_is_said_before_any_row_is_read(foreign):
    foreign.run("create table opportunity (id integer primary key, external_id text)")
    with pytest.raises(SetupError, match=r"no column 'count'.*ADD COLUMN"):
        foreign.prepare("opportunity", COLUMNS, ["external_id"])


@pytest.mark.parametrize(("columns", "n"), [("a text", 0), ("a text, b text, primary key (a, b)", 2)])
def test_a_table_needs_one_primary_key_column(foreign, columns, n):
    foreign.run(f"create table client ({columns})")
    with pytest.raises(SetupError, match=f"client has {n} primary key columns"):
        rows(foreign, "client")


@pytest.mark.parametrize(
    ("columns", "keys", "said"),
    [
        ([Column(("a", "b")), Column(("a_b",))], [], "two fields of t would both be column 'a_b'"),
        ([Column(("a",), "json")], ["a"], "it is JSON"),
        ([Column(("a",))], ["b"], "the mapping does not write it"),
        (
            [Column(("a",)), Column(("b", "c"), "file")],
            ["a"],
            "hatch: t.b_c is a file, and an SQL system takes no files",
        ),
    ],
)
def test_what_a_table_cannot_be(made, columns, keys, said):
    with pytest.raises(SetupError, match=said):
        made.prepare("t", columns, keys)
    assert not sa.inspect(made.engine).has_table("t")


def test_many_may_make_the_same_table_at_once(url):  # noqa: F811
    endpoints, failed = [system(url) for _ in range(6)], []

    def prepare(endpoint, n):
        try:
            endpoint.prepare("opportunity", [*COLUMNS, Column((f"own_{n}",))], ["external_id"])
        except ConnectorError as error:
            failed.append(error)

    threads = [threading.Thread(target=prepare, args=(endpoint, n)) for n, endpoint in enumerate(endpoints)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {f"own_{n}" for n in range(6)} <= {
        column["name"] for column in sa.inspect(endpoints[0].engine).get_columns("opportunity")
    }
    for endpoint in endpoints:
        endpoint.close()


def test_a_preview_makes_nothing_and_reads_what_is_not_there_as_null(made):
    create(made, external_id="a")
    wider = [*COLUMNS, Column(("phone",)), Column(("owner", "name"))]
    made.prepare("opportunity", wider, ["external_id"], make=False)
    made.prepare("later", [Column(("a",)), Column(("b", "c"))], ["a"], make=False)
    (row,) = rows(made, where=(Where("external_id", ("a",)),))
    assert (row["external_id"], row["phone"], row["owner"]) == ("a", None, {"name": None})
    assert rows(made, where=(Where("phone", ("1",)),)) == rows(made, "later") == []
    assert made.canonical("later", {"b": None}) == {"b": {"c": None}}
    assert not sa.inspect(made.engine).has_table("later")
    assert "phone" not in {column["name"] for column in sa.inspect(made.engine).get_columns("opportunity")}


def test_a_column_named_like_a_group_is_not_the_group(foreign):
    foreign.run("create table lead (id integer primary key, address text, address_city text)")
    foreign.prepare("lead", [Column(("address", "city"))], [])
    create(foreign, "lead", id=1, address={"city": "Bonn"})
    assert foreign.run("select address, address_city from lead") == [(None, "Bonn")]
    assert rows(foreign, "lead") == [{"id": 1, "address": {"city": "Bonn"}}]


def test_a_decimal_arrives_with_all_its_digits(schema):  # noqa: F811
    endpoint = system(schema, create=False)
    run(endpoint, "create table deal (id integer primary key, amount numeric)")
    create(endpoint, "deal", id=1, amount=1000000000000001)
    assert rows(endpoint, "deal", "amount", stamped=False) == [{"amount": 1000000000000001.0}]
    endpoint.close()


def test_names_are_only_names(made):
    name = 'odd "table"; drop table opportunity --'
    made.prepare(name, [Column(("select",)), Column(("a b'c",))], ["select"])
    assert create(made, name, **{"select": "x", "a b'c": "y"}).id == "1"
    assert rows(made, name) == [{"id": 1, "select": "x", "a b'c": "y"}]
    assert rows(made) == []


def test_keys(made, foreign):
    assert made.keys("opportunity") == Keys("id", None, None)
    assert made.keys("not_made_yet") == Keys("id", None)
    foreign.run(
        "create table lead (key integer primary key, updated text, created_at timestamp default current_timestamp)"
    )
    assert foreign.keys("lead") == Keys("key", "updated", "created_at")
    with pytest.raises(Drifted, match=r"no table 'leads' \(near: lead\)"):
        rows(foreign, "leads")


# ---- values ----


def test_nested_values_lie_in_columns(made):
    details = {"appointment": {"Id": "a", "n": None, "list": [1]}, "note": None}
    create(made, external_id="x", details=details, tags=["a"])
    (row,) = rows(made)
    assert row == {"id": 1, "external_id": "x", "count": None, "at": None, "details": details, "tags": ["a"]}
    assert rows(made, "opportunity", "details.appointment.Id", stamped=False) == [
        {"details": {"appointment": details["appointment"]}}
    ]
    assert run(
        made, "select count(*) from opportunity where details_note is null and details_appointment is not null"
    ) == [(1,)]


def test_a_group_that_is_none_empties_its_columns(made):
    create(made, external_id="x", details={"appointment": {"a": 1}, "note": "n"})
    made.write([Change("replace", "opportunity", {"details": None}, "1")])
    assert (
        rows(made)[0]["details"]
        == {"appointment": None, "note": None}
        == made.canonical("opportunity", {"details": None})["details"]
    )
    assert run(made, "select count(*) from opportunity where details_appointment is null") == [(1,)]


def test_instants_are_canonical_text_in_tables_of_ours(made):
    create(made, external_id="x", at="2025-03-01T13:00:00.000+0100")
    assert run(made, "select at from opportunity") == [("2025-03-01T12:00:00Z",)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("count", "five"),
        ("count", 1.5),
        ("count", [1]),
        ("count", float("inf")),
        ("count", 10**30),
        ("external_id", "a\ud800"),
        ("tags", [float("nan")]),
    ],
)
def test_what_a_column_cannot_hold_is_refused_by_name(made, column, value):
    good, bad = made.write(
        [Change("create", "opportunity", {"external_id": "ok"}), Change("create", "opportunity", {column: value})]
    )
    assert good.error is None
    assert isinstance(bad.error, Rejected)
    assert len(rows(made)) == 1


def test_an_unknown_field_is_drift(made):
    with pytest.raises(Drifted, match=r"no column 'external_idd' \(near: external_id\)"):
        create(made, external_idd="x")
    with pytest.raises(Drifted, match="no column 'details_nothing'"):
        rows(made, "opportunity", "details.nothing")


@pytest.mark.parametrize(
    "value",
    [
        *(10**30, -(2**63) - 1, 1e300, 1e16, -0.0, 5.0, "half \ud800", '\x7f\x00\n"é 東', True, [], {}),
        *([1, 1.0, True], {"é": [None]}),
    ],
)
def test_json_comes_back_as_it_was(tmp_path, value):
    endpoint = system(f"sqlite:///{tmp_path}/x.db")
    endpoint.prepare("opportunity", COLUMNS, ["external_id"])
    create(endpoint, tags=[value])
    assert repr(rows(endpoint)[0]["tags"]) == repr([value])
    ((stored,),) = run(endpoint, "select tags from opportunity")
    assert stored.isascii()
    assert repr(json.loads(stored)) == repr([value])
    endpoint.close()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["\\ud800", 1e400]', ["\ud800", float("inf")]),
        (" [1 , 2]", [1, 2]),
        ("[1,]", "[1,]"),
        ("\ufeff[]", "\ufeff[]"),
    ],
)
def test_json_that_somebody_else_wrote(made, text, value):
    if not made.sqlite:
        pytest.skip("PostgreSQL looks at it first")
    with made.engine.begin() as db:
        db.execute(sa.text("insert into opportunity (tags) values (:tags)"), {"tags": text})
    assert rows(made)[0]["tags"] == value


TYPES = {
    "sqlite": [
        "text",
        "varchar(20)",
        "integer",
        "real",
        "numeric",
        "boolean",
        "datetime",
        "timestamp",
        "date",
        "json",
        "blob",
        "",
    ],
    "postgresql": [
        *(
            "text",
            "varchar(20)",
            "integer",
            "smallint",
            "bigint",
            "real",
            "double precision",
            "numeric",
            "numeric(8,2)",
            "boolean",
        ),
        *("timestamp", "timestamptz", "date", "json", "jsonb", "uuid", "bytea"),
    ],
}
SCALARS = (
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)
    | st.integers(-(10**20), 10**20)
    | st.integers(-100, 100)
    | st.floats(width=16)
    | st.booleans()
    | st.sampled_from(
        [
            "2025-03-01T12:00:00Z",
            "2025-03-01T12:00:00.123+02:00",
            "2025-03-01",
            "5",
            "true",
            "7.125",
            "c0ffee00-0000-4000-8000-00000000000A",
        ]
    )
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text("ab"), st.none() | st.booleans(), max_size=2)
)


def test_whatever_the_type_what_is_read_is_what_canonical_says(foreign):
    types = TYPES["sqlite" if foreign.sqlite else "postgresql"]
    auto = "integer primary key" if foreign.sqlite else "bigserial primary key"
    foreign.run(f"create table t (id {auto}, {', '.join(f'c{n} {type_}' for n, type_ in enumerate(types))})")

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=SCALARS, n=st.integers(0, len(types) - 1))
    def check(value, n):
        values = {f"c{n}": value}
        told = foreign.canonical("t", values)
        # A value that has been through canonical is written without another look at it, and has to fare alike.
        answers = [create(foreign, "t", **values), *foreign.write([Change("create", "t", told)])]
        if answers[0].error is None:
            found = rows(foreign, "t", where=(Where("id", tuple(answer.id for answer in answers)),))
            assert [canon.same(row[f"c{n}"], told[f"c{n}"]) for row in found] == [True, True], (types[n], value, told)
            assert canon.same(foreign.canonical("t", told), told)
        else:
            assert all(isinstance(answer.error, Rejected) for answer in answers)

    check()


# ---- finding and windows ----


def test_values_that_a_column_cannot_hold_are_in_no_row(made):
    create(made, external_id="5", count=5)
    assert len(rows(made, where=(Where("count", ("5", "five", None)),))) == 1
    assert len(rows(made, where=(Where("external_id", (5,)),))) == 1
    assert len(rows(made, where=(Where("count", ("five",)),))) == 0
    assert len(rows(made, where=(Where("details.note", (None,)),))) == 1
    with pytest.raises(SetupError, match="'tags' is not one value"):
        rows(made, where=(Where("tags", ("a",)),))


STAMPS = {
    "2025-03-10 14:00:00": 1,
    "2025-03-10T14:00:00Z": 2,
    "2025-03-10T16:00:00+02:00": 3,
    "2025-03-10T14:00:00.500Z": 4,
    "2025-03-10T13:59:59Z": 0,
}


@pytest.mark.parametrize("type_", ["datetime", "text", "timestamp", ""])
def test_sqlite_may_spell_its_stamps_in_many_ways(tmp_path, type_):
    endpoint = system(f"sqlite:///{tmp_path}/x.db", create=False)
    run(endpoint, f"create table lead (id integer primary key, updated_at {type_})")
    for stamp, id_ in STAMPS.items():
        run(endpoint, f"insert into lead values ({id_}, '{stamp}')")
    run(endpoint, "insert into lead values (9, null)")
    at = datetime(2025, 3, 10, 14, tzinfo=UTC)
    found = rows(endpoint, "lead", window=Window(at, datetime(2999, 1, 1, tzinfo=UTC)))
    assert [row["id"] for row in found] == [1, 2, 3, 4]
    assert [row["updated_at"] for row in found] == ["2025-03-10T14:00:00Z"] * 3 + ["2025-03-10T14:00:00.500Z"]
    assert [
        row["id"] for row in rows(endpoint, "lead", window=Window(None, at, after=("2025-03-10T14:00:00Z", "1")))
    ] == [2, 3]
    endpoint.close()


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "timestamptz(0)"])
def test_postgresql_has_real_timestamps(schema, type_):  # noqa: F811
    endpoint = system(schema, create=False)
    run(endpoint, f"create table lead (id uuid primary key default gen_random_uuid(), name text, updated_at {type_})")
    stamps = ["2025-03-10T14:00:00Z", "2025-03-10T16:00:00+02:00", "2025-03-10 15:00:00"]
    answers = endpoint.write(
        [Change("create", "lead", {"name": f"n{n}", "updated_at": stamp}) for n, stamp in enumerate(stamps)]
    )
    assert [answer.error for answer in answers] == [None] * 3
    at = datetime(2025, 3, 10, 14, tzinfo=UTC)
    first = rows(endpoint, "lead", window=Window(at, at))
    assert [row["updated_at"] for row in first] == ["2025-03-10T14:00:00Z"] * 2
    after = (first[0]["updated_at"], first[0]["id"])
    assert len(rows(endpoint, "lead", window=Window(at, datetime(2999, 1, 1, tzinfo=UTC), after=after))) == 2
    assert [row["name"] for row in rows(endpoint, "lead", where=(Where("id", (answers[2].id,)),))] == ["n2"]
    assert endpoint.write([Change("update", "lead", {"name": "x"}, "no-uuid")])[0].error.reason == "NOT_FOUND"
    assert abs(endpoint.now().timestamp() - datetime.now(UTC).timestamp()) < 60
    endpoint.close()


def test_a_window_needs_a_column_of_time(made, foreign):
    foreign.run("create table lead (id integer primary key, updated_at integer)")
    for name, of in (("opportunity", made), ("lead", foreign)):
        with pytest.raises(SetupError, match="updated_at, updated, created_at"):
            rows(of, name, window=Window(None, datetime(2999, 1, 1, tzinfo=UTC)))


def test_a_window_brings_the_stamp_that_it_names(foreign):
    foreign.run(
        "create table lead (id integer primary key, name text, changed text)",
        "insert into lead values (1, 'a', '2025-03-10T14:00:00Z')",
    )
    window = Window(None, datetime(2999, 1, 1, tzinfo=UTC), field="changed")
    assert rows(foreign, "lead", "name", window=window) == [{"id": 1, "name": "a", "changed": "2025-03-10T14:00:00Z"}]


def test_a_read_goes_on_while_its_rows_are_written(made):
    made.write([Change("create", "opportunity", {"external_id": f"x{n}"}) for n in range(2500)])
    seen = 0
    for page in made.read([Query("opportunity", ("external_id",))]):
        made.write([Change("update", "opportunity", {"count": 1}, str(row["id"])) for row in page.rows])
        seen += len(page.rows)
    assert seen == 2500
    assert run(made, "select count(*) from opportunity where count = 1") == [(2500,)]


# ---- writing ----


@pytest.fixture
def statements(made):
    said = []
    sa.event.listen(made.engine, "before_cursor_execute", lambda *args: said.append(args[2].split()[0]))
    return said


def test_rows_travel_in_batches(made, statements):
    answers = made.write([Change("create", "opportunity", {"external_id": f"x{n}", "count": n}) for n in range(1000)])
    inserts, selects = statements.count("INSERT"), statements.count("SELECT")
    made.write([Change("update", "opportunity", {"count": -1}, answer.id) for answer in answers])
    assert inserts <= 5
    assert statements.count("UPDATE") == 1
    assert statements.count("SELECT") == selects <= 3


def test_one_bad_row_among_many_costs_few_statements(made, statements):
    create(made, external_id="x500")
    answers = made.write([Change("create", "opportunity", {"external_id": f"x{n}"}) for n in range(1000)])
    assert [n for n, answer in enumerate(answers) if answer.error] == [500]
    refused = answers[500].error
    assert isinstance(refused, Rejected)
    assert refused.fields == ("external_id",)
    assert "\n" not in str(refused)
    assert "INSERT" not in str(refused)
    assert statements.count("INSERT") < 40
    assert run(made, "select count(*) from opportunity") == [(1000,)]


def test_two_equal_keys_in_one_batch_make_one_row(made):
    answers = made.write([Change("create", "opportunity", {"external_id": "a", "count": n}) for n in range(2)])
    assert [answer.error is None for answer in answers] == [True, False]
    assert [row["count"] for row in rows(made)] == [0]


def test_rows_with_different_fields_are_each_written(made):
    changes = [
        Change("create", "opportunity", values)
        for values in ({}, {"external_id": "a"}, {}, {"count": 1}, {"external_id": "b"})
    ]
    ids = [answer.id for answer in made.write(changes)]
    assert len(set(ids)) == 5
    held = {str(row["id"]): (row["external_id"], row["count"]) for row in rows(made)}
    assert [held[id_] for id_ in ids] == [(None, None), ("a", None), (None, None), (None, 1), ("b", None)]
    assert [answer.error for answer in made.write([Change("update", "opportunity", {}, id_) for id_ in ids])] == [
        None
    ] * 5


def test_columns_that_no_mapping_knows_are_not_touched(made):
    run(made, "alter table opportunity add column owner text default 'somebody'")
    create(made, external_id="a")
    for verb in ("replace", "update"):
        made.write([Change(verb, "opportunity", {"external_id": "b", "count": 1, "details": None}, "1")])
    assert run(made, "select owner from opportunity") == [("somebody",)]


def test_a_row_needs_an_id_where_nothing_makes_one(foreign):
    foreign.run("create table lead (key text primary key, name text)")
    refused, done = foreign.write(
        [Change("create", "lead", {"name": "a"}), Change("create", "lead", {"key": "k1", "name": "b"})]
    )
    assert refused.error.reason == "REQUIRED"
    assert done.id == "k1"


def test_a_key_of_sqlite_that_only_looks_as_if_it_counted_up(tmp_path):
    endpoint = system(f"sqlite:///{tmp_path}/x.db", create=False)
    run(endpoint, "create table lead (id int primary key, name text)")
    assert create(endpoint, "lead", name="a").error.reason == "INVALID_VALUE"
    assert create(endpoint, "lead", name="b", id=7).id == "7"
    assert run(endpoint, "select id, name from lead") == [(7, "b")]
    endpoint.close()


# ---- when the database is unwell ----


def test_a_locked_database_is_unavailable(tmp_path):
    endpoint = system(f"sqlite:///{tmp_path}/x.db")
    endpoint.prepare("opportunity", COLUMNS, [])
    with endpoint.engine.connect() as db:
        db.exec_driver_sql("PRAGMA busy_timeout=20")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="hatch: writing opportunity: database is locked"):
        create(endpoint, external_id="a")
    other.execute("ROLLBACK")
    other.close()
    assert create(endpoint, external_id="a").error is None
    endpoint.close()


def test_a_commit_that_found_the_database_locked_leaves_no_transaction_behind(tmp_path):
    """A reader holds up a COMMIT where the journal is not WAL, as it is in somebody else's file."""
    with sqlite3.connect(tmp_path / "x.db") as made:
        made.executescript("PRAGMA journal_mode=DELETE; CREATE TABLE lead (id INTEGER PRIMARY KEY, name TEXT)")
    made.close()
    endpoint = system(f"sqlite:///{tmp_path}/x.db", create=False)
    with endpoint.engine.connect() as db:
        db.exec_driver_sql("PRAGMA busy_timeout=20")
    reader = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    reader.executescript("BEGIN; SELECT * FROM lead")
    with pytest.raises(Unavailable, match="hatch: writing lead: database is locked"):
        create(endpoint, "lead", name="a")
    assert rows(endpoint, "lead") == []
    reader.execute("ROLLBACK")
    reader.close()
    assert create(endpoint, "lead", name="b").error is None
    assert [row["name"] for row in rows(endpoint, "lead")] == ["b"]
    endpoint.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path):
    endpoint = system(f"sqlite:///{tmp_path}/x.db")
    endpoint.prepare("opportunity", COLUMNS, [])
    create(endpoint, external_id="first")
    with endpoint.engine.connect() as db:
        db.exec_driver_sql("PRAGMA max_page_count=8")
    with pytest.raises(SetupError, match="disk is full"):
        endpoint.write([Change("create", "opportunity", {"external_id": "x" * 3000}) for _ in range(50)])
    assert [row["external_id"] for row in rows(endpoint)] == ["first"]
    endpoint.close()


def test_a_read_only_file_can_be_read(tmp_path):
    endpoint = system(f"sqlite:///{tmp_path}/x.db")
    endpoint.prepare("opportunity", COLUMNS, [])
    create(endpoint, external_id="a")
    endpoint.close()
    reader = Sql("hatch", {"url": f"sqlite:///file:{tmp_path}/x.db?mode=ro&uri=true"}, clock=Clock())
    assert len(rows(reader)) == 1
    with pytest.raises(SetupError, match="cannot be written"):
        create(reader, external_id="b")
    reader.close()


@pytest.mark.parametrize("file", ["nowhere/x.db", "text.txt"])
def test_a_file_that_is_no_database(tmp_path, file):
    (tmp_path / "text.txt").write_text("hello " * 200)
    endpoint = system(f"sqlite:///{tmp_path}/{file}")
    with pytest.raises(SetupError, match="check `url`"):
        rows(endpoint)
    endpoint.close()


def test_a_table_that_goes_away_is_drift(made):
    run(made, "drop table opportunity")
    with pytest.raises(Drifted, match="opportunity"):
        rows(made)
    with pytest.raises(Drifted, match="no table 'opportunity'"):
        create(made, external_id="a")


@pytest.mark.parametrize("bad", ["s3cret", "nosuch://me:s3cret@host/x", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_is_none(bad):
    with pytest.raises(SetupError, match="hatch: `url`") as error:
        system(bad)
    assert "s3cret" not in str(error.value)


def test_nobody_answers():
    endpoint = system("postgresql://me:s3cret@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as error:
        endpoint.now()
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def killed_at(endpoint, event):
    """The server ends our connection just before `event`."""

    def kill(db, *_):
        pid = db.connection.dbapi_connection.info.backend_pid
        other = sa.create_engine(endpoint.engine.url)
        with other.begin() as admin:
            admin.execute(sa.text(f"select pg_terminate_backend({pid})"))
        other.dispose()

    sa.event.listen(endpoint.engine, event, kill, once=True)


@pytest.mark.parametrize(("event", "error"), [("commit", Unanswered), ("savepoint", Unavailable)])
def test_a_connection_that_breaks(schema, event, error):  # noqa: F811
    endpoint = system(schema)
    endpoint.prepare("opportunity", COLUMNS, [])
    killed_at(endpoint, event)
    with pytest.raises(error) as failed:
        create(endpoint, external_id="a")
    assert type(failed.value) is error
    assert create(endpoint, external_id="b").error is None
    assert [row["external_id"] for row in rows(endpoint)] == ["b"]
    assert endpoint.settle > 0
    endpoint.close()

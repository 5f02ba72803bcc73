"""The store: the same rules on SQLite and on PostgreSQL, for stores that are new, old, from the future, and shared."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from endpoints.databases import schema, url  # noqa: F401

from connector.errors import StateError
from connector.model import Note, Outcome
from connector.state import Batch, Cursor, Intent, Link, Parked, Pass, Store, Version
from connector.state.migrations import MIGRATIONS, VERSION
from connector.state.tables import metadata

NOW = datetime(2025, 3, 10, 15, tzinfo=UTC)
TTL = timedelta(minutes=10)
OLD = (Path(__file__).parent / "state" / "version_1.sql").read_text("utf-8")


@pytest.fixture
def store(url):  # noqa: F811
    with closing(Store(url)) as made:
        yield made


def begun(store, name="item", now=NOW):
    """(stream id, lease, run id) of a run that has just been claimed."""
    stream = store.stream("c", name)
    return stream.id, *store.claim(stream, "me", now, None, TTL, lambda _owner: False, "d")


def executed(url, text):  # noqa: F811
    """SQL, as if somebody had typed it."""
    engine = sa.create_engine(url)
    with engine.begin() as db:
        for statement in text.split(";\n"):
            if statement.strip():
                db.exec_driver_sql(statement)
    engine.dispose()


def shape(url):  # noqa: F811
    """Tables with their columns, keys and indexes, by name."""
    engine = sa.create_engine(url)
    seen = sa.inspect(engine)
    found = {
        table: (
            sorted((one["name"], str(one["type"]), one["nullable"]) for one in seen.get_columns(table)),
            seen.get_pk_constraint(table)["constrained_columns"],
            sorted(one["column_names"] for one in seen.get_unique_constraints(table)),
            sorted((one["name"], one["column_names"]) for one in seen.get_indexes(table)),
        )
        for table in seen.get_table_names()
    }
    engine.dispose()
    return found


# ---- what is stored comes back ----------------------------------------------------------------------------------


def test_a_link_carries_what_each_side_held(store):
    stream, lease, run = begun(store)
    links = [Link("1", "101", "1", home_base='{"a": 1}', remote_base='{"b": null}'), Link("2", "102", "2")]
    store.commit(lease, run, Batch(links=links), Cursor(), NOW, TTL)
    assert store.all_links(stream) == links
    store.put_links(stream, [Link("2", "102", "2", made="manual", home_base="{}")], NOW, lease)
    assert store.links(stream, "remote", ["2"]) == [Link("2", "102", "2", made="manual", home_base="{}")]


@pytest.mark.parametrize("many", [0, 1, 499, 500, 501, 5000])
def test_a_page_of_any_size_is_stored_and_found(store, many):
    stream, lease, run = begun(store)
    ids = [f"{n:05}" for n in range(many)]
    batch = Batch(
        outcomes=[Outcome(one, "thing", "failed", "rejected", "no") for one in ids],
        links=[Link(one, f"h{one}", one) for one in ids],
        versions=[Version("thing", one, "2025-03-10T14:00:00Z", "d", "thing") for one in ids],
        retries={("thing", one): (1, NOW) for one in ids},
    )
    store.journal(lease, [Intent(one, "{}", "2025-03-10T15:00:00Z") for one in ids])
    store.commit(lease, run, batch, Cursor(), NOW, TTL)
    assert sorted(link.key for link in store.links(stream, "home", [f"h{one}" for one in ids])) == ids
    assert sorted(version.record for version, _ in store.versions(stream, "thing", ids)) == ids
    assert store.parked(stream) == [Parked("thing", one, 1, NOW) for one in ids]
    assert sorted(store.intents(stream)) == ids
    done = Batch(closed=[("thing", one) for one in ids], settled=ids)
    store.commit(lease, run, done, Cursor(), NOW, TTL)
    assert (store.parked(stream), store.intents(stream)) == ([], {})


def test_one_transaction_has_all_of_a_page_or_nothing(store):
    _, lease, run = begun(store)
    batch = Batch(outcomes=[Outcome("1", "thing", "created")], links=[Link("1", None, "1")])
    with pytest.raises(StateError):
        store.commit(lease, run, batch, Cursor("2025-03-10T15:00:00Z"), NOW, TTL)
    assert (store.outcomes("c"), store.stream("c", "item").cursor) == ([], Cursor())


def test_the_cursor_of_a_stream_survives_whoever_asks_for_the_stream_first(store, monkeypatch):
    """Two workers may both find no stream; the slower one must not begin it anew."""
    asked = Store._all

    def slower(self, *statements):
        monkeypatch.setattr(Store, "_all", asked)
        stream = store.stream("c", "item")
        store.place(stream, Cursor("2025-03-10T15:00:00Z"))
        return []

    monkeypatch.setattr(Store, "_all", slower)
    assert store.stream("c", "item").cursor == Cursor("2025-03-10T15:00:00Z")


QUESTIONS = {
    "links of home ids": "SELECT * FROM link WHERE stream_id = 1 AND home IN ('a', 'b')",
    "links of remote ids": "SELECT * FROM link WHERE stream_id = 1 AND remote IN ('a', 'b')",
    "versions": "SELECT * FROM version WHERE stream_id = 1 AND read = 'r' AND record IN ('a', 'b')",
    "what waits": "SELECT * FROM outcome WHERE stream_id = 1 AND open ORDER BY id",
    "waits no more": "UPDATE outcome SET open = 0 WHERE stream_id = 1 AND open AND read = 'r' AND record = 'a'",
}
INDEXES = {
    "links of home ids": "link_home (stream_id=? AND home=?)",
    "links of remote ids": "link_remote (stream_id=? AND remote=?)",
    "versions": "(stream_id=? AND read=? AND record=?)",
    "what waits": "outcome_waiting (stream_id=?)",
    "waits no more": "outcome_record (stream_id=? AND record=?)",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_of_a_page_has_its_index_without_statistics(question, tmp_path):
    Store(f"sqlite:///{tmp_path}/state.db").close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        (plan,) = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {QUESTIONS[question]}")]
    assert INDEXES[question] in plan


# ---- versions ---------------------------------------------------------------------------------------------------


@pytest.fixture
def old(url):  # noqa: F811
    kinds = (
        {"id": "INTEGER", "number": "INTEGER"} if url.startswith("sqlite") else {"id": "BIGSERIAL", "number": "BIGINT"}
    )
    executed(url, OLD.replace("{id}", kinds["id"]).replace("{number}", kinds["number"]).replace("%", "%%"))
    return url


def test_a_store_of_version_1_is_brought_forward_and_forgets_nothing(old):
    with closing(Store(old)) as store:
        stream = store.stream("c", "item")
        after = ("2025-03-10T14:30:00Z", "7")
        opened = Pass(1, None, "2025-03-10T15:00:00Z", "d", 0, after)
        assert stream.cursor == Cursor("2025-03-10T14:00:00Z", "2025-03-10T13:00:00Z", opened)
        assert store.all_links(stream.id) == [Link("6", "106", "6", made="manual")]
        assert [one.record for one in store.parked(stream.id)] == ["7"]
        assert list(store.intents(stream.id)) == ["8"]
        assert [version.record for version, _ in store.versions(stream.id, "thing", ["6"])] == ["6"]
        assert store.cache("c/remote")["describe"] == "{}"
        assert len(store.outcomes("c")) == 2
        _, lease, run = begun(store)
        links = [Link("6", "106", "6", home_base="{}", remote_base="{}")]
        store.commit(lease, run, Batch(links=links, closed=[("thing", "7")]), stream.cursor, NOW, TTL)
        assert (store.all_links(stream.id), store.parked(stream.id)) == (links, [])


def test_a_store_brought_forward_is_like_a_new_one(old, tmp_path):
    Store(old).close()
    brought = shape(old)
    executed(old, "\n".join(f"DROP TABLE {name};" for name in metadata.tables))
    Store(old).close()
    assert brought == shape(old)


def test_the_steps_lead_from_the_first_version_to_this_one():
    assert list(MIGRATIONS) == list(range(2, VERSION + 1))


def test_a_step_that_fails_leaves_the_store_as_it_was(old, monkeypatch):
    before = shape(old)
    monkeypatch.setitem(MIGRATIONS, VERSION, (*MIGRATIONS[VERSION], "CREATE INDEX broken ON nothing (at)"))
    with pytest.raises(StateError, match="nothing"):
        Store(old)
    assert shape(old) == before
    monkeypatch.undo()
    Store(old).close()
    assert shape(old) != before


@pytest.mark.parametrize("version", [str(VERSION + 1), "2.1", "x"])
def test_a_newer_store_is_refused_and_left_alone(url, version):  # noqa: F811
    Store(url).close()
    executed(url, f"UPDATE meta SET value = '{version}'")
    with pytest.raises(StateError, match=rf"newer version of connector \({version}\); install that one"):
        Store(url)
    executed(url, f"UPDATE meta SET value = '{VERSION}'")
    Store(url).close()


@pytest.mark.parametrize("before", ["new", "old"])
def test_many_that_open_a_store_at_once_make_one(before, url, request):  # noqa: F811
    if before == "old":
        request.getfixturevalue("old")
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(url), range(6)))
    assert {store.stream("c", "item").id for store in stores} == {1}
    for store in stores:
        store.close()


def test_a_store_that_is_up_to_date_is_opened_while_another_writes(store):
    with store.writing(), closing(Store(store.url)) as other:
        assert other.runs("c") == []


@pytest.mark.parametrize("spelled", ["postgresql", "postgres"])
def test_postgresql_by_any_of_its_names(spelled, schema):  # noqa: F811
    with closing(Store(schema.replace("postgresql+psycopg", spelled))) as store:
        assert store.runs("c") == []


def test_no_password_is_in_what_is_said(schema):  # noqa: F811
    wrong = sa.make_url(schema).set(password="hunter2", database="nowhere")
    with pytest.raises(StateError, match="nowhere") as caught:
        Store(wrong.render_as_string(hide_password=False))
    assert "hunter2" not in str(caught.value)


# ---- text that a system can send --------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", ["\0", "a\0b", "\ud800", "\U0001f4a9", "'; DROP TABLE link; --", "%s ? :x"])
def test_any_text_of_a_system_can_be_stored(nasty, store):
    _, lease, run = begun(store)
    batch = Batch(
        outcomes=[Outcome("1", "thing", "failed", "rejected", nasty)], notes=[Note("error", "rejected", nasty)]
    )
    store.commit(lease, run, batch, Cursor(), NOW, TTL)
    (kept,) = store.outcomes("c")
    assert kept["message"] == nasty.replace("\0", "").replace("\ud800", "?")
    ended = {"status": "failed", "counts": {}, "calls": 0, "error": nasty, "since": None, "until": None}
    store.finish(lease, run, NOW, ended, [], None, "")
    assert store.runs("c")[0]["error"] == kept["message"]

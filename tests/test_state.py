"""The store: the same rules on SQLite and on PostgreSQL, for stores that are new, old, from the future, and shared."""

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from endpoints.databases import schema, url  # noqa: F401
from test_engine import Bench, thing

from connector.errors import StateError
from connector.model import Note, Outcome
from connector.state import Batch, Cursor, Intent, Link, Parked, Pass, Store, Version, retention
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


@pytest.mark.parametrize("many", [1, 20, 21])
@pytest.mark.parametrize("text", ["", "word", "it's", "%s ? :x", "\u00e9", None])
def test_what_all_rows_of_a_page_have_alike_is_stored_like_all_else(store, text, many):
    _, lease, run = begun(store)
    notes = [Note("error", "rejected", text or "", record=text, field=str(n // 20)) for n in range(many)]
    store.commit(lease, run, Batch(notes=notes), Cursor(), NOW, TTL)
    kept = reversed(store.notes("c"))
    assert [Note(*(each[name] for name in ("level", "code", "message", "record", "field"))) for each in kept] == notes


# ---- how long it is kept ----------------------------------------------------------------------------------------

DAY = timedelta(days=1)


def ended(store, lease, run, now):
    done = {"status": "ok", "counts": {}, "calls": 0, "error": None, "since": None, "until": None}
    store.finish(lease, run, now, done, [], None, "")


def history(store, days=200):
    """A run a day: record `daily` is updated, `once` came with the first one, `waits` failed in it."""
    for day in range(days):
        now = NOW + day * DAY
        _, lease, run = begun(store, now=now)
        outcomes, retries = [Outcome("daily", "thing", "updated")], {}
        if day == 0:
            outcomes += [Outcome("once", "thing", "created"), Outcome("waits", "thing", "failed", "rejected")]
            retries = {("thing", "waits"): (1, now)}
        batch = Batch(outcomes, [Note("warning", "w", "w")], [Link("once", "1", "once")], retries=retries)
        store.commit(lease, run, batch, Cursor(), now, TTL)
        yield lease, run, now


def kept(store):
    """record -> days on which it has an outcome; and on which there are runs and notes"""
    day = lambda text: (datetime.fromisoformat(text) - NOW).days  # noqa: E731
    days = {}
    for one in store.outcomes("c", limit=1000):
        days.setdefault(one["record"], []).append(day(one["at"]))
    return (
        days,
        [day(one["started"]) for one in store.runs("c", 1000)],
        [day(n["at"]) for n in store.notes("c", limit=1000)],
    )


def test_what_is_old_is_forgotten_but_the_latest_and_what_waits(store, monkeypatch):
    monkeypatch.setattr("connector.state.retention.BATCH", 7)
    monkeypatch.setattr("connector.state.retention.KEEP", timedelta(days=10_000))
    for lease, run, now in history(store, 50):
        ended(store, lease, run, now)
    assert store.prune(NOW + 40 * DAY) == 40 + 39 + 40  # the first run stays with what is left of it
    young = list(range(49, 39, -1))
    assert kept(store) == ({"daily": young, "once": [0], "waits": [0]}, [*young, 0], young)
    stream = store.stream("c", "item").id
    assert [one.record for one in store.parked(stream)] == ["waits"]
    assert len(store.all_links(stream)) == 1
    assert store.prune(NOW + 40 * DAY) == 0
    store.prune(NOW + 1000 * DAY)
    assert kept(store) == ({"daily": [49], "once": [0], "waits": [0]}, [49, 0], [])


def test_a_run_forgets_what_is_older_than_90_days_and_looks_once_a_day(store, monkeypatch):
    pruned, prune = [], retention.prune
    monkeypatch.setattr(retention, "prune", lambda store, before: (pruned.append(before), prune(store, before)))
    for lease, run, now in history(store, 100):
        ended(store, lease, run, now)
        later = now + timedelta(hours=1)
        ended(store, *begun(store, now=later)[1:], later)
    assert pruned == [
        NOW + timedelta(days=day, hours=1) for day in range(10)
    ]  # from the hour at which something is older
    days, runs, notes = kept(store)
    assert days == {"daily": list(range(99, 9, -1)), "once": [0], "waits": [0]}
    assert (set(runs), notes) == ({*range(9, 100), 0}, list(range(99, 9, -1)))


# ---- backup -----------------------------------------------------------------------------------------------------


def connector(folder, *words, **environ):
    done = subprocess.run(
        [sys.executable, "-m", "connector", *words],
        cwd=folder,
        env={**os.environ, "CONNECTOR_STATE": "", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_backup_of_a_run_under_way_is_a_state_to_go_on_from(tmp_path):
    """Made at the second of three writes, restored when all is done: the rest is found again and not made twice."""
    (tmp_path / ".connector").mkdir()
    state = tmp_path / ".connector" / "state.db"
    backup = tmp_path / "state-backup.db"
    bench = Bench([thing(str(n), key=str(n), minutes=-n) for n in (3, 2, 1)], store=Store(f"sqlite:///{state}"), page=1)
    said = []

    def at_the_second(what):
        if what == "write:item" and len(bench.written) == 1 and not said:
            said.append(connector(tmp_path, "state", "backup", "state-backup.db"))

    bench.target.on_call = at_the_second
    assert bench.run().counts["created"] == 3
    assert [code for code, _ in said] == [0], said
    assert backup.stat().st_mode & 0o777 == 0o600
    bench.store.close()
    for file in state.parent.glob("state.db*"):
        file.unlink()
    shutil.copy(backup, state)
    bench.store = Store(f"sqlite:///{state}")
    assert bench.store.stream("c", "item").running
    assert len(bench.store.outcomes("c")) == 1
    done = bench.run(after=1, alive=lambda _owner: False)
    assert (done.status, done.counts["created"], done.counts["unchanged"]) == ("ok", 0, 2)
    assert [key for (key,) in bench.items("key")] == ["1", "2", "3"]
    bench.store.close()


def test_a_backup_takes_no_file_that_is_there(tmp_path):
    Store(f"sqlite:///{tmp_path}/.connector/state.db").close()
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    code, said = connector(tmp_path, "state", "backup", "mine")
    assert (code, "File exists" in said, (tmp_path / "mine").read_text("utf-8")) == (2, True, "mine")
    code, said = connector(tmp_path, "state", "backup", "no/folder/x")
    assert (code, "No such file or directory" in said) == (2, True)


def test_there_is_nothing_to_keep_where_there_is_no_state(tmp_path):
    for words in (("backup", "x"), ("prune", "--older", "90d")):
        code, said = connector(tmp_path, "state", *words)
        assert (code, "there is no .connector/state.db here" in said) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_on_postgresql_is_made_by_its_own_means(schema, tmp_path):  # noqa: F811
    code, said = connector(tmp_path, "state", "backup", "x", CONNECTOR_STATE=schema)
    assert (code, "pg_dump" in said, list(tmp_path.iterdir())) == (2, True, [])


def test_prune_says_how_much_is_forgotten(url, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("connector.state.retention.KEEP", timedelta(days=10_000))
    with closing(Store(url)) as store:
        for lease, run, now in history(store, 3):
            ended(store, lease, run, now)
    assert connector(tmp_path, "state", "prune", "--older", "1d", CONNECTOR_STATE=url) == (
        0,
        "6 outcomes, runs and lines of the log are forgotten\n",
    )
    code, said = connector(tmp_path, "state", "prune", "--older", "soon", CONNECTOR_STATE=url)
    assert (code, "write it like 90d" in said) == (2, True)

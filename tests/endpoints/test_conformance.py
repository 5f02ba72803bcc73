import os
import uuid
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

pytest.register_assert_rewrite("conformance")

from conformance import *  # noqa: E402, F403
from conformance import Bench  # noqa: E402

from connector.endpoints import sql  # noqa: E402
from connector.endpoints.memory import Fault, Memory  # noqa: E402
from connector.endpoints.sql import Sql  # noqa: E402
from connector.model import Change, Column  # noqa: E402

POSTGRESQL = os.environ.get("CONNECTOR_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")
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
COLUMNS = [
    *(Column((name,), kind) for name, kind in FIELDS.items()),
    *(Column(("address", name)) for name in ("city", "street")),
    Column(("updated_at",), "instant"),
]


class Clock:
    def __init__(self):
        self.at = datetime(2025, 3, 10, 15, tzinfo=UTC)
        self.slept = 0.0

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.slept += seconds


def bench_of(endpoint, refused, pages):
    endpoint.prepare("item", COLUMNS, [])
    parts = {"fields": FIELDS, "group": ("address", "city", "street"), "base": {"updated_at": "2025-03-10T14:30:00Z"}}
    bench = Bench(endpoint, "item", "title", "note", **parts, refused=refused, pages=pages)
    bench.seed_stamps = lambda stamps: bench.seed(*({"updated_at": stamp} for stamp in stamps))
    return bench


@pytest.fixture
def schema():
    """A schema of PostgreSQL that only this test has."""
    name = f"test_{uuid.uuid4().hex}"
    url = sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.begin() as db:
            db.execute(sa.schema.CreateSchema(name))
    except sa.exc.OperationalError:
        pytest.skip("no PostgreSQL")
    yield url.update_query_dict({"options": f"-c search_path={name}"}).render_as_string(hide_password=False)
    with engine.begin() as db:
        db.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def bench(request, tmp_path, monkeypatch):
    if request.param == "memory":
        endpoint = Memory("home", clock=Clock())
        endpoint.faults.append(Fault("item", 422, match={"title": "refuse me"}))
        endpoint.faults.append(Fault("no_such_object", 404, verb="read"))
        yield bench_of(endpoint, {"title": "refuse me"}, lambda size: setattr(endpoint, "page", size))
        return
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("schema")
    endpoint = Sql("home", {"url": url, "create_tables": True}, clock=Clock())
    endpoint.prepare("item", COLUMNS, [])
    endpoint.write([Change("create", "item", {"title": "taken", "note": "taken"})])
    with endpoint.engine.begin() as db:  # a row that the unique index guards, behind the suite's back
        db.execute(sa.text("delete from item"))
        clause = "raise(abort, 'no') " if request.param == "sqlite" else ""
        if clause:
            db.execute(
                sa.text(
                    "create trigger refuses before insert on item when new.title = 'refuse me' begin select raise(abort, 'no'); end"
                )
            )
        else:
            db.execute(sa.text("alter table item add check (title <> 'refuse me')"))
    yield bench_of(endpoint, {"title": "refuse me"}, lambda size: monkeypatch.setattr(sql, "PAGE", size))
    endpoint.close()

import pytest
import sqlalchemy as sa

pytest.register_assert_rewrite("conformance")

from conformance import *  # noqa: E402, F403
from conformance import FIELDS, Bench  # noqa: E402
from databases import Clock, schema  # noqa: E402, F401

from connector.endpoints import sql  # noqa: E402
from connector.endpoints.memory import Fault, Memory  # noqa: E402
from connector.endpoints.sql import Sql  # noqa: E402
from connector.model import Column  # noqa: E402

COLUMNS = [
    *(Column((name,), kind) for name, kind in FIELDS.items()),
    *(Column(("address", name)) for name in ("city", "street")),
    Column(("updated_at",), "instant"),
]


def bench_of(endpoint, refused, pages):
    endpoint.prepare("item", COLUMNS, [])
    parts = {"fields": FIELDS, "group": ("address", "city", "street"), "base": {"updated_at": "2025-03-10T14:30:00Z"}}
    bench = Bench(endpoint, "item", "title", "note", **parts, refused=refused, pages=pages)
    bench.seed_stamps = lambda stamps: bench.seed(*({"updated_at": stamp} for stamp in stamps))
    return bench


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
    refuses = (
        "create trigger refuses before insert on item when new.title = 'refuse me' begin select raise(abort, 'no'); end"
    )
    with endpoint.engine.begin() as db:
        db.execute(sa.text(refuses if endpoint.sqlite else "alter table item add check (title <> 'refuse me')"))
    yield bench_of(endpoint, {"title": "refuse me"}, lambda size: monkeypatch.setattr(sql, "PAGE", size))
    endpoint.close()

"""The suite that every endpoint passes, over a server that an api file describes."""

from contextlib import closing
from pathlib import Path

import pytest

pytest.register_assert_rewrite("conformance")

from conformance import *  # noqa: E402, F403
from conformance import FIELDS, Bench  # noqa: E402
from databases import Clock  # noqa: E402
from http_server import Crud, serving  # noqa: E402

from connector.endpoints.http.adapter import Http  # noqa: E402
from connector.source import read  # noqa: E402

API = read(Path(__file__).parent / "apis" / "crud.yaml").tree


@pytest.fixture(scope="module")
def served():
    crud = Crud()
    with serving(crud) as (url, _):
        yield crud, url


@pytest.fixture
def bench(served):
    crud, url = served
    crud.rows.clear()
    crud.page = 200
    with closing(Http("home", {"api": API, "url": url, "auth": {"key": "k-123456"}}, clock=Clock())) as endpoint:
        bench = Bench(
            endpoint,
            "item",
            "title",
            "note",
            FIELDS,
            group=("address", "city", "street"),
            refused={"title": "refuse me"},
            pages=lambda size: setattr(crud, "page", size),
        )
        bench.seed_stamps = lambda stamps: bench.seed(*({"updated_at": stamp} for stamp in stamps))
        yield bench

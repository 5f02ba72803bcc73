"""A clock, and fresh databases: a SQLite file, and a PostgreSQL schema where a server answers."""

import os
import uuid
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

POSTGRESQL = os.environ.get("CONNECTOR_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")


class Clock:
    def __init__(self):
        self.at = datetime(2025, 3, 10, 15, tzinfo=UTC)

    def now(self):
        return self.at

    def sleep(self, seconds):
        pass


@pytest.fixture
def schema():
    """The URL of a schema of PostgreSQL that only this test has."""
    name = f"test_{uuid.uuid4().hex}"
    url = sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.begin() as db:
            db.execute(sa.schema.CreateSchema(name))
    except sa.exc.OperationalError:
        pytest.skip("no PostgreSQL answers; CONNECTOR_TEST_POSTGRESQL names one")
    yield url.update_query_dict({"options": f"-c search_path={name}"}).render_as_string(hide_password=False)
    with engine.begin() as db:
        db.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("schema")

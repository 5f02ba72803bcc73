"""Remembers every SOQL text that the tests send to a sandbox org; what looks at all of them runs last. Skips say why.

And looks, at the end, for secrets in what the whole suite has logged, and in every store and report that it has left.
"""

import logging
import re
import signal
from collections import Counter

import pytest

from connector.sandbox import Org

SENT: list[list[str]] = []  # the lists that the orgs keep
SECRET = re.compile(rb"canary-[\w-]+|00DSb\w{10}![\w-]{60}|5Aep8[\w-]{76}")
"""What tests call their secrets, and how the sandbox org's access and refresh tokens look."""
LEFT = ("**/.connector/*", "**/state.db*", "**/connector-bug-*")
FOUND = Counter()


class Canaries(logging.Handler):
    def emit(self, record):
        if not record.name.startswith("connector.sandbox"):
            FOUND.update({f"the log of {record.name}": len(SECRET.findall(self.format(record).encode()))})


def pytest_configure(config):
    config.addinivalue_line("markers", "last: runs after all others")
    logging.getLogger().addHandler(Canaries())
    # In the background of a shell without job control SIGINT is ignored, by all that the tests start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session):
    folder = session.config._tmp_path_factory._basetemp
    for pattern in LEFT if folder else ():
        for file in filter(lambda file: file.is_file(), folder.glob(pattern)):
            FOUND[str(file)] += len(SECRET.findall(file.read_bytes()))
    if FOUND.total():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", ())
    for reason, count in Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped).items():
        terminalreporter.write_line(f"{count} skipped: {reason}")
    for where, count in FOUND.items():
        if count:
            terminalreporter.write_line(f"{count} secrets in {where}", red=True)


@pytest.fixture(scope="session", autouse=True)
def _remembered():
    made = Org.__init__

    def init(self, *given, **options):
        made(self, *given, **options)
        SENT.append(self.queries)

    Org.__init__ = init
    yield
    Org.__init__ = made


@pytest.fixture(scope="session")
def sent():
    """Every SOQL text that was sent so far."""
    return lambda: sorted({text for queries in SENT for text in queries})

"""Remembers every SOQL text that the tests send to a sandbox org; what looks at all of them runs last. Skips say why."""

from collections import Counter

import pytest

from connector.sandbox import Org

SENT: list[list[str]] = []  # the lists that the orgs keep


def pytest_configure(config):
    config.addinivalue_line("markers", "last: runs after all others")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", ())
    for reason, count in Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped).items():
        terminalreporter.write_line(f"{count} skipped: {reason}")


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

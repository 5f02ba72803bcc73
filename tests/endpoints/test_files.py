"""Files of records, fetched over HTTP: whatever their host answers concerns one record, and is made up for later."""

import gzip
import socket
import sqlite3
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from http_server import Answer, serving

from connector import canon, project, shape, spec
from connector.endpoints import files
from connector.sandbox import Org, fixtures, serve
from connector.source import parse
from connector.state import Store

ROOT = Path(__file__).parent.parent.parent
HOME = "CREATE TABLE document (id TEXT PRIMARY KEY, improveit360_appointment_id, name, file_name, url, created_at)"
AUTH = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
VISIT = "i360core__Sales_Appointment__c"
PLAN = b"%PDF-1.4 " + bytes(1000)
WHOLE = Answer(PLAN, headers={"Content-Type": "application/pdf"})
PAGE = {"Content-Type": "text/html; charset=utf-8"}
CUT = {"Content-Length": str(len(PLAN)), "Connection": "close"}

WRONG = {
    "not there": (Answer(b"<h1>Not found</h1>", 404, PAGE), "rejected", "a.pdf answered 404, and no file"),
    "not allowed": (Answer(b"", 403), "rejected", "a.pdf answered 403, and no file"),
    "a page to sign in": (Answer(b"<html>Sign in</html>", headers=PAGE), "rejected", "a page of HTML, and no file"),
    "elsewhere": (Answer(b"", 302, {"Location": "https://evil.example.com/"}), "rejected", "302, a redirect"),
    "too large": (Answer(bytes(3 << 20)), "rejected", "more than 2 MB"),
    "too large, packed": (
        Answer(gzip.compress(bytes(3 << 20)), headers={"Content-Encoding": "gzip"}), "rejected", "more than 2 MB"
    ),
    "ends early": (Answer(PLAN[:500], headers=CUT), "unavailable", "was not answered in full"),
    "ends early, packed": (
        Answer(gzip.compress(PLAN)[:20], headers={"Content-Encoding": "gzip"}), "unavailable", "was not answered in full"
    ),
    "no answer": (Answer(drop=True), "unavailable", "was not answered in full"),
    "busy": (Answer(b"", 503), "unavailable", "not available at the moment"),
    "too many": (Answer(b"", 429, {"Retry-After": "3600"}), "rate_limited", "too many calls at the moment"),
}  # fmt: skip
ODD = {
    "no address": ("https://[x/a.pdf", "a file has no address: Invalid IPv6 URL"),
    "a line break": ("{url}/a\nb.pdf", "not an address"),
    "another port": ("http://127.0.0.1:9/a.pdf", "is not fetched"),
    "a user": ("http://me@{host}/a.pdf", "is not fetched"),
}


class Clock:
    def __init__(self):
        self.at = datetime(2026, 3, 2, tzinfo=UTC)

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


class Site:
    """Documents of OCC in a database, each at an address of `answers`, and the org they go to."""

    def __init__(self, folder):
        self.folder, self.clock, self.answers, self.told = folder, Clock(), {}, []
        self.org = Org(shapes=fixtures.shapes(ROOT / "mappings" / "shapes"), clock=self.clock.now)
        (self.visit,) = self.org.load([{"object": VISIT, "Name": "A-1"}])
        self.mapping = spec.mapping(parse((ROOT / "mappings" / "i360_lightning.yaml").read_text("utf-8"), "m").tree)
        self.store = Store(f"sqlite:///{folder}/state.db")
        self.sql(HOME)

    def sql(self, text, *given):
        with closing(sqlite3.connect(self.folder / "occ.db")) as home, home:
            home.execute(text, given)

    def document(self, id_, address):
        row = (id_, self.visit, id_, f"{id_}.pdf", address, canon.text(self.clock.at))
        self.sql("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?)", *row)

    def run(self, files_at, minutes=15):
        """(status, by record: outcome, reason, message)"""
        self.clock.at += timedelta(minutes=minutes)
        systems = {
            "occ": {"adapter": "sql", "url": f"sqlite:///{self.folder}/occ.db", "files": [files_at]},
            "i360": {"adapter": "salesforce", "login": self.url, "auth": AUTH},
        }
        named = {"connection": "occ", "mapping": "i360_lightning", "enabled": True, "systems": systems}
        shapes = shape.load(ROOT / "mappings" / "shapes")
        found = project.Project(self.folder / "c.yaml", self.folder, self.mapping, spec.connection(named), shapes)
        ends, told = project.connect(found, self.store, self.clock), {}
        runner = project.Runner(
            found, ends, self.store, self.clock,
            told=lambda _flow, some: told.update({one.record: (one.outcome, one.reason, one.message) for one in some}),
        )  # fmt: skip
        (run,) = runner.run(["document"])
        for end in ends.values():
            end.close()
        return run.status, told

    @property
    def made(self):
        return sorted((row["Title"], row["ContentSize"]) for row in self.org.rows("ContentVersion"))

    def answer(self, asked):
        return self.answers.get(asked.path, WHOLE)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FETCHED", 2 << 20)
    made = Site(tmp_path)
    with closing(made.org), closing(made.store), serve(made.org) as made.url:
        yield made


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(files, "TIME", 0.5)
    monkeypatch.setattr(files, "SIGN", 0.5)


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_does_not_come_fails_its_record_alone_and_is_made_up_for(site, name):
    answer, reason, said = WRONG[name]
    with serving(site.answer) as (url, _):
        site.run(url)
        site.answers["/a.pdf"] = answer
        for id_, file in (("d1", "b.pdf"), ("d2", "a.pdf"), ("d3", "c.pdf")):
            site.document(id_, f"{url}/{file}")
        status, told = site.run(url)
        assert status == "partial"
        assert (told["d1"][0], told["d3"][0]) == ("created", "created")
        assert told["d2"][:2] == ("failed", reason)
        assert said in told["d2"][2]
        assert len(told["d2"][2]) < 300
        assert site.made == [("d1", len(PLAN)), ("d3", len(PLAN))]
        del site.answers["/a.pdf"]
        assert site.run(url)[1] == {"d2": ("created", None, "")}
        assert site.run(url, 24 * 60) == ("ok", {})
        assert len(site.made) == 3


@pytest.mark.parametrize("name", ODD)
def test_an_address_that_is_none_of_its_host_is_never_asked(site, name):
    address, said = ODD[name]
    with serving(site.answer) as (url, asked):
        site.run(url)
        site.document("d1", f"{url}/b.pdf")
        site.document("d2", address.format(url=url, host=url.partition("//")[2]))
        told = site.run(url)[1]
        assert told["d1"][0] == "created"
        assert told["d2"][:2] == ("failed", "rejected")
        assert said in told["d2"][2]
        assert [each.path for each in asked] == ["/b.pdf"]


def test_a_host_that_is_down_is_asked_once_in_a_run(site):
    with serving(site.answer) as (url, _):
        site.run(url)
    for n in range(3):
        site.document(f"d{n}", f"{url}/b.pdf")
    site.document("d3", "data:text/plain,hello")
    status, told = site.run(url)
    assert status == "partial"
    assert {told[f"d{n}"][1] for n in range(3)} == {"unavailable"}
    assert sum("not tried again" in message for _, _, message in told.values()) == 2
    assert told["d3"][0] == "created"
    assert site.made == [("d3", 5)]


def connections(listening):
    """How many calls a server has taken that nobody answers."""
    listening.setblocking(False)
    taken = 0
    with suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            taken += 1
    return taken


def test_a_host_that_is_silent_is_waited_for_once_in_a_run(site, short):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}"
        site.run(silent)
        for n in range(4):
            site.document(f"d{n}", f"{silent}/{n}.pdf")
        site.document("d4", "data:text/plain,hello")
        status, told = site.run(silent)
        assert connections(listening) == 2  # for the first file, and for a sign of life
    assert status == "partial"
    assert {told[f"d{n}"][:2] for n in range(4)} == {("failed", "unavailable")}
    assert all("no answer in time" in told[f"d{n}"][2] for n in range(4))
    assert sum("not tried again" in message for _, _, message in told.values()) == 3
    assert site.made == [("d4", 5)]
    with serving(site.answer) as (url, _):
        site.sql("UPDATE document SET url = replace(url, ?, ?)", silent, url)
        assert {one[0] for one in site.run(url)[1].values()} == {"created"}
    assert len(site.made) == 5


def test_an_address_that_is_not_answered_holds_no_other_file_up(site, short):
    done = threading.Event()

    def answer(asked):
        if asked.path == "/a.pdf":
            done.wait(5)
        return WHOLE

    with serving(answer) as (url, asked):
        site.run(url)
        for id_, file in (("d1", "a.pdf"), ("d2", "b.pdf"), ("d3", "a.pdf"), ("d4", "c.pdf")):
            site.document(id_, f"{url}/{file}")
        status, told = site.run(url)
        done.set()
    assert status == "partial"
    assert [told[f"d{n}"][0] for n in range(1, 5)] == ["failed", "created", "failed", "created"]
    assert told["d3"][2].endswith("a.pdf was not answered in full: no answer in time")
    assert [each.path for each in asked] == ["/a.pdf", "/b.pdf", "/a.pdf", "/c.pdf"]


def test_a_page_of_html_may_be_the_file(site):
    with serving(lambda _: Answer(b"<html></html>", headers=PAGE)) as (url, _):
        site.run(url)
        site.document("d1", f"{url}/Offer.HTML?v=2")
        assert site.run(url)[0] == "ok"
    assert site.made == [("d1", 13)]

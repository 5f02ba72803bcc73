"""What is wrong around a run, each with one message that says what and what to do, the exit code, and nothing lost.

0 fine, 1 findings or failed records, 2 could not run, 3 a bug of ours. Nobody is ever shown a traceback.
"""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from connector import canon, project
from connector.cli import main
from connector.demo.hatch import HOME, SYSTEMS
from connector.sandbox import Org, fixtures, serve

SHAPES = fixtures.shapes(fixtures.recorded_shapes())
MAPPING = fixtures.recorded_shapes().parent / "i360_classic.yaml"
CONNECTION = (
    """\
connection: acme
mapping: {mapping}
enabled: true
schedule: {{every: 15m}}
"""
    + SYSTEMS
)
PROSPECT = str(canon.id18("a01P00000000001"))
SECRETS = {"I360_CLIENT_ID": "sandbox", "I360_CLIENT_SECRET": "sandbox"}


def ago(minutes):
    return canon.text((datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0))


MADE = ago(100)


def prospects(count, minutes=5):
    return [
        {
            "object": "i360__Prospect__c",
            "Id": str(canon.id18(f"a01P{n:011d}")),
            "CreatedDate": MADE,
            "LastModifiedDate": ago(minutes),
            "i360__Primary_Last_Name__c": f"Name {n}",
        }
        for n in range(1, count + 1)
    ]


@dataclass
class Site:
    """A project in a folder, an org, a database, and the command."""

    folder: Path
    open: ExitStack
    org: Org | None = None
    url: str = ""
    environ: dict = field(default_factory=lambda: dict(SECRETS))

    @property
    def file(self):
        return self.folder / "connections" / "acme.yaml"

    @property
    def state(self):
        return self.folder / ".connector" / "state.db"

    def write(self, text):
        self.file.write_text(text, encoding="utf-8")

    def change(self, old, new):
        text = self.file.read_text("utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def mapping(self, old, new):
        """The mapping becomes a file of the project's, changed."""
        text = MAPPING.read_text("utf-8")
        assert old in text
        (self.folder / "classic.yaml").write_text(
            text.replace(old, new).replace("mapping: i360_classic", "mapping: classic"), encoding="utf-8"
        )
        (self.folder / "shapes").mkdir(exist_ok=True)
        for shape in SHAPES:
            (self.folder / "shapes" / f"{shape['name']}.json").write_text(json.dumps(shape), encoding="utf-8")
        self.change("mapping: i360_classic", "mapping: ../classic.yaml")

    def serve(self, shapes=SHAPES, **options):
        """The org, on the same rows: with other shapes, another limit."""
        self.open.close()
        self.org = Org(shapes=shapes, path=self.folder / "org.db", **options)
        self.open.callback(self.org.close)
        old, self.url = self.url, self.open.enter_context(serve(self.org))
        if self.file.exists():
            self.change(old, self.url)

    def sql(self, text):
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db:
            db.executescript(text)

    def note(self):
        now = canon.text(datetime.now(UTC))
        self.sql(f"INSERT INTO contact_note VALUES ('n1', '{PROSPECT}', 'Hello', '{now}')")

    def count(self, table="opportunity"):
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def connector(self, *command):
        result = CliRunner().invoke(main, list(command), env=self.environ)
        said = re.sub(r"\s+", " ", result.output)
        return result.exit_code, said

    def command(self, *command, **more):
        """In a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "connector", *command],
            cwd=self.folder,
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )


class Calls(list):
    """The org's list of calls, with something that happens at the nth of them."""

    def __init__(self, nth, happens):
        self.nth, self.happens = nth, happens

    def append(self, call):
        super().append(call)
        if len(self) == self.nth:
            self.happens()


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "connections").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project.SystemClock, "sleep", lambda _self, _seconds: None)
    for name in (*SECRETS, "CONNECTOR_STATE"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as open_:
        made = Site(tmp_path, open_)
        made.serve()
        made.org.load(prospects(3))
        made.write(CONNECTION.format(url=made.url, mapping="i360_classic"))
        made.sql(HOME)
        yield made


# ---- one line each: what is wrong, the command, its exit code, and what it must say ---------------------------


def without(name, field=None):
    """The recorded shapes less an object, or less a field of it."""
    some = [shape for shape in SHAPES if field or shape["name"] != name]
    return [
        {**shape, "fields": [one for one in shape["fields"] if one["name"] != field]}
        if shape["name"] == name
        else shape
        for shape in some
    ]


def ran(change):
    """A first run has gone well; then this changes, and there are new rows."""

    def changed(site):
        assert site.connector("run", "acme")[0] == 0
        site.org.load(prospects(2, minutes=1))
        change(site)

    return changed


def objects(**directions):
    listed = ", ".join(f"{name}: {{direction: {way}}}" for name, way in directions.items())
    return lambda site: site.change("systems:", f"objects: {{{listed}}}\nsystems:")


def put(name, content):
    def write(site):
        file = site.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def state_sql(statement):
    def change(site):
        with closing(sqlite3.connect(site.state)) as db:
            db.execute(statement)
            db.commit()

    return ran(change)


def fixed_tables(site):
    site.change("create_tables: true", "create_tables: false")


RUN = "run acme"
CASES = {
    # files
    "wrong YAML": (put("connections/acme.yaml", "connection: acme\n  mapping: [x\n"), RUN, 2, ["acme.yaml:2:10", "yaml_syntax"]),
    "a tab": (put("connections/acme.yaml", "a: 1\n\tb: 2\n"), RUN, 2, ["acme.yaml:2:1", "use blanks"]),
    "not UTF-8": (put("connections/acme.yaml", b"connection: acm\xe9\n"), RUN, 2, ["save the file as UTF-8"]),
    "not UTF-8, linted": (put("connections/acme.yaml", b"connection: acm\xe9\n"), "lint", 1, ["save the file as UTF-8"]),
    "a folder": (lambda site: (site.folder / "connections" / "x.yaml").mkdir(), "run x", 2, ["x.yaml", "cannot be read"]),
    "unknown connection": (None, "run acmee", 2, ["no connection 'acmee'", "acme"]),
    "no connection": (lambda site: site.file.unlink(), RUN, 2, ["no connection 'acme'", "none in connections"]),
    "nothing to lint": (lambda site: site.file.unlink(), "lint", 2, ["no file here", "name one"]),
    "no status": (lambda site: site.file.unlink(), "status", 2, ["no file here", "name one"]),
    "nothing to test": (None, "test", 2, ["no file here", "name one"]),
    "no such file": (None, "lint nope.yaml", 1, ["nope.yaml", "no such file"]),
    "no such example file": (None, "test nope.yaml", 2, ["nope.yaml", "no such file"]),
    "a broken example": (
        put("mappings/tests/x.yaml", "mapping: i360_classic\nexamples:\n  - {id: a, says: x, basis: seed, given: {remot: []}, expect: {writes: []}}\n"),
        "test",
        2,
        ["x.yaml:3:", "remot", "did you mean remote?"],
    ),
    "no such option": (None, "run acme --dry", 2, ["No such option", "--dry"]),
    "no such command": (None, "rnu acme", 2, ["No such command", "rnu"]),
    # mapping and connection
    "wrong mapping": (lambda site: site.mapping("found: replace\n", "found: replaces\n"), RUN, 2, ["classic.yaml:35:14", "did you mean replace?"]),
    "a mapping for a connection": (lambda site: site.mapping("Hatch", "Hatch"), "run classic.yaml", 2, ["classic.yaml is no connection", "connection: classic"]),
    "an unnamed connection": (lambda site: site.change("connection: acme\n", ""), RUN, 2, ["acme.yaml:1:1", "the file needs connection"]),
    "no such mapping": (lambda site: site.change("i360_classic", "i360_clasic"), RUN, 2, ["acme.yaml:2:10", "did you mean i360_classic?"]),
    "unknown object": (objects(oportunity="pull"), RUN, 2, ["acme.yaml:5:11", "did you mean opportunity?"]),
    "unknown object, asked for": (None, "run acme opps", 2, ["no object 'opps'", "it has opportunity, contact_note, task"]),
    "widened direction": (objects(opportunity="both"), RUN, 2, ["lets opportunity pull only", "write pull or disabled"]),
    "a file for a database": (lambda site: site.mapping("    fields:\n      email:", "    fields:\n      photo: {file: appointment.Name}\n      email:"), RUN, 2, ["acme.yaml:6:20", "opportunity writes a file to photo of opportunity, and an SQL system takes no files", "direction: disabled"]),
    "paused": (lambda site: site.change("enabled: true", "enabled: false"), RUN, 0, ["switched off (enabled: false in acme.yaml)"]),
    "paused, previewed": (
        lambda site: site.change("enabled: true", "enabled: false"), "preview acme", 0, ["switched off (enabled: false in acme.yaml)", "Nothing was written"]
    ),
    "disabled, previewed": (objects(opportunity="disabled"), "preview acme opportunity", 0, ["the connection says direction: disabled", "Nothing was written"]),
    "disabled": (objects(opportunity="disabled"), "run acme opportunity", 0, ["opportunity flows neither way", "the connection says"]),
    "all disabled": (objects(opportunity="disabled", contact_note="disabled", task="disabled"), RUN, 0, ["nothing is enabled"]),
    "no secret": (lambda site: site.environ.update(I360_CLIENT_SECRET=None), RUN, 2, ["acme.yaml:10:", "I360_CLIENT_SECRET is not set", "export I360_CLIENT_SECRET="]),
    "a password in the file": (
        lambda site: site.change("sqlite:///hatch.db", "postgresql://me:hunter2@127.0.0.1:9/x"), RUN, 2, ["holds a password", "write ${env:NAME}"]
    ),
    # the org
    "unreachable": (lambda site: site.change(site.url, "http://127.0.0.1:9"), RUN, 2, ["source_unavailable: no connection to 127.0.0.1:9: Connection refused", "is the address right", "target_unavailable", "(as for opportunity, not tried again)"]),
    "wrong client secret": (lambda site: site.environ.update(I360_CLIENT_SECRET="no"), RUN, 2, ["not_authenticated", "client id or secret", "check the connection's secrets"]),
    "tokens revoked": (ran(lambda site: site.org.revoke_tokens()), RUN, 0, ["opportunity pull ok 2 updated"]),
    "always 503": (lambda site: site.org.fault(status=503, times=None), RUN, 2, ["source_unavailable", "503", "not available at the moment", "(as for opportunity, not tried again)"]),
    "the day's calls are used up": (lambda site: site.org.fault(status=403, times=None), RUN, 2, ["rate_limited", "24 hours are used up", "calls work again"]),
    "the day's calls end midway": (lambda site: site.serve(api_limit=2), RUN, 2, ["rate_limited", "24 hours are used up"]),
    "a mapped field is gone": (
        ran(lambda site: site.serve(without("i360__Prospect__c", "i360__Primary_Email__c"))),
        RUN,
        2,
        ["opportunity unknown_field", "i360__Prospect__c has no field i360__Primary_Email__c", "contact_note push ok", "task push ok"],
    ),
    "another field is gone": (ran(lambda site: site.serve(without("i360__Prospect__c", "i360__Home_City__c"))), RUN, 0, ["opportunity pull ok 2 updated"]),
    "an object is gone": (ran(lambda site: site.serve(without("i360__Project__c"))), RUN, 2, ["has no object i360__Project__c", "contact_note push ok"]),
    "the target object is gone": (ran(lambda site: (site.note(), site.serve(without("Note")))), RUN, 1, ["contact_note push partial 1 failed", "sObject type 'Note' is not supported", "opportunity pull ok"]),
    # databases
    "no such table": (fixed_tables, RUN, 2, ["no table 'opportunity'", "set `create_tables: true`, or create it", "CREATE TABLE opportunity", "task push ok"]),
    "no such column": (
        lambda site: (fixed_tables(site), site.sql("CREATE TABLE opportunity (id INTEGER PRIMARY KEY, external_id TEXT)")),
        RUN,
        2,
        ["has no column 'email'", "ALTER TABLE opportunity ADD COLUMN email", "task push ok"],
    ),
    "no source table": (lambda site: site.sql("DROP TABLE contact_note"), RUN, 2, ["contact_note unknown_field", "no table 'contact_note'", "opportunity pull ok 3 created"]),
    "no database": (put("hatch.db", b"garbage" * 1000), RUN, 2, ["file is not a database", "check `url`"]),
    # the state
    "no URL": (lambda site: site.environ.update(CONNECTOR_STATE="here"), RUN, 2, ["CONNECTOR_STATE: 'here' is not a database URL", "write sqlite:///"]),
    "no driver": (lambda site: site.environ.update(CONNECTOR_STATE="oracle://x/y"), RUN, 2, ["no driver", "write sqlite:///"]),
    "no server": (
        lambda site: site.environ.update(CONNECTOR_STATE="postgresql+psycopg://me:hunter2@127.0.0.1:9/x"), RUN, 2, ["me:***@127.0.0.1", "check that the database runs"]
    ),
    "a state that is a folder": (lambda site: site.environ.update(CONNECTOR_STATE=f"sqlite:///{site.folder}"), RUN, 2, ["check the path and the rights"]),
    "a folder that cannot be made": (lambda site: site.environ.update(CONNECTOR_STATE="sqlite:////proc/x/state.db"), RUN, 2, ["/proc/x/state.db", "the folder cannot be made"]),
    "garbage as state": (put(".connector/state.db", b"garbage" * 1000), RUN, 2, ["state.db", "restore a backup, or move it away"]),
    "half a state": (ran(lambda site: os.truncate(site.state, site.state.stat().st_size // 2)), RUN, 2, ["damaged", "restore a backup, or move it away"]),
    "a newer state": (state_sql("UPDATE meta SET value = '99'"), RUN, 2, ["newer version of connector (99)", "install that one"]),
    "a much newer state": (state_sql("UPDATE meta SET value = '2.1'"), RUN, 2, ["newer version of connector (2.1)"]),
    "somebody's database as state": (state_sql("DROP TABLE outcome"), RUN, 0, ["2 updated"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(site, name):
    change, command, code, words = CASES[name]
    if change:
        change(site)
    got, said = site.connector(*command.split())
    assert got == code, said
    for word in words:
        assert word in said
    assert "Traceback" not in said
    assert "hunter2" not in said
    assert not list(site.folder.glob("connector-bug-*"))


@pytest.mark.parametrize("name", ["no such table", "no such column"])
def test_a_target_that_lacks_something_is_told_before_a_row_is_read(site, name):
    CASES[name][0](site)
    site.connector("run", "acme", "opportunity")
    assert site.org.queries == []


@pytest.mark.parametrize(
    "name", ["unreachable", "wrong client secret", "always 503", "the day's calls end midway", "no such table", "no database"]
)  # fmt: skip
def test_nothing_is_lost_by_it(site, name):
    """What failed is done by the next run, once the cause is gone; the log says what the cause was."""
    file, home = site.file.read_text("utf-8"), (site.folder / "hatch.db").read_bytes()
    CASES[name][0](site)
    site.connector("run", "acme")
    site.write(file)
    site.environ = dict(SECRETS)
    if name == "no database":
        (site.folder / "hatch.db").write_bytes(home)
    site.change(re.search(r"http://[\d.:]+", file)[0], "here")
    site.url = "here"
    site.serve()
    site.org.faults.waiting.clear()
    _, said = site.connector("log", "acme", "--failed")
    assert "error" in said
    code, said = site.connector("run", "acme")
    assert (code, site.count()) == (0, 3), said


def test_a_token_that_ends_within_the_run_is_renewed(site):
    site.serve(token_seconds=0.05)
    for _ in range(3):
        code, said = site.connector("run", "acme")
        assert code == 0, said
    assert site.count() == 3
    assert len([path for _, path, _ in site.org.calls if path.endswith("/token")]) >= 3


def test_an_org_that_answers_html(site):
    class Html(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = b"<html><body>Down for <b>maintenance</b></body></html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Html)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.change(site.url, f"http://127.0.0.1:{server.server_address[1]}")
    code, said = site.connector("run", "acme")
    server.shutdown()
    thread.join()
    server.server_close()
    assert code == 2
    assert "source_unavailable" in said
    assert "not JSON" in said
    assert "Traceback" not in said


def test_a_connection_that_is_spoiled_while_it_runs_stops_before_the_next_batch(site):
    good = site.file.read_text("utf-8")
    site.org.calls = Calls(3, lambda: site.write("connection: acme\n  x: ["))
    code, said = site.connector("run", "acme", "opportunity")
    assert code == 2
    assert "invalid_spec" in said
    assert "acme.yaml:2:" in said
    site.write(good)
    code, said = site.connector("run", "acme", "opportunity")
    assert (code, site.count()) == (0, 3), said


def test_a_bug_of_ours_is_a_report_and_not_a_traceback(site, monkeypatch):
    monkeypatch.setattr(project.Runner, "run", lambda *_given: 1 / 0)
    code, said = site.connector("run", "acme")
    assert code == 3
    assert "bug of connector" in said
    assert "Traceback" not in said
    (report,) = site.folder.glob("connector-bug-*.txt")
    assert "ZeroDivisionError" in report.read_text("utf-8")


# ---- processes: signals, pipes, disks, two at once ------------------------------------------------------------


def ended(process):
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("sent", "code", "said"), [(signal.SIGINT, 130, "stopped; what was committed stays"), (signal.SIGTERM, -15, "")]
)
def test_a_run_that_is_stopped_goes_on_the_next_time(site, sent, code, said):
    def stop():
        process.send_signal(sent)
        time.sleep(0.3)  # the answer does not come: the process is waiting for it when the signal does

    site.org.calls = Calls(4, stop)
    process = site.command("run", "acme", "opportunity")
    got, out, err = ended(process)
    assert (got, out) == (code, "")
    assert said in err
    assert len(err.split("\n")) <= 3  # one line; the first one ends the line with the ^C
    code, said = site.connector("run", "acme")
    assert (code, site.count()) == (0, 3), said


def test_the_reader_of_the_output_leaves(site):
    site.connector("run", "acme")
    process = site.command("log", "acme")
    process.stdout.close()  # before the process can have begun to write
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_is_full_is_no_bug():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "connector", "schema"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the output: No space left on device" in done.stderr


def test_a_folder_that_cannot_be_made_is_named(site):
    (site.folder / "taken").write_text("x", encoding="utf-8")
    code, said = site.connector("demo", "taken/demo")
    assert (code, "taken/demo" in said, "check the path" in said) == (2, True, True), said


def test_two_runs_at_once(site):
    reached, go_on = threading.Event(), threading.Event()

    def hold():
        reached.set()
        go_on.wait(30)

    site.org.calls = Calls(3, hold)
    first = site.command("run", "acme", "opportunity")
    assert reached.wait(30)
    code, said = site.connector("run", "acme", "opportunity")
    go_on.set()
    assert (code, "already running" in said) == (0, True), said
    assert ended(first)[0] == 0
    assert site.count() == 3


def filled(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("limit", [20_000, 150_000, 400_000])
def test_a_disk_that_is_full(site, limit):
    """No file may grow past the limit: the state cannot be made, or the database or the state cannot grow."""
    site.org.load(prospects(400))
    got, out, err = ended(site.command("run", "acme", "opportunity", preexec_fn=filled(limit)))
    assert got == 2, out + err
    assert re.search("disk (is full|I/O error)", out + err), out + err
    code, said = site.connector("run", "acme", "opportunity")
    assert (code, site.count()) == (0, 400), said

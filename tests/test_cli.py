"""Every verb through the command, in a project like the demo's: a sandbox org on real HTTP and two SQLite files."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connector import canon, spec
from connector.cli import _Progress, main
from connector.demo.hatch import HOME, SYSTEMS
from connector.errors import SpecError
from connector.sandbox import Org, serve

SHAPES = spec.shipped() / "shapes"
CONNECTION = (
    """\
connection: acme
mapping: i360_classic
enabled: true
schedule: {{every: 15m}}
objects:
  opportunity: {{direction: pull}}
  contact_note: {{direction: push}}
"""
    + SYSTEMS
)
APPOINTMENT, PROSPECT = "a02A00000000001IAA", "a01P00000000001IAA"
NOBODY = "a01P00000000009AAA"
"""Of no prospect: the org refuses a note on it."""
CONTENT = ("link", "version", "run", "outcome", "note", "intent", "stream")
"""Tables of the store that say what has happened; the rest is a cache."""


def ago(minutes: int) -> str:
    return canon.text((datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0))


@dataclass
class Site:
    """A project in a folder, the current one, with the org that it speaks to."""

    folder: Path
    org: Org
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.folder / "connections" / "acme.yaml"

    def __call__(self, *words: str) -> Result:
        done = CliRunner().invoke(main, [*words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        done = self(*words)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def home(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db, db:
            return db.execute(statement, values).fetchall()

    def tables(self) -> str:
        """The home database: its tables, indexes and rows."""
        with closing(sqlite3.connect(self.folder / "hatch.db")) as db:
            return hashlib.sha256("\n".join(db.iterdump()).encode()).hexdigest()

    def everything(self) -> str:
        """A hash of all that a run may change: the home database, the store, the org."""
        parts: list[Any] = [self.tables()]
        store = self.folder / ".connector" / "state.db"
        if store.exists():
            with closing(sqlite3.connect(store)) as db:
                parts += [sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in CONTENT]
        parts += [self.org.rows(name) for name in ("i360__Appointment__c", "i360__Prospect__c", "Note", "Task")]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text("utf-8")
        assert old in text
        self.file.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I360_CLIENT_ID", "sandbox")
    monkeypatch.setenv("I360_CLIENT_SECRET", "sandbox")
    monkeypatch.delenv("CONNECTOR_STATE", raising=False)
    (tmp_path / "connections").mkdir()
    with closing(sqlite3.connect(tmp_path / "hatch.db")) as home:
        home.executescript(HOME)
    org = Org(shapes=[json.loads(file.read_text("utf-8")) for file in SHAPES.glob("*.json")])
    stamps = {"CreatedDate": ago(5000), "LastModifiedDate": ago(5)}
    name = {"i360__Primary_First_Name__c": "Dana", "i360__Primary_Last_Name__c": "Reyes"}
    prospect = {"object": "i360__Prospect__c", "Id": PROSPECT, **name, **stamps, "LastModifiedDate": ago(5000)}
    appointment = {"object": "i360__Appointment__c", "Id": APPOINTMENT, "i360__Prospect__c": PROSPECT, **stamps}
    org.load([prospect, appointment])
    with serve(org) as url:
        made = Site(tmp_path, org)
        made.file.write_text(CONNECTION.format(url=url), "utf-8")
        yield made
    org.close()


def note(site: Site, id_: str, contact: str | None, text: str = "Called back") -> None:
    site.home("INSERT INTO contact_note VALUES (?, ?, ?, ?)", id_, contact, text, canon.text(datetime.now(UTC)))


# ---- run -------------------------------------------------------------------------------------------------


def test_run_writes_and_says_what_it_wrote(site: Site) -> None:
    done = site("run", "acme")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert re.search(r"^opportunity +pull +ok +1 created +\d+ API calls?$", done.stdout, re.MULTILINE)
    assert re.search(r"^contact_note +push +ok +nothing changed", done.stdout, re.MULTILINE)
    assert site.home("SELECT first_name FROM opportunity") == [("Dana",)]
    assert "nothing changed" in site("run", "acme", "opportunity").stdout


def test_run_as_one_document(site: Site) -> None:
    runs = site.json("run", "acme", "--json")
    assert [(run["object"], run["direction"], run["status"]) for run in runs] == [
        ("opportunity", "pull", "ok"),
        ("contact_note", "push", "ok"),
        ("task", "push", "ok"),
    ]
    counts = runs[0]["counts"]
    assert counts["read"] == sum(number for word, number in counts.items() if word != "read") == 1
    assert {"connection", "calls", "since", "until", "error", "code"} <= set(runs[0])


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_record_that_fails_is_exit_code_1(site: Site, as_json: list[str]) -> None:
    site("run", "acme")
    note(site, "n1", NOBODY)
    done = site("run", "acme", "contact_note", *as_json)
    assert done.exit_code == 1
    assert ("partial" in done.stdout) or json.loads(done.stdout)[0]["status"] == "partial"


def test_a_run_that_cannot_go_through_is_exit_code_2(site: Site) -> None:
    site.org.fault("i360__Appointment__c", verb="read", status=400, times=None)
    done = site("run", "acme", "opportunity")
    assert done.exit_code == 2
    assert "failed" in done.stdout
    assert json.loads(site("run", "acme", "opportunity", "--json").stdout)[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nobody"), "there is no connection 'nobody'"),
        (("run", "acme", "oportunity"), "has no object 'oportunity'; it has opportunity, contact_note, task"),
        (("preview", "acme", "oportunity"), "has no object"),
        (("direction", "acme", "opportunity.emial"), "opportunity has no field 'emial'"),
        (("log", "nobody"), "there is no connection"),
        (("status", "nobody"), "there is no connection"),
        (("runn", "acme"), "No such command"),
        (("run",), "Missing argument 'CONNECTION'"),
        (("run", "acme", "--jsn"), "No such option"),
        (("test", "-k", "zzz"), "no file here"),
        (("discover", "acme"), "Missing argument 'OBJECTS"),
        (("lint",), "connections/acme.yaml"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_on_stderr(site: Site, words: tuple[str, ...], said: str) -> None:
    if words == ("lint",):
        site.file.unlink()
        said = "there is no file here that fits"
    done = site(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_is_not_set_is_named_with_its_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("I360_CLIENT_SECRET")
    done = site("run", "acme")
    assert done.exit_code == 2
    assert re.search(r"acme\.yaml:13:\d+: I360_CLIENT_SECRET is not set; export I360_CLIENT_SECRET=", done.stderr)


def test_a_paused_connection_runs_nothing(site: Site) -> None:
    site.change("enabled: true", "enabled: false")
    done = site("run", "acme")
    assert done.exit_code == 0
    assert (
        len(re.findall(r"^(?:opportunity|contact_note|task) +paused +nothing was done", done.stdout, re.MULTILINE)) == 3
    )
    assert site.json("preview", "acme", "--json")["runs"][0]["status"] == "paused"
    assert {row["in_effect"] for row in site.json("status", "acme", "--json")} == {"nothing (enabled: false)"}
    assert {row["next"] for row in site.json("status", "acme", "--json")} == {None}


# ---- preview ---------------------------------------------------------------------------------------------


def test_preview_writes_nothing_before_the_first_run(site: Site) -> None:
    before = site.tables()
    assert "1 to create" in site("preview", "acme").stdout
    assert site.tables() == before
    with closing(sqlite3.connect(site.folder / ".connector" / "state.db")) as db:
        held = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in CONTENT}
    assert not {table for table, count in held.items() if count} - {"stream"}
    assert site.json("run", "acme", "--json")[0]["counts"]["created"] == 1


def test_preview_writes_nothing_after_a_run(site: Site) -> None:
    note(site, "n1", PROSPECT)
    site("run", "acme")
    site.org.edit("i360__Appointment__c", APPOINTMENT, {"i360__Result__c": "Sold"})
    note(site, "n2", PROSPECT)
    note(site, "n3", None)
    before = site.everything()
    texts = [site("preview", "acme").stdout, json.dumps(site.json("preview", "acme", "--json"))]
    texts.append(site("preview", "acme", "opportunity", "--all").stdout)
    assert site.everything() == before
    assert all("Sold" in text for text in texts)
    site("run", "acme")
    assert site.everything() != before


def test_preview_shows_each_field_old_and_new(site: Site) -> None:
    made = site("preview", "acme").stdout
    assert re.search(rf"^  \+ {APPOINTMENT}  Appointment \+ Prospect$", made, re.MULTILINE)
    assert re.search(r'^      first_name  "Dana"$', made, re.MULTILINE)
    assert made.endswith("Nothing was written.\n")
    site("run", "acme")
    site.org.edit("i360__Appointment__c", APPOINTMENT, {"i360__Result__c": "Sold"})
    changed = site("preview", "acme").stdout
    assert re.search(rf"^  ~ {APPOINTMENT}  Appointment \+ Prospect$", changed, re.MULTILINE)
    assert re.search(r'^      status  null -> "Sold"$', changed, re.MULTILINE)
    assert re.search(r'^      details\.appointment\.i360__Result__c  null -> "Sold"$', changed, re.MULTILINE)
    assert "first_name" not in changed
    document = site.json("preview", "acme", "--json")
    [record] = document["records"]
    assert (record["object"], record["direction"]) == ("opportunity", "pull")
    assert record["record"]["changed"]["status"] == [None, "Sold"]
    assert document["runs"][0]["counts"]["updated"] == 1


# ---- status, log, direction ------------------------------------------------------------------------------


def test_status_has_a_row_for_each_object(site: Site) -> None:
    site.change("contact_note: {direction: push}", "contact_note: {direction: disabled}")
    never = site("status", "acme").stdout.splitlines()
    assert re.split(r"\s{2,}", never[0]) == [
        *("CONNECTION", "OBJECT", "DIRECTION", "IN EFFECT", "LATEST", "NEXT", "LAST RUN"),
    ]
    assert [re.split(r"\s{2,}", line)[3] for line in never[1:]] == ["pull", "nothing (the connection)", "push"]
    assert all(line.endswith("never") for line in never[1:])
    site("run", "acme")
    [pulled, closed, pushed] = site.json("status", "acme", "--json")
    assert pulled["last_run"] == "ok: 1 created"
    assert pushed["last_run"] == "ok: nothing changed"
    assert (closed["latest"], closed["next"], closed["last_run"]) == (None, None, "never")
    assert canon.parse(pulled["next"]) - canon.parse(pulled["latest"]) == timedelta(minutes=15)
    assert [line.split()[0] for line in site("status").stdout.splitlines()[1:]] == ["acme"] * 3  # of every connection


def test_log_can_be_narrowed(site: Site) -> None:
    site("run", "acme")
    note(site, "n1", NOBODY)
    note(site, "n2", None)
    site("run", "acme", "contact_note")
    every = site.json("log", "acme", "--json")
    assert {(one["record"], one["outcome"]) for one in every["outcomes"]} == {
        (APPOINTMENT, "created"),
        ("n1", "failed"),
        ("n2", "skipped"),
    }
    assert {line["code"] for line in every["log"]} == {"rejected", "no_parent"}
    assert [one["record"] for one in site.json("log", "acme", "--failed", "--json")["outcomes"]] == ["n1"]
    one = site.json("log", "acme", "--record", "n2", "--json")
    assert {row["record"] for row in [*one["outcomes"], *one["log"]]} == {"n2"}
    assert len(site.json("log", "acme", "--limit", "1", "--json")["outcomes"]) == 1
    text = site("log", "acme").stdout
    assert re.search(r"n2 +skipped +no_parent: ", text)
    assert re.search(r"n1 +failed +rejected: .*next try ", text)
    assert site("log", "acme", "--record", "nobody").stdout == "The log is empty.\n"


LAYERS: dict[str, Callable[[Site], None]] = {
    "the mapping": lambda _site: None,
    "the connection": lambda site: site.change("opportunity: {direction: pull}", "opportunity: {direction: disabled}"),
    "enabled: false": lambda site: site.change("enabled: true", "enabled: false"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_direction_says_which_layer_decided(site: Site, layer: str) -> None:
    LAYERS[layer](site)
    rows = {row["object"]: row for row in site.json("direction", "acme", "--json")}
    assert list(rows) == ["opportunity", "contact_note", "task"]
    assert rows["opportunity"] == {
        "object": "opportunity",
        "pull": layer == "the mapping",
        "push": False,
        "decided_by": layer,
    }
    [one] = site.json("direction", "acme", "opportunity.email", "--json")
    assert one == rows["opportunity"] | {"object": "opportunity.email"}
    lines = site("direction", "acme").stdout.splitlines()
    assert lines[0].split() == ["OBJECT", "PULL", "PUSH", "DECIDED", "BY"]
    word = "yes" if layer == "the mapping" else "no"
    assert re.fullmatch(rf"opportunity +{word} +no +{layer}", lines[1])


# ---- lint, test, schema, discover ------------------------------------------------------------------------


def test_lint_of_a_project(site: Site) -> None:
    done = site("lint")
    assert (done.exit_code, done.stderr) == (0, "")
    assert site.json("lint", "--format", "json") == []
    site.change("direction: pull", "direction: pul")
    done = site("lint")
    assert done.exit_code == 1
    assert re.search(r"connections/acme\.yaml:6:\d+: error \[unknown_word\]", done.stdout)
    [finding] = site.json("lint", "--format", "json", code=1)
    assert (finding["code"], finding["line"]) == ("unknown_word", 6)
    assert site("run", "acme").exit_code == 2


def test_test_runs_example_files(site: Site) -> None:
    file = str(spec.shipped() / "tests" / "i360_classic.yaml")
    done = site("test", file, "-k", "H17", "-v")
    assert done.exit_code == 0
    assert re.search(r"^ok +H17\.a  Prospect e-mail null", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ passed, 0 failed$", done.stdout, re.MULTILINE)
    assert site("test", file, "-k", "H9", "--http").stdout == "2 passed, 0 failed\n"
    assert "none has 'zzz' in its id" in site("test", file, "-k", "zzz").stderr


def test_schema_is_the_grammar(site: Site) -> None:
    assert site.json("schema") == spec.grammar()
    assert site("schema", "--markdown").stdout.startswith("#")


def test_discover_records_shapes_that_lint_accepts(site: Site) -> None:
    (site.folder / "mappings").mkdir()
    (site.folder / "mappings" / "i360_classic.yaml").write_text(
        (spec.shipped() / "i360_classic.yaml").read_text("utf-8"), "utf-8"
    )
    site.change("mapping: i360_classic", "mapping: ../mappings/i360_classic.yaml")
    names = [
        *("i360__Appointment__c", "i360__Production_Activity__c", "i360__Project__c", "i360__Prospect__c"),
        *("Note", "Task"),
    ]
    done = site("discover", "acme", *names)
    assert done.exit_code == 0, done.output
    made = {name: Path("mappings", "shapes", f"{name}.json") for name in names}
    assert done.stdout.splitlines() == [str(file) for file in made.values()]
    assert site("lint", "mappings/i360_classic.yaml").exit_code == 0
    first = {name: file.read_bytes() for name, file in made.items()}
    site("discover", "acme", *reversed(names))
    assert {name: file.read_bytes() for name, file in made.items()} == first
    for name, text in first.items():
        told, recorded = json.loads(text), json.loads((SHAPES / f"{name}.json").read_text("utf-8"))
        fields = {one["name"]: one for one in told["fields"]}
        assert [one["name"] for one in told["fields"]] == sorted(fields)
        assert set(fields) == {one["name"] for one in recorded["fields"]}
        for one in recorded["fields"]:
            for key in ("type", "length", "calculated", "referenceTo", "relationshipName"):
                assert (fields[one["name"]].get(key) or None) == (one.get(key) or None), (name, one["name"], key)
    assert site("run", "acme").exit_code == 0


def test_discover_helps_where_old_shapes_stand_in_the_way(site: Site) -> None:
    shutil.copytree(spec.shipped(), site.folder / "mappings")
    site.change("mapping: i360_classic", "mapping: ../mappings/i360_classic.yaml")
    file = Path("mappings", "shapes", "i360__Prospect__c.json")
    for broken in ("{", file.read_text("utf-8").replace("Primary_Email__c", "Former_Email__c")):
        file.write_text(broken, "utf-8")
        assert site("run", "acme").exit_code == 2
        assert site("discover", "acme", file.stem).exit_code == 0
        assert site("run", "acme").exit_code == 0


def test_a_connection_is_the_same_from_the_folder_it_lies_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site("run", "acme").exit_code == 0
    monkeypatch.chdir(site.folder / "connections")
    assert "created" not in site("run", "./acme.yaml").stdout
    assert [file.name for file in Path().iterdir()] == ["acme.yaml"]


def test_discover_of_an_object_that_is_not_there(site: Site) -> None:
    done = site("discover", "acme", "Nothing__c")
    assert done.exit_code == 2
    assert "Nothing__c" in done.stderr


# ---- the command itself ----------------------------------------------------------------------------------

FRESH = """
import sys
from connector.cli import main
sys.argv = ["connector", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    code = ended.code
slow = sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "httpx", "starlette", "uvicorn", "jinja2"})
print(code or 0, *slow, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "loaded"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["lint", "--help"], set()),
        (["lint", str(spec.shipped() / "i360_classic.yaml")], set()),
        (["lint", str(spec.shipped() / "tests" / "i360_classic.yaml")], set()),
        (["schema"], set()),
    ],
    ids=lambda given: given[0] + str(len(given)) if isinstance(given, list) else "",
)
def test_what_asks_nobody_waits_for_no_library(tmp_path: Path, words: list[str], loaded: set[str]) -> None:
    """A fresh process: --help and lint import neither SQLAlchemy nor httpx nor Starlette."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *words], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    code, *slow = done.stderr.split()
    assert code == "0", done.stderr
    assert set(slow) == loaded


def test_help_lists_the_verbs_in_the_order_of_a_day(site: Site) -> None:
    said = site("--help").stdout
    verbs = re.findall(r"^  (\w+)  +\S", said[said.index("Commands:") :], re.MULTILINE)
    assert verbs == list(main.commands)
    assert all(site(verb, "--help").exit_code == 0 for verb in verbs)
    assert "..." not in said.partition("Commands:")[2]


class Terminal:
    """A stderr that counts as a terminal, or not."""

    def __init__(self, *, tty: bool) -> None:
        self.tty, self.text = tty, ""

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(("tty", "after"), [(True, 0.0), (True, 60.0), (False, 0.0)])
def test_progress_is_for_terminals_and_for_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, tty: bool, after: float
) -> None:
    stderr, shows = Terminal(tty=tty), tty and not after
    monkeypatch.setattr("sys.stderr", stderr)
    progress = _Progress("asking i360 ...", after)
    while shows and not stderr.text:
        sleep(0.01)
    progress.done()
    assert stderr.text.startswith("\r\033[Kasking i360 ...") == shows
    assert stderr.text.endswith("\r\033[K") == shows
    assert bool(stderr.text) == shows


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["test", str(spec.shipped() / "tests" / "i360_classic.yaml")], r"test: \d+ of \d+"),
        (["run", "acme"], r"opportunity: asking i360 \.\.\."),
    ],
)
def test_a_terminal_is_told_what_takes_long(site: Site, words: list[str], said: str) -> None:
    site.file.write_text(re.sub(r"http://[0-9.:]+", "http://127.0.0.1:9", site.file.read_text("utf-8")), "utf-8")
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "connector", *words], cwd=site.folder, stdout=subprocess.PIPE, stderr=other
    ) as command:
        os.close(other)
        seen = ""
        while not re.search(rf"\r\033\[K{said}", seen):
            seen += os.read(terminal, 1000).decode()
        command.send_signal(signal.SIGINT)
    os.close(terminal)


def test_output_to_a_closed_pipe_is_no_error(site: Site) -> None:
    command = f"{shlex.quote(sys.executable)} -m connector schema | head -n 1"
    shell = shutil.which("bash")
    if not shell:
        pytest.skip("no bash")
    done = subprocess.run([shell, "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


# ---- push, sync, link ------------------------------------------------------------------------------------


def test_push_writes_one_record_from_stdin(site: Site) -> None:
    note = {"id": "n9", "external_contact_id": PROSPECT, "text": "Called back", "updated_at": ago(1)}
    done = CliRunner().invoke(main, ["push", "acme", "contact_note"], input=json.dumps(note))
    assert (done.exit_code, [row["Body"] for row in site.org.rows("Note")]) == (0, ["Called back"])
    assert "1 created" in done.stdout


WHO = "one record of contact_note is wanted, with its id in id"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "stdin:1:2: not JSON"),
        ("[]", "one record is wanted"),
        ('[{"id": "n1"}, {"id": "n2"}]', "one record is wanted"),
        ('{"id": "n1"}\n{"id": "n2"}', "stdin:2:1: not JSON (Extra data)"),
        ('"n1"', "one record is wanted"),
        ("", "stdin is empty"),
        (" \n", "stdin is empty"),
        (b'{"id": "\xe9"}', "stdin: not UTF-8 (byte 9)"),
        ("[" * 200_000, "stdin: no record"),
        ('{"id": 1' + "0" * 5_000 + "}", "stdin: no record"),
        ('{"id": NaN}', "NaN is not JSON"),
        ("{}", WHO),
        ('{"text": "x"}', WHO),
        ('{"id": null}', WHO),
        ('{"id": " "}', WHO),
        ('{"id": true}', WHO),
        ('{"id": ["n1"]}', WHO),
        (r'{"id": "\ud800"}', WHO),
    ],
    ids=lambda given: repr(given)[:30],
)
def test_push_says_what_is_wrong_with_its_input(site: Site, text: str, said: str) -> None:
    done = CliRunner().invoke(main, ["push", "acme", "contact_note"], input=text)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert site.org.rows("Note") == []
    assert not list(Path().glob("connector-bug-*"))


def test_push_without_stdin_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SpecError, match="stdin is empty"):
        main.commands["push"].callback("acme", "contact_note", json_=False)


def test_push_takes_a_file_of_windows(site: Site) -> None:
    note = "\ufeff" + json.dumps(
        {"id": 9, "external_contact_id": PROSPECT, "text": "Called back", "updated_at": ago(1)}
    )
    done = CliRunner().invoke(main, ["push", "acme", "contact_note"], input=note)
    assert (done.exit_code, [row["Body"] for row in site.org.rows("Note")]) == (0, ["Called back"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("contact_note: {direction: push}", "contact_note: {direction: disabled}", "contact_note flows neither way"),
        ("enabled: true", "enabled: false", "switched off (enabled: false in acme.yaml)"),
    ],
)
def test_push_writes_nothing_that_is_switched_off(site: Site, old: str, new: str, said: str) -> None:
    site.change(old, new)
    note = {"id": "n9", "external_contact_id": PROSPECT, "text": "Called back", "updated_at": ago(1)}
    done = CliRunner().invoke(main, ["push", "acme", "contact_note"], input=json.dumps(note))
    assert (done.exit_code, site.org.rows("Note")) == (0, [])
    assert said in done.stdout


def test_push_names_the_objects_that_there_are(site: Site) -> None:
    done = CliRunner().invoke(main, ["push", "acme", "contact"], input='{"id": "1"}')
    assert done.exit_code == 2
    assert "no object 'contact'; it has opportunity, contact_note, task" in done.stderr


def test_push_takes_no_record_of_what_comes_from_the_remote_side(site: Site) -> None:
    done = CliRunner().invoke(main, ["push", "acme", "opportunity"], input="{}")
    assert done.exit_code == 2
    assert "opportunity comes from i360" in done.stderr


def test_sync_says_that_the_mapping_declares_none(site: Site) -> None:
    done = site("sync", "acme")
    assert done.exit_code == 2
    assert "i360_classic declares no sync" in done.stderr


def test_a_link_is_made_switched_off_on_and_removed(site: Site) -> None:
    assert "There are no links yet." in site("link", "acme").stdout
    site("link", "acme", "task", "t1", "00T000000000001AAA")
    assert site.json("link", "acme", "task", "--json") == [
        {"object": "task", "home": "t1", "remote": "00T000000000001AAA", "made": "manual", "active": True}
    ]
    site("link", "acme", "task", "t1", "00T000000000002AAA")
    (link,) = site.json("link", "acme", "task", "--json")
    assert link["remote"] == "00T000000000002AAA"
    site("link", "acme", "task", "t1", "--off")
    assert [link["active"] for link in site.json("link", "acme", "--json")] == [False]
    site("link", "acme", "task", "t1", "--on")
    assert [link["active"] for link in site.json("link", "acme", "--json")] == [True]
    assert site("link", "acme", "task", "t1", "--remove").exit_code == 0
    assert site.json("link", "acme", "--json") == []


def test_an_id_of_fifteen_characters_is_that_of_eighteen(site: Site) -> None:
    """Salesforce's own pages show it so, and its API does not."""
    site("link", "acme", "task", " t1 ", "00T000000000001")
    (link,) = site.json("link", "acme", "task", "--json")
    assert (link["home"], link["remote"]) == ("t1", "00T000000000001EAA")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tsk",), "has no object or lookup 'tsk'"),
        (("task", "t1"), "needs both ids"),
        (("task", "t1", "--off"), "task t1 is not linked"),
        (("task", "t1", "00T000000000001AAA", "--on"), "task t1 is not linked to 00T000000000001AAA"),
        (("task", "--off"), "--off needs OBJECT and HOME"),
        (("--remove",), "--remove needs OBJECT and HOME"),
        (("task", "", "00T000000000001AAA"), "the id of a record at hatch is wanted"),
        (("task", "t1", " "), "the id of a record at i360 is wanted"),
        (("task", "\ud800", "00T000000000001AAA"), "the id of a record at hatch is wanted"),
    ],
)
def test_link_says_what_is_wrong(site: Site, words: tuple[str, ...], said: str) -> None:
    done = site("link", "acme", *words)
    assert done.exit_code == 2
    assert said in done.stderr

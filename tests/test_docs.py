"""What the documents say is true: their YAML lints, their commands exist, the tutorial runs as it is printed."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from msgspec import structs

from connector import __version__, engine, errors, plan, shape, source, spec, state
from connector.auth import auth
from connector.cli import main
from connector.endpoints import connect
from connector.lint import check_source, render_text
from connector.sandbox import Org, serve
from connector.sandbox.cli import sandbox
from connector.sandbox.oauth.assertion import public_key
from connector.state import Store
from connector.world import World

ROOT = Path(__file__).parent.parent
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}
MAPPING = (ROOT / "mappings" / "i360_classic.yaml").read_text("utf-8")
VERBS = {**main.commands, "sandbox": sandbox}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Every fenced block of these languages, in order of pages and lines."""
    found = []
    for page, text in TEXTS.items():
        for match in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if match[1] in languages:
                found.append(Block(page, text[: match.start()].count("\n") + 1, match[1], match[2]))
    return found


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def commands() -> list[tuple[str, str]]:
    """(where, command) of every connector and make command that a page shows, in blocks and in running text."""
    found = []
    for block in blocks("console"):
        found += [(block.id, command) for command, _ in steps(block.text)]
    for block in blocks("sh", "crontab"):
        found += [(block.id, line.partition(" # ")[0]) for line in block.text.splitlines()]
    for page, text in TEXTS.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        found += [(page, code) for code in re.findall(r"`((?:connector|make) [^`\n]+)`", prose)]
    split = [(where, part.strip()) for where, line in found for part in re.split(r"&&|\||;", line)]
    return [(where, part) for where, part in split if part.startswith(("connector ", "make "))]


# ---- YAML ------------------------------------------------------------------------------------------------


KINDS = {"mapping", "connection", "api", "examples"}


def _whole(block: Block) -> bool:
    tree = source.parse(block.text).tree
    return isinstance(tree, dict) and bool(KINDS & set(tree))


WHOLE = [block for block in blocks("yaml") if _whole(block)]
PARTS = [block for block in blocks("yaml") if block not in WHOLE and block.page == "README.md"]


@pytest.mark.parametrize("block", WHOLE, ids=lambda block: block.id)
def test_every_mapping_connection_and_example_file_shown_is_clean(block):
    """But for the one mistake that the tutorial makes on purpose and corrects."""
    shapes = shape.load(ROOT / "mappings" / "shapes")
    found = check_source(source.parse(block.text.replace("Emial", "Email")), shapes=shapes, folder=None)
    assert [finding for finding in found if finding.level != "note"] == []


def _nodes(node: Any) -> Iterator[Any]:
    """Every entry of a map as a map of one, and every item of a list."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield {key: value}
        yield from _nodes(value)
    for item in node if isinstance(node, list) else ():
        yield item
        yield from _nodes(item)


@pytest.mark.parametrize("block", PARTS, ids=lambda block: block.id)
def test_the_excerpts_shown_are_those_of_the_shipped_mapping(block):
    shipped = list(_nodes(source.parse(MAPPING).tree))
    shown = source.parse(block.text).tree
    for part in shown if isinstance(shown, list) else [{key: value} for key, value in shown.items()]:
        assert part in shipped


def test_the_page_about_apis_shows_the_shipped_file_and_says_what_lint_says():
    page = TEXTS["docs/apis.md"]
    assert (ROOT / "mappings" / "apis" / "hatch.yaml").read_text("utf-8") in page
    auth, *rest = (block.text for block in blocks("yaml") if block.page == "docs/apis.md" and block not in WHOLE)
    assert check_source(source.parse("".join(["api: page\n", auth, *rest]))) == []
    (said,) = (block.text for block in blocks("text") if block.page == "docs/apis.md")
    wrong = source.parse(
        'api: partner\nauth: {value: "Bearer {api_key}"}\nobjects:\n  staff:\n'
        + next(line for line in said.splitlines() if line.startswith("5 | "))[4:],
        "apis/partner.yaml",
    )
    assert render_text(check_source(wrong), [wrong]) == said


# ---- the pages about vendors ------------------------------------------------------------------------------


VENDORS = {"hatch": "i360_classic", "occ": "i360_lightning", "intouch": "staff_leadsource"}


def rules(page: str) -> list[tuple[str, str, list[str]]]:
    """What a vendor's page demands, the mapping, and the ids of what shows it, of every row of every table."""
    rows = [line.strip("|").split(" | ") for line in TEXTS[f"docs/{page}.md"].splitlines() if line.startswith("| ")]
    told = [(cells[0], cells[1], re.split(r",? +", cells[2].strip())) for cells in rows if len(cells) == 3]
    return [row for row in told if not row[1].startswith(("---", "the mapping"))]


def within(part: Any, whole: Any) -> bool:
    """The same, or the same as far as it goes."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    return part == whole


MAPPED = [
    (page, code) for page in VENDORS for _, cell, _ in rules(page) for code in re.findall(r"`([^`]*: [^`]+)`", cell)
]


@pytest.mark.parametrize(("page", "code"), MAPPED)
def test_the_mapping_that_a_vendors_page_shows_is_in_the_file(page, code):
    tree = source.read(ROOT / "mappings" / f"{VENDORS[page]}.yaml").tree
    shown = source.parse(code).tree
    assert any(within(shown, node) for node in [tree, *_nodes(tree), *_maps(tree)]), code


def _maps(node: Any) -> Iterator[Any]:
    """Every map of a tree, whole."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _maps(each)


@pytest.mark.parametrize("page", VENDORS)
def test_a_vendors_page_has_every_rule_and_every_id_on_it_is_shown_by_something(page):
    tree = source.read(ROOT / "mappings" / "tests" / f"{VENDORS[page]}.yaml").tree
    shown = {one["id"] for one in (*tree["examples"], *tree.get("statements", ()))}
    letter = next(iter(shown))[0]
    prose = re.sub(r"```.*?```", "", TEXTS[f"docs/{page}.md"], flags=re.DOTALL)
    named = set(re.findall(rf"\b{letter}\d+(?:\.\w+)?\b", prose))
    assert named - shown == set()
    assert {one["id"] for one in (*tree["examples"], *tree.get("statements", ())) if one["basis"] == "seed"} <= named
    assert not [row for row in rules(page) if not set(row[2]) <= shown]


def test_there_is_something_to_check():
    assert len(WHOLE) >= 6
    assert PARTS
    assert len(commands()) > 30


# ---- commands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "command"), sorted({(where, command) for where, command in commands()}))
def test_every_command_shown_exists(where, command):
    words = shlex.split(re.sub(r"\s[>2]+.*", "", command))
    if words[0] == "make":
        assert all(
            re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE) for target in words[1:]
        )
        return
    known: click.Command = main
    while isinstance(known, click.Group) and words[1:] and not words[1].startswith("-"):
        words = words[1:]
        inside = VERBS if known is main else known.commands
        assert words[0] in inside, f"{where}: {command}"
        known = inside[words[0]]
    if "--help" not in words and "--version" not in words:
        known.make_parser(click.Context(known)).parse_args(words[1:])  # raises NoSuchOption


def options() -> list[tuple[str, str]]:
    below = {f"{group.name} {name}": verb for group in (auth, sandbox) for name, verb in group.commands.items()}
    return [
        (name, max(option.opts, key=len))
        for name, verb in {**VERBS, **below}.items()
        for option in verb.params
        if isinstance(option, click.Option)
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_table_of_the_readme(verb):
    assert re.search(rf"^\| `connector {verb}[ `]", TEXTS["README.md"], re.MULTILINE)


@pytest.mark.parametrize(("verb", "option"), options())
def test_every_option_is_said_beside_its_verb(verb, option):
    said = [line for line in TEXTS["docs/operating.md"].splitlines() if f"`connector {verb}" in line]
    assert any(option in line for line in said)


def reasons() -> set[str]:
    """The words that outcomes and log lines carry, as the code spells them."""
    text = "".join((ROOT / "connector" / f"{name}.py").read_text("utf-8") for name in ("engine", "matching", "project"))
    found = set(re.findall(r'"(?:skipped|blocked|failed)", "(\w+)"', text)) | set(
        re.findall(r'Note\("\w+", "(\w+)"', text)
    )
    kinds = [errors.ConnectorError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if issubclass(kind, errors.EndpointError):
            found.add(kind.code)
    return found - {"failed", "blocked"} | {
        "source_unavailable",
        "target_unavailable",
        "already_running",
        "lease_lost",
        "no_parent",
    }


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_is_said_on_the_page_about_operating(reason):
    assert f"`{reason}`" in TEXTS["docs/operating.md"]


# ---- links -----------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_this_project_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:connector|tests|mappings|docs)/[\w/.\-]+)`", page.read_text("utf-8"))
    made = {"mappings/contacts.yaml", "mappings/tests/contacts.yaml", "mappings/tests/"}
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


def test_the_changelog_has_the_current_version():
    assert re.search(rf"^## \[{re.escape(__version__)}\]", TEXTS["CHANGELOG.md"], re.MULTILINE)


def test_the_whole_licence_is_there():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# ---- the way of one record --------------------------------------------------------------------------------


class Stopped:
    def now(self):
        return datetime(2025, 3, 10, 15, tzinfo=UTC)

    def sleep(self, seconds):
        raise AssertionError("nothing here waits")


def seen_on_the_way(folder: Path) -> dict[str, Any]:
    """What each hop hands to the next for the appointment of the examples: over HTTP, into SQLite."""
    describes = [json.loads(file.read_text("utf-8")) for file in sorted((ROOT / "mappings/shapes").glob("*.json"))]
    org = Org(describes, clock=Stopped().now)
    rows = source.read(ROOT / "mappings/tests/i360_classic.yaml").tree["rows"]
    org.load([rows["A1"], rows["P1"]])
    seen: dict[str, Any] = {}
    with serve(org, port=0) as url:
        auth = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
        i360 = {"adapter": "salesforce", "login": url, "auth": auth}
        hatch = {"adapter": "sql", "url": f"sqlite:///{folder}/hatch.db", "create_tables": True}
        store = Store(f"sqlite:///{folder}/state.db")
        ends = {
            "i360": connect("i360", i360, Stopped(), store.cache("i360")),
            "hatch": connect("hatch", hatch, Stopped(), store.cache("hatch")),
        }
        mapping = spec.mapping(source.parse(MAPPING).tree)
        connection = spec.connection({"connection": "acme", "mapping": "i360_classic", "systems": {}})
        flow = plan.flow(mapping, connection, shape.load(ROOT / "mappings/shapes"), "opportunity", "pull")

        def record(row: Any, why: Any) -> Any:
            seen["row"], seen["values"] = row, flow.record(row, why)
            return seen["values"]

        def write(changes: Any) -> Any:
            seen["change"] = changes[0]
            return to.write(changes)

        to = ends["hatch"]
        world = World(ends["i360"], Heard(to, write), store, Stopped())
        seen["run"] = engine.run(structs.replace(flow, record=record), world)
        store.close()
        for end in ends.values():
            end.close()
    with sqlite3.connect(folder / "state.db") as db:
        db.row_factory = sqlite3.Row
        for table in ("outcome", "link", "version", "stream"):
            (row,) = db.execute(f"SELECT * FROM {table}")
            seen[table] = dict(row)
    seen["link"]["key"] = json.loads(seen["link"]["key"])
    seen["stream"]["cursor"] = json.loads(seen["stream"]["cursor"])
    db.close()
    return seen


class Heard:
    """An endpoint whose writes are listened to."""

    def __init__(self, endpoint: Any, write: Any) -> None:
        self.endpoint, self.write = endpoint, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.endpoint, name)


def holds(shown: Any, got: Any) -> bool:
    if isinstance(shown, dict):
        return isinstance(got, dict) and all(name in got and holds(value, got[name]) for name, value in shown.items())
    return shown == got


def test_the_way_of_one_record_is_as_the_page_shows_it(tmp_path):
    row, values, change, stored = (json.loads(block.text) for block in blocks("json") if "architecture" in block.page)
    seen = seen_on_the_way(tmp_path)
    assert holds(row, seen["row"])
    assert holds(values, seen["values"])
    assert change == {name: getattr(seen["change"], name) for name in ("verb", "object", "id")}
    assert holds(stored, seen)
    assert seen["run"].counts["read"] == seen["run"].counts["created"] == 1


def test_the_tables_of_the_state_are_those_of_the_page():
    told = set(re.findall(r"^\| `(\w+)` \|", TEXTS["docs/architecture.md"], re.MULTILINE))
    assert told == set(state.tables.metadata.tables)


def imported(file: Path) -> set[str]:
    """The modules of ours that a module imports, by their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "connector":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connector."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("connector.")}
    return found


def test_every_module_is_in_the_list_and_imports_only_what_stands_before_it():
    (listing,) = (block.text for block in blocks("text") if "architecture" in block.page)
    order = [
        name
        for line in listing.splitlines()[1:-1]
        for name in re.findall(r"([a-z]+)(?:\.py|/)", re.split(r" {3,}", line.strip())[0])
    ]
    package = ROOT / "connector"
    modules = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert sorted(order) == sorted(path.stem for path in modules if not path.stem.startswith("__"))
    for path in modules:
        for file in [path] if path.suffix else path.rglob("*.py"):
            above = order[: order.index(path.stem) + 1] if path.stem in order else order
            assert imported(file) - {"__version__"} <= set(above), file


def test_every_example_that_the_page_about_architecture_names_is_there():
    shown = TEXTS["docs/architecture.md"].partition("where it is shown")[2]
    ids = {example["id"] for example in source.read(ROOT / "mappings/tests/i360_classic.yaml").tree["examples"]}
    assert set(re.findall(r"`(H\d[\w.]*)`", shown)) <= ids


# ---- the tutorial ----------------------------------------------------------------------------------------


TUTORIAL = "docs/tutorial.md"


def pattern(printed: str) -> str:
    """What is shown as an expression: `...` alone is any lines, within a line it is any text."""
    lines = []
    for line in printed.strip("\n").split("\n"):
        lines.append(r"(?:[^\n]*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]*") + r"\n")
    return "".join(lines)


def test_the_tutorial_runs_as_it_is_printed(tmp_path):
    port = _free()
    shell = Shell(tmp_path, port)
    try:
        for block in blocks("yaml", "console"):
            if block.page != TUTORIAL:
                continue
            if block.language == "yaml":
                name = block.text.split("\n", 1)[0].removeprefix("# ")
                shell.save(name, block.text)
                continue
            for command, printed in steps(block.text):
                got = shell.type(command)
                assert re.fullmatch(pattern(printed), got + "\n" * (not got.endswith("\n"))), f"$ {command}\n{got}"
    finally:
        shell.close()


SIGNIN = "docs/signin.md"


def test_the_page_about_signing_in_runs_as_it_is_printed(tmp_path):
    """The org stands where the page says https://acme.my.salesforce.com; the person is the one who opens what is printed."""
    there, port = "https://acme.my.salesforce.com", _free()
    describes = [json.loads(file.read_text("utf-8")) for file in sorted((ROOT / "mappings/shapes").glob("*.json"))]
    app = {
        "secret": "secret-of-acme",
        "callbacks": [f"http://localhost:{port}/OauthRedirect"],
        "pkce": True,
        "rotate": True,
    }
    org = Org(describes, clients={"app-of-acme": app}, users=[{"username": "sync@acme.example.com"}])
    org.consent("allow")
    shell, file = Shell(tmp_path, port), tmp_path / "connections" / "acme.yaml"
    file.parent.mkdir()
    with serve(org) as url:
        for block in (block for block in blocks("yaml", "console") if block.page == SIGNIN):
            text = block.text.replace(there, url).replace("1717", str(port))
            if text.startswith("connection: acme\n"):
                file.write_text(text, "utf-8")
            elif text.startswith("auth: "):
                file.write_text(re.sub(r"    auth:(.|\n)*", f"    {text}", file.read_text("utf-8")), "utf-8")
            for command, printed in steps(text.replace("~", str(tmp_path))):
                got = shell.type(command, opens=_allow if "auth login" in command else None)
                got, shown = (re.sub(" {2,}", "  ", each) for each in (got, printed))
                assert re.fullmatch(pattern(shown), got + "\n" * (not got.endswith("\n"))), f"$ {command}\n{got}"
                if "openssl" in command:
                    key = public_key((tmp_path / "acme.crt").read_text())
                    org.sessions.clients["app-of-acme"] = replace(org.sessions.clients["app-of-acme"], key=key)
    org.close()


def test_every_sentence_about_signing_in_is_one_that_is_said():
    table = TEXTS[SIGNIN].partition("| it says |")[2].partition("\n\n")[0]
    said = [text for row in table.splitlines()[2:] for text in re.findall(r"`([^`]+)`", row.split("|")[1])]
    files = ("auth.py", "vault.py", "endpoints/salesforce/signin.py")
    code = "".join((ROOT / "connector" / file).read_text("utf-8") for file in files)
    assert len(said) > 10
    assert [text for text in said if text not in code] == []


def _allow(line: str) -> None:
    """Where a line is the address of a page: opens it, and goes where it leads."""
    if line.startswith("http"):
        httpx.get(httpx.get(line.strip()).headers["location"].replace("localhost", "127.0.0.1"))


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shell:
    """A reader's terminals: remembers `cd` and `export`, keeps the org running in the second one, at a port that is free."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        bin_ = Path(sys.executable).parent
        self.environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
        self.environment.pop("CONNECTOR_STATE", None)
        self.second: subprocess.Popen[str] | None = None

    def save(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text.replace("21600", str(self.port)), encoding="utf-8")

    def type(self, command: str, opens: Callable[[str], None] | None = None) -> str:
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return ""
        if words[0] == "export":
            self.environment |= dict(word.split("=", 1) for word in words[1:])
            return ""
        if command.startswith("connector sandbox --load"):
            return self.serve([*words, "--port", str(self.port)])
        if command.startswith("connector sandbox"):
            command += f" --url http://127.0.0.1:{self.port}"
        if opens:
            shown = []
            words = {"cwd": self.folder, "env": {**self.environment, "PYTHONUNBUFFERED": "1"}, "text": True}
            with subprocess.Popen(
                command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **words
            ) as run:
                for line in run.stdout:
                    shown.append(line)
                    opens(line)
            return "".join(shown)
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    def serve(self, words: list[str]) -> str:
        out = self.folder / "second-terminal"
        with out.open("w") as file:
            self.second = subprocess.Popen(
                words,
                cwd=self.folder,
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=file,
                text=True,
            )
        until = time.monotonic() + 30
        while "Ctrl-C" not in out.read_text() and time.monotonic() < until and self.second.poll() is None:
            time.sleep(0.05)
        return out.read_text().replace(str(self.port), "21600")

    def close(self) -> None:
        if self.second:
            self.second.terminate()
            self.second.wait(10)

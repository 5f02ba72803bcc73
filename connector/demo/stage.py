"""What the stories share: a folder made anew, an org with the shipped shapes, runs as the command line makes them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from connector import canon, project, report, spec
from connector.errors import SetupError
from connector.model import Flow, Outcome, Row
from connector.project import Runner
from connector.sandbox import Org, serve
from connector.state import Store

Say = Callable[[str], None]
Tell = Callable[[Path, int, Say], None]
"""A story: its folder, the port of its server, and where it is told."""

MARK = ".connector-demo"


def made(folder: Path, story: str, say: Say) -> Path:
    """The folder, empty but for its mark. Raises SetupError for one that is not a demo's."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            words = "connector demo FOLDER" if story == "hatch" else f"connector demo {story} FOLDER"
            raise SetupError(f"{folder} is there and is not a demo; name another folder: {words}")
        say(f"An earlier demo is in {folder}/; it is removed, and everything starts anew.\n")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "connections").mkdir(parents=True)
    (folder / MARK).touch()
    (folder / "schema.json").write_text(report.as_json(spec.grammar()), encoding="utf-8")
    return folder


@contextmanager
def org(folder: Path, rows: Iterable[Row], port: int) -> Iterator[tuple[Org, str]]:
    """A sandbox org with the shipped shapes, in a file of the folder, at its url; connections find their secrets."""
    described = [json.loads(file.read_text("utf-8")) for file in sorted((spec.shipped() / "shapes").glob("*.json"))]
    secrets = {"I360_CLIENT_ID": "sandbox", "I360_CLIENT_SECRET": "sandbox"}
    with closing(Org(shapes=described, path=folder / "org.db")) as here:
        here.load(rows)
        with serve(here, port=free(port)) as url, environment(secrets):
            yield here, url


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A SQLite file, for one transaction."""
    with closing(sqlite3.connect(file)) as home, home:
        yield home


class Stage:
    """A connection file with its state beside it, and chapters with numbers."""

    def __init__(self, file: Path, say: Say) -> None:
        self.file, self.say, self.folder = file, say, file.parent.parent
        self.seen: list[tuple[Flow, Outcome]] = []
        self.chapter = 0

    def head(self, title: str, command: str) -> None:
        self.chapter += 1
        self.say(f"\n{self.chapter}. {title}\n$ {command}")

    def act(self, what: Callable[[Runner], list[Any]] = Runner.run) -> None:
        """One command of its own, with everything opened and closed again."""
        self.seen = []
        told = lambda flow, outcomes: self.seen.extend((flow, outcome) for outcome in outcomes)  # noqa: E731
        with self.store() as (loaded, store):
            clock = project.SystemClock()
            endpoints = project.connect(loaded, store, clock)
            runner = Runner(loaded, endpoints, store, clock, project.worker(), ahead=project.prefetch, told=told)
            self.say(report.runs(what(runner), self.seen))
            for endpoint in endpoints.values():
                endpoint.close()

    @contextmanager
    def store(self) -> Iterator[tuple[project.Project, Store]]:
        loaded = project.load(self.file)
        with closing(Store(f"sqlite:///{self.folder.resolve() / '.connector' / 'state.db'}")) as store:
            yield loaded, store

    def table(self, rows: Iterable[Sequence[Any]]) -> None:
        self.say(report.table([f"  {row[0]}", *row[1:]] for row in rows))

    def next(self, *commands: str, terminals: str = "") -> None:
        """What to type next, and first what makes `connector` a word of this shell."""
        own = Path(sys.executable).with_name("activate")
        hidden = own.is_file() and not shutil.which("connector")
        activate = [f"source {shlex.quote(os.path.relpath(own, self.folder))}"] if hidden else []
        self.say("\n".join([f"\nNext, in {self.folder}/{terminals}:", *(f"  {one}" for one in (*activate, *commands))]))


def id_of(prefix: str, n: int) -> str:
    """The n-th id of an object, 18 characters long."""
    return str(canon.id18(f"{prefix}{n + 1:011d}"))


def free(port: int) -> int:
    """The port that was asked for, or any other when it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})

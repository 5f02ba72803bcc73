"""A mapping between two systems in memory, with a clock and a store: what tests of one rule at a time start from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from connector import canon, lint, spec
from connector.endpoints.memory import Memory
from connector.model import Outcome, Shape
from connector.project import Project, Runner
from connector.source import parse
from connector.state import Link, Store
from connector.world import Run

START = datetime(2025, 3, 10, 15, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def at(minutes: float = 0) -> str:
    """So many minutes after the start."""
    return canon.text(START + timedelta(minutes=minutes))


class Two:
    """`home` and `remote` are lists of rows; the mapping is held against lint before anything runs."""

    def __init__(
        self,
        mapping: str,
        home: Any = (),
        remote: Any = (),
        *,
        shapes: Mapping[str, Shape] | None = None,
        sides: tuple[bool, bool] = (False, True),
        **connection: Any,
    ) -> None:
        read = parse(f"mapping: two\nversion: 1\nsystems: {{home: ours, remote: theirs}}\n{mapping}", "two.yaml")
        found = [each for each in lint.check_source(read, shapes={}) if each.level == "error"]
        assert not found, lint.render_text(found, [read])
        self.clock, self.store, self.told = Clock(), Store(), list[Outcome]()
        described = [shapes if wanted else None for wanted in sides]
        self.home = Memory("ours", home, clock=self.clock, shapes=described[0])
        self.remote = Memory("theirs", remote, clock=self.clock, shapes=described[1])
        tree = {"connection": "acme", "mapping": "two", "systems": {"ours": {}, "theirs": {}}, **connection}
        project = Project(Path("acme.yaml"), Path(), spec.mapping(read.tree), spec.connection(tree), {})
        if shapes:
            project = replace(project, shapes=shapes)
        ends = {"ours": self.home, "theirs": self.remote}
        self.runner = Runner(project, ends, self.store, self.clock, told=lambda _flow, some: self.told.extend(some))

    def run(self, *objects: str, after: float = 0) -> list[Run]:
        self.clock.sleep(after * 60)
        self.told.clear()
        return self.runner.run(objects or None)

    def link(self, name: str, *pairs: tuple[str, str], active: bool = True, made: Any = "manual") -> None:
        links = [Link(f'["{home}","{remote}"]', home, remote, active=active, made=made) for home, remote in pairs]
        self.store.put_links(self.store.stream("acme", name).id, links, self.clock.now())

    @property
    def outcomes(self) -> list[tuple[str, str, str | None]]:
        return [(one.record, one.outcome, one.reason) for one in self.told]

    def written(self, system: Memory) -> list[tuple[str, str, dict[str, Any]]]:
        return [(one.verb, one.object, one.values) for one in system.written]

    def codes(self) -> list[str]:
        return [line["code"] for line in self.store.notes("acme", limit=500)]

"""Several workers, one lookup: what none of them has found is created once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from connector import spec
from connector.endpoints.memory import Memory
from connector.project import Project, Runner
from connector.source import parse
from connector.state import Store

MAPPING = """\
mapping: two
version: 1
systems: {home: ours, remote: partner}
lookups:
  source: {object: source, key: name, compare: ignore_case, missing: create_or_empty}
objects:
  lead: &
"""
OBJECT = """\
    direction: push
    read: {row: {object: %s}}
    triggers: [{changed: row}]
    write: %s
    match: {by: link, missing: create, found: skip}
    fields:
      name: row.name
      source_id: {lookup: source, by: row.source_id}
"""


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


def test_two_workers_create_what_both_have_not_found_once(tmp_path: Path) -> None:
    text = MAPPING.replace("  lead: &\n", "".join(f"  {name}:\n{OBJECT % (name, name)}" for name in ("lead", "member")))
    mapping = spec.mapping(parse(text, "two.yaml").tree)
    connection = spec.connection({"connection": "acme", "mapping": "two", "systems": {"ours": {}, "partner": {}}})
    project = Project(tmp_path / "acme.yaml", tmp_path, mapping, connection, {})
    clock = Clock()
    home = Memory(
        "ours",
        [
            {"object": "source", "id": "S1", "name": "Web Site"},
            {"object": "source", "id": "S2", "name": "web site"},
            {"object": "lead", "id": "L1", "name": "Pat", "source_id": "S1"},
            {"object": "member", "id": "M1", "name": "Ann", "source_id": "S2"},
        ],
        clock=clock,
    )
    remote = Memory("partner", [{"object": "source", "id": "9", "name": "Walk-in"}], clock=clock)
    both, seen = threading.Barrier(2, timeout=20), threading.local()

    def on_call(what: str) -> None:
        """Both have looked, and found none, before either goes on."""
        if what == "read:source" and not hasattr(seen, "once"):
            seen.once = True
            both.wait()

    remote.on_call = on_call
    store = Store(f"sqlite:///{tmp_path / 'state.db'}")
    done = {}

    def work(name: str) -> None:
        runner = Runner(project, {"ours": home, "partner": remote}, store, clock, owner=f"worker of {name}")
        done[name] = runner.run([name])[0]

    workers = [threading.Thread(target=work, args=(name,)) for name in ("lead", "member")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    store.close()
    assert {name: (run.status, run.counts["created"]) for name, run in done.items()} == {
        "lead": ("ok", 1),
        "member": ("ok", 1),
    }
    assert remote.counts["source", "create"] == 1
    (made,) = [row["id"] for row in remote.rows("source") if row["name"].casefold() == "web site"]
    assert {row["source_id"] for name in ("lead", "member") for row in remote.rows(name)} == {made}

"""One row per object of a connection: what is in effect, when it ran, when it will, and how it went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from connector import canon, plan, schedule
from connector.project import Project
from connector.state import Store


def rows(project: Project, store: Store, now: datetime | None = None) -> list[dict[str, Any]]:
    """Of each object: connection, object, direction, in_effect, latest, next, last_run; None where there is nothing."""
    now = now or datetime.now(UTC)
    every = plan.every(project.mapping, project.connection)
    scheduled = plan.scheduled(project.mapping, project.connection)
    latest = {run["object"]: run for run in reversed(store.runs(project.name, limit=500))}
    made = []
    for name, rules in project.mapping.objects.items():
        way = plan.directions(project.mapping, project.connection, name)
        stream = store.stream(project.name, name)
        due = schedule.due(stream.slot, every, now) if name in scheduled else None
        run = latest.get(name)
        counts = ", ".join(f"{n} {word}" for word, n in (run or {}).get("counts", {}).items() if n and word != "read")
        made.append(
            {
                "connection": project.name,
                "object": name,
                "direction": rules.direction,
                "in_effect": {(True, False): "pull", (False, True): "push", (True, True): "both"}.get(
                    (way.pull, way.push), f"nothing ({way.decided})"
                ),
                "latest": canon.text(stream.started.replace(microsecond=0)) if stream.started else None,
                "next": canon.text(due.replace(microsecond=0)) if due else None,
                "last_run": f"{run['status']}: {counts or run['error'] or 'nothing changed'}" if run else "never",
            }
        )
    return made

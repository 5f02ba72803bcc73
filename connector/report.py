"""What people read: runs, previews, status, log. Data in, text out; `--json` prints the same data as one document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from connector import canon
from connector.engine import STATUSES, Run
from connector.model import Flow, Outcome

Seen = tuple[Flow, Outcome]
MARKS = {"created": "+", "updated": "~", "failed": "!", "blocked": "?", "skipped": "-", "unchanged": "="}
WIDTH = 100


def as_json(value: Any) -> str:
    """One JSON document; instants as text, runs and outcomes as objects."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return (
        canon.text(value)
        if isinstance(value, datetime)
        else asdict(value)
        if hasattr(value, "__slots__")
        else str(value)
    )


def runs(done: Sequence[Run], seen: Sequence[Seen] = (), most: int = 5) -> str:
    """A line per object: what was written, and what it cost; then what went wrong and what was updated, if it is not much."""
    bad = [outcome for _, outcome in seen if outcome.outcome in ("failed", "blocked")]
    updated = [outcome for _, outcome in seen if outcome.outcome == "updated"]
    shown = bad[:most] + (updated if len(updated) <= most else [])
    lines = [line for outcome in shown for line in record(outcome)]
    if len(bad) > most:
        lines.append(f"  ... {len(bad) - most} more: connector log {done[0].connection} --failed")
    return "\n".join([summary(done), *lines])


def summary(done: Sequence[Run]) -> str:
    return table(
        [
            run.object,
            run.direction,
            told_status(run),
            told_counts(run),
            f"{run.calls} API calls" if run.calls != 1 else "1 API call",
        ]
        for run in done
    )


def told_status(run: Run) -> str:
    return "already running" if run.status == "running" else run.status


def told_counts(run: Run) -> str:
    if run.error:
        return f"{run.code}: {run.error}"
    if run.status in ("paused", "running"):
        return "nothing was done"
    said = [f"{run.counts[status]} {status}" for status in STATUSES if run.counts.get(status)]
    return ", ".join(said) or "nothing changed"


def preview(seen: Iterable[Seen], done: Sequence[Run], limit: int | None) -> str:
    """Per record and field what would change, old -> new; what stays as it is only as a number."""
    lines: list[str] = []
    for run in done:
        lines.append(f"{run.object}  {run.direction}  {told_status(run)}")
        shown = [o for flow, o in seen if flow.object == run.object and o.outcome != "unchanged"]
        for outcome in shown[:limit]:
            lines += record(outcome)
        if limit is not None and len(shown) > limit:
            lines.append(f"  ... {len(shown) - limit} more (--all)")
        lines.append(f"  {told_counts(run)}".replace("created", "to create").replace("updated", "to update"))
    return "\n".join([*lines, "Nothing was written."])


def record(outcome: Outcome) -> list[str]:
    """One record with its fields: `~ a02...  Appointment + Prospect` and a line for each that differs."""
    why = f"  {outcome.reason}: {outcome.message}" if outcome.reason else ""
    lines = [f"  {MARKS[outcome.outcome]} {outcome.record}  {outcome.label}{why}"]
    if outcome.outcome == "created":
        return lines + [f"      {name}  {short(value)}" for name, (_, value) in outcome.changed.items()]
    pairs = [pair for name, (old, new) in outcome.changed.items() for pair in differences(name, old, new)]
    return lines + [f"      {name}  {short(old)} -> {short(new)}" for name, old, new in pairs]


def differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Only what differs: of two objects the keys, of two lists of one length the items."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*new, *old)):
            yield from differences(f"{name}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(f"{name}[{n}]", one, other)
    elif not canon.same(old, new):
        yield name, old, new


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def log(notes: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]]) -> str:
    """Outcomes and lines of the log, newest first."""
    lines = [(row["at"], row["object"], row["record"], row["outcome"], _reason(row)) for row in outcomes]
    lines += [
        (row["at"], row["object"], row["record"] or "", row["level"], f"{row['code']}: {row['message']}")
        for row in notes
    ]
    return table(sorted(lines, key=lambda line: line[0], reverse=True)) if lines else "The log is empty."


def _reason(row: Mapping[str, Any]) -> str:
    said = f"{row['reason']}: {row['message']}" if row["reason"] else f"-> {row['target']}" if row["target"] else ""
    return f"{said} (next try {row['retry_at']})" if row["open"] else said


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Columns as wide as what is in them; the last one runs on."""
    cells = [[str(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]) - 1)] if cells else []
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in cells
    )

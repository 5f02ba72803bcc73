"""What people read: runs, previews, status, log. Data in, text out; `--json` prints the same data as one document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from connector import canon
from connector.model import Flow, Outcome
from connector.world import STATUSES, Run

Seen = tuple[Flow, Outcome]
MARKS = {"created": "+", "updated": "~", "failed": "!", "blocked": "?", "skipped": "-", "unchanged": "="}
WIDTH = 100


def as_json(value: Any) -> str:
    """One JSON document; instants as text, runs and outcomes as objects."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return canon.text(value)
    return asdict(value) if isinstance(value, msgspec.Struct) else str(value)


def runs(done: Sequence[Run], seen: Sequence[Seen] = (), most: int = 5) -> str:
    """A line per object: what was written, and what it cost; then what went wrong and what was updated, if it is not much."""
    bad = [outcome for _, outcome in seen if outcome.outcome in ("failed", "blocked")]
    updated = [outcome for _, outcome in seen if outcome.outcome == "updated"]
    shown = bad[:most] + (updated if len(updated) <= most else [])
    lines = [line for outcome in shown for line in record(outcome, whole=False)]
    if len(bad) > most:
        lines.append(f"  ... {len(bad) - most} more: connector log {done[0].connection} --failed")
    errors = [f"  ! {run.object}  {run.code}: {run.error}" for run in done if run.error]
    calls = ["1 API call" if run.calls == 1 else f"{run.calls} API calls" for run in done]
    rows = [(run.object, run.direction, told_status(run), told_counts(run)) for run in done]
    return "\n".join([table([*row, call] for row, call in zip(rows, calls, strict=True)), *errors, *lines])


def told_status(run: Run) -> str:
    return "already running" if run.status == "running" else run.status


def told_counts(run: Run) -> str:
    if run.status in ("paused", "running"):
        return "nothing was done"
    said = [f"{run.counts[status]} {status}" for status in STATUSES if run.counts.get(status)]
    return ", ".join(said) or ("nothing changed" if run.status == "ok" else "nothing was done")


def preview(seen: Iterable[Seen], done: Sequence[Run], limit: int | None) -> str:
    """Per record and field what would change, old -> new; what stays as it is only as a number."""
    lines: list[str] = []
    for run in done:
        lines.append(f"{run.object}  {run.direction}  {told_status(run)}")
        lines += [f"  ! {run.code}: {run.error}"] if run.error else []
        shown = [o for flow, o in seen if flow.object == run.object and o.outcome != "unchanged"]
        for outcome in shown[:limit]:
            lines += record(outcome)
        if limit is not None and len(shown) > limit:
            lines.append(f"  ... {len(shown) - limit} more (--all)")
        lines.append(f"  {told_counts(run)}".replace("created", "to create").replace("updated", "to update"))
    return "\n".join([*lines, "Nothing was written."])


def record(outcome: Outcome, *, whole: bool = True) -> list[str]:
    """One record with its fields: `~ a02...  Appointment + Prospect` and a line for each that differs.

    Not `whole`: of rows that are passed through only which of their fields differ.
    """
    why = f"  {outcome.reason}: {outcome.message}" if outcome.reason else ""
    lines = [f"  {MARKS[outcome.outcome]} {outcome.record}  {outcome.label}{why}"]
    if outcome.outcome == "created":
        return lines + [f"      {name}  {short(value)}" for name, (_, value) in outcome.changed.items()]
    for name, (old, new) in outcome.changed.items():
        pairs = list(differences("", old, new)) or [("", old, new)]  # a null that is no longer there
        if whole or not pairs[0][0]:
            lines += [f"      {name}{below}  {short(one)} -> {short(other)}" for below, one, other in pairs]
        else:
            lines.append(f"      {name}  {', '.join(below.lstrip('.') for below, *_ in pairs)}")
    return lines


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
    """Outcomes and lines of the log, newest first; what an outcome says already is not said twice."""
    lines = [(row["at"], row["object"], row["record"], row["outcome"], _reason(row)) for row in outcomes]
    told = {(row["run_id"], row["record"], row["reason"]) for row in outcomes}
    lines += [
        (row["at"], row["object"], row["record"] or "", row["level"], f"{row['code']}: {row['message']}")
        for row in notes
        if (row["run_id"], row["record"], row["code"]) not in told
    ]
    newest = sorted(lines, key=lambda line: line[0], reverse=True)
    return table([seconds(at), *rest] for at, *rest in newest) if lines else "The log is empty."


def _reason(row: Mapping[str, Any]) -> str:
    said = f"{row['reason']}: {row['message']}" if row["reason"] else f"-> {row['target']}" if row["target"] else ""
    if not row["open"]:
        return said
    return f"{said} (next try at the next run{'' if row['retry_at'] <= row['at'] else ' after ' + seconds(row['retry_at'])})"


def seconds(instant: str) -> str:
    """An instant for people: `2025-03-10 15:00:00Z`."""
    return f"{instant[:10]} {instant[11:19]}Z"


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Columns as wide as what is in them; the last one runs on."""
    cells = [[str(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]) - 1)] if cells else []
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in cells
    )

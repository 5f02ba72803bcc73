"""What an example expects, held against what came of it: one check per key of `expect`, each telling what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from connector import canon, plan, schedule
from connector.examples.compare import Difference, differing, origin, rule, short, shown, table, unwanted
from connector.examples.play import Play, id_of
from connector.examples.suite import VERBS
from connector.model import Change, Skip, Why


def faults(play: Play) -> Iterator[str]:
    for name, expected in play.example["expect"].items():
        yield from CHECKS[name](play, expected)


# ---- writes -----------------------------------------------------------------------------------------------

Write = tuple[str, Change]
"""Which side, and what was written there."""


def writes(play: Play, expected: list[Any]) -> Iterator[str]:
    left: list[Write] = [("home", change) for change in play.home.written]
    left += [("remote", change) for change in play.remote.written]
    unmatched = []
    for want in sorted(expected, key=lambda want: -len(json.dumps(want))):  # the most demanding one chooses first
        found = next((one for one in left if not any(_write_differs(play, want, one))), None)
        if found:
            left.remove(found)
        else:
            unmatched.append(want)
    for want in unmatched:
        verb, named = _verb(want)
        alike = [one for one in left if one[1].object == named and want.get("system", one[0]) == one[0]]
        near = min(alike, key=lambda one: len(list(_write_differs(play, want, one))), default=None)
        if near is None:
            said = f"expected to {verb} {named} {short(want.get('fields', {}))}: it was not written"
            yield "\n  ".join(dict.fromkeys((said, *became(play, named))))
            continue
        left.remove(near)
        told = table(_write_differs(play, want, near), partial(came_from, play, *near))
        yield f"{verb} {named}:\n{_indented(told)}"
    for _, change in left:
        said = f"not expected: {change.verb} {change.object} {short(change.values)}"
        yield "\n  ".join(dict.fromkeys((said, *became(play, change.object, str(change.id)))))


def became(play: Play, table: str, target: str | None = None) -> Iterator[str]:
    """Of each record that is written to a table, or to one row of it: what became of it, and by which rule."""
    mapping = play.suite.mapping_source
    for name in (name for name, rules in play.project.mapping.objects.items() if rules.write == table):
        said = [one for made, one in play.outcomes if made == name and target in (None, one.target)]
        for one in said:
            read = [trigger.changed for trigger in play.project.mapping.objects[name].triggers].index(one.read)
            trigger = shown(mapping, ("objects", name, "triggers", read))
            decided = rule(mapping, name, one.field or "") or ("objects", name, "match")
            why = f" ({one.reason}: {one.message})" if one.reason else ""
            yield f"{one.record}, changed: {one.read} ({trigger}), was {one.outcome}{why} by {decided[-1]} ({shown(mapping, decided, key=True)})"
        if not said and target is None:
            yield f"no record triggered {name} ({shown(mapping, ('objects', name, 'triggers'), key=True)})"


def _write_differs(play: Play, want: Mapping[str, Any], one: Write) -> Iterator[Difference]:
    (verb, named), (side, change) = _verb(want), one
    if (verb, named) != (change.verb, change.object):
        yield Difference("the write", f"{verb} {named}", f"{change.verb} {change.object}")
    if want.get("system", side) != side:
        yield Difference("the system", str(want["system"]), side)
    if "id" in want and play.known(side, named, want["id"]) != str(change.id):
        yield Difference("the row", str(want["id"]), str(change.id))
    yield from differing(placed(play, want.get("fields", {})), change.values, exactly=want.get("exactly", False))
    yield from unwanted(want.get("without", ()), change.values)


def _verb(want: Mapping[str, Any]) -> tuple[str, str]:
    return next((verb, want[verb]) for verb in VERBS if verb in want)


def came_from(play: Play, side: str, change: Change, at: str) -> str:
    """The rule behind a field of a write, found by making the record again and asking why."""
    endpoint = getattr(play, side)
    for made in reversed(play.made):
        if made.flow.write == change.object and not isinstance(made.values, Skip):
            values = endpoint.canonical(change.object, made.values)
            if not any(differing(change.values, values)):
                why: Why = []
                made.flow.record(made.row, why)
                return origin(play.suite.mapping_source, made.flow.object, why, at)
    return ""


def placed(play: Play, fields: Any) -> Any:
    """`"@opportunity"` stands for the id of the one created row of that object."""
    if isinstance(fields, dict):
        return {key: placed(play, value) for key, value in fields.items()}
    if isinstance(fields, list):
        return [placed(play, value) for value in fields]
    if isinstance(fields, str) and fields.startswith("@"):
        written = (*play.home.written, *play.remote.written)
        made = [change.id for change in written if (change.verb, change.object) == ("create", fields[1:])]
        return str(made[0]) if len(made) == 1 else fields
    return fields


# ---- rows, outcomes, log, links ---------------------------------------------------------------------------


def counted(play: Play, expected: Mapping[str, int]) -> Iterator[str]:
    for place, count in expected.items():
        side, _, named = place.partition(".")
        got = len(getattr(play, side).rows(named))
        if got != count:
            yield f"rows {place}: expected {count}, got {got}"


def held(play: Play, expected: list[Any]) -> Iterator[str]:
    for want in expected:
        rows = getattr(play, want["system"]).rows(want["object"])
        known = play.known(want["system"], want["object"], placed(play, want["id"]))
        row = next((row for row in rows if str(id_of(row)) == known), None)
        named = f"row {want['system']}.{want['object']} {want['id']}"
        if row is None:
            yield f"{named}: is not there; there is {', '.join(str(id_of(row)) for row in rows) or 'none'}"
            continue
        wrote = (one for one in reversed(getattr(play, want["system"]).written) if str(one.id) == known)
        change = next((one for one in wrote if one.object == want["object"]), None)
        asked = partial(came_from, play, want["system"], change) if change else lambda _at: ""
        if told := table(differing(placed(play, want["fields"]), row), asked):
            yield f"{named}:\n{_indented(told)}"


def outcomes(play: Play, expected: list[Any]) -> Iterator[str]:
    said = [outcome for _, outcome in play.outcomes]
    if not expected:
        bad = [one for one in said if one.outcome in ("failed", "blocked", "skipped")]
        yield from (f"outcome not expected: {one.record} {one.outcome} ({one.reason}: {one.message})" for one in bad)
    for want in expected:
        wanted = {key: str(canon.id18(value)) for key, value in want.items()}
        if not any(all(getattr(one, key) == value for key, value in wanted.items()) for one in said):
            asked = [key for key in wanted if key != "record"]
            got = [
                " ".join(str(getattr(one, key) or "-") for key in asked)
                for one in said
                if one.record == wanted["record"]
            ]
            expects = " ".join(wanted[key] for key in asked)
            yield f"outcome of {want['record']}: expected {expects}, got {', then '.join(got) or 'none'}"


def logged(play: Play, expected: list[Any]) -> Iterator[str]:
    said = play.store.notes("example", limit=10_000)
    if not expected:
        bad = [line for line in said if line["level"] != "info"]
        yield from (f"log not expected: {line['level']} {line['code']}: {line['message']}" for line in bad)
    for want in expected:
        wanted = {key: str(canon.id18(value)) for key, value in want.items()}
        if not any(all(str(line.get(key)) == value for key, value in wanted.items()) for line in said):
            lines = [" ".join(str(line.get(key) or "-") for key in wanted) for line in said]
            yield f"log: expected {' '.join(wanted.values())}, got {', '.join(lines) or 'no lines'}"


def linked(play: Play, expected: list[Any]) -> Iterator[str]:
    objects = {want["object"] for want in expected} or set(play.project.mapping.objects)
    got = [
        {"object": name, "home": link.home, "remote": link.remote, "active": link.active, "made": link.made}
        for name in sorted(objects)
        for link in play.store.all_links(play.store.stream("example", name).id)
    ]
    for want in expected:
        ends = {
            side: play.known(side, play.table(want["object"], side), placed(play, want[side]))
            for side in ("home", "remote")
            if side in want and want["object"] in play.project.mapping.objects
        }
        wanted = {**want, **ends}
        hit = next((link for link in got if all(link[key] == value for key, value in wanted.items())), None)
        if hit:
            got.remove(hit)
        else:
            yield f"link expected: {_told(want)}; left are {', '.join(map(_told, got)) or 'none'}"
    yield from (f"link not expected: {_told(link)}" for link in got)


def _told(link: Mapping[str, Any]) -> str:
    ends = [f"{side} {link[side]}" for side in ("home", "remote") if side in link]
    return " ".join([link["object"], *ends, link.get("made", ""), "" if link.get("active", True) else "off"]).strip()


# ---- what was asked and found ------------------------------------------------------------------------------


def selected(play: Play, expected: Mapping[str, list[Any]]) -> Iterator[str]:
    for name, ids in expected.items():
        got, want = sorted(play.selected.get(name, [])), sorted(str(canon.id18(one)) for one in ids)
        if got != want:
            yield f"selected {name}: expected {', '.join(want) or 'none'}, got {', '.join(got) or 'none'}"


def window(play: Play, expected: Mapping[str, Any]) -> Iterator[str]:
    """Of the object whose trigger `selected` speaks of, else of any."""
    named = set(play.example["expect"].get("selected", {}))
    objects = play.project.mapping.objects
    asked = {name for name, rules in objects.items() if {read.object for read in rules.read.values()} & named}
    got = {name: dict(zip(("from", "to"), bounds, strict=True)) for name, bounds in play.windows.items()}
    got = {name: bounds for name, bounds in got.items() if name in (asked or objects)}
    want = {key: canon.instant(value) for key, value in expected.items()}
    if not any(all(bounds[key] == value for key, value in want.items()) for bounds in got.values()):
        yield f"window: expected {short(expected)}, got {short(got) if got else 'none: nothing was read'}"


def queries(play: Play, expected: list[str]) -> Iterator[str]:
    if play.systems:
        sent = [" ".join(query.split()) for query in play.remote.queries]
        missing = [want for want in expected if " ".join(want.split()) not in sent]
        told = _indented("\n".join(["sent:", *sent]))
        yield from (f"query not sent: {want}\n{told}" for want in missing)


def calls(play: Play, expected: Mapping[str, int]) -> Iterator[str]:
    """Of systems that take one record a call: tables in memory, and what an api file describes."""
    for place, count in expected.items():
        side, _, rest = place.partition(".")
        named, _, verb = rest.rpartition(".")
        counts = getattr(getattr(play, side), "counts", None)
        got = count if counts is None else counts[named, verb]
        if got != count:
            yield f"calls {place}: expected {count}, got {got}"


def findings(play: Play, expected: list[Any]) -> Iterator[str]:
    got = [{"level": f.level, "code": f.code, "at": f.dotted} for f in play.findings]
    told = [finding for finding in got if finding["level"] != "note"]
    if not expected:
        yield from (f"finding not expected: {' '.join(finding.values())}" for finding in told)
    for want in expected:
        if not any(all(finding[key] == value for key, value in want.items()) for finding in got):
            there = ", ".join(" ".join(finding.values()) for finding in told)
            yield f"finding: expected {' '.join(want.values())}, got {there or 'none'}"


# ---- directions and time -----------------------------------------------------------------------------------


def flows(play: Play, expected: Mapping[str, Any]) -> Iterator[str]:
    for name, want in expected.items():
        way = plan.directions(play.project.mapping, play.project.connection, name)
        got = {"push": way.push, "pull": way.pull}
        if any(got[key] != value for key, value in want.items()):
            yield f"flows {name}: expected {short(want)}, got {short(got)} ({way.decided} decides)"


def due(play: Play, expected: str | None) -> Iterator[str]:
    every = plan.every(play.project.mapping, play.project.connection)
    names = plan.scheduled(play.project.mapping, play.project.connection)
    enabled = play.project.connection.enabled
    dues = [schedule.due(play.stream(name).slot, every, play.clock.now(), enabled=enabled) for name in names]
    got = min((canon.text(due) for due in dues if due), default=None)
    if got != canon.instant(expected):
        yield f"due: expected {expected or 'none'}, got {got or 'none'}"


def advanced(play: Play, expected: bool) -> Iterator[str]:
    """Of a plain run's objects: all of them, or not."""
    names = plan.scheduled(play.project.mapping, play.project.connection)
    moved = {name: play.stream(name).cursor.watermark for name in names}
    if (bool(names) and all(moved[name] != play.watermarks[name] for name in names)) != expected:
        told = [f"{name} {play.watermarks[name] or 'never'} -> {at or 'never'}" for name, at in moved.items()]
        yield f"advanced: expected {short(expected)}, the cursors: {', '.join(told) or 'there is none'}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


CHECKS: Mapping[str, Callable[[Play, Any], Iterator[str]]] = {
    "writes": writes,
    "rows": counted,
    "row": held,
    "outcomes": outcomes,
    "log": logged,
    "links": linked,
    "selected": selected,
    "window": window,
    "queries": queries,
    "calls": calls,
    "findings": findings,
    "flows": flows,
    "due": due,
    "advanced": advanced,
}
"""Key of `expect` -> its check, of examples that have steps."""

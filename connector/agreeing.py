"""Two sides that may both change: which of the fields that differ are carried over now, and what both then hold.

A field has changed at a side when it is not what it was when the two were last the same (the bases of their link). Source:
design 14. Echo is recognised by that: what one direction has written is no change for the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from connector import canon
from connector.model import Column, Flow, Note, Row
from connector.state import Link

Base = Mapping[str, Any]
"""Field of one side -> its value there when the two sides were last the same."""


class Agreed(msgspec.Struct, frozen=True):
    """What is to be written (field -> (what the target holds, what it gets)), and the bases once it is."""

    changed: Mapping[str, tuple[Any, Any]]
    source: Base
    target: Base
    notes: tuple[Note, ...] = ()


def agree(
    flow: Flow, row: Row, values: Row, held: Row, link: Link | None, stamps: tuple[Any, Any], record: str
) -> Agreed:
    """`row` is the joined row, `values` what is mapped of it, `held` the row of the target; empty when it is made.

    `stamps`: when the row of the source and that of the target changed, as far as they say.
    """
    rules = flow.two_way
    assert rules is not None  # noqa: S101 - only asked of a pair
    here, there = _bases(flow, link)
    source, target, changed, notes = dict(here), dict(there), dict[str, tuple[Any, Any]](), list[Note]()
    for column in flow.columns:
        name, path = column.path[0], rules.paths.get(column.path[0])
        if name not in values or path is None:
            continue
        at, given = path.text.partition(".")[2], path.get(row)
        old, new = canon.reach(held, column.path), values[name]
        differs = not _same(column, old, new)
        mine = at not in here or not canon.same(here[at], given)
        theirs = name in there and not _same(column, there[name], old)
        if held and rules.open and differs and not mine:
            continue  # the other side's change: the other direction carries it
        source[at] = given
        if held and rules.open and differs and theirs:
            wins, said = _winner(flow, stamps)
            kept, lost = (new, old) if wins else (old, new)
            notes.append(
                Note(
                    "warning",
                    "conflict",
                    f"{name} was changed on both sides; {said}: {kept!r} stays, {lost!r} is lost",
                    record,
                    name,
                )
            )
            if not wins:
                continue
        target[name] = new
        if differs:
            changed[name] = (old, new)
    return Agreed(changed, source, target, tuple(notes))


def bases(flow: Flow, agreed: Agreed) -> tuple[str, str]:
    """Of home and of remote, as a Link has them."""
    ours, others = (
        json.dumps(agreed.source, sort_keys=True, default=str),
        json.dumps(agreed.target, sort_keys=True, default=str),
    )
    return (others, ours) if flow.direction == "pull" else (ours, others)


def _bases(flow: Flow, link: Link | None) -> tuple[Base, Base]:
    home, remote = (
        (json.loads(text) if text else {} for text in (link.home_base, link.remote_base)) if link else ({}, {})
    )
    return (remote, home) if flow.direction == "pull" else (home, remote)


def _same(column: Column, a: Any, b: Any) -> bool:
    if column.kind == "instant":
        a, b = (canon.instant(value) or value for value in (a, b))
    return canon.same(a, b)


def _winner(flow: Flow, stamps: tuple[Any, Any]) -> tuple[bool, str]:
    """Whether the source wins, and why. `newest` is home where nothing says when a side changed."""
    conflict = flow.two_way.conflict if flow.two_way else "home"
    source = "remote" if flow.direction == "pull" else "home"
    ours, others = (canon.instant(stamp, assume_utc=True) for stamp in stamps)
    if conflict == "newest" and ours and others and ours != others:
        return ours > others, "the newer one wins"
    side = "home" if conflict == "newest" else conflict
    return side == source, f"{side} wins"

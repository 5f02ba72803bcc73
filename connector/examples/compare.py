"""What differs between what was expected and what there is, and which rule of the mapping a wrong value came from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from connector import canon
from connector.endpoints.files import encoded
from connector.model import Branch, File, Why
from connector.source import At, Source, lookup


class Difference(msgspec.Struct, frozen=True):
    """One place where the two differ: `want` and `got` as they are printed."""

    at: str
    want: str
    got: str


def differing(want: Any, got: Any, at: str = "", *, exactly: bool = False) -> Iterator[Difference]:
    """Nested objects as subsets unless `exactly`, lists by length and item by item, instants as instants."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key, value in want.items():
            here = f"{at}.{key}" if at else str(key)
            if key not in got:
                yield Difference(here, short(value), "nothing")
            else:
                yield from differing(value, got[key], here, exactly=exactly)
        if exactly:
            extra = [(f"{at}.{key}" if at else str(key), value) for key, value in got.items() if key not in want]
            yield from (Difference(here, "nothing", short(value)) for here, value in extra)
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            yield Difference(at, _items(want), _items(got))
        for n, (one, other) in enumerate(zip(want, got, strict=False)):
            yield from differing(one, other, f"{at}[{n}]", exactly=exactly)
    elif not canon.same(_comparable(want), _comparable(got)):
        yield Difference(at, short(want), short(got))


def unwanted(names: Iterable[str], got: Any) -> Iterator[Difference]:
    """Dotted names that must not be there."""
    for name in names:
        value = got
        for step in name.split("."):
            value = value[step] if isinstance(value, dict) and step in value else _NOTHING
        if value is not _NOTHING:
            yield Difference(name, "nothing", short(value))


_NOTHING = object()


def table(found: Iterable[Difference], origin: Callable[[str], str] = lambda _at: "") -> str:
    """A column of places, and under each other what was expected, what there is, and where that came from."""
    rows = list(found)
    width = max((len(row.at) for row in rows), default=0)
    lines = []
    for row in rows:
        told = [f"expected  {row.want}", f"got       {row.got}", origin(row.at)]
        lines += [f"{row.at if n == 0 else '':<{width}}  {said}".rstrip() for n, said in enumerate(filter(None, told))]
    return "\n".join(lines)


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 160 else f"{text[:157]}..."


def _items(listed: list[Any]) -> str:
    return f"{len(listed)} item{'s' * (len(listed) != 1)}"


def _comparable(value: Any) -> Any:
    if isinstance(value, File):
        return encoded(value)
    return canon.instant(value) or canon.id18(value) if isinstance(value, str) else value


# ---- where a value came from ------------------------------------------------------------------------------


def origin(mapping: Source, name: str, why: Why, path: str) -> str:
    """The rule behind a field of the object `name`: its place in the file, and which of its choices won, if it has any.

    `why` tells how the record came about; of another record it may be empty, then it is the place alone.
    """
    at = rule(mapping, name, path)
    if at is None:
        return ""
    field = ".".join(str(step) for step in at[3::2])
    told = [branch for branch in why if branch.at[: len(at)] == at and not _sums_up(branch)]
    won = max((branch for branch in told if branch.won), key=lambda branch: len(branch.at), default=None)
    place = shown(mapping, won.at) if won else shown(mapping, at, key=True)
    if won:
        return f"came from {field} ({place}){_choice(mapping, at, won)}: {won.text}"
    missing = ", ".join(f"{branch.text} is {branch.reason}" for branch in told if branch.reason)
    return f"came from {field} ({place})" + (f": {missing}" if missing else "")


def rule(mapping: Source, name: str, path: str) -> At | None:
    """The longest part of a path that has a rule of its own."""
    at: At = ("objects", name)
    for step in re.sub(r"\[\d+\]", "", path).split("."):
        if (*at, "fields", step) not in mapping.marks:
            break
        at = (*at, "fields", step)
    return at if len(at) > 2 else None


def _sums_up(branch: Branch) -> bool:
    """The line of a trace that only says what a list of choices came to."""
    return branch.text in ("first", "latest")


def _choice(mapping: Source, field: At, won: Branch) -> str:
    for n in range(len(won.at) - 1, len(field), -1):
        choices = lookup(mapping.tree, won.at[:n])
        if isinstance(choices, list):
            return f", choice {int(won.at[n]) + 1} of {len(choices)}"
    return ""


def shown(source: Source, at: At, *, key: bool = False) -> str:
    """`file:line`, the file as seen from here."""
    path = Path(source.name)
    here = os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else source.name
    return f"{here}:{source.span(at, key=key).line}"

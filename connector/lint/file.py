"""What rules look at: one file with its tree, the shapes it is held against, and its objects with every path compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from connector import spec
from connector.lint.findings import LEVELS, Finding, Level
from connector.model import PARENT, SETTINGS, Ask, Shape
from connector.shape import OPTION
from connector.source import At, Source
from connector.values import Names, Problem, Use, Value, compile_path, compile_record

Findings = Iterator[Finding]
Word = tuple[int, str] | None
"""Where in a text a word stands, and which."""


def part(node: Any, *keys: str) -> dict[str, Any]:
    """The map at a path of keys; empty when it is not there or not known."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def places(node: Any, *patterns: str, at: At = ()) -> Iterator[tuple[At, Any]]:
    """Where patterns such as `triggers.*.with.*` lead, with what stands there; `*` is every item, `a|b` either key."""
    for pattern in patterns:
        head, _, rest = pattern.partition(".")
        steps: list[Any] = list(range(len(node))) if isinstance(node, list) and head == "*" else []
        if isinstance(node, dict):
            steps = [key for key in node if head == "*" or key in head.split("|")]
        for step in steps:
            if rest:
                yield from places(node[step], rest, at=(*at, step))
            else:
                yield (*at, step), node[step]


def named(node: Any, *patterns: str, at: At = ()) -> Iterator[tuple[At, str, bool]]:
    """The names at the places of patterns: the keys of a map (True), or what a list or a key holds (False)."""
    for pattern in patterns:
        for place, value in places(node, pattern, at=at):
            if pattern[-1] == "*" and isinstance(place[-1], str):
                yield place, place[-1], True
            elif isinstance(value, str):
                yield place, value, False


@dataclass
class Object:
    """One object of a mapping in one direction, or what is made below one, compiled."""

    name: str
    node: dict[str, Any]
    file: File
    above: Object | None = None
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at: At = (*self.above.at, "children", self.name) if self.above else ("objects", self.name)
        own = ("objects", self.at[1])
        self.sure = not any(at[:2] in (own, ("objects",), ()) for at in self.file.spoiled)
        """Nothing in it was spoiled, so that what it lacks is lacking."""
        self.reads: dict[str, Any] = {**(self.above.reads if self.above else {}), **part(self.node, "read")}
        self.names: Names = {}
        """Names that are no reads, with the paths of what they stand for."""
        if self.above and isinstance(listed := self.node.get("each"), str):
            self.each = compile_path(listed, (*self.at, "each"), self.problems)
            self.names = {str(self.node.get("as")): self.each.items}
        self.triggers = [(at[-1], node) for at, node in places(self.node, "triggers.*") if isinstance(node, dict)]
        self.rows = {n: [str(node.get("changed")), *part(node, "with")] for n, node in self.triggers}
        """What each trigger brings: the changed read, then the joined ones in order."""
        self.asks: list[Ask] = []
        self.record = compile_record(
            self.node.get("fields"), (*self.at, "fields"), self.problems, self.asks, self.names
        )
        self.joins = [
            (at, compile_path(path, at, self.problems))
            for at, path in places(self.node, "triggers.*.with.*.*", at=self.at)
            if isinstance(path, str)
        ]
        self.keys = list(self._keys())
        """Place and name of each key, and its value; None: there is no such field, or nobody knows."""
        told = (each for each in self.problems if each.code != "no_fields")  # the grammar says that
        self.problems = [problem for problem in told if self.file.clean(problem.at)]
        values = [self.record, *(value for *_, value in self.keys if value)]
        self.uses = [use for value in values for use in value.uses if self.file.clean(use.at)]
        """Every path of the values and keys."""
        if self.names:
            self.uses += self.each.uses
        for at, text in places(self.node, "read.*.valid_for", at=self.at):
            self.uses += compile_path(text, at, self.problems).uses
        below = part(self.node, "children") if self.above is None else {}
        self.below = [Object(name, node, self.file, self) for name, node in below.items() if isinstance(node, dict)]

    def _keys(self) -> Iterator[tuple[At, str, Value | None]]:
        for at, key in places(self.node, "match.keys.*", at=self.at):
            node = {"field": key} if isinstance(key, str) else key
            if not isinstance(node, dict) or not isinstance(name := node.get("field"), str):
                continue
            value: Value | None = self.record
            for step in name.split("."):
                value = value.children.get(step) if value and value.form == "fields" else None
            if isinstance(asked := node.get("from"), str):
                value = compile_path(asked, (*at, "from"), self.problems, self.names)
            yield at if node is not key else (*at, "field"), name, value

    def many(self, read: str) -> bool:
        return part(self.reads, read).get("many") is True

    @property
    def roots(self) -> list[str]:
        """What paths may start with."""
        return [*self.reads, *([SETTINGS] if "settings" in self.file.tree else []), *([PARENT] if self.above else [])]

    def table(self, read: str) -> str:
        rule = part(self.reads, read)
        return str(rule.get("object") or str(rule.get("picklist")).partition(".")[0])

    def shape(self, read: str) -> Shape | None:
        """The recorded shape of what a read reads; a table at home may be called like an object of the remote side."""
        if "picklist" in part(self.reads, read):
            return OPTION
        return None if self.pushes else self.file.shapes.get(self.table(read))

    @property
    def pushes(self) -> bool:
        return self.above.pushes if self.above else self.node.get("direction") == "push"

    @cached_property
    def target(self) -> Shape | None:
        """The recorded shape of what it writes."""
        return self.file.shapes.get(str(self.node.get("write"))) if self.pushes else None

    @cached_property
    def turned(self) -> bool:
        """It flows the other way than its direction says: shapes are recorded of the remote side, so they tell."""
        read = any(self._remote(self.table(name)) for name in self.reads)
        wrong = {"push": (True, False), "pull": (False, True)}.get(str(self.node.get("direction")))
        return bool(self.reads) and wrong == (read, self._remote(str(self.node.get("write"))))

    def _remote(self, table: str) -> bool:
        return table in self.file.shapes or table.endswith("__c")


@dataclass
class File:
    """`tree` is free of what the grammar refused; `folder` is where the file lies, None for text without a file."""

    source: Source
    kind: str
    tree: dict[str, Any]
    spoiled: frozenset[At] = frozenset()
    folder: Path | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    mapping: File | None = None
    """The mapping that a connection or an example file names, and how many errors it has."""
    mapping_errors: int = 0
    mapping_told: bool = False
    """It is looked at, too, and its errors are told there."""
    apis: Mapping[str, tuple[dict[str, Any] | None, int]] = field(default_factory=dict)
    """System of a connection -> the api file that it names, and how many errors that has."""

    @cached_property
    def objects(self) -> list[Object]:
        """Of a pair both ways, and behind each what is made below it."""
        found = []
        for name, node in part(self.tree, "objects").items() if self.kind == "mapping" else ():
            if isinstance(node, dict):
                ways = [spec.one_way(node, way) for way in ("pull", "push")] if part(node, "pair") else [node]
                found += [Object(name, each, self) for each in ways]
        return [each for thing in found for each in (thing, *thing.below)]

    def written(self, at: At) -> At:
        """Where a place of an object is written: in this one, in the one that it is like, or in a row of a pair."""
        if at in self.source.marks or at[:1] != ("objects",) or len(at) < 3:
            return at
        node = part(self.tree, "objects", str(at[1]))
        if isinstance(like := node.get("like"), str) and (there := ("objects", like, *at[2:])) in self.source.marks:
            return there
        if at[2:3] == ("fields",) and at[3:] and "pair" in node:
            rows = part(node, "fields").items()
            row = next((name for name, row in rows if at[3:4] == (spec.part(row, "remote") or row,)), None)
            at = (*at[:3], at[3] if row is None else row, *at[4:])
            if at in self.source.marks:
                return at
            inner = (*at[:4], "remote")
            return inner if len(at) > 4 and inner in self.source.marks else at[:5]
        if "pair" in node and at[2] in ("read", "triggers", "write"):
            return (*at[:2], "pair", *at[3:4])
        return at

    @property
    def rules(self) -> dict[str, Any]:
        """The mapping: this one, or the one that the file names."""
        return self.tree if self.kind == "mapping" else self.mapping.tree if self.mapping else {}

    def clean(self, at: At) -> bool:
        """The grammar refused nothing here."""
        return not any(at[:n] in self.spoiled for n in range(len(at) + 1))

    def sound(self, at: At) -> bool:
        """Nor anything above or below it."""
        return self.clean(at) and not any(place[: len(at)] == at for place in self.spoiled)

    def finding(
        self,
        code: str,
        at: At,
        said: str,
        hint: str = "",
        *,
        key: bool = False,
        word: Word = None,
        level: Level | None = None,
    ) -> Finding:
        """At a value, at its key, or at a word of the text that it is."""
        place = self.written(at)
        span = self.source.inside(place, *word) if word else self.source.span(place, key=key)
        line_end = span.start + len(self.source.line(span.line)) - (span.column - 1)
        span = replace(span, end=max(span.start, min(span.end, line_end)))
        return Finding(level or LEVELS.get(code, "error"), code, said, self.source.name, span, at, hint)

    def step(self, code: str, use: Use, index: int, message: str, hint: str) -> Findings:
        """A finding about one step of a path; what an `each` outside contributed is told there."""
        if (offset := use.steps[index]) >= 0:
            yield self.finding(code, use.at, message, hint, word=(offset, use.path[index]))

    def problem(self, problem: Problem) -> Finding:
        """What the compiler of values says, at the word it speaks of."""
        word = re.match(r"\w+|\{\{|\{%|\S", problem.text[problem.offset or 0 :])
        place = None if problem.offset is None else (problem.offset, word[0] if word else "")
        return self.finding(problem.code, problem.at, problem.message, problem.hint, word=place)

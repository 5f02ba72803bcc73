"""What rules look at: one file with its tree, the shapes it is held against, and its objects with every path compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from connector.lint.findings import LEVELS, Finding, Level
from connector.lint.grammar import UNKNOWN, Trouble
from connector.model import Shape
from connector.source import At, Source, Span, lookup
from connector.values import Problem, Use, Value, compile_path, compile_record


@dataclass
class Object:
    """One object of a mapping. `sure`: nothing in it was spoiled, so that what it lacks is lacking."""

    name: str
    node: dict[str, Any]
    sure: bool
    problems: list[Problem] = field(default_factory=list)

    @property
    def at(self) -> At:
        return ("objects", self.name)

    @cached_property
    def reads(self) -> dict[str, Any]:
        return part(self.node, "read")

    @cached_property
    def triggers(self) -> list[tuple[int, dict[str, Any]]]:
        found = self.node.get("triggers")
        return [(n, t) for n, t in enumerate(found if isinstance(found, list) else []) if isinstance(t, dict)]

    @cached_property
    def record(self) -> Value:
        made = known({"fields": self.node.get("fields")})
        fields = made["fields"] if isinstance(made, dict) else {}
        return compile_record(fields, (*self.at, "fields"), self.problems if fields else [])

    @cached_property
    def joins(self) -> list[tuple[int, str, str, Value]]:
        return [
            (n, read, name, compile_path(path, (*self.at, "triggers", n, "with", read, name), self.problems))
            for n, trigger in self.triggers
            for read, on in part(trigger, "with").items()
            for name, path in (on.items() if isinstance(on, dict) else ())
            if isinstance(path, str)
        ]

    @cached_property
    def keys(self) -> list[tuple[At, str, Value | None]]:
        """Place, field of the target, and what `from` reads, of each key that can be understood."""
        listed = part(self.node, "match").get("keys")
        found: list[tuple[At, str, Value | None]] = []
        for n, key in enumerate(listed if isinstance(listed, list) else []):
            at = (*self.at, "match", "keys", n)
            if isinstance(key, str):
                found.append((at, key, None))
            elif isinstance(key, dict) and isinstance(key.get("field"), str) and key.get("from") is not UNKNOWN:
                source = compile_path(key["from"], (*at, "from"), self.problems) if "from" in key else None
                found.append(((*at, "field"), key["field"], source))
        return found

    @cached_property
    def uses(self) -> list[Use]:
        """Every path of the values and keys."""
        return [*self.record.uses, *(use for *_, value in self.keys if value for use in value.uses)]

    @property
    def rows(self) -> list[list[str]]:
        """What each trigger brings: the changed read, then the joined ones in order."""
        return [[str(trigger.get("changed")), *part(trigger, "with")] for _, trigger in self.triggers]

    def many(self, read: str) -> bool:
        return part(self.reads, read).get("many") is True

    @property
    def pulls(self) -> bool:
        return self.node.get("direction") != "push"


def part(node: Any, key: str) -> dict[str, Any]:
    """The map at a key; empty when it is not there or not known."""
    found = node.get(key) if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def known(node: Any) -> Any:
    """The node without fields that hold something unknown."""
    if isinstance(node, list):
        items = [known(item) for item in node]
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    if not isinstance(node, dict):
        return node
    made = {key: known(value) for key, value in node.items() if key != "fields"}
    if any(value is UNKNOWN for value in made.values()):
        return UNKNOWN
    if "fields" in node:
        fields = node["fields"] if isinstance(node["fields"], dict) else {}
        cleaned = {name: known(value) for name, value in fields.items()}
        made["fields"] = {name: value for name, value in cleaned.items() if value is not UNKNOWN}
        if not made["fields"]:
            return UNKNOWN
    return made


@dataclass
class File:
    """`tree` is free of what the grammar refused; `folder` is where the file lies, None for text without a file."""

    source: Source
    kind: str
    tree: dict[str, Any]
    spoiled: frozenset[At] = frozenset()
    folder: Path | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    mapping_errors: int = 0
    """How many errors the mapping has that a connection or an example file names."""

    @cached_property
    def objects(self) -> list[Object]:
        return [
            Object(name, node, not any(at[:2] in (("objects", name), ("objects",), ()) for at in self.spoiled))
            for name, node in part(self.tree, "objects").items()
            if isinstance(node, dict)
        ]

    def finding(
        self, code: str, message: str, at: At, hint: str = "", *, key: bool = False, level: Level | None = None
    ) -> Finding:
        return self._at(self.span(at, key=key), code, message, at, hint, level)

    def step(self, code: str, message: str, use: Use, index: int, hint: str = "") -> Finding:
        """A finding about one step of a path."""
        return self.within(code, message, use.at, use.path[index], use.steps[index], hint)

    def within(self, code: str, message: str, at: At, text: str, offset: int | None, hint: str = "") -> Finding:
        """A finding about a part of the string at `at`."""
        return self._at(self.source.inside(at, offset, text), code, message, at, hint)

    def problem(self, problem: Problem) -> Finding:
        """What the compiler of values says, at the word it speaks of."""
        word = re.match(r"\w+|\{\{|\{%|\S", problem.text[problem.offset or 0 :]) if problem.offset is not None else None
        text = word[0] if word else ""
        return self.within(problem.code, problem.message, problem.at, text, problem.offset, problem.hint)

    def trouble(self, trouble: Trouble) -> Finding:
        """What the grammar says: at the key where that is wrong or lacks something, else at the value itself."""
        marks = self.source.marks.get(trouble.at)
        span = marks.value if marks and not trouble.key else self.span(trouble.at, key=trouble.key)
        return self._at(span, trouble.code, trouble.message, trouble.at, trouble.hint)

    def span(self, at: At, *, key: bool = False) -> Span:
        """A block is placed by its key, a scalar by its value, and what has no key by the first thing in it."""
        marks = self.source.marks.get(at)
        if marks is None:
            return self.span(at[:-1]) if at else Span(1, 1, 0, 0)
        value = lookup(self.source.tree, at)
        if marks.key and (key or (isinstance(value, (dict, list)) and value)):
            return marks.key
        if isinstance(value, (dict, list)) and value:
            first = (*at, next(iter(value)) if isinstance(value, dict) else 0)
            return self.span(first, key=True)
        return marks.value

    def _at(self, span: Span, code: str, message: str, at: At, hint: str = "", level: Level | None = None) -> Finding:
        room = len(self.source.line(span.line)) - (span.column - 1)
        one_line = Span(span.line, span.column, span.start, span.start + max(0, min(span.length, room)))
        return Finding(level or LEVELS.get(code, "error"), code, message, self.source.name, one_line, at, hint)


Findings = Iterator[Finding]

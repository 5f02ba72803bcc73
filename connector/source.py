"""YAML text -> tree and marks. The strict loader: one meaning for every scalar, a position for every key and value.

`true`, `false`, `null` (and nothing at all) and decimal numbers without leading zeros are special, every other scalar is
text: `on`, `NO`, `02134`, `15:30` and dates stay what was typed. Duplicate keys, anchors, aliases, tags, several documents,
deep nesting and large files are errors with a position, found while the events stream by and before anything is built:
a file of 400 bytes can otherwise cost minutes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from connector.errors import SpecError

At = tuple[str | int, ...]
"""Where something stands in the tree: keys and indexes from the top."""

MAX_BYTES = 256 * 1024
MAX_NODES = 50_000
MAX_DEPTH = 32

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_DIGITS = 17  # more than these and a system on the way may round the number
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what the parser counts as the end of a line
_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WORDS = {"true": True, "false": False, "null": None, "": None}


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of the text, with the line and column (from 1) of its start."""

    line: int
    column: int
    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a value stands, and its key if it has one."""

    value: Span
    key: Span | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the text as YAML."""

    code: str
    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Source:
    """One file, read. `faults` not empty: the tree holds what could be made of it and must not be used."""

    name: str
    text: str
    tree: Any
    marks: Mapping[At, Marks]
    faults: tuple[Fault, ...] = ()

    def span(self, at: At, *, key: bool = False) -> Span:
        """The place of a value (or of its key); of what is around it when it is not in the file itself."""
        while at and at not in self.marks:
            at = at[:-1]
        marks = self.marks.get(at) or Marks(Span(1, 1, 0, 0))
        return marks.key if key and marks.key else marks.value

    def inside(self, at: At, offset: int | None, text: str = "") -> Span:
        """The place of `text`, which stands at `offset` of the string at `at`; of its end when offset is behind it.

        Quotes, escapes and folded lines shift offsets, so the same occurrence is looked for in what was typed.
        """
        outer = self.span(at)
        value = lookup(self.tree, at)
        if offset is None or not isinstance(value, str):
            return outer
        typed = self.text[outer.start : outer.end]
        if not text:
            if offset >= len(value):
                return self._at(outer.start + len(typed.rstrip().rstrip("'\"")), 1)
            text = value[offset]
        nth = len(re.findall(re.escape(text), value[:offset]))
        for n, found in enumerate(re.finditer(re.escape(text), typed)):
            if n == nth:
                return self._at(outer.start + found.start(), len(text))
        return outer

    def _at(self, start: int, length: int) -> Span:
        return _place(self.text, start, length)

    def line(self, number: int) -> str:
        lines = _lines(self.text)
        return lines[number - 1] if 0 < number <= len(lines) else ""


@lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return _BREAK.split(text)


@lru_cache(maxsize=4)
def _starts(text: str) -> list[int]:
    return [0, *(found.end() for found in _BREAK.finditer(text))]


def _place(text: str, start: int, length: int) -> Span:
    starts = _starts(text)
    line = bisect_right(starts, start)
    return Span(line, start - starts[line - 1] + 1, start, start + length)


def lookup(tree: Any, at: At) -> Any:
    """The value at a place of a tree; None when it is not there."""
    for step in at:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def read(path: Path) -> Source:
    """The file, parsed. Raises SpecError when it cannot be read as text."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}:1: this is not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    return parse(text, str(path))


def parse(text: str, name: str = "<text>") -> Source:
    """The text as a tree with marks. Never raises for bad YAML: look at `faults`."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        fault = Fault("file_too_large", f"a file may have {MAX_BYTES // 1024} KiB; split it", Span(1, 1, 0, 0))
        return Source(name, text, None, {}, (fault,))
    if found := _FORBIDDEN.search(text):
        said = f"the character U+{ord(found[0]):04X} cannot stand in the text; remove it"
        return Source(name, text, None, {}, (Fault("yaml_syntax", said, _place(text, found.start(), 1)),))
    builder = _Builder(text)
    try:
        builder.build()
    except yaml.YAMLError as error:
        builder.faults.append(_syntax(error, text))
    except _Stop:
        pass
    return Source(name, text, builder.tree, builder.marks, tuple(builder.faults))


class _Stop(Exception):
    pass


@dataclass
class _Builder:
    text: str
    tree: Any = None
    marks: dict[At, Marks] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def build(self) -> None:
        events = yaml.parse(self.text, Loader=_LOADER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            self.stop("empty_file", "the file says nothing", Span(1, 1, 0, 0))
        self.tree = self.value(events, next(events), (), None)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.stop(
                    "several_documents", "a file holds one document; remove this --- and what follows", _span(event)
                )

    def value(self, events: Iterator[Any], event: Any, at: At, key: Span | None) -> Any:
        start = _span(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.stop("file_too_large", f"a file may have {MAX_NODES} values", start)
        if len(at) > MAX_DEPTH:
            self.stop("nested_too_deep", f"nesting goes {MAX_DEPTH} levels deep at most", start)
        if isinstance(event, yaml.AliasEvent):
            self.stop("alias", "aliases (*name) are not part of the language; write the value out", start)
        if event.anchor is not None:
            self.stop("anchor", "anchors (&name) are not part of the language; remove it", start)
        if event.tag is not None:
            self.stop("tag", "tags (!name) are not part of the language; remove it", start)
        self.marks[at] = Marks(start, key)
        if isinstance(event, yaml.ScalarEvent):
            if not event.style and _NUMBER.match(event.value) and sum(map(str.isdigit, event.value)) > _DIGITS:
                said = f"a number has {_DIGITS} digits at most; put it in quotes to have it as text"
                self.faults.append(Fault("number_too_long", said, start))
                return event.value
            return _scalar(event)
        made, end = (
            self.mapping(events, event, at) if isinstance(event, yaml.MappingStartEvent) else self.sequence(events, at)
        )
        self.marks[at] = Marks(Span(start.line, start.column, start.start, end), key)
        return made

    def sequence(self, events: Iterator[Any], at: At) -> tuple[list[Any], int]:
        made: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return made, _span(event).end
            made.append(self.value(events, event, (*at, len(made)), None))
        raise _Stop

    def mapping(self, events: Iterator[Any], opening: Any, at: At) -> tuple[dict[str, Any], int]:
        made: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                return made, _span(event).end
            span = _span(event)
            if not isinstance(event, yaml.ScalarEvent):
                if self.text.startswith("{{", opening.start_mark.index):
                    self.stop("unquoted_template", "a value with {{ }} must be in quotes", _span(opening))
                self.stop("key_not_text", "a key must be text", span)
            if event.anchor is not None or event.tag is not None:
                self.stop("anchor", "anchors and tags are not part of the language; remove it", span)
            if event.value == "<<" and not event.style:
                self.stop("merge_key", "merge keys (<<) are not part of the language; write the keys out", span)
            key = event.value
            value = next(events)
            if key in made:
                first = self.marks[(*at, key)].key
                line = first.line if first else 0
                self.faults.append(Fault("duplicate_key", f"{key!r} is already given on line {line}; keep one", span))
                self.value(events, value, (*at, key, "\0duplicate"), span)
            else:
                made[key] = None
                made[key] = self.value(events, value, (*at, key), span)
        raise _Stop

    def stop(self, code: str, message: str, span: Span) -> None:
        self.faults.append(Fault(code, message, span))
        raise _Stop


def _scalar(event: Any) -> Any:
    value: str = event.value
    if event.style:  # quoted or block; plain is None or '', as the parser pleases
        return value
    if value in _WORDS:
        return _WORDS[value]
    if number := _NUMBER.match(value):
        return float(value) if number[2] else int(value)
    return value


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, start.index, end.index)


_PLAIN_WORDS = (
    ("found character that cannot start any token", "this character cannot start a value; put the value in quotes"),
    ("mapping values are not allowed", "a second colon in one line; put the value in quotes, or check the indentation"),
    ("could not find expected ':'", "a key needs a colon behind it"),
    ("did not find expected key", "a key was expected here; check the indentation and the quotes above"),
    ("did not find expected '-' indicator", "a list item was expected here; check the indentation"),
    ("did not find expected ',' or ']'", "the list [ is never closed, or a comma is missing"),
    ("did not find expected ',' or '}'", "the map { is never closed, or a comma is missing"),
    ("found unexpected end of stream", "the quotes are never closed"),
    ("found a tab character", "tabs cannot indent; use blanks"),
    ("<document start>", "a file holds one document; remove what follows the ..."),
    ("found unknown escape character", "unknown escape in double quotes; use single quotes, or double the backslash"),
)


def _syntax(error: yaml.YAMLError, text: str) -> Fault:
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = Span(mark.line + 1, mark.column + 1, mark.index, mark.index + 1) if mark else Span(1, 1, 0, 0)
    if text[where.start : where.end] == "\t":
        problem = "found a tab character"
    said = next((plain for raw, plain in _PLAIN_WORDS if raw in problem), problem)
    opened = getattr(error, "context_mark", None)
    if opened and "never closed" in said and opened.line + 1 < where.line:
        said += f"; it begins on line {opened.line + 1}"
    return Fault("yaml_syntax", said, where)


def spliced(source: Source, at: At, value: str) -> str:
    """The text with the scalar at `at` replaced, or added as the last key of the map around it.

    Everything else, comments included, stays as it was typed.
    """
    text, holder = source.text, lookup(source.tree, at[:-1])
    if at in source.marks:
        span = source.marks[at].value
        if isinstance(lookup(source.tree, at), (dict, list)) and text[span.start] not in "{[":
            raise SpecError(f"{source.name}: {'.'.join(map(str, at))} is not one value that could be replaced")
        gap = " " if text[span.start - 1 : span.start] == ":" else ""  # nothing stood behind the colon
        return text[: span.start] + gap + value + text[_end(source, at) :]
    parent = source.marks.get(at[:-1])
    if parent is None or not isinstance(holder, dict) or not (holder or text[parent.value.start] == "{"):
        raise SpecError(f"{source.name}: there is no {'.'.join(map(str, at[:-1]))} to add {at[-1]!r} to")
    if text[parent.value.start] == "{":
        end = _end(source, (*at[:-1], next(reversed(holder)))) if holder else parent.value.start + 1
        return f"{text[:end]}{', ' if holder else ''}{at[-1]}: {value}{text[end:]}"
    first = source.marks[(*at[:-1], next(iter(holder)))].key
    indent = " " * ((first.column if first else 1) - 1)
    end = _end(source, at[:-1])
    end = text.find("\n", end) if "\n" in text[end:] else len(text)
    return f"{text[:end]}\n{indent}{at[-1]}: {value}{text[end:]}"


def _end(source: Source, at: At) -> int:
    """Where the last thing that was typed for a value ends: a block goes on to the next token, comments and all."""
    span, node = source.marks[at].value, lookup(source.tree, at)
    if isinstance(node, (dict, list)) and node and source.text[span.start] not in "{[":
        return _end(source, (*at, next(reversed(node)) if isinstance(node, dict) else len(node) - 1))
    return span.start + len(source.text[span.start : span.end].rstrip("\r\n"))

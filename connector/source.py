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
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

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


class Span(msgspec.Struct, frozen=True):
    """Half-open range of the text, with the line and column (from 1) of its start."""

    line: int = 1
    column: int = 1
    start: int = 0
    end: int = 0


class Marks(msgspec.Struct, frozen=True):
    """Where a value stands, and its key if it has one."""

    value: Span = Span()
    key: Span | None = None


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with the text as YAML."""

    code: str
    message: str
    span: Span = Span()


class Source(msgspec.Struct, frozen=True):
    """One file, read. `faults` not empty: the tree holds what could be made of it and must not be used."""

    name: str
    text: str
    tree: Any
    marks: Mapping[At, Marks]
    faults: tuple[Fault, ...] = ()

    def span(self, at: At, *, key: bool = False) -> Span:
        """The place of a value, or of its key. What is not there is placed by the key of what is around it."""
        while at and at not in self.marks:
            at, key = at[:-1], True
        marks = self.marks.get(at) or Marks()
        return marks.key if key and marks.key else marks.value

    def inside(self, at: At, offset: int | None, text: str = "") -> Span:
        """The place of `text`, which stands at `offset` of the string at `at`; of its end when offset is behind it.

        Quotes, escapes and folded lines shift offsets, so the same occurrence is looked for in what was typed.
        """
        outer, value = self.span(at), lookup(self.tree, at)
        if offset is None or not isinstance(value, str):
            return outer
        typed = self.text[outer.start : outer.end]
        if not text and offset >= len(value):
            return _place(self.text, outer.start + len(typed.rstrip().rstrip("'\"")), 1)
        word = re.escape(text or value[offset])
        before = len(re.findall(word, value[:offset]))
        found = next(islice(re.finditer(word, typed), before, None), None)
        return _place(self.text, outer.start + found.start(), len(found[0])) if found else outer

    def line(self, number: int) -> str:
        starts = [*_starts(self.text)[max(number - 1, 0) : number + 1], len(self.text)]
        return self.text[starts[0] : starts[1]].rstrip("\r\n\x85\u2028\u2029") if number and starts[1:] else ""


@lru_cache(maxsize=4)
def _starts(text: str) -> list[int]:
    return [0, *(found.end() for found in _BREAK.finditer(text))]


def _place(text: str, start: int, length: int) -> Span:
    line = bisect_right(_starts(text), start)
    return Span(line, start - _starts(text)[line - 1] + 1, start, start + length)


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
    builder, tree = _Builder(text), None
    try:
        tree = builder.document()
    except yaml.YAMLError as error:
        builder.faults.append(_syntax(error, text))
    except _Stop as stop:
        builder.faults.append(Fault(*stop.args))
    return Source(name, text, tree, builder.marks, tuple(builder.faults))


class _Stop(Exception):
    """With the code, message and span of the fault behind which nothing can be understood."""


@dataclass
class _Builder:
    text: str
    marks: dict[At, Marks] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def document(self) -> Any:
        if len(self.text.encode("utf-8", "replace")) > MAX_BYTES:
            raise _Stop("file_too_large", f"a file may have {MAX_BYTES // 1024} KiB; split it")
        if found := _FORBIDDEN.search(self.text):
            said = f"the character U+{ord(found[0]):04X} cannot stand in the text; remove it"
            raise _Stop("yaml_syntax", said, _place(self.text, found.start(), 1))
        events = yaml.parse(self.text, Loader=_LOADER)
        if not any(isinstance(event, yaml.DocumentStartEvent) for event in events):
            raise _Stop("empty_file", "the file says nothing")
        tree = self.value(events, next(events), ())
        if second := next((event for event in events if isinstance(event, yaml.DocumentStartEvent)), None):
            raise _Stop("several_documents", "a file holds one document; remove this --- and the rest", _span(second))
        return tree

    def value(self, events: Iterator[Any], event: Any, at: At, key: Span | None = None) -> Any:
        start = _span(event)
        self.marks[at] = Marks(start, key)
        if len(self.marks) > MAX_NODES:
            raise _Stop("file_too_large", f"a file may have {MAX_NODES} values", start)
        if len(at) > MAX_DEPTH:
            raise _Stop("nested_too_deep", f"nesting goes {MAX_DEPTH} levels deep at most", start)
        _plain(event, start)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, start)
        made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        while not isinstance(child := next(events), yaml.CollectionEndEvent):
            if isinstance(made, list):
                made.append(self.value(events, child, (*at, len(made))))
            else:
                self.pair(events, child, at, made)
        self.marks[at] = Marks(replace(start, end=_span(child).end), key)
        return made

    def scalar(self, event: Any, span: Span) -> Any:
        value: str = event.value
        if event.style:  # quoted or block; plain is None or '', as the parser pleases
            return value
        number = _NUMBER.match(value)
        if number and sum(map(str.isdigit, value)) > _DIGITS:
            said = f"a number has {_DIGITS} digits at most; put it in quotes to have it as text"
            self.faults.append(Fault("number_too_long", said, span))
            return value
        return (float(value) if number[2] else int(value)) if number else _WORDS.get(value, value)

    def pair(self, events: Iterator[Any], event: Any, at: At, made: dict[str, Any]) -> None:
        span = _span(event)
        _plain(event, span)
        if not isinstance(event, yaml.ScalarEvent):
            opening = self.marks[at].value
            if self.text.startswith("{{", opening.start):
                raise _Stop("unquoted_template", "a value with {{ }} must be in quotes", opening)
            raise _Stop("key_not_text", "a key must be text", span)
        key: str = event.value
        if key not in made:
            made[key] = self.value(events, next(events), (*at, key), span)
            return
        first = self.marks[(*at, key)].key or span
        self.faults.append(Fault("duplicate_key", f"{key!r} is already given on line {first.line}; keep one", span))
        self.value(events, next(events), (*at, key, "\0duplicate"), span)


def _plain(event: Any, span: Span) -> None:
    merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style
    if merges or event.anchor is not None or getattr(event, "tag", None) is not None:
        said = "anchors (&), aliases (*), tags (!) and merge keys (<<) are not part of the language"
        raise _Stop("not_plain_yaml", f"{said}; write it out, or put text in quotes", span)


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, start.index, end.index)


_PLAIN_WORDS = (
    ("found character that cannot start any token", "this character cannot start a value; put the value in quotes"),
    ("mapping values are not allowed", "a second colon in one line; put the value in quotes, or check the indentation"),
    ("could not find expected ':'", "a key needs a colon behind it"),
    ("did not find expected key", "a key was expected here; check the indentation and the quotes above"),
    ("did not find expected ','", "the bracket is never closed, or a comma is missing"),
    ("found unexpected end of stream", "the quotes are never closed"),
    ("found a tab character", "tabs cannot indent; use blanks"),
    ("found unknown escape character", "unknown escape in double quotes; use single quotes, or double the backslash"),
)


def _syntax(error: yaml.YAMLError, text: str) -> Fault:
    problem, opened = str(getattr(error, "problem", None) or error), getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None) or opened
    where = Span(mark.line + 1, mark.column + 1, mark.index, mark.index + 1) if mark else Span()
    if text[where.start : where.end] == "\t":
        problem = "found a tab character"
    said = next((plain for raw, plain in _PLAIN_WORDS if raw in problem), problem)
    if opened and "never closed" in said and opened.line + 1 < where.line:
        said += f"; it begins on line {opened.line + 1}"
    return Fault("yaml_syntax", said, where)


def spliced(source: Source, at: At, value: str) -> str:
    """The text with the scalar at `at` replaced, or added as the last key of the map around it.

    Everything else, comments included, stays as it was typed.
    """
    text, around, key = source.text, at[:-1], at[-1]
    if at in source.marks:
        start = source.marks[at].value.start
        if isinstance(lookup(source.tree, at), (dict, list)) and text[start] not in "{[":
            raise SpecError(f"{source.name}: {'.'.join(map(str, at))} is not one value that could be replaced")
        gap = " " * (text[start - 1 : start] == ":")  # nothing stood behind the colon
        return text[:start] + gap + value + text[_end(source, at) :]
    holder, start = lookup(source.tree, around), source.span(around).start
    if not isinstance(holder, dict) or not (holder or text[start] == "{"):
        raise SpecError(f"{source.name}: there is no {'.'.join(map(str, around))} to add {key!r} to")
    if text[start] == "{":
        end = _end(source, (*around, [*holder][-1])) if holder else start + 1
        return f"{text[:end]}{', ' * bool(holder)}{key}: {value}{text[end:]}"
    indent = " " * (source.span((*around, next(iter(holder))), key=True).column - 1)
    line_end = text.find("\n", _end(source, around))
    end = line_end if line_end >= 0 else len(text)
    return f"{text[:end]}\n{indent}{key}: {value}{text[end:]}"


def _end(source: Source, at: At) -> int:
    """Where the last thing that was typed for a value ends: a block goes on to the next token, comments and all."""
    span, node = source.marks[at].value, lookup(source.tree, at)
    if isinstance(node, (dict, list)) and node and source.text[span.start] not in "{[":
        return _end(source, (*at, [*node][-1] if isinstance(node, dict) else len(node) - 1))
    return span.start + len(source.text[span.start : span.end].rstrip("\r\n"))

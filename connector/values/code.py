"""A compiled value -> one Python function, for rows of which nobody wants a trace: a third of the time of closures.

It is written twice. The first takes it that each key that is named is there, as most systems give them: so nothing but null
can be missing, and nothing is absent. The first row that is not so goes to the second, as all that follow it do.

`Value.parts` says which form it is and what it is made of; a function of the table EMIT adds the lines for that and gives the
variable that has the result. What has no parts, and what holds a node of a path or template that is not known here, becomes
a call of its closure. What users wrote gets into the text as `ascii` of a str alone, all else of it into the namespace.
"""

from __future__ import annotations

import itertools
import linecache
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from types import CodeType
from typing import Any

from connector import canon
from connector.model import UNMAPPED, Row, Skip
from connector.values.nouns import ABSENT, FAILS, Path, Value
from connector.values.text import FUNCTIONS, MAX_TEXT, concatenated, text

_LIMITS = (SyntaxError, RecursionError, MemoryError, OverflowError)
"""What CPython raises for code that is nested too deep, or too long."""
_MISSING = "((not {0} or {0}.isspace()) if isinstance({0}, str) else {1})"  # nouns.missing; {1}: whether it is nothing
_GETTER = "{0}.get if isinstance({0}, dict) else GONE if {0} is ABSENT else NULL"
_LENGTH = len("2025-03-01T12:00:00Z")  # no other spelling of an instant has this length, but with a blank for its T


class _Uncoded(Exception):
    """There is no code for this node of a path or template."""


def _newest(*values: Any) -> str | None:
    """The latest instant among them. Where all look alike they compare as text, and only the last has to be an instant."""
    top = ""
    for value in values:
        if type(value) is str and len(value) == _LENGTH and value[10] == "T":
            if value > top:  # noqa: PLR1730 - to call max takes longer
                top = value
        elif value is not None and value is not ABSENT:
            break
    else:
        if not top or canon.instant(top) is top:
            return top or None
    moments = [moment[:-1] for value in values if value is not None and (moment := canon.instant(value))]
    return max(moments) + "Z" if moments else None  # without Z, a fraction sorts behind the whole second


_NAMES: Mapping[str, Any] = {
    "ABSENT": ABSENT,
    "FAILS": FAILS,
    "GONE": {}.get,
    "NULL": lambda _key, _default: None,
    "UNKNOWN": object(),
    "UNMAPPED": UNMAPPED,
    "fold": canon.fold,
    "newest": _newest,
    "text": text,
}


def written(value: Value) -> Callable[[Row, None], Any]:
    """What gives for each row the same as `value.evaluate`; that itself, where CPython cannot compile the code.

    A Skip is returned, or raised as `value.evaluate` does.
    """
    careful = cache(lambda: _written(value, sure=False) or value.evaluate)
    sure = _written(value, sure=True)
    if sure is None:
        return careful()

    def record(row: Row, why: None) -> Any:
        nonlocal sure
        if sure:
            try:
                return sure(row, why)
            except (KeyError, TypeError):  # a key that is not there, or an object that is none
                sure = None
        return careful()(row, why)

    return record


def _written(value: Value, *, sure: bool) -> Callable[[Row, None], Any] | None:
    head = _Block(dict(_NAMES), sure)
    body = replace(head, lines=[], known=head.known.new_child(), items={None: ("row", head)})
    try:
        body.add(f"return {body.value(value)}")
        source = "\n".join(["def record(row, why):", " get = row.get", *_flat([head.lines, body.lines]), ""])
        exec(_compiled(source), head.names)  # noqa: S102 - no text of a user is in it but as `ascii` spells it
    except _LIMITS:
        return None
    made: Callable[[Row, None], Any] = head.names["record"]
    return made


@lru_cache(64)
def _compiled(source: str) -> CodeType:
    name = f"<mapping {zlib.crc32(source.encode()):08x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # what tracebacks show
    return compile(source, name, "exec")


def _flat(lines: list[Any]) -> Iterator[str]:
    for line in lines:
        yield from _flat(line) if isinstance(line, list) else [line]


@dataclass(frozen=True)
class _Block:
    """Where lines are added: texts, and lists of them that others still add to.

    `known`: expression -> the variable that has its value, here or around here. `items`: what an `each` calls its items ->
    their variable, and the beginning of its loop; under None, the row and the beginning of the whole. `absent`: variables that
    can be ABSENT although all keys are there; if that is not `sure`, any can.
    """

    names: dict[str, Any]
    sure: bool
    absent: set[str] = field(default_factory=lambda: {"ABSENT"})
    bound: dict[int, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    depth: int = 1
    lines: list[Any] = field(default_factory=list)
    known: ChainMap[str, str] = field(default_factory=ChainMap)
    items: Mapping[str | None, tuple[str, _Block]] = field(default_factory=dict)

    def add(self, *lines: str) -> None:
        self.lines.extend(" " * self.depth + line for line in lines)

    def under(self, line: str) -> _Block:
        self.add(line)
        return replace(self, depth=self.depth + 1, known=self.known.new_child())

    def loop(self, name: str, item: str, line: str) -> _Block:
        self.add(line)
        head = replace(self, depth=self.depth + 1, lines=[], known=self.known.new_child())
        body = replace(head, lines=[], known=head.known.new_child(), items={**self.items, name: (item, head)})
        self.lines.extend((head.lines, body.lines))
        return body

    def new(self) -> str:
        return f"v{next(self.numbers)}"

    def let(self, expression: str) -> str:
        """The variable that has the value of an expression, which is computed once."""
        if expression.isidentifier():
            return expression
        if expression not in self.known:
            self.known[expression] = name = self.new()
            self.add(f"{name} = {expression}")
        return self.known[expression]

    def attempt(self, expression: str) -> str:
        """The same; null where that fails."""
        if expression not in self.known:
            self.known[expression] = name = self.new()
            self.add(f"try: {name} = {expression}", f"except FAILS: {name} = None")
        return self.known[expression]

    def may(self, *variables: str) -> bool:
        """Whether all of them can be absent."""
        return not self.sure or self.absent.issuperset(variables)

    def marked(self, variable: str, absent: bool = True) -> str:
        if absent:
            self.absent.add(variable)
        return variable

    def missing(self, variable: str) -> str:
        """Whether it is: an expression."""
        null = f"{variable} is None or {variable} is ABSENT" if self.may(variable) else f"{variable} is None"
        return _MISSING.format(variable, f"({null})")

    def none_of(self, values: list[str]) -> str:
        """What there is when all of them are missing: an expression."""
        some = dict.fromkeys(values)
        return (
            f"ABSENT if {' and '.join(f'{each} is ABSENT' for each in some)} else None" if self.may(*some) else "None"
        )

    def constant(self, value: Any) -> str:
        if value is None or type(value) in (bool, str):
            return ascii(value)
        if id(value) not in self.bound:
            name = self.bound[id(value)] = f"k{next(self.numbers)}"
            self.names[name] = value
        return self.bound[id(value)]

    def row(self) -> str:
        """What a closure is given here: the row, and the items of all loops around."""
        row = "row"
        for name, (item, head) in self.items.items():
            row = head.let(f"{{**{row}, {name!a}: {item}}}") if name is not None else row
        return row

    def path(self, names: Path, default: str) -> str:
        """An expression for what stands there. The objects on the way are looked up once, where they are first known."""
        item, head = self.items.get(names[0], self.items[None])  # no variable of ours is called row
        steps = names if item == "row" else names[1:]
        if not steps:
            return item
        if self.sure:  # here and now: within a `try` a key that is not there would be a null
            for step in steps[:-1]:
                item = head.let(_inside(item, step))
            return self.let(_inside(item, steps[-1]))
        get = head.let(_GETTER.format(item)) if item != "row" else "get"
        for name in steps[:-1]:
            get = head.let(_GETTER.format(head.let(f"{get}({name!a}, ABSENT)")))
        return f"{get}({steps[-1]!a}, {default})"

    def tree(self, tree: Any) -> str:
        """An expression for a node of a path or template, with JMESPath's null for what is absent. It may raise FAILS."""
        match tree:
            case {"type": "literal", "value": value}:
                return self.constant(value)
            case {"type": "field", "value": name}:
                return self.path((name,), "None")
            case {"type": "subexpression", "children": steps} if all(step["type"] == "field" for step in steps):
                return self.path(tuple(step["value"] for step in steps), "None")
            case {"type": "function_expression", "value": name, "children": args} if FUNCTIONS[name].call:
                return self.call(FUNCTIONS[name].call, args)
            case {"type": "call", "value": function, "children": args}:
                small = function is concatenated and len(args) < 20
                return self.joined(args) if small else self.call(function, args)
            case {"type": "choice", "children": [condition, then, other]}:
                found = self.new()
                chosen = (self.tree(one) if one else found for one in (then, other))
                return "({1} if ({0} := {3}) else {2})".format(found, *chosen, self.tree(condition))
        raise _Uncoded

    def call(self, function: Any, args: list[Any]) -> str:
        return f"{self.constant(function)}({', '.join(map(self.tree, args))})"

    def joined(self, pieces: list[Any]) -> str:
        """As `concatenated`; the lengths are looked at first there as well."""
        parts, sizes, room = [], [], MAX_TEXT
        for piece in pieces:
            if piece["type"] == "literal" and isinstance(piece["value"], str):
                parts.append(self.constant(piece["value"]))
                room -= len(piece["value"])
            else:
                parts.append(part := self.new())
                sizes.append(
                    f"len({part} if isinstance({part} := {self.tree(piece)}, str) else ({part} := text({part})))"
                )
        whole = f"{self.constant(concatenated)}({', '.join(parts)})"
        return f"({' + '.join(parts)} if {' + '.join(sizes) or '0'} <= {room} else {whole})"

    def value(self, value: Value) -> str:
        """The variable that has it; the lines for it are added."""
        if value.parts:
            form, *parts = value.parts
            try:
                return EMIT[form](self, *parts)
            except _Uncoded:
                pass
        return self.marked(self.let(f"{self.constant(value.evaluate)}({self.row()}, None)"))


def _inside(item: str, name: str) -> str:
    """An expression for a key that is there, of an object or null."""
    return f"{item}[{name!a}]" if item == "row" else f"{item}[{name!a}] if {item} is not None else None"


# ---- one form each: a block, and what `Value.parts` has behind the name ---------------------------------------


def _first(out: _Block, items: list[Value]) -> str:
    result = out.new()
    inner = out.under("while True:")
    values = []
    for item in items:
        values.append(inner.value(item))
        inner.add(f"{result} = {values[-1]}", f"if not {inner.missing(values[-1])}: break")
    inner.add(f"{result} = {out.none_of(values)}", "break")
    return out.marked(result, out.may(*values))


def _latest(out: _Block, items: list[Value]) -> str:
    values = [out.value(item) for item in items]
    newest = f"newest({', '.join(values)})"
    return out.marked(out.let(f"{newest} or ({out.none_of(values)})"), True) if out.may(*values) else out.let(newest)


def _template(out: _Block, tree: Any, reads: list[Path], when_missing: Any) -> str:
    whole = out.tree(tree)
    made = out.attempt(f"({whole}).strip()" if tree.get("value") is concatenated else f"text({whole}).strip()")
    values = [out.let(out.path(names, "ABSENT")) for names in dict.fromkeys(reads)]
    if not values:
        return made
    result = made
    if out.may(*values):
        result = out.marked(out.let(f"ABSENT if {' and '.join(f'{value} is ABSENT' for value in values)} else {made}"))
    if when_missing is not None:
        some = " or ".join(map(out.missing, values))
        said = "ABSENT" if when_missing is ABSENT else ascii(when_missing)
        absent = when_missing is ABSENT or result in out.absent
        result = out.marked(out.let(f"{said} if {result} is not ABSENT and ({some}) else {result}"), absent)
    return result


def _each(out: _Block, source: Value, name: str, condition: Value | None, fields: Value) -> str:
    items, found, item = out.value(source), out.new(), out.new()
    out.add(f"{found} = ABSENT if {items} is ABSENT else []" if out.may(items) else f"{found} = []")
    inner = out.loop(name, item, f"for {item} in {items} if isinstance({items}, list) else ():")
    if condition:
        inner = inner.under(f"if {_holds(inner, inner.value(condition))}:")
    inner.add(f"{found}.append({inner.value(fields)})")
    return out.marked(found, out.may(items))


def _required(out: _Block, value: Value, condition: Value | None, skip: Skip) -> str:
    result = out.new()
    out.add(f"{result} = ABSENT")
    inner = out.under(f"if {_holds(out, out.value(condition)) if condition else True}:")
    found = inner.value(value)
    inner.add(f"if {inner.missing(found)}: return {inner.constant(skip)}", f"{result} = {found}")
    return out.marked(result, condition is not None)


def _holds(out: _Block, value: str) -> str:
    return f"{value} is not False and not {out.missing(value)}"


def _changed(
    out: _Block, value: Value, names: Mapping[str, Any], fold: bool, convert: Callable[[Any], Any] | None, keep: bool
) -> str:
    given, found = out.value(value), out.new()
    out.add(f"{found} = {given}")
    if names or convert:
        inner = out.under(f"if {found} is not None and {found} is not ABSENT:").under("try:")
        convertible = inner
        if names:
            key = inner.let(f"text({found})")
            known = f"{inner.constant(names)}.get({f'fold({key})' if fold else key}, UNKNOWN)"
            noted = f"unmapped[{value.text!a}, {key}] = None"
            inner.add(f"{found} = {known}", f"if {found} is UNKNOWN:", f" {found} = None")
            inner.add(f" if (unmapped := get(UNMAPPED)) is not None: {noted}")
            convertible = inner.under(f"elif {found} is not None:") if convert else inner
        if convert:
            convertible.add(f"{found} = {out.constant(convert)}({found})")
        replace(inner, depth=inner.depth - 1).add(f"except FAILS: {found} = None")
    out.marked(found, out.may(given))
    if keep:
        out.add(f"if {out.missing(found)}: {found} = ABSENT")
    return out.marked(found, keep)


def _fields(out: _Block, children: Mapping[str, Value], inner: bool) -> str:
    record = out.new()
    values = {name: out.value(child) for name, child in children.items()}
    if out.sure and out.absent.isdisjoint(values.values()):
        out.add(f"{record} = {{{', '.join(f'{name!a}: {value}' for name, value in values.items())}}}")
        return record
    out.add(f"{record} = {{}}")
    for name, value in values.items():
        out.add(f"if {value} is not ABSENT: {record}[{name!a}] = {value}")
    return out.marked(out.let(f"{record} or ABSENT")) if inner else record


EMIT: Mapping[str, Callable[..., str]] = {
    "changed": _changed,
    "constant": lambda out, value: out.let("ABSENT" if value is ABSENT else out.constant(value)),
    "each": _each,
    "fields": _fields,
    "first": _first,
    "latest": _latest,
    "names": lambda out, *names: out.let(out.path(names, "ABSENT")),
    "required": _required,
    "template": _template,
    "tree": lambda out, tree: out.attempt(out.tree(tree)),
}

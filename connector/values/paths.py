"""A path -> a function of one row, and what it reads; and what a template (`templates.py`) shares with it.

The language is JMESPath. Names with dots alone become a closure; all else is a tree that one interpreter runs. Templates
bring it two more nodes: `call`, a function of its children, and `choice`, a condition with what stands for it when it holds
and when it does not (None: its own value). Neither language has loops, yet `[@, @] | [@, @] | ...` doubles with every step:
so width is bounded before, and work while it runs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from itertools import accumulate, zip_longest
from typing import Any, ClassVar, NamedTuple

from jmespath import functions, parser, visitor
from jmespath.exceptions import JMESPathError, ParseError
from msgspec.structs import replace

from connector.model import Row, Why
from connector.values.nouns import ABSENT, Evaluate, Path, Refused, Scope, Use, Value, nearest, note, nothing, plain
from connector.values.text import FUNCTIONS, concatenated, misfit

Run = Callable[[Any], Any]

MAX_LENGTH = 1_000
MAX_DEPTH = 64
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
MAX_WIDTH = 256
"""How many times a path may multiply what it reads: real ones stay below 10, `[@, @]` ten times over is 1,024."""

_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_SLOT = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*)\s*\}\}")
_OTHER = re.compile(r"\{[{%#]|\{$", re.MULTILINE)
"""What is left of a template that has more than slots: another opening, or a brace before a slot."""
_RESERVED = frozenset(["and", "else", "false", "if", "in", "is", "none", "not", "or", "true", "False", "None", "True"])
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`((?:\\.|[^`\\])*)`", re.DOTALL)
_MISTAKES = (
    (r"\{\{", "{{ }} belongs in a template: {template: ...}"),
    (r"\.\s*(\.|\Z)|\A\s*\.", "a step is missing beside this dot"),
    (r"['\"`]", "this quote is never closed"),
    (r"(==|!=|[<>]=?|&&|\|\|?|,)\s*\Z", "ends too early: a value is missing behind this"),
    (r"(?<![=!<>])=(?!=)", "equal is written =="),
    (r"(?<=\w)-|(?<=\w )\w", "a name with a blank or a dash stands in double quotes"),
)
"""What people write, in the order in which it explains a syntax error best."""
_KINDS = {"comparator": "boolean", "not_expression": "boolean"} | dict.fromkeys(
    ("projection", "filter_projection", "value_projection", "flatten", "multi_select_list", "multi_select_dict"), "json"
)
ALLOWANCE = 100_000

_STANDARD = functions.Functions()
_COPYING = {"function_expression", "flatten", "slice"}
"""What costs more than its steps: it makes a long list or text at once."""
_NULL_IS_A_VALUE = {"not_null", "to_array", "type"}
_EXPREF = {"map": [0], "max_by": [1], "min_by": [1], "sort_by": [1]}
"""Which argument of a function is an `&expression` for each item."""
_PASS_ON = {"max": 1, "max_by": 1, "min": 1, "min_by": 1, "not_null": 0, "reverse": 0, "sort": 0, "sort_by": 0}
"""Functions that give what they are given (0) or an item of it (1), so that the steps behind them read on."""


def path(text: Any, scope: Scope) -> Value:
    scope = replace(scope, text=text if isinstance(text, str) else "")
    try:
        tree = _parse(scope.text)
        reading = Reading(tree, scope)
    except Refused as refused:
        return nothing("path", scope, *refused.args)
    keys = tree["children"] if tree["type"] == "subexpression" else [tree]
    if any(key["type"] != "field" for key in keys):
        value = plain("path", scope, runner(tree), _kind(tree), reading.uses)
        return replace(value, items=reading.items, parts=("tree", tree))
    names = tuple(key["value"] for key in keys)
    parts = ("names", *names)
    return Value("path", dotted(names, scope), reading.uses, None, scope.at, scope.text, {}, reading.items, parts)


class _Parser(parser.Parser):
    """Leaves in the node of a name the place where it stands."""

    _CACHE: ClassVar[dict[str, Any]] = {}  # not the one of those that do not

    def _token_nud_unquoted_identifier(self, token: Any) -> Any:
        return {**super()._token_nud_unquoted_identifier(token), "start": token["start"]}  # type: ignore[misc]

    def _token_nud_quoted_identifier(self, token: Any) -> Any:
        return {**super()._token_nud_quoted_identifier(token), "start": token["start"]}  # type: ignore[misc]

    def _token_led_lparen(self, left: Any) -> Any:
        return {**super()._token_led_lparen(left), "start": left.get("start")}  # type: ignore[misc]


def _parse(text: str) -> Any:
    if len(text) > MAX_LENGTH:
        raise Refused(f"a path has at most {MAX_LENGTH:,} letters; this one has {len(text):,}")
    if _DOTTED.fullmatch(text):  # as the parser has it, which takes ten times as long
        names = re.finditer(r"\w+", text)
        return node("subexpression", [node("field", value=name[0], start=name.start()) for name in names])
    if not text.strip():
        raise Refused("a path is needed here, such as appointment.Id")
    for quoted in _QUOTED.finditer(text):
        try:
            json.dumps(json.loads((quoted[1] or "0").replace("\\`", "`")), allow_nan=False)
        except (ValueError, RecursionError):
            hint = f"'{quoted[1].strip()}'"
            raise Refused(f"{quoted[0]} is not JSON: a text stands in single quotes", quoted.start(), hint) from None
    bare = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text)
    brackets = accumulate((char in "([{") - (char in ")]}") for char in bare)
    try:
        tree = _Parser().parse(text).parsed
    except JMESPathError as error:
        raise _explained(bare, error) from None
    except RecursionError:  # `!` and `[*]` a few hundred times over
        raise Refused(_TOO_DEEP, 0) from None
    if max(*brackets, depth(tree, children)) > MAX_DEPTH:
        raise Refused(_TOO_DEEP, 0)
    if (copies := width(tree)) > MAX_WIDTH:
        raise Refused(f"multiplies what it reads {copies:,} times; {MAX_WIDTH} is the most", 0)
    return tree


def slots(text: str) -> tuple[Any, list[Path]] | None:
    """A template of texts and of dotted names in {{ }}, as `templates.parse` has it; None for every other one."""
    texts, names = [*_SLOT.split(text)[::2]], [*_SLOT.finditer(text)]
    steps = {step for name in names for step in name[1].split(".")}
    if len(text) > MAX_LENGTH or "\r" in text or _OTHER.search("\n".join(texts)) or steps & _RESERVED or not names:
        return None
    pieces: list[Any] = []
    for before, name in zip_longest(texts, names):
        pieces += [node("literal", value=before)] if before else []
        if name:
            words = re.finditer(r"\w+", name[1])
            start = name.start(1)
            fields = [node("field", value=word[0], start=start + word.start()) for word in words]
            pieces.append(node("subexpression", fields))
    reads = [tuple(name[1].split(".")) for name in names]
    return pieces[0] if len(pieces) == 1 else node("call", pieces, value=concatenated), reads


def _explained(bare: str, error: JMESPathError) -> Refused:
    for pattern, said in _MISTAKES:
        if found := re.search(pattern, bare):
            return Refused(said, found.start())
    offset = error.lex_position if isinstance(error, ParseError) else 0
    return Refused(
        f"did not expect {bare[offset]!r} here" if offset < len(bare) else "ends too early: is a bracket never closed?",
        offset,
    )


def _kind(tree: Any) -> str | None:
    """The kind of the result, where the tree alone says it."""
    while tree["type"] in ("pipe", "subexpression"):
        tree = tree["children"][-1]
    if tree["type"] == "function_expression":
        return FUNCTIONS[tree["value"]].kind
    return kind_of(tree["value"]) if tree["type"] == "literal" else _KINDS.get(tree["type"])


def kind_of(constant: Any) -> str | None:
    names = {bool: "boolean", int: "integer", float: "number", str: "text", list: "json", dict: "json"}
    return names.get(type(constant))


# ---- running ---------------------------------------------------------------------------------------------


class _Interpreter(visitor.TreeInterpreter):
    """One evaluation: JMESPath's meaning, our functions, and an end to the work."""

    _dict_cls = dict

    def __init__(self) -> None:  # the parent's makes a table of functions for each
        self.left = ALLOWANCE

    def visit(self, node: Any, value: Any) -> Any:
        kind = node["type"]
        result = _VISIT[kind](self, node, value)
        self.left -= 1
        if kind in _COPYING and isinstance(result, list | str):
            self.left -= len(result) if isinstance(result, list) else len(result) // 16
        if self.left < 0:
            raise ValueError("takes too long")
        return result

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name, args = node["value"], [self.visit(child, value) for child in node["children"]]
        if ours := FUNCTIONS[name].call:
            return ours(*args)
        if name not in _NULL_IS_A_VALUE and any(arg is None for arg in args):
            return None
        return _STANDARD.call_function(name, args)

    def visit_call(self, node: Any, value: Any) -> Any:
        return node["value"](*[self.visit(child, value) for child in node["children"]])

    def visit_choice(self, node: Any, value: Any) -> Any:
        condition, then, other = node["children"]
        found = self.visit(condition, value)
        chosen = then if found else other
        return self.visit(chosen, value) if chosen else found


def runner(tree: Any) -> Run:
    """A function of a row: closures, one for each node, which take a fifth of the time; or the interpreter.

    It counts its steps, and closures do not: so they stand only for trees whose work grows no faster than their text.
    """
    return _closure(tree) if _steady(tree) else lambda row: _Interpreter().visit(tree, row)


def _steady(tree: Any) -> bool:
    ours = tree["type"] != "function_expression" or FUNCTIONS[tree["value"]].call
    return bool(tree["type"] in _CLOSURES and ours and all(map(_steady, children(tree))))


def _closure(tree: Any) -> Run:
    return _CLOSURES[tree["type"]](tree, [_closure(child) if child else None for child in tree["children"]])


def _field(tree: Any, _below: list[Any]) -> Run:
    name = tree["value"]
    return lambda value: value.get(name) if isinstance(value, dict) else None


def _index(tree: Any, _below: list[Any]) -> Run:
    at = tree["value"]
    return lambda value: value[at] if isinstance(value, list) and -len(value) <= at < len(value) else None


def _chain(tree: Any, below: list[Any]) -> Run:
    names = [child["value"] for child in tree["children"] if child["type"] == "field"]
    if len(names) == len(below):
        return _names(names)

    def evaluate(value: Any) -> Any:
        for step in below:
            value = step(value)
        return value

    return evaluate


def _names(names: list[str]) -> Run:
    def evaluate(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return evaluate


def _literal(tree: Any, _below: list[Any]) -> Run:
    constant = tree["value"]
    return lambda _value: constant


def _call(tree: Any, below: list[Any]) -> Run:
    function = FUNCTIONS[tree["value"]].call if tree["type"] == "function_expression" else tree["value"]
    types = [child["type"] for child in tree["children"]]
    if types[1:] == ["literal"]:  # such as split(a, ',')
        one, constant = below[0], tree["children"][1]["value"]
        return lambda value: function(one(value), constant)
    return lambda value: function(*[each(value) for each in below])


def _choice(_tree: Any, below: list[Any]) -> Run:
    condition, then, other = below

    def evaluate(value: Any) -> Any:
        found = condition(value)
        chosen = then if found else other
        return chosen(value) if chosen else found

    return evaluate


_CLOSURES: dict[str, Callable[[Any, list[Any]], Run]] = {
    "field": _field,
    "index": _index,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "literal": _literal,
    "function_expression": _call,
    "call": _call,
    "choice": _choice,
}
"""Type of a node -> what makes a closure of it and of those of its children. None of them makes a list of what it is given."""


_VISIT = {name[6:]: getattr(_Interpreter, name) for name in dir(_Interpreter) if name.startswith("visit_")}


def node(kind: str, children: Iterable[Any] = (), **more: Any) -> Any:
    return {"type": kind, "children": [*children], **more}


def dotted(steps: Path, scope: Scope) -> Evaluate:
    """Names alone, by a closure. As JMESPath, but for a key that is not there, which gives ABSENT."""
    at, text, (root, *rest) = scope.at, scope.text, steps
    first = rest[0] if len(rest) == 1 else None

    def evaluate(row: Row, why: Why | None) -> Any:
        value = row.get(root, ABSENT)
        if first is not None and isinstance(value, dict):  # most paths; a loop over one step costs twice as much
            value = value.get(first, ABSENT)
        else:
            for step in rest:
                value = value.get(step, ABSENT) if isinstance(value, dict) else ABSENT if value is ABSENT else None
        if why is not None:
            note(why, at, text, value)
        return value

    return evaluate


# ---- what it reads ---------------------------------------------------------------------------------------


def depth(tree: Any, children: Callable[[Any], Iterable[Any]]) -> int:
    """Without recursion, for that is what it guards."""
    level, nodes = 0, [tree]
    while nodes:
        level, nodes = level + 1, [child for node in nodes for child in children(node)]
    return level


def children(node: Any) -> list[Any]:
    return [child for child in node["children"] if isinstance(child, dict)]  # those of a slice are numbers


def width(node: Any) -> int:
    """How many copies of what it reads a node can make: branches add up, what follows them multiplies."""
    if node["type"] == "literal":
        return 0
    widths = [width(child) for child in children(node)]
    chain = node["type"].endswith("projection") or node["type"] in ("subexpression", "pipe", "index_expression")
    return math.prod(each or 1 for each in widths) if chain else max(1, sum(widths))


class _Trail(NamedTuple):
    """A path on its way through the tree; `listed`: so many times a list of what stands at `path`."""

    path: Path = ()
    steps: tuple[int, ...] = ()
    listed: int = 0

    def step(self, name: str, place: int) -> _Trail:
        return _Trail((*self.path, name), (*self.steps, place))


Trails = tuple[_Trail, ...]


def _items(trails: Trails) -> Trails:
    return tuple(t._replace(listed=t.listed - 1) if t.listed else t.step("*", -1) for t in trails)


def _lists(trails: Trails) -> Trails:
    return tuple(trail._replace(listed=trail.listed + 1) for trail in trails)


class Reading:
    """What a tree reads, and where the items of the list stand that it may give."""

    def __init__(self, tree: Any, scope: Scope) -> None:
        self.scope = scope
        self.found: dict[Use, None] = {}
        trails = self.along(tree, (_Trail(),))
        self.consume(trails)
        self.uses = tuple(self.found)
        self.items = tuple(use.path for trail in _items(trails) for use in scope.uses(trail.path, ()))

    def consume(self, trails: Trails) -> Trails:
        """Nothing reads on from here."""
        for trail in trails:
            if trail.path[:1] in ((), ("*",)):
                raise Refused("reads the whole row: a path begins with a name", 0)
            self.found.update(dict.fromkeys(self.scope.uses(trail.path, trail.steps)))
        return ()

    def all(self, nodes: list[Any], here: Trails) -> Trails:
        return tuple(trail for node in nodes if node for trail in self.along(node, here))

    def along(self, node: Any, here: Trails) -> Trails:
        below = node["children"]
        match node["type"]:
            case "field":
                return tuple(trail.step(node["value"], node["start"]) for trail in here)
            case "index":
                return _items(here)
            case "subexpression" | "pipe" | "index_expression" | "key_val_pair":
                if node["type"] == "subexpression" and below[0]["type"] == "not_expression":
                    raise Refused("! takes only the name behind it: write !(a.b)", 0)
                for child in below:
                    here = self.along(child, here)
                return here
            case "projection" | "filter_projection" | "value_projection":
                items = _items(self.along(below[0], here))
                self.consume(self.all(below[2:], items))
                return _lists(self.along(below[1], items))
            case "flatten":
                items = _items(self.along(below[0], here))
                return tuple(trail._replace(listed=trail.listed or 1) for trail in items)
            case "multi_select_list":
                return _lists(self.all(below, here))
            case "or_expression" | "choice":
                return self.all(below, here)
            case "and_expression":
                self.consume(self.along(below[0], here))
                return self.along(below[1], here)
            case "comparator" | "not_expression" | "multi_select_dict" | "call":
                return self.consume(self.all(below, here))
            case "function_expression":
                return self.function(node, here)
            case "expref":
                raise Refused("& stands only before an argument of sort_by() and such", 0)
            case "slice" if below[2] == 0:
                raise Refused("a slice cannot have step 0", 0)
            case "literal":
                return ()
        return here  # `@`, a slice

    def function(self, node: Any, here: Trails) -> Trails:
        name, args, place = node["value"], node["children"], node["start"]
        if name not in FUNCTIONS:
            hint = nearest(name, FUNCTIONS, "functions")
            raise Refused(f"there is no function {name}()", place, hint, "unknown_function")
        if wrong := misfit(FUNCTIONS[name].call or getattr(_STANDARD, f"_func_{name}"), len(args)):
            raise Refused(f"{name}() {wrong}", place)
        if [n for n, arg in enumerate(args) if arg["type"] == "expref"] != _EXPREF.get(name, []):
            raise Refused(f"{name}() takes an expression behind & there, and only there", place)
        given = self.all([arg for arg in args if arg["type"] != "expref"], here)
        each = self.all([arg["children"][0] for arg in args if arg["type"] == "expref"], _items(given))
        if name == "map":
            return _lists(each)
        self.consume(each)
        if name in _PASS_ON:
            return _items(given) if _PASS_ON[name] else given
        return self.consume(given)

"""A path -> a function of one row, and what it reads.

Dotted paths become closures. Everything else is JMESPath, run by its own interpreter with an allowance: the language has no
loops, yet `[@, @] | [@, @] | ...` doubles with every step, so width is bounded when compiled and work when run.
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jmespath
from jmespath import functions, lexer, visitor
from jmespath.exceptions import IncompleteExpressionError, JMESPathError, JMESPathTypeError, ParseError

from connector.model import Row, Why
from connector.values import text as texts
from connector.values.nouns import ABSENT, Evaluate, Path, Scope, Use, Value, depth, note, nothing

MAX_LENGTH = 1_000
MAX_DEPTH = 64
MAX_WIDTH = 256
"""How many times a path may multiply what it reads: real ones stay below 10, `[@, @]` ten times over is 1,024."""
ALLOWANCE = 100_000
FAILS = (ValueError, TypeError, OverflowError, RecursionError)
"""What evaluating can raise on some row: of JMESPath, of our functions, of comparing a text with a number."""

Steps = tuple[int, ...]


class Function(NamedTuple):
    doc: str
    """What it gives; behind `name(arguments): ` where the names of the arguments do not say how it is called."""
    kind: str | None
    """Of the result, as in `Value.kind`."""
    call: Any = None
    """Ours; None: JMESPath's own."""


FUNCTIONS: dict[str, Function] = {
    **{call.__name__: Function(call.__doc__ or "", "text", call) for call in (
        texts.after, texts.before, texts.digits, texts.join_text, texts.lower, texts.replace, texts.trim, texts.upper,
    )},
    "date": Function(texts.date.__doc__ or "", "date", texts.date),
    "split": Function(texts.split.__doc__ or "", "json", texts.split),
    "join": Function("join(separator, list): as join_text, the other way round.", "text", lambda s, items: texts.join_text(items, s)),
    "to_number": Function("The number that a text spells; else null.", "number", texts.number),
    "to_string": Function("The text of any value; JSON for lists and objects.", "text", texts.string),
    "abs": Function("The number without its sign.", "number"),
    "avg": Function("The average of a list of numbers.", "number"),
    "ceil": Function("The next whole number from below.", "number"),
    "contains": Function("Whether a list holds the item, or a text the part.", "boolean"),
    "ends_with": Function("Whether a text ends so.", "boolean"),
    "floor": Function("The next whole number from above.", "number"),
    "keys": Function("The names in an object.", "json"),
    "length": Function("How many items, letters or names.", "integer"),
    "map": Function("map(&expression, list): the expression for each item.", "json"),
    "max": Function("The largest number or text of a list.", None),
    "max_by": Function("max_by(list, &expression): the item for which it is largest.", "json"),
    "merge": Function("Objects in one, the later wins.", "json"),
    "min": Function("The smallest number or text of a list.", None),
    "min_by": Function("min_by(list, &expression): the item for which it is smallest.", "json"),
    "not_null": Function("The first that is not null; `first` also passes over blank text.", None),
    "reverse": Function("A list or a text backwards.", None),
    "sort": Function("A list of numbers or texts in order.", "json"),
    "sort_by": Function("sort_by(list, &expression): the items in its order.", "json"),
    "starts_with": Function("Whether a text begins so.", "boolean"),
    "sum": Function("The sum of a list of numbers.", "number"),
    "to_array": Function("A list as it is, anything else as a list of one.", "json"),
    "type": Function("The name of its type.", "text"),
    "values": Function("The values in an object.", "json"),
}  # fmt: skip
"""Ours, then JMESPath's own. Null gives null in all of them."""
_PASSED = {"sort_by": 0, "sort": 0, "reverse": 0, "max_by": 1, "min_by": 1, "max": 1, "min": 1}
"""Functions whose result is their list (0) or an item of it (1), so that steps behind them read on."""
_SIGNATURES: dict[str, Any] = {
    name: [{"types": []}] * len(inspect.signature(function.call).parameters)
    if function.call
    else functions.Functions.FUNCTION_TABLE[name]["signature"]
    for name, function in FUNCTIONS.items()
}


# ---- running ---------------------------------------------------------------------------------------------


class _Interpreter(visitor.TreeInterpreter):
    """One evaluation: JMESPath's meaning, our functions, and an end to the work."""

    _dict_cls = dict

    def __init__(self) -> None:  # the parent's makes a table of functions for each
        self.left = ALLOWANCE

    def visit(self, node: Any, *args: Any, **_: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("takes too long")
        return _VISIT[node["type"]](self, node, *args)

    def _spend(self, result: Any) -> Any:
        if isinstance(result, list | str):
            self.left -= len(result) if isinstance(result, list) else len(result) // 16
        return result

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        return self._spend(_call(node["value"], [self.visit(child, value) for child in node["children"]]))

    def visit_flatten(self, node: Any, value: Any) -> Any:
        return self._spend(super().visit_flatten(node, value))

    def visit_slice(self, node: Any, value: Any) -> Any:
        return self._spend(super().visit_slice(node, value))


_VISIT = {name[6:]: getattr(_Interpreter, name) for name in dir(_Interpreter) if name.startswith("visit_")}
_STANDARD = functions.Functions()


def _call(name: str, args: list[Any]) -> Any:
    if ours := FUNCTIONS[name].call:
        return ours(*args)
    if any(arg is None and part["types"] for arg, part in zip(args, _SIGNATURES[name], strict=False)):
        return None
    return _STANDARD.call_function(name, args)


def _plainly(error: BaseException) -> str:
    if isinstance(error, JMESPathTypeError):
        return f"{error.function_name}() takes {' or '.join(error.expected_types)}, got {error.actual_type}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _expression(tree: Any, scope: Scope, text: str) -> Evaluate:
    at = scope.at

    def evaluate(row: Row, why: Why | None) -> Any:
        reason = ""
        try:
            value = _Interpreter().visit(tree, row)
        except FAILS as error:
            value, reason = None, _plainly(error)
        note(why, at, text, value, reason)
        return value

    return evaluate


def dotted(steps: Path, scope: Scope, text: str) -> Evaluate:
    """As JMESPath, but for a key that is not there, which gives ABSENT."""
    at, (root, *rest) = scope.at, steps

    def evaluate(row: Row, why: Why | None) -> Any:
        value = row.get(root, ABSENT)
        for step in rest:
            value = value.get(step, ABSENT) if isinstance(value, dict) else ABSENT if value is ABSENT else None
        if why is not None:
            note(why, at, text, value)
        return value

    return evaluate


# ---- compiling -------------------------------------------------------------------------------------------


_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`((?:\\.|[^`\\])*)`", re.DOTALL)


def path(text: Any, scope: Scope) -> Value:
    """A Value of form path."""
    return path_and_items(text, scope)[0]


def path_and_items(text: Any, scope: Scope) -> tuple[Value, tuple[Path, ...]]:
    """Also the paths of the items of the list that it gives: none when a function makes them."""
    if not isinstance(text, str) or not text.strip():
        scope.problem("invalid_expression", "a path is needed here, such as appointment.Id")
        return nothing("path", scope), ()
    if len(text) > MAX_LENGTH:
        said = f"a path has at most {MAX_LENGTH:,} characters; this one has {len(text):,}"
        scope.problem("invalid_expression", said, text)
        return nothing("path", scope, text), ()
    if _DOTTED.fullmatch(text):
        steps = tuple(text.split("."))
        uses = scope.uses(text, steps, tuple(sum(map(len, steps[:n])) + n for n in range(len(steps))))
        value = Value("path", dotted(steps, scope, text), uses, None, scope.at, text)
        return value, tuple((*use.path, "*") for use in uses)
    known = len(scope.problems)
    tree, tokens = _parse(text, scope)
    if tree is None:
        return nothing("path", scope, text), ()
    reading = _Reading(text, scope, _places(tree, tokens))
    items = reading.whole(tree)
    if len(scope.problems) > known:
        return nothing("path", scope, text), ()
    keys = tree["children"] if tree["type"] == "subexpression" else [tree]
    if all(node["type"] == "field" for node in keys):  # "with quotes"."or blanks"
        evaluate = dotted(tuple(node["value"] for node in keys), scope, text)
    else:
        evaluate = _expression(tree, scope, text)
    return Value("path", evaluate, tuple(reading.uses), _kind(tree), scope.at, text), items


def _parse(text: str, scope: Scope) -> tuple[Any, list[Any]]:
    """The tree and the tokens; or a problem in plain words."""
    for match in _QUOTED.finditer(text):
        if match[1] is not None and not _is_json(match[1].replace("\\`", "`")):
            word = match[1].strip()
            said = f"`{word}` is not JSON: a text stands in single quotes"
            scope.problem("invalid_expression", said, text, match.start(), f"'{word}'")
            return None, []
    tree: Any = None
    tokens: list[Any] = []
    try:
        if max(accumulate((c in "([{") - (c in ")]}") for c in _bare(text))) <= MAX_DEPTH:
            tokens = list(lexer.Lexer().tokenize(text))
            tree = jmespath.compile(text).parsed
    except JMESPathError as error:
        message, offset = _syntax(text, error)
        scope.problem("invalid_expression", message, text, offset)
        return None, []
    except (RecursionError, ValueError):  # `!` and `[*]` a few hundred times over; a thousand digits
        pass
    if tree is None or depth(tree, _children) > MAX_DEPTH:
        scope.problem("invalid_expression", f"nested more than {MAX_DEPTH} deep", text, 0)
        return None, []
    return tree, tokens


def _children(node: Any) -> list[Any]:
    return [child for child in node["children"] if isinstance(child, dict)]  # those of a slice are numbers


def _bare(text: str) -> str:
    """The text with what stands in quotes blotted out, place for place."""
    return _QUOTED.sub(lambda match: "_" * len(match[0]), text)


def _is_json(literal: str) -> bool:
    try:
        return all(math.isfinite(n) for n in _numbers(json.loads(literal)))
    except (ValueError, RecursionError, OverflowError):
        return False


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def _syntax(text: str, error: JMESPathError) -> tuple[str, int]:
    bare = _bare(text)
    offset = error.lex_position if isinstance(error, ParseError) else 0
    if "{{" in bare:
        return "{{ }} belongs in a template: {template: ...}", bare.index("{{")
    if ".." in bare:
        return "two dots: a step is missing between them", bare.index("..")
    if bare.rstrip().endswith("."):
        return "ends with a dot: a step is missing behind it", len(bare.rstrip()) - 1
    if bare.lstrip().startswith("."):
        return "begins with a dot: a step is missing before it", bare.index(".")
    if quote := re.search(r"['\"`]", bare):
        return f"this {quote[0]} is never closed", quote.start()
    for opening, closing in ("()", "[]", "{}"):
        if bare.count(opening) > bare.count(closing):
            return f"a {opening} is never closed: expected {closing} before the end", bare.rindex(opening)
        if bare.count(opening) < bare.count(closing):
            return f"this {closing} closes nothing", bare.rindex(closing)
    if isinstance(error, IncompleteExpressionError):
        return "ends too early: something is missing behind it", len(text)
    found = text[offset : offset + 1]
    if found == "=":
        return "equal is written ==", offset
    if offset and (text[offset - 1] == " " or found == "-") and re.match(r"[\w-]", found):
        return f"did not expect {found!r} here: a name with a blank or a dash stands in double quotes", offset
    return f"did not expect {found!r} here" if found else "ends too early", offset


def _places(tree: Any, tokens: list[Any]) -> dict[int, int]:
    """Where each field and function stands: the names of the text and the nodes of the tree come in the same order."""
    words: dict[bool, list[int]] = {True: [], False: []}
    for token, behind in pairwise(tokens):
        # the names in {name: value} are no fields
        if token["type"].endswith("identifier") and behind["type"] != "colon":
            words[behind["type"] == "lparen"].append(token["start"])
    places: dict[int, int] = {}
    starts = {"function_expression": iter(words[True]), "field": iter(words[False])}

    def visit(node: Any) -> None:
        if node["type"] in starts:
            places[id(node)] = next(starts[node["type"]], 0)
        if node["type"] == "filter_projection":
            left, right, condition = node["children"]
            children = [left, condition, right]
        else:
            children = _children(node)
        for child in children:
            visit(child)

    visit(tree)
    return places


class _Trail(NamedTuple):
    """A path on its way through the tree; `listed`: so many times a list of what stands at `path`."""

    path: Path = ()
    steps: Steps = ()
    listed: int = 0

    def step(self, name: str, place: int) -> _Trail:
        return _Trail((*self.path, name), (*self.steps, place))

    def item(self) -> _Trail:
        return self._replace(listed=self.listed - 1) if self.listed else self.step("*", -1)

    def many(self) -> _Trail:
        return self._replace(listed=self.listed + 1)


Trails = tuple[_Trail, ...]


class _Reading:
    """What an expression reads, and whether it stays within the bounds; one walk over the tree."""

    def __init__(self, text: str, scope: Scope, places: dict[int, int]) -> None:
        self.text, self.scope, self.places = text, scope, places
        self.uses: dict[Use, None] = {}

    def whole(self, tree: Any) -> tuple[Path, ...]:
        if (width := _width(tree)) > MAX_WIDTH:
            self.problem(f"multiplies what it reads {width:,} times; {MAX_WIDTH} is the most")
            return ()
        trails = self.walk(tree, (_Trail(),))
        self.consume(trails)
        items = [trail.item() for trail in trails if trail.path]
        return tuple(use.path for item in items for use in self.scope.uses(self.text, item.path, item.steps))

    def problem(self, message: str, offset: int = 0, code: str = "invalid_expression", hint: str = "") -> None:
        self.scope.problem(code, message, self.text, offset, hint)

    def consume(self, trails: Iterable[_Trail]) -> None:
        for trail in trails:
            if not trail.path or trail.path[0] == "*":
                self.problem("reads the whole row: a path begins with a name", max(0, self.text.find("@")))
            else:
                self.uses.update(dict.fromkeys(self.scope.uses(self.text, trail.path, trail.steps)))

    def walk(self, node: Any, here: Trails) -> Trails:
        kind, children = node["type"], node["children"]
        match kind:
            case "field":
                return tuple(trail.step(node["value"], self.places[id(node)]) for trail in here)
            case "index":
                return tuple(trail.item() for trail in here)
            case "subexpression" | "pipe" | "index_expression":
                if kind == "subexpression" and children[0]["type"] == "not_expression":
                    self.problem("! takes only the name behind it: write !(a.b)", max(0, self.text.find("!")))
                for child in children:
                    here = self.walk(child, here)
                return here
            case "projection" | "filter_projection" | "value_projection":
                items = tuple(trail.item() for trail in self.walk(children[0], here))
                if kind == "filter_projection":
                    self.consume(self.walk(children[2], items))
                return tuple(trail.many() for trail in self.walk(children[1], items))
            case "flatten":
                items = tuple(trail.item() for trail in self.walk(children[0], here))
                return tuple(trail if trail.listed else trail.many() for trail in items)
            case "slice":
                if children[2] == 0:
                    self.problem("a slice cannot have step 0", max(0, self.text.find("::")))
                return here
            case "multi_select_list":
                return tuple(trail.many() for child in children for trail in self.walk(child, here))
            case "multi_select_dict":
                self.consume(trail for child in children for trail in self.walk(child["children"][0], here))
                return ()
            case "or_expression":
                return self.walk(children[0], here) + self.walk(children[1], here)
            case "and_expression":
                self.consume(self.walk(children[0], here))
                return self.walk(children[1], here)
            case "comparator" | "not_expression":
                self.consume(trail for child in children for trail in self.walk(child, here))
                return ()
            case "function_expression":
                return self.function(node, here)
            case "expref":
                self.problem("& stands only before an argument such as the second of sort_by()", self.text.find("&"))
                return ()
            case "literal":
                return ()
        return here  # `@` and nothing

    def function(self, node: Any, here: Trails) -> Trails:
        name, args, place = node["value"], node["children"], self.places[id(node)]
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name, FUNCTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else "the functions are " + ", ".join(sorted(FUNCTIONS))
            self.problem(f"there is no function {name}()", place, "unknown_function", hint)
            return ()
        wanted = _SIGNATURES[name]
        variadic = bool(wanted) and wanted[-1].get("variadic", False)
        if len(args) < len(wanted) or (len(args) > len(wanted) and not variadic):
            count = f"{len(wanted)}{' or more' * variadic}"
            self.problem(f"{name}() takes {count} values in its brackets, not {len(args)}", place)
            return ()
        known = [self.walk(arg, here) if arg["type"] != "expref" else () for arg in args]
        items = tuple(trail.item() for trails in known for trail in trails)
        result: Trails = ()
        for arg, part in zip(args, wanted, strict=False):
            if (arg["type"] == "expref") != ("expref" in part["types"]):
                self.problem(f"{name}() takes an expression behind & there, and only there", place)
            elif arg["type"] == "expref":
                result = self.walk(arg["children"][0], items)
        if name == "map":
            return tuple(trail.many() for trail in result)
        self.consume(result)
        if name in _PASSED:
            return items if _PASSED[name] else known[0]
        if name == "not_null":
            return tuple(trail for trails in known for trail in trails)
        self.consume(trail for trails in known for trail in trails)
        return ()


def _width(node: Any) -> int:
    """How many copies of what it reads a node can make: branches add up, what follows them multiplies."""
    if node["type"] == "literal":
        return 0
    widths = [_width(child) for child in _children(node)]
    chain = node["type"].endswith("projection") or node["type"] in ("subexpression", "pipe", "index_expression")
    return math.prod(width or 1 for width in widths) if chain else max(1, sum(widths))


def _kind(node: Any) -> str | None:
    """The kind of the result, where the tree alone says it."""
    match node["type"]:
        case "function_expression":
            return FUNCTIONS[node["value"]].kind
        case "comparator" | "not_expression":
            return "boolean"
        case "projection" | "filter_projection" | "value_projection" | "flatten":
            return "json"
        case "multi_select_list" | "multi_select_dict":
            return "json"
        case "literal":
            return kind_of(node["value"])
        case "pipe" | "subexpression":
            return _kind(node["children"][-1])
        case "or_expression" | "and_expression":
            kinds = {_kind(child) for child in node["children"]}
            return kinds.pop() if len(kinds) == 1 else None
    return None


def kind_of(constant: Any) -> str | None:
    names = {bool: "boolean", int: "integer", float: "number", str: "text", list: "json", dict: "json"}
    return names.get(type(constant))

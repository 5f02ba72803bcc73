"""A template -> a tree. Jinja2 reads the text; what its nodes mean is said here, and nothing else runs.

Jinja's own compiler is never called: no Python is made of a template, no attribute is looked up, nothing can be called, and
constants are not folded. What has no case is refused, so a new construct of Jinja is refused too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import cached_property, reduce
from itertools import pairwise, takewhile
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Lexer
from jinja2.parser import Parser

from connector.values.nouns import Path, Refused, Scope, nearest
from connector.values.paths import depth, node
from connector.values.text import FILTERS, concatenated, misfit

MAX_SOURCE = 4_096
MAX_DEPTH = 40
MAX_CONSTANT = 1_000
MAX_NUMBER = 10**12
ALLOWED = "paths, filters, if/else, comparisons, and/or/not, tests and ~ are what a template may hold"

TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: value is not None,
    "undefined": lambda value: value is None,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_ENDS = {"{{": "}}", "{%": "%}", "{#": "#}"}


class _Lexer(Lexer):
    """Gives offsets where Jinja keeps line numbers, so that every node and every error knows its place in the text."""

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        place = 0
        try:
            for _, kind, token in super().tokeniter(source, name, filename, state):
                place = source.index(token, place)  # {{- leaves out blanks
                yield place, kind, token
                place += len(token)
        except TemplateSyntaxError as error:
            raise TemplateSyntaxError(error.message or "", place) from error


class _Environment(Environment):
    @cached_property
    def lexer(self) -> Lexer:
        return _Lexer(self)


_ENVIRONMENT = _Environment(autoescape=False, optimized=False, keep_trailing_newline=True, cache_size=0)


def parse(scope: Scope) -> tuple[Any, list[Path]]:
    """The tree of a template, and the names that it reads."""
    meaning, source = _Meaning(scope), scope.text
    if len(source) > MAX_SOURCE:
        raise meaning.refused(None, f"a template has at most {MAX_SOURCE:,} letters")
    try:
        tree: Any = Parser(_ENVIRONMENT, source.replace("\r", " ")).parse()
    except TemplateSyntaxError as error:
        raise _explained(source, error) from None
    except (RecursionError, ValueError):  # ValueError: thousands of digits
        tree = None
    if tree is None or depth(tree, nodes.Node.iter_child_nodes) > MAX_DEPTH:
        raise meaning.refused(None, f"nested more than {MAX_DEPTH} deep")
    return meaning.of(tree), meaning.reads


def _explained(source: str, error: TemplateSyntaxError) -> Refused:
    message, offset = error.message or "", min(error.lineno or 0, len(source))
    begin = max(0, *(source.rfind(mark, 0, offset + 2) for mark in _ENDS))
    opening = source[begin : begin + 2]
    closing = _ENDS.get(opening, "")
    if closing not in source[begin:]:
        message, offset = f"this {opening} is never closed: expected {closing} before the end", begin
    elif "looking for the following tags" in message:
        message, offset = "this {% if %} is never closed: expected {% endif %} before the end", begin
    elif "Expected an expression" in message:
        message, offset = "nothing stands between {{ and }}", begin
    message = message[:1].lower() + message[1:].replace("end of print statement", "}}")
    return Refused(message, offset, "", "invalid_template")


class _Meaning:
    """Of a node of Jinja: a node of `paths.py`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.reads: list[Path] = []

    def place(self, it: nodes.Node | None) -> int:
        return min(it.lineno or 0, len(self.scope.text)) if it else 0

    def refused(
        self, it: nodes.Node | None, said: str, hint: str = ALLOWED, code: str = "template_not_allowed"
    ) -> Refused:
        return Refused(said, self.place(it), hint, code)

    def of(self, it: Any) -> Any:
        match it:
            case nodes.TemplateData():
                return node("literal", value=it.data)
            case nodes.Const(value=value):
                if len(value) > MAX_CONSTANT if isinstance(value, str) else not abs(value or 0) <= MAX_NUMBER:
                    said = f"a constant has at most {MAX_CONSTANT:,} letters, a number is at most {MAX_NUMBER:,}"
                    raise self.refused(it, said)
                return node("literal", value=value)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self.path(it)
            case nodes.Template(body=parts) | nodes.Output(nodes=parts) | nodes.Concat(nodes=parts):
                return self.text(parts)
            case nodes.Filter() | nodes.Test():
                return self.call(it)
            case nodes.Compare():
                parts = [self.of(it.expr), *(self.of(each.expr) for each in it.ops)]
                pairs = [_compared(each.op, pair) for each, pair in zip(it.ops, pairwise(parts), strict=True)]
                return reduce(lambda left, right: node("choice", [left, right, None]), pairs)
            case nodes.And():
                return node("choice", [self.of(it.left), self.of(it.right), None])
            case nodes.Or():
                return node("choice", [self.of(it.left), None, self.of(it.right)])
            case nodes.Not():
                return node("call", [self.of(it.node)], value=operator.not_)
            case nodes.CondExpr():
                other = self.of(it.expr2 or nodes.Const(None))
                return node("choice", [self.of(it.test), self.of(it.expr1), other])
            case nodes.If():
                other = self.text(it.else_)
                for branch in reversed([it, *it.elif_]):
                    other = node("choice", [self.of(branch.test), self.text(branch.body), other])
                return other
        raise self.refused(it, f"{type(it).__name__.lower()} is not allowed in a template")

    def text(self, parts: list[Any]) -> Any:
        if len(parts) == 1:
            return self.of(parts[0])
        return node("call", map(self.of, parts), value=concatenated)

    def path(self, it: Any) -> Any:
        """Names and keys up to the first thing that is none of them, such as a filter in brackets."""
        steps: list[Any] = []
        while isinstance(it, nodes.Name | nodes.Getattr | nodes.Getitem):
            match it:
                case nodes.Name(name=key) | nodes.Getattr(attr=key) if key.startswith("_"):
                    raise self.refused(it, f"{key} is not allowed in a template: no name begins with _")
                case nodes.Name(name=key) | nodes.Getattr(attr=key) | nodes.Getitem(arg=nodes.Const(value=str(key))):
                    steps.insert(0, node("field", value=key, start=self.scope.text.find(key, self.place(it))))
                case nodes.Getitem(arg=nodes.Const(value=int(key))):
                    steps.insert(0, node("index", value=key))
                case _:
                    raise self.refused(it, "only a name or a number stands in [ ] in a template")
            it = getattr(it, "node", None)
        if it is not None:
            return node("subexpression", [self.of(it), *steps])
        names = takewhile(lambda step: step["type"] == "field", steps)
        self.reads.append(tuple(step["value"] for step in names))
        return node("subexpression", steps)

    def call(self, it: Any) -> Any:
        kind, known = ("filter", FILTERS) if isinstance(it, nodes.Filter) else ("test", TESTS)
        if it.name not in known:
            hint = nearest(it.name, known, f"{kind}s")
            raise self.refused(it, f"there is no {kind} {it.name}", hint, f"unknown_{kind}")
        if it.node is None or it.kwargs or it.dyn_args or it.dyn_kwargs:
            raise self.refused(it, f"{it.name} is not allowed like this in a template")
        function, args = known[it.name], [it.node, *it.args]
        if wrong := misfit(function, len(args)):
            raise self.refused(it, f"{it.name} {wrong}", function.__doc__ or "")
        return node("call", map(self.of, args), value=function)


def _compared(operand: str, pair: tuple[Any, Any]) -> Any:
    if operand not in ("in", "notin"):
        return node("comparator", pair, value=operand.replace("teq", "te"))
    found = node("call", pair, value=lambda item, items: isinstance(items, list | str | dict) and item in items)
    return found if operand == "in" else node("call", [found], value=operator.not_)

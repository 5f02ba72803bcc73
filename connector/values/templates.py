"""A template -> a function of one row. Jinja2 reads the text; what its tree means is the table NODES, and nothing else runs.

Jinja's own compiler is never called: no Python is made of a template, no attribute is looked up, nothing can be called, and
constants are not folded. A node without a line in the table is refused, so a new construct of Jinja is refused too.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Lexer
from jinja2.parser import Parser

from connector.model import Row
from connector.values.nouns import ABSENT, Scope, Use, depth
from connector.values.text import FILTERS, joined, text

MAX_SOURCE = 4_096
MAX_DEPTH = 40
MAX_CONSTANT = 1_000
MAX_NUMBER = 10**12
ALLOWED = "paths, filters, if/else, comparisons, and/or/not, tests and ~ are what a template may hold"

Part = Callable[[Row], Any]

TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: value is not None,
    "undefined": lambda value: value is None,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lteq": operator.le, "gt": operator.gt, "gteq": operator.ge,
    "in": lambda item, items: item in items, "notin": lambda item, items: item not in items,
}  # fmt: skip
_REFUSED: dict[type[nodes.Node], str] = {nodes.For: "a loop", nodes.Call: "a call", nodes.Slice: "a slice"}


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
    @property
    def lexer(self) -> Lexer:
        return _lexer(self)


_lexer = functools.cache(_Lexer)  # making one compiles its patterns
_ENVIRONMENT = _Environment(autoescape=False, optimized=False, keep_trailing_newline=True, cache_size=0)


def template(source: str, scope: Scope) -> tuple[Part, list[Part], tuple[Use, ...]] | None:
    """What it prints, the values that it reads and their paths; None when there is a problem."""
    known = len(scope.problems)
    if len(source) > MAX_SOURCE:
        scope.problem("template_not_allowed", f"a template has at most {MAX_SOURCE:,} letters", source, MAX_SOURCE)
        return None
    try:
        tree: nodes.Node | None = Parser(_ENVIRONMENT, source.replace("\r", " ")).parse()
    except TemplateSyntaxError as error:
        message, offset = _syntax(source, error)
        scope.problem("invalid_template", message, source, offset)
        return None
    except (RecursionError, ValueError):  # ValueError: thousands of digits
        tree = None
    if tree is None or depth(tree, nodes.Node.iter_child_nodes) > MAX_DEPTH:
        scope.problem("template_not_allowed", f"nested more than {MAX_DEPTH} deep", source, 0)
        return None
    compiling = _Compiling(source, scope)
    part = compiling.node(tree)
    uses = sorted(compiling.uses, key=lambda use: use.offset)
    return (part, compiling.reads, tuple(uses)) if len(scope.problems) == known else None


def _syntax(source: str, error: TemplateSyntaxError) -> tuple[str, int]:
    message, offset = error.message or "", min(error.lineno or 0, len(source))
    message = message.replace("end of print statement", "}}").replace("end of statement block", "%}")
    opened = max(("{{", "{%", "{#"), key=lambda mark: source.rfind(mark, 0, offset + 2))
    begin = max(0, source.rfind(opened, 0, offset + 2))
    closing = {"{{": "}}", "{%": "%}", "{#": "#}"}[opened]
    if "Missing end of comment" in message or closing not in source[begin:]:
        return f"this {opened} is never closed: expected {closing} before the end", begin
    if "Expected an expression" in message and "'}}'" in message:
        return "nothing stands between {{ and }}", begin
    if "looking for the following tags" in message:
        tag = re.search(r"The innermost block that needs to be closed is '(\w+)'", message)
        word = tag[1] if tag else "if"
        return f"this {{% {word} %}} is never closed: expected {{% end{word} %}} before the end", begin
    return message[:1].lower() + message[1:].rstrip("."), offset


class _Compiling:
    def __init__(self, source: str, scope: Scope) -> None:
        self.source, self.scope = source, scope
        self.uses: dict[Use, None] = {}
        self.reads: list[Part] = []

    def refuse(self, node: Any, message: str, code: str = "template_not_allowed", hint: str = ALLOWED) -> Part:
        self.scope.problem(code, message, self.source, self.place(node), hint)
        return lambda _row: None

    def place(self, node: nodes.Node) -> int:
        return min(node.lineno or 0, len(self.source))

    def node(self, node: Any) -> Part:
        if make := NODES.get(type(node)):
            return make(self, node)
        word = (
            "arithmetic (~ joins text)"
            if isinstance(node, nodes.BinExpr | nodes.UnaryExpr)
            else type(node).__name__.lower()
        )
        return self.refuse(node, f"{_REFUSED.get(type(node), word)} is not allowed in a template")

    # ---- text ----

    def body(self, items: list[Any]) -> Part:
        parts = [self.node(item) for item in items]
        if len(parts) == 1:
            return parts[0]
        return lambda row: joined(text(part(row)) for part in parts)

    def const(self, node: Any) -> Part:
        value = node.value
        if isinstance(value, str) and len(value) > MAX_CONSTANT:
            return self.refuse(node, f"a text in a template has at most {MAX_CONSTANT:,} characters")
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            return self.refuse(node, f"a number in a template is at most {MAX_NUMBER:,}")
        return lambda _row: value

    # ---- paths ----

    def path(self, node: Any) -> Part:
        """Names and keys up to the first thing that is none of them: a filter in brackets, for instance."""
        steps: list[str | int] = []
        places: list[int] = []
        while isinstance(node, nodes.Getattr | nodes.Getitem):
            key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
            if isinstance(key, bool) or not isinstance(key, str | int):
                return self.refuse(node, "only a name or a number stands in [ ] in a template")
            if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
                return self.refuse(node, f"{key} is not allowed in a template: no name behind a dot begins with _")
            steps.insert(0, key)
            places.insert(0, self.source.find(str(key), self.place(node)))
            node = node.node
        if not isinstance(node, nodes.Name):
            return _given(_at(self.node(node), steps))
        root = node.name
        if root.startswith("_"):
            return self.refuse(node, f"{root} is not allowed in a template: no name begins with _")
        path = (root, *("*" if isinstance(step, int) else step for step in steps))
        offsets = (self.place(node), *(-1 if isinstance(s, int) else p for s, p in zip(steps, places, strict=True)))
        self.uses.update(dict.fromkeys(self.scope.uses(self.source, path, offsets)))
        found = _at(lambda row: row.get(root, ABSENT), steps)
        self.reads.append(found)
        return _given(found)

    # ---- filters, tests, comparisons ----

    def filter(self, node: Any) -> Part:
        function = FILTERS.get(node.name)
        if function is None:
            near = difflib.get_close_matches(node.name, FILTERS, 1)
            hint = f"did you mean {near[0]}?" if near else "the filters are " + ", ".join(FILTERS)
            return self.refuse(node, f"there is no filter {node.name}", "unknown_filter", hint)
        if node.node is None or node.dyn_args or node.dyn_kwargs:
            return self.refuse(node, f"{node.name} is not allowed like this in a template")
        value, args = self.node(node.node), [self.node(arg) for arg in node.args]
        named = {pair.key: self.node(pair.value) for pair in node.kwargs}
        try:
            inspect.signature(function).bind(value, *args, **named)
        except TypeError as error:
            return self.refuse(node, f"{node.name}: {error}", hint=function.__doc__ or "")
        if not args and not named:
            return lambda row: function(value(row))
        return lambda row: function(value(row), *(a(row) for a in args), **{k: part(row) for k, part in named.items()})

    def test(self, node: Any) -> Part:
        test = TESTS.get(node.name)
        if test is None or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            return self.refuse(
                node, f"there is no test {node.name}", "unknown_test", "the tests are " + ", ".join(TESTS)
            )
        value = self.node(node.node)
        return lambda row: test(value(row))

    def compare(self, node: Any) -> Part:
        first = self.node(node.expr)
        rest = [(_COMPARE[operand.op], operand.op, self.node(operand.expr)) for operand in node.ops]

        def compared(row: Row) -> bool:
            left = first(row)
            for holds, op, part in rest:
                right = part(row)
                try:
                    if not holds(left, right):
                        return False
                except TypeError:  # null, or a number beside a text: neither before nor behind, and in nothing
                    if op != "notin":
                        return False
                left = right
            return True

        return compared

    def choice(self, test: Any, then: Part, other: Part) -> Part:
        asked = self.node(test)
        return lambda row: then(row) if asked(row) else other(row)

    def conditional(self, node: Any) -> Part:
        other = self.node(node.expr2) if node.expr2 else lambda _row: None
        return self.choice(node.test, self.node(node.expr1), other)

    def branches(self, node: Any) -> Part:
        other = self.body(node.else_)
        for branch in reversed(node.elif_):
            other = self.choice(branch.test, self.body(branch.body), other)
        return self.choice(node.test, self.body(node.body), other)

    def logic(self, node: Any) -> Part:
        left, right = self.node(node.left), self.node(node.right)
        if isinstance(node, nodes.And):
            return lambda row: left(row) and right(row)
        return lambda row: left(row) or right(row)

    def negation(self, node: Any) -> Part:
        value = self.node(node.node)
        return lambda row: not value(row)


def _at(value: Part, steps: list[str | int]) -> Part:
    """Keys of dicts and places in lists; never an attribute. As in a path, a key that is not there gives ABSENT."""

    def reached(row: Row) -> Any:
        here = value(row)
        for step in steps:
            if isinstance(here, dict):
                here = here.get(step, ABSENT)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            elif here is not ABSENT:
                here = None
        return here

    return reached


def _given(value: Part) -> Part:
    """Null for what is absent, so that filters, tests and ~ know one nothing."""

    def given(row: Row) -> Any:
        found = value(row)
        return None if found is ABSENT else found

    return given


NODES: dict[type[nodes.Node], Callable[[_Compiling, Any], Part]] = {
    nodes.Template: lambda compiling, node: compiling.body(node.body),
    nodes.Output: lambda compiling, node: compiling.body(node.nodes),
    nodes.Concat: lambda compiling, node: compiling.body(node.nodes),
    nodes.TemplateData: lambda _compiling, node: lambda _row: node.data,
    nodes.Const: _Compiling.const,
    nodes.Name: _Compiling.path,
    nodes.Getattr: _Compiling.path,
    nodes.Getitem: _Compiling.path,
    nodes.Filter: _Compiling.filter,
    nodes.Test: _Compiling.test,
    nodes.Compare: _Compiling.compare,
    nodes.If: _Compiling.branches,
    nodes.CondExpr: _Compiling.conditional,
    nodes.And: _Compiling.logic,
    nodes.Or: _Compiling.logic,
    nodes.Not: _Compiling.negation,
}

"""What every form of a value shares: when a value is missing, what a path reads, what is wrong with a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from connector.model import Branch, Row, Why

At = tuple[str | int, ...]
Path = tuple[str, ...]
Evaluate = Callable[[Row, Why | None], Any]


class Absent:
    """The source did not return this key at all, so that the target's value stays. Null is None."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()


def missing(value: Any) -> bool:
    """Absent, null, empty or blank text. 0, false and [] are values."""
    return value is None or value is ABSENT or (isinstance(value, str) and (not value or value.isspace()))


def lost(value: Any) -> str:
    """The word for why `value` counts as missing; nothing when it is there."""
    if not missing(value):
        return ""
    return "absent" if value is ABSENT else "null" if value is None else "blank"


def none_of(values: Iterable[Any]) -> Any:
    """What a rule gives when all of its `values` are missing: nothing at all only if none of them was returned."""
    return ABSENT if all(value is ABSENT for value in values) else None


@dataclass(frozen=True, slots=True)
class Use:
    """A path that is read, from its root: `("appointment", "CreatedDate")`, `*` for an item of a list.

    `at` is the place of the string in the tree, `offset` where in its `text` the path begins, `steps` where each step
    stands there: -1 for `*` and for what an `each` outside this string contributed.
    """

    path: Path
    at: At
    text: str
    offset: int
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a node, and what would be right; `offset` points into `text`, the string at `at`."""

    code: str
    message: str
    at: At
    text: str = ""
    offset: int | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled value. With a list, `evaluate` appends what happened to it: what stands last there is its own result.

    `kind`: text, integer, number, boolean, instant, date, json; None: whatever the paths give.
    `children`: the values of `fields`, also those of an `each`, whose `kind` is json.
    """

    form: str
    evaluate: Evaluate
    uses: tuple[Use, ...]
    kind: str | None
    at: At
    text: str = ""
    children: Mapping[str, Value] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a node stands: its place, the field it fills, the names that an `each` brought, and the list of problems."""

    at: At
    problems: list[Problem]
    locals: Mapping[str, tuple[Path, ...]] = dataclasses.field(default_factory=dict)
    """Name -> the paths it stands for: none when its list is made by a function."""
    field: Path = ()
    in_list: bool = False

    def __truediv__(self, key: str | int) -> Scope:
        return replace(self, at=(*self.at, key))

    def problem(self, code: str, message: str, text: str = "", offset: int | None = None, hint: str = "") -> None:
        self.problems.append(Problem(code, message, self.at, text, offset, hint))

    def uses(self, text: str, path: Path, steps: tuple[int, ...]) -> tuple[Use, ...]:
        """The path as read from a read's name, also where it begins with a local one."""
        bases = self.locals.get(path[0], (path[:1],))
        return tuple(Use(b + path[1:], self.at, text, steps[0], (-1,) * (len(b) - 1) + steps) for b in bases)


def note(why: Why | None, at: At, text: str, value: Any, reason: str = "") -> None:
    """Append a result to the trace, if there is one; what is missing without a `reason` says how."""
    if why is not None:
        why.append(Branch(at, text, value, not missing(value), reason or lost(value)))


def nothing(form: str, scope: Scope, text: str = "") -> Value:
    """Stands in for a node that has a problem."""
    return Value(form, lambda _row, _why: None, (), None, scope.at, text)


def depth(tree: Any, children: Callable[[Any], Iterable[Any]]) -> int:
    """How deep a tree of either language is; without recursion, for that is what it guards."""
    deepest, todo = 0, [(tree, 1)]
    while todo:
        node, level = todo.pop()
        deepest = max(deepest, level)
        todo.extend((child, level + 1) for child in children(node))
    return deepest

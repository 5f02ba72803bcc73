"""What every form of a value shares: when a value is missing, what a path reads, what is wrong with a node."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from connector.model import Ask, Branch, Row, Why

At = tuple[str | int, ...]
Path = tuple[str, ...]
Names = Mapping[str, tuple[Path, ...]]
"""What the items of lists are called -> the paths where they stand."""
Evaluate = Callable[[Row, Why | None], Any]

FAILS = (ValueError, TypeError, OverflowError, RecursionError)
"""What evaluating can raise on some row: in JMESPath, in our functions, when a text is compared with a number."""


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


def none_of(values: Iterable[Any]) -> Any:
    """What a rule gives when all of its `values` are missing: nothing at all only if none of them was returned."""
    return ABSENT if all(value is ABSENT for value in values) else None


def lost(value: Any) -> str:
    """The word for why `value` counts as missing; nothing when it is there."""
    return "absent" if value is ABSENT else "null" if value is None else "blank" if missing(value) else ""


def note(why: Why | None, at: At, text: str, value: Any, reason: str = "") -> None:
    """Append a result to the trace, if there is one; what is missing without a `reason` says how."""
    if why is not None:
        why.append(Branch(at, text, value, not missing(value), reason or lost(value)))


class Use(msgspec.Struct, frozen=True):
    """A path that is read, from its root: `("appointment", "CreatedDate")`, `*` for an item of a list.

    `at` is the place of the string `text` in the tree, `steps` where each step stands in it: -1 for `*` and for what
    an `each` outside this string contributed.
    """

    path: Path
    at: At
    text: str
    steps: tuple[int, ...]


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a node, and what would be right; `offset` points into `text`, the string at `at`."""

    code: str
    message: str
    at: At
    text: str = ""
    offset: int | None = None
    hint: str = ""


class Refused(Exception):
    """A text that is no path or template of ours; carries what `nothing` has to say of it."""


class Value(msgspec.Struct, frozen=True):
    """A compiled value. With a list, `evaluate` appends what happened to it: what stands last there is its own result.

    `kind`: text, integer, number, boolean, instant, date, json; None: whatever the paths give.
    `children`: the values of `fields`, also those of an `each`. `items`: the paths of what stands in a list.
    """

    form: str
    evaluate: Evaluate
    uses: tuple[Use, ...]
    kind: str | None
    at: At
    text: str = ""
    children: Mapping[str, Value] = msgspec.field(default_factory=dict)
    items: tuple[Path, ...] = ()
    parts: tuple[Any, ...] = ()
    """What `evaluate` does, as `code.py` has to know it: a name of its table, and what that takes. Who replaces the one replaces
    the other; nothing here: `evaluate` is called."""


class Scope(msgspec.Struct, frozen=True):
    """Where a node stands, the field it fills, and the paths of the items that each outer `each` gave a name."""

    at: At
    problems: list[Problem]
    text: str = ""
    field: Path = ()
    names: Names = msgspec.field(default_factory=dict)
    top: Names = msgspec.field(default_factory=dict)
    """Those of `names` that the whole record is made of: it is itself what becomes of an item."""
    asks: list[Ask] = msgspec.field(default_factory=list)
    """What the values need to know of the other side, added as they are compiled."""

    @property
    def listed(self) -> bool:
        """Within an `each`: what is made here is a part of a record, several times."""
        return len(self.names) > len(self.top)

    def __truediv__(self, key: str | int) -> Scope:
        return replace(self, at=(*self.at, key))

    def uses(self, path: Path, steps: tuple[int, ...]) -> tuple[Use, ...]:
        """The path as read from a read's name, also where it begins with that of an item."""
        bases = self.names.get(path[0], (path[:1],))
        return tuple(Use(b + path[1:], self.at, self.text, (-1,) * (len(b) - 1) + steps) for b in bases)


def attempt(run: Callable[[Any], tuple[Any, str]], given: Any) -> tuple[Any, str]:
    """A value and its reason; what `run` raises is the reason for null."""
    try:
        return run(given)
    except FAILS as error:
        return None, str(error)[:200]


def leaf(
    form: str,
    scope: Scope,
    run: Callable[[Row], tuple[Any, str]],
    kind: str | None = None,
    uses: tuple[Use, ...] = (),
    parts: tuple[Any, ...] = (),
) -> Value:
    """A value that is made in one step."""

    def evaluate(row: Row, why: Why | None) -> Any:
        value, reason = attempt(run, row)
        if why is not None:
            note(why, scope.at, scope.text, value, reason)
        return value

    return Value(form, evaluate, uses, kind, scope.at, scope.text, parts=parts)


def plain(
    form: str, scope: Scope, run: Callable[[Row], Any], kind: str | None = None, uses: tuple[Use, ...] = ()
) -> Value:
    """As `leaf`, of what gives no reason but by raising it."""

    def evaluate(row: Row, why: Why | None) -> Any:
        value, reason = None, ""
        try:
            value = run(row)
        except FAILS as error:
            reason = str(error)[:200]
        if why is not None:
            note(why, scope.at, scope.text, value, reason)
        return value

    return Value(form, evaluate, uses, kind, scope.at, scope.text)


def nothing(
    form: str, scope: Scope, said: str, offset: int | None = None, hint: str = "", code: str = "invalid_expression"
) -> Value:
    """Stands in for a node that has a problem."""
    scope.problems.append(Problem(code, said, scope.at, scope.text, offset, hint))
    return leaf(form, scope, lambda _row: (None, ""))


def nearest(word: str, words: Iterable[str], what: str) -> str:
    near = difflib.get_close_matches(word, words := list(words), 1)
    return f"did you mean {near[0]}?" if near else f"the {what} are {', '.join(sorted(words))}"

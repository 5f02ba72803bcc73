"""An api file, compiled: the calls that a system has, what each sends, and where things stand in its answers.

The tree is one that lint has found right. `calls` and `holes` also take one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from connector import canon
from connector.endpoints.http.call import Call, holes
from connector.model import Keys
from connector.values import ABSENT, Problem, compile_path

CALLS = ("list", "find", "create", "update", "save")
"""What an object may be able to do: the words of `calls`, of mappings and of examples."""
ANSWER = "answer | "
"""Paths of an api file start at the answer, those of the language at a name: so each is compiled behind one."""

Look = Callable[[Any], Any]
"""A path into an answer. Gives None for what is missing, and never raises."""
Place = tuple[str, ...]

_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def calls(tree: Any) -> Mapping[str, frozenset[str]]:
    """Object of an api file -> which of CALLS it has."""
    objects = tree.get("objects") if isinstance(tree, dict) else None
    nodes = objects.items() if isinstance(objects, dict) else ()
    return {name: frozenset(word for word in CALLS if word in node) for name, node in nodes if isinstance(node, dict)}


# ---- what an api file says -------------------------------------------------------------------------------


class Since(msgspec.Struct, frozen=True):
    form: str
    exclusive: bool


class Lister(msgspec.Struct, frozen=True):
    """The call behind `list`, or one behind `find`."""

    call: Call
    items: Look
    next: Look | None
    link: Look | None
    more: Look | None
    total: Look | None
    first: int
    most: int
    none: frozenset[int]
    since: Since | None
    batch: int | None
    folds: bool


class Batch(msgspec.Struct, frozen=True):
    size: int
    item: Any
    results: Look
    id: Look
    error: Look
    code: Look
    tie: Look | None


class Writer(msgspec.Struct, frozen=True):
    call: Call
    id: Look
    repeatable: bool
    batch: Batch | None

    @property
    def carries_id(self) -> bool:
        """What is sent says which record it is; otherwise the system goes by the fields."""
        inner = self.batch.item if self.batch else None
        return bool({"id", "record"} & (self.call.holes | holes(inner)))


class Object(msgspec.Struct, frozen=True):
    """One kind of record. Rows have id, stamp and time of creation under the last name of their place."""

    name: str
    id: Place
    stamp: Place | None
    created: Place | None
    fields: Place
    types: Mapping[Place, str]
    number_ids: bool
    list: Lister | None
    find: Mapping[str, Lister]
    create: Writer | None
    update: Writer | None
    save: Writer | None

    @property
    def keys(self) -> Keys:
        return Keys(self.id[-1], *(place[-1] if place else None for place in (self.stamp, self.created)))

    @property
    def upserts(self) -> bool:
        """Nothing can be looked for, and need not be: the one call there is finds by its fields what it has made before."""
        readable = self.list or self.find or self.create or self.update
        return bool(self.save and self.save.repeatable and not self.save.carries_id and not readable)

    def writer(self, verb: str) -> Writer | None:
        return (self.create if verb == "create" else self.update) or self.save


class Mint(msgspec.Struct, frozen=True):
    call: Call
    token: Look


class Auth(msgspec.Struct, frozen=True):
    header: str
    value: str
    mint: Mint | None

    @property
    def secrets(self) -> set[str]:
        """The names that the connection has to give."""
        call = self.mint.call if self.mint else None
        return (holes(self.value) - {"token"} if call else holes(self.value)) | (call.holes if call else set())


class Errors(msgspec.Struct, frozen=True):
    message: Look
    code: Look
    fields: Look
    failed: Look


class Limit(msgspec.Struct, frozen=True):
    calls: int
    seconds: int


class Api(msgspec.Struct, frozen=True):
    name: str
    auth: Auth | None
    headers: Mapping[str, str]
    limits: tuple[Limit, ...]
    retry: frozenset[int]
    errors: Errors
    timeout: float
    largest: int
    settle: float
    time: str | None
    objects: Mapping[str, Object]


# ---- from the tree ---------------------------------------------------------------------------------------


def look(text: str | None) -> Look:
    """A path of an api file as a function; None looks at nothing."""
    if text is None:
        return lambda _answer: None
    if _DOTTED.fullmatch(text):
        return partial(_reach, _place(text))
    found = compile_path(ANSWER + text, (), list[Problem]()).evaluate

    def evaluate(answer: Any) -> Any:
        value = found({"answer": answer}, None)
        return None if value is ABSENT else value

    return evaluate


def _reach(place: Place, answer: Any) -> Any:
    return canon.reach(answer, place)


def _place(text: str) -> Place:
    return tuple(text.split("."))


def _maybe(text: str | None) -> Look | None:
    return None if text is None else look(text)


def seconds(duration: str) -> int:
    """`15m` -> 900. The grammar has already refused anything else."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def _call(node: Any, body: Any = None) -> Call:
    method, _, path = node["call"].partition(" ")
    return Call(method, path, node.get("query", {}), node.get("headers", {}), node.get("json", body), node.get("form"))


def _lister(node: Any) -> Lister:
    since = node.get("since")
    return Lister(
        call=_call(node),
        items=look(node["items"]) if "items" in node else lambda answer: answer,
        next=_maybe(node.get("next")),
        link=_maybe(node.get("link")),
        more=_maybe(node.get("more")),
        total=_maybe(node.get("total")),
        first=node.get("first_page", 1),
        most=node.get("most_pages", 10_000),
        none=frozenset(node.get("none", ())),
        since=Since(since["as"], since.get("exclusive", False)) if since else None,
        batch=node.get("batch"),
        folds=node.get("ignores_case", False),
    )


def _writer(node: Any, id_: str) -> Writer | None:
    if node is None:
        return None
    batch, made = node.get("batch"), None
    if batch:
        made = Batch(
            size=batch["size"],
            item=batch.get("item", "{record}"),
            results=look(batch["results"]) if "results" in batch else lambda answer: answer,
            id=look(batch.get("id", id_)),
            error=look(batch.get("error")),
            code=look(batch.get("code")),
            tie=_maybe(batch.get("tie")),
        )
    call = _call(node, "{items}" if batch else "{fields}")
    return Writer(call, look(node.get("id", id_)), node.get("repeatable", False), made)


def _object(name: str, node: Any) -> Object:
    id_ = node.get("id", "id")
    stamp, created = (_place(node[key]) if key in node else None for key in ("stamp", "created"))
    types = {(place[-1],): "instant" for place in (stamp, created) if place}
    return Object(
        name=name,
        id=_place(id_),
        stamp=stamp,
        created=created,
        fields=_place(node["fields"]) if "fields" in node else (),
        types=types | {_place(key): kind for key, kind in node.get("types", {}).items()},
        number_ids=node.get("number_ids", False),
        list=_lister(node["list"]) if "list" in node else None,
        find={field: _lister(each) for field, each in node.get("find", {}).items()},
        create=_writer(node.get("create"), id_),
        update=_writer(node.get("update"), id_),
        save=_writer(node.get("save"), id_),
    )


def _auth(node: Any) -> Auth | None:
    if node is None:
        return None
    mint = node.get("mint")
    made = Mint(_call(mint), look(mint.get("token", "access_token"))) if mint else None
    return Auth(node.get("header", "Authorization"), node["value"], made)


def compiled(tree: Any) -> Api:
    errors = tree.get("errors", {})
    return Api(
        name=tree["api"],
        auth=_auth(tree.get("auth")),
        headers=tree.get("headers", {}),
        limits=tuple(Limit(each["calls"], seconds(each["per"])) for each in tree.get("limits", ())),
        retry=frozenset(tree.get("retry", ())),
        errors=Errors(*(look(errors.get(key)) for key in ("message", "code", "fields", "failed"))),
        timeout=seconds(tree.get("timeout", "60s")),
        largest=tree.get("largest", 32) << 20,
        settle=seconds(tree.get("settle", "30s")),
        time=tree.get("time"),
        objects={name: _object(name, node) for name, node in tree["objects"].items()},
    )

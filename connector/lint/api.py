"""Rules of api files, and of the connections that name one: paths compile, what is sent can be filled, secrets are given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from connector import spec
from connector.endpoints.http.api import ANSWER, calls
from connector.endpoints.http.call import holes
from connector.lint.file import File, Findings, part, places
from connector.lint.findings import instead
from connector.source import At
from connector.values import Problem, compile_path

_PAGED = tuple(f"objects.*.{kind}.items|next|link|more|total" for kind in ("list", "find.*"))
_WRITES = "objects.*.create|update|save"
_PATHS = (
    *("errors.message|code|fields|failed", "auth.mint.token", *_PAGED),
    *(f"{_WRITES}.id", f"{_WRITES}.batch.results|id|error|code|tie"),
)
_PAGES = {"cursor", "page", "offset"}
_ONE = {"id", "fields", "record"}


def paths(file: File) -> Findings:
    """Every path into an answer compiles."""
    for at, text in places(file.tree, *_PATHS):
        problems: list[Problem] = []
        if isinstance(text, str):
            compile_path(ANSWER + text, at, problems)
        for each in problems:
            offset = None if each.offset is None else max(0, each.offset - len(ANSWER))
            yield file.problem(replace(each, text=text, offset=offset))


def placeholders(file: File) -> Findings:
    """Each placeholder of a call has a value there."""
    for at, node in places(file.tree, "objects.*.list"):
        yield from _known(file, at, node, _PAGES | {"since", "until"})
    for at, node in places(file.tree, "objects.*.find.*"):
        yield from _known(file, at, node, _PAGES | {_value(node)})
    for at, node in places(file.tree, _WRITES):
        yield from _known(file, at, node, {"items"} if _batched(node) else _ONE)
    for at, node in places(file.tree, f"{_WRITES}.batch"):
        yield from _known(file, at, node, _ONE)


def _batched(node: Any) -> bool:
    return isinstance(node, dict) and "batch" in node


def _value(node: Any) -> str:
    """What a search is for: one value a call, or several."""
    return "values" if _batched(node) else "value"


def _known(file: File, at: At, node: Any, names: set[str]) -> Findings:
    for key in ("call", "query", "json", "item") if isinstance(node, dict) else ():
        for place, text in _texts(node.get(key), (*at, key)):
            for hole in re.finditer(r"\{(\w+)\}", text):
                if hole[1] in holes(hole[0]) - names:
                    hint = instead(hole[1], sorted(names))
                    yield file.finding(
                        "unknown_placeholder",
                        place,
                        f"nothing stands for {hole[0]} here",
                        hint,
                        word=(hole.start(), hole[0]),
                    )


def _texts(node: Any, at: At) -> Iterator[tuple[At, str]]:
    if isinstance(node, str):
        yield at, node
    for key, each in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _texts(each, (*at, key))


def fitting(file: File) -> Findings:
    """What a key promises is sent, and what is sent has somewhere to come from."""
    for at, node in places(file.tree, "objects.*.list", "objects.*.find.*"):
        if isinstance(node, dict):
            yield from _pages(file, at, node)
    for at, node in places(file.tree, "objects.*.find.*"):
        yield from _sends(file, at, node, {_value(node)}, f"add {{{_value(node)}}} to its query")
    for at, node in places(file.tree, "objects.*.update"):
        if not _batched(node):
            yield from _sends(file, at, node, {"id", "record"}, "add {id} to its path")
    for at, item in places(file.tree, "objects.*.update.batch.item"):
        if not {"id", "record"} & holes(item):
            said = "an item does not say which record is meant"
            yield file.finding("missing_placeholder", at, said, 'write "{record}", or add {id}')
    for at, node in places(file.tree, f"{_WRITES}.batch"):
        body = part(file.tree, *map(str, at[:-1])).get("json", "{items}")
        if isinstance(node, dict) and "items" not in holes(body):
            said = "the body of a batch does not hold its items"
            yield file.finding("missing_placeholder", (*at[:-1], "json"), said, 'add "{items}"')
    mint, value = part(file.tree, "auth", "mint"), part(file.tree, "auth").get("value")
    if mint and isinstance(value, str) and "token" not in holes(value):
        said = "the token that is minted is not sent"
        yield file.finding("missing_placeholder", ("auth", "value"), said, "write value: Bearer {token}")


def _pages(file: File, at: At, node: dict[str, Any]) -> Findings:
    sent = holes([node.get(key) for key in ("call", "query", "json")])
    if "next" in node and "link" in node:
        yield file.finding("two_forms", (*at, "link"), "next and link both lead to the next page", "keep one", key=True)
    for key, hole in (("next", "cursor"), ("since", "since")):
        if key in node and hole not in sent:
            said = f"{key} is given, but no {{{hole}}} is sent"
            yield file.finding(
                "missing_placeholder", (*at, key), said, f"add it to the query, or remove {key}", key=True
            )
        elif hole in sent and key not in node:
            said, hint = f"{{{hole}}} is sent, but {key} is not given", f"add {key}"
            yield file.finding("missing_key", (*at, key), said, hint)
    if "since" in node and "stamp" not in part(file.tree, *map(str, at[:2])):
        said = "since needs stamp: where a record says when it changed"
        yield file.finding("missing_key", (*at[:2], "stamp"), said, "add stamp: FIELD")


def _sends(file: File, at: At, node: Any, names: set[str], hint: str) -> Findings:
    parts = [node.get(key) for key in ("call", "query", "json")] if isinstance(node, dict) else []
    if parts and not names & holes(parts):
        said = f"no {' or '.join(f'{{{name}}}' for name in sorted(names))} is sent: it would be the same call for each"
        yield file.finding("missing_placeholder", (*at, "call"), said, hint)


def signing(file: File) -> Findings:
    """A secret is named, never written out."""
    auth = part(file.tree, "auth")
    mint = part(auth, "mint")
    held = [auth.get("value"), mint.get("form"), mint.get("json")]
    if isinstance(auth.get("value"), str) and not holes(held):
        said = "a secret must not stand in a file"
        yield file.finding(
            "secret_in_file", ("auth", "value"), said, 'write "Bearer {api_key}"; the connection has the secret'
        )


# ---- connections -----------------------------------------------------------------------------------------


def named(file: File) -> Iterator[tuple[str, Path]]:
    """The HTTP systems of a connection, and where their api files should lie."""
    for at, name in places(file.tree, "systems.*.api"):
        if isinstance(name, str) and file.folder:
            yield str(at[1]), spec.mapping_file(name, file.folder, "apis")


def described(file: File) -> Findings:
    """The api file of each system is there and right, and the secrets that it names are given."""
    for name, path in named(file):
        at, (tree, errors) = ("systems", name, "api"), file.apis.get(name, (None, 0))
        called = part(file.tree, "systems", name)["api"]
        if not path.is_file():
            own = called.endswith((".yaml", ".yml"))
            near = sorted(each.name if own else each.stem for each in path.parent.glob("*.y*ml"))
            said = f"there is no api {called}{', looked for from the folder of this file' * own}"
            yield file.finding("api_not_found", at, said, instead(path.name if own else called, near))
        elif tree is None or errors:
            many = f"has {errors} error{'s' * (errors > 1)} of its own" if tree else "is no api file"
            yield file.finding("api_has_errors", at, f"{called} {many}", "run connector lint on it")
        else:
            yield from _secrets(file, name, tree)


def _secrets(file: File, name: str, tree: dict[str, Any]) -> Findings:
    auth, given = tree.get("auth", {}), part(file.tree, "systems", name).get("auth", {})
    mint = auth.get("mint", {})
    wanted = holes([auth.get("value"), *(mint.get(key) for key in ("call", "form", "json"))])
    wanted -= {"token"} if mint else set()
    if not isinstance(given, dict):
        return
    for key in sorted(wanted - given.keys()):
        said, hint = f"{tree['api']} needs the secret {key}", f"write auth: {{{key}: ${{env:NAME}}}}"
        yield file.finding("missing_key", ("systems", name, "auth", key), said, hint)
    for key in sorted(given.keys() - wanted):
        said = f"{tree['api']} knows no secret {key}"
        yield file.finding("unknown_key", ("systems", name, "auth", key), said, instead(key, sorted(wanted)), key=True)


def able(file: File) -> Findings:
    """What the mapping reads and writes at a system, its api file has calls for. An object that settings switch is passed by."""
    nodes = ((name, node) for name, node in part(file.rules, "objects").items() if isinstance(node, dict))
    for name, node in nodes:
        chosen = part(file.tree, "objects", name).get("direction") or node.get("direction")
        for way in ("push", "pull"):
            if chosen in (way, "both") and "enabled" not in node:
                yield from _lacks(file, node, *("home", "remote")[:: 1 if way == "push" else -1])


def _lacks(file: File, node: dict[str, Any], source: str, target: str) -> Findings:
    pair, reads = part(node, "pair"), part(node, "read")
    triggers = {changed for _, changed in places(node, "triggers.*.changed")}
    asked = [(part(reads, name).get("object"), {"list"} if name in triggers else {"list", "find"}) for name in reads]
    makes = {"create", "save"} if part(node, "match").get("missing") == "create" else {"create", "save", "update"}
    for side, wanted in (
        (source, [*asked, (pair.get(source), {"list"})]),
        (target, [(node.get("write") or pair.get(target), makes)]),
    ):
        system = part(file.rules, "systems").get(side)
        system = system.get("name") if isinstance(system, dict) else system
        tree, errors = file.apis.get(str(system), (None, 0))
        for thing, words in wanted if tree and not errors else ():
            has = calls(tree).get(thing, frozenset()) if isinstance(thing, str) else words
            if not words & has:
                said = f"{system} has no call to {' or '.join(sorted(words))} {thing}, which the mapping needs"
                hint = f"it has {', '.join(sorted(has))}" if has else instead(str(thing), calls(tree))
                yield file.finding("missing_capability", ("systems", str(system), "api"), said, hint)

"""Rules of connections, which may only narrow their mapping, and of example files, which name things of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from connector import source, spec
from connector.errors import SpecError
from connector.lint.file import File, Findings, part
from connector.lint.findings import instead
from connector.lint.grammar import UNKNOWN, check, kind_of, sane
from connector.lint.mapping import check_schedule
from connector.source import At

_ALLOWED = {"pull": ("pull", "disabled"), "push": ("push", "disabled"), "disabled": ("disabled",)}
_PASSWORD = re.compile(r"://[^/?#\s]*:[^/?#\s]*@|[?&](?:password|passwd|pwd|token)=", re.IGNORECASE)
_SHARED_HOSTS = ("login.salesforce.com", "test.salesforce.com")


def mapping_path(file: File) -> Path | None:
    """Where the mapping lies that the file names, whether it is there or not."""
    named = file.tree.get("mapping")
    if not isinstance(named, str) or file.folder is None:
        return None
    try:
        path = spec.mapping_file(named, file.folder)
        path.is_file()
    except (OSError, ValueError):  # no system has files of such a name
        return file.folder / "no such file"
    return path


def mapping_of(file: File) -> dict[str, Any] | None:
    """The mapping that the file names, without what is wrong in it; None when it cannot be read or need not be."""
    path = mapping_path(file)
    return _mapping(path, path.stat().st_mtime_ns) if path and path.is_file() else None


@lru_cache(maxsize=8)
def _mapping(path: Path, _changed: int) -> dict[str, Any] | None:
    try:
        read = source.read(path)
    except SpecError:
        return None
    if read.faults or kind_of(read.tree) != "mapping":
        return None
    tree = sane(read.tree, check(read, "mapping"))
    return tree if isinstance(tree, dict) else None


def mapping_exists(file: File) -> Findings:
    path, named = mapping_path(file), str(file.tree.get("mapping"))
    if path is None:
        return
    if not path.is_file():
        hint = instead(named, [each.stem for each in sorted(spec.shipped().glob("*.yaml"))])
        if named.endswith((".yaml", ".yml")):
            near = [each.name for each in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
            hint = f"it is looked for from the folder of this file{'; there is ' * bool(near)}{', '.join(near[:5])}"
        yield file.finding("mapping_not_found", f"there is no mapping {named}", ("mapping",), hint)
    elif mapping_of(file) is None:
        yield file.finding("mapping_has_errors", f"{named} is no mapping", ("mapping",), "run connector lint on it")
    elif file.mapping_errors:
        said = f"{named} has {file.mapping_errors} error{'s' * (file.mapping_errors > 1)} of its own"
        yield file.finding("mapping_has_errors", said, ("mapping",), "run connector lint on it")


def schedule(file: File) -> Findings:
    mapping = mapping_of(file)
    yield from check_schedule(file, part(mapping, "objects") or None)


def objects(file: File) -> Findings:
    """Objects that the mapping has, in directions that it allows."""
    yield from _narrows(file, file.tree, ())


def _narrows(file: File, node: Any, at: At) -> Findings:
    allowed = part(mapping_of(file), "objects")
    for name, choice in part(node, "objects").items() if allowed else ():
        here, wanted = (*at, "objects", name), part(node["objects"], name).get("direction")
        if name not in allowed:
            yield file.finding(
                "unknown_object", f"the mapping has no object {name}", here, instead(name, allowed), key=True
            )
            continue
        most = part(allowed, name).get("direction")
        choices = _ALLOWED.get(most) if isinstance(most, str) else None
        if isinstance(choice, dict) and isinstance(wanted, str) and choices and wanted not in choices:
            said = f"the mapping lets {name} {most} only" if most != "disabled" else f"the mapping has {name} disabled"
            yield file.finding("direction_widened", said, (*here, "direction"), f"write {' or '.join(choices)}")


def systems(file: File) -> Findings:
    """Every system of the mapping, and no other."""
    mapping = mapping_of(file)
    wanted = [name for name in part(mapping, "systems").values() if isinstance(name, str)]
    given = file.tree.get("systems")
    if not wanted or not isinstance(given, dict) or len(part(mapping, "systems")) < 2:
        return
    for name in given:
        if name not in wanted:
            said = f"the mapping has no system {name}"
            yield file.finding("unknown_system", said, ("systems", name), instead(name, wanted), key=True)
    for name in wanted:
        if name not in given and all(each in wanted for each in given):
            said = f"the mapping's system {name} is not given"
            yield file.finding("missing_system", said, ("systems",), f"add {name}: {{adapter: ...}}")


def secrets(file: File) -> Findings:
    """No password in the address of a database; what stands under `auth` is the grammar's business."""
    for name, system in part(file.tree, "systems").items():
        url = system.get("url") if isinstance(system, dict) else None
        if isinstance(url, str) and _PASSWORD.search(url):
            said = "the address holds a password"
            yield file.finding(
                "secret_in_file", said, ("systems", name, "url"), "write ${env:NAME} for the whole address"
            )


def logins(file: File) -> Findings:
    for name, system in part(file.tree, "systems").items():
        login = system.get("login") if isinstance(system, dict) else None
        host = re.sub(r"^https?://|[:/].*$", "", login.lower()) if isinstance(login, str) else ""
        if host in _SHARED_HOSTS and part(system, "auth").get("grant") == "client_credentials":
            said = f"{host} does not take client credentials"
            hint = "write the org's My Domain, such as https://acme.my.salesforce.com"
            yield file.finding("login_needs_my_domain", said, ("systems", name, "login"), hint)


# ---- examples --------------------------------------------------------------------------------------------


def example_names(file: File) -> Findings:
    """Rows, objects and ids that an example names are there."""
    mapping = mapping_of(file)
    rows = part(file.tree, "rows")
    known = part(mapping, "objects")
    tables = {
        *(
            read.get("object")
            for thing in known.values()
            for read in part(thing, "read").values()
            if isinstance(read, dict)
        ),
        *(thing.get("write") for thing in known.values() if isinstance(thing, dict)),
        *file.shapes,
        *part(file.tree, "shapes"),
    }
    for name, row in rows.items():
        yield from _row(file, row, ("rows", name), {}, tables if known else set())
    yield from _narrows(file, part(file.tree, "connection"), ("connection",))
    seen: set[str] = set()
    listed = file.tree.get("examples")
    for n, example in enumerate(listed if isinstance(listed, list) else []):
        at: At = ("examples", n)
        if not isinstance(example, dict):
            continue
        own = example.get("id")
        if isinstance(own, str) and own in seen:
            said = f"{own} is the id of two examples"
            yield file.finding("repeated_id", said, (*at, "id"), "give each its own")
        seen.add(str(own))
        for place, word in _object_names(example, at):
            if known and word not in known:
                said = f"the mapping has no object {word}"
                yield file.finding("unknown_object", said, place, instead(word, known))
        for place, table in _tables(example, at) if known else ():
            if table not in tables:
                said = f"the mapping neither reads nor writes {table}"
                yield file.finding("unknown_object", said, place, instead(table, sorted(filter(None, tables))))
        given = part(example, "given")
        yield from _narrows(file, part(given, "connection"), (*at, "given", "connection"))
        for place, row in _rows(example, at):
            yield from _row(file, row, place, rows, tables if known else set())


def _object_names(example: dict[str, Any], at: At) -> Iterator[tuple[At, str]]:
    """Places where an object of the mapping is named."""
    found: list[tuple[At, Any]] = [((*at, "object"), example.get("object"))]
    for n, step in _each(example.get("steps")):
        found += [(((*at, "steps", n, verb), step.get(verb))) for verb in ("run", "run_twice_at_once")]
        found.append(((*at, "steps", n, "event", "object"), part(step, "event").get("object")))
    for side in ("given", "expect"):
        for n, link in _each(part(example, side).get("links")):
            found.append(((*at, side, "links", n, "object"), link.get("object")))
    yield from ((place, name) for place, name in found if isinstance(name, str))


def _tables(example: dict[str, Any], at: At) -> Iterator[tuple[At, str]]:
    """Places where a table of a system is named."""
    found: list[tuple[At, Any]] = []
    for n, write in _each(part(example, "expect").get("writes")):
        found += [((*at, "expect", "writes", n, verb), write.get(verb)) for verb in ("create", "replace", "update")]
    for side, name in (("given", "faults"), ("expect", "row")):
        for n, item in _each(part(example, side).get(name)):
            found.append(((*at, side, name, n, "object"), item.get("object")))
    yield from ((place, name) for place, name in found if isinstance(name, str))


def _rows(example: dict[str, Any], at: At) -> Iterator[tuple[At, Any]]:
    holders = [(part(example, "given"), (*at, "given"))]
    holders += [(part(step, "edit"), (*at, "steps", n, "edit")) for n, step in _each(example.get("steps"))]
    for holder, place in holders:
        for side in ("remote", "home"):
            listed = holder.get(side)
            for n, row in enumerate(listed if isinstance(listed, list) else []):
                yield (*place, side, n), row


def _each(listed: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(n, item) for n, item in enumerate(listed if isinstance(listed, list) else []) if isinstance(item, dict)]


def _row(file: File, row: Any, at: At, rows: dict[str, Any], tables: set[Any]) -> Findings:
    if row is UNKNOWN:
        return
    name, place = (row, at) if isinstance(row, str) else (part({"row": row}, "row").get("like"), (*at, "like"))
    if isinstance(name, str) and name not in rows:
        yield file.finding("unknown_row", f"rows holds no {name}", place, instead(name, rows))
    elif isinstance(row, dict) and "like" not in row and "object" not in row:
        yield file.finding("missing_key", "a row needs object, or like", at, "like: NAME copies a row of rows")
    table = row.get("object") if isinstance(row, dict) else None
    if isinstance(table, str) and tables and table not in tables:
        said = f"the mapping neither reads nor writes {table}"
        yield file.finding("unknown_object", said, (*at, "object"), instead(table, sorted(filter(None, tables))))

"""Shapes and a fixture -> an org with everything that the fixture asks for."""

import inspect
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from connector.sandbox import kept
from connector.sandbox.fixtures import Fixture, merged
from connector.sandbox.org import Org

_OPTIONS = frozenset({"page_size", "api_limit", "api_bursts", "token_seconds"})
_RULES = frozenset({"on", "validations", "duplicates", "locks"})
_CLIENTS = {"sandbox": "sandbox"}
_OBJECTS, _ORG = "objects", "org"  # what the file calls them


def org(shapes: Iterable[Mapping[str, Any]], fixture: Fixture, path: Path | None = None) -> Org:
    """What the file has kept, and the fixture over it. Raises ValueError that says what is wrong with the fixture."""
    _keys("org", fixture.org, _OPTIONS | {"consent"})
    known = _kept(path)
    options = {key: _number(key, value) for key, value in {**known[_ORG], **fixture.org}.items() if key in _OPTIONS}
    clients = {**({} if "clients" in known[kept.KEY] else _CLIENTS), **fixture.clients}
    again = {name.lower() for name in fixture.objects}
    # Without its own objects the org would not know their rows any more.
    objects = {name: short for name, short in known[_OBJECTS].items() if name.lower() not in again}
    objects.update(fixture.objects)
    made = Org(merged(shapes, objects), path=path, clients=clients, users=fixture.users, **options)
    try:
        made.load(fixture.rows)
        for name, given in fixture.rules.items():
            _rules(made, name, given)
        if fixture.faults:
            made.faults.waiting.clear()
        for fault in fixture.faults:
            _keys("a fault", fault, inspect.signature(made.fault).parameters)
            made.fault(**fault)
        if "consent" in fixture.org:
            made.consent(fixture.org["consent"])
        made.store.set_meta(_OBJECTS, json.dumps(objects))
        made.store.set_meta(_ORG, json.dumps(options))
        made.keep()
    except BaseException:
        made.store.close()
        raise
    return made


def _kept(path: Path | None) -> dict[str, Any]:
    """What stands in the org's file about itself; each is empty where it is a new one."""
    found: dict[str, Any] = {key: {} for key in (_OBJECTS, _ORG, kept.KEY)}
    if path is None or not path.is_file():
        return found
    with closing(sqlite3.connect(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = '#meta'").fetchone():
            rows = connection.execute('SELECT key, value FROM "#meta"').fetchall()
            found.update({key: json.loads(value) for key, value in rows if key in found})
    return found


def _rules(made: Org, name: str, given: Any) -> None:
    _keys(f"rules of {name}", given, _RULES)
    lists = [given.get(key) or [] for key in ("on", "validations", "duplicates")]
    if not all(isinstance(each, list) for each in lists) or not isinstance(given.get("locks") or {}, dict):
        raise ValueError(f"rules of {name}: on, validations and duplicates are lists, locks is a mapping of ids")
    words, validations, duplicates = lists
    made.rules(name, *words, validations=validations, duplicates=duplicates)
    for record, writes in (given.get("locks") or {}).items():
        made.lock(name, str(record), int(_number("locks", writes)))


def _keys(what: str, given: Any, known: Iterable[str]) -> None:
    if not isinstance(given, dict) or given.keys() - set(known):
        raise ValueError(f"{what}: a mapping of {', '.join(sorted(known))}")


def _number(key: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"{key} is a number above 0, not {value!r}")
    return value

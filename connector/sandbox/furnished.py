"""Shapes and a fixture -> an org with everything that the fixture asks for."""

import inspect
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from connector.sandbox.fixtures import Fixture, merged
from connector.sandbox.org import Org

_OPTIONS = frozenset({"page_size", "api_limit", "api_bursts", "token_seconds"})
_RULES = frozenset({"on", "validations", "duplicates", "locks"})
_CLIENTS = {"sandbox": "sandbox"}
_OBJECTS = "objects"  # what the file calls them


def org(shapes: Iterable[Mapping[str, Any]], fixture: Fixture, path: Path | None = None) -> Org:
    """Raises ValueError that says what is wrong with the fixture."""
    _keys("org", fixture.org, _OPTIONS | {"consent"})
    options = {key: _number(key, value) for key, value in fixture.org.items() if key in _OPTIONS}
    clients = {**_CLIENTS, **fixture.clients}
    objects = _with_kept(path, fixture.objects)
    made = Org(merged(shapes, objects), path=path, clients=clients, users=fixture.users, **options)
    try:
        made.store.set_meta(_OBJECTS, json.dumps(objects))
        made.load(fixture.rows)
        for name, given in fixture.rules.items():
            _rules(made, name, given)
        for fault in fixture.faults:
            _keys("a fault", fault, inspect.signature(made.fault).parameters)
            made.fault(**fault)
        if "consent" in fixture.org:
            made.consent(fixture.org["consent"])
    except BaseException:
        made.close()
        raise
    return made


def _with_kept(path: Path | None, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Objects that the org's file was given before: without them the org would not know their rows any more."""
    if path is None or not path.is_file():
        return dict(objects)
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = '#meta'").fetchone():
            return dict(objects)
        row = connection.execute('SELECT value FROM "#meta" WHERE key = ?', (_OBJECTS,)).fetchone()
    given = {name.lower() for name in objects}
    kept = json.loads(row[0]) if row else {}
    return {**{name: short for name, short in kept.items() if name.lower() not in given}, **objects}


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

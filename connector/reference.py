"""schema.json -> docs/language.md: `python -m connector.reference > docs/language.md`. Nothing is said here that is not said there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from inspect import signature
from typing import Any

from jmespath.functions import Functions

from connector import spec
from connector.lint import CODES, LEVELS
from connector.source import parse
from connector.values import FILTERS, FUNCTIONS, Function

_INTRO = """\
# The language

Made from `connector/schema.json`, the grammar that lint checks: change that file, then run
`python -m connector.reference > docs/language.md`.

Three kinds of file, told apart by the key they have: a [mapping](#mapping) is the reviewed rules of one integration, a
[connection](#connection) is one customer's installation of it, [examples](#examples) show what a mapping does and are run as
tests. All are YAML with one meaning for everything that is written: `true`, `false`, `null` and decimal numbers without
leading zeros are what they look like, all else is text (`on`, `NO`, `02134`, `15:30`, `2025-03-01`). A key is given once.
Anchors, aliases, tags and merge keys are not part of it. Text that begins with `{`, `[`, `*`, `&`, `!`, `@` or a backtick, or that
holds `{{ }}`, goes in quotes.

Every key that is not in a table below is an error, with its line and column.
"""
_SECTIONS = (
    (2, "Mapping", "mapping", ("mapping",)),
    (3, "Object", "object", ("object",)),
    (3, "Read", "read", ("read", "watch")),
    (3, "Trigger", "trigger", ("trigger",)),
    (3, "Match", "match", ("match", "key")),
)
_VALUES = """\
## Values

What stands behind a field of the target. Text alone is a path into the row, in JMESPath: its first step is the name of a read,
`appointment.i360__Prospect__r.Name` goes through a relationship, `activities[].Name` makes a list of each row's value.
Everything else names exactly one of these forms. *Missing* means absent, null, empty or blank text, everywhere; `0`, `false`
and `[]` are values. Null is written as null, a field that the source did not return is left alone.
"""
_FIELD = {"each": "activities", "fields": "address", "required": "contact_id", "latest": "created", "value": "source"}


def markdown(schema: Any) -> str:
    """The whole page."""
    defs = schema["$defs"]
    return "\n".join(_page(defs)).rstrip() + "\n"


def _page(defs: Any) -> Iterator[str]:
    yield _INTRO
    for level, title, name, tables in _SECTIONS:
        yield from _section(defs, level, title, name, tables)
    yield _VALUES
    for form in defs["value"]["x-forms"]:
        node = defs[f"form_{form}"]
        yield from _head(3, f"`{form}`", node)
        yield _table(defs, node)
        yield _yaml({_FIELD.get(form, "field"): node["examples"][0]})
    yield "### Functions of paths\n"
    yield from _rows(("function", "gives"), (_function(name, it) for name, it in sorted(FUNCTIONS.items())))
    yield "### Filters of templates\n\nBehind `|` in `{{ }}`. Paths, `if`/`else`, comparisons, `and`, `or`, `not` and `~` are the rest of what a template may hold.\n"
    yield from _rows(("filter", "gives"), ((f"`{name}`", it.__doc__ or "") for name, it in sorted(FILTERS.items())))
    yield from _section(defs, 2, "Connection", "connection", ("connection", "connection_object", "schedule"))
    yield from _head(3, "Systems", defs["system"])
    for name in ("salesforce_system", "auth", "sql_system"):
        yield _caption(defs, name)
        yield _table(defs, defs[name])
    parts = ("examples", "example", *(f"example_{part}" for part in ("given", "fault", "step", "expect", "write")))
    yield from _section(defs, 2, "Examples", "examples", parts)
    yield "## What lint says\n\nErrors stop a run, warnings and notes do not.\n"
    yield from _rows(("code", "level", "meaning"), ((f"`{c}`", LEVELS.get(c, "error"), m) for c, m in CODES.items()))


def _function(name: str, function: Function) -> tuple[str, str]:
    """How it is called: said in its line, or by its own arguments; JMESPath's own take one."""
    called, _, gives = function.doc.partition(": ")
    if called.startswith(f"{name}("):
        return f"`{called}`", gives[:1].upper() + gives[1:]
    if function.call:
        given = list(signature(function.call).parameters)
    else:
        own = Functions.FUNCTION_TABLE[name]["signature"]
        given = ["value", "part"][: len(own)] + ["..."] * bool(own[-1].get("variadic"))
    return f"`{name}({', '.join(given)})`", function.doc


def _section(defs: Any, level: int, title: str, name: str, tables: tuple[str, ...]) -> Iterator[str]:
    yield from _head(level, title, defs[name])
    for table in tables:
        if table != name:
            yield _caption(defs, table)
        yield _table(defs, defs[table])
    if level == 2:
        yield _yaml(defs[name]["examples"][0])


def _head(level: int, title: str, node: Any) -> Iterator[str]:
    yield f"{'#' * level} {title}\n\n{node['description']}\n"


def _caption(defs: Any, name: str) -> str:
    return f"**{_title(name)}**: {defs[name]['description']}\n"


def _title(name: str) -> str:
    return name.removeprefix("example_").removesuffix("_system").replace("_", " ")


def _table(defs: Any, node: Any) -> str:
    required = node.get("required", node.get("then", {}).get("required", ()))
    rows = [
        (f"`{key}`", _meaning(defs, rule), _default(rule), "yes" if key in required else "")
        for key, rule in node["properties"].items()
    ]
    columns = ["key", "meaning", "default", "required"]
    kept = [n for n in range(4) if n < 2 or any(row[n] for row in rows)]
    return "\n".join(_rows([columns[n] for n in kept], ([row[n] for n in kept] for row in rows)))


def _rows(columns: Any, rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _meaning(defs: Any, rule: Any) -> str:
    """The description, the choices, and an example of what is written."""
    name = rule.get("$ref", "").rpartition("/")[2]
    rule = {**(defs[name] if name else {}), **rule}
    said = [rule.get("description", "")]
    if "enum" in rule and (rest := [f"`{_scalar(word)}`" for word in rule["enum"] if f"`{word}`" not in said[0]]):
        said.append(f"{'One of ' * (len(rest) > 1)}{', '.join(rest)}.")
    elif name not in ("name", "api_name") and rule.get("pattern") and (texts := rule.get("examples")):
        said.append(f"Such as {' or '.join(f'`{text}`' for text in texts[:2])}.")
    return " ".join(filter(None, said))


def _default(rule: Any) -> str:
    return f"`{_flow(rule['default'])}`" if "default" in rule else ""


# ---- YAML ------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_/.][\w $/.:()-]*|[0-9]+[A-Za-z]\w*")


def _yaml(node: Any) -> str:
    return f"```yaml\n{_block(node, 0)}```\n"


def _block(node: Any, depth: int) -> str:
    """Blocks outside, and what fits into a line in braces and brackets."""
    pad, out = "  " * depth, ""
    pairs = (
        [(f"{_scalar(key)}:", value) for key, value in node.items()]
        if isinstance(node, dict)
        else [("-", item) for item in node]
    )
    for head, value in pairs:
        flow = _flow(value)
        simple = not isinstance(value, (dict, list)) or not any(
            isinstance(each, (dict, list)) for each in _parts(value)
        )
        if not isinstance(value, (dict, list)) or (len(pad + head + flow) < 100 and (simple or depth > 2)):
            out += f"{pad}{head} {flow}\n"
        elif head == "-" and isinstance(value, dict):
            out += f"{pad}- {_block(value, depth + 1).lstrip()}"
        else:
            out += f"{pad}{head}\n{_block(value, depth + 1)}"
    return out


def _parts(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else list(node)


def _flow(node: Any) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(value)}" for key, value in node.items()) + "}"
    return "[" + ", ".join(map(_flow, node)) + "]" if isinstance(node, list) else _scalar(node)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = (
        _PLAIN.fullmatch(value)
        and ": " not in value
        and value[-1] not in ": "
        and parse(f"a: {value}").tree == {"a": value}
    )
    return value if plain else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(markdown(spec.grammar()))

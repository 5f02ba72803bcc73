"""schema.json -> docs/language.md: `python -m connector.reference > docs/language.md`. Nothing is said here that is not said there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from inspect import signature
from typing import Any

from connector import spec
from connector.lint import CODES, LEVELS
from connector.source import parse
from connector.values import FILTERS, FUNCTIONS

_INTRO = """\
# The language

Made from `connector/schema.json`, the grammar that lint checks: change that file, then run
`python -m connector.reference > docs/language.md`.

Four kinds of file, told apart by the key they have: a [mapping](#mapping) is the reviewed rules of one integration, a
[connection](#connection) is one customer's installation of it, an [api file](#api-files) describes a system with an HTTP API,
[examples](#examples) show what a mapping does and are run as tests. All are YAML with one meaning for everything that is written: `true`, `false`, `null` and decimal numbers without
leading zeros are what they look like, all else is text (`on`, `NO`, `02134`, `15:30`, `2025-03-01`). A key is given once.
Anchors, aliases, tags and merge keys are not part of it. Text that begins with `{`, `[`, `*`, `&`, `!`, `@` or a backtick, or that
holds `{{ }}`, goes in quotes.

Every key that is not in a table below is an error, with its line and column.
"""
_VALUES = """\
## Values

What stands behind a field of the target. Text alone is a path into the row, in JMESPath: its first step is the name of a read,
`appointment.i360__Prospect__r.Name` goes through a relationship, `activities[].Name` makes a list of each row's value.
Everything else names exactly one of these forms. *Missing* means absent, null, empty or blank text, everywhere; `0`, `false`
and `[]` are values. Null is written as null, a field that the source did not return is left alone.
"""
_FILTERS = """\
### Filters of templates

Behind `|` in `{{ }}`. Paths, `if`/`else`, comparisons, `and`, `or`, `not` and `~` are the rest of what a template may hold.
"""
_FIELD = {"each": "activities", "fields": "address", "required": "contact_id", "latest": "created", "value": "source"}


def markdown(schema: Any) -> str:
    """The whole page."""
    return "\n".join(_page(schema["$defs"])).rstrip() + "\n"


def _page(defs: Any) -> Iterator[str]:
    yield _INTRO
    yield from _section(defs, "## Mapping", "mapping")
    yield _yaml(defs["mapping"]["examples"][0])
    yield from _section(defs, "### Object", "object")
    yield from _section(defs, "### Read", "read", "watch")
    yield from _section(defs, "### Trigger", "trigger")
    yield from _section(defs, "### Match", "match", "key")
    yield from _section(defs, "### Pair", "pair", "side", "pair_field")
    yield from _section(defs, "### Children", "child")
    yield from _section(defs, "### Lookup", "lookup")
    yield from _section(defs, "### Setting", "setting", "system_name")
    yield _VALUES
    for form in defs["value"]["x-forms"]:
        yield from _section(defs, f"### `{form}`", f"form_{form}")
        yield _yaml({_FIELD.get(form, "field"): defs[f"form_{form}"]["examples"][0]})
    yield "### Functions of paths\n"
    ours = {name: (signature(it.call), it.doc) for name, it in sorted(FUNCTIONS.items()) if it.call}
    yield from _table(
        ("function", "gives"), [(f"`{name}({', '.join(args.parameters)})`", doc) for name, (args, doc) in ours.items()]
    )
    own = ", ".join(f"`{name}`" for name in sorted(FUNCTIONS) if name not in ours)
    yield f"And JMESPath's own, of which most give null for null: {own}.\n"
    yield _FILTERS
    yield from _table(("filter", "gives"), ((f"`{name}`", it.__doc__ or "") for name, it in sorted(FILTERS.items())))
    yield from _section(defs, "## Connection", "connection", "connection_object", "schedule")
    yield _yaml(defs["connection"]["examples"][0])
    grants = defs["auth"]["properties"]["grant"]["enum"]
    names = ("system", "salesforce_system", "auth", *grants, "budget", "sql_system", "http_system")
    yield from _section(defs, "### Systems", *names)
    yield from _section(
        defs, "## API files", *(name for name, node in defs.items() if name[:3] == "api" and "properties" in node)
    )
    yield _yaml(defs["api"]["examples"][0])
    parts = (f"example_{part}" for part in ("given", "fault", "step", "expect", "write"))
    yield from _section(defs, "## Examples", "examples", "example", *parts)
    yield _yaml(defs["examples"]["examples"][0])
    yield "## What lint says\n\nErrors stop a run, warnings and notes do not.\n"
    yield from _table(("code", "level", "meaning"), ((f"`{c}`", LEVELS.get(c, "error"), m) for c, m in CODES.items()))


def _section(defs: Any, heading: str, *names: str) -> Iterator[str]:
    """What the first is, its keys, and those of its parts."""
    for name in names:
        node, title = defs[name], name.removeprefix("example_").removesuffix("_system").replace("_", " ")
        yield f"{heading}\n\n{node['description']}\n" if name == names[0] else f"**{title}**: {node['description']}\n"
        required = node.get("required", node.get("then", {}).get("required", ()))
        rows = [
            (
                f"`{key}`",
                _meaning(defs, rule),
                f"`{_flow(rule['default'])}`" if "default" in rule else "",
                "yes" * (key in required),
            )
            for key, rule in (node.get("properties") or node["then"]["properties"]).items()
        ]
        yield from _table(("key", "meaning", "default", "required"), rows)


def _table(columns: Any, rows: Any) -> Iterator[str]:
    """Without columns in which nothing stands."""
    filled = [column for column in zip(columns, *rows, strict=True) if any(column[1:])]
    head, *body = zip(*filled, strict=True)
    yield f"| {' | '.join(head)} |\n|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in body)
    yield ""


def _meaning(defs: Any, rule: Any) -> str:
    """The description, the choices, and an example of what is written."""
    name = rule.get("$ref", "").rpartition("/")[2]
    rule = {**(defs[name] if name else {}), **rule}
    said = [rule.get("description", "")]
    if "enum" in rule and (rest := [f"`{_flow(word)}`" for word in rule["enum"] if f"`{word}`" not in said[0]]):
        said.append(f"{'One of ' * (len(rest) > 1)}{', '.join(rest)}.")
    elif name not in ("name", "api_name") and rule.get("pattern") and (texts := rule.get("examples")):
        said.append(f"Such as {' or '.join(f'`{text}`' for text in texts[:2])}.")
    return " ".join(filter(None, said))


# ---- YAML ------------------------------------------------------------------------------------------------


def _yaml(node: Any) -> str:
    return f"```yaml\n{_block(node, 0)}```\n"


def _block(node: Any, depth: int) -> str:
    """Blocks outside, and what fits into a line in braces and brackets."""
    pad, out = "  " * depth, ""
    for key, value in node.items() if isinstance(node, dict) else (("", item) for item in node):
        line = f"{pad}{f'{_flow(key)}:' if key else '-'} {_flow(value)}\n"
        inner: Any = list(value.values()) if isinstance(value, dict) else value
        nests = isinstance(inner, list) and any(isinstance(each, (dict, list)) for each in inner)
        if not isinstance(inner, list) or (len(line) <= 100 and (depth > 2 or not nests)):
            out += line
        elif key:
            out += f"{pad}{_flow(key)}:\n{_block(value, depth + 1)}"
        else:
            out += f"{pad}- {_block(value, depth + 1).lstrip()}"
    return out


def _flow(node: Any) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(_flow, node)) + "]"
    # other readers of YAML take 2025-03-01 for a date
    plain = isinstance(node, str) and not re.match(r"\d+-", node) and parse(f"[{node}]").tree == [node]
    return node if plain else json.dumps(node, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(markdown(spec.grammar()))

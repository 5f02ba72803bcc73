"""The shape of a file against schema.json: jsonschema finds what is wrong, the words are ours.

What is wrong is taken out of the tree before any other rule sees it, so that each cause is told once: UNKNOWN in the
tree that `sane` makes means "something stands here, but nobody knows what".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from connector import spec
from connector.lint.findings import instead, nearest
from connector.source import At, Source, lookup

_PLAIN = {
    "string": "text",
    "object": "a map",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class Unknown:
    """Neither text nor map nor list: rules that ask for one of these pass it by."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One error of the grammar; `key`: it is the key that is wrong, not its value. `meant`: the key it should be."""

    code: str
    at: At
    message: str
    hint: str = ""
    key: bool = False
    meant: str | None = None


def kind_of(tree: Any) -> str:
    """Which of the three files this is, even if the word that says so is misspelt."""
    keys = list(tree) if isinstance(tree, dict) else []
    for kind in ("examples", "connection"):
        if kind in keys:
            return kind
    known = _defs()["mapping"]["properties"]
    meant = {nearest(key, ("examples", "connection", *known)) for key in keys if key not in known}
    return next((kind for kind in ("examples", "connection") if kind in meant), "mapping")


def check(source: Source, kind: str) -> list[Trouble]:
    """Every independent error of the grammar."""
    if not isinstance(source.tree, dict):
        said = f"a file holds a map of keys, this one holds {_found(source.tree, ())}"
        return [Trouble("wrong_type", (), said, "begin with mapping: NAME, connection: NAME or examples:")]
    found = [trouble for error in _validator(kind).iter_errors(source.tree) for trouble in _explain(error, source)]
    # what has the wrong type is none of the choices either
    wrong = {trouble.at for trouble in found if trouble.code == "wrong_type"}
    found = [trouble for trouble in found if trouble.code != "unknown_word" or trouble.at not in wrong]
    unique = {(trouble.code, trouble.at, trouble.message): trouble for trouble in found}
    meant = {(*trouble.at[:-1], trouble.meant) for trouble in found if trouble.meant}
    return [trouble for trouble in unique.values() if not (trouble.code == "missing_key" and trouble.at in meant)]


def sane(tree: Any, troubles: list[Trouble]) -> Any:
    """A copy of the tree in which everything wrong is UNKNOWN."""
    copy = _copy(tree)
    for trouble in sorted(troubles, key=lambda trouble: -len(trouble.at)):
        holder, last = lookup(copy, trouble.at[:-1]), trouble.at[-1] if trouble.at else None
        if last is None:
            return UNKNOWN
        if isinstance(holder, dict) and isinstance(last, str):
            if trouble.key and trouble.code == "malformed" and trouble.at[-2:-1] == ("read",):
                lookup(copy, trouble.at[:-2])[trouble.at[-2]] = UNKNOWN  # nobody knows what the others should be called
            elif trouble.key and trouble.code in ("unknown_key", "misplaced_key"):
                holder.pop(last, None)
                if trouble.meant:
                    holder.setdefault(trouble.meant, UNKNOWN)
            else:
                holder[last] = UNKNOWN
        elif isinstance(holder, list) and isinstance(last, int) and last < len(holder):
            holder[last] = UNKNOWN
    return copy


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node


def _defs() -> Any:
    return spec.grammar()["$defs"]


@cache
def _validator(kind: str) -> Draft202012Validator:
    grammar = spec.grammar()
    return Draft202012Validator({"$schema": grammar["$schema"], "$ref": f"#/$defs/{kind}", "$defs": grammar["$defs"]})


@cache
def _names() -> Mapping[int, str]:
    return {id(definition): name for name, definition in _defs().items()}


def _found(value: Any, at: At) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 40 and "systems" not in at else "text"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a map"


def _called(at: At) -> str:
    words = [str(step) for step in at if isinstance(step, str)]
    return words[-1] if words else "the file"


def _sentence(schema: Any) -> str:
    text = schema.get("description") or ""
    return text[:1].lower() + text[1:].split(". ")[0].rstrip(".")


def _such_as(schema: Any) -> str:
    examples = [str(example) for example in schema.get("examples", ()) if isinstance(example, str)]
    return f"such as {' or '.join(examples[-2:])}" if examples else ""


def _explain(error: ValidationError, source: Source) -> Iterator[Trouble]:
    schema, at = error.schema, tuple(error.absolute_path)
    if not isinstance(schema, dict):
        return
    name, value = _names().get(id(schema), ""), error.instance
    if "propertyNames" in error.absolute_schema_path:
        yield Trouble("malformed", (*at, str(value)), f"{value!r}: {_sentence(schema)}", _such_as(schema), key=True)
    elif name == "secret":
        yield Trouble("secret_in_file", at, f"{_called(at)} must not stand in a file", "write ${env:NAME} and set NAME")
    elif error.validator in _EXPLAIN:
        yield from _EXPLAIN[str(error.validator)](at, value, schema, name, source)
    else:
        yield Trouble("malformed", at, f"{_called(at)} is not what the language expects: {_sentence(schema)}")


def _unknown(at: At, value: Any, schema: Any, name: str, _source: Source) -> Iterator[Trouble]:
    known = schema["properties"]
    extra = [key for key in value if key not in known]
    forms: list[str] = _defs()["value"]["x-forms"]
    if set(known) == set(forms):
        near = next((key for key in extra if nearest(key, forms)), extra[0])
        meant = nearest(near, forms)
        owners = [] if meant else [form for form in forms if near in _defs()[f"form_{form}"]["properties"]]
        if owners:
            hint = f"it goes with {', '.join(owners)}"
            yield Trouble("no_form", (*at, near), f"{near} needs a form beside it", hint, key=True)
            return
        nest = "nested objects go under fields:, or " if not meant else ""
        said = f"{near} is no form of a value" if meant or len(extra) == 1 else f"{_called(at)} names no form"
        yield Trouble("no_form", (*at, near), said, nest + instead(near, forms), key=True)
        return
    here = name.removeprefix("form_")
    for key in extra:
        place = (*at, key)
        if here in forms and key in forms:
            said = f"a field has exactly one form, this one has {here} and {key}"
            yield Trouble("two_forms", place, said, f"keep {here} or {key}", key=True)
            continue
        if here in forms and (owners := [form for form in forms if key in _defs()[f"form_{form}"]["properties"]]):
            said = f"{key} belongs to {' and '.join(owners)}, not to {here}"
            yield Trouble("misplaced_key", place, said, f"remove it{_takes(known, here)}", key=True)
            continue
        free = [choice for choice in known if choice not in value] or list(known)
        where = f"in {_called(at)}" if at else "here"
        hint = instead(key, free)
        yield Trouble("unknown_key", place, f"there is no {key} {where}", hint, key=True, meant=nearest(key, free))


def _takes(known: Mapping[str, Any], form: str) -> str:
    rest = [key for key in known if key != form]
    return f"; {form} takes {', '.join(rest)}" if rest else ""


def _missing(at: At, value: Any, schema: Any, _name: str, _source: Source) -> Iterator[Trouble]:
    for key in schema["required"]:
        if key not in value:
            rule = schema.get("properties", {}).get(key, {})
            about = _sentence(rule) or _sentence(_defs().get(rule.get("$ref", "").rpartition("/")[2], {}))
            hint = f"{key}: {instead('', rule['enum']) if 'enum' in rule else about}"
            near = nearest(key, [each for each in value if each not in schema.get("properties", {})])
            hint = f"you wrote {near}" if near else hint
            yield Trouble("missing_key", (*at, key), f"{_called(at)} needs {key}", hint)


def _type(at: At, value: Any, schema: Any, name: str, source: Source) -> Iterator[Trouble]:
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    called, found = _called(at), _found(value, at)
    if name in ("path", "value") and isinstance(value, (list, dict)):
        span = source.span(at)
        typed = source.text[span.start : span.end]
        hint = f'quote this path: "{typed}"' if "\n" not in typed and '"' not in typed else "quote this path"
        hint += ", or name the form: first: [...]" if name == "value" else ""
        yield Trouble("unquoted_path", at, f"{called} takes a path, found {found}", hint)
        return
    takes = " or ".join(_PLAIN[each] for each in types if not (each == "null" and len(types) > 1))
    takes = "a path, or a map that names a form" if name == "value" else takes
    hint = _such_as(schema)
    if types == ["object"]:
        hint = f"with {', '.join(schema['properties'])}" if "properties" in schema else _sentence(schema)
    if value is None:
        hint = hint or "write it, or remove the key"
    elif name == "value":
        hint = f"a constant is {{value: {str(value).lower()}}}"
    elif types[0] == "string" and isinstance(value, (int, float)):
        hint = f'text goes in quotes: "{str(value).lower()}"' if not hint or name == "path" else hint
    elif types == ["boolean"]:
        hint = instead(_TRUTH.get(str(value).lower(), ""), ("true", "false"))
    elif types[0] == "array" and isinstance(value, str):
        hint = f"write [{value}]" if len(value) <= 40 else "write a list"
    yield Trouble("wrong_type", at, f"{called} takes {takes}, found {found}", hint)


_MEANT = {
    "off": "disabled",
    "no": "disabled",
    "string": "text",
    "datetime": "instant",
    "timestamp": "instant",
    "float": "number",
    "sqlite": "sql",
    "postgresql": "sql",
    "upsert": "update",
    "ignore": "skip",
}
_TRUTH = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}


def _word(at: At, value: Any, schema: Any, _name: str, _source: Source) -> Iterator[Trouble]:
    choices = [str(choice) for choice in schema["enum"]]
    if at and at[-1] == "schedule" and isinstance(value, str) and re.match("[0-9]", value):
        hint = f"write {{every: {value}}}"
    else:
        meant = _MEANT.get(str(value).lower())
        hint = f"write {meant}" if meant in choices else instead(str(value), choices)
    found = _found(value, at).removeprefix("the text ")
    said = f"{_called(at)} cannot be {'this' if found == 'text' else found}"
    yield Trouble("unknown_word", at, said, hint)


def _pattern(at: At, value: Any, schema: Any, _name: str, _source: Source) -> Iterator[Trouble]:
    if at[-1:] == ("login",) and value.startswith("http://"):
        said = "sign-in goes over https, except to this machine itself"
        yield Trouble("insecure_login", at, said, "write https://")
        return
    yield Trouble("malformed", at, f"{_called(at)}: {_sentence(schema)}", _such_as(schema))


def _size(said: str) -> Any:
    def explain(at: At, _value: Any, schema: Any, _name: str, _source: Source) -> Iterator[Trouble]:
        about = _sentence(schema)
        yield Trouble("out_of_range", at, f"{_called(at)} {said.format(**schema)}", about)

    return explain


def _twice(at: At, value: Any, _schema: Any, _name: str, _source: Source) -> Iterator[Trouble]:
    for index, item in enumerate(value):
        if item in value[:index]:
            yield Trouble("out_of_range", (*at, index), f"{_called(at)} names {item} twice", "keep one")


_EXPLAIN: Mapping[str, Any] = {
    "additionalProperties": _unknown,
    "required": _missing,
    "type": _type,
    "enum": _word,
    "pattern": _pattern,
    "minLength": _size("must not be empty"),
    "maxLength": _size("may have {maxLength} characters at most"),
    "minItems": _size("must name at least one"),
    "minProperties": _size("must not be empty"),
    "maxProperties": _size("takes one key"),
    "minimum": _size("must be {minimum} or more"),
    "maximum": _size("must be {maximum} or less"),
    "uniqueItems": _twice,
}

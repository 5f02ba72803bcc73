"""A file against schema.json: jsonschema finds what is wrong, the words are ours.

What is wrong is taken out of the tree before any other rule sees it, so that each cause is told once: UNKNOWN in the
tree that `sane` makes means "something stands here, but nobody knows what".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from connector import spec
from connector.lint.findings import instead, nearest
from connector.source import At, lookup


class Unknown:
    """Neither text nor map nor list: rules that ask for one of these pass it by."""


UNKNOWN = Unknown()


class Trouble(msgspec.Struct, frozen=True):
    """One error of the grammar; `key`: it is the key that is wrong, not its value. `meant`: the key it should be."""

    code: str
    at: At
    message: str
    hint: str = ""
    key: bool = False
    meant: str | None = None

    @property
    def spoils(self) -> At:
        """What cannot be looked at any more: a value is understood as a whole or not at all."""
        for n in range(len(self.at) - 1, 1, -1):
            if self.at[n - 1] == "fields" or (self.at[0] == "examples" and self.at[n] == "value"):
                return self.at[: n + 1]
        return self.at


def kind_of(tree: Any) -> str:
    """Which of the four files this is, even if the word that says so is misspelt or missing."""
    keys = list(tree) if isinstance(tree, dict) else []
    kinds, known = ("examples", "connection", "api"), _defs()["mapping"]["properties"]
    meant = [nearest(key, (*kinds, *known)) for key in keys if key not in known]
    systems = tree.get("systems") if keys else None
    places = isinstance(systems, dict) and any(
        isinstance(each, dict) and "name" not in each for each in systems.values()
    )
    return next(
        (kind for found in (keys, meant) for kind in kinds if kind in found), "connection" if places else "mapping"
    )


def check(tree: Any, kind: str) -> list[Trouble]:
    """Every independent error of the grammar."""
    if not isinstance(tree, dict):
        said = f"a file holds a map of keys, this one holds {_found(tree, ())}"
        return [Trouble("wrong_type", (), said, "begin with mapping: NAME, connection: NAME, api: NAME or examples:")]
    found = [trouble for error in _validator(kind).iter_errors(tree) for trouble in _explain(error)]
    unique = {(trouble.code, trouble.at, trouble.message): trouble for trouble in found}
    meant = {(*trouble.at[:-1], trouble.meant) for trouble in found if trouble.meant}
    return [trouble for trouble in unique.values() if not (trouble.code == "missing_key" and trouble.at in meant)]


def sane(tree: Any, troubles: list[Trouble]) -> Any:
    """The tree, or a copy of it in which everything wrong is UNKNOWN."""
    made = deepcopy(tree) if troubles else tree
    for trouble in troubles:
        at = trouble.spoils
        if trouble.key and trouble.code == "malformed" and at[-2:-1] == ("read",):
            at = at[:-1]  # nobody knows what the others should be called
        holder: Any = lookup(made, at[:-1])
        if not at:
            return UNKNOWN
        if trouble.code == "unknown_key" and at == trouble.at and isinstance(holder, dict):
            holder.pop(at[-1], None)
            if trouble.meant:
                holder.setdefault(trouble.meant, UNKNOWN)
        elif type(holder) in (dict, list):
            holder[at[-1]] = UNKNOWN
    return made


def _defs() -> Any:
    return spec.grammar()["$defs"]


@cache
def _validator(kind: str) -> Draft202012Validator:
    grammar = spec.grammar()
    return Draft202012Validator({"$schema": grammar["$schema"], "$ref": f"#/$defs/{kind}", "$defs": grammar["$defs"]})


@cache
def _names() -> Mapping[int, str]:
    return {id(definition): name for name, definition in _defs().items()}


# ---- in our words ----------------------------------------------------------------------------------------

_PLAIN = {"string": "text", "object": "a map", "array": "a list", "null": "null"}
_PLAIN |= {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
_SIZES = {
    "minLength": "must not be empty",
    "maxLength": "may have {maxLength} characters at most",
    "minItems": "must name at least {minItems}",
    "minProperties": "must not be empty",
    "maxProperties": "takes one key",
    "minimum": "must be {minimum} or more",
    "maximum": "must be {maximum} or less",
}
_SLIPS = {"disabled": "off no", "false": "off no n", "true": "on yes y", "text": "string", "number": "float"}
_SLIPS |= {"instant": "datetime timestamp", "sql": "sqlite postgresql", "update": "upsert", "skip": "ignore"}
"""Choice -> words that mean it elsewhere."""


def _found(value: Any, at: At) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 40 and "systems" not in at else "text"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a map"
    return str(value).lower() if isinstance(value, bool) else f"the number {value}"


def _sentence(schema: Any) -> str:
    text = schema.get("description") or ""
    return text[:1].lower() + text[1:].split(". ")[0].rstrip(".")


def _such_as(schema: Any) -> str:
    examples = [example for example in schema.get("examples", ()) if isinstance(example, str)]
    return f"such as {' or '.join(examples[-2:])}" if examples else ""


def _choose(word: Any, choices: list[str]) -> str:
    said = str(word).lower()
    return instead(next((choice for choice in choices if said in _SLIPS.get(choice, "").split()), said), choices)


def _explain(error: ValidationError) -> Iterator[Trouble]:
    schema: Any = error.schema
    value: Any = error.instance
    at, rule = tuple(error.absolute_path), str(error.validator)
    name, about = _names().get(id(schema), ""), _sentence(schema)
    called = next((str(step) for step in reversed(at) if isinstance(step, str)), "the file")
    if "propertyNames" in error.absolute_schema_path:
        yield Trouble("malformed", (*at, str(value)), f"{value!r}: {about}", _such_as(schema), key=True)
    elif name == "secret":
        yield Trouble("secret_in_file", at, f"{called} must not stand in a file", "write ${env:NAME} and set NAME")
    elif rule == "additionalProperties":
        yield from _unknown(at, value, schema, name.removeprefix("form_"), called)
    elif rule == "required":
        for key in (key for key in schema["required"] if key not in value):
            wanted = schema.get("properties", {}).get(key, {})
            wanted = {**_defs().get(wanted.get("$ref", "").rpartition("/")[2], {}), **wanted}
            choices = list(map(str, wanted.get("enum", ())))
            hint = f"{key}: {instead('', choices) if choices[1:] else ''.join(choices) or _sentence(wanted) or _such_as(wanted)}"
            yield Trouble("missing_key", (*at, key), f"{called} needs {key}", hint)
    elif rule in ("oneOf", "anyOf"):
        keys = [choice["required"][0] for choice in schema[rule]]
        if isinstance(value, dict) and not value.keys() - schema.get("properties", value).keys():
            code = "two_forms" if keys[1] in value else "missing_key"
            yield Trouble(code, (*at, keys[1]), f"{called} takes {' or '.join(keys)}, one of them", about, key=True)
    elif rule == "not":
        yield Trouble("unknown_key", at, f"there is no {called} here: {about}", "remove it", key=True)
    elif rule == "type":
        yield _type(at, value, schema, name, called)
    elif rule == "enum":
        found = _found(value, at).removeprefix("the text ")
        said = f"{called} cannot be {'this' if found == 'text' else found}"
        yield Trouble("unknown_word", at, said, _such_as(schema) or _choose(value, list(map(str, schema["enum"]))))
    elif rule == "uniqueItems":
        for index, item in enumerate(value):
            if item in value[:index]:
                yield Trouble("out_of_range", (*at, index), f"{called} names {item} twice", "keep one")
    elif rule in _SIZES:
        yield Trouble("out_of_range", at, f"{called} {_SIZES[rule].format(**schema)}", about)
    else:
        yield Trouble("malformed", at, f"{called}: {about}", _such_as(schema))


def _unknown(at: At, value: Any, schema: Any, form: str, called: str) -> Iterator[Trouble]:
    known, forms = schema["properties"], _defs()["value"]["x-forms"]
    extra = [key for key in value if key not in known]
    if set(known) == set(forms):
        word = next((key for key in extra if nearest(key, forms)), extra[0])
        hint = "" if nearest(word, forms) else "nested objects go under fields:, or "
        yield Trouble("no_form", (*at, word), f"{word} is no form of a value", hint + instead(word, forms), key=True)
        return
    for key in extra:
        if form in forms and key in forms:
            said = f"a field has exactly one form, this one has {form} and {key}"
            yield Trouble("two_forms", (*at, key), said, f"keep {form} or {key}", key=True)
            continue
        free = [choice for choice in known if choice not in value] or list(known)
        others = [other for other in forms if form in forms and key in _defs()[f"form_{other}"]["properties"]]
        hint = f"it goes with {' or '.join(others)}" if others else instead(key, free)
        said = f"there is no {key} {f'in {called}' if at else 'here'}"
        yield Trouble("unknown_key", (*at, key), said, hint, key=True, meant=nearest(key, free))


def _type(at: At, value: Any, schema: Any, name: str, called: str) -> Trouble:
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    found = _found(value, at)
    if name in ("path", "value") and isinstance(value, (list, dict)):
        hint = "put the path in quotes" + (", or name a form: first: [...]" if name == "value" else "")
        return Trouble("unquoted_path", at, f"{called} takes a path, found {found}", hint)
    takes = " or ".join(_PLAIN[each] for each in types if each != "null" or len(types) == 1)
    hint = _such_as(schema) or _sentence(schema)
    if name == "value":
        takes, hint = "a path, or a map that names a form", f"a constant is {{value: {str(value).lower()}}}"
        hint = hint if value is not None else "nothing on purpose is {unmapped: why}"
    elif types == ["boolean"]:
        hint = _choose(value, ["true", "false"])
    elif types == ["object"] and "properties" in schema:
        hint = f"with {', '.join(schema['properties'])}"
    elif types == ["array"] and isinstance(value, str):
        hint = f"write [{value}]" if len(value) <= 40 else "write a list"
    elif "string" in types and isinstance(value, (int, float)) and "pattern" not in schema:
        hint = f'text goes in quotes: "{str(value).lower()}"'
    return Trouble("wrong_type", at, f"{called} takes {takes}, found {found}", hint)

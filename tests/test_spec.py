"""The types of spec.py are the grammar: the same keys, nothing more, and the defaults that schema.json declares."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import pytest

from connector import plan, source, spec

DEFS = spec.grammar()["$defs"]
TYPES: dict[str, type] = {
    "mapping": spec.Mapping,
    "object": spec.Object,
    "read": spec.Read,
    "watch": spec.Watch,
    "trigger": spec.Trigger,
    "match": spec.Match,
    "key": spec.Key,
    "child": spec.Child,
    "lookup": spec.Lookup,
    "schedule": spec.Schedule,
    "connection": spec.Connection,
    "connection_object": spec.ConnectionObject,
}
"""Definition of the grammar -> what it becomes."""

MAPPING: dict[str, Any] = {
    "mapping": "small",
    "version": 1,
    "systems": {"home": "hatch", "remote": "i360"},
    "objects": {
        "opportunity": {
            "direction": "pull",
            "read": {"appointment": {"object": "A", "watch": {"first": "all"}}},
            "triggers": [{"changed": "appointment"}],
            "write": "opportunity",
            "match": {"keys": ["external_id"], "found": "replace", "missing": "create"},
            "fields": {"external_id": "appointment.Id"},
            "children": {
                "note": {
                    "each": "appointment.notes",
                    "as": "note",
                    "write": "note",
                    "match": {"keys": ["external_id"], "found": "update", "missing": "create"},
                    "fields": {"external_id": "note.Id"},
                }
            },
        }
    },
    "lookups": {"staff": {"object": "staff", "key": "email", "missing": "empty"}},
}
CONNECTION: dict[str, Any] = {"connection": "acme", "mapping": "small", "systems": {}, "objects": {"opportunity": {}}}


def least(definition: str) -> Any:
    """The frozen form of a node that says only what it must."""
    made, connection = spec.mapping(MAPPING), spec.connection(CONNECTION)
    object_ = made.objects["opportunity"]
    read = object_.read["appointment"]
    return {
        "mapping": made,
        "object": object_,
        "read": read,
        "watch": read.watch,
        "trigger": object_.triggers[0],
        "match": object_.match,
        "key": object_.match.keys[0],
        "child": object_.children["note"],
        "lookup": made.lookups["staff"],
        "schedule": spec.schedule({"every": "15m"}),
        "connection": connection,
        "connection_object": connection.objects["opportunity"],
    }[definition]


@pytest.mark.parametrize("definition", TYPES)
def test_a_type_has_the_keys_of_its_definition(definition: str) -> None:
    fields = {name.removesuffix("_") for name in TYPES[definition].__struct_fields__}
    assert fields == set(DEFS[definition]["properties"])


def test_systems_are_home_and_remote_and_what_they_can() -> None:
    """The calls of a system stand at its name in a mapping, and beside both names once it is read."""
    fields = {*spec.Systems.__struct_fields__}
    assert fields == {*DEFS["mapping"]["properties"]["systems"]["properties"], "calls"}
    assert {"name", "calls"} == set(DEFS["system_name"]["properties"])
    named = {"home": "hatch", "remote": {"name": "i360", "calls": "settings.calls"}}
    made = spec.mapping({**MAPPING, "systems": named}).systems
    assert made == spec.Systems("hatch", "i360", {"i360": "settings.calls"})


def test_a_pair_is_its_two_sides() -> None:
    fields = {*spec.Pair.__struct_fields__}
    assert fields == set(DEFS["pair"]["properties"])


def test_every_type_of_the_module_is_compared() -> None:
    made = {value for value in vars(spec).values() if isinstance(value, type(msgspec.Struct))}
    assert made == {*TYPES.values(), spec.Systems, spec.Pair}
    assert all(one.__struct_config__.frozen for one in made)


@pytest.mark.parametrize("definition", TYPES)
def test_what_is_not_given_is_what_the_grammar_declares(definition: str) -> None:
    """A declared default; else nothing: None, or what is empty."""
    frozen, node = least(definition), DEFS[definition]
    for key, rule in node["properties"].items():
        if key in node.get("required", ()) or key in given(definition):
            continue
        name = key if hasattr(frozen, key) else f"{key}_"
        held = getattr(frozen, name)
        assert held == rule["default"] if "default" in rule else held in (None, (), {}), key


def given(definition: str) -> set[str]:
    """Keys that `least` says although they need not be there."""
    said = {
        "mapping": {"lookups"},
        "object": {"read", "triggers", "write", "children"},
        "child": {"each", "as"},
        "read": {"object", "watch"},
        "match": {"keys"},
        "key": {"field"},
        "connection": {"objects"},
    }
    return said.get(definition, set())


def test_defaults_are_read_from_the_grammar_alone() -> None:
    assert spec.default("watch", "overlap") == "5m"
    assert spec.default("watch", "at_least") is None
    text = Path(spec.__file__).read_text("utf-8")
    declared = {rule["default"] for name in TYPES for rule in DEFS[name]["properties"].values() if "default" in rule}
    assert declared == {"5m", False, True, "exact", "home"}
    assert '"5m"' not in text


@pytest.mark.parametrize("definition", TYPES)
def test_words_are_those_of_the_grammar(definition: str) -> None:
    """Literal types list the choices of an enum, in its order."""
    hints = get_type_hints(TYPES[definition])
    for key, rule in DEFS[definition]["properties"].items():
        rule = DEFS[rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule  # noqa: PLW2901
        hint = hints[key if key in hints else f"{key}_"]
        words = [word for one in (hint, *get_args(hint)) for word in words_of(one)]
        if all(isinstance(word, str) for word in rule.get("enum", [0])):
            assert words == rule["enum"], key
        else:
            assert words == [], key


def words_of(hint: Any) -> list[str]:
    return list(get_args(hint)) if getattr(hint, "__origin__", None) is Literal else []


def test_a_key_that_may_be_left_out_may_be_none_or_empty() -> None:
    for definition, made in TYPES.items():
        hints = get_type_hints(made)
        optional = set(DEFS[definition]["properties"]) - set(DEFS[definition].get("required", ()))
        for key in optional - {"field"} if definition == "key" else optional:  # a key alone is its field
            hint = hints[key if key in hints else f"{key}_"]
            declared = "default" in DEFS[definition]["properties"][key]
            empty = getattr(hint, "__origin__", hint) not in (str, int, bool)
            assert declared or NoneType in get_args(hint) or empty, (definition, key)


def test_nothing_given_is_lost() -> None:
    """A node with every key at a value of its own comes out with every value."""
    tree = source.parse((spec.shipped() / "i360_classic.yaml").read_text("utf-8")).tree
    frozen = spec.mapping(tree)
    read, written = frozen.objects["opportunity"].read["activities"], tree["objects"]["opportunity"]["read"]
    assert {name: getattr(read, name) for name in written["activities"]} == {
        **written["activities"],
        "order": tuple(written["activities"]["order"]),
    }
    assert spec.schedule("manual") == spec.Schedule(None, ())
    assert spec.schedule({"every": "1h", "objects": ["b", "a"]}) == spec.Schedule("1h", ("b", "a"))
    key = {"field": "email", "compare": "ignore_case", "from": "appointment.Mail"}
    match = {"keys": [key], "found": "link", "missing": "ask", "differs": "fail"}
    object_ = {**MAPPING["objects"]["opportunity"], "match": match}
    made = spec.mapping({**MAPPING, "objects": {"opportunity": object_}}).objects["opportunity"].match
    assert made == spec.Match((spec.Key("email", "ignore_case", "appointment.Mail"),), None, "link", "ask", "fail")


# ---- 24 cases of directions ------------------------------------------------------------------------------


OPEN: dict[tuple[str, str, str], tuple[bool, bool]] = {
    # (mapping, connection, field) -> (pull, push) while the connection is enabled
    ("pull", "pull", "pull"): (True, False),
    ("pull", "pull", "push"): (False, False),
    ("pull", "pull", "both"): (True, False),
    ("pull", "push", "pull"): (False, False),
    ("pull", "push", "push"): (False, False),
    ("pull", "push", "both"): (False, False),
    ("pull", "both", "pull"): (True, False),
    ("pull", "both", "push"): (False, False),
    ("pull", "both", "both"): (True, False),
    ("pull", "disabled", "pull"): (False, False),
    ("pull", "disabled", "push"): (False, False),
    ("pull", "disabled", "both"): (False, False),
    ("push", "pull", "pull"): (False, False),
    ("push", "pull", "push"): (False, False),
    ("push", "pull", "both"): (False, False),
    ("push", "push", "pull"): (False, False),
    ("push", "push", "push"): (False, True),
    ("push", "push", "both"): (False, True),
    ("push", "both", "pull"): (False, False),
    ("push", "both", "push"): (False, True),
    ("push", "both", "both"): (False, True),
    ("push", "disabled", "pull"): (False, False),
    ("push", "disabled", "push"): (False, False),
    ("push", "disabled", "both"): (False, False),
    ("both", "pull", "pull"): (True, False),
    ("both", "pull", "push"): (False, False),
    ("both", "pull", "both"): (True, False),
    ("both", "push", "pull"): (False, False),
    ("both", "push", "push"): (False, True),
    ("both", "push", "both"): (False, True),
    ("both", "both", "pull"): (True, False),
    ("both", "both", "push"): (False, True),
    ("both", "both", "both"): (True, True),
    ("both", "disabled", "pull"): (False, False),
    ("both", "disabled", "push"): (False, False),
    ("both", "disabled", "both"): (False, False),
}
"""Written out by hand: a way is open only if every layer allows it. A disabled mapping, or toggle, closes both."""

WORDS = ("pull", "push", "both", "disabled")
CASES = list(itertools.product((True, False), WORDS, WORDS, ("pull", "push", "both")))


@pytest.mark.parametrize(("enabled", "mapping", "connection", "field"), CASES)
def test_a_way_is_open_only_if_every_layer_allows_it(enabled: bool, mapping: str, connection: str, field: str) -> None:
    got = plan.effective(enabled, mapping, connection, field)
    expected = OPEN.get((mapping, connection, field), (False, False)) if enabled else (False, False)
    assert (got.pull, got.push) == expected


@pytest.mark.parametrize(
    ("enabled", "mapping", "connection", "field", "decided"),
    [
        (True, "both", None, None, "the mapping"),
        (True, "both", "both", "both", "the mapping"),
        (True, "pull", None, None, "the mapping"),
        (True, "both", "pull", None, "the connection"),
        (True, "both", "disabled", "pull", "the connection"),
        (True, "both", "pull", "push", "the field"),
        (True, "both", None, "push", "the field"),
        (True, "disabled", "both", "both", "the mapping"),
        (False, "both", None, None, "enabled: false"),
        (False, "both", "pull", "push", "enabled: false"),
    ],
)
def test_who_decided_is_the_last_layer_that_closed_something(
    enabled: bool, mapping: str, connection: str | None, field: str | None, decided: str
) -> None:
    assert plan.effective(enabled, mapping, connection, field).decided == decided

"""The code that is written for a value gives what its closures give, whatever the value and the row; and it is only ever ours.

The cases of tests/values/ go through both as well: test_values.py evaluates each without and with a trace.
"""

import json
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.model import ABOVE, ANSWERS, UNMAPPED, Answer, Skip
from connector.values import ABSENT, code, compile_record, compile_value

# ---- the same as closures ------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats(),
    st.sampled_from(["", " ", "x", "k: v, w", "7", "1e400", "Yes", "2025-03-01T12:00:00Z", "2025-03-31 12:00:00Z"]),
    st.sampled_from(["2025-02-29T12:00:00Z", "2025-03-01T12:00:00.5Z", "2025-03-01T23:00:00-05:00", "x" * 140_000]),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
)
ANSWERED = st.dictionaries(
    st.tuples(st.just("lookup"), st.just("rep"), st.sampled_from(["x", "7", 7])),
    st.builds(Answer, id=st.none() | st.just("a01"), outcome=st.none() | st.just("failed"), code=st.just("not_found")),
)
ROWS = st.fixed_dictionaries({}, optional={**dict.fromkeys("abc", VALUES), ANSWERS: ANSWERED, ABOVE: st.just("a02")})

PATHS = st.lists(st.sampled_from([*"abcij", "a"]), min_size=1, max_size=4).map(".".join) | st.sampled_from(
    ["a[0].b", "split(a, ',')", "after(a.b, ':')", "before(i, ':')", "lower(i.b)", "join_text(a, b)", "a == b", "a || b", "`[1]`", "max(a)",
     '"a"."a b"', "upper(split(a, 'x')[0])", "i[0]", "date(a)", "to_number(a)"]
)  # fmt: skip
TEMPLATES = st.sampled_from(
    ["{{ a }}", "{{ a.b }}: {{ i.c }}", "x", "{{ a.a ~ b | upper }}", "{{ 'y' if a else b }}", "{{ a or b.c }}", "{{ i }}{{ i }} {{ j }}",
     "{{ a | default('-') }} {x}", "{{ a is none }}{{ b }}", "{{ a == b }}", "{{ a[0] }}", "{{ 5 }}", "{{ a | int }}", "{{ a.b and b }} "]
)  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "as": st.sampled_from(["text", "integer", "number", "boolean", "date", "instant"]),
        "values": st.just({"x": "1", "YES": None, "7": 7, "2025-03-01T12:00:00Z": [1], "true": True}),
        "case": st.just("ignore"),
        "keep": st.just("when_missing"),
    },
)


def forms(inner):
    conditional = st.fixed_dictionaries({}, optional={"if": inner})
    fields = st.dictionaries(st.sampled_from(["f", "g", "h"]), inner, min_size=1, max_size=3)
    plain = (
        st.fixed_dictionaries({"path": PATHS})
        | st.fixed_dictionaries({"first": st.lists(inner, min_size=1, max_size=4)})
        | st.fixed_dictionaries({"latest": st.lists(PATHS, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"template": TEMPLATES}, optional={"if_missing": st.sampled_from(["blank", "drop"])})
        | st.fixed_dictionaries({"value": st.sampled_from([None, True, 0, "v", 1.5, ["x"], float("nan")])})
        | st.fixed_dictionaries({"fields": fields})
        | st.tuples(st.fixed_dictionaries({"required": inner}), conditional).map(lambda two: two[0] | two[1])
        | st.tuples(st.fixed_dictionaries({"lookup": st.just("rep"), "by": PATHS}), conditional).map(lambda two: two[0] | two[1])
        | st.sampled_from([{"link": "parent"}, {"unmapped": "not ours"}, {"file": "a.b"}])
    )  # fmt: skip
    each = st.fixed_dictionaries(
        {"each": PATHS, "as": st.sampled_from("aij"), "fields": fields}, optional={"if": inner}
    )
    return each | st.tuples(plain, CHANGES).map(lambda two: two[0] | two[1])


NODES = st.recursive(PATHS, forms, max_leaves=12)


def both(value, row):
    """Results, and what was noted on the way, of the code and of the closures, with their types."""
    found = []
    for why in (None, []):
        given = {**row, UNMAPPED: {}}
        found.append(repr((value.evaluate(given, why), list(given[UNMAPPED]))))
    return found


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from("pqr"), NODES, min_size=1, max_size=3), st.lists(ROWS, min_size=1, max_size=3))
def test_it_gives_what_closures_give(fields, rows):
    value = compile_record(fields, (), [])
    assert code.written(value) is not value.evaluate
    for row in rows:
        with_code, with_closures = both(value, row)
        assert with_code == with_closures


FILLED = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.fixed_dictionaries(dict.fromkeys("abcij", below)),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from("pqr"), NODES, min_size=1, max_size=3),
    st.lists(st.fixed_dictionaries(dict.fromkeys("abcij", FILLED)), min_size=1, max_size=3),
    ROWS,
)
def test_it_gives_that_too_where_all_keys_are_there_until_one_is_not(fields, filled, row):
    value = compile_record(fields, (), [])
    for each in [*filled, row, *filled]:
        with_code, with_closures = both(value, each)
        assert with_code == with_closures


def test_a_key_that_is_not_there_is_absent_whatever_was_there_before():
    value = compile_record({"x": "a.b", "y": {"first": ["a.c", "a.b"]}, "z": {"required": "a.c", "if": "a.b"}}, (), [])
    assert value.evaluate({"a": {"b": 1, "c": 2}}, None) == {"x": 1, "y": 2, "z": 2}
    assert value.evaluate({"a": None}, None) == {"x": None, "y": None}
    assert value.evaluate({"a": {"c": 2}}, None) == {"y": 2}
    assert value.evaluate({"a": {"b": 1, "c": 2}}, None) == {"x": 1, "y": 2, "z": 2}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["2025-03-01T12:00:00Z", "2025-03-31T12:00:00Z", "2025-02-29T12:00:00Z", "2025-03-01 13:00:00Z", "2025-03-01T12:00:00.5Z",
    "2025-03-01T12:00:00-05:00", "zzzz-zz-zzTzz:zz:zzZ", "2025-W09-6T12:00:00Z", "20250301T12:00:00.1Z", "", None, 7, ["2025-03-01T12:00:00Z"]]),
    max_size=4))  # fmt: skip
def test_the_latest_of_texts_that_look_alike_is_still_an_instant(moments):
    value = compile_value({"latest": [f"m{n}" for n in range(4)]}, (), [])
    with_code, with_closures = both(value, {f"m{n}": moment for n, moment in enumerate(moments)})
    assert with_code == with_closures


@pytest.mark.parametrize("more", [{}, {"if_missing": "drop"}, {"if_missing": "blank"}])
@pytest.mark.parametrize("size", [65_535, 65_536])
@pytest.mark.parametrize("last", ["", None])
def test_a_template_has_at_most_so_many_letters(size, last, more):
    value = compile_value({"template": "{{ a }}: {{ a }}{{ b }}"} | more, (), [])
    with_code, with_closures = both(value, {"a": "x" * size, "b": last})
    assert with_code == with_closures
    if not more:
        assert value.evaluate({"a": "x" * size}, None) == (f"{'x' * size}: {'x' * size}" if size == 65_535 else None)


def test_what_paths_go_through_is_looked_up_once():
    asked = []

    class Counted(dict):
        def get(self, key, default=None):
            asked.append(key)
            return super().get(key, default)

        def __getitem__(self, key):
            asked.append(key)
            return super().__getitem__(key)

    value = compile_record({"x": "a.b.c", "y": {"first": ["a.b.d", "a.b.c"]}, "z": {"template": "{{ a.b.c }}"}}, (), [])
    assert value.evaluate(Counted(a=Counted(b=Counted(c="1", d=None))), None) == {"x": "1", "y": "1", "z": "1"}
    assert asked.count("a") == asked.count("b") == 1
    asked.clear()
    for _ in range(2):  # the first finds out that a key is not there
        assert value.evaluate(Counted(a=Counted(b=Counted(c="1"))), None) == {"x": "1", "y": "1", "z": "1"}
    assert asked.count("a") == asked.count("b") == 3


# ---- nothing that users write becomes code -----------------------------------------------------------------

HOSTILE = [
    *("'", '"', "\\", "\\'", "'''", '"""', "a\nb", "\r\n", "\x00", "\u2028", "\u2029", "\x85", "\x0c", "\ufeff", "\ud800", "é", "#", "{", "{}"),
    *("{0}", "%s", "'); raise SystemExit  #", "v0", "row", "get", "import", "None", "ABSENT", "__import__('os')", "\\N{DASH}", "x" * 200_000),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_a_text_stays_a_text(text):
    quoted = json.dumps(text)
    fields = {
        text: {"value": text},
        "by path": {"path": f"a.{quoted}" if len(text) < 900 else "a.b"},
        "mapped": {"path": "b", "values": {text: text, "other": 1}},
        "noted": {"path": "a.b", "values": {text: text}},
        "required": {"required": "b", "if": {"value": text}},
        text * 2: {"fields": {text: "b"}},
        "listed": {"each": "c", "as": "i", "fields": {text: "i"}},
    }
    if "{" not in text and len(text) < 900 and "#" not in text:
        fields["template"] = {"template": f"{text}{{{{ b }}}}{text}"}
    row, problems = {"a": {text: text, "b": "none"}, "b": text, "c": [text]}, []
    value = compile_record(fields, (), problems)
    with_code, with_closures = both(value, row)
    assert with_code == with_closures
    made = value.evaluate(row, None)
    if text.strip():
        assert problems == []
        assert made[text] == made["mapped"] == made["listed"][0][text] == text


@pytest.mark.parametrize(
    "name",
    ["v0", "v1", "k1", "row", "get", "why", "record", "ABSENT", "FAILS", "import", "None", "__builtins__", "text", "é"],
)
def test_names_of_items_and_reads_are_keys_alone(name):
    fields = {
        "a": {"each": "list", "as": name, "if": name, "fields": {"x": f"{name}.x", "y": f"{name}[0]", "z": "v0.z"}}
    }
    if not name.isascii():
        fields["a"]["fields"] = {"x": {"template": f"{{{{ {name}.x }}}}"}}
        del fields["a"]["if"]
    value, problems = compile_record(fields | {"b": {"path": f'"{name}"."{name}"'}}, (), []), []
    with_code, with_closures = both(value, {"list": [{"x": 1}, None, ["y"]], "v0": {"z": 2}, name: {name: 3}})
    assert with_code == with_closures
    assert problems == []


# ---- the limits of CPython -----------------------------------------------------------------------------------


def nested(depth, wrap, inner="a"):
    for n in range(depth):
        inner = wrap(inner, n)
    return inner


@pytest.mark.parametrize(
    "node",
    [
        nested(25, lambda inner, n: {"each": "a", "as": f"i{n}", "fields": {"x": inner}}),
        nested(25, lambda inner, _: {"first": ["b", inner]}),
        nested(120, lambda inner, _: {"required": inner, "if": "a"}),
        nested(120, lambda inner, _: {"fields": {"x": inner}}),
    ],
    ids=["each", "first", "required", "fields"],
)
def test_what_cannot_be_compiled_is_left_to_closures(node):
    value = compile_record({"x": node}, (), [])
    with_code, with_closures = both(value, {"a": ["x"]})
    assert with_code == with_closures


def test_thousands_of_fields():
    value = compile_record({f"f{n}": {"first": [f"a.f{n}", "a.x"]} for n in range(1_500)}, (), [])
    made = code.written(value)
    assert made is not value.evaluate
    made = made({"a": {"f7": 7, "x": "y"}}, None)
    assert made == {f"f{n}": 7 if n == 7 else "y" for n in range(1_500)}


# ---- when it is written --------------------------------------------------------------------------------------


def test_it_is_written_for_the_first_row_without_a_trace_and_once(monkeypatch):
    calls, written = [], code.written
    monkeypatch.setattr(code, "written", lambda value: calls.append(value) or written(value))
    value = compile_record({"x": "a.b", "y": {"required": "c"}}, (), [])
    value.evaluate({}, [])
    assert calls == []
    assert isinstance(value.evaluate({"a": {}}, None), Skip)
    assert value.evaluate({"a": {}, "c": 1}, None) == {"y": 1}
    assert len(calls) == 1


def test_a_traceback_shows_it():
    value = compile_record({"x": "a.b"}, (), [])
    try:
        value.evaluate(None, None)
    except AttributeError:
        assert "get = row.get" in traceback.format_exc()


def test_absent_is_told_from_null():
    value = compile_record({"x": "a.b", "y": {"fields": {"z": "a.c"}}}, (), [])
    assert value.evaluate({"a": {"b": None}}, None) == {"x": None}
    assert value.evaluate({"a": 5}, None) == {"x": None, "y": {"z": None}}
    assert compile_value({"fields": {"z": "a.c"}}, (), []).evaluate({}, None) is ABSENT

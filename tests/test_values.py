"""Every case of tests/values/*.yaml: a value, the row it is given, and what comes of it."""

import json
import subprocess
import sys
from pathlib import Path

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import SandboxedEnvironment

from connector import source
from connector.model import Skip
from connector.values import (
    ABSENT,
    FILTERS,
    FORMS,
    FUNCTIONS,
    compile_path,
    compile_record,
    compile_value,
    missing,
    templates,
)
from connector.values.nouns import Scope
from connector.values.paths import slots

HERE = Path(__file__).parent


def _cases():
    for file in sorted((HERE / "values").glob("*.yaml")):
        read = source.read(file)
        assert not read.faults, read.faults
        allowed = {"given", "value", "record", "result", "absent", "skip", "problem", "kind", "uses", "why"}
        for n, case in enumerate(read.tree["cases"]):
            assert not set(case) - allowed, case
            case = {key: read.tree[key] for key in ("given", "value") if key in read.tree} | case  # noqa: PLW2901
            yield pytest.param(case, id=f"{file.stem}-{n}")


def _compiled(case):
    problems = []
    if "record" in case:
        return compile_record(case["record"], (), problems), problems
    return compile_value(case["value"], ("field",), problems), problems


@pytest.mark.parametrize("case", list(_cases()))
def test_a_value_gives(case):
    value, problems = _compiled(case)
    row = case["given"]
    before = json.dumps(row)
    if "problem" in case:
        assert len(problems) == 1, problems
        for name, wanted in case["problem"].items():
            found = getattr(problems[0], name)
            if name in ("message", "hint"):
                assert wanted in found
            else:
                assert found == (tuple(wanted) if name == "at" else wanted)
        return
    assert problems == []
    result = value.evaluate(row, None)
    why = []
    assert _plain(value.evaluate(row, why)) == _plain(result)
    assert json.dumps(row) == before
    if case.get("absent"):
        assert result is ABSENT
    elif "skip" in case:
        assert isinstance(result, Skip)
        assert result.reason == "no_parent"
        assert {name: getattr(result, name) for name in case["skip"]} == case["skip"]
    else:
        assert _plain(result) == _plain(case["result"])
    if "kind" in case:
        assert value.kind == case["kind"]
    if "uses" in case:
        assert [".".join(use.path) for use in _once(value.uses)] == case["uses"]
    if "why" in case:
        assert [[branch.text, branch.reason] for branch in why] == case["why"]
    for use in value.uses:  # each step stands in the string where it is said to stand; a local name stands for a path
        for step, place in zip(use.path, use.steps, strict=True):
            if step != "*" and place > min(place for place in use.steps if place >= 0):
                assert use.text[place:].lstrip('"').startswith(step)


def _plain(value):
    """Told apart as JSON does: true is not 1."""
    return repr(value) if value is ABSENT or isinstance(value, Skip) else json.dumps(value, sort_keys=True)


def _once(uses):
    seen = {}
    for use in uses:
        seen.setdefault(use.path, use)
    return seen.values()


# ---- what must always hold ---------------------------------------------------------------------------------

UNHURRIED = settings(deadline=None)
NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.sampled_from(["", " ", "x", "12", "1e400", "2025-03-01T12:00:00Z", "2025-03-01T12:00:00+99:00", "a:b, c"]),
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
ROWS = st.dictionaries(NAMES, VALUES, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)


def _null(value):
    return None if value is ABSENT else value


@UNHURRIED
@given(ROWS, PATHS)
def test_a_dotted_path_gives_what_jmespath_gives(row, path):
    assert repr(_null(compile_path(path, (), []).evaluate(row, None))) == repr(jmespath.search(path, row))


@UNHURRIED
@given(ROWS, PATHS)
def test_a_quoted_path_gives_what_jmespath_gives(row, path):
    quoted = ".".join(f'"{step}"' for step in path.split("."))
    assert repr(_null(compile_path(quoted, (), []).evaluate(row, None))) == repr(jmespath.search(path, row))


EXPRESSIONS = [
    "a[0].b", "a[*].b", "a[].b", "a.*.b", "a[?b].c", "a[?b == c]", "[a, b.c]", "{x: a, y: b}.x", "a || b.c", "a && b", "!a", "a == b",
    "a[-1]", "a[:2]", "a[::-1].b", "a | [0]", "(a || b).c", "a[*].[b, c]", "a[*][*]", "a[?b > `1`]", "type(a)", "to_array(b)[0]",
    "not_null(a, b, c)", "a[*].b | [0]", "`[1, 2]`", "'x' == a", "keys({x: a})", "a[].b[]", "a.b[?c].a | [1]",
]  # fmt: skip


@UNHURRIED
@given(ROWS, st.sampled_from(EXPRESSIONS))
def test_every_other_path_gives_what_jmespath_gives(row, path):
    try:
        wanted = jmespath.search(path, row)
    except (ValueError, TypeError):
        wanted = None
    assert repr(compile_path(path, (), []).evaluate(row, None)) == repr(wanted)


TEMPLATES = [
    "{{ a }}: {{ b }}", "  {{ a ~ '-' ~ b }} ", "{% if a == b %}x{% elif a > b %}{{ c }}{% else %}-{% endif %}", "{{ a if b else c }}",
    "{{ a | upper }}{{ b | lower | title }}{{ c | capitalize }}", "{{ (a or b) and c }}", "{{ a | replace('x', b) }}", "{{- a -}} {{ b }}",
    "{{ a | first }}{{ b | last }}{{ a | length }}", "{{ c in a ~ b }}x{# no #}", "{% raw %}{{{% endraw %}{{ a }}",
    "{{ a | trim }}{{ b if not c else a }}", "{{ a is string }}{{ b is number }}{{ a is none }}{{ not a }}",
]  # fmt: skip


@UNHURRIED
@given(
    st.fixed_dictionaries(dict.fromkeys("abc", st.text("xyX .-1", min_size=0, max_size=8))), st.sampled_from(TEMPLATES)
)
def test_a_template_of_texts_gives_what_jinja_gives(row, text):
    value = compile_value({"template": text}, (), [])
    wanted = SandboxedEnvironment(keep_trailing_newline=True).from_string(text).render(row)
    assert value.evaluate(row, None) == wanted.replace("True", "true").replace("False", "false").strip()


@UNHURRIED
@given(ROWS, st.lists(PATHS, min_size=1, max_size=4))
def test_first_never_gives_a_missing_value_where_there_is_another(row, paths):
    found = [compile_path(path, (), []).evaluate(row, None) for path in paths]
    result = compile_value({"first": paths}, (), []).evaluate(row, None)
    there = [value for value in found if not missing(value)]
    assert repr(result) == repr(there[0] if there else ABSENT if all(value is ABSENT for value in found) else None)


@UNHURRIED
@given(ROWS, st.permutations(["a", "b", "c", "a.b"]))
def test_latest_does_not_depend_on_order(row, paths):
    results = [compile_value({"latest": order}, (), []).evaluate(row, None) for order in (paths, sorted(paths))]
    assert results[0] == results[1]


ANY = [
    *({"template": text} for text in (
        "{{ a }}", "{{ a.b ~ b }}", "{{ a[0].c }}", "{% if a > b %}{{ c }}{% elif a in b %}x{% endif %}", "{{ a == b }}{{ a != 1 }}",
        *(f"{{{{ a | {name} }}}}" for name in FILTERS if name != "replace"), "{{ a | replace(b, c) }}", "{{ a | truncate(b) }}",
        "{{ a | round(b) }}", "{{ a | join(b) }}", "{{ a | default(b) }}", "{{ (a or b).c and c }}", "{{ a is number }}",
    )),
    *({"path": "a", "as": kind} for kind in ("text", "integer", "number", "boolean", "date", "instant")),
    {"path": "a", "values": {"x": 1}, "case": "ignore"},
    {"latest": ["a", "b", "a.b"]},
    {"each": "a", "as": "item", "if": "item.b", "fields": {"x": "item.c", "y": {"template": "{{ item }}"}}},
    *(f"{name}(a)" for name in ("abs", "avg", "ceil", "floor", "length", "max", "min", "keys", "values", "sort", "sum", "reverse")),
    *(f"{name}(a)" for name in ("to_number", "to_string", "lower", "upper", "trim", "digits", "date", "type")),
    *(f"{name}(a, b)" for name in ("split", "before", "after", "join", "join_text", "contains", "starts_with", "merge")),
    "replace(a, b, c)", "sort_by(a, &b)", "max_by(a, &b)", "map(&upper(@), a)", "a < b", "a[*].upper(b)",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(ROWS, st.sampled_from(ANY))
def test_no_value_raises_for_any_row(row, node):
    problems = []
    value = compile_value(node, (), problems)
    assert problems == []
    result, why = value.evaluate(row, None), []
    assert repr(value.evaluate(row, why)) == repr(result)
    assert why
    if "template" in node:
        assert result is ABSENT or result is None or (isinstance(result, str) and result == result.strip())
    assert result is ABSENT or json.dumps(result) is not None


@UNHURRIED
@given(st.recursive(st.none() | st.text(max_size=12) | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from([*FORMS, "as", "if", "values", "case", "keep", "x"]), inner, max_size=3), max_leaves=8))  # fmt: skip
def test_compiling_never_raises(node):
    problems = []
    value = compile_value(node, (), problems)
    if not problems:
        value.evaluate({}, [])


# ---- the whole -----------------------------------------------------------------------------------------------


_PIECES = [
    "a",
    "b.c",
    "_a",
    "a.not",
    "x1.y_2",
    "true",
    "A.B",
    "{{",
    "}}",
    "{{ ",
    " }}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{",
    "}",
    " ",
    "\n",
    "\r",
    ": ",
    "-",
    "|",
    "1",
    "[0]",
]


@UNHURRIED
@given(st.lists(st.sampled_from([*_PIECES, *["{{ a }}", "{{b.c}}", " - "] * 4]), max_size=7).map("".join))
def test_a_template_of_names_alone_is_read_as_jinja_reads_it(template):
    quick = slots(template)
    assert quick is None or quick == templates.parse(Scope((), [], text=template))


def test_most_templates_are_read_without_jinja():
    assert all(slots(text) for text in ("{{ a.b }}: {{ c }}", "{{a}}", "x{{ a }}\n", "{{ a }}{{ b }}}"))
    assert not any(map(slots, ("", "x", "{{ _a }}", "{{ true }}", "{{ a | upper }}", "{{{ a }}", "{{ a }}{# b #}")))


def test_mappings_without_templates_do_not_import_jinja():
    code = (
        "import sys; from connector.values import compile_value\n"
        "compile_value({'first': ['a.b', 'upper(c)', {'template': '{{ a }}: {{ b.c }}'}]}, (), [])\n"
        "print(sorted({'jinja2', 'sqlalchemy', 'httpx', 'jsonschema', 'yaml'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_functions_and_filters_say_what_they_do():
    assert all(function.doc.strip().endswith(".") for function in FUNCTIONS.values())
    assert all(filter_.__doc__.strip().endswith(".") for filter_ in FILTERS.values())


def test_a_list_of_a_fields_mapping_names_each_field():
    value = compile_record({"a": {"fields": {"b": "x.y"}}, "c": "x.z"}, (), [])
    assert [(name, child.form, child.kind) for name, child in value.children.items()] == [
        ("a", "fields", "json"),
        ("c", "path", None),
    ]
    assert value.children["a"].children["b"].at == ("a", "fields", "b")

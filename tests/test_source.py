"""The loader: what each scalar means, where everything stands, and what it refuses at no cost."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import source
from connector.errors import SpecError
from connector.source import MAX_BYTES, MAX_NODES, lookup, parse, read, spliced

# ---- scalars ---------------------------------------------------------------------------------------------

SCALARS = [
    ("true", True),
    ("false", False),
    ("null", None),
    ("", None),
    ("0", 0),
    ("-0", 0),
    ("15", 15),
    ("-3", -3),
    ("1.5", 1.5),
    ("-0.25", -0.25),
    ("1.0", 1.0),
    *[
        (text, text)
        for text in [
            "True",
            "TRUE",
            "yes",
            "Yes",
            "no",
            "NO",
            "on",
            "ON",
            "off",
            "Off",
            "y",
            "n",
            "~",
            "Null",
            "NULL",
            "02134",
            "010",
            "0x1f",
            "0o17",
            "0b1",
            "1_000",
            "1e5",
            "1.5e3",
            "+1",
            ".5",
            "5.",
            "-.5",
            "15:30",
            "12:30:45",
            "190:20:30",
            "2024-01-01",
            "2024-01-01T10:00:00Z",
            "1.2.3",
            ".inf",
            "-.inf",
            ".nan",
            "NaN",
            "=",
            "-",
            "a-b",
            "i360__X__c",
            "٣",
            "\uff15",
            "½",
        ]
        if text not in ("=", "-")
    ],
    ("'true'", "true"),
    ('"15"', "15"),
    ("''", ""),
    ('"\\u00e9\\t"', "é\t"),
    ("'it''s'", "it's"),
    ("two words", "two words"),
    ("a#b", "a#b"),
    ("a # b", "a"),
    ("=", "="),
    ("|\n  x\n  15", "x\n15"),
    (">-\n  a\n  b", "a b"),
]


@pytest.mark.parametrize(("typed", "meant"), SCALARS, ids=[repr(typed) for typed, _ in SCALARS])
def test_a_scalar_has_one_meaning(typed: str, meant: Any) -> None:
    parsed = parse(f"key: {typed}\n")
    value = parsed.tree["key"]
    assert not parsed.faults
    assert (value, type(value)) == (
        meant if not isinstance(meant, str) or "\n" not in meant else meant + "\n",
        type(meant),
    )


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("on: 1\n15: 2\nnull: 3\ntrue: 4").tree == {"on": 1, "15": 2, "null": 3, "true": 4}


# ---- positions -------------------------------------------------------------------------------------------

PLACES = "# comment\nä: 漢字\nlist:\n  - one\n  - {two: '三', three: [x]}\nlast: |\n  text\n"


@pytest.mark.parametrize(
    ("at", "value", "key"),
    [
        ((), (2, 1), None),
        (("ä",), (2, 4), (2, 1)),
        (("list",), (4, 3), (3, 1)),
        (("list", 0), (4, 5), None),
        (("list", 1), (5, 5), None),
        (("list", 1, "two"), (5, 11), (5, 6)),
        (("list", 1, "three", 0), (5, 24), None),
        (("last",), (6, 7), (6, 1)),
    ],
)
def test_marks(at: source.At, value: tuple[int, int], key: tuple[int, int] | None) -> None:
    marks = parse(PLACES).marks[at]
    assert (marks.value.line, marks.value.column) == value
    assert (marks.key and (marks.key.line, marks.key.column)) == key


def test_a_place_that_is_not_there_is_that_of_what_is_around_it() -> None:
    parsed = parse(PLACES)
    assert parsed.span(("list", 1, "four", "five")) == parsed.marks["list", 1].value
    assert parsed.span(("ä",), key=True).column == 1
    assert parse("").span(("a",)).line == 1


@pytest.mark.parametrize(
    ("text", "word", "offset", "place"),
    [
        ("a: one.two.one", "one", 8, (1, 12)),
        ("a: 'one.two'", "two", 4, (1, 9)),
        ('a: "x\\ty.two"', "two", 4, (1, 10)),
        ("a: >\n  one\n  two", "two", 4, (3, 3)),
        ("a: 漢.two", "two", 2, (1, 6)),
        ("a: one", "", 1, (1, 5)),
        ("a: 'one'", "", 99, (1, 8)),
        ("a: one", "nine", 0, (1, 4)),
        ("a: one\n  two.one", "one", 8, (2, 7)),
    ],
)
def test_a_place_inside_a_text(text: str, word: str, offset: int, place: tuple[int, int]) -> None:
    span = parse(text).inside(("a",), offset, word)
    assert (span.line, span.column) == place


def test_inside_something_that_is_no_text_is_the_thing_itself() -> None:
    parsed = parse("a: [1]")
    assert parsed.inside(("a",), 0, "1") == parsed.span(("a",))


def test_lines_are_those_that_the_parser_counts() -> None:
    parsed = parse("a: 1\rb: 2\r\nc: 3\u2028d: 4")
    assert [parsed.line(n) for n in range(6)] == ["", "a: 1", "b: 2", "c: 3", "d: 4", ""]
    assert parse("a: 'x\x85y'\nb: 2").span(("b",)).line == 3


# ---- faults ----------------------------------------------------------------------------------------------

HOSTILE = {
    "alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "not_plain_yaml"),
    "alias": ("a: *x", "not_plain_yaml"),
    "anchor on a key": ("&x a: 1", "not_plain_yaml"),
    "anchor on a list": ("a: &x [1]", "not_plain_yaml"),
    "anchor on the document": ("&x\na: 1", "not_plain_yaml"),
    "merge": ("a:\n  <<: {x: 1}", "not_plain_yaml"),
    "merge bomb": ("a: &m {x: 1}\nb:\n  <<: [*m, *m]", "not_plain_yaml"),
    "quoted merge is a key": ("a: {'<<': 1}", None),
    "python tag": ("a: !!python/object/apply:os.system [id]", "not_plain_yaml"),
    "python tag on a key": ("!!python/name:os.system a: 1", "not_plain_yaml"),
    "binary": ("a: !!binary aGk=", "not_plain_yaml"),
    "local tag": ("a: !secret x", "not_plain_yaml"),
    "verbatim tag": ("a: !<tag:yaml.org,2002:int> 1", "not_plain_yaml"),
    "tag directive": ("%TAG ! tag:x,2000:\n---\na: !y 1", "not_plain_yaml"),
    "100,000 brackets": ("[" * 100_000, "nested_too_deep"),
    "100,000 nested blocks": ("\n".join(" " * n + "- " for n in range(300)) + "x", "nested_too_deep"),
    "100,000 dashes": ("- " * 100_000, "nested_too_deep"),
    "20,000 braces": ("{" * 20_000, "unquoted_template"),
    "braces and brackets": ("{a: [" * 10_000, "nested_too_deep"),
    "question marks": ("? " * 10_000, "key_not_text"),
    "too many bytes": ("a: " + "x" * MAX_BYTES, "file_too_large"),
    "too many bytes in few letters": ("a: " + "漢" * (MAX_BYTES // 3), "file_too_large"),
    "too many values": ("[" + "1," * MAX_NODES + "]", "file_too_large"),
    "many keys": ("\n".join(f"k{n}: {n}" for n in range(20_000)), None),
    "the same key often": ("\n".join("k: 1" for _ in range(2_000)), "duplicate_key"),
    "several documents": ("a: 1\n---\na: 2", "several_documents"),
    "end and start": ("a: 1\n...\nb: 2", "yaml_syntax"),
    "many documents": ("---\n" * 10_000, "several_documents"),
    "list as key": ("[a, b]: 1", "key_not_text"),
    "map as key": ("? {a: 1}\n: b", "key_not_text"),
    "alias as key": ("*x : 1", "not_plain_yaml"),
    "unclosed quote": ("a: 'x", "yaml_syntax"),
    "unclosed list": ("a: [1", "yaml_syntax"),
    "unclosed map": ("a: {b: 1", "yaml_syntax"),
    "two colons": ("a: b: c", "yaml_syntax"),
    "tab": ("a:\n\tb: 1", "yaml_syntax"),
    "backtick": ("a: `x`", "yaml_syntax"),
    "percent": ("a: %x", "yaml_syntax"),
    "unknown escape": ('a: "\\q"', "yaml_syntax"),
    "null byte": ("a: \0", "yaml_syntax"),
    "escape character": ("a: \x1b[2J", "yaml_syntax"),
    "lone surrogate": ("a: \ud800", "yaml_syntax"),
    "noncharacter": ("a: \ufffe", "yaml_syntax"),
    "byte order mark inside": ("a: \ufeffx", None),
    "long number": ("a: " + "9" * 5_000, "number_too_long"),
    "long fraction": ("a: 0." + "3" * 400, "number_too_long"),
    "long key": ("k" * 100_000 + ": 1", "yaml_syntax"),
    "long comment": ("#" * 200_000 + "\na: 1", None),
    "one long line of flow": ("{" + ", ".join(f"k{n}: [{n}]" for n in range(8_000)) + "}", None),
    "escaped control characters": ('a: "\\0\\e[2J"', None),
    "old YAML": ("%YAML 1.1\n---\na: yes", None),
    "future YAML": ("%YAML 9.9\n---\na: 1", "yaml_syntax"),
    "template": ("a: {{ b }}: {{ c }}", "unquoted_template"),
    "nothing": ("", "empty_file"),
    "only a comment": ("# a", "empty_file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_or_harmless(name: str) -> None:
    text, code = HOSTILE[name]
    tracemalloc.start()
    try:
        parsed = parse(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * 1024 * 1024
    assert {fault.code for fault in parsed.faults} == ({code} if code else set())
    for fault in parsed.faults:
        assert fault.message
        assert fault.span.line >= 1
        assert fault.span.column >= 1
        assert "\n" not in fault.message


def test_every_duplicate_key_is_told_with_the_line_of_the_first() -> None:
    parsed = parse("a: 1\nb: {x: 1, x: 2}\na: 3\n")
    assert [(fault.span.line, fault.span.column) for fault in parsed.faults] == [(2, 11), (3, 1)]
    assert "line 1" in parsed.faults[1].message
    assert parsed.tree == {"a": 1, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: 1\nb: @x", 2, 4), ("a: 1\nb: 'x", 2, 6), ("ab: \0", 1, 5), ("a: 1\n---\nb: 1", 2, 1), ("a:\n  - *x", 2, 5)],
)
def test_a_fault_has_a_place(text: str, line: int, column: int) -> None:
    (fault,) = parse(text).faults
    assert (fault.span.line, fault.span.column) == (line, column)


@given(st.text(max_size=200))
def test_no_text_makes_it_raise(text: str) -> None:
    parsed = parse(text)
    assert parsed.faults or parsed.marks


def test_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_bytes("\ufeffa: é".encode())
    bad.write_bytes(b"a: 1\nb: \xff")
    assert read(good).tree == {"a": "é"}
    with pytest.raises(SpecError, match=r"bad\.yaml:2:1: this is not UTF-8"):
        read(bad)
    with pytest.raises(SpecError, match="no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        read(tmp_path)


# ---- trees that come back --------------------------------------------------------------------------------

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\u2028\u2029\ufeff")
)
TREES = st.recursive(
    TEXT | st.integers(-(10**16), 10**16) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=20,
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def dumped(node: Any, depth: int = 0) -> str:
    """YAML by hand: every text in single quotes; maps and lists in blocks, empty ones in brackets."""
    pad = "  " * depth
    if isinstance(node, dict) and node:
        return "".join(f"\n{pad}{quoted(key)}: {dumped(value, depth + 1)}" for key, value in node.items())
    if isinstance(node, list) and node:
        return "".join(f"\n{pad}- {dumped(item, depth + 1)}" for item in node)
    if isinstance(node, str):
        return quoted(node)
    return (
        {None: "null", True: "true", False: "false"}.get(node) or str(node)
        if not isinstance(node, (dict, list))
        else ("{}" if isinstance(node, dict) else "[]")
    )


@given(TREES)
def test_what_is_written_is_read_back_with_every_place(tree: Any) -> None:
    text = dumped(tree).lstrip("\n")
    parsed = parse(text)
    assert not parsed.faults
    assert parsed.tree == tree

    def check(node: Any, at: source.At) -> None:
        span = parsed.marks[at].value
        typed = text[span.start : span.end]
        assert text.count("\n", 0, span.start) + 1 == span.line
        assert span.start - (text.rfind("\n", 0, span.start) + 1) + 1 == span.column
        if isinstance(node, dict):
            for key, value in node.items():
                place = parsed.marks[(*at, key)].key
                assert place
                assert text[place.start : place.end] == quoted(key)
                check(value, (*at, key))
        elif isinstance(node, list):
            for n, item in enumerate(node):
                check(item, (*at, n))
        else:
            assert typed == dumped(node)

    check(tree, ())


# ---- splicing --------------------------------------------------------------------------------------------

ADMIN = """\
# who: acme
connection: acme   # the name
objects:
  opportunity: {direction: pull}   # one line

  task:
    direction: 'push'
"""


def test_a_scalar_is_replaced_and_the_rest_stays() -> None:
    parsed = parse(ADMIN)
    assert spliced(parsed, ("objects", "task", "direction"), "disabled") == ADMIN.replace("'push'", "disabled")
    assert spliced(parsed, ("connection",), "other") == ADMIN.replace("connection: acme", "connection: other")


@pytest.mark.parametrize(
    ("at", "before", "after"),
    [
        (("enabled",), "    direction: 'push'\n", "    direction: 'push'\nenabled: false\n"),
        (("objects", "opportunity", "enabled"), "{direction: pull}", "{direction: pull, enabled: false}"),
        (("objects", "task", "enabled"), "    direction: 'push'\n", "    direction: 'push'\n    enabled: false\n"),
    ],
)
def test_a_key_is_added_last(at: source.At, before: str, after: str) -> None:
    made = spliced(parse(ADMIN), at, "false")
    assert made == ADMIN.replace(before, after)
    assert lookup(parse(made).tree, at) is False


@pytest.mark.parametrize(
    ("text", "at", "made"),
    [
        ("a:\nb: 1\n", ("a",), "a: x\nb: 1\n"),
        ("a: |\n  one\n  two\nb: 1\n", ("a",), "a: x\nb: 1\n"),
        ("a: {b: [1], c: }", ("a", "c"), "a: {b: [1], c: x}"),
        ("a: {b: [1]}  # why\n", ("a",), "a: x  # why\n"),
        ("a: {}\n", ("a", "b"), "a: {b: x}\n"),
        ("a: {b: 1 }\n", ("a", "c"), "a: {b: 1, c: x }\n"),
        ("a:\n  b:\n    c: 1  # one\n\n# about d\nd: 2\n", ("a", "e"), "a:\n  b:\n    c: 1  # one\n  e: x\n\n# about d\nd: 2\n"),
        ("a:\n  b: |\n    text\n\nd: 2\n", ("a", "e"), "a:\n  b: |\n    text\n  e: x\n\nd: 2\n"),
        ("a: 1", ("b",), "a: 1\nb: x"),
        ("a: 1  # last", ("b",), "a: 1  # last\nb: x"),
        ("a:\n  - b: 1\n", ("a", 0, "c"), "a:\n  - b: 1\n    c: x\n"),
    ],
)  # fmt: skip
def test_what_is_spliced_stands_where_a_person_would_put_it(text: str, at: source.At, made: str) -> None:
    assert spliced(parse(text), at, "x") == made
    assert lookup(parse(made).tree, at) == "x"


def test_a_block_is_not_replaced() -> None:
    with pytest.raises(SpecError, match="objects is not one value"):
        spliced(parse(ADMIN), ("objects",), "x")


def test_a_key_cannot_be_added_to_what_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"there is no objects\.note"):
        spliced(parse(ADMIN), ("objects", "note", "direction"), "pull")


@given(TREES.filter(lambda tree: isinstance(tree, dict) and tree), st.data())
def test_splicing_changes_one_scalar_and_no_other_byte(tree: Any, data: st.DataObject) -> None:
    text = dumped(tree).lstrip("\n")
    parsed = parse(text)
    scalars = [at for at in parsed.marks if at and not isinstance(lookup(tree, at), (dict, list))]
    if not scalars:
        return
    at = data.draw(st.sampled_from(scalars))
    made = spliced(parsed, at, "'spliced'")
    span = parsed.marks[at].value
    assert made == text[: span.start] + "'spliced'" + text[span.end :]
    again = parse(made)
    assert lookup(again.tree, at) == "spliced"
    assert all(lookup(again.tree, other) == lookup(tree, other) for other in scalars if other != at)


@given(TREES.filter(lambda tree: isinstance(tree, dict) and tree), st.data())
def test_a_key_is_added_to_any_map(tree: Any, data: st.DataObject) -> None:
    text = dumped(tree).lstrip("\n")
    parsed = parse(text)
    at = data.draw(st.sampled_from([at for at in parsed.marks if isinstance(lookup(tree, at), dict)]))
    again = parse(spliced(parsed, (*at, "added"), "'x'"))
    lookup(tree, at)["added"] = "x"
    assert not again.faults
    assert again.tree == tree

"""What is measured is right: the two sides of the benchmark do the same, and what makes paths fast does not change what they give."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import source, spec
from connector.values import compile_record, paths

KIT = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.syspath_prepend(str(KIT))
    import hand
    import records

    yield hand, records
    for name in ("hand", "records"):
        sys.modules.pop(name)


def spelled(value):
    """As the adapter gives it: instants in UTC."""
    if isinstance(value, dict):
        return {key: spelled(below) for key, below in value.items()}
    if isinstance(value, list):
        return [spelled(item) for item in value]
    return f"{value[:19]}Z" if isinstance(value, str) and value.endswith(".000+0000") else value


def test_the_mapping_and_the_loop_by_hand_make_the_same_rows(kit):
    hand, records = kit
    mapping = spec.mapping(source.read(KIT / "job.yaml").tree)
    problems = []
    made = compile_record(mapping.objects["job"].fields, (), problems)
    rows = [records.record(n) for n in range(300)]
    assert [made.evaluate({"appointment": spelled(row)}, None) for row in rows] == [hand.dicts(row) for row in rows]
    assert problems == []


TREES = [
    *("a", "a.b", "a.b.c", "a[0]", "a[-1].b", "a | b", "lower(a)", "split(a, ',')", "after(a.b, ':')", "before(a, b)"),
    *("replace(a, 'x', b)", "trim(a[0])", "digits(a)", "'x'", "date(a)", "join_text(a, b)", "to_string(a.b)"),
]
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", " ", "x,y", "k: v", "2025-03-01"])
ROWS = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below), max_leaves=8
)


def outcome(run, row):
    try:
        return run(row)
    except (ValueError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize("text", TREES)
@given(row=st.dictionaries(st.sampled_from("abc"), ROWS))
def test_a_closure_gives_what_the_interpreter_gives(text, row):
    tree = paths._parse(text)
    assert paths._steady(tree)
    assert outcome(paths.runner(tree), row) == outcome(lambda given: paths._Interpreter().visit(tree, given), row)

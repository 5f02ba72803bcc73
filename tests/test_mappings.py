"""Every mapping against the examples beside it, and the examples against the mapping: no line of a rule is free.

The deletion test takes lines, blocks and entries of `[...]` and `{...}` out of a mapping, one at a time. What is left must
be refused by lint or fail an example; otherwise nothing shows what the line is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from connector import examples
from connector.errors import SpecError
from connector.examples import Suite, WatchedStore
from connector.lint import check_source
from connector.source import parse

RULES = ("settings:", "sync:", "lookups:", "objects:")
"""The keys under which a mapping says what holds."""
WORD = re.compile(r"\w{3,}")
FILES = sorted((Path(__file__).parent.parent / "mappings" / "tests").glob("*.yaml"))


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def suite(request: pytest.FixtureRequest) -> Suite:
    return examples.load(request.param)


@pytest.mark.parametrize("http", [False, True], ids=["memory", "http"])
def test_every_example_holds(suite: Suite, http: bool) -> None:
    results = list(examples.run(suite, http=http))
    failed = [f"{result.id}: {fault}" for result in results for fault in result.faults]
    assert not failed, "\n".join(failed)
    expected = [example for example in suite.tree["examples"] if not http or example.get("only") != "memory"]
    assert results
    assert http or len(results) == len(expected)


# ---- deletions --------------------------------------------------------------------------------------------


def blocks(text: str, first: int) -> Iterator[tuple[int, int]]:
    """Each line from `first` on that says something, with the lines indented below it: [start, end)."""
    lines = text.splitlines()
    for n in range(first, len(lines)):
        if not said(lines[n]):
            continue
        end = n + 1
        while end < len(lines) and (not said(lines[end]) or indent(lines[end]) > indent(lines[n])):
            end += 1
        yield n, end


def said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def entries(text: str) -> Iterator[tuple[int, int]]:
    """Each entry of each `[...]` and `{...}`, with its comma, as a range of the text."""

    def walk(node: yaml.Node) -> Iterator[tuple[int, int]]:
        if isinstance(node, yaml.MappingNode):
            children = [(key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(item, item) for item in node.value]
        else:
            return
        for n, (key, value) in enumerate(children):
            if node.flow_style and n + 1 < len(children):
                yield key.start_mark.index, children[n + 1][0].start_mark.index
            elif node.flow_style:
                yield children[n - 1][1].end_mark.index if n else key.start_mark.index, value.end_mark.index
            yield from walk(value)

    yield from walk(yaml.compose(text, yaml.SafeLoader))


def variants(text: str) -> Iterator[tuple[str, str]]:
    """(what is taken out, the text without it), of the schedule and of everything below `settings:` or what follows."""
    lines = text.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith(RULES))
    begin = sum(map(len, lines[:first]))
    scheduled = next((n for n, line in enumerate(lines) if line.startswith("schedule:")), None)
    for n, end in [*blocks(text, first), *([(scheduled, scheduled + 1)] if scheduled is not None else [])]:
        yield f"line {n + 1}: {lines[n].strip()}", "".join(lines[:n] + lines[end:])
    for start, end in entries(text):
        number = text.count("\n", 0, start) + 1
        if start >= begin or number - 1 == scheduled:
            taken = text[start:end].strip().strip(",").strip()
            yield f"line {number}, entry {taken}", text[:start] + text[end:]


def test_no_line_can_be_deleted(suite: Suite, tmp_path: Path) -> None:
    """The changed mapping lies in a folder of its own, where the step `lint` finds it."""
    text, place = suite.mapping_source.text, tmp_path / Path(suite.mapping_source.name).name
    (tmp_path / "shapes").symlink_to(FILES[0].parent.parent / "shapes")
    listed = [one for one in suite.tree["examples"] if "crash" not in one.get("steps", ()) and "value" not in one]
    words = {one["id"]: set(WORD.findall(str(one))) for one in listed}
    rare = Counter(word for each in words.values() for word in each)
    free = []
    with closing(WatchedStore()) as store:
        for what, left in variants(text):
            changed = parse(left, str(place))
            if any(finding.level == "error" for finding in check_source(changed, shapes=suite.shapes)):
                continue
            place.write_text(left, "utf-8")
            without = replace(suite, mapping_source=changed)
            taken = set(WORD.findall(what))
            # Likely ones first: those that speak of what is taken out, then those that have failed before.
            likely = sorted(listed, key=lambda one: -sum(1 / rare[word] for word in taken & words[one["id"]]))
            failing = next((one for one in likely if fails(without, one, store)), None)
            if failing is None:
                free.append(what)
            else:
                listed.remove(failing)
                listed.insert(0, failing)
    assert not free, "no example needs:\n" + "\n".join(free)


def fails(suite: Suite, example: Any, store: WatchedStore) -> bool:
    try:
        return any(examples.faults(suite, example, store))
    except (KeyError, SpecError):  # an object that examples name is gone altogether
        return True


def test_deletions_find_every_line_and_entry() -> None:
    text = "schedule: {every: 15m}\nobjects:\n  # said\n\n  a:\n    b: [c, {d: e}]\n    f: g\n"
    assert [what for what, _ in variants(text)] == [
        "line 2: objects:",
        "line 5: a:",
        "line 6: b: [c, {d: e}]",
        "line 7: f: g",
        "line 1: schedule: {every: 15m}",
        "line 1, entry every: 15m",
        "line 6, entry c",
        "line 6, entry {d: e}",
        "line 6, entry d: e",
    ]
    assert [left for what, left in variants(text) if what.endswith("entry {d: e}")] == [
        "schedule: {every: 15m}\nobjects:\n  # said\n\n  a:\n    b: [c]\n    f: g\n"
    ]

"""Templates and paths written to escape, or to eat time or memory: refused when compiled, or harmless when run."""

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from connector import source
from connector.values import ABSENT, compile_value

MEMORY = 50 * 1024 * 1024
SECONDS = 0.1 * 4  # of this process alone; four times, because the processors of a test are shared
TEXT = 131_072
HERE = Path(__file__).parent / "hostile"


def _spelled(node):
    """A text of parts, some repeated; rows with long texts and lists."""
    if isinstance(node, dict) and node.keys() == {"part", "times"}:
        return node["part"] * node["times"]
    if isinstance(node, dict):
        if node.keys() == {"chars"}:
            return "x" * node["chars"]
        if node.keys() == {"numbers"}:
            return list(range(node["numbers"]))
        return {key: _spelled(value) for key, value in node.items()}
    return [_spelled(item) for item in node] if isinstance(node, list) else node


def _cases():
    for file in sorted(HERE.glob("*.yaml")):
        read = source.read(file)
        assert not read.faults, read.faults
        form = "template" if file.stem == "jinja" else "path"
        for n, case in enumerate(read.tree["cases"]):
            parts = case[form]
            text = parts if isinstance(parts, str) else "".join(map(str, _spelled(parts)))
            yield pytest.param({form: text}, case.get("refused"), _spelled(read.tree["given"]), id=f"{file.stem}-{n}")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("node", "refused", "row"), list(_cases()))
def test_it_is_refused_or_harmless(node, refused, row):
    problems = []
    before = json.dumps(row)
    began = time.process_time()
    compile_value(node, (), []).evaluate(row, None)
    assert time.process_time() - began < SECONDS
    tracemalloc.start()
    try:
        value = compile_value(node, (), problems)
        result = value.evaluate(row, None)
        value.evaluate(row, why := [])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert {problem.code for problem in problems} == ({refused} if refused else set())
    assert all(problem.message and len(problem.message) < 300 for problem in problems)
    assert json.dumps(row) == before
    if refused:
        assert result is None
        return
    assert why
    assert result is ABSENT or not isinstance(result, str) or len(result) <= TEXT
    assert "__" not in repr(result)
    assert "object at 0x" not in repr(result)

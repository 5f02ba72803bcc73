"""Lint against its corpus: `lint/bad/CODE.yaml` is refused as `CODE.out` says, `lint/ok/CODE.yaml` nearly is and is fine.

A new case is two files. `CONNECTOR_GOLDEN=write` writes the .out files anew; read what changed before committing it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from connector import lint, shape, source
from connector.lint import CODES, check, check_source, combinations, render_json, render_text
from connector.values import compile_record

ROOT = Path(__file__).parent.parent
CORPUS = Path(__file__).parent / "lint"
SHAPES = shape.load(ROOT / "mappings" / "shapes")
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
OK = sorted((CORPUS / "ok").glob("*.yaml"))
MADE_HERE = {"unreadable_file", "file_too_large", "bad_shape"}
"""Codes that no small file of text can show: tests below make them."""


def shown(path: Path) -> tuple[set[str], str]:
    """The codes of a file of the corpus, and what is printed of it."""
    found = check(path, shapes=SHAPES)
    if path.stem != "no_shape":
        found = [finding for finding in found if finding.code != "no_shape"]
    name = path.relative_to(CORPUS).as_posix()
    text = render_text(found, [source.read(path)]).replace(str(path), name)
    return {finding.code for finding in found}, text


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_in_these_words(path: Path) -> None:
    codes, text = shown(path)
    golden = path.with_suffix(".out")
    if os.environ.get("CONNECTOR_GOLDEN") == "write":
        golden.write_text(text, "utf-8")
    assert path.stem in codes
    assert text == golden.read_text("utf-8")


@pytest.mark.parametrize("path", OK, ids=lambda path: path.stem)
def test_a_near_miss_is_fine(path: Path) -> None:
    codes, text = shown(path)
    assert path.stem not in codes
    assert "0 problems" in text, text


def test_every_code_has_a_bad_file_and_a_near_miss() -> None:
    wanted = set(CODES) - MADE_HERE
    assert {path.stem for path in BAD} == wanted
    assert {path.stem for path in OK} == wanted

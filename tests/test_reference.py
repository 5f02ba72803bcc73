"""The language reference is made from the grammar, and what it shows is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector import shape, source, spec
from connector.lint import check_source
from connector.reference import markdown

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "language.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHAPES = shape.load(ROOT / "mappings" / "shapes")
AROUND = """\
mapping: around
version: 1
systems: {home: hatch, remote: i360}
lookups:
  staff: {object: staff, key: email, missing: empty}
objects:
  user:
    direction: pull
    read:
      staff: {object: i360__Staff__c, watch: {first: all}}
    triggers: [{changed: staff}]
    write: user
    match: {by: link, found: update, missing: create}
    fields:
      name: staff.Name
  opportunity:
    direction: pull
    read:
      appointment: {object: i360__Appointment__c, watch: {first: all}}
      prospect: {object: i360__Prospect__c}
      activities: {object: i360__Appointment__c, many: true}
      document: {object: Paper}
    triggers:
      - changed: appointment
        with:
          prospect: {Id: appointment.i360__Prospect__c}
          activities: {i360__Prospect__c: prospect.Id}
          document: {Id: prospect.Id}
    write: opportunity
    match: {by: link, found: update, missing: create}
    fields:
      used: {fields: {one: prospect.Id, two: "activities[].Id", three: document.Id}}
"""


def test_the_page_is_what_the_grammar_makes() -> None:
    assert markdown(spec.grammar()) == PAGE, "run python -m connector.reference > docs/language.md"


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0] for block in BLOCKS])
def test_every_block_of_the_page_is_clean(block: str) -> None:
    tree = source.parse(block).tree
    if not {"mapping", "connection", "api", "examples"} & set(tree):
        block = AROUND + re.sub("^", "      ", block.rstrip(), flags=re.MULTILINE) + "\n"
    found = check_source(source.parse(block), shapes=SHAPES, folder=None)
    assert [finding for finding in found if finding.level != "note"] == []


def test_the_page_has_a_block_for_every_form_and_every_kind_of_file() -> None:
    assert len(BLOCKS) == len(spec.grammar()["$defs"]["value"]["x-forms"]) + 4


def test_every_key_of_the_grammar_is_described() -> None:
    undescribed = []
    for name, node in spec.grammar()["$defs"].items():
        for key, rule in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            target = spec.grammar()["$defs"].get(rule.get("$ref", "").rpartition("/")[2], {})
            if not (rule.get("description") or target.get("description")):
                undescribed.append(f"{name}.{key}")
    assert undescribed == []


def test_every_pattern_and_default_of_the_grammar_holds_for_its_own_examples() -> None:
    for name, node in spec.grammar()["$defs"].items():
        for text in node.get("examples", ()):
            if isinstance(text, str) and "pattern" in node:
                assert re.fullmatch(node["pattern"], text), name

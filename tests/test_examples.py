"""The runner behind `connector test`: what holds passes, what does not fails in words that help, nonsense is refused.

`examples/right.yaml` and `sync.yaml` pass, `examples/wrong.yaml` fails as `wrong.out` says. `CONNECTOR_GOLDEN=write` writes that anew;
read what changed before committing it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from click.testing import CliRunner

from connector import examples, spec
from connector.cli import main
from connector.errors import SpecError
from connector.examples import Result, checks, play

HERE = Path(__file__).parent / "examples"
MAPPING = spec.shipped() / "i360_classic.yaml"


@pytest.fixture(scope="module")
def wrong() -> list[Result]:
    return list(examples.run(examples.load(HERE / "wrong.yaml")))


@pytest.mark.parametrize("http", [False, True], ids=["memory", "http"])
def test_what_holds_passes(http: bool) -> None:
    results = list(examples.run(examples.load(HERE / "right.yaml"), http=http))
    assert [f"{result.id}: {fault}" for result in results for fault in result.faults] == []
    assert len(results) > 30


@pytest.mark.parametrize("http", [False, True], ids=["memory", "http"])
def test_a_step_of_a_mapping_that_declares_it(http: bool) -> None:
    results = list(examples.run(examples.load(HERE / "sync.yaml"), http=http))
    assert [result.faults for result in results] == [()] * 2


def test_what_does_not_hold_fails_in_these_words(wrong: list[Result]) -> None:
    shown = "\n\n".join("\n".join([result.id, *(indent(fault, "  ") for fault in result.faults)]) for result in wrong)
    shown = re.sub(r"\([^()\n]*i360_classic.yaml:\d+\)", "(i360_classic.yaml)", shown) + "\n"
    golden = HERE / "wrong.out"
    if os.environ.get("CONNECTOR_GOLDEN") == "write":
        golden.write_text(shown, "utf-8")
    assert shown == golden.read_text("utf-8")


def test_every_fault_is_told_of_the_key_that_is_wrong(wrong: list[Result]) -> None:
    assert [result.id for result in wrong if not result.faults] == []


def expected(name: str) -> set[str]:
    tree = examples.load(HERE / name).tree
    return {key for example in tree["examples"] for key in example["expect"]}


def test_every_key_of_expect_can_hold_and_can_fail() -> None:
    known = set(spec.grammar()["$defs"]["example_expect"]["properties"])
    assert expected("right.yaml") == known
    assert expected("wrong.yaml") == known - {"queries"}  # asserted over HTTP: below
    assert set(checks.CHECKS) == known - {"result", "fields", "without"}


def test_every_step_and_every_fault_has_an_example() -> None:
    tree, more = (examples.load(HERE / name).tree for name in ("right.yaml", "sync.yaml"))
    listed = [*tree["examples"], *more["examples"]]
    steps = {s if isinstance(s, str) else next(iter(s)) for one in listed for s in one.get("steps", ())}
    assert steps == set(play.STEPS)
    grammar = spec.grammar()["$defs"]
    named = {*grammar["example_step"]["then"]["enum"], *grammar["example_step"]["properties"]}
    assert named == set(play.STEPS)
    faults = [fault for one in tree["examples"] for fault in one.get("given", {}).get("faults", ())]
    assert {fault["answer"] for fault in faults} == {
        *grammar["example_fault"]["properties"]["answer"]["then"]["enum"]
    } | {
        401,
        403,
        404,
        422,
        429,
        503,
    }
    assert {fault.get("verb", "write") for fault in faults} == {"read", "write"}
    assert {fault["system"] for fault in faults} == {"home", "remote"}


def test_a_write_that_is_missing_says_what_became_of_its_record_and_the_line_of_the_rule(wrong: list[Result]) -> None:
    lines = MAPPING.read_text("utf-8").splitlines()
    note, task = next(result.faults for result in wrong if result.id == "writes, skipped")
    found = re.findall(r"(\S+) \([^()]*i360_classic\.yaml:(\d+)\)", f"{note}\n{task}")
    assert [word for word, _ in found] == ["note", "ParentId", "task"]
    assert "was skipped (no_parent: ParentId needs note.external_contact_id" in note
    assert "no record triggered task" in task
    told = [lines[int(number) - 1].strip() for _, number in found]
    assert told[0] == "triggers: [{changed: note}]"
    assert told[1].startswith("ParentId: {required")
    assert told[2] == "triggers: [{changed: task}]"


def test_a_wrong_value_says_the_line_of_the_choice_that_won(wrong: list[Result]) -> None:
    """The line that is named is the line in the file, and the choice is counted as it stands there."""
    lines = MAPPING.read_text("utf-8").splitlines()
    told = [
        found
        for result in wrong
        for fault in result.faults
        for found in re.findall(r"i360_classic\.yaml:(\d+)\)(?:, choice (\d) of (\d))?: ([\w.]+)$", fault, re.MULTILINE)
    ]
    assert ("2", "3", "appointment.i360__Prospect_First_Name__c") in {one[1:] for one in told}
    assert len(told) > 8
    for number, choice, of, path in told:
        line = lines[int(number) - 1]
        assert path in line
        if choice and line.lstrip().startswith("- "):
            block = next(n for n in range(int(number) - 1, 0, -1) if lines[n].strip() == "first:")
            assert int(number) - block - 1 == int(choice)
            assert lines[block + int(of)].lstrip().startswith("- ")


# ---- files ------------------------------------------------------------------------------------------------


def write(folder: Path, *listed: dict[str, Any], **file: Any) -> Path:
    tree = {
        "mapping": "i360_classic",
        **file,
        "examples": [{"id": f"e{n}", "says": "x", **one} for n, one in enumerate(listed)],
    }
    path = folder / "some.yaml"
    path.write_text(json.dumps(tree, indent=1), "utf-8")
    return path


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ({"expect": {"writs": []}}, r"some.yaml:8:\d+: error \[unknown_key\].*(.|\n)*did you mean writes"),
        ({"expect": {}}, "expect must not be empty"),
        ({"expect": {"rows": {"hatch.opportunity": 1}}}, "'hatch.opportunity': a place: home or remote"),
        ({"expect": {"calls": {"home.opportunity.save": 1}}}, "list, find, create or update"),
        ({"expect": {"due": "soon"}}, r"\[malformed\] due"),
        ({"expect": {"window": {"to": "15:00"}}}, r"\[malformed\] to: a date and time"),
        ({"expect": {"outcomes": [{"record": "x", "outcome": "done"}]}}, "outcome cannot be 'done'"),
        ({"expect": {"writes": []}, "now": "today"}, r"\[malformed\] now"),
        (
            {"expect": {"writes": []}, "now": "2025-02-31T10:00:00Z"},
            r"some.yaml:\d+:\d+: there is no moment 2025-02-31",
        ),
        ({"expect": {"writes": []}, "given": {"last_success": "2025-02-31T10:00:00Z"}}, "there is no moment"),
        ({"expect": {"writes": []}, "steps": ["sink"]}, r"steps cannot be 'sink'(.|\n)*one of: run, sync, preview"),
        ({"expect": {"writes": []}, "steps": [{"run": "opportunity", "wait": "1m"}]}, "steps takes one key"),
        ({"expect": {"writes": []}, "steps": [{"run": "oportunity"}]}, "the mapping has no object oportunity"),
        ({"expect": {"writes": []}, "steps": [{"wait": "soon"}]}, r"\[malformed\] wait"),
        ({"expect": {"writes": []}, "given": {"remote": ["A9"]}}, "rows holds no A9"),
        ({"expect": {"writes": []}, "given": {"remote": [{"like": "A9"}]}}, "rows holds no A9"),
        ({"expect": {"writes": []}, "given": {"home": [{"object": "opportunitee"}]}}, r"did you mean [Oo]pportunity"),
        (
            {"expect": {"writes": []}, "given": {"faults": [{"system": "home", "object": "x", "answer": "lost"}]}},
            "lost",
        ),
        (
            {"expect": {"writes": []}, "given": {"faults": [{"system": "home", "object": "x", "answer": 200}]}},
            "400 or more",
        ),
        ({"expect": {"writes": [{"fields": {}}]}}, r"some.yaml:\d+:\d+: a write has one of create.*this one has none"),
        ({"expect": {"writes": [{"create": "Note", "update": "Note"}]}}, "this one has create and update"),
        ({"expect": {"result": 1}}, r"some.yaml:\d+:\d+: result cannot be expected of steps"),
        ({"expect": {"fields": {}}}, "fields cannot be expected of steps"),
        ({"expect": {"findings": []}}, "findings are those of the step lint"),
        ({"expect": {"writes": []}, "value": "a"}, "writes cannot be expected of a value"),
        ({"expect": {"rows": {}}, "object": "task", "given": {"row": {}}}, "rows cannot be expected of a row"),
        ({"expect": {"fields": {}}, "given": {"row": {}}}, "object must say"),
        ({"expect": {"writes": []}, "only": "http"}, "only cannot be 'http'"),
    ],
)
def test_nonsense_is_refused_at_its_place(tmp_path: Path, example: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        examples.load(write(tmp_path, example))
    assert re.search(said, str(caught.value)), caught.value


def test_a_mapping_that_is_wrong_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nothing_such"):
        examples.load(write(tmp_path, {"expect": {"writes": []}}, mapping="nothing_such"))
    (tmp_path / "own.yaml").write_text(MAPPING.read_text("utf-8").replace("found: replace", "found: replaces"), "utf-8")
    with pytest.raises(SpecError, match="replaces"):
        examples.load(write(tmp_path, {"expect": {"writes": []}}, mapping="own.yaml"))


def test_shapes_of_the_file_add_to_the_recorded_ones(tmp_path: Path) -> None:
    """A field that an org has of its own may be given, its ids and instants have one spelling, and lint reads it."""
    row = {"object": "i360__Prospect__c", "Id": "a01P00000000001", "LastModifiedDate": "2025-03-10T14:58:00Z"}
    given = {"remote": [row | {"Called__c": "2025-03-10T15:00:00+01:00", "Boss__c": "005000000000001"}]}
    shapes = {"i360__Prospect__c": {"Called__c": {"type": "datetime"}, "Boss__c": {"type": "reference"}}}
    prospect = {"Called__c": "2025-03-10T14:00:00Z", "Boss__c": "005000000000001AAA"}
    example = {
        "now": "2025-03-10T15:00:00Z",
        "given": given,
        "expect": {"writes": [{"create": "opportunity", "fields": {"details": {"prospect": prospect}}}]},
    }
    suite = examples.load(write(tmp_path, example, shapes=shapes))
    assert [result.faults for result in examples.run(suite)] == [()]
    assert suite.shapes["i360__Prospect__c"].fields["Called__c"].type == "datetime"


def test_queries_are_asserted_over_http_only(tmp_path: Path) -> None:
    query = "SELECT   Id FROM  i360__Project__c"
    suite = examples.load(write(tmp_path, {"now": "2025-03-10T15:00:00Z", "expect": {"queries": [query]}}))
    assert [result.faults for result in examples.run(suite)] == [()]
    [result] = examples.run(suite, http=True)
    assert result.over == "http"
    assert result.faults[0].startswith(f"query not sent: {query}\n  sent:\n  SELECT ")
    sent = next(line.strip() for line in result.faults[0].splitlines() if "FROM i360__Prospect__c" in line)
    right = {
        "now": "2025-03-10T15:00:00Z",
        "expect": {"queries": [sent.replace(", ", ",   ").replace(",   ", ", ", 1)]},
    }
    suite = examples.load(write(tmp_path, right | {"expect": {"queries": [f"  {sent} "]}}))
    assert [result.faults for result in examples.run(suite, http=True)] == [()]


def test_rows_that_a_real_org_cannot_hold_fail_their_own_example(tmp_path: Path) -> None:
    bad = {"object": "i360__Prospect__c", "Id": "a01P00000000001", "i360__Phone_1__c": 5}
    listed = [{"given": {"remote": [bad]}, "expect": {"writes": []}}, {"expect": {"writes": []}}]
    suite = examples.load(write(tmp_path, *listed))
    assert [len(result.faults) for result in examples.run(suite, http=True)] == [1, 0]
    [result] = examples.run(suite, http=True, only=lambda name: name == "e0")
    assert re.search(r"could not be run: a real org cannot hold this \(only: memory\): .*Phone_1", result.faults[0])


def test_an_example_of_an_own_mapping_names_the_file_as_seen_from_here(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").symlink_to(MAPPING.parent / "shapes")
    (tmp_path / "i360_classic.yaml").write_text(MAPPING.read_text("utf-8"), "utf-8")
    row = {"appointment": {"Id": "x", "i360__Prospect_First_Name__c": "Dee"}}
    example = {"object": "opportunity", "given": {"row": row}, "expect": {"fields": {"first_name": "Dana"}}}
    write(tmp_path, example, mapping="i360_classic.yaml")
    done = CliRunner().invoke(main, ["test", "some.yaml"])
    assert done.exit_code == 1
    assert done.output == (
        "FAIL e0  x   some.yaml:4 (memory)\n"
        '       first_name  expected  "Dana"\n'
        '                   got       "Dee"\n'
        "                   came from first_name (i360_classic.yaml:51), choice 2 of 3: "
        "appointment.i360__Prospect_First_Name__c\n"
        "0 passed, 1 failed\n"
    )


def test_one_example_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """They share one store, which is emptied: the same example twice does the same twice."""
    row = {"object": "i360__Prospect__c", "Id": "a01P00000000001", "LastModifiedDate": "2025-03-10T14:58:00Z"}
    one = {
        "now": "2025-03-10T15:00:00Z",
        "given": {"remote": [row]},
        "expect": {"writes": [{"create": "opportunity"}], "calls": {"home.opportunity.create": 1}, "advanced": True},
    }
    suite = examples.load(write(tmp_path, one, one, one))
    assert [result.faults for result in examples.run(suite)] == [(), (), ()]

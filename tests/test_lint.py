"""Lint against its corpus: `lint/bad/CODE.yaml` is refused as `CODE.out` says, `lint/ok/CODE.yaml` nearly is and is fine.

A new case is two files. `CONNECTOR_GOLDEN=write` writes the .out files anew; read what changed before committing it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from connector import lint, plan, shape, source, spec
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


def test_the_list_has_every_code_that_values_and_the_loader_use() -> None:
    used = set(re.findall(r'(?:stop|Fault)\(\s*"([a-z_]+)"', (ROOT / "connector" / "source.py").read_text("utf-8")))
    for path in (ROOT / "connector" / "values").glob("*.py"):
        used |= set(re.findall(r'(?:code=|code: str = |hint, |"", )"([a-z]+_[a-z_]+)"', path.read_text("utf-8")))
    assert {"no_form", "unknown_function", "invalid_template", "template_not_allowed"} < used
    assert used - set(CODES) == {"no_fields", "unknown_type"}  # the grammar refuses these before they are compiled


# ---- the faults that other tools let pass ----------------------------------------------------------------

MAPPING = """\
mapping: small
version: 1
systems: {home: hatch, remote: i360}
objects:
  opportunity:
    direction: pull
    read:
      appointment: {object: i360__Appointment__c, watch: {first: all}}
      prospect: {object: i360__Prospect__c}
    triggers:
      - changed: appointment
        with:
          prospect: {Id: appointment.i360__Prospect__c}
    write: opportunity
    match: {keys: [external_id], found: replace, missing: create}
    fields:
      external_id: appointment.Id
      email: {first: [prospect.i360__Primary_Email__c, appointment.i360__Email_Address__c]}
      created: {latest: [appointment.CreatedDate, prospect.CreatedDate]}
      parts: "split(appointment.i360__Phone_1__c, ',')"
      title: {template: "{{ prospect.i360__Primary_First_Name__c }}: {{ appointment.Name }}"}
"""

FAULTS = [
    ("latest:", "lastest:", "no_form", 19, 17, "latest"),
    ("first: [prospect.", "first: [prospct.", "unknown_root", 18, 23, "prospect"),
    ("found: replace", "found: replcae", "unknown_word", 15, 41, "replace"),
    ("      email:", "      external_id: appointment.Name\n      email:", "duplicate_key", 18, 7, "line 17"),
    ('"{{ prospect.i360__Primary_First_Name__c }}: {{ appointment.Name }}"', "{{ prospect.Name }}: {{ x }}", "unquoted_template", 21, 25, "quotes"),
    ("appointment.i360__Email_Address__c", "appointment..i360__Email_Address__c", "invalid_expression", 18, 67, "dot"),
    ("split(", "spilt(", "unknown_function", 20, 15, "split"),
    ("appointment.Name }}", "appointment.Name", "invalid_template", 21, 70, "never closed"),
    ("    match:", "    macth:", "unknown_key", 15, 5, "match"),
    ("object: i360__Appointment__c", "object: i360__Apointment__c", "unknown_object", 8, 29, "i360__Appointment__c"),
    ("appointment.i360__Email_Address__c", "appointment.app.i360__Email_Address__c", "unknown_field", 18, 68, "leave app out"),
    ("prospect.i360__Primary_Email__c", "prospect.i360__Primry_Email__c", "unknown_field", 18, 32, "i360__Primary_Email__c"),
    ("{{ appointment.Name", "{{ appointmentName", "unknown_root", 21, 73, "appointment.Name"),
    ("prospect.i360__Primary_First_Name__c", "prospect.i360__Primary_Frist_Name__c", "unknown_field", 21, 38, "i360__Primary_First_Name__c"),
]  # fmt: skip


def problems(text: str) -> list[lint.Finding]:
    found = check_source(source.parse(text, "small.yaml"), shapes=SHAPES)
    return [finding for finding in found if finding.code != "no_shape"]


def test_the_small_mapping_is_fine() -> None:
    assert problems(MAPPING) == []


@pytest.mark.parametrize(
    ("right", "wrong", "code", "line", "column", "says"), FAULTS, ids=[fault[1] for fault in FAULTS]
)
def test_a_fault_is_found_at_its_place(right: str, wrong: str, code: str, line: int, column: int, says: str) -> None:
    assert MAPPING.count(right) == 1
    (finding,) = problems(MAPPING.replace(right, wrong))
    assert (finding.level, finding.code) == ("error", code)
    assert (finding.span.line, finding.span.column) == (line, column)
    assert says in finding.message + finding.hint


@pytest.mark.parametrize(
    ("right", "wrong", "code", "says"),
    [
        ("keys: [external_id], ", "", "missing_key", "keys or by"),
        ("keys: [external_id]", "keys: [external_id], by: link", "two_forms", "keys or by"),
        ("missing: create}", "missing: create, differs: fail}", "out_of_range", "at least 2"),
        ("found: replace", "found: link", "unknown_word", "one of: skip, ask, fail"),
        ("keys: [external_id], found: replace, missing: create", "by: link, found: link, missing: ask", "missing_key", "keys"),
        ("replace, missing: create", "skip, missing: skip", "unknown_word", "one of: create, ask, fail"),
        ("direction: pull", "direction: both", "unknown_word", "one of: pull, push, disabled"),
        ("version: 1", "version: 1\nschedule: 15m", "unknown_word", "{every: 15m}"),
        ("appointment.Id\n", "{path: appointment.Id, if_missing: drop}\n", "unknown_key", "it goes with template"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_together_is_refused_by_the_grammar(right: str, wrong: str, code: str, says: str) -> None:
    assert right in MAPPING
    (finding,) = problems(MAPPING.replace(right, wrong, 1))
    assert (finding.level, finding.code) == ("error", code)
    assert says in finding.message + finding.hint


PAIRED = """\
settings: {owner: {choose: [a, b], default: a}}
lookups: {staff: {object: staff, key: email, calls: {list: required, create: optional}, missing: create}}
objects:
  person:
    direction: both
    pair: {home: {object: person, watch: {first: all, sync: 10m}}, remote: contact}
    match: {by: link, found: update, missing: create}
    conflict: newest
    fields: {owner: {remote: owner_id, only: push, lookup: staff}}
  result:
    direction: pull
    read: {option: {picklist: i360core__Sales_Appointment__c.i360core__Status__c}}
    triggers: [{changed: option}]
    write: result
    match: {keys: [name], found: update, missing: create}
    fields: {name: option.value}
    children:
      detail:
        read: {option: {picklist: i360core__Sales_Appointment__c.i360core__Status_Detail__c, valid_for: parent.name}}
        write: detail
        match: {keys: [parent_id, name], found: update, missing: create}
        fields: {parent_id: {link: parent}, name: option.value}
  job:
    direction: push
    read: {job: {object: job, watch: {first: all}}}
    triggers: [{changed: job}]
    write: ContentVersion
    match: {by: link, found: skip, missing: create}
    fields: {PathOnClient: job.name, VersionData: {file: job.url}}
    children:
      row:
        each: job.rows
        as: row
        write: Note
        match: {keys: [ParentId, Title], found: update, missing: create}
        fields: {ParentId: {link: parent}, Title: row.title}
"""


def paired(text: str) -> list[lint.Finding]:
    text = f"mapping: small\nversion: 1\nsystems: {{home: ours, remote: theirs}}\n{text}"
    return [each for each in check_source(source.parse(text, "small.yaml"), shapes=SHAPES) if each.level == "error"]


@pytest.mark.parametrize(
    ("right", "wrong", "code", "says"),
    [
        ("default: a}", "default: c}", "unknown_setting", "one of a, b"),
        ("default: a}", "many: true, default: a}", "unknown_setting", "a list of a, b"),
        (", create: optional", "", "missing_capability", "does not name create"),
        ("sync: 10m", "sync: 1m", "out_of_range", "shorter than the overlap"),
        ("sync: 10m", "sync: 10m, furthest: 4m", "out_of_range", "shorter than the overlap"),
        ("sync: 10m", "sync: 10m, furthest: 6m", "out_of_range", "longer than furthest"),
        (", only: push", "", "not_invertible", "add only: push"),
        ("only: push", "only: pull", "not_invertible", "add only: push"),
        ("    direction: pull\n", "    direction: pull\n    conflict: home\n", "unknown_key", "`pair`"),
        ("    conflict: newest\n", "    conflict: newest\n    write: person\n", "unknown_key", "`pair` say this already"),
        ("Status__c}}", "Status__c, valid_for: option.value}}", "unknown_key", "of `children`"),
        ("{picklist: i360core__Sales_Appointment__c.i360core__Status_Detail__c, valid_for: parent.name}", "{object: Note}", "missing_key", "picklist"),
        ("        as: row\n", "", "missing_key", "row needs as"),
        ("{keys: [ParentId, Title], found", "{by: link, found", "unknown_key", "found by its keys"),
        ("PathOnClient: job.name", "PathOnClient: {file: job.name}", "wrong_type", "bytes"),
        ("Title: row.title", "Title: {lookup: stuff, by: row.title}", "unknown_lookup", "stuff"),
        ("VersionData: {file: job.url}", "VersionData: {file: job.url}, Title: {first: [{link: jbo, by: job.id}]}", "unknown_object", "did you mean job?"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_in_pairs_children_and_lookups_is_told_at_its_place(
    right: str, wrong: str, code: str, says: str
) -> None:
    assert PAIRED.count(right) == 1
    assert paired(PAIRED) == []
    found = paired(PAIRED.replace(right, wrong))
    assert (code, True) in {(each.code, says in each.message + each.hint) for each in found}
    line = PAIRED[: PAIRED.index(right)].count("\n") + 4
    assert min(abs(each.span.line - line) for each in found) <= 2  # what is missing is told at what lacks it


@pytest.mark.parametrize("login", ["http://acme.my.salesforce.com"])
def test_a_login_is_https_and_the_orgs_own(login: str) -> None:
    found = check_source(source.parse(CONNECTION.replace("https://acme.my.salesforce.com", login)))
    assert [(finding.code, finding.at) for finding in found] == [("malformed", ("systems", "i360", "login"))]
    assert "My Domain" in found[0].message


def test_a_mapping_that_is_linted_itself_is_not_told_of_again(tmp_path: Path) -> None:
    mapping, connection = tmp_path / "small.yaml", tmp_path / "acme.yaml"
    mapping.write_text(MAPPING.replace("replace", "replcae"))
    connection.write_text(CONNECTION.replace("nowhere", "small"))
    assert [finding.code for finding in check(connection)] == ["mapping_has_errors"]
    assert check(connection, among=[connection, mapping]) == []


@pytest.mark.parametrize(
    ("shipped", "case", "line"),
    [("i360_lightning", "no_files", "    write: ContentVersion\n"), ("staff_leadsource", "missing_capability", "    pair: {home: prospect, remote: prospect}\n")],
)  # fmt: skip
def test_what_a_connection_asks_of_its_mapping_waits_until_that_is_right(
    tmp_path: Path, shipped: str, case: str, line: str
) -> None:
    mapping, connection = tmp_path / f"{shipped}.yaml", tmp_path / f"{case}.yaml"
    text = (ROOT / "mappings" / f"{shipped}.yaml").read_text("utf-8")
    assert line in text
    mapping.write_text(text.replace(line, ""), "utf-8")
    asked = (CORPUS / "bad" / f"{case}.yaml").read_text("utf-8")
    connection.write_text(asked.replace(f"mapping: {shipped}", f"mapping: {shipped}.yaml"), "utf-8")
    assert [each.code for each in check(connection, shapes=SHAPES)] == ["mapping_has_errors"]
    assert check(connection, shapes=SHAPES, among=[connection, mapping]) == []


@pytest.mark.parametrize("case", ["no_files", "missing_capability"])
@pytest.mark.parametrize("wrong", ["psuh", "[push]"])
def test_a_connection_whose_choices_are_refused_is_not_planned(case: str, wrong: str) -> None:
    path = CORPUS / "bad" / f"{case}.yaml"
    text = path.read_text("utf-8").replace("direction: push", f"direction: {wrong}")
    found = check_source(source.parse(text, path.name), shapes=SHAPES, folder=path.parent)
    assert {each.code for each in found if each.level == "error"} <= {"unknown_word", "wrong_type"}


def test_all_independent_errors_are_told_at_once_in_order() -> None:
    text = MAPPING
    for right, wrong, code, *_ in FAULTS:
        if code in ("unknown_word", "no_form", "unknown_field", "unknown_function", "unknown_object"):
            text = text.replace(right, wrong, 1)
    found = problems(text)
    assert [finding.span.line for finding in found] == sorted(finding.span.line for finding in found)
    assert {finding.code for finding in found} == {
        "unknown_word",
        "no_form",
        "unknown_field",
        "unknown_function",
        "unknown_object",
    }


@pytest.mark.parametrize(
    ("expect", "name"),
    [
        ("rows: {home.oportunity: 1}", "home.oportunity"),
        ("selected: {i360__Apointment__c: []}", "i360__Apointment__c"),
        ("calls: {remote.i360__Apointment__c.list: 1}", "remote.i360__Apointment__c.list"),
    ],
)
def test_an_example_counts_what_the_mapping_has(expect: str, name: str) -> None:
    text = f"mapping: ../two_ways.yaml\nexamples:\n- {{id: E, says: It counts., steps: [run], expect: {{{expect}}}}}\n"
    (finding,) = check_source(source.parse(text, "e.yaml"), shapes=SHAPES, folder=CORPUS / "ok")
    assert (finding.code, finding.at[-1]) == ("unknown_object", name)
    assert finding.hint in ("did you mean opportunity?", "did you mean i360__Appointment__c?")
    right = text.replace("oportunity", "opportunity").replace("Apointment", "Appointment")
    assert check_source(source.parse(right, "e.yaml"), shapes=SHAPES, folder=CORPUS / "ok") == []


# ---- what no file of the corpus can show -----------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"mapping: \xff")
    for name in ("none.yaml", "bad.yaml"):
        (finding,) = check(tmp_path / name)
        assert (finding.code, finding.level) == ("unreadable_file", "error")
    assert finding.message.startswith("this is not UTF-8")
    assert render_text([finding], []).endswith("\n1 error in 1 file\n")


def test_a_large_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("a: " + "x" * 300_000)
    assert [finding.code for finding in check(tmp_path / "large.yaml")] == ["file_too_large"]


def test_a_broken_shape_is_told_and_the_rest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "x.json").write_text("{")
    (tmp_path / "small.yaml").write_text(MAPPING.replace("spilt", "split").replace("found: replace", "found: replcae"))
    assert {finding.code for finding in check(tmp_path / "small.yaml")} >= {"bad_shape", "unknown_word", "no_shape"}


def test_shapes_beside_the_mapping_are_used_and_seen_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    recorded = json.loads((ROOT / "mappings" / "shapes" / "i360__Prospect__c.json").read_text("utf-8"))
    place = tmp_path / "shapes" / "i360__Prospect__c.json"
    place.write_text(json.dumps(recorded))
    (tmp_path / "small.yaml").write_text(MAPPING)
    assert "unknown_field" not in {finding.code for finding in check(tmp_path / "small.yaml")}
    recorded["fields"] = [entry for entry in recorded["fields"] if entry["name"] != "i360__Primary_Email__c"]
    place.write_text(json.dumps(recorded))
    os.utime(place, ns=(1, 1))
    assert "unknown_field" in {finding.code for finding in check(tmp_path / "small.yaml")}


@pytest.mark.parametrize(
    "text", ["- a", "just text", "15", "null", "{}", "[]", "a: 1", "examples: 3", "connection: [x]", "mapping: {}"]
)
def test_any_document_gets_findings_and_no_exception(text: str) -> None:
    assert any(finding.level == "error" for finding in check_source(source.parse(text)))


@pytest.mark.parametrize(
    ("typed", "kind"), [("conection: x", "connection"), ("exmaples: []", "examples"), ("mappng: x", "mapping")]
)
def test_the_kind_of_a_file_is_known_even_if_its_word_is_misspelt(typed: str, kind: str) -> None:
    found = check_source(source.parse(typed))
    assert any(finding.hint == f"did you mean {kind}?" for finding in found)


def test_what_ships_is_clean() -> None:
    files = sorted((ROOT / "mappings").rglob("*.yaml"))
    assert files
    found = [finding for path in files for finding in check(path) if finding.level != "note"]
    assert render_text(found, [source.read(path) for path in files]).splitlines()[-1].startswith(f"{len(files)} file")
    assert found == []


# ---- combinations ----------------------------------------------------------------------------------------


def test_the_combinations_of_hatch_are_those_of_the_vendor_page() -> None:
    tree = source.read(ROOT / "mappings" / "i360_classic.yaml").tree
    assert combinations(tree, "opportunity") == [
        "Appointment",
        "Appointment + Prospect",
        "Project",
        "Project + Prospect",
        "Project + Production Activity (list)",
        "Project + Production Activity (list) + Prospect",
        "Prospect",
    ]
    assert combinations(tree, "contact_note") == ["note"]
    assert combinations(tree, "nothing") == []


# ---- printing --------------------------------------------------------------------------------------------


def test_carets_stand_under_the_word_whatever_stands_before_it() -> None:
    text = MAPPING.replace("email: {first: [prospect.", "email:\t{first: [{template: '漢字e\u0301'}, prospct.")
    read = source.parse(text, "small.yaml")
    printed = render_text(problems(text), [read]).splitlines()
    at = next(n for n, line in enumerate(printed) if "prospct" in line and " | " in line)
    assert printed[at].index("prospct") + 2 - 1 == printed[at + 1].index(
        "^"
    )  # two wide letters, an accent without width
    assert "^^^^^^^ did you mean prospect?" in printed[at + 1]
    wide = source.parse("{'漢字': 1, mapping: 漢字}", "w.yaml")
    printed = render_text([f for f in check_source(wide) if f.code in ("unknown_key", "malformed")], [wide])
    assert [line for line in printed.splitlines() if "^" in line] == [
        "  |  ^^^^^^ one of: version, about, source, systems, settings ...",
        "  |                      ^^^^ such as opportunity",
    ]


def test_a_long_line_is_cut_around_its_fault() -> None:
    text = MAPPING.replace("about", "").replace(
        "external_id: appointment.Id", f"external_id: {{first: [{'appointment.Id, ' * 60}prospct.Id]}}"
    )
    read = source.parse(text, "small.yaml")
    printed = render_text(problems(text), [read]).splitlines()
    assert max(map(len, printed)) < 200
    assert printed[1].index("prospct") == printed[2].index("^")


def test_nothing_printed_steers_the_terminal() -> None:
    text = 'mapping: "\\e[31m"\nversion: 1\n"\\u202e": 1\nobjects: {"\\e]0;x\\a": {}}\n'
    found = check_source(source.parse(text, "x"))
    printed = render_text(found, [source.parse(text, "x")])
    assert not set(printed) & {"\x1b", "\x07", "\u202e"}
    json.loads(render_json(found))


def test_json_is_one_document_with_everything_in_it() -> None:
    (entry,) = json.loads(render_json(problems(MAPPING.replace("found: replace", "found: replcae"))))
    assert entry == {
        "file": "small.yaml",
        "line": 15,
        "column": 41,
        "end_column": 48,
        "level": "error",
        "code": "unknown_word",
        "message": "found cannot be 'replcae'",
        "hint": "did you mean replace?",
        "at": "objects.opportunity.match.found",
    }
    assert json.loads(render_json([])) == []


def test_the_summary_counts() -> None:
    assert render_text([], {}) == "0 files, 0 problems\n"
    read = source.parse(MAPPING.replace("replace", "replcae").replace("lastest", "latest"), "small.yaml")
    assert render_text(problems(read.text), [read]).endswith("\n1 error in 1 file\n")


# ---- secrets ---------------------------------------------------------------------------------------------

CANARY = "hunter2-9f8e7d"
CONNECTION = """\
connection: acme
mapping: nowhere.yaml
systems:
  hatch: {adapter: sql, url: "sqlite:///hatch.db"}
  i360:
    adapter: salesforce
    login: https://acme.my.salesforce.com
    auth: {grant: client_credentials, client_id: "${env:ID}", client_secret: "${env:SECRET}"}
"""


BY_KEY = CONNECTION.replace("client_credentials", "jwt_bearer").replace(
    "client_secret: ", "username: a@example.com, key: "
)
BY_PERSON = CONNECTION.replace("client_credentials", "authorization_code").replace('}"}', '}", pkce: false}')


@pytest.mark.parametrize(
    ("right", "wrong", "said", "hint"),
    [
        ("authorization_code", "authorisation_code", "grant cannot be this", "did you mean authorization_code?"),
        (
            "authorization_code",
            "password",
            "grant cannot be this",
            "one of: client_credentials, authorization_code, jwt_bearer",
        ),
        (', client_secret: "${env:SECRET}"', "", "auth needs client_secret", "client_secret: the name of a secret"),
        ("pkce: false", "pkcs: false", "there is no pkcs in auth", "did you mean pkce?"),
        ("pkce: false", "pkce: no", "pkce takes true or false, found text", "did you mean false?"),
        ("pkce: false", "scope: [api]", "there is no scope in auth", "did you mean scopes?"),
        ("pkce: false", "scopes: [refresh]", "scopes cannot be this", "did you mean refresh_token?"),
        ("pkce: false", "scopes: [api, api]", "scopes names api twice", "keep one"),
        ("pkce: false", "redirect: http://example.com/back", "redirect: the app's callback URL", "such as https://"),
        ("pkce: false", "username: a@example.com", "there is no username in auth", "one of: pkce, redirect, scopes"),
    ],
)
def test_each_grant_has_keys_of_its_own(right: str, wrong: str, said: str, hint: str) -> None:
    assert check_source(source.parse(BY_PERSON, "acme.yaml")) == []
    assert check_source(source.parse(BY_KEY, "acme.yaml")) == []
    (found,) = check_source(source.parse(BY_PERSON.replace(right, wrong), "acme.yaml"))
    assert said in found.message
    assert hint in found.hint


@pytest.mark.parametrize("text", [BY_KEY, BY_PERSON], ids=["key", "person"])
@pytest.mark.parametrize("wrong", [CANARY, f"'{CANARY}'", f'"{CANARY}', f"[{CANARY}]", f"!{CANARY} x"])
@pytest.mark.parametrize("noise", ["", "\nunknown: [", "\nconnection: again"])
def test_what_is_written_out_for_other_grants_is_not_printed_either(text: str, wrong: str, noise: str) -> None:
    read = source.parse(text.replace('"${env:SECRET}"', wrong) + noise, "acme.yaml")
    found = check_source(read)
    assert any(finding.level == "error" for finding in found)
    assert CANARY not in render_text(found, [read]) + render_json(found)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"${env:SECRET}"', CANARY),
        ('"${env:SECRET}"', f"'{CANARY}'"),
        ('"${env:SECRET}"', f'"${{env:SECRET}}{CANARY}"'),
        ('"${env:SECRET}"', f"[{CANARY}]"),
        ('"${env:SECRET}"', f"{{value: {CANARY}}}"),
        ('"${env:SECRET}"', f'"{CANARY}'),
        ('"${env:SECRET}"', f"&{CANARY}"),
        ('"${env:SECRET}"', f"*{CANARY}"),
        ('"${env:SECRET}"', f"!{CANARY} x"),
        ("client_secret:", f"client_secrt: {CANARY}, client_secret:"),
        ("client_secret:", f"password: {CANARY}, client_secret:"),
        ("client_secret:", f"client_secret: {CANARY}, client_secret:"),
        ("client_secret:", f"refresh_token: {CANARY}, client_secret:"),
        ("client_credentials", CANARY),
        ('"${env:ID}"', CANARY),
        ("auth: {", f"auth: {CANARY}\n    {{"),
        ("sqlite:///hatch.db", f"postgresql://u:{CANARY}@db/x"),
        ("sqlite:///hatch.db", f"postgresql://:{CANARY}@db/x"),
        ("sqlite:///hatch.db", f"postgresql://db/x?password={CANARY}"),
        ("sqlite:///hatch.db", f"postgresql://db/x?user=u&PASSWORD={CANARY}"),
        ("sqlite:///hatch.db", f"//u:{CANARY}@db/x"),
        ("https://acme", f"https://u:{CANARY}@acme"),
    ],
)
def test_a_secret_that_is_written_out_is_an_error_and_never_printed(right: str, wrong: str) -> None:
    text = CONNECTION.replace(right, wrong)
    assert text != CONNECTION
    for noise in ("", "\nunknown: [", "\nconnection: again"):
        read = source.parse(text + noise, "acme.yaml")
        found = check_source(read)
        assert any(finding.level == "error" for finding in found)
        assert CANARY not in render_text(found, [read])
        assert CANARY not in render_json(found)


# ---- nothing that lint accepts fails to compile ----------------------------------------------------------


def places(tree: object, at: source.At = ()) -> list[source.At]:
    found = [at] if at else []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found += places(value, (*at, key))
    return found


SPARE = [
    {"link": "parent"},
    {"lookup": "staff", "by": "stage.id"},
    {"file": "stage.id"},
    {"linked": "user"},
    {"home": "a"},
]
KEYS = ["watch", "many", "fields", "keys", "template", "each", "required", "pair", "like", "children", "picklist", "as"]
KEYS += ["valid_for", "lookup", "file", "by", "values", "only", "remote", "enabled", "linked", "furthest", "default"]


def mutated(tree: object, dice: random.Random, times: int) -> object:
    """The tree with keys renamed or deleted and scalars replaced, here and there."""
    tree = copy.deepcopy(tree)
    words = [
        "",
        "x",
        "prospect",
        "prospect.Id",
        "[0]",
        "a.b[",
        "{{ x }}",
        "{{",
        "both",
        "link",
        "skip",
        "first",
        "activities",
        "15m",
        "all",
        "Id",
        "parent",
        "parent.description",
        "settings.staff_owner",
        "settings.partner_calls.staff",
        "Lead.Status",
        "result",
        "job",
    ]
    for _ in range(times):
        at = dice.choice(places(tree))
        holder = source.lookup(tree, at[:-1])
        value = dice.choice(
            [
                *words,
                0,
                7,
                1.5,
                True,
                None,
                [],
                {},
                ["prospect"],
                {"path": "prospect.Id"},
                {"value": 1},
                *SPARE,
                holder[at[-1]],
            ]
        )
        match dice.randrange(4):
            case 0 if isinstance(holder, dict):
                value = holder.pop(at[-1])
                holder[dice.choice([*words, *KEYS])] = value
            case 1:
                del holder[at[-1]]
            case _:
                holder[at[-1]] = value
    return tree


NO_CONNECTION = spec.Connection("test", "", True, None, None, {}, {}, {})


@pytest.mark.parametrize(
    "name",
    [
        "mappings/i360_classic.yaml",
        "mappings/i360_lightning.yaml",
        "mappings/staff_leadsource.yaml",
        "tests/lint/two_ways.yaml",
        "tests/lint/ok/unused_read.yaml",
        "tests/lint/ok/not_invertible.yaml",
    ],
)
def test_whatever_is_done_to_a_mapping_lint_says_so_or_it_compiles(name: str) -> None:
    tree = source.read(ROOT / name).tree
    dice = random.Random(7)
    accepted = 0
    for round_ in range(400):
        text = json.dumps(mutated(tree, dice, 1 + round_ % 3), ensure_ascii=False)
        read = source.parse(text, "m.yaml")
        found = check_source(read, shapes=SHAPES)
        render_text(found, [read])
        if any(finding.level == "error" for finding in found):
            continue
        accepted += 1
        mapping = spec.mapping(read.tree)
        for key, rules in mapping.objects.items():
            for way in ("pull", "push") if rules.pair else (plan.one_way(mapping, key),):
                faults: list[object] = []
                compile_record(plan.rules_of(mapping, key, way).fields, ("objects", key, "fields"), faults)
                assert faults == []
                plan.flow(mapping, NO_CONNECTION, SHAPES, key, way)
        list(plan.lacking(mapping, NO_CONNECTION))
    assert accepted > 5


@pytest.mark.parametrize("name", ["tests/lint/ok/mapping_has_errors.yaml", "mappings/tests/i360_classic.yaml"])
def test_whatever_is_done_to_other_files_lint_never_raises(name: str) -> None:
    path = ROOT / name
    tree = source.read(path).tree
    if "examples" in tree:
        tree["examples"] = tree["examples"][:6]
    dice = random.Random(7)
    for round_ in range(150):
        text = json.dumps(mutated(tree, dice, 1 + round_ % 3), ensure_ascii=False)
        read = source.parse(text, str(path))
        render_text(check_source(read, shapes=SHAPES, folder=path.parent), [read])


@pytest.mark.parametrize("named", ["\\0", "x" * 5000, "x" * 5000 + ".yaml", ".", "/", "..", "", "~", "\\0.yaml"])
def test_a_connection_may_name_anything_as_its_mapping(tmp_path: Path, named: str) -> None:
    read = source.parse(CONNECTION.replace("nowhere.yaml", f'"{named}"'), "acme.yaml")
    assert any(finding.at == ("mapping",) for finding in check_source(read, folder=tmp_path))


def test_a_connection_that_names_itself_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(CONNECTION.replace("nowhere", "acme"))
    (finding,) = check(tmp_path / "acme.yaml")
    assert (finding.code, finding.message) == ("mapping_has_errors", "acme.yaml is no mapping")


# ---- cost ------------------------------------------------------------------------------------------------


def test_lint_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys; from pathlib import Path; from connector.lint import check;"
        "found = check(Path(sys.argv[1]));"
        "heavy = {'sqlalchemy', 'httpx', 'rich', 'starlette', 'stamina', 'jinja2', 'click'};"
        "print(sorted(heavy & set(sys.modules)), len([f for f in found if f.level != 'note']))"
    )
    path = ROOT / "mappings" / "i360_classic.yaml"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 0"

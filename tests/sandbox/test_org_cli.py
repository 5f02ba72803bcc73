"""The command line and the YAML it loads."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sandbox_site import SHAPES

from connector.sandbox import fixtures, furnished
from connector.sandbox.cli import sandbox

ROWS = """
objects:
  Badge__c:
    keyPrefix: a0Z
    fields:
      Name: string
      Zip__c: string
      On__c: boolean
      Count__c: {type: double, precision: 18}
      Prospect__c: {type: reference, referenceTo: [i360__Prospect__c], relationshipName: Prospect__r}
rows:
  - {object: i360__Prospect__c, Id: a01P00000000001IAA, i360__Primary_Email__c: ann@example.com, CreatedDate: 2025-01-05T09:00:00Z}
  - {object: Badge__c, Name: on, Zip__c: 02134, On__c: true, Count__c: -1.5, Prospect__c: a01P00000000001IAA}
"""


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        path = tmp_path / "rows.yaml"
        path.write_text(text)
        return fixtures.read(path)

    return write_and_read


def test_yaml_becomes_objects_and_rows(read):
    org = furnished.org(SHAPES, read(ROWS))
    [badge] = org.rows("Badge__c")
    assert (badge["Name"], badge["Zip__c"], badge["On__c"], badge["Count__c"]) == ("on", "02134", True, -1.5)
    assert org.rows("i360__Prospect__c")[0]["CreatedDate"] == "2025-01-05T09:00:00.000+0000"
    org.close()


def test_a_plain_list_is_rows(read):
    assert read("- {object: Account, Name: NO}").rows == ({"object": "Account", "Name": "NO"},)
    assert read("").rows == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "while parsing"), ("rows: [{Name: x}]", "key object"), ("things: 1", "objects and rows"), ("just text", "objects and rows"), ("users: {a: b}", "users is a list"),
     ("rows: [{object: Account, Name: a, Name: b}]", "stands twice"),
     ("- !!python/object/apply:os.system [echo]", "could not determine a constructor")],
)  # fmt: skip
def test_a_mistake_in_the_yaml_is_named(read, text, says):
    with pytest.raises(ValueError, match=says):
        read(text)


WHOLE = """
objects:
  Account:
    fields:
      Land__c: {type: picklist, values: [US, {value: CA, label: Canada}]}
      City__c: {type: picklist, controllerName: Land__c, values: [{value: Detroit, validFor: [US]}]}
      Code__c: {type: string, unique: true}
    recordTypes:
      Customer: {default: true, picklists: {Land__c: [US]}}
rows:
  - {object: Account, Id: 001000000000001AAA, Name: Acme, Land__c: CA}
users:
  - {username: ann@example.com, password: secret, objects: {Lead: none}, fields: {Account.Phone: none}}
clients:
  my_app: {secret: s3cret, callbacks: [http://localhost:8080/callback], pkce: true, rotate: true, run_as: ann@example.com}
  public_app:
rules:
  Account:
    on: [required, unique]
    validations: [{condition: "AnnualRevenue < `0`", message: No debts, field: AnnualRevenue}]
    duplicates: [{fields: [Name], allow: true}]
    locks: {001000000000001AAA: 1}
faults: [{object: Contact, verb: read, status: 503, times: 2}]
org: {page_size: 3, api_limit: 20, consent: allow}
"""


def test_yaml_furnishes_a_whole_org(read):
    org = furnished.org(SHAPES, read(WHOLE))
    assert [row["DeveloperName"] for row in org.rows("RecordType")] == ["Customer"]
    assert org.rows("Account")[0]["Land__c"] == "CA"
    assert org.user("Ann@example.com").password == "secret"
    assert list(org.sessions.clients) == ["sandbox", "my_app", "public_app"]
    assert org.sessions.clients["public_app"].secret is None
    assert org.records.rules["Account"].duplicates[0].fields[0].name == "Name"
    assert org.records.locks == {"001000000000001AAA": 1}
    assert (org.faults.waiting[0].status, org.page_size, org.authorizations.consent) == (503, 3, "allow")
    org.close()


def test_the_yaml_of_the_docs_and_of_the_help_furnishes_an_org(read):
    import textwrap

    docs = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    shown = CliRunner().invoke(sandbox, ["--help"]).output
    text = re.search(r"(?:keys that describe has|as describe has them)\):\n(.*?)\n\n", shown, re.DOTALL)[1]
    helped = textwrap.dedent(text).replace(", certificate_file: job.crt", "")
    for yaml in (re.search(r"```yaml\n(.*?)```", docs, re.DOTALL)[1], helped):
        org = furnished.org(SHAPES, read(yaml))
        assert org.user("ann@example.com").objects["lead"] == "none"
        assert "Badge__c" in {shape.name for shape in org.schema.objects.values()}
        org.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("objects: {X__c: {fields: {}}}", "keyPrefix"),
        ("objects: {X__c: 5}", "object X__c: a mapping"),
        ("objects: {Account: {fields: {A__c: {length: 5}}}}", "field A__c: a type is needed"),
        ("objects: {Account: {fields: {A__c: {type: picklist, values: 5}}}}", "values is a list"),
        ("objects: {Account: {fields: {A__c: {type: picklist, controllerName: No}}}}", "No is no picklist"),
        ("objects: {Account: {fields: {A__c: {type: picklist, controllerName: Industry, values: [{value: x, validFor: [y]}]}}}}",
         "no value y"),
        ("objects: {Account: {recordTypes: {A: {picklists: {Industry: [No]}}}}}", "Industry is a picklist of"),
        ("objects: {Account: {recordTypes: {A: {default: true}, B: {default: true}}}}", "only one record type"),
        ("users: [{name: ann}]", "a user has no name"),
        ("users: [{password: x}]", "username is a text"),
        ("users: [{username: a@b.c, time_zone: ../x}]", "is not a time zone"),
        ("users: [{username: a@b.c, id: 001000000000001AAA}]", "is not an id of a user"),
        ("users: [{username: a@b.c, objects: {Nope: none}}]", "no object 'nope'"),
        ("users: [{username: a@b.c, fields: {Account.Name: none}}]", "Account.Name cannot be hidden"),
        ("users: [{username: a@b.c, fields: {Account: none}}]", "not OBJECT.FIELD"),
        ("users: [{username: a@b.c, objects: {Account: some}}]", "'some' is no access"),
        ("clients: {a: {sceret: x}}", "client a has no sceret"),
        ("clients: {a: {callbacks: ['javascript:alert(1)']}}", "not a callback url"),
        ("clients: {a: {certificate: rubbish}}", "neither a certificate"),
        ("clients: {a: {run_as: nobody@example.com}}", "no user 'nobody@example.com'"),
        ("clients: {a: {flows: [saml]}}", "no flow saml"),
        ("rules: {Account: {on: [magic]}}", "no rule magic"),
        ("rules: {Account: {validations: [{condition: '[', message: x}]}}", "not a JMESPath"),
        ("rules: {Account: {duplicates: [{fields: [No]}]}}", "Account has no field 'No'"),
        ("rules: {Nope: {on: []}}", "no object 'Nope'"),
        ("faults: [{sattus: 503}]", "a fault: a mapping of"),
        ("org: {pages: 1}", "org: a mapping of"),
        ("org: {page_size: none}", "page_size is a number"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_furnished_is_named(read, text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        furnished.org(SHAPES, read(text))


def test_rows_are_changed_from_another_terminal(site):
    [made] = site.org.load([{"object": "Account", "Name": "x", "AnnualRevenue": 1}])
    result = CliRunner().invoke(
        sandbox, ["edit", "Account", made, "Name=a=b", "AnnualRevenue=2.5", "Phone=", "--url", site.url]
    )
    assert (result.exit_code, result.output) == (0, f"changed Account {made}\n")
    [row] = site.org.rows("Account")
    assert (row["Name"], row["AnnualRevenue"], row["Phone"]) == ("a=b", 2.5, None)
    assert CliRunner().invoke(sandbox, ["delete", "Account", made, "--url", site.url]).exit_code == 0
    assert site.org.rows("Account") == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["edit", "Nope", "1", "a=b"], 1, "the org has no object 'Nope'"),
        (["edit", "Account", "1", "a"], 2, "a is not FIELD=VALUE"),
        (["delete", "Account", "001000000000009AAA"], 1, "has no row"),
        (["delete", "Account", "1", "--url", "file:///etc"], 2, "not the url"),
        (["delete", "Account", "1", "--url", "http://127.0.0.1:1"], 1, "no sandbox org at"),
        (["--load", "{missing}"], 2, "does not exist"),
        (["--port", "80000"], 2, "not in the range"),
        (["--load", "{latin}", "--port", "0"], 1, "latin.yaml: this is not UTF-8 text"),
        (["--file", "{latin}", "--port", "0"], 1, "latin.yaml: file is not a database"),
        (["--file", "{latin}/org.db", "--port", "0"], 1, "latin.yaml/org.db: Not a directory"),
        (["--port", "{taken}"], 1, "is taken; name another"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(site, tmp_path, arguments, code, says):
    (latin := tmp_path / "latin.yaml").write_bytes(b"- {object: Account, Name: Caf\xe9}\n" * 9)
    url = [] if "--url" in arguments or arguments[0].startswith("--") else ["--url", site.url]
    names = {"missing": tmp_path / "nothing", "latin": latin, "taken": site.url.rpartition(":")[2]}
    result = CliRunner().invoke(sandbox, [*(word.format(**names) for word in arguments), *url])
    assert result.exit_code == code
    assert says in result.output


def test_rows_are_merged_and_brought_back_from_another_terminal(site):
    master, loser = site.org.load([{"object": "Account", "Name": name} for name in ("Acme", "ACME")])
    [child] = site.org.load([{"object": "Contact", "LastName": "x", "AccountId": loser}])

    def run(*arguments):
        result = CliRunner().invoke(sandbox, [*arguments, "--url", site.url])
        return result.exit_code, result.output.strip()

    assert run("merge", "Account", master, loser) == (0, f"merged {loser} into Account {master}")
    gone = site.query(f"SELECT MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll").json()["records"][0]
    assert gone["MasterRecordId"] == master
    assert site.org.rows("Contact")[0]["AccountId"] == master
    assert run("delete", "Contact", child)[0] == 0
    assert run("undelete", "Contact", child) == (0, f"undeleted Contact {child}")
    assert [row["Id"] for row in site.org.rows("Contact")] == [child]
    assert run("undelete", "Account", master)[0] == 1
    assert run("merge", "Account", master, "rubbish")[0] == 1
    assert run("merge", "Account", master)[0] == 2


def test_help_explains_the_yaml():
    text = CliRunner().invoke(sandbox, ["--help"]).output
    assert "- object: i360__Prospect__c\n" in text
    assert "keyPrefix: a0Z" in text


def test_it_serves_until_it_is_stopped(tmp_path):
    import httpx

    path = tmp_path / "rows.yaml"
    path.write_text(ROWS)
    command = [sys.executable, "-u", "-c", "from connector.sandbox.cli import sandbox; sandbox()", "--port", "0", "--load", str(path),
               "--file", str(tmp_path / "org.db")]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "error"}
    ) as process:
        url = process.stdout.readline().split()[-1]
        printed = [process.stdout.readline() for _ in range(4)]
        assert "client id     sandbox\n" in printed
        assert httpx.get(f"{url}/sandbox/rows/Badge__c").json()["rows"][0]["Name"] == "on"
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stdout.read()
        assert process.wait(timeout=30) == 0


def test_the_recorded_shapes_are_found():
    assert fixtures.shapes(fixtures.recorded_shapes()) == SHAPES
    assert json.dumps(SHAPES)

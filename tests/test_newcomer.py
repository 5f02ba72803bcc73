"""Somebody installs the wheel and types `connector demo` in an empty folder; somebody else clones the repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pip(*words: str, cwd: Path = ROOT) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def wheel(of: Path, to: Path) -> Path:
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(to), str(of))
    (made,) = to.glob("connector-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Mapping[str, str]:
    """The environment of somebody who has only the wheel; its dependencies are those of the test environment."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel(ROOT, folder.parent)))
    left_out = ("CONNECTOR_STATE", "I360_CLIENT_ID", "I360_CLIENT_SECRET")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "error", "COLUMNS": "200"}


def typed(command: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    assert words[0] == "connector"
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def told(installed, tmp_path_factory) -> tuple[Path, str]:
    """An empty folder after `connector demo`, and what it said."""
    empty = tmp_path_factory.mktemp("empty")
    done = typed("connector demo --port 0", empty, installed)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return empty, done.stdout


def test_it_is_the_wheel_that_runs(installed, tmp_path):
    where = "import connector; from connector import spec; print(connector.__file__, spec.shipped())"
    said = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=installed, capture_output=True, text=True, check=True
    ).stdout
    assert [Path(part).is_relative_to(installed["PYTHONPATH"]) for part in said.split()] == [True, True]


def chapters(text: str) -> list[str]:
    return re.split(r"^\d\. ", text, flags=re.MULTILINE)


def counted(chapter: str) -> dict[str, list[str]]:
    """Object -> what each of its lines in a chapter says, between the status and the calls."""
    found: dict[str, list[str]] = {}
    for name, said in re.findall(r"^(\w+) +(?:pull|push) +ok +(.+?) +\d+ API calls?$", chapter, re.MULTILINE):
        found.setdefault(name, []).append(said)
    return found


def test_the_demo_tells_its_story(told):
    _, first, second, edited, back, switched = chapters(told[1])
    combinations = dict(re.findall(r"^  (\S.*?)  +(\d+)$", first, re.MULTILINE))
    assert set(combinations) == {
        "Appointment",
        "Appointment + Prospect",
        "Project",
        "Project + Prospect",
        "Project + Production Activity (list)",
        "Project + Production Activity (list) + Prospect",
        "Prospect",
    }
    assert counted(first)["opportunity"] == [f"{sum(map(int, combinations.values()))} created"]
    assert {line for lines in counted(second).values() for line in lines} == {"nothing changed"}
    assert counted(edited)["opportunity"] == ["1 updated"]
    assert re.search(r'status\W+"?[^"\n]*"? -> "Sold"', edited)
    assert counted(back)["contact_note"] == counted(back)["task"] == ["1 created"]
    off, on = switched.split("{direction: pull}")
    assert "{direction: disabled}" in off
    assert "opportunity" not in counted(off)
    assert counted(on)["opportunity"] == ["1 updated"]
    assert '"Sold" -> "Demoed, Not Sold"' in on


@contextmanager
def restarted(
    folder: Path, text: str, environment: Mapping[str, str]
) -> Iterator[tuple[Path, Mapping[str, str], list[str]]]:
    """A demo's folder with the org started again as its last lines say; what they set; and what else they tell to type."""
    commands = re.findall(r"^  (connector|export) (.+?)(?:   .*)?$", chapters(text)[-1], re.MULTILINE)
    assert commands[0][1].startswith("sandbox --file org.db")
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    for word, rest in commands:
        if word == "export":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
    org = subprocess.Popen(
        [sys.executable, "-m", "connector", *commands[0][1].split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert org.stdout is not None
    try:
        for line in org.stdout:
            if line.startswith("Ctrl-C"):
                break
        yield folder, environment, [f"{word} {rest}" for word, rest in commands[1:] if word == "connector"]
    finally:
        org.terminate()
        org.wait(10)
        org.stdout.close()


@pytest.fixture(scope="module")
def again(installed, told) -> Iterator[tuple[Path, Mapping[str, str], list[str]]]:
    empty, text = told
    with restarted(empty / "demo", text, installed) as there:
        yield there


def test_an_earlier_demo_gives_way_and_what_is_none_stays(told, installed):
    empty, _ = told
    (empty / "mine").mkdir()
    (empty / "mine" / "hatch.db").touch()
    refused = typed("connector demo mine --port 0", empty, installed)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "mine is there and is not a demo" in refused.stderr
    assert [file.name for file in (empty / "mine").iterdir()] == ["hatch.db"]
    for earlier in ("", "An earlier demo is in other/; it is removed, and everything starts anew.\n\n"):
        done = typed("connector demo other --port 0", empty, installed)
        assert done.stdout.startswith(f"{earlier}Sandbox org on")


def test_what_it_says_to_type_next_works(again):
    folder, environment, commands = again
    assert [command.split()[1] for command in commands] == ["preview", "status", "log", "lint"]
    for command in commands:
        done = typed(command, folder, environment)
        assert (command, done.returncode, done.stderr) == (command, 0, "")
        assert done.stdout.strip()


def test_lint_of_what_it_made_is_clean(again):
    folder, environment, _ = again
    done = typed("connector lint connections/demo.yaml", folder, environment)
    assert (done.returncode, done.stdout) == (0, "1 file, 0 problems\n")


def test_a_run_accounts_for_every_record_and_the_one_after_it_writes_nothing(again):
    folder, environment, _ = again
    row = typed("connector log demo --json --limit 500", folder, environment)
    appointment = next(one["record"] for one in json.loads(row.stdout)["outcomes"] if one["read"] == "appointment")
    org = re.search(r"login: (\S+)", (folder / "connections/demo.yaml").read_text("utf-8"))
    time.sleep(1)  # stamps have whole seconds
    edit = f"connector sandbox edit i360__Appointment__c {appointment} i360__Result__c=Follow-up --url {org and org[1]}"
    assert typed(edit, folder, environment).returncode == 0
    for written in (1, 0):
        done = typed("connector run demo --json", folder, environment)
        assert done.returncode == 0, done.stderr
        counts = [run["counts"] for run in json.loads(done.stdout)]
        for count in counts:
            assert count.pop("read") == sum(count.values())
        assert sum(count["created"] + count["updated"] for count in counts) == written


# ---- the other stories ------------------------------------------------------------------------------------


def works(commands: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    for command in [*commands, "connector lint"]:
        done = typed(command, folder, environment)
        assert (command, done.returncode, done.stderr) == (command, 0, "")
        assert done.stdout.strip()


def test_the_story_of_one_click_contractor(installed, tmp_path):
    done = typed("connector demo occ --port 0", tmp_path, installed)
    assert (done.returncode, done.stderr) == (0, "")
    _, synced, linked, quiet, moved, pushed, refused, corrected = chapters(done.stdout)
    assert {name: lines[0] for name, lines in counted(synced).items()} == {
        "result": "4 created",
        "opportunity_result": "5 created",
        "job": "27 created",
    }
    assert re.search(r"^user +pull +partial +2 updated, 1 blocked", synced, re.MULTILINE)
    assert "not_linked" in synced
    assert re.search(r"^  Canceled +No Show; Canceled$", synced, re.MULTILINE)
    assert counted(linked)["user"] == ["1 updated"]
    assert counted(linked)["job"] == ["13 created, 27 unchanged"]
    assert {line for lines in counted(quiet).values() for line in lines} == {"nothing changed"}
    assert re.search(r'appointment.start_time  "[^"]+" -> "2027-01-12T15:00:00Z"', moved)
    assert "Status=Ran  Status_Detail=Sold" in pushed
    assert "Result=Sold  Result_Detail=Financed" in pushed
    assert "! st2  stage  invalid_dependent_value" in refused
    assert counted(corrected)["stage"] == ["1 updated"]
    assert counted(corrected)["document"] == ["1 created"]
    assert 'Status_Detail__c  null -> "No Show"' in corrected
    assert "contract.pdf, 63 bytes" in corrected
    with restarted(tmp_path / "demo-occ", done.stdout, installed) as (folder, environment, commands):
        assert [command.split()[1] for command in commands] == ["preview", "link", "log", "status"]
        works(commands, folder, environment)


def test_the_story_of_intouch(installed, tmp_path):
    done = typed("connector demo intouch --port 0", tmp_path, installed)
    assert (done.returncode, done.stderr) == (0, "")
    _, first, second, out, back, both = chapters(done.stdout)
    assert counted(first)["prospect"] == ["5 created"]
    assert re.findall(r"^  (\w+) [^\n]* staff +(\S+) +lead source (.+)$", first, re.MULTILINE) == [
        ("Imani", "71", "WEB SITE"),
        ("Lars", "71", "Radio"),
        ("Mina", "-", "Radio"),
        ("Noor", "-", "-"),
        ("Otis", "-", "WEB SITE"),
    ]
    assert "ambiguous_lookup" in first
    assert "'Radio', so it was created" in first
    assert counted(second)["prospect"] == ["nothing changed"]
    assert re.search(r"^prospect +push +partial +1 failed", out, re.MULTILINE)
    assert "source_unavailable" in out
    assert counted(back)["prospect"] == ["1 created"]
    assert counted(both)["prospect"] == ["1 created, 1 updated, 5 unchanged", "2 unchanged"]
    assert 'phone  "(555) 0102" -> "(555) 0199"' in both
    commands = re.findall(r"^  (connector .+?)(?:   .*)?$", both, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["status", "log", "link", "lint"]
    works(commands, tmp_path / "demo-intouch", installed)


def test_a_story_that_there_is_not_is_said(installed, tmp_path):
    done = typed("connector demo ooc here", tmp_path, installed)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no story 'ooc'; there are hatch, occ, intouch" in done.stderr
    assert not list(tmp_path.iterdir())


# ---- a clone ---------------------------------------------------------------------------------------------


def test_shapes_are_not_recorded_in_the_package(again):
    folder, environment, _ = again
    done = typed("connector discover demo Task", folder, environment)
    assert done.returncode == 2
    copy, line = re.findall(r"^  (.*)$", done.stderr, re.MULTILINE)
    subprocess.run(copy, shell=True, cwd=folder, check=True)
    file = folder / "connections" / "demo.yaml"
    file.write_text(file.read_text("utf-8").replace("mapping: i360_classic", line), "utf-8")
    assert typed("connector discover demo Task", folder, environment).stdout == "mappings/shapes/Task.json\n"


def git(*words: str, cwd: Path = ROOT) -> list[str]:
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"not a clone: {done.stderr.strip()}")
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "connector"
    git("clone", "--quiet", "--no-hardlinks", "--depth", "1", ROOT.as_uri(), str(folder))
    return folder


def test_a_clone_has_all_that_make_and_the_wheel_need(clone, tmp_path):
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        assert (clone / name).stat().st_size > 0
    packed = set(zipfile.ZipFile(wheel(clone, tmp_path)).namelist())
    for file in git("ls-files", "connector", "mappings", cwd=clone):
        assert ("connector/" * file.startswith("mappings/")) + file in packed
    assert {"connector/schema.json", "connector/mappings/i360_classic.yaml"} <= packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_nothing_that_the_wheel_packs_is_left_out_of_a_clone(installed):
    """A file that .gitignore hides is in the wheel of whoever made it, and in nobody else's."""
    known = set(git("ls-files", "--cached", "--others", "--exclude-standard"))
    site = Path(installed["PYTHONPATH"])
    packed = [str(file.relative_to(site)) for file in (site / "connector").rglob("*") if file.is_file()]
    own = {name.replace("connector/mappings/", "mappings/", 1) for name in packed if "__pycache__" not in name}
    assert own - known == set()


def test_no_generated_file_is_tracked():
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
    made = re.compile(r"\.(pyc|db|db-wal|whl|egg-info|log|bak|orig)$|(^|/)(__pycache__|\.venv|dist|build)/")
    assert [name for name in git("ls-files") if made.search(name)] == []


def test_make_has_nothing_to_do_but_what_it_says(clone):
    """The two commands of the README are targets, and begin with what a bare machine has."""
    for target in ("demo", "test"):
        command = ["make", "--no-print-directory", "--dry-run", target]  # it may run below a make itself
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=180, check=True)
        assert " -m venv " in done.stdout.splitlines()[0]

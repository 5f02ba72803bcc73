"""Runs the tours in tests/sandbox/jsforce with Node. jsforce is installed by npm when it is first needed.

Without node or npm, or without a registry, a tour is skipped, and says why; where CI=true it must not be.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "jsforce"


@cache
def missing() -> str | None:
    """What keeps a tour from being run."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "the tours of jsforce need node and npm"
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    if all(_installed(name) == version for name, version in wanted.items()):
        return None
    done = subprocess.run(
        [npm, "install", "--silent"], cwd=FOLDER, capture_output=True, text=True, timeout=240, check=False
    )
    return None if done.returncode == 0 else f"npm could not install jsforce: {done.stderr.strip()[-500:]}"


def _installed(name: str) -> str | None:
    package = FOLDER / "node_modules" / name / "package.json"
    return json.loads(package.read_text())["version"] if package.is_file() else None


def accepted(texts: list[str]) -> list[list[bool]]:
    """For each SOQL text whether two parsers of others accept it."""
    _needed()
    done = subprocess.run(
        ["node", "soql.cjs"],
        cwd=FOLDER,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _needed() -> None:
    reason = missing()
    if reason is not None:
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)


def tour(name: str, **given: Any) -> dict[str, Any]:
    """The steps of a tour with what each gave."""
    _needed()
    done = subprocess.run(
        ["node", f"{name}.cjs"],
        cwd=FOLDER,
        env={**os.environ, "TOUR": json.dumps(given)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

"""Arrows point down only: what each part may import, read from the source of every module, deferred imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "connector"

LEVELS = (
    {"errors", "model", "canon", "source", "spec"},
    {"values", "shape", "state", "vault", "endpoints"},
    {
        *("plan", "schedule", "lint", "pages", "comparing", "agreeing", "matching"),
        *("answering", "writing", "below", "world", "engine"),
    },
    {"project", "examples", "report", "status", "reference", "demo", "auth", "linking", "upkeep", "cli"},
    {"__init__", "__main__"},
)
"""From the bottom up; a package counts as its name. `sandbox` stands apart."""

BESIDE = {
    "model": {"errors"},
    "source": {"errors"},
    "endpoints": {"shape", "values", "vault"},
    "lint": {"plan"},
    "matching": {"pages", "comparing", "agreeing"},
    "writing": {"comparing", "matching"},
    "answering": {"pages", "matching"},
    "below": {"pages", "matching", "answering", "writing"},
    "world": {"answering"},
    "engine": {"schedule", "pages", "matching", "answering", "writing", "below", "world"},
    "examples": {"project"},
    "status": {"project"},
    "linking": {"project", "report"},
    "demo": {"project", "report", "examples", "linking"},
    "auth": {"project", "report"},
    "upkeep": {"project"},
    "cli": {"project", "examples", "report", "status", "reference", "demo", "auth", "linking", "upkeep"},
}
"""What a part may import of its own level."""

KEPT = {
    "httpx": {"endpoints.wire"},
    "sqlalchemy": {"state", "endpoints.sql", "examples.http"},
    "starlette": {"sandbox"},
    "uvicorn": {"sandbox"},
    "click": {"cli", "auth", "upkeep", "sandbox", "linking"},
    "cryptography": {"vault", "endpoints.salesforce.signin", "sandbox.oauth"},
    "jinja2": {"values"},
    "jmespath": {"values", "reference", "sandbox"},
    "jsonschema": {"lint"},
    "yaml": {"source", "sandbox"},
}
"""Who alone may import a library: a module or everything below a package."""


def named(path: Path) -> str:
    """`endpoints.sql` for connector/endpoints/sql/__init__.py, `__init__` for the package itself."""
    steps = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(steps[:-1] if steps[-1] == "__init__" and steps[1:] else steps)


MODULES = {named(path): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def nodes(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """All of a tree; without `types`, not what stands under `if TYPE_CHECKING:`."""
    yield node
    skip = not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in node.orelse if skip else ast.iter_child_nodes(node):  # type: ignore[attr-defined]
        yield from nodes(child, types=types)


def imports(name: str, *, types: bool = True) -> Iterator[str]:
    """Full names of everything that a module imports, wherever in it the statement stands."""
    for node in nodes(MODULES[name], types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside.removeprefix("connector.") in MODULES else str(node.module)


def ours(name: str, *, types: bool = True) -> set[str]:
    """The modules of ours that a module imports; the package itself, which is only a version, is left out."""
    found = {one.removeprefix("connector.") for one in imports(name, types=types) if one.startswith("connector.")}
    return {one for one in found if one != name}


def part(name: str) -> str:
    return name.partition(".")[0]


def below(name: str, homes: set[str]) -> bool:
    return any(name == home or name.startswith(f"{home}.") for home in homes)


def test_every_module_has_its_level() -> None:
    assert {part(name) for name in MODULES} == set().union(*LEVELS) | {"sandbox"}
    assert sum(map(len, LEVELS)) == len(set().union(*LEVELS))


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) != "sandbox"])
def test_arrows_point_down(name: str) -> None:
    mine = part(name)
    level = next(n for n, parts in enumerate(LEVELS) if mine in parts)
    allowed = {mine, *BESIDE.get(mine, ())}.union(*LEVELS[:level])
    if level == len(LEVELS) - 1:
        allowed |= LEVELS[-2]
    assert {part(one) for one in ours(name)} - allowed - {"sandbox"} == set()


def test_what_is_allowed_beside_is_used() -> None:
    used = {(part(name), part(one)) for name in MODULES for one in ours(name)}
    assert {(name, one) for name, beside in BESIDE.items() for one in beside} <= used


@pytest.mark.parametrize("name", ["engine", "pages", "matching", "writing"])
def test_the_engine_knows_no_endpoint(name: str) -> None:
    assert not {one for one in ours(name) if part(one) in ("endpoints", "project")}


def test_no_endpoint_knows_the_engine_the_store_or_a_mapping() -> None:
    for name in (name for name in MODULES if part(name) == "endpoints"):
        assert {part(one) for one in ours(name)} <= {
            "endpoints",
            "errors",
            "model",
            "canon",
            "shape",
            "values",
            "vault",
        }, name


def test_the_sandbox_org_shares_nothing_with_the_code_that_it_is_there_to_test() -> None:
    for name in (name for name in MODULES if part(name) == "sandbox"):
        assert {part(one) for one in ours(name)} <= {"sandbox"}, name
    outside = {
        name for name in MODULES if part(name) != "sandbox" and any(part(one) == "sandbox" for one in ours(name))
    }
    assert outside == {"cli", "demo.hatch", "demo.occ", "demo.stage", "examples.http"}


@pytest.mark.parametrize("library", KEPT)
def test_a_library_has_its_place(library: str) -> None:
    users = {name for name in MODULES for one in imports(name) if part(one) == library}
    assert users
    assert {name for name in users if not below(name, KEPT[library])} == set()


def test_there_is_no_cycle() -> None:
    """Between modules, deferred imports included, those for types alone left out: they are never run."""
    left = {name: ours(name, types=False) & set(MODULES) for name in MODULES}
    while ready := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    assert not left, {name: sorted(needs & left.keys()) for name, needs in left.items()}


def test_the_reader_of_imports_sees_deferred_ones() -> None:
    assert "sandbox.cli" in ours("cli")
    assert "endpoints.sql" in ours("endpoints")
    assert "canon" in ours("plan")

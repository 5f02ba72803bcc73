"""Two-way syncs between a platform and a customer's CRM, as data.

    findings = connector.lint.check(Path("connections/acme.yaml"))
    project = connector.load(Path("connections/acme.yaml"))     # linted with its mapping
    for flow in connector.plan.flows(project.mapping, project.connection, project.shapes):
        connector.run(flow, world)                              # one-way; read, map, match, write, commit

Imported when they are asked for, because `lint` must not wait for SQLAlchemy and httpx.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "lint", "load", "plan", "run"]

_VERBS = {"load": "connector.project:load", "run": "connector.engine:run"}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415

    if name in ("lint", "plan"):
        return import_module(f"connector.{name}")
    if name in _VERBS:
        module, _, verb = _VERBS[name].partition(":")
        return getattr(import_module(module), verb)
    raise AttributeError(f"connector has no {name!r}")

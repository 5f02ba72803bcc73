"""`connector link`: which record of one side is which of the other, as people have said or the engine has found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from connector import canon
from connector.errors import SpecError

if TYPE_CHECKING:
    from connector.project import Project
    from connector.state import Link, Store


@click.command()
@click.argument("connection")
@click.argument("name", metavar="[OBJECT]", required=False)
@click.argument("home", required=False)
@click.argument("remote", required=False)
@click.option("--off", "switch", flag_value="off", help="Switch the link off: it stays, and is not followed.")
@click.option("--on", "switch", flag_value="on", help="Switch it on again.")
@click.option("--remove", "switch", flag_value="remove", help="Forget it: the next run decides anew.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def link(
    connection: str, name: str | None, home: str | None, remote: str | None, switch: str | None, json_: bool
) -> None:
    """Show links, make one by hand, or switch one off.

    OBJECT is an object of the mapping, or a lookup. With HOME and REMOTE, the ids of one record at each side, they are
    linked: a link made by hand wins over keys and stays. --off, --on and --remove take HOME, or HOME and REMOTE.
    """
    from connector import report  # noqa: PLC0415
    from connector.project import SystemClock, opened  # noqa: PLC0415

    project, store = opened(connection)
    names = [
        *project.mapping.objects,
        *(each for each in project.mapping.lookups if each not in project.mapping.objects),
    ]
    if name is not None and name not in names:
        raise SpecError(f"{project.mapping.mapping} has no object or lookup {name!r}; it has {', '.join(names)}")
    if switch and home is None:
        raise SpecError(f"--{switch} needs OBJECT and HOME, the id of the record at {project.mapping.systems.home}")
    if home is not None and name is not None:
        home, remote = _id(project, "home", home), None if remote is None else _id(project, "remote", remote)
        if switch:
            _switch(store, project, name, home, remote, switch)
        elif remote is None:
            raise SpecError("a link needs both ids, HOME and REMOTE; or say --off, --on or --remove")
        else:
            relink(store, project, name, home, remote, SystemClock().now())
    rows = [(each, one) for each in ([name] if name else names) for one in _links(store, project, each)]
    store.close()
    shown = [
        {"object": each, "home": one.home, "remote": one.remote, "made": one.made, "active": one.active}
        for each, one in rows
    ]
    lines = [
        (row["object"], row["home"], row["remote"], row["made"], "on" if row["active"] else "off") for row in shown
    ]
    table = report.table(lines, ("OBJECT", "HOME", "REMOTE", "MADE", "ACTIVE")) if lines else "There are no links yet."
    click.echo(report.as_json(shown) if json_ else table)


def _id(project: Project, side: str, given: str) -> str:
    """As the system gives it: Salesforce's own pages show 15 characters of 18."""
    system = getattr(project.mapping.systems, side)
    known = given.strip()
    if not (known and known.isprintable()):
        raise SpecError(f"the id of a record at {system} is wanted, not {given!r}")
    salesforce = project.connection.systems[system].get("adapter") == "salesforce"
    return str(canon.id18(known)) if salesforce else known


def relink(store: Store, project: Project, name: str, home: str, remote: str, now: Any) -> None:
    """A link made by hand. It takes the place of what was linked to the same record of the source before."""
    from connector.state import Link  # noqa: PLC0415

    stream = store.stream(project.name, name)
    rules = project.mapping.objects.get(name)
    sides = ["home"] if rules is None or rules.direction == "push" else ["remote"]
    sides = ["home", "remote"] if rules and rules.pair else sides
    ids = {"home": home, "remote": remote}
    store.unlink(stream.id, [one for side in sides for one in store.links(stream.id, side, [ids[side]])])
    key = json.dumps(["manual", *(ids[side] for side in sides)])
    store.put_links(stream.id, [Link(key, home, remote, made="manual")], now)


def _switch(store: Store, project: Project, name: str, home: str, remote: str | None, switch: str) -> None:
    from connector.project import SystemClock  # noqa: PLC0415

    stream = store.stream(project.name, name)
    found = [one for one in store.links(stream.id, "home", [home]) if remote in (None, one.remote)]
    if not found:
        raise SpecError(
            f"{name} {home} is not linked{f' to {remote}' if remote else ''}; connector link {project.name} {name}"
        )
    if switch == "remove":
        store.unlink(stream.id, found)
    else:
        store.put_links(stream.id, [replace(one, active=switch == "on") for one in found], SystemClock().now())


def _links(store: Store, project: Project, name: str) -> list[Link]:
    return store.all_links(store.stream(project.name, name).id)

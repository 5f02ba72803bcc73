"""`connector state`: the store as a file to be kept safe and small."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.errors import StateError

if TYPE_CHECKING:
    from datetime import timedelta

    from connector.state import Store


@click.group()
def state() -> None:
    """Back up what is remembered, forget its old part.

    The state of this folder, or what CONNECTOR_STATE names. Runs may go on meanwhile.
    """


@state.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Write the state to FILE, as it is at this moment.

    FILE must not be there yet. To restore it, copy it to where the state was.
    """
    with _opened() as store:
        store.backup(file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")


def _older(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    from connector.spec import duration  # noqa: PLC0415

    try:
        return duration(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is not a duration; write it like 90d") from None


@state.command()
@click.option("--older", required=True, callback=_older, metavar="DURATION", help="Such as 90d: what is older goes.")
def prune(older: timedelta) -> None:
    """Forget old outcomes, runs and lines of the log.

    The latest outcome of each record stays, and so does whatever waits for another try. A run does this once a day
    by itself, for what is older than 90 days.
    """
    from connector.project import SystemClock  # noqa: PLC0415

    with _opened() as store:
        gone = store.prune(SystemClock().now() - older)
    click.echo(f"{gone} outcomes, runs and lines of the log are forgotten")


@contextmanager
def _opened() -> Iterator[Store]:
    from connector.state import Store  # noqa: PLC0415

    file = Path(".connector", "state.db")
    named = os.environ.get("CONNECTOR_STATE")
    if not named and not file.exists():
        raise StateError(f"there is no {file} here; change to the folder above connections/, or set CONNECTOR_STATE")
    with closing(Store(named or f"sqlite:///{file}")) as store:
        yield store

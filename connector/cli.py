"""The `connector` command. Each verb is a function call and one way of printing; results on stdout, talk on stderr.

Exit codes: 0 fine, 1 findings or failed records, 2 could not run, 3 our own bug (a report file says what happened).
"""

from __future__ import annotations

import atexit
import errno
import gc
import json
import logging
import os
import shlex
import sys
import tempfile
import textwrap
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from connector import __version__
from connector.auth import auth
from connector.errors import ConnectorError, SpecError
from connector.linking import link
from connector.upkeep import state

if TYPE_CHECKING:  # lint must not wait for SQLAlchemy and httpx
    from connector.model import Flow, Outcome, Shape
    from connector.project import Project, Runner
    from connector.state import Store
    from connector.world import Run

PORT = click.IntRange(0, 65535)
as_json = click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
named = click.argument("connection")
objects = click.argument("objects", nargs=-1)


class Verbs(click.Group):
    """Commands in the order of a day, and one edge where errors become sentences and exit codes."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] == "sandbox":
            self.add_command(_sandbox(), "sandbox")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
            if sys.stdout:  # None: it was closed before we began
                sys.stdout.flush()
        except click.exceptions.Abort:
            _stop(130, "stopped; what was committed stays, the next run goes on from there")
        except click.ClickException as error:
            error.show()
            _stop(2)
        except ConnectorError as error:
            _stop(2, str(error))
        except (BrokenPipeError, SystemExit):  # head has seen enough; click makes an exit of it
            _unheard()
            _stop(0)
        except OSError as error:
            _kept_out(error)
        except Exception:  # noqa: BLE001 - the edge: our own bug
            _bug()
        sys.exit(code if isinstance(code, int) else 0)


def _unheard() -> None:
    """Nothing more goes to stdout: what it did not take must not be tried again on the way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _kept_out(error: OSError) -> NoReturn:
    """A file that could not be read or written; the one without a name is stdout."""
    if not error.filename:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF):
            _bug()
        _unheard()
    said = f"{error.filename or 'the output'}: {error.strerror}"
    _stop(2, f"{said}; check the path, its rights and the disk's space")


def _stop(code: int, said: str = "") -> NoReturn:
    if said:
        click.echo(said, err=True)
    sys.exit(code)


def _bug() -> NoReturn:
    """A report of where it happened. What exceptions say stays out of it: they quote values of records, and secrets."""
    lines, error = list[str](), sys.exc_info()[1]
    while error:
        lines += [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n\n"]
        error = error.__cause__ or error.__context__
    with tempfile.NamedTemporaryFile(
        "w", prefix="connector-bug-", suffix=".txt", dir=_writable(), delete=False
    ) as file:
        file.write(f"connector {__version__}, Python {sys.version}\n{' '.join(sys.argv[1:2])}\n\n{''.join(lines)}")
    _stop(3, f"This is a bug of connector, not yours. What happened is in {file.name}; please report it.")


def _writable() -> str | None:
    return "." if os.access(".", os.W_OK) else None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="connector")
def main() -> None:
    """Two-way syncs between a platform and a customer's CRM, as data.

    A mapping (YAML) says what is synced; a connection says where, and may switch objects off or round.

    Exit codes: 0 fine, 1 findings or failed records, 2 could not run, 3 a bug of connector.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Rows of a page hold no cycles: to look for some after each 700 objects, and on the way out, takes a tenth of a run.
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


@main.command()
@click.argument("words", nargs=-1, metavar="[STORY] [FOLDER]")
@click.option("--port", default=21600, type=PORT, show_default=True, help="Of its server; another one if it is taken.")
def demo(words: tuple[str, ...], port: int) -> None:
    """Make FOLDER and run the main job in it.

    A sandbox org with invented records, a mapping, a database, and what happens, step by step.

    STORY: hatch (unless another is named), occ or intouch.
    """
    try:
        from connector.demo import STORIES, play  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{error.name} is missing: the demo needs the sandbox org, pip install 'connector[sandbox]'"
        ) from None

    story, *rest = words if words and words[0] in STORIES else ("hatch", *words)
    if len(rest) > 1:
        raise SpecError(f"there is no story {rest[0]!r}; there are {', '.join(STORIES)}")
    play(story, Path(rest[0]) if rest else None, port, click.echo)


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--combinations", is_flag=True, help="List what the triggers of each object can build.")
def lint(files: tuple[Path, ...], format_: str, combinations: bool) -> int:
    """Check mappings, connections and example files. Without FILES: those of this folder."""
    from connector import lint as linter  # noqa: PLC0415
    from connector import source  # noqa: PLC0415

    chosen = list(files) or _files(
        "mappings/*.yaml",
        "mappings/tests/*.yaml",
        "mappings/connections/*.yaml",
        "mappings/apis/*.yaml",
        "connections/*.yaml",
    )
    findings = [finding for file in chosen for finding in linter.check(file, among=chosen)]
    sources = [source.read(file) for file in chosen if file.is_file() and not _unreadable(findings, file)]
    if format_ == "json":
        click.echo(linter.render_json(findings))
    else:
        click.echo(linter.render_text(findings, sources), nl=False)
    for tree in (one.tree for one in sources if combinations):
        for name in tree.get("objects", {}) if isinstance(tree, dict) and "version" in tree else ():
            click.echo("\n".join((f"{name}:", *(f"  {said}" for said in linter.combinations(tree, name)))))
    return int(any(finding.level == "error" for finding in findings))


def _unreadable(findings: Sequence[Any], file: Path) -> bool:
    return any(finding.code == "unreadable_file" and finding.file == str(file) for finding in findings)


def _files(*patterns: str) -> list[Path]:
    """Files below this folder; none is an error, for nothing checked is not the same as nothing wrong."""
    found = [file for pattern in patterns for file in sorted(Path().glob(pattern))]
    if not found:
        raise SpecError(f"there is no file here that fits {' or '.join(patterns)}; name one")
    return found


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--http", is_flag=True, help="Again over HTTP: SQLite and the sandbox org, or what an api file describes."
)
@click.option("-k", "only", help="Only the examples whose id has this in it.")
@click.option("-v", "verbose", is_flag=True, help="Name the examples that pass, too.")
def test(files: tuple[Path, ...], http: bool, only: str | None, verbose: bool) -> int:
    """Run example files. Without FILES: those in mappings/tests/.

    An example says which rows are given, what happens, and what must come of it; the engine is the real one.
    """
    from connector import examples  # noqa: PLC0415

    failed = passed = 0
    progress = _Progress("test: reading the files")
    try:
        suites = [(file, examples.load(file)) for file in list(files) or _files("mappings/tests/*.yaml")]
        runs = [(*each, over) for each in suites for over in (False, True)[: 1 + http]]
        chosen = lambda name: only is None or only in name  # noqa: E731
        total = sum(len(examples.chosen(suite, http=over, only=chosen)) for _, suite, over in runs)
        for file, suite, over in runs:
            for result in examples.run(suite, http=over, only=chosen):
                passed, failed = passed + (not result.faults), failed + bool(result.faults)
                progress.said = f"test: {passed + failed} of {total}"
                if result.faults or verbose:
                    mark = "FAIL" if result.faults else "ok  "
                    progress.echo(f"{mark} {result.id}  {result.says}   {file}:{result.line} ({result.over})\n")
                    progress.echo("".join(textwrap.indent(f"{fault}\n", " " * 7) for fault in result.faults))
    finally:
        progress.done()
    click.echo(f"{passed} passed, {failed} failed")
    if not passed and not failed:
        raise SpecError("no example was run" + (f": none has {only!r} in its id" if only else ""))
    return int(bool(failed))


main.add_command(auth)


@main.command()
@named
@click.argument("objects", nargs=-1, required=True)
def discover(connection: str, objects: tuple[str, ...]) -> None:
    """Record how the remote system describes OBJECTS.

    In shapes/ beside the mapping, so that lint can check fields offline.
    """
    from connector.spec import installed, mapping_file  # noqa: PLC0415

    with _opened(connection, shapes={}) as (project, _, runner):  # old shapes do not stand in the way of new ones
        endpoint: Any = runner.endpoints[project.mapping.systems.remote]
        if not hasattr(endpoint, "recorded"):
            raise SpecError(f"{project.mapping.systems.remote} describes no objects")
        mapping = mapping_file(project.connection.mapping, project.file.parent)
        folder = mapping.parent / "shapes"
        if installed(mapping):
            own = project.root / "mappings"
            line = shlex.join(["cp", "-r", str(mapping), str(folder), f"{own}/"])
            said = f"{mapping.name} lies in the installed package, and shapes are recorded beside it; take a copy:\n"
            said += f"  {shlex.join(['mkdir', '-p', str(own)])} && {line}\n"
            said += (
                f"and write in {project.file}:\n  mapping: {os.path.relpath(own, project.file.parent)}/{mapping.name}"
            )
            raise SpecError(said)
        folder.mkdir(exist_ok=True)
        for name, text in endpoint.recorded(list(objects)).items():
            file = folder / f"{name}.json"
            file.write_text(text, encoding="utf-8")
            click.echo(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


@main.command()
@named
@objects
@as_json
def run(connection: str, objects: tuple[str, ...], json_: bool) -> int:
    """Run a connection once.

    What has changed since the last time, in the order of its schedule, or only OBJECTS.
    """
    from connector import report  # noqa: PLC0415

    seen: list[tuple[Flow, Outcome]] = []
    with _opened(connection, seen, ("updated", "failed", "blocked")) as (_, _, runner):
        done = runner.run(objects or None)
    click.echo(report.as_json(done) if json_ else report.runs(done, seen) or "nothing is enabled")
    return _code(done)


@main.command()
@named
@as_json
def sync(connection: str, json_: bool) -> int:
    """Run what the mapping declares for a sync, in its order.

    As run, but it looks back as far as the mapping says, and has objects that the schedule leaves out.
    """
    from connector import report  # noqa: PLC0415

    seen: list[tuple[Flow, Outcome]] = []
    with _opened(connection, seen, ("updated", "failed", "blocked")) as (_, _, runner):
        done = runner.sync()
    click.echo(report.as_json(done) if json_ else report.runs(done, seen) or "nothing is enabled")
    return _code(done)


@main.command()
@named
@click.argument("object_", metavar="OBJECT")
@as_json
def push(connection: str, object_: str, json_: bool) -> int:
    """Take one record of the home system from stdin, and write it now.

    JSON: one record, as the mapping reads it. The next run does not write it again.
    """
    from connector import report  # noqa: PLC0415

    record = _one_record(sys.stdin.buffer.read() if sys.stdin else b"")
    seen: list[tuple[Flow, Outcome]] = []
    with _opened(connection, seen) as (_, _, runner):
        done = runner.event(object_, record)
    said = [outcome for _, outcome in seen]
    lines = [line for outcome in said for line in report.record(outcome, whole=False)]
    click.echo(report.as_json({"runs": done, "records": said}) if json_ else "\n".join([report.runs(done), *lines]))
    return _code(done)


def _one_record(given: bytes) -> dict[str, Any]:
    if not given.strip():
        raise SpecError("stdin is empty; give one record: {...}")
    try:
        record = json.loads(given.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise SpecError(f"stdin: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise SpecError(
            f"stdin:{error.lineno}:{error.colno}: not JSON ({error.msg}); give one record: {{...}}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"stdin: no record ({error})") from None
    if not isinstance(record, dict):
        raise SpecError("stdin: one record is wanted, a JSON object: {...}")
    return record


def _no_number(said: str) -> NoReturn:
    raise ValueError(f"{said} is not JSON")


def _code(done: Sequence[Run]) -> int:
    states = {run.status for run in done}
    return 2 if "failed" in states else int("partial" in states)


main.add_command(link)


@main.command()
@named
@objects
@click.option("--all", "all_", is_flag=True, help="Every record, not only the first 20 of an object.")
@as_json
def preview(connection: str, objects: tuple[str, ...], all_: bool, json_: bool) -> int:
    """Show what run would do, and write nothing.

    Per record and field, old -> new.
    """
    from connector import report  # noqa: PLC0415

    seen: list[tuple[Flow, Outcome]] = []
    with _opened(connection, seen) as (_, _, runner):
        done = runner.preview(objects or None)
    if json_:
        records = [{"object": flow.object, "direction": flow.direction, "record": outcome} for flow, outcome in seen]
        click.echo(report.as_json({"runs": done, "records": records}))
    else:
        click.echo(report.preview(seen, done, None if all_ else 20) if done else "nothing is enabled")
    return _code(done)


@main.command()
@click.argument("connection", required=False)
@as_json
def status(connection: str | None, json_: bool) -> None:
    """Show each object's direction, latest and next run."""
    from connector import project, report, status  # noqa: PLC0415

    names = [connection] if connection else [str(file) for file in _files("connections/*.yaml")]
    rows = []
    for name in names:
        found, store = project.opened(name)
        rows += status.rows(found, store)
        store.close()
    heads = [name.replace("_", " ").upper() for name in rows[0]]
    click.echo(
        report.as_json(rows) if json_ else report.table([[at or "-" for at in row.values()] for row in rows], heads)
    )


@main.command()
@named
@click.option("--record", help="Only this record.")
@click.option("--failed", is_flag=True, help="Only what failed or is blocked.")
@click.option("--limit", default=50, type=click.IntRange(1), show_default=True, help="How many lines at most.")
@as_json
def log(connection: str, record: str | None, failed: bool, limit: int, json_: bool) -> None:
    """Show what happened to each record.

    Newest first, with what the runs had to say.
    """
    from connector import project, report  # noqa: PLC0415

    found, store = project.opened(connection)
    outcomes = store.outcomes(found.name, record=record, failed=failed, limit=limit)
    notes = store.notes(found.name, record=record, limit=limit)
    notes = [note for note in notes if note["level"] == "error"] if failed else notes
    store.close()
    click.echo(report.as_json({"outcomes": outcomes, "log": notes}) if json_ else report.log(notes, outcomes))


@main.command()
@named
@click.argument("object_", metavar="[OBJECT[.FIELD]]", required=False)
@as_json
def direction(connection: str, object_: str | None, json_: bool) -> None:
    """Show which way each object flows, and which layer decided."""
    from connector import plan, project, report  # noqa: PLC0415

    found = project.load(project.locate(connection, Path()))
    names = [object_] if object_ else list(found.mapping.objects)
    rows = []
    for name in names:
        way = plan.directions(found.mapping, found.connection, name)
        rows.append({"object": name, "pull": way.pull, "push": way.push, "decided_by": way.decided})
    words = {True: "yes", False: "no"}
    lines = [(row["object"], words[bool(row["pull"])], words[bool(row["push"])], row["decided_by"]) for row in rows]
    click.echo(report.as_json(rows) if json_ else report.table(lines, ("OBJECT", "PULL", "PUSH", "DECIDED BY")))


@main.command()
@click.option("--markdown", is_flag=True, help="As the language reference.")
def schema(markdown: bool) -> None:
    """Print the grammar of all files as JSON Schema."""
    from connector import spec  # noqa: PLC0415

    if markdown:
        from connector import reference  # noqa: PLC0415

        click.echo(reference.markdown(spec.grammar()), nl=False)
    else:
        click.echo(json.dumps(spec.grammar(), indent=2, ensure_ascii=False))


main.add_command(state)


@main.command(name="sandbox")
def _placeholder() -> None:  # its own commands take its place when it is asked for: the org is an extra
    """A local Salesforce org on real HTTP, for trials and tests."""


def _sandbox() -> click.Command:
    try:
        from connector.sandbox.cli import sandbox  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SpecError(f"{error.name} is missing: pip install 'connector[sandbox]'") from None
    return sandbox


# ---- what the verbs share ----------------------------------------------------------------------------------


@contextmanager
def _opened(
    name: str,
    seen: list[tuple[Flow, Outcome]] | None = None,
    kinds: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
) -> Iterator[tuple[Project, Store, Runner]]:
    """A connection, ready to run. Outcomes of these kinds (none: of all) are added to `seen` as they come."""
    from connector import project  # noqa: PLC0415

    found, store = project.opened(name, shapes)
    clock = project.SystemClock()
    endpoints: dict[str, Any] = {}
    progress = _Progress(f"asking {found.mapping.systems.remote} ...")

    def told(flow: Flow, outcomes: Sequence[Outcome]) -> None:
        progress.told(flow, len(outcomes))
        if seen is not None:
            seen.extend((flow, outcome) for outcome in outcomes if not kinds or outcome.outcome in kinds)

    try:
        endpoints = project.connect(found, store, clock)
        yield (
            found,
            store,
            project.Runner(
                found,
                endpoints,
                store,
                clock,
                owner=project.worker(),
                alive=project.living,
                ahead=project.prefetch,
                allowed=project.narrowed(found),
                begun=progress.begun,
                told=told,
            ),
        )
    finally:
        progress.done()
        for endpoint in endpoints.values():
            endpoint.close()
        store.close()


class _Progress:
    """A line on stderr for what takes longer than a second, erased at the end. Only for people: not in a pipe.

    A thread writes it: the longest silence is that of a system which does not answer.
    """

    def __init__(self, said: str, after: float = 1.0) -> None:
        self.said, self.count, self.after, self.shown = said, 0, after, False
        self.lock, self.over = threading.Lock(), threading.Event()
        if sys.stderr.isatty():
            threading.Thread(target=self._show, name="progress", daemon=True).start()

    def begun(self, flow: Flow) -> None:
        self.said, self.count = f"{flow.object}: asking {flow.source} ...", 0

    def told(self, flow: Flow, more: int) -> None:
        self.count += more
        self.said = f"{flow.object}: {{count}} records"

    def _show(self) -> None:
        while not self.over.wait(0.2 if self.shown else self.after):
            with self.lock:
                self.shown = True
                click.echo(f"\r\033[K{self.said.replace('{count}', str(self.count))}", nl=False, err=True)

    def echo(self, text: str) -> None:
        """On stdout, not behind the line."""
        with self.lock:
            self._erase()
            click.echo(text, nl=False)

    def done(self) -> None:
        self.over.set()
        with self.lock:
            self._erase()

    def _erase(self) -> None:
        if self.shown:
            click.echo("\r\033[K", nl=False, err=True)

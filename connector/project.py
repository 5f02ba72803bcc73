"""Files -> something to run: a connection with its mapping and shapes, its systems, and its flows in order.

What `lint` refuses does not get past `load`. The engine is handed everything it works with; this is where it is made.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from time import sleep
from typing import Any, NoReturn

import msgspec

from connector import engine, lint, plan, shape, spec
from connector.answering import Known, lock
from connector.endpoints import connect as connect_system
from connector.endpoints.files import opener
from connector.errors import EndpointError, SetupError, SpecError, Unavailable, Unreachable
from connector.model import Clock, Endpoint, Flow, Note, Outcome, Page, Row, Shape
from connector.source import Source, read
from connector.state import Store
from connector.vault import Vault
from connector.world import Run, World
from connector.writing import other_way

ALONE = timedelta(minutes=2)
"""How long one worker creates what a lookup has not found, before another one may."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        sleep(seconds)


class Project(msgspec.Struct, frozen=True):
    """One connection with the mapping that it narrows. `root` is what relative paths in it count from."""

    file: Path
    root: Path
    mapping: spec.Mapping
    connection: spec.Connection
    shapes: Mapping[str, Shape]

    @property
    def name(self) -> str:
        return self.connection.connection


def locate(name: str, root: Path) -> Path:
    """The file of a connection that is given by name (`connections/NAME.yaml`) or as a path."""
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        return file if file.is_absolute() else root / file
    found = root / "connections" / f"{name}.yaml"
    if not found.exists():
        known = sorted(path.stem for path in (root / "connections").glob("*.yaml"))
        said = f"there is: {', '.join(known)}" if known else f"there is none in {found.parent} yet"
        raise SpecError(f"there is no connection {name!r}; {said}")
    return found


def load(file: Path, shapes: Mapping[str, Shape] | None = None) -> Project:
    """A connection file, linted with its mapping, by what is recorded beside it unless `shapes` are given.

    Raises SpecError with every finding, rendered.
    """
    source, found = read(file), lint.check(file, shapes=shapes)
    refused((finding for finding in found if finding.code != "mapping_has_errors"), [source])
    if "connection" not in source.tree:
        raise SpecError(f"{file} is no connection; it would begin with connection: {file.stem}")
    connection = spec.connection(source.tree)
    mapping_file = spec.mapping_file(connection.mapping, file.parent)
    if mapping_file.is_relative_to(Path.cwd()):
        mapping_file = mapping_file.relative_to(Path.cwd())
    rules = read(mapping_file)
    refused(lint.check(mapping_file, shapes=shapes), [rules])
    refused(found, [source])
    mapping = spec.mapping(rules.tree)
    if shapes is None:
        recorded = mapping_file.parent / "shapes"
        shapes = shape.load(recorded) if recorded.is_dir() else {}
    folder = file.absolute().parent
    root = folder.parent if folder.name == "connections" else folder
    return Project(file, root, mapping, connection, shapes)


def opened(name: str, shapes: Mapping[str, Shape] | None = None) -> tuple[Project, Store]:
    """The connection of this folder that is called `name`, and its store."""
    found = load(locate(name, Path()), shapes)
    return found, Store(os.environ.get("CONNECTOR_STATE") or f"sqlite:///{found.root / '.connector' / 'state.db'}")


def refused(findings: Iterable[lint.Finding], sources: Sequence[Source]) -> None:
    """Raises SpecError for what lint calls an error: the same findings, the same words."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise SpecError(lint.render_text(errors, sources))


_SECRET = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def secrets(project: Project, node: Any, environ: Mapping[str, str], at: tuple[str | int, ...]) -> Any:
    """A system's settings with every `${env:NAME}` filled in. Raises SetupError naming what is not set, and where."""
    if isinstance(node, Mapping):
        return {key: secrets(project, value, environ, (*at, key)) for key, value in node.items()}
    if isinstance(node, str) and (found := _SECRET.fullmatch(node)):
        value = environ.get(found[1])
        if not value:
            span = read(project.file).span(at)
            raise SetupError(f"{project.file}:{span.line}:{span.column}: {found[1]} is not set; export {found[1]}=...")
        return value
    return node


def connect(
    project: Project, store: Store, clock: Clock, environ: Mapping[str, str] = os.environ
) -> dict[str, Endpoint]:
    """Both systems by name. Nothing is asked of them yet."""
    made = {}
    for name in (project.mapping.systems.home, project.mapping.systems.remote):
        settings = secrets(project, project.connection.systems[name], environ, ("systems", name))
        url = settings.get("url", "")
        if url.startswith("sqlite:///") and not url.startswith(("sqlite:////", "sqlite:///:memory:")):
            settings["url"] = f"sqlite:///{(project.root / url.removeprefix('sqlite:///')).resolve()}"
        if "api" in settings:
            settings["api"] = read(spec.mapping_file(settings["api"], project.file.parent, "apis")).tree
        safe = vault(project, store, clock, name, environ)
        made[name] = connect_system(name, settings, clock, store.cache(f"{project.name}/{name}"), safe)
    return made


def vault(project: Project, store: Store, clock: Clock, name: str, environ: Mapping[str, str] = os.environ) -> Vault:
    """Where the tokens of a system are kept. The key is asked for when there is something to keep or to read."""
    return Vault(store.cache(f"{project.name}/{name}"), project.name, name, clock, environ)


class Unreached:
    """Stands for a system that could not be reached: what else needs it ends at once, not after tries of its own."""

    calls = 0

    def __init__(self, said: str) -> None:
        self.said = said

    def __getattr__(self, _name: str) -> NoReturn:
        raise Unreachable(self.said)


@dataclass(frozen=True, slots=True)
class Runner:
    """One connection with its systems, ready to run."""

    project: Project
    endpoints: Mapping[str, Endpoint]
    store: Store
    clock: Clock
    owner: str = ""
    alive: Callable[[str], bool] = lambda _owner: True
    ahead: Callable[[Iterator[Page]], Iterator[Page]] = lambda pages: pages
    allowed: Callable[[Flow], bool] = lambda _flow: True
    begun: Callable[[Flow], None] = lambda _flow: None
    told: Callable[[Flow, Sequence[Outcome]], None] = lambda _flow, _outcomes: None

    def flows(self, objects: Iterable[str] | None = None) -> tuple[Flow, ...]:
        return plan.flows(self.project.mapping, self.project.connection, self.project.shapes, objects)

    def run(self, objects: Iterable[str] | None = None) -> list[Run]:
        """The named objects, or those of a plain run, one after the other. Paused: nothing, and the log says so."""
        return self._each(engine.run, objects)

    def sync(self) -> list[Run]:
        """What the mapping declares for `sync`, in that order, looking back as far as `watch.sync` says."""
        if not self.project.mapping.sync:
            raise SpecError(f"{self.project.mapping.mapping} declares no sync: the objects of one, in order")
        names = [name for name in self.project.mapping.sync if self.flows([name])]
        return self._each(engine.sync, names)

    def preview(self, objects: Iterable[str] | None = None) -> list[Run]:
        return self._each(engine.preview, objects)

    def event(self, name: str, record: Row) -> list[Run]:
        """One record of the home system, handed over now."""
        plan.directions(self.project.mapping, self.project.connection, name)
        if plan.rules_of(self.project.mapping, name, "push").direction not in ("push", "disabled"):
            raise SpecError(f"{name} comes from {self.project.mapping.systems.remote}: it takes no records from here")
        pushes = [flow for flow in self.flows([name]) if flow.direction == "push"]
        return self._each(lambda flow, world: engine.event(flow, world, record), [name], pushes)

    def _each(
        self, act: Callable[[Flow, World], Run], objects: Iterable[str] | None, flows: Iterable[Flow] | None = None
    ) -> list[Run]:
        project = self.project
        named = list(project.mapping.objects) if objects is None else list(objects)
        for name in named:
            plan.directions(project.mapping, project.connection, name)  # says so when there is no such object
        if not project.connection.enabled:
            said = f"{project.name} is switched off (enabled: false in {project.file.name})"
            self._paused(named, said)
            return [Run(project.name, name, "", "paused", code="paused", error=said) for name in named]
        runs = [self._closed(name) for name in named if objects is not None and not self.flows([name])]
        endpoints: dict[str, Any] = dict(self.endpoints)
        known: Known = {}
        files = cache(lambda source: opener(project.connection.systems.get(source, {}).get("files", ())))
        ordered = self._ordered(self.flows(objects) if flows is None else flows)
        self._described(ordered)
        for flow in ordered:
            self.begun(flow)
            world = World(
                source=endpoints[flow.source],
                target=endpoints[flow.target],
                store=self.store,
                clock=self.clock,
                owner=self.owner,
                alive=self.alive,
                ahead=self.ahead,
                allowed=lambda flow=flow: self.allowed(flow),  # type: ignore[misc]
                told=partial(self.told, flow),
                known=known,
                alone=self.alone,
                files=files(flow.source),
            )
            runs.append(done := act(flow, world))
            if (gone := done.unreachable) and not isinstance(endpoints[gone], Unreached):
                endpoints[gone] = Unreached(f"{done.error} (as for {flow.object}, not tried again)")
        return runs

    def _described(self, flows: Iterable[Flow]) -> None:
        """All objects whose picklists are read, in one call; what fails here fails the flow that needs it."""
        wanted: dict[str, dict[str, None]] = {}
        for flow in flows:
            for each in (flow, *(child.flow for child in flow.children)):
                names = dict.fromkeys(read.object for read in each.reads.values() if read.picklist)
                wanted.setdefault(flow.source, {}).update(names)
        for system, names in wanted.items():
            if len(names) > 1:
                with suppress(EndpointError):
                    self.endpoints[system].describe(list(names))

    def _ordered(self, flows: Iterable[Flow]) -> list[Flow]:
        """As given, but of a pair the direction first that has creates which nobody knows to have been made."""
        waiting = {
            flow.object: self.store.intents(self.store.stream(self.project.name, flow.object).id)
            for flow in flows
            if flow.two_way
        }
        names = list(dict.fromkeys(flow.object for flow in flows))
        return sorted(
            flows,
            key=lambda flow: (names.index(flow.object), bool(flow.two_way and other_way(flow, waiting[flow.object]))),
        )

    @contextmanager
    def alone(self, name: str) -> Iterator[datetime | None]:
        """While a lookup creates what it has not found; gives when that was last done, by whatever worker."""
        stream, waited = self.store.stream(self.project.name, lock(name)), 0.0
        while (lease := self.store.hold(stream, self.owner, self.clock.now(), ALONE, self.alive)) is None:
            if waited >= ALONE.total_seconds():
                raise Unavailable(f"another worker creates what the lookup {name} has not found, and does not end")
            self.clock.sleep(0.5)
            waited += 0.5
        mark = self.store.stream(self.project.name, lock(name)).slot
        try:
            yield mark
        finally:
            now = self.clock.now()
            self.store.release(lease, max(now, mark + timedelta(milliseconds=1)) if mark else now)

    def _closed(self, name: str) -> Run:
        decided = plan.directions(self.project.mapping, self.project.connection, name).decided
        said = f"{name} flows neither way: {decided} says direction: disabled"
        return Run(self.project.name, name, "", "paused", code="paused", error=said)

    def _paused(self, names: Iterable[str], said: str) -> None:
        for name in names:
            stream = self.store.stream(self.project.name, name)
            self.store.say(stream, [Note("info", "paused", said)], self.clock.now())


def worker() -> str:
    """Who holds a lease: enough for another process of this machine to see whether it still lives."""
    return f"{socket.gethostname()}:{os.getpid()}:{_born(os.getpid())}"


def living(owner: str) -> bool:
    """False only for a process of this machine that is gone: nobody can tell about another machine's.

    Another one may have its number by now; in a container that is restarted the same program always has.
    """
    host, pid, born = [*owner.split(":"), "", ""][:3]
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not born or _born(int(pid)) in ("", born)


def _born(pid: int) -> str:
    """When a process was started, as its system counts; a dead one that nobody has waited for was not. Empty: not known."""
    try:
        state, *more = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "never" if state in "ZX" else more[18]


def narrowed(project: Project) -> Callable[[Flow], bool]:
    """Whether a flow's way is still open, by the connection file as it is now: read again only when it has changed."""
    stamp = project.file.stat().st_mtime_ns
    latest = project

    def allowed(flow: Flow) -> bool:
        nonlocal stamp, latest
        try:
            now = project.file.stat().st_mtime_ns
        except OSError:  # taken away, or about to be replaced: nothing says that it is open
            return False
        if now != stamp:
            stamp, latest = now, load(project.file)
        return plan.directions(latest.mapping, latest.connection, flow.object).allows(flow.direction)

    return allowed


_END = object()


def prefetch(pages: Iterator[Page]) -> Iterator[Page]:
    """The next page is asked for while the last one is mapped and written. One page ahead, so memory stays flat."""
    fetched: queue.Queue[Any] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                fetched.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def fetch() -> None:
        try:
            for page in pages:
                put(page)
                if stopped.is_set():
                    return
            put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again where the page is waited for
            put(error)

    thread = threading.Thread(target=fetch, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := fetched.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(timeout=1)  # a call under way may take minutes; nobody waits for its page any more


__all__ = ["Project", "Runner", "SystemClock", "connect", "living", "load", "locate", "narrowed"]
__all__ += ["opened", "prefetch", "vault", "worker"]

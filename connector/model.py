"""The nouns that every stage shares. Imports nothing of ours but the errors.

A record's way: `Endpoint.read(queries)` yields a `Page` -> the engine makes joined rows and `Change`s of it
-> `Endpoint.write(changes)` answers one `Written` each -> the store commits `Outcome`s and progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Literal, Protocol

import msgspec

from connector.errors import EndpointError

Row = dict[str, Any]
"""A plain dict. As a system gives it: field name -> value. Joined: name of the read -> row, list of rows, or None."""

Pull = Literal["pull", "push"]
Verb = Literal["create", "replace", "update", "link"]
"""`link` writes what an update would, to a record that was only looked for: nothing is ever created in its place."""
Status = Literal["created", "updated", "unchanged", "skipped", "blocked", "failed"]


class Clock(Protocol):
    """Our own time: leases, retries, waiting. Cursors never use it, they use `Endpoint.now`."""

    def now(self) -> datetime: ...
    def sleep(self, seconds: float) -> None: ...


# ---- what an object looks like ---------------------------------------------------------------------------


class Option(msgspec.Struct, frozen=True):
    """A value of a picklist. `valid_for`: base64 of bits, the n-th (from the left) is the n-th value of the controller."""

    value: str
    label: str
    active: bool = True
    valid_for: str | None = None


class Field(msgspec.Struct, frozen=True):
    """One field as its system describes it; `type` in Salesforce's words (string, datetime, reference ...)."""

    name: str
    type: str = "string"
    length: int = 0
    nillable: bool = True
    defaulted: bool = False
    createable: bool = True
    updateable: bool = True
    calculated: bool = False
    filterable: bool = True
    external_id: bool = False
    restricted: bool = False
    picklist: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    relationship: str | None = None
    unique: bool = False
    options: tuple[Option, ...] = ()
    """All of them, in the system's order; `picklist` has the active ones."""
    controller: str | None = None
    """The field on which a dependent picklist depends."""


class Child(msgspec.Struct, frozen=True):
    """Rows of `object` whose `field` holds the Id of this object's row."""

    object: str
    field: str


class Shape(msgspec.Struct, frozen=True):
    """What lint, SELECT lists and canonical forms need to know of an object."""

    name: str
    label: str
    fields: Mapping[str, Field]
    children: Mapping[str, Child] = msgspec.field(default_factory=dict)


# ---- reading ---------------------------------------------------------------------------------------------


class Where(msgspec.Struct, frozen=True):
    """`field` equals one of `values`; with `fold`, compared without letter case, outer blanks and doubled spaces."""

    field: str
    values: tuple[Any, ...]
    fold: bool = False


class Window(msgspec.Struct, frozen=True):
    """Rows stamped in [since, until], ordered by (stamp, id), from behind the row `after` on.

    `field` names the stamp; None is the system's own (`Keys.stamp`). `since` None reads from the beginning.
    """

    since: datetime | None
    until: datetime
    field: str | None = None
    after: tuple[str, str] | None = None


class Query(msgspec.Struct, frozen=True):
    """Rows of one object. `paths` are dotted, as the mapping spells them; `whole` adds every field of the object.

    `stamped` asks for id and stamp besides `paths` (the rows of a trigger need them); otherwise exactly `paths` are
    selected, in their order. `children` are sub-selects that `Endpoint.nest` granted, keyed by their relationship.
    `deleted` brings rows that were deleted or merged as well, and what says so of each (Salesforce: IsDeleted, and the
    MasterRecordId of a merge); a system that forgets its deleted rows has none to bring.
    """

    object: str
    paths: tuple[str, ...] = ()
    whole: bool = False
    where: tuple[Where, ...] = ()
    window: Window | None = None
    order: tuple[str, ...] = ()
    stamped: bool = True
    children: Mapping[str, Query] = msgspec.field(default_factory=dict)
    deleted: bool = False


class Page(msgspec.Struct, frozen=True):
    """Rows that answer `queries[query]`; pages of one query come in order and together, `last` closes it."""

    query: int
    rows: list[Row]
    last: bool


class Keys(msgspec.Struct, frozen=True):
    """The names of the columns that say which row this is, and when it changed and was made."""

    id: str
    stamp: str | None
    created: str | None = None


# ---- writing ---------------------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True):
    """One write. `values` are nested as the mapping nests them; for `update` only what differs.

    `key`, of a create: the field whose value no row had when it was looked for, however it is spelled. If it can have each
    value once only, an upsert by it is the create that can be repeated without making a second row.
    """

    verb: Verb
    object: str
    values: Row
    id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A value that is streamed: `open` gives its bytes, seekable; `size` in bytes if it is known.

    Opening raises OSError or an EndpointError, which concern the record alone.
    """

    name: str
    open: Callable[[], BinaryIO] = field(repr=False, compare=False)
    size: int | None = None


class Written(msgspec.Struct, frozen=True):
    """The answer to one change, in its place: the target's id, or what went wrong with this row alone."""

    id: str | None
    error: EndpointError | None = None


class Column(msgspec.Struct, frozen=True):
    """One scalar (or JSON) place of a mapped record: `path` in the nested values, `name` where nesting is not possible.

    `kind`: text, integer, number, boolean, instant, date, json.
    """

    path: tuple[str, ...]
    kind: str = "text"

    @property
    def name(self) -> str:
        return "_".join(self.path)


class Endpoint(Protocol):
    """One system. Errors are those of `connector.errors`; a whole-call failure is raised, one row's is in `Written`."""

    settle: float
    """Seconds after which a call whose answer was lost can no longer be applied unseen (0: it cannot be under way)."""

    @property
    def calls(self) -> int:
        """Billed API calls so far; 0 for a system that does not bill."""

    def now(self) -> datetime:
        """The system's own time, for the upper bound of a window."""

    def keys(self, name: str) -> Keys: ...

    def describe(self, names: Sequence[str], *, fresh: bool = True) -> dict[str, Shape]:
        """Shapes of these objects, as far as the system knows any; without `fresh` as they were last seen, if they were.

        Raises Drifted for an object it does not have.
        """

    def prepare(self, name: str, columns: Sequence[Column], keys: Sequence[str], *, make: bool = True) -> None:
        """Called before the first row is read: `columns` of `name` will be written and found again by `keys`.

        With `make` a system that makes its tables does so now; without, one that is missing counts as empty.
        Raises SetupError or Drifted when the place to write does not exist or lacks a column.
        """

    def nest(self, query: Query, child: Query, on: Mapping[str, str]) -> str | None:
        """The relationship under which rows of `child` can come along below each row of `query`, if the system can.

        `on` maps fields of the child to fields of the row. Ask, then add the child to `query.children` under that name;
        each row then carries a list of rows at it.
        """

    def read(self, queries: Sequence[Query]) -> Iterator[Page]:
        """All pages of all queries, in the order of the queries. A query that fails fails them all."""

    def canonical(self, name: str, values: Row) -> Row:
        """`values` as this system would give them back (ids 18 characters long, instants in UTC, ...)."""

    def write(self, changes: Sequence[Change]) -> list[Written]:
        """One answer per change, in order. All changes are of one object."""

    def close(self) -> None: ...


# ---- rules, resolved -------------------------------------------------------------------------------------


Why = list["Branch"]


class Branch(msgspec.Struct, frozen=True):
    """One step of how a value came about: which rule, what it gave, and whether it won or why it lost."""

    at: tuple[str | int, ...]
    text: str
    value: Any
    won: bool
    reason: str = ""


class Skip(msgspec.Struct, frozen=True):
    """A record that its mapping does not write, and why (`no_parent`)."""

    reason: str
    field: str
    message: str
    outcome: Literal["skipped", "blocked", "failed"] = "skipped"


class Ask(msgspec.Struct, frozen=True):
    """An id of the other side that a value needs: of a linked record (`kind` link), or as a lookup finds it.

    `of` gives this side's id for a joined row, None where nothing is asked.
    """

    kind: Literal["link", "lookup"]
    name: str
    field: str
    of: Callable[[Row], Any]
    at: tuple[str | int, ...] = ()
    """Where the mapping says so."""


class Answer(msgspec.Struct, frozen=True):
    """What was found for an Ask: the id, or None; what the log says of it; or why the record cannot be written."""

    id: str | None
    level: Literal["info", "warning", "error"] | None = None
    code: str = ""
    message: str = ""
    outcome: Literal["skipped", "blocked", "failed"] | None = None


Answers = dict[tuple[str, str, Any], Answer]
"""(kind, name, this side's id) -> Answer: what a joined row carries for the values that ask."""

Unmapped = dict[tuple[str, str], None]
"""What value maps did not name, in order: (which map, the value as text)."""

ANSWERS, SETTINGS, PARENT, ABOVE, UNMAPPED = "@answers", "settings", "parent", "@above", "@unmapped"
"""Keys of a joined row that are no reads: answers; the connection's choices; below a record its values, and its id; and where
evaluating notes values that no map names.
"""


class Read(msgspec.Struct, frozen=True):
    """One name that paths start with: what is asked of the source for it."""

    name: str
    object: str
    label: str
    paths: tuple[str, ...]
    children: Mapping[str, tuple[str, ...]]
    """Relationship -> paths below it: what the mapping spells `Children__r.records[].Name`."""
    whole: bool
    many: bool
    where: tuple[Where, ...]
    order: tuple[str, ...]
    watch: Watch | None
    linked: Mapping[str, tuple[str, bool]] = msgspec.field(default_factory=dict)
    """Field -> (object, active): only rows whose field holds the source's id of a link, or active link, of that object."""
    picklist: str | None = None
    """The rows are the values of this field of `object`."""
    valid_for: Callable[[Row], Any] | None = None
    """Only the values that are valid for this one of the controlling field."""


class Watch(msgspec.Struct, frozen=True):
    """How far back a read of changed records looks. `first`: "all", "none" or a duration."""

    field: str | None
    overlap: timedelta
    at_least: timedelta | None
    first: timedelta | Literal["all", "none"]
    furthest: timedelta | None = None
    sync: timedelta | None = None


class Join(msgspec.Struct, frozen=True):
    """Rows of the read `name` whose fields equal values of the row so far: `on` maps field -> path, and its function."""

    name: str
    on: Mapping[str, Path]


class Path(msgspec.Struct, frozen=True):
    """A path into the joined row, compiled: as text, and as a function that gives None for what is missing."""

    text: str
    get: Callable[[Row], Any]


class Trigger(msgspec.Struct, frozen=True):
    changed: str
    joins: tuple[Join, ...] = ()
    unless: tuple[str, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """One part of a match key: `field` of the target equals what `value` gives for the joined row and what is mapped of it.

    `compare`: exact, ignore_case or instant. `foreign`: the value is spelled as the source spells it.
    """

    field: tuple[str, ...]
    compare: str
    value: Callable[[Row, Row], Any]
    foreign: bool = False


class Match(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]
    by_link: bool
    found: Literal["replace", "update", "skip", "link"]
    missing: Literal["create", "skip", "ask", "fail"]
    differs: Literal["create", "replace", "fail"] | None = None


class Flow(msgspec.Struct, frozen=True):
    """One object in one direction with everything resolved: what the engine runs."""

    connection: str
    object: str
    direction: Pull
    source: str
    target: str
    reads: Mapping[str, Read]
    triggers: tuple[Trigger, ...]
    write: str
    match: Match
    record: Callable[[Row, Why | None], Row | Skip]
    columns: tuple[Column, ...]
    every: timedelta | None
    digest: str
    """Hash of the rules, so that a changed mapping is noticed."""
    asks: tuple[Ask, ...] = ()
    lookups: Mapping[str, Lookup] = msgspec.field(default_factory=dict)
    settings: Row = msgspec.field(default_factory=dict)
    children: tuple[Below, ...] = ()
    two_way: TwoWay | None = None
    """Of a pair: its links are shared by both directions, whichever of them are open."""
    dependent: bool = False
    """A picklist that depends on another is written, as far as recorded shapes tell."""


class Lookup(msgspec.Struct, frozen=True):
    """How an id of the source becomes one of the target: by the one record there whose `key` equals.

    `calls`: which of list, find and create the target has for it.
    """

    name: str
    object: str
    key: str
    compare: str
    missing: Literal["empty", "create", "create_or_empty", "skip", "fail", "ask"]
    calls: frozenset[str]


class Below(msgspec.Struct, frozen=True):
    """Records made below each record: of the items of a list of its row, or of the values of a picklist.

    `item` is what one is called in the row, `link` the field that holds the id of the record above. The flow has no reads
    but that of a picklist, and stores no links.
    """

    name: str
    item: str
    items: Callable[[Row], Any] | None
    link: str | None
    flow: Flow


class TwoWay(msgspec.Struct, frozen=True):
    """The object has a pair. `open`: both directions are, so only what changed since the two sides were last the same is
    carried over; when both have changed a field, `conflict` says who wins. `paths`: field of the target -> field of the source.
    """

    conflict: Literal["home", "remote", "newest"]
    paths: Mapping[str, Path]
    open: bool


# ---- what happened ---------------------------------------------------------------------------------------


class Outcome(msgspec.Struct, frozen=True):
    """What happened to one source record. `read` is the trigger's read, `message` is for people."""

    record: str
    read: str
    outcome: Status
    reason: str | None = None
    message: str = ""
    target: str | None = None
    field: str | None = None
    label: str = ""
    changed: Mapping[str, tuple[Any, Any]] = msgspec.field(default_factory=dict)


class Note(msgspec.Struct, frozen=True):
    """A line of the log: a warning or error about a record, or about the run (record None)."""

    level: Literal["info", "warning", "error"]
    code: str
    message: str
    record: str | None = None
    field: str | None = None

"""InTouch and a platform that joins its Connector: the platform is a small HTTP server that answers by its api file.

Prospects are sent with staff and lead source as the partner knows them, an outage makes one wait, and two-way is switched on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from connector import canon, source, spec
from connector.demo import stage
from connector.demo.stage import Say, Stage
from connector.endpoints.memory import Fault
from connector.examples.apiserver import System, serve
from connector.model import Row
from connector.project import SystemClock

CONNECTION = """\
# yaml-language-server: $schema=../schema.json
# The demo's connection: InTouch is a SQLite file, the partner an HTTP server that its api file describes.
connection: intouch
mapping: staff_leadsource
enabled: true
schedule: {{every: 15m}}
settings:
  staff_owner: true
  lead_source: true
  partner_calls: {{staff: [list], lead_source: [list, create], prospect: [list, save], member: []}}
objects:
  prospect: {{direction: push}}
  member: {{direction: disabled}}
systems:
  intouch: {{adapter: sql, url: "sqlite:///intouch.db"}}
  partner: {{adapter: http, api: intouch_partner, url: "{url}", auth: {{api_key: "${{env:PARTNER_KEY}}"}}}}
"""
HOME = """
CREATE TABLE staff (id TEXT PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE lead_source (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE prospect (id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, phone TEXT, staff_id TEXT, lead_source_id TEXT, updated_at TEXT);
INSERT INTO staff VALUES ('S1', 'Alice', 'Alice@Club.example'), ('S2', 'Bob', 'bob@club.example'), ('S3', 'Cy', 'desk@club.example');
INSERT INTO lead_source VALUES ('L1', 'Web Site'), ('L2', 'Radio');
"""
PROSPECTS = (
    ("Imani", "Okafor", "imani@example.com", "(555) 0101", "S1", "L1"),
    ("Lars", "O'Brien", "lars@example.com", "(555) 0102", "S1", "L2"),
    ("Mina", "Nguyễn", "mina@example.com", None, "S2", "L2"),
    ("Noor", "Díaz-Ruiz", "noor@example.com", "(555) 0104", "S3", None),
    ("Otis", "Park", "otis@example.com", "(555) 0105", None, "L1"),
)
PARTNER: tuple[Row, ...] = (
    {"object": "staff", "id": "71", "name": "Alice", "email": "alice@club.example"},
    {"object": "staff", "id": "72", "name": "Desk 1", "email": "desk@club.example"},
    {"object": "staff", "id": "73", "name": "Desk 2", "email": "desk@club.example"},
    {"object": "lead_source", "id": "8", "name": "Walk-in"},
    {"object": "lead_source", "id": "9", "name": "WEB SITE"},
    {"object": "prospect", "id": "500", "first_name": "Rosa", "last_name": "Young", "email": "rosa@example.com"},
)


def tell(folder: Path, port: int, say: Say) -> None:
    with stage.opened(folder / "intouch.db") as home:
        home.executescript(HOME)
    tree = source.read(spec.shipped() / "apis" / "intouch_partner.yaml").tree
    partner = System(tree, SystemClock(), PARTNER, {"api_key": "sandbox-key"})
    with serve(partner, port=stage.free(port)) as url, stage.environment({"PARTNER_KEY": "sandbox-key"}):
        file = folder / "connections" / "intouch.yaml"
        file.write_text(CONNECTION.format(url=url), encoding="utf-8")
        _Story(file, partner, url, say).tell()


class _Story(Stage):
    def __init__(self, file: Path, partner: System, url: str, say: Say) -> None:
        super().__init__(file, say)
        self.partner, self.url = partner, url

    def tell(self) -> None:
        self.say(
            f"A partner platform on {self.url}, as mappings/apis/intouch_partner.yaml describes it: 3 staff, 2 lead sources, "
            "a prospect of its own (invented)."
        )
        for row in PROSPECTS:
            self.walks_in(*row)
        self.head("The first run: prospects of InTouch go to the partner", "connector run intouch")
        self.act()
        self.there()
        self.head("A second run: nothing has changed", "connector run intouch")
        self.act()
        self.outage()
        self.both_ways()
        self.next(
            "connector status intouch      what runs which way, and when",
            "connector log intouch         what happened to each record",
            "connector link intouch        which prospect is which, and which lead source",
            "connector lint                check connections/intouch.yaml after an edit",
        )

    def walks_in(self, *values: str | None) -> None:
        with stage.opened(self.folder / "intouch.db") as home:
            names = "first_name, last_name, email, phone, staff_id, lead_source_id, updated_at"
            row = (*values, canon.text(datetime.now(UTC)))
            home.execute(f"INSERT INTO prospect ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def there(self) -> None:
        """What the partner has now, and what could not be settled."""
        sources = {row["id"]: row["name"] for row in self.partner.rows("lead_source")}
        self.say("at the partner, with its own staff and lead sources:")
        self.table(
            (
                f"{row['first_name']} {row['last_name']}",
                f"staff {row.get('staff_id', '-')}",
                f"lead source {sources.get(row.get('lead_source_id'), '-')}",
            )
            for row in self.partner.rows("prospect")
            if row["id"] != PARTNER[-1]["id"]
        )
        self.log("lookup_failed", "ambiguous_lookup")

    def log(self, *codes: str) -> None:
        with self.store() as (loaded, store):
            notes = [note for note in store.notes(loaded.name) if note["code"] in codes]
        for line in dict.fromkeys(f"  {note['level']}  {note['code']}: {note['message']}" for note in reversed(notes)):
            self.say(line)

    def outage(self) -> None:
        self.head(
            "The partner's staff cannot be read: a new prospect waits, it does not go without", "connector run intouch"
        )
        self.walks_in("Priya", "Vale", "priya@example.com", "(555) 0106", "S1", "L1")
        self.partner.faults.append(Fault("staff", 503, verb="read"))
        self.say("(it is asked five times, over up to half a minute)")
        self.act()
        self.partner.faults.clear()
        self.head("Later the partner is back", "connector run intouch")
        self.act()

    def both_ways(self) -> None:
        self.head(
            "The admin switches two-way on; the partner's own prospect comes, and another phone for one of ours",
            "connector run intouch     # after an edit of connections/intouch.yaml",
        )
        at, read = ("objects", "prospect", "direction"), source.read(self.file)
        self.file.write_text(source.spliced(read, at, "both"), encoding="utf-8")
        line = read.span(at).line
        self.say(f"connections/intouch.yaml:{line}: {source.read(self.file).line(line).strip()}")
        ours = next(row for row in self.partner.rows("prospect") if row["first_name"] == "Lars")
        self.partner.edit("prospect", {"id": ours["id"], "phone": "(555) 0199"})
        self.act()

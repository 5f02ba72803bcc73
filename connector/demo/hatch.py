"""The first story, as the README tells it: improveit360 and Hatch, a pull of joined records and two pushes.

A sandbox org on loopback, `i360_classic` into a SQLite file, a second run that changes nothing, one edit and its one
update, a note that travels back, and a direction that is switched off and on again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector import canon, report, source
from connector.demo import stage
from connector.demo.stage import Say, Stage
from connector.model import Row
from connector.sandbox import Org

SYSTEMS = """\
systems:
  hatch: {{adapter: sql, url: "sqlite:///hatch.db", create_tables: true}}
  i360:
    adapter: salesforce
    login: {url}
    auth: {{grant: client_credentials, client_id: "${{env:I360_CLIENT_ID}}", client_secret: "${{env:I360_CLIENT_SECRET}}"}}
"""
CONNECTION = """\
# yaml-language-server: $schema=../schema.json
# The demo's connection. Switch an object's direction here, then run: connector run demo
connection: demo
mapping: i360_classic
enabled: true
schedule: {{every: 15m}}
objects:
  opportunity: {{direction: pull}}
  contact_note: {{direction: push}}
  task: {{direction: push}}
"""
HOME = """
CREATE TABLE contact_note (id TEXT PRIMARY KEY, external_contact_id TEXT, text TEXT, updated_at TEXT);
CREATE TABLE task (id TEXT PRIMARY KEY, external_contact_id TEXT, title TEXT, due TEXT, updated_at TEXT);
"""


def tell(folder: Path, port: int, say: Say) -> None:
    with stage.opened(folder / "hatch.db") as home:
        home.executescript(HOME)
    with stage.org(folder, rows(datetime.now(UTC)), port) as (org, url):
        file = folder / "connections" / "demo.yaml"
        file.write_text((CONNECTION + SYSTEMS).format(url=url), encoding="utf-8")
        _Story(file, org, url, say).tell()


class _Story(Stage):
    def __init__(self, file: Path, org: Org, url: str, say: Say) -> None:
        super().__init__(file, say)
        self.org, self.url = org, url

    def tell(self) -> None:
        say = self.say
        objects = ("Prospect", "Appointment", "Project", "Production_Activity")
        there = ", ".join(
            f"{len(self.org.rows(f'i360__{name}__c'))} {name.replace('_', ' ').lower()}s" for name in objects
        )
        say(f"Sandbox org on {self.url}: {there.replace('activitys', 'activities')} (invented).")
        self.head("The first run: improveit360 -> Hatch", "connector run demo")
        self.act()
        combined = Counter(outcome.label for flow, outcome in self.seen if flow.object == "opportunity")
        say("opportunities created, by what was joined into one:")
        say(report.table([[f"  {label}", f"{count:>4}"] for label, count in sorted(combined.items())]))
        self.one()
        self.synced = {outcome.record for _, outcome in self.seen if outcome.label == "Appointment + Prospect"}
        self.head("A second run: nothing has changed", "connector run demo")
        self.act()
        appointment = self.edit()
        self.act()
        self.note(appointment)
        self.act()
        self.switch(appointment)
        self.next(
            f"connector sandbox --file org.db --port {self.url.rpartition(':')[2]}",
            "export I360_CLIENT_ID=sandbox I360_CLIENT_SECRET=sandbox",
            "connector preview demo        what a run would write",
            "connector status demo         what runs which way, and when",
            "connector log demo            what happened to each record",
            "connector lint                check connections/demo.yaml after an edit",
            terminals=" (two terminals)",
        )

    def one(self) -> None:
        with stage.opened(self.folder / "hatch.db") as home:
            names = ("external_id", "first_name", "last_name", "email", "phone", "status", "external_created_at")
            asked = f"SELECT {', '.join(names)} FROM opportunity WHERE details_appointment IS NOT NULL AND status IS NOT NULL LIMIT 1"
            row = home.execute(asked).fetchone()
        self.say(
            "one of them in hatch.db:  " + "  ".join(f"{name}={value}" for name, value in zip(names, row, strict=True))
        )

    def edit(self) -> Row:
        appointment = next(
            row
            for row in self.org.rows("i360__Appointment__c")
            if row["Id"] in self.synced and not row["i360__Result__c"]
        )
        command = f'connector sandbox edit i360__Appointment__c {appointment["Id"]} "i360__Result__c=Sold"'
        self.head("Somebody results an appointment in improveit360", f"{command} && connector run demo")
        self.org.edit("i360__Appointment__c", appointment["Id"], {"i360__Result__c": "Sold"})
        return appointment

    def note(self, appointment: Row) -> None:
        self.head("A note and a task made in Hatch travel back to the prospect", "connector run demo")
        now, contact = canon.text(datetime.now(UTC)), appointment["i360__Prospect__c"]
        with stage.opened(self.folder / "hatch.db") as home:
            home.execute("INSERT INTO contact_note VALUES ('n1', ?, 'Called back, wants Tuesday', ?)", (contact, now))
            home.execute("INSERT INTO task VALUES ('t1', ?, 'Send brochure', '2027-01-12', ?)", (contact, now))

    def switch(self, appointment: Row) -> None:
        self.head(
            "The admin switches opportunities off, and on again",
            "connector run demo     # after an edit of connections/demo.yaml",
        )
        at = ("objects", "opportunity", "direction")
        self.org.edit("i360__Appointment__c", appointment["Id"], {"i360__Result__c": "Demoed, Not Sold"})
        for direction in ("disabled", "pull"):
            read = source.read(self.file)
            line = read.span(at).line
            self.file.write_text(source.spliced(read, at, direction), encoding="utf-8")
            self.say(f"connections/demo.yaml:{line}: {source.read(self.file).line(line).strip()}")
            self.act()


# ---- invented data ------------------------------------------------------------------------------------------

FIRST = (
    "Ana",
    "Bo",
    "Zoë",
    "Dara",
    "Imani",
    "Lars",
    "Mina",
    "Noor",
    "Otis",
    "Priya",
    "Quinn",
    "Rosa",
    "Sven",
    "Tariq",
    "Uma",
)
LAST = ("Reyes", "O'Brien", "Lund", "Fry", "Nguyễn", "Okafor", "Díaz-Ruiz", "Park", "Smith", "Vale", "Weiß", "Young")
RESULTS = ("Sold", "Demoed, Not Sold", "Follow-up", "Not Demoed", None, None)
SUBJECTS = ("Tear-off", "Measure", "Install", "Inspection", "Clean-up")


def rows(now: datetime, seed: int = 7) -> Iterator[Row]:
    """A few hundred records, changed in the last minutes or long ago, with every awkward case of the examples in them.

    People with quotes and accents, blanks where an e-mail should be, second phones only, two that share an e-mail, prospects
    that travel with an appointment, a project, both or neither, appointments and projects without one, ties of dates,
    results with a comma, activities made in the same second.
    """
    pick = random.Random(seed)  # noqa: S311 - the same demo every time

    def near() -> str:
        return canon.text(now - timedelta(seconds=pick.randrange(60, 780)))

    def far() -> str:
        return canon.text(now - timedelta(days=pick.randrange(20, 400), seconds=pick.randrange(86400)))

    prospects = [_prospect(n, pick, far(), near() if n % 3 == 0 else far()) for n in range(240)]
    yield from prospects
    for n in range(160):
        one = prospects[pick.randrange(200)] if n % 9 else None
        yield _appointment(
            n, pick, one, far() if n % 11 else (one or {}).get("CreatedDate", far()), near() if n % 2 == 0 else far()
        )
    for n in range(120):
        one = prospects[pick.randrange(200)] if n % 8 else None
        project_ = stage.id_of("a03J", n)
        made = far()
        yield {
            "object": "i360__Project__c",
            "Id": project_,
            "Name": f"Project {n + 1}",
            "CreatedDate": made,
            "LastModifiedDate": near() if n % 2 == 0 else far(),
            "i360__Prospect__c": one["Id"] if one else None,
            "i360__Status__c": pick.choice(("In Progress", "Completed", "Canceled", None)),
        }
        for k in range((n * 7) % 5 if n % 3 else 0):
            yield {
                "object": "i360__Production_Activity__c",
                "Id": stage.id_of("a04X", n * 5 + k),
                "Name": SUBJECTS[k],
                "i360__Project__c": project_,
                "CreatedDate": made,
                "LastModifiedDate": made,
            }


def _prospect(n: int, pick: random.Random, made: str, changed: str) -> Row:
    first, last = pick.choice(FIRST), pick.choice(LAST)
    mail = (
        f"{first}.{last}.{n}@example.com".lower().replace("'", "")
        if n % 7
        else pick.choice((None, "shared@example.com"))
    )
    return {
        "object": "i360__Prospect__c",
        "Id": stage.id_of("a01P", n),
        "CreatedDate": made,
        "LastModifiedDate": max(made, changed),
        "i360__Primary_First_Name__c": first if n % 13 else None,
        "i360__Primary_Last_Name__c": last,
        "i360__Primary_Email__c": mail.encode("ascii", "ignore").decode() if mail else None,
        "i360__Phone_1__c": f"(555) 01{n % 100:02}-{n:04}" if n % 5 else None,
        "i360__Phone_2__c": f"(555) 02{n % 100:02}-{n:04}" if n % 2 else None,
        "i360__Prospect_State__c": pick.choice(("New", "Qualified", "Not Qualified", "Sold")),
    }


def _appointment(n: int, pick: random.Random, prospect: Row | None, made: str, changed: str) -> Row:
    return {
        "object": "i360__Appointment__c",
        "Id": stage.id_of("a02A", n),
        "CreatedDate": made,
        "LastModifiedDate": max(made, changed),
        "i360__Prospect__c": prospect["Id"] if prospect else None,
        "i360__Result__c": pick.choice(RESULTS),
        "i360__Email_Address__c": f"appointment.{n}@example.com" if n % 4 else None,
        "i360__Prospect_First_Name__c": prospect["i360__Primary_First_Name__c"] if prospect else pick.choice(FIRST),
        "i360__Prospect_Last_Name__c": prospect["i360__Primary_Last_Name__c"] if prospect else pick.choice(LAST),
        "i360__Phone_1__c": f"(555) 03{n % 100:02}-{n:04}" if n % 6 else None,
        "i360__Start_Time__c": "10:00 AM",
        "i360__Comments__c": pick.choice((None, "Gate code 42", 'Said "maybe"; call again')),
    }

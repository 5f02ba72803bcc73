"""One Click Contractor and improveit360 Lightning: the sync button, the quarter of an hour, and the way back.

Users are found by e-mail, one by hand; results come from picklists; a stage and a document travel back to the appointment.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connector import canon
from connector.demo import stage
from connector.demo.stage import Say, Stage
from connector.linking import relink
from connector.model import Row
from connector.project import Runner
from connector.sandbox import Org

CONNECTION = """\
# yaml-language-server: $schema=../schema.json
# The demo's connection: One Click Contractor is a SQLite file, improveit360 Lightning the sandbox org.
connection: occ
mapping: i360_lightning
enabled: true
schedule: {{every: 15m, objects: [job, stage, document]}}
objects:
  user: {{direction: pull}}
  result: {{direction: pull}}
  opportunity_result: {{direction: pull}}
  job: {{direction: pull}}
  stage: {{direction: push}}
  document: {{direction: push}}
systems:
  occ: {{adapter: sql, url: "sqlite:///occ.db", create_tables: true}}
  i360:
    adapter: salesforce
    login: {url}
    auth: {{grant: client_credentials, client_id: "${{env:I360_CLIENT_ID}}", client_secret: "${{env:I360_CLIENT_SECRET}}"}}
"""
HOME = """
CREATE TABLE user (id TEXT PRIMARY KEY, email TEXT, name TEXT, crm_id TEXT);
CREATE TABLE stage (id TEXT PRIMARY KEY, improveit360_appointment_id TEXT, result TEXT, result_detail TEXT, opportunities JSON, updated_at TEXT);
CREATE TABLE document (id TEXT PRIMARY KEY, improveit360_appointment_id TEXT, name TEXT, file_name TEXT, url TEXT, created_at TEXT);
INSERT INTO user (id, email) VALUES
  ('u1', 'ana.reyes@example.com'), ('u2', 'Bo.Lund@Example.com'), ('u3', 'd.fry@example.com');
"""
APPOINTMENT, OPPORTUNITY = "i360core__Sales_Appointment__c", "i360core__Sales_Opportunity__c"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n"


def tell(folder: Path, port: int, say: Say) -> None:
    with stage.opened(folder / "occ.db") as home:
        home.executescript(HOME)
    with stage.org(folder, rows(datetime.now(UTC)), port) as (org, url):
        file = folder / "connections" / "occ.yaml"
        file.write_text(CONNECTION.format(url=url), encoding="utf-8")
        _Story(file, org, url, say).tell()


class _Story(Stage):
    def __init__(self, file: Path, org: Org, url: str, say: Say) -> None:
        super().__init__(file, say)
        self.org, self.url = org, url

    def tell(self) -> None:
        staff, appointments = len(self.org.rows("i360core__Staff__c")), self.org.rows(APPOINTMENT)
        self.say(
            f"Sandbox org on {self.url}: {staff} staff, {len(appointments)} sales appointments (invented). occ.db has 3 users."
        )
        self.head("The sync button: users, results, and the appointments of linked users", "connector sync occ")
        self.act(Runner.sync)
        self.results()
        dara = self.by_hand()
        self.head("Every 15 minutes from then on: nothing has changed", "connector run occ")
        self.act()
        appointment = next(row for row in appointments if row["i360core__Sales_Rep_1__c"] == dara)
        self.moved(appointment)
        self.act()
        self.pushed(appointment)
        self.refused(next(row for row in appointments if row["i360core__Sales_Rep_1__c"] != dara))
        self.corrected(appointment)
        self.next(
            f"connector sandbox --file org.db --port {self.url.rpartition(':')[2]}",
            "export I360_CLIENT_ID=sandbox I360_CLIENT_SECRET=sandbox",
            "connector preview occ         what a run would write",
            "connector link occ            who is linked to whom, and how",
            "connector log occ             what happened to each record",
            "connector status occ          what runs which way, and when",
            terminals=" (two terminals)",
        )

    def home(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with stage.opened(self.folder / "occ.db") as home:
            return home.execute(query, values).fetchall()

    def results(self) -> None:
        listed = self.home(
            "SELECT result.description, group_concat(detail.description, '; ') FROM result "
            "LEFT JOIN (SELECT * FROM result_detail ORDER BY position) AS detail ON detail.result_id = result.id "
            "GROUP BY result.id ORDER BY result.position"
        )
        self.say("results in occ.db, and the details that are valid for each (two picklists of improveit360):")
        self.table((name, details or "-") for name, details in listed)

    def by_hand(self) -> str:
        """A user who has another e-mail in each system."""
        dara = next(row for row in self.org.rows("i360core__Staff__c") if row["Name"] == "Dara Fry")
        self.head(
            f"{dara['Name']} has another e-mail in OCC, so somebody says who she is",
            f"connector link occ user u3 {dara['Id']} && connector sync occ",
        )
        with self.store() as (loaded, store):
            relink(store, loaded, "user", "u3", dara["Id"], datetime.now(UTC))
        self.act(Runner.sync)
        self.table(
            (name, email, f"{count} jobs")
            for name, email, count in self.home(
                "SELECT user.name, user.email, count(job.id) FROM user LEFT JOIN job ON job.assigned_user = user.id GROUP BY user.id"
            )
        )
        return str(dara["Id"])

    def moved(self, appointment: Row) -> None:
        known, later = appointment["Id"], "2027-01-12T15:00:00Z"
        self.head(
            "An appointment is moved in improveit360",
            f'connector sandbox edit {APPOINTMENT} {known} "i360core__Appointment_Date_Time__c={later}" && connector run occ',
        )
        self.org.edit(APPOINTMENT, known, {"i360core__Appointment_Date_Time__c": later})

    def event(self, record: Row) -> None:
        """A stage as OCC keeps it, and hands it over."""
        (self.folder / f"{record['id']}.json").write_text(json.dumps(record), encoding="utf-8")
        kept = {**record, "opportunities": json.dumps(record["opportunities"])}
        self.home(f"INSERT INTO stage VALUES ({', '.join('?' * len(kept))})", *kept.values())
        self.act(lambda runner: runner.event("stage", record))

    def pushed(self, appointment: Row) -> None:
        known = appointment["Id"]
        self.head(
            "The rep has sold: OCC hands the stage over, and it is there at once", "connector push occ stage < st1.json"
        )
        joined = next(
            row for row in self.org.rows("i360core__Sales_Appointment_Opportunity__c") if row[APPOINTMENT] == known
        )
        opportunity = joined[OPPORTUNITY]
        sold = [{"id": opportunity, "result": "Sold", "result_detail": "Financed"}]
        self.event(_stage("st1", known, "Ran", "Sold", sold))
        for name, one, fields in (
            (APPOINTMENT, known, ("Status", "Status_Detail")),
            (OPPORTUNITY, opportunity, ("Result", "Result_Detail")),
        ):
            row = next(row for row in self.org.rows(name) if row["Id"] == one)
            self.say(f"  {name}  " + "  ".join(f"{field}={row[f'i360core__{field}__c']}" for field in fields))

    def refused(self, appointment: Row) -> None:
        self.head(
            "A detail that is not valid for its result is refused before anything is sent",
            "connector push occ stage < st2.json",
        )
        self.event(_stage("st2", appointment["Id"], "Canceled", "Sold", []))

    def corrected(self, appointment: Row) -> None:
        self.head("The rep corrects it, and uploads a contract for the one that was sold", "connector run occ")
        now, content = canon.text(datetime.now(UTC)), f"data:application/pdf;base64,{b64encode(PDF).decode()}"
        self.home("UPDATE stage SET result_detail = 'No Show', updated_at = ? WHERE id = 'st2'", now)
        row = ("d1", appointment["Id"], "Contract", "contract.pdf", content, now)
        self.home("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?)", *row)
        self.act()
        (file,) = self.org.rows("ContentVersion")
        self.say(f"  ContentVersion  {file['PathOnClient']}, {file['ContentSize']} bytes, at the appointment")


def _stage(known: str, appointment: str, result: str, detail: str, opportunities: list[Row]) -> Row:
    return {
        "id": known,
        "improveit360_appointment_id": appointment,
        "result": result,
        "result_detail": detail,
        "opportunities": opportunities,
        "updated_at": canon.text(datetime.now(UTC)),
    }


# ---- invented data ------------------------------------------------------------------------------------------

STAFF = (
    ("Ana Reyes", "ana.reyes@example.com"),
    ("Bo Lund", "bo.lund@example.com"),
    ("Dara Fry", "dara.fry@example.com"),
)
PEOPLE = (
    "Imani Okafor",
    "Lars O'Brien",
    "Mina Nguyễn",
    "Noor Díaz-Ruiz",
    "Otis Park",
    "Priya Vale",
    "Quinn Weiß",
    "Rosa Young",
)
PRODUCTS = ("Windows", "Doors", "Roofing")


def rows(now: datetime) -> Iterator[Row]:
    """Three staff and forty appointments of the last month, each with one opportunity; some phones are lists, some blank."""
    for n, (name, mail) in enumerate(STAFF):
        yield {"object": "i360core__Staff__c", "Id": stage.id_of("a15S", n), "Name": name, "i360core__Email__c": mail}
    for n in range(40):
        person, product = PEOPLE[n % len(PEOPLE)], PRODUCTS[n % len(PRODUCTS)]
        made = canon.text(now - timedelta(days=n % 27, hours=1))
        starts = now + timedelta(days=n % 9 + 1)
        appointment, opportunity = stage.id_of("a12A", n), stage.id_of("a16Q", n)
        yield {
            "object": APPOINTMENT,
            "Id": appointment,
            "CreatedDate": made,
            "LastModifiedDate": made,
            "i360core__Sales_Rep_1__c": stage.id_of("a15S", n % len(STAFF)),
            "i360core__Contact_Name__c": person,
            "i360core__Contact_Email__c": f"contact.{n}@example.com" if n % 5 else None,
            "i360core__Contact_Phone__c": f"Mobile: (555) 01{n:02}, Home: (555) 02{n:02}" if n % 4 else None,
            "i360core__Product_Categories__c": product,
            "i360core__Type__c": "New",
            "i360core__Street_Address__c": f"{n + 1} Elm St",
            "i360core__City__c": "Providence",
            "i360core__State_Province__c": "RI",
            "i360core__Zip_Postal_Code__c": "02903",
            "i360core__Appointment_Date_Time__c": canon.text(starts),
            "i360core__Appointment_End_Date_Time__c": canon.text(starts + timedelta(hours=2)),
            "i360core__Status__c": "Scheduled",
        }
        yield {
            "object": OPPORTUNITY,
            "Id": opportunity,
            "Name": f"SO-{n + 1:04}",
            "i360core__Interested_In__c": product,
            "CreatedDate": made,
            "LastModifiedDate": made,
        }
        yield {
            "object": "i360core__Sales_Appointment_Opportunity__c",
            "Id": stage.id_of("a17J", n),
            APPOINTMENT: appointment,
            OPPORTUNITY: opportunity,
            "CreatedDate": made,
            "LastModifiedDate": made,
        }

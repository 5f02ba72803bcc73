"""The job of job.yaml as a careful engineer writes it by hand: httpx, orjson, sqlite3, a page at a time.

    hand.py URL DB [--ahead]      --ahead: the next page is fetched while this one is mapped and written

It keeps no log, no links and no place where it stopped, and does not look at what is there.
"""

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

COLUMNS = [
    "external_id",
    "contact_id",
    "customer_name",
    "name",
    "first_name",
    "last_name",
    "email",
    "phone",
    "status",
    "line1",
    "city",
    "state",
    "postal_code",
    "kind",
    "md_account",
    "md_salesrep_id",
    "appt_start",
    "appt_end",
    "appt_summary",
    "appt_id",
    "external_created_at",
    "external_updated_at",
    "phones",
    "opportunities",
]
KINDS = {"Estimate": 1, "Follow-up": 2, "Inspection": 3, "Rehash": 4, "Service": 5}
ASKED = "/services/data/v66.0/query?q=SELECT+Id+FROM+i360core__Sales_Appointment__c"


def some(*values):
    """The first that is there: null, empty and blank text are not."""
    for value in values:
        if value and not value.isspace():
            return value
    return None


def instant(text):
    return f"{text[:19]}Z" if text else text


def said(value):
    return "" if value is None else value


def hand(row):
    """A record -> the values of the 24 columns, the last two as lists."""
    prospect, project = row["i360__Prospect__r"] or {}, row["i360__Project__r"] or {}
    his, its = prospect.get, (project.get("i360__Prospect__r") or {}).get
    known, who, rep = row["Id"], row["i360core__Contact_Name__c"], row["i360core__Sales_Rep_1__c"]
    base = f"{said(who)}: {said(row['i360core__Product_Categories__c'])}"
    phones = []
    for entry in (row["i360core__Contact_Phone__c"] or "").split(","):
        name, colon, number = entry.strip().partition(":")
        if not colon:
            name, number = None, name
        if number := number.strip():
            phones.append({"name": name and name.strip(), "number": number})
    opportunities = []
    for line in (row["i360core__Sales_Appointment_Opportunities__r"] or {"records": ()})["records"]:
        if one := line["i360core__Sales_Opportunity__r"]:
            opportunities.append(
                {
                    "id": one["Id"],
                    "name": f"{said(one['i360core__Interested_In__c'])}: {said(one['Name'])}",
                    "result": one["i360core__Result__c"],
                    "result_detail": one["i360core__Result_Detail__c"],
                }
            )
    return (
        known,
        some(his("Id"), its("Id"), row["i360core__Account__c"]),
        who,
        base.strip(),
        some(
            his("i360__Primary_First_Name__c"),
            row["i360core__Prospect_First_Name__c"],
            its("i360__Primary_First_Name__c"),
        ),
        some(
            his("i360__Primary_Last_Name__c"), row["i360core__Prospect_Last_Name__c"], its("i360__Primary_Last_Name__c")
        ),
        some(his("i360__Primary_Email__c"), row["i360core__Contact_Email__c"], its("i360__Primary_Email__c")),
        some(
            *(
                his("i360__Phone_1__c"),
                his("i360__Phone_2__c"),
                row["i360core__Phone_1__c"],
                row["i360core__Phone_2__c"],
            ),
            *(its("i360__Phone_1__c"), its("i360__Phone_2__c")),
        ),
        some(row["i360core__Result__c"], project.get("i360__Status__c"), his("i360__Prospect_State__c")),
        row["i360core__Street_Address__c"],
        row["i360core__City__c"],
        row["i360core__State_Province__c"],
        row["i360core__Zip_Postal_Code__c"],
        KINDS.get(row["i360core__Type__c"]),
        row["i360core__Account__c"],
        rep,
        instant(row["i360core__Appointment_Date_Time__c"]),
        instant(row["i360core__Appointment_End_Date_Time__c"]),
        f"{base} - {said(row['i360core__Type__c'])}".strip(),
        known,
        instant(max(row["CreatedDate"] or "", project.get("CreatedDate") or "", his("CreatedDate") or "")),
        instant(
            max(row["LastModifiedDate"] or "", project.get("LastModifiedDate") or "", his("LastModifiedDate") or "")
        ),
        phones,
        opportunities,
    )


def dicts(row):
    """As other tools want it: a dict of the 24 columns."""
    return dict(zip(COLUMNS, hand(row), strict=True))


def pages(url):
    import httpx
    import orjson

    with httpx.Client(base_url=url, headers={"Accept-Encoding": "identity"}, timeout=60, trust_env=False) as client:
        token = client.post("/services/oauth2/token").raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        more = ASKED
        while more:
            page = orjson.loads(client.get(more).raise_for_status().content)
            yield page["records"]
            more = page.get("nextRecordsUrl")


def fetched_ahead(given):
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, given, None)
        while (page := coming.result()) is not None:
            coming = pool.submit(next, given, None)
            yield page


def main(url, file, *options):
    import orjson

    def text(value):
        return orjson.dumps(value).decode()

    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    kinds = {name: "INTEGER" if name == "kind" else "TEXT" for name in COLUMNS}
    db.execute(f"CREATE TABLE IF NOT EXISTS job ({', '.join(map(' '.join, kinds.items()))}, PRIMARY KEY (external_id))")
    upsert = (
        f"INSERT INTO job ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (external_id) "
        f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
    )
    given = pages(url)
    for page in fetched_ahead(given) if "--ahead" in options else given:
        made = [(*row[:-2], text(row[-2]), text(row[-1])) for row in map(hand, page)]
        db.execute("BEGIN IMMEDIATE")
        db.executemany(upsert, made)
        db.execute("COMMIT")
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

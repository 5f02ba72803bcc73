"""Pages of Salesforce-shaped appointments under data/. A record is a function of its number: every run makes the same bytes.

    records.py [N]      N is a multiple of 2,000; 100,000 are 350 MB

About 3.5 KB of JSON each: 45 keys, two parents (one of them two deep), a list of up to three children. Some values are null, empty or
blank, as people leave them.
"""

import json
import sys
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
PAGE = 2_000
APPOINTMENT, OPPORTUNITY = "i360core__Sales_Appointment__c", "i360core__Sales_Opportunity__c"
PARENTS = {
    "i360__Prospect__r": "i360__Prospect__c",
    "i360__Project__r": "i360__Project__c",
    "i360core__Sales_Rep_1__r": "i360core__Staff__c",
    "i360core__Sales_Opportunity__r": OPPORTUNITY,
}
CHILDREN, LINE = "i360core__Sales_Appointment_Opportunities__r", "i360core__Sales_Appointment_Opportunity__c"

_FIRST = [
    "Ann",
    "Bob",
    "Cid",
    "Dee",
    "Eve",
    "Fay",
    "Gus",
    "Hal",
    "Ida",
    "Jon",
    "Kim",
    "Lou",
    "Max",
    "Nia",
    "Oli",
    "Pam",
    "Quy",
    "Ray",
    "Sue",
    "Tom",
]
_LAST = [
    "Smith",
    "Jones",
    "García",
    "Müller",
    "O'Neil",
    "Brown",
    "Lee",
    "Nguyễn",
    "Khan",
    "Lopez",
    "Davis",
    "Clark",
    "Young",
    "King",
    "Wright",
    "Hill",
]
_CITY = ["Austin", "Boise", "Chicago", "Denver", "El Paso", "Fresno", "Gary", "Hialeah", "Irvine", "Joliet"]
_SOLD = ["Roofing", "Siding;Windows", "Windows", "Gutters;Roofing", "Doors", "Bath;Kitchen", "Decks"]
_KINDS = ["Estimate", "Follow-up", "Inspection", "Rehash", "Service"]
_RESULTS = ["Sold", "No Sale", None, "Demo No Sale", "Cancelled", None]
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - spelled with its offset below
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def id_of(prefix, number):
    body = f"{prefix}{number:012d}"
    thirds = (body[at : at + 5] for at in (0, 5, 10))
    return body + "".join(_CHECK[sum(letter.isupper() << at for at, letter in enumerate(part))] for part in thirds)


def _stamp(minutes):
    return (_START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _row(name, known, **fields):
    return {"attributes": {"type": name, "url": f"/services/data/v66.0/sobjects/{name}/{known}"}, "Id": known, **fields}


def _prospect(i, h):
    first, last = _FIRST[h % 20], _LAST[(h >> 5) % 16]
    return _row(
        "i360__Prospect__c",
        id_of("a0P", i),
        Name=f"{last}, {first}",
        i360__Primary_First_Name__c=first if h % 5 else None,
        i360__Primary_Last_Name__c=last if h % 7 else " ",
        i360__Primary_Email__c=f"{first.lower()}.{i}@example.com" if h % 3 else None,
        i360__Phone_1__c=f"(512) 555-{i % 10000:04d}" if h % 4 else None,
        i360__Phone_2__c=f"(737) 555-{(i * 7) % 10000:04d}" if h % 3 else "",
        i360__Prospect_State__c="Active",
        CreatedDate=_stamp(i % 500000),
        LastModifiedDate=_stamp(i % 500000 + h % 9000),
    )


def _opportunity(i, h):
    known = id_of("a3O", i)
    told = "Price too high" if h % 6 == 1 else None
    fields = {"Interested_In": _SOLD[h % 7], "Result": _RESULTS[h % 6], "Result_Detail": told}
    row = _row(
        OPPORTUNITY, known, Name=f"SO-{i:08d}", **{f"i360core__{name}__c": value for name, value in fields.items()}
    )
    return _row(LINE, id_of("a2J", i), i360core__Sales_Opportunity__r=row)


def _project(i, h):
    made = {"CreatedDate": _stamp(i % 500000 + 77), "LastModifiedDate": _stamp(i % 500000 + 4000)}
    row = _row("i360__Project__c", id_of("a4R", i), i360__Status__c="Open", **made)
    return row | {"i360__Prospect__r": _prospect(i, h + 1)}


def record(i):
    """The appointment with number `i`."""
    h = (i * 2654435761 + 12345) & 0xFFFFFFFF
    first, last, rep = _FIRST[h % 20], _LAST[(h >> 5) % 16], id_of("a5S", h % 20)
    lines = [_opportunity(i * 4 + k, h + k) for k in range(h % 4)]
    own = {
        "Account": id_of("001", i),
        "Contact_Name": f"{first} {last}" if h % 9 else None,
        "Contact_Email": f"{first.lower()}{i}@mail.example.org" if h % 6 else None,
        "Contact_Phone": f"Home: 512-555-{i % 10000:04d}, Mobile:737-555-{h % 10000:04d}" if h % 8 else None,
        "Prospect_First_Name": first,
        "Prospect_Last_Name": last,
        "Phone_1": f"512-555-{i % 10000:04d}",
        "Phone_2": None,
        "Street_Address": f"{h % 9999} Main Street Apt {h % 300}",
        "City": _CITY[h % 10],
        "State_Province": "TX",
        "Zip_Postal_Code": f"{h % 99999:05d}",
        "Country": "United States",
        "Latitude": 30.0 + (h % 100000) / 1e5,
        "Longitude": -97.0 - (h % 77777) / 1e5,
        "Sales_Rep_1": rep,
        "Sales_Rep_2": None,
        "Status": "Confirmed",
        "Status_Detail": None,
        "Result": _RESULTS[h % 6],
        "Appointment_Date_Time": _stamp(i % 500000 + 20000),
        "Appointment_End_Date_Time": _stamp(i % 500000 + 20120),
        "Duration": 120.0,
        "Type": _KINDS[h % 5],
        "Product_Categories": _SOLD[h % 7],
        "Quoted_Amount": (h % 90000) / 1.0,
        "Comments": "Customer asked for a quote on the back porch; dog in yard. " * (1 + h % 2),
        "Confirmed": bool(h % 2),
        "Issued": bool(h % 3),
        "Source": "Web",
        "Sub_Source": None,
    }
    return _row(
        APPOINTMENT,
        id_of("a1A", i),
        IsDeleted=False,
        Name=f"SA-{i:08d}",
        OwnerId=id_of("005", h % 200),
        CreatedDate=_stamp(i % 500000 + 60),
        CreatedById=id_of("005", h % 50),
        LastModifiedDate=_stamp(i % 500000 + h % 10000),
        LastModifiedById=id_of("005", h % 60),
        SystemModstamp=_stamp(i % 500000 + h % 10000),
        **{f"i360core__{name}__c": value for name, value in own.items()},
        i360core__Sales_Rep_1__r={
            "attributes": {
                "type": "i360core__Staff__c",
                "url": f"/services/data/v66.0/sobjects/i360core__Staff__c/{rep}",
            },
            "Name": f"{first} Rep",
            "i360core__Email__c": f"rep{h % 20}@example.com",
        },
        i360__Prospect__r=_prospect(i, h) if h % 10 else None,
        i360__Project__r=_project(i, h) if h % 4 == 0 else None,
        **{CHILDREN: {"totalSize": len(lines), "done": True, "records": lines} if lines else None},
    )


@cache
def describes():
    """What the org says of the objects in the pages: the fields that are there, with their types."""
    rows = dict[str, dict]()
    for n in range(40):
        _collect(record(n), APPOINTMENT, rows)
    return {name: _describe(name, row) for name, row in rows.items()}


def _collect(row, name, rows):
    seen = rows.setdefault(name, {})
    for key, value in row.items():
        if key in PARENTS:
            seen.setdefault(key.replace("__r", "__c"), None)
            if value:
                _collect(value, PARENTS[key], rows)
        elif key == CHILDREN:
            for line in value["records"] if value else ():
                _collect(line, LINE, rows)
        elif key != "attributes" and seen.get(key) is None:
            seen[key] = value


def _describe(name, row):
    fields = [{"name": key, "nillable": True, "filterable": True, **_typed(key, value)} for key, value in row.items()]
    below = [{"childSObject": LINE, "field": APPOINTMENT, "relationshipName": CHILDREN}] if name == APPOINTMENT else []
    return {"name": name, "label": name, "fields": fields, "childRelationships": below}


def _typed(key, value):
    parent = PARENTS.get(key.replace("__c", "__r"))
    if parent:
        return {"type": "reference", "referenceTo": [parent], "relationshipName": key.replace("__c", "__r")}
    if key == "Id":
        return {"type": "id"}
    if isinstance(value, str) and value.endswith(".000+0000"):
        return {"type": "datetime"}
    if isinstance(value, bool | float):
        return {"type": "boolean" if isinstance(value, bool) else "double"}
    return {"type": "reference" if key.endswith("Id") or key == "i360core__Account__c" else "string", "length": 255}


def pages(count):
    """Of each page in data/pages.bin: where it begins and how long it is. They are made if they are not there."""
    if count <= 0 or count % PAGE:
        sys.exit(f"the number of records is a multiple of {PAGE:,}")
    index = DATA / "pages.json"
    known = json.loads(index.read_text("ascii")) if index.exists() else []
    if len(known) * PAGE < count:
        DATA.mkdir(exist_ok=True)
        known, at = [], 0
        with (DATA / "pages.bin").open("wb") as file:
            for start in range(0, count, PAGE):
                text = json.dumps(
                    [record(i) for i in range(start, start + PAGE)], ensure_ascii=False, separators=(",", ":")
                )
                known.append((at, file.write(text.encode())))
                at += known[-1][1]
        index.write_text(json.dumps(known), "ascii")
    return known[: count // PAGE]


if __name__ == "__main__":
    made = pages(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    print(f"{len(made) * PAGE:,} records, {sum(size for _, size in made) / 1e6:.0f} MB")

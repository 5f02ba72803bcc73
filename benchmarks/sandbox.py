"""How many records a second the sandbox org serves over loopback: a plain query of 100,000 rows of 40 fields, in pages of 2,000.

The org runs in a process of its own; the client reads bytes and follows locators, and does not parse, so that the org is what is
measured. Memory is read from the org's process before the query and at its highest during it.
"""

import argparse
import http.client
import json
import multiprocessing
import re
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from connector.sandbox import Org, serve

GOAL = 15_000
PAGE = 2_000
KINDS = {
    "string": "Ann Hopper of New Haven",
    "email": "ann@example.com",
    "phone": "+1 203 555 0100",
    "double": 12345.5,
    "boolean": True,
    "date": "2025-01-05",
    "datetime": "2025-01-05T09:00:00Z",
    "picklist": "Appointment set",
}
FLAGS = {"filterable": True, "sortable": True, "createable": True, "updateable": True}
SYSTEM = {"Id": "id", "IsDeleted": "boolean", "CreatedDate": "datetime", "SystemModstamp": "datetime"}


def shape(fields):
    listed = [{"name": name, "type": kind, **FLAGS} for name, kind in SYSTEM.items()]
    kinds = list(KINDS)
    listed += [
        {"name": f"Field_{place:02}__c", "type": kinds[place % len(kinds)], "length": 255, "nillable": True, **FLAGS}
        for place in range(fields - len(listed))
    ]
    return {"name": "Wide__c", "label": "Wide", "keyPrefix": "a0W", "fields": listed}


def org_process(rows, fields, channel):
    wide = shape(fields)
    org = Org([wide])
    row = {field["name"]: KINDS[field["type"]] for field in wide["fields"] if field["name"] not in SYSTEM}
    org.load({"object": "Wide__c", **row} for _ in range(rows))
    with serve(org) as url:
        channel.send((url, [field["name"] for field in wide["fields"]]))
        channel.recv()


def memory(process, key):
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


def highest(process, stop, found):
    while not stop.is_set():
        found.append(memory(process, "VmRSS"))
        time.sleep(0.02)


def read(connection, path, headers):
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {content[:200]!r}")
    return content


def query(connection, fields, token):
    """(seconds, records, bytes)"""
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    soql = f"SELECT {', '.join(fields)} FROM Wide__c"
    path, records, size = f"/services/data/v66.0/query?{urlencode({'q': soql})}", 0, 0
    began = time.perf_counter()
    while path:
        content = read(connection, path, headers)
        size += len(content)
        start = content[:200]
        more = re.search(rb'"nextRecordsUrl":"([^"]+)"', start)
        path = more[1].decode() if more else None
        records = int(re.search(rb'"totalSize":(\d+)', start)[1])
    return time.perf_counter() - began, records, size


def sign_in(connection):
    body = urlencode({"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"})
    connection.request("POST", "/services/oauth2/token", body)
    return json.loads(connection.getresponse().read())["access_token"]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--fields", type=int, default=40)
    given = options.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=org_process, args=(given.rows, given.fields, theirs), daemon=True)
    process.start()
    url, fields = ours.recv()
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    token = sign_in(connection)
    before, seen, stop = memory(process, "VmRSS"), [], threading.Event()
    watch = threading.Thread(target=highest, args=(process, stop, seen))
    watch.start()
    seconds, records, size = query(connection, fields, token)
    stop.set()
    watch.join()
    speed = records / seconds
    print(f"sandbox org: {records:,} records of {len(fields)} fields, {size / 1e6:.0f} MB in {seconds:.2f} s")
    print(f"             {speed:,.0f} records/s (goal {GOAL:,})")
    print(f"             memory {before:.0f} MB before, {max(seen):.0f} MB at most")
    ours.send(None)
    process.join()
    raise SystemExit(0 if speed >= GOAL else 1)


if __name__ == "__main__":
    main()

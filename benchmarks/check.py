"""Same work or not: check.py DB N      the rows of table `job` are those of hand.py for the records 0 to N-1"""

import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing

from hand import COLUMNS, hand
from records import DATA, pages


def records(count):
    with (DATA / "pages.bin").open("rb") as file:
        for at, size in pages(count):
            file.seek(at)
            yield from json.loads(file.read(size))


def differences(file, count):
    """(how many rows differ, lack or are too many; by column how many of them)"""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        found = {
            row[0]: (*row[:-2], *map(json.loads, row[-2:]))
            for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM job")
        }
        (rows,) = db.execute("SELECT count(*) FROM job").fetchone()
    wrong, by = rows - len(found), Counter()
    for one in map(hand, records(count)):
        there = found.pop(one[0], None)
        if there != one:
            wrong += 1
            by.update(name for name, a, b in zip(COLUMNS, one, there or (), strict=False) if a != b)
    return wrong + len(found), by


if __name__ == "__main__":
    found, by = differences(sys.argv[1], int(sys.argv[2]))
    print(f"{sys.argv[1]}: {found} of {int(sys.argv[2]):,} rows differ", *(f"{name}: {n}" for name, n in by.items()))
    sys.exit(bool(found))

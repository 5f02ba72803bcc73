"""A plan -> the pages of its answer. A page is cut from a snapshot of row numbers, so rows that come and go do not move it.

Locators (0r8...-2000) belong to the session that made them.
"""

import re
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from connector.sandbox import aggregates, ids
from connector.sandbox.errors import ApiError, session_invalid
from connector.sandbox.plans import Plan
from connector.sandbox.store import Store

_LOCATOR = re.compile(r"(0r8[0-9A-Za-z]{15})-(\d{1,9})", re.ASCII)
_KEPT = 1_000  # the oldest cursor is given up first


@dataclass
class Snapshot:
    plan: Plan
    numbers: "array[int]"
    token: str
    version: str
    locator: str = ""


class Cursors:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.open: OrderedDict[str, Snapshot] = OrderedDict()
        self.made = 0

    def run(self, plan: Plan, token: str, version: str) -> str:
        """The JSON text of the first page."""
        if plan.grouped:
            rows = self.store.texts(plan.grouped, plan.parameters)
            if len(rows) > aggregates.MAX_ROWS:
                raise aggregates.too_many()
            return f'{{"totalSize":{len(rows)},"done":true,"records":[{",".join(rows)}]}}'
        if plan.counts:
            total = sum(1 for _ in self.store.numbers(plan.numbers, plan.parameters))
            return f'{{"totalSize":{total},"done":true,"records":[]}}'
        return self.page(self.snapshot(plan, token, version, None), 0)

    def snapshot(self, plan: Plan, token: str, version: str, parent: str | None) -> Snapshot:
        bound = {**plan.parameters, "parent": parent}
        numbers = array("q", self.store.numbers(plan.numbers, bound))
        return Snapshot(plan, numbers, token, version)

    def locator(self, snapshot: Snapshot) -> str:
        """Made when a first page turns out not to be the last."""
        if not snapshot.locator:
            self.made += 1
            snapshot.locator = ids.make("0r8", self.made)
            self.open[snapshot.locator] = snapshot
            if len(self.open) > _KEPT:
                self.open.popitem(last=False)
        return snapshot.locator

    def page(self, snapshot: Snapshot, offset: int) -> str:
        """As many rows as a page has room for: children count towards it, so that it may hold fewer of them."""
        plan, total = snapshot.plan, len(snapshot.numbers)

        def overflow(place: int, parent: str) -> str:
            """More children than a page holds: they get a locator of their own."""
            return self.page(self.snapshot(plan.children[place], snapshot.token, snapshot.version, parent), 0)

        before, self.store.overflow = self.store.overflow, overflow
        counted, self.store.children = self.store.children, 0
        try:
            wanted = snapshot.numbers[offset : offset + plan.page]
            records = self.store.records(plan.records, plan.parameters, wanted, plan.page if plan.children else None)
        finally:
            self.store.overflow, self.store.children = before, counted
        listed, end = ",".join(records), offset + len(records)
        if end == total:
            return f'{{"totalSize":{total},"done":true,"records":[{listed}]}}'
        # [U] whether queryAll prints /query/ or /queryAll/ here is not known
        more = f'"nextRecordsUrl":"/services/data/v{snapshot.version}/query/{self.locator(snapshot)}-{end}"'
        return f'{{"totalSize":{total},"done":false,{more},"records":[{listed}]}}'

    def follow(self, text: str, token: str, alive: bool) -> str:
        snapshot, offset = self.find(text)
        if snapshot is None or not 0 < offset < len(snapshot.numbers):
            raise _no_locator()
        if snapshot.token != token:
            # A new session cannot resume a dead one's cursor; between two live ones the answer is not known [U].
            raise _no_locator() if alive else session_invalid()
        return self.page(snapshot, offset)

    def find(self, text: str) -> tuple[Snapshot | None, int]:
        found = _LOCATOR.fullmatch(text)
        return (self.open.get(found[1]), int(found[2])) if found else (None, 0)


def _no_locator() -> ApiError:
    return ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")  # [U] 400 or 404

"""One batch of mapped rows: find, recover, decide, journal, write. Gives an outcome per row and what is to be stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from connector import canon
from connector.comparing import differing
from connector.errors import Rejected, Unanswered
from connector.matching import Decision, Mapped, Target
from connector.model import Clock, Endpoint, Flow, Match, Outcome, Written
from connector.state import Batch, Intent, Lease, Link, Store

WRITTEN = ("created", "updated", "unchanged")
"""Outcomes of records that are there now."""
BATCH = 1000
"""Rows of one write: what a Salesforce call takes at most, and how soon a closed direction is noticed."""


class Writer:
    """One flow's writes. With `dry` everything is decided and nothing done; `child`: its rows have no links of their own."""

    def __init__(
        self,
        flow: Flow,
        endpoint: Endpoint,
        store: Store,
        clock: Clock,
        lease: Lease,
        *,
        dry: bool,
        child: bool = False,
    ) -> None:
        self.flow, self.endpoint, self.dry, self.child = flow, endpoint, dry, child
        self.store, self.clock, self.lease = store, clock, lease
        self.target = Target(flow, endpoint)
        self.source_side, self.target_side = ("remote", "home") if flow.direction == "pull" else ("home", "remote")

    def write(self, wave: Sequence[Mapped], batch: Batch) -> list[Outcome]:
        """Rows of a wave share no key, so that one lookup is right for all of them."""
        links, off, known = self._links(wave)
        decisions = self.target.find(wave, links, self.target_side)
        if self.flow.match.by_link and not self.dry:
            decisions = self._recover(decisions)
        todo = [decision.change for decision in decisions if decision.change is not None]
        if self.dry:
            answers = iter([Written(change.id) for change in todo])
        elif todo:
            self.store.check(self.lease)  # the commit would be refused, but what was sent before it is not taken back
            answers = iter(self.endpoint.write(todo))
        else:
            answers = iter([])
        outcomes = [decision.outcome or self._answered(decision, next(answers)) for decision in decisions]
        for decision, outcome in zip(decisions, outcomes, strict=True):
            if decision.notes:
                batch.notes += decision.notes
            row = decision.mapped
            record, target = row.joined.record, outcome.target
            if target is not None and outcome.outcome in WRITTEN and not self.child and record not in off:
                made = self._remembered(decision, links.get(record), target)
                if known.get(made.key) != made:
                    batch.links.append(made)
            if self.flow.match.by_link and outcome.reason not in (Unanswered.code, "ambiguous_match"):
                batch.settled.append(row.key)
        return outcomes

    def _links(self, wave: Sequence[Mapped]) -> tuple[dict[str, Link], set[str], dict[str, Link]]:
        """Links that say what the target is: all of them where there is no key, else only those made by hand; the
        records whose link somebody has switched off: it stays so; and all that are known, by their keys.
        """
        records = [] if self.child else [row.joined.record for row in wave]
        links = self.store.links(self.lease.stream, self.source_side, records)
        links = sorted(links, key=lambda link: link.active)  # of several the active one
        named = [(getattr(link, self.source_side), link) for link in links]
        by_link = self.flow.match.by_link
        says = {name: link for name, link in named if by_link or (link.made == "manual" and link.active)}
        return says, {name for name, link in named if not link.active}, {link.key: link for link in links}

    def _remembered(self, decision: Decision, link: Link | None, target: str) -> Link:
        """The link as it is from now on; one that is there stays as it was made."""
        made = link or self._link(decision.mapped, target)
        if decision.bases is None:
            return made
        home, remote = decision.bases
        return replace(made, home_base=home or made.home_base, remote_base=remote or made.remote_base)

    def _link(self, row: Mapped, target: str) -> Link:
        here = row.joined.record
        return Link(row.key, target, here) if self.target_side == "home" else Link(row.key, here, target)

    def _recover(self, decisions: list[Decision]) -> list[Decision]:
        """Creates that no key could find again: look for what a lost call has made, then journal what is to be made."""
        waiting = self.store.intents(self.lease.stream)
        if self.flow.two_way and (theirs := other_way(self.flow, waiting)):
            new = [_creates(decision) and decision.mapped.key not in waiting for decision in decisions]
            decisions = [self._held_back(d, theirs) if is_new else d for d, is_new in zip(decisions, new, strict=True)]
        equal = {waiting[d.mapped.key].payload for d in decisions if _creates(d) and d.mapped.key in waiting}
        if lost := [one for one in waiting.values() if one.payload in equal]:
            self._settle(lost)
            taken = {getattr(link, self.target_side) for link in self.store.all_links(self.lease.stream)}
            twins = self.target.twins(lost, taken)
            decisions = [self._adopted(decision, waiting, twins) for decision in decisions]
        creates = [decision.mapped for decision in decisions if _creates(decision)]
        if creates:
            sent = canon.text(self.endpoint.now())
            payloads = [(row.key, json.dumps(row.values, sort_keys=True, default=str)) for row in creates]
            self.store.journal(self.lease, [Intent(key, payload, sent) for key, payload in payloads])
        return decisions

    def _held_back(self, decision: Decision, theirs: Sequence[Intent]) -> Decision:
        """What a call the other way may have made must not travel back as a record of its own."""
        row = decision.mapped
        said = f"{len(theirs)} created the other way were not answered: whether this is one of them is settled first"
        return Decision(row, None, row.outcome("blocked", Unanswered.code, said))

    def _settle(self, lost: Sequence[Intent]) -> None:
        """Wait until a call whose sender was killed can no longer be applied unseen."""
        latest = max(canon.parse(intent.sent) for intent in lost)
        left = self.endpoint.settle - (self.endpoint.now() - latest).total_seconds()
        if self.endpoint.settle and left > 0:
            self.clock.sleep(left)

    def _adopted(self, decision: Decision, waiting: Mapping[str, Intent], twins: Mapping[str, list[str]]) -> Decision:
        row = decision.mapped
        if not (_creates(decision) and (ids := twins.get(row.key))):
            return decision
        if len(ids) == 1:
            made = self.target.found(row, {**json.loads(waiting[row.key].payload), self.target.id: ids[0]})
            if made.change is None:
                return Decision(row, None, row.outcome("created", target=ids[0]), ids[0])
            # Edited since. Once that is written it is no longer what the intent says: so the link comes first.
            self.store.put_links(self.lease.stream, [self._link(row, ids[0])], self.clock.now(), self.lease)
            return made
        said = f"an earlier create was not answered, and {' and '.join(ids)} could each be what it made; remove or link one"
        return Decision(row, None, row.outcome("failed", "ambiguous_match", said))

    def _answered(self, decision: Decision, answer: Written) -> Outcome:
        row, error, made = decision.mapped, answer.error, _creates(decision)
        if error is None:
            target = None if answer.id is None else str(answer.id)
            changed = differing(self.flow.columns, row.values, {}) if self.dry and made else decision.changed
            return row.outcome("created" if made else "updated", None, "", target, None, changed)
        reason = "rejected" if isinstance(error, Rejected) else error.code
        named = ", ".join(getattr(error, "fields", ())) or None
        return row.outcome("failed", reason, str(error), target=decision.target, field=named)


def other_way(flow: Flow, waiting: Mapping[str, Intent]) -> list[Intent]:
    """Of a pair's intents those of its other direction."""
    return [one for key, one in waiting.items() if json.loads(key)[0] != flow.direction]


def waves(rows: Sequence[Mapped], match: Match) -> Iterator[list[Mapped]]:
    """Batches in which no two rows can be the same target record: the second must see what the first has written.

    With `differs` the first key alone can make two rows the same.
    """
    texts = [row.keys[0] for row in rows] if len(match.keys) == 1 else []
    if {str}.issuperset(map(type, texts)) and len(set(texts)) == len(rows):  # the usual case, at once
        yield from ([*rows[at : at + BATCH]] for at in range(0, len(rows), BATCH))
        return
    while rows:
        taken: dict[str, Mapped] = {}
        left = []
        for row in rows:
            keys = row.keys[:1] if match.differs else row.keys
            alone = keys[0] if len(keys) == 1 else None
            key = alone if isinstance(alone, str) else json.dumps(keys, default=str) if keys else row.key
            if key in taken or len(taken) == BATCH:
                left.append(row)
            else:
                taken[key] = row
        yield list(taken.values())
        rows = left


def _creates(decision: Decision) -> bool:
    return decision.change is not None and decision.change.verb == "create"

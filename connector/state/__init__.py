"""What the engine remembers: streams with lease and cursor, links, handled versions, runs, outcomes, intents.

SQLAlchemy Core on SQLite (WAL, synchronous FULL, BEGIN IMMEDIATE) by default, the same SQL on PostgreSQL. Every write of
a run goes through one guarded transaction that first checks that the run still holds the stream's token.
"""

from connector.state.nouns import Batch, Cursor, Intent, Lease, Link, Parked, Pass, Stream, Version
from connector.state.store import Store

__all__ = ["Batch", "Cursor", "Intent", "Lease", "Link", "Parked", "Pass", "Store", "Stream", "Version"]

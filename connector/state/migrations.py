"""From each version of the tables to the next, as SQL that SQLite and PostgreSQL both understand.

A table that is new is made without being named here. Whatever these statements come to is what tables.py says of a new
store: add to both, and only add, so that an older store is never rewritten.
"""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE link ADD COLUMN home_base TEXT",
        "ALTER TABLE link ADD COLUMN remote_base TEXT",
        "DROP INDEX outcome_open",  # as good as outcome_record to a planner without statistics, and far worse
        "CREATE INDEX outcome_waiting ON outcome (stream_id) WHERE open",
    ),
}
"""The version that is reached -> how."""

VERSION = max(MIGRATIONS)

-- A store as version 1 made it, with a run behind it that ended in the middle of a pass. {id} and {number} are the
-- database's own: INTEGER and INTEGER, or BIGSERIAL and BIGINT.
CREATE TABLE cache (scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (scope, key));
CREATE TABLE intent (
  stream_id {number} NOT NULL, key TEXT NOT NULL, payload TEXT NOT NULL, sent TEXT NOT NULL, PRIMARY KEY (stream_id, key)
);
CREATE TABLE link (
  id {id} NOT NULL, stream_id {number} NOT NULL, key TEXT NOT NULL, home TEXT NOT NULL, remote TEXT NOT NULL, made TEXT NOT NULL,
  active BOOLEAN NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (id), UNIQUE (stream_id, key)
);
CREATE INDEX link_home ON link (stream_id, home);
CREATE INDEX link_remote ON link (stream_id, remote);
CREATE TABLE meta (key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE note (
  id {id} NOT NULL, run_id {number}, stream_id {number} NOT NULL, at BIGINT NOT NULL, level TEXT NOT NULL, code TEXT NOT NULL,
  message TEXT NOT NULL, record TEXT, field TEXT, PRIMARY KEY (id)
);
CREATE INDEX ix_note_run_id ON note (run_id);
CREATE TABLE outcome (
  id {id} NOT NULL, run_id {number} NOT NULL, stream_id {number} NOT NULL, at BIGINT NOT NULL, attempts BIGINT NOT NULL,
  retry_at BIGINT, read TEXT NOT NULL, record TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, reason TEXT,
  target TEXT, field TEXT, open BOOLEAN NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX outcome_record ON outcome (stream_id, record);
CREATE INDEX outcome_open ON outcome (stream_id, open);
CREATE INDEX ix_outcome_run_id ON outcome (run_id);
CREATE TABLE run (
  id {id} NOT NULL, stream_id {number} NOT NULL, started BIGINT NOT NULL, calls BIGINT NOT NULL, finished BIGINT, status TEXT NOT NULL,
  counts TEXT NOT NULL, digest TEXT NOT NULL, since TEXT, until TEXT, error TEXT, PRIMARY KEY (id)
);
CREATE INDEX ix_run_stream_id ON run (stream_id);
CREATE TABLE stream (
  id {id} NOT NULL, connection TEXT NOT NULL, object TEXT NOT NULL, cursor TEXT NOT NULL, started_at BIGINT, slot_at BIGINT,
  lease_until BIGINT, owner TEXT, token TEXT, PRIMARY KEY (id), UNIQUE (connection, object)
);
CREATE TABLE version (
  stream_id {number} NOT NULL, read TEXT NOT NULL, record TEXT NOT NULL, carrier TEXT NOT NULL, stamp TEXT NOT NULL,
  digest TEXT NOT NULL, pass_id {number} NOT NULL, PRIMARY KEY (stream_id, read, record, carrier)
);
INSERT INTO meta VALUES ('schema_version', '1');
INSERT INTO stream (connection, object, cursor, started_at, slot_at) VALUES ('c', 'item', '{"watermark": "2025-03-10T14:00:00Z", "activated": "2025-03-10T13:00:00Z", "open": {"id": 1, "since": null, "until": "2025-03-10T15:00:00Z", "digest": "d", "trigger": 0, "after": ["2025-03-10T14:30:00Z", "7"]}}', 1741618800000, 1741618800000);
INSERT INTO run (stream_id, started, calls, finished, status, counts, digest) VALUES (1, 1741618800000, 3, 1741618860000, 'partial', '{"read": 2, "created": 1, "failed": 1}', 'd');
INSERT INTO outcome (run_id, stream_id, at, attempts, retry_at, read, record, outcome, message, reason, target, open) VALUES
  (1, 1, 1741618830000, 1, NULL, 'thing', '6', 'created', '', NULL, '106', false),
  (1, 1, 1741618830000, 2, 1741619700000, 'thing', '7', 'failed', 'it said no', 'rejected', NULL, true);
INSERT INTO note (run_id, stream_id, at, level, code, message, record) VALUES (1, 1, 1741618830000, 'error', 'rejected', 'it said no', '7');
INSERT INTO link (stream_id, key, home, remote, made, active, at) VALUES (1, '6', '106', '6', 'manual', true, 1741618830000);
INSERT INTO version (stream_id, read, record, carrier, stamp, digest, pass_id) VALUES (1, 'thing', '6', 'thing', '2025-03-10T14:29:00Z', 'abc', 1);
INSERT INTO intent (stream_id, key, payload, sent) VALUES (1, '8', '{"name": "n"}', '2025-03-10T14:59:00Z');
INSERT INTO cache (scope, key, value) VALUES ('c/remote', 'describe', '{}');

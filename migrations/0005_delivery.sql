-- What delivery has served, and which originals were opened to whom. `bytes` of one day and tier are what was handed on,
-- so that of Wasabi they are measured egress; a grant's are granted, whether or not they are ever read.

CREATE TABLE delivery_counts (
  -- 2026-11-25, UTC.
  day TEXT NOT NULL,
  -- 'cache', 'r2', 'wasabi', or 'none' for what nobody could serve.
  served_from TEXT NOT NULL,
  requests INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (day, served_from)
) STRICT, WITHOUT ROWID;

-- One row per presigned URL of an original.
CREATE TABLE egress_grants (
  -- The request id of the call that granted it.
  id TEXT PRIMARY KEY NOT NULL,
  file_id TEXT NOT NULL,
  client_name TEXT NOT NULL,
  -- The token's subject and role.
  sub TEXT NOT NULL,
  role TEXT NOT NULL,
  granted_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  -- JSON of the time ranges asked for; null for the whole file.
  time_ranges TEXT,
  whole INTEGER NOT NULL,
  -- What a reader of just these ranges reads; the whole size where it was not narrowed.
  granted_bytes INTEGER NOT NULL,
  -- What was read from Wasabi to find the ranges.
  measured_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX egress_grants_by_time ON egress_grants (granted_at);
CREATE INDEX egress_grants_by_file ON egress_grants (file_id, granted_at);

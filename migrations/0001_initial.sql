-- The catalogue: a projection of the Asset objects for lists and sweeps, and the record of what went wrong. Only the
-- tables below the line marked "records" hold anything that cannot be had again from the objects.
-- Times are ISO 8601 UTC with milliseconds, so that text order is time order. Each index costs a written row per change.

CREATE TABLE assets (
  file_id TEXT PRIMARY KEY NOT NULL,
  client_name TEXT NOT NULL,
  project_name TEXT NOT NULL,
  file_name TEXT NOT NULL,
  -- File name and id in lower case, for searching.
  search TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  state TEXT NOT NULL,
  -- Raised by the object at every change: a late message never replaces a newer row.
  revision INTEGER NOT NULL,
  problem_code TEXT,
  percent REAL,
  job_id TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- GET /v1/assets pages by (updated_at, file_id): for all clients, and for one client with or without a project.
CREATE INDEX assets_by_update ON assets (updated_at, file_id);
CREATE INDEX assets_by_client ON assets (client_name, updated_at, file_id, project_name, state);
-- What needs a person; partial, so that a healthy asset costs nothing.
CREATE INDEX assets_failed ON assets (updated_at, file_id) WHERE state = 'failed';

CREATE TABLE copies (
  file_id TEXT NOT NULL,
  tier TEXT NOT NULL,
  -- A rendition's quality, or 'original'.
  quality TEXT NOT NULL,
  job_id TEXT,
  key TEXT NOT NULL,
  status TEXT NOT NULL,
  size_bytes INTEGER,
  placed_at TEXT,
  verified_at TEXT,
  -- Last access, or the placement where nobody has played it: what retention counts from.
  idle_since TEXT,
  pinned_until TEXT,
  problem_code TEXT,
  revision INTEGER NOT NULL,
  PRIMARY KEY (file_id, tier, quality)
) STRICT, WITHOUT ROWID;

-- The retention sweep walks the oldest of each quality: its cost grows with what is due, not with what exists.
CREATE INDEX copies_by_idleness ON copies (quality, idle_since) WHERE tier = 'r2' AND status = 'placed';

-- records

CREATE TABLE dead_letters (
  -- The queue message's id: the same letter arriving twice is one row.
  id TEXT PRIMARY KEY NOT NULL,
  queue TEXT NOT NULL,
  -- Null where the body is not a command.
  command_type TEXT,
  command_id TEXT,
  file_id TEXT,
  body TEXT NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  dead_at TEXT NOT NULL,
  -- 'replayed' or 'discarded'; null while it waits for a person.
  resolution TEXT,
  resolved_at TEXT,
  resolved_by TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_open ON dead_letters (dead_at, id) WHERE resolution IS NULL;

-- One row per cause, however often it happens.
CREATE TABLE alerts (
  cause TEXT PRIMARY KEY NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  file_id TEXT,
  times INTEGER NOT NULL,
  first_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  cleared_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  document TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  updated_by TEXT NOT NULL
) STRICT;

-- Calls to the application; `id` is the webhook-id.
CREATE TABLE app_deliveries (
  id TEXT PRIMARY KEY NOT NULL,
  file_id TEXT NOT NULL,
  event TEXT NOT NULL,
  revision INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  -- The last answer's HTTP status; null when there was none.
  last_status INTEGER,
  last_attempt_at TEXT NOT NULL,
  delivered_at TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX app_deliveries_by_file ON app_deliveries (file_id, last_attempt_at);

-- Multipart uploads that consumers opened themselves, noted before the first part: the timer aborts what was abandoned,
-- because Wasabi bills the parts.
CREATE TABLE open_uploads (
  upload_id TEXT PRIMARY KEY NOT NULL,
  key TEXT NOT NULL,
  file_id TEXT NOT NULL,
  opened_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX open_uploads_by_age ON open_uploads (opened_at);

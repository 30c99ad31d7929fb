-- Retention at run time, and the ledgers: who is due where projects differ, what operators ordered, what Wasabi was asked for.

-- Whose a copy is: for projects whose retention differs from everybody's.
ALTER TABLE copies ADD COLUMN client_name TEXT NOT NULL DEFAULT '';
ALTER TABLE copies ADD COLUMN project_name TEXT NOT NULL DEFAULT '';
UPDATE copies SET
  client_name = coalesce((SELECT client_name FROM assets WHERE assets.file_id = copies.file_id), ''),
  project_name = coalesce((SELECT project_name FROM assets WHERE assets.file_id = copies.file_id), '');

-- As copies_by_idleness, for one project: those with a shorter retention than everybody's are asked for by name.
CREATE INDEX copies_by_project ON copies (client_name, project_name, quality, idle_since)
  WHERE tier = 'r2' AND status = 'placed';

-- A project's assets by pages, whatever changes meanwhile.
CREATE INDEX assets_by_project ON assets (client_name, project_name, file_id);

-- Raised at every change, so that of two who change it at the same time one is told.
ALTER TABLE policy ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- How far a sweep that goes by pages has come; JSON of its own.
ALTER TABLE sweeps ADD COLUMN position TEXT;

-- records

-- Nothing of these projects leaves R2 by itself before this.
CREATE TABLE project_pins (
  client_name TEXT NOT NULL,
  project_name TEXT NOT NULL,
  pinned_until TEXT NOT NULL,
  set_at TEXT NOT NULL,
  set_by TEXT NOT NULL,
  PRIMARY KEY (client_name, project_name)
) STRICT, WITHOUT ROWID;

-- Orders about a whole project ('wrap', 'prewarm'), carried out page by page by the timer.
CREATE TABLE project_runs (
  id TEXT PRIMARY KEY NOT NULL,
  kind TEXT NOT NULL,
  client_name TEXT NOT NULL,
  project_name TEXT NOT NULL,
  -- JSON of what was ordered: qualities, until when.
  request TEXT NOT NULL,
  -- The last file that was told; empty before the first.
  after_file_id TEXT NOT NULL,
  assets INTEGER NOT NULL,
  -- Copies whose asset took the order, and assets that gave no answer.
  ordered INTEGER NOT NULL,
  unanswered INTEGER NOT NULL,
  requested_at TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  finished_at TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX project_runs_open ON project_runs (requested_at) WHERE finished_at IS NULL;

-- Who ordered what. Never a secret, never a signed URL.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  by TEXT NOT NULL,
  action TEXT NOT NULL,
  -- Null for what concerns the whole deployment.
  client_name TEXT,
  project_name TEXT,
  file_id TEXT,
  detail TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_client ON audit (client_name, seq);

-- Objects in R2 that are no proxy. A complete listing that does not show one drops its row.
CREATE TABLE edge_strangers (
  key TEXT PRIMARY KEY NOT NULL,
  size_bytes INTEGER NOT NULL,
  uploaded_at TEXT NOT NULL,
  first_seen_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Bytes that left Wasabi, by UTC day and by why. Added up by whoever reads: never one row per request.
CREATE TABLE egress_days (
  day TEXT NOT NULL,
  source TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  reads INTEGER NOT NULL,
  PRIMARY KEY (day, source)
) STRICT, WITHOUT ROWID;

-- What lay where, counted once a day.
CREATE TABLE storage_days (
  day TEXT NOT NULL,
  client_name TEXT NOT NULL,
  tier TEXT NOT NULL,
  -- 'original' or 'proxy'.
  content TEXT NOT NULL,
  objects INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  counted_at TEXT NOT NULL,
  PRIMARY KEY (day, client_name, tier, content)
) STRICT, WITHOUT ROWID;

-- The sweep for multipart uploads that nobody noted: what it saw, and what it said.

-- One row per sweep that runs less often than the timer ticks.
CREATE TABLE sweeps (
  name TEXT PRIMARY KEY NOT NULL,
  started_at TEXT NOT NULL,
  -- The last sweep that saw everything; null before the first.
  completed_at TEXT,
  -- What kept it from seeing everything, as it was logged: the same again is not logged again. Null while all is well.
  trouble TEXT
) STRICT, WITHOUT ROWID;

-- Uploads past their grace that the last complete listing showed; one that is gone from it leaves no row.
CREATE TABLE stray_uploads (
  upload_id TEXT PRIMARY KEY NOT NULL,
  key TEXT NOT NULL,
  initiated_at TEXT NOT NULL,
  first_seen_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

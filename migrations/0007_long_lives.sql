-- Lists by creation, how far the catalogue is behind, and tokens that were ended before their time.

-- GET /v1/assets?order=created pages by (created_at, file_id). Neither ever changes, so that a change writes no row here.
CREATE INDEX assets_by_creation ON assets (created_at, file_id);
CREATE INDEX assets_by_client_creation ON assets (client_name, created_at, file_id, project_name);

-- Rows of `assets` that were written within one minute, and how long the one that waited most was not listed. Kept a day.
CREATE TABLE catalogue_lag (
  -- 2026-11-30T22:35, UTC.
  minute TEXT PRIMARY KEY NOT NULL,
  written INTEGER NOT NULL,
  worst_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- records

-- Bearer tokens that are refused although their signature is good and their time not over.
CREATE TABLE revoked_tokens (
  -- 'jti': this one token. 'sub': every token of this subject that was issued before `issued_before`, or does not say when.
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  -- Seconds since 1970, as a token's `iat`; null for a jti.
  issued_before INTEGER,
  -- Seconds since 1970, as a token's `exp`: the row goes with the token. Null: nobody said when that is, and it stays.
  expires_at INTEGER,
  reason TEXT NOT NULL,
  revoked_at TEXT NOT NULL,
  revoked_by TEXT NOT NULL,
  PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

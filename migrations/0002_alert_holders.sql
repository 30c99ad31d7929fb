-- Alerts that come from the assets themselves: whom an alert concerns, and which assets still hold it open.

-- Null for what concerns the whole deployment.
ALTER TABLE alerts ADD COLUMN client_name TEXT;

-- One row per asset and open cause. An alert is cleared with its last row.
CREATE TABLE alert_holders (
  file_id TEXT NOT NULL,
  cause TEXT NOT NULL,
  PRIMARY KEY (file_id, cause)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_holders_by_cause ON alert_holders (cause);

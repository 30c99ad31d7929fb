-- What runners read of originals, for the ledger of egress: told once by the asset, when a day or a lease is over.

CREATE TABLE source_reads (
  -- 2026-11-28, UTC.
  day TEXT NOT NULL,
  file_id TEXT NOT NULL,
  -- Of the lease that read: an asset has one lease per generation.
  generation INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (day, file_id, generation)
) STRICT, WITHOUT ROWID;

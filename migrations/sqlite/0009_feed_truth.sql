-- A grant holds within its period, however seldom the EHR is read.
ALTER TABLE consent_entry ADD COLUMN starts_at INTEGER;
ALTER TABLE consent_entry ADD COLUMN ends_at INTEGER;

-- meta.lastUpdated of what we know, so that an older answer does not overwrite it
ALTER TABLE appointment ADD COLUMN last_updated INTEGER;

-- What the EHR refuses to a feed, until it does not any more: operators have to see it.
CREATE TABLE feed_refusal (
    tenant BLOB NOT NULL,
    feed TEXT NOT NULL,
    code TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, feed)
);

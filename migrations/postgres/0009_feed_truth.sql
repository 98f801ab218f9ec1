-- A grant holds within its period, however seldom the EHR is read.
ALTER TABLE consent_entry ADD COLUMN starts_at BIGINT;
ALTER TABLE consent_entry ADD COLUMN ends_at BIGINT;

-- meta.lastUpdated of what we know, so that an older answer does not overwrite it
ALTER TABLE appointment ADD COLUMN last_updated BIGINT;

-- What the EHR refuses to a feed, until it does not any more: operators have to see it.
CREATE TABLE feed_refusal (
    tenant BYTEA NOT NULL,
    feed TEXT NOT NULL,
    code TEXT NOT NULL,
    times BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, feed)
);

-- Data keys, wrapped under their tenant's key-encryption key.
CREATE TABLE data_key (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    purpose TEXT NOT NULL,
    -- the month in UTC that the key seals in (2026-03), or 'any'
    period TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- fingerprint of the key-encryption key
    kek TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    check_value BLOB NOT NULL,
    -- seals that processes have reserved under the key
    reserved INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    active_from INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- of two processes that make the same key, one wins
CREATE UNIQUE INDEX data_key_version ON data_key (tenant, purpose, period, version);

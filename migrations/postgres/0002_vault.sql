-- Data keys, wrapped under their tenant's key-encryption key.
CREATE TABLE data_key (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    purpose TEXT NOT NULL,
    -- the month in UTC that the key seals in (2026-03), or 'any'
    period TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- fingerprint of the key-encryption key
    kek TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    check_value BYTEA NOT NULL,
    -- seals that processes have reserved under the key
    reserved BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- of two processes that make the same key, one wins
CREATE UNIQUE INDEX data_key_version ON data_key (tenant, purpose, period, version);

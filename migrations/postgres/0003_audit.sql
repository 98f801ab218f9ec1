-- The audit log: rows with a MAC, and the head of the chain over them.
CREATE TABLE audit_row (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    purpose TEXT NOT NULL,
    request BYTEA,
    -- JSON: kinds and ids of what the action was about
    subjects TEXT NOT NULL,
    outcome TEXT NOT NULL,
    -- JSON: codes, counts and ids
    detail TEXT NOT NULL,
    -- HMAC over everything above, and the version of its key
    key_version BIGINT NOT NULL,
    mac BYTEA NOT NULL,
    -- given by the sealer: the row's place in the log, without gaps, and the chain up to it
    seq BIGINT,
    chain BYTEA,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX audit_row_seq ON audit_row (tenant, seq);
CREATE INDEX audit_row_unsealed ON audit_row (tenant, id) WHERE seq IS NULL;

CREATE TABLE audit_head (
    tenant BYTEA NOT NULL PRIMARY KEY,
    row_count BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    last_chain BYTEA NOT NULL,
    sealed_at BIGINT NOT NULL,
    key_version BIGINT NOT NULL,
    mac BYTEA NOT NULL
);

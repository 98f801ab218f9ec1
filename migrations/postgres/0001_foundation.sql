-- Tenants and the job queue.
CREATE TABLE tenant (
    id BYTEA NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE job (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT,
    unique_key TEXT,
    -- jobs that wait for the same thing and are hastened together
    waits_for TEXT,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    run_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    again BIGINT NOT NULL,
    lease_token BYTEA,
    lease_until BIGINT,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX job_due ON job (state, run_at);
CREATE INDEX job_lane ON job (tenant, lane, id) WHERE lane IS NOT NULL;
CREATE UNIQUE INDEX job_unique ON job (tenant, kind, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX job_waits_for ON job (tenant, kind, waits_for) WHERE waits_for IS NOT NULL;

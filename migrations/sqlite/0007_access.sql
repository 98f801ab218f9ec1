-- Staff as the EHR knows them, launches under way, sessions and sealed grants.

CREATE TABLE staff_user (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    issuer TEXT NOT NULL,
    fhir_user TEXT NOT NULL,
    -- sealed: as the EHR gives it
    name BLOB NOT NULL,
    -- JSON: role codes of ours
    roles TEXT NOT NULL,
    roles_checked_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX staff_user_fhir ON staff_user (tenant, issuer, fhir_user);

CREATE TABLE launch_state (
    -- SHA-256 of the state value
    state_hash BLOB NOT NULL PRIMARY KEY,
    tenant BLOB NOT NULL,
    -- sealed: what the launch must come back with; its place is named by the state itself, so it is not sealed anew
    body BLOB NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE session (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    -- SHA-256 of the cookie's value
    token_hash BLOB NOT NULL,
    staff_user BLOB NOT NULL,
    patient BLOB,
    roles TEXT NOT NULL,
    authentication TEXT NOT NULL,
    -- sealed JSON: the EHR's tokens
    grant_tokens BLOB,
    started_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    ended_why TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX session_token ON session (token_hash);
CREATE INDEX session_staff_user ON session (tenant, staff_user);
CREATE INDEX session_open ON session (last_seen_at) WHERE ended_at IS NULL;

CREATE TABLE draft (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    staff_user BLOB NOT NULL,
    patient BLOB NOT NULL,
    -- sealed: the text
    body BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX draft_place ON draft (tenant, staff_user, patient);

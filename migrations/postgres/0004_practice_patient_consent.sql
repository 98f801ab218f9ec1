-- The practice's versioned policy, patients under our own ids, and the consent ledger.

CREATE TABLE practice_policy (
    tenant BYTEA NOT NULL,
    version BIGINT NOT NULL,
    settings TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, version)
);

CREATE TABLE patient (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    -- sealed JSON: given and family name, birth date, gender
    identity BYTEA NOT NULL,
    language TEXT NOT NULL,
    deceased BIGINT NOT NULL,
    merged_into BYTEA,
    -- sealed JSON: names of the patient's medications and conditions, for the content guard
    chart_terms BYTEA,
    chart_terms_at BIGINT,
    refreshed_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- Several FHIR ids may mean one patient (merges).
CREATE TABLE patient_ehr_id (
    tenant BYTEA NOT NULL,
    fhir_id TEXT NOT NULL,
    patient BYTEA NOT NULL,
    version TEXT,
    -- another FHIR id has taken its place
    replaced BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, fhir_id)
);
CREATE INDEX patient_ehr_id_patient ON patient_ehr_id (tenant, patient);

CREATE TABLE patient_number (
    tenant BYTEA NOT NULL,
    patient BYTEA NOT NULL,
    -- blind index of the number under the tenant's search key
    number_token BYTEA NOT NULL,
    key_version BIGINT NOT NULL,
    -- sealed: the number itself; its place is named by the patient
    number BYTEA NOT NULL,
    kind TEXT NOT NULL,
    rank BIGINT NOT NULL,
    current BIGINT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (tenant, patient, number_token)
);
CREATE INDEX patient_number_token ON patient_number (tenant, number_token);

-- Append-only: who said what about which texts, when and how.
CREATE TABLE consent_entry (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    -- absent when the number belongs to nobody we know
    patient BYTEA,
    -- absent: holds for every number of the patient
    number_token BYTEA,
    category TEXT NOT NULL,
    decision TEXT NOT NULL,
    source TEXT NOT NULL,
    wording TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    -- sealed: the form, the text or the remark that proves it
    proof BYTEA,
    ehr_reference TEXT,
    effective_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX consent_entry_patient ON consent_entry (tenant, patient, category, id);
CREATE INDEX consent_entry_number ON consent_entry (tenant, number_token, id);
CREATE UNIQUE INDEX consent_entry_ehr ON consent_entry (tenant, ehr_reference, category) WHERE ehr_reference IS NOT NULL;

-- Numbers that must not be texted. One row a number; released rows stay as proof.
CREATE TABLE suppression (
    tenant BYTEA NOT NULL,
    number_token BYTEA NOT NULL,
    stopped BIGINT NOT NULL,
    source TEXT NOT NULL,
    since BIGINT NOT NULL,
    confirmed_at BIGINT,
    PRIMARY KEY (tenant, number_token)
);

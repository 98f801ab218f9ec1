-- The practice's versioned policy, patients under our own ids, and the consent ledger.

CREATE TABLE practice_policy (
    tenant BLOB NOT NULL,
    version INTEGER NOT NULL,
    settings TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, version)
);

CREATE TABLE patient (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    -- sealed JSON: given and family name, birth date, gender
    identity BLOB NOT NULL,
    language TEXT NOT NULL,
    deceased INTEGER NOT NULL,
    merged_into BLOB,
    -- sealed JSON: names of the patient's medications and conditions, for the content guard
    chart_terms BLOB,
    chart_terms_at INTEGER,
    refreshed_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- Several FHIR ids may mean one patient (merges).
CREATE TABLE patient_ehr_id (
    tenant BLOB NOT NULL,
    fhir_id TEXT NOT NULL,
    patient BLOB NOT NULL,
    version TEXT,
    -- another FHIR id has taken its place
    replaced INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, fhir_id)
);
CREATE INDEX patient_ehr_id_patient ON patient_ehr_id (tenant, patient);

CREATE TABLE patient_number (
    tenant BLOB NOT NULL,
    patient BLOB NOT NULL,
    -- blind index of the number under the tenant's search key
    number_token BLOB NOT NULL,
    key_version INTEGER NOT NULL,
    -- sealed: the number itself; its place is named by the patient
    number BLOB NOT NULL,
    kind TEXT NOT NULL,
    rank INTEGER NOT NULL,
    current INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant, patient, number_token)
);
CREATE INDEX patient_number_token ON patient_number (tenant, number_token);

-- Append-only: who said what about which texts, when and how.
CREATE TABLE consent_entry (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    -- absent when the number belongs to nobody we know
    patient BLOB,
    -- absent: holds for every number of the patient
    number_token BLOB,
    category TEXT NOT NULL,
    decision TEXT NOT NULL,
    source TEXT NOT NULL,
    wording TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    -- sealed: the form, the text or the remark that proves it
    proof BLOB,
    ehr_reference TEXT,
    effective_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX consent_entry_patient ON consent_entry (tenant, patient, category, id);
CREATE INDEX consent_entry_number ON consent_entry (tenant, number_token, id);
CREATE UNIQUE INDEX consent_entry_ehr ON consent_entry (tenant, ehr_reference, category) WHERE ehr_reference IS NOT NULL;

-- Numbers that must not be texted. One row a number; released rows stay as proof.
CREATE TABLE suppression (
    tenant BLOB NOT NULL,
    number_token BLOB NOT NULL,
    stopped INTEGER NOT NULL,
    source TEXT NOT NULL,
    since INTEGER NOT NULL,
    confirmed_at INTEGER,
    PRIMARY KEY (tenant, number_token)
);

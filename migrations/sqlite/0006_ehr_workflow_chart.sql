-- What we know of the EHR's appointments, the workflows over them, our writes to the EHR, and the chart.

CREATE TABLE appointment (
    tenant BLOB NOT NULL,
    fhir_id TEXT NOT NULL,
    patient BLOB NOT NULL,
    status TEXT NOT NULL,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    version TEXT,
    practitioner TEXT,
    location TEXT,
    service_type TEXT,
    -- JSON: slot references
    slots TEXT NOT NULL,
    -- sealed JSON: names of provider and place as patients may read them
    labels BLOB NOT NULL,
    -- how we last moved or cancelled it ourselves, so that our own write is not taken for the staff's
    own_version TEXT,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, fhir_id)
);
CREATE INDEX appointment_start ON appointment (tenant, start_at);
CREATE INDEX appointment_patient ON appointment (tenant, patient, start_at);

CREATE TABLE reminder_plan (
    tenant BLOB NOT NULL,
    appointment TEXT NOT NULL,
    start_at INTEGER NOT NULL,
    days_before INTEGER NOT NULL,
    patient BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    message BLOB,
    PRIMARY KEY (tenant, appointment, start_at, days_before)
);
CREATE INDEX reminder_plan_patient ON reminder_plan (tenant, patient, state, due_at);
CREATE INDEX reminder_plan_message ON reminder_plan (tenant, message);

-- One row a running or finished workflow; `data` holds ids, codes and instants.
CREATE TABLE workflow (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    patient BLOB NOT NULL,
    our_number TEXT NOT NULL,
    number_token BLOB NOT NULL,
    subject TEXT NOT NULL,
    data TEXT NOT NULL,
    revision INTEGER NOT NULL,
    deadline INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- One of a kind for one thing: whoever comes second finds the first.
CREATE UNIQUE INDEX workflow_subject ON workflow (tenant, kind, subject);

CREATE TABLE slot_hold (
    tenant BLOB NOT NULL,
    slot TEXT NOT NULL,
    workflow BLOB NOT NULL,
    appointment TEXT NOT NULL,
    -- JSON: the slots that the appointment fills until it has moved
    leaves TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, slot)
);

CREATE TABLE refill_notice (
    tenant BLOB NOT NULL,
    medication_request TEXT NOT NULL,
    due_on TEXT NOT NULL,
    patient BLOB NOT NULL,
    workflow BLOB NOT NULL,
    task TEXT,
    task_status TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, medication_request, due_on)
);
CREATE INDEX refill_notice_task ON refill_notice (tenant, task);

-- Every write to an EHR, before it is tried and as it ended.
CREATE TABLE ehr_write (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    -- what makes the write the same write: an identifier that goes into the resource, or a cause of ours
    intent TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    state TEXT NOT NULL,
    reference TEXT,
    version TEXT,
    code TEXT,
    attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX ehr_write_intent ON ehr_write (tenant, intent);
CREATE INDEX ehr_write_state ON ehr_write (tenant, state);
CREATE INDEX ehr_write_resource ON ehr_write (tenant, resource);

CREATE TABLE chart_filing (
    tenant BLOB NOT NULL,
    message BLOB NOT NULL,
    reference TEXT,
    version TEXT,
    -- the message state that the chart shows, or waiting / rejected with its code
    state TEXT NOT NULL,
    code TEXT,
    filed_at INTEGER,
    PRIMARY KEY (tenant, message)
);

CREATE TABLE feed_cursor (
    tenant BLOB NOT NULL,
    feed TEXT NOT NULL,
    position TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, feed)
);

CREATE TABLE quarantine (
    tenant BLOB NOT NULL,
    resource TEXT NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, resource, path, kind)
);

-- What we know of the EHR's appointments, the workflows over them, our writes to the EHR, and the chart.

CREATE TABLE appointment (
    tenant BYTEA NOT NULL,
    fhir_id TEXT NOT NULL,
    patient BYTEA NOT NULL,
    status TEXT NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    version TEXT,
    practitioner TEXT,
    location TEXT,
    service_type TEXT,
    -- JSON: slot references
    slots TEXT NOT NULL,
    -- sealed JSON: names of provider and place as patients may read them
    labels BYTEA NOT NULL,
    -- how we last moved or cancelled it ourselves, so that our own write is not taken for the staff's
    own_version TEXT,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, fhir_id)
);
CREATE INDEX appointment_start ON appointment (tenant, start_at);
CREATE INDEX appointment_patient ON appointment (tenant, patient, start_at);

CREATE TABLE reminder_plan (
    tenant BYTEA NOT NULL,
    appointment TEXT NOT NULL,
    start_at BIGINT NOT NULL,
    days_before BIGINT NOT NULL,
    patient BYTEA NOT NULL,
    due_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    message BYTEA,
    PRIMARY KEY (tenant, appointment, start_at, days_before)
);
CREATE INDEX reminder_plan_patient ON reminder_plan (tenant, patient, state, due_at);
CREATE INDEX reminder_plan_message ON reminder_plan (tenant, message);

-- One row a running or finished workflow; `data` holds ids, codes and instants.
CREATE TABLE workflow (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    patient BYTEA NOT NULL,
    our_number TEXT NOT NULL,
    number_token BYTEA NOT NULL,
    subject TEXT NOT NULL,
    data TEXT NOT NULL,
    revision BIGINT NOT NULL,
    deadline BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- One of a kind for one thing: whoever comes second finds the first.
CREATE UNIQUE INDEX workflow_subject ON workflow (tenant, kind, subject);

CREATE TABLE slot_hold (
    tenant BYTEA NOT NULL,
    slot TEXT NOT NULL,
    workflow BYTEA NOT NULL,
    appointment TEXT NOT NULL,
    -- JSON: the slots that the appointment fills until it has moved
    leaves TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, slot)
);

CREATE TABLE refill_notice (
    tenant BYTEA NOT NULL,
    medication_request TEXT NOT NULL,
    due_on TEXT NOT NULL,
    patient BYTEA NOT NULL,
    workflow BYTEA NOT NULL,
    task TEXT,
    task_status TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, medication_request, due_on)
);
CREATE INDEX refill_notice_task ON refill_notice (tenant, task);

-- Every write to an EHR, before it is tried and as it ended.
CREATE TABLE ehr_write (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    -- what makes the write the same write: an identifier that goes into the resource, or a cause of ours
    intent TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    state TEXT NOT NULL,
    reference TEXT,
    version TEXT,
    code TEXT,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX ehr_write_intent ON ehr_write (tenant, intent);
CREATE INDEX ehr_write_state ON ehr_write (tenant, state);
CREATE INDEX ehr_write_resource ON ehr_write (tenant, resource);

CREATE TABLE chart_filing (
    tenant BYTEA NOT NULL,
    message BYTEA NOT NULL,
    reference TEXT,
    version TEXT,
    -- the message state that the chart shows, or waiting / rejected with its code
    state TEXT NOT NULL,
    code TEXT,
    filed_at BIGINT,
    PRIMARY KEY (tenant, message)
);

CREATE TABLE feed_cursor (
    tenant BYTEA NOT NULL,
    feed TEXT NOT NULL,
    position TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, feed)
);

CREATE TABLE quarantine (
    tenant BYTEA NOT NULL,
    resource TEXT NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    times BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, resource, path, kind)
);

-- Conversations, texts in both directions, attempts to send, questions, readings and tasks for people.

-- The row that inbound commits and attempt commits lock: one per tenant and patient number.
CREATE TABLE number_line (
    tenant BYTEA NOT NULL,
    number_token BYTEA NOT NULL,
    -- inbound texts committed and not yet read
    unread BIGINT NOT NULL,
    last_inbound_at BIGINT,
    -- the attempt that the carrier has not answered for
    unsettled_attempt BYTEA,
    -- when we last told an unknown number who we are; when help was last given
    introduced_at BIGINT,
    helped_at BIGINT,
    PRIMARY KEY (tenant, number_token)
);

CREATE TABLE conversation (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    our_number TEXT NOT NULL,
    number_token BYTEA NOT NULL,
    -- sixteen zero bytes: nobody that we know
    patient BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX conversation_parties ON conversation (tenant, our_number, number_token, patient);

CREATE TABLE message (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    direction TEXT NOT NULL,
    conversation BYTEA,
    patient BYTEA,
    our_number TEXT NOT NULL,
    number_token BYTEA NOT NULL,
    -- sealed: the other side's number
    number BYTEA NOT NULL,
    class TEXT NOT NULL,
    category TEXT NOT NULL,
    language TEXT NOT NULL,
    template_key TEXT,
    template_version BIGINT,
    -- sealed JSON: what the template is filled with
    parameters BYTEA,
    -- sealed: the text; for outbound texts from the moment they are cleared
    body BYTEA,
    -- HMAC of the text under the tenant's hash key
    content_hash BYTEA,
    segments BIGINT,
    media_count BIGINT NOT NULL,
    author TEXT NOT NULL,
    in_response_to BYTEA,
    about TEXT,
    about_version TEXT,
    workflow BYTEA,
    -- JSON: the question that the text asks, opened when it leaves
    asks TEXT,
    -- the writer chose to send in quiet hours
    quiet_overridden BIGINT NOT NULL,
    not_before BIGINT,
    expires_at BIGINT,
    state TEXT NOT NULL,
    state_reason TEXT,
    -- JSON of codes and ids: how the gate decided
    decision TEXT,
    carrier TEXT,
    carrier_id TEXT,
    received_at BIGINT,
    sealed_at BIGINT,
    sent_at BIGINT,
    delivered_at BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX message_conversation ON message (tenant, conversation, id);
CREATE INDEX message_patient ON message (tenant, patient, id);
CREATE INDEX message_number ON message (tenant, number_token, id);
CREATE INDEX message_carrier_id ON message (tenant, carrier_id);

CREATE TABLE message_dedupe (
    tenant BYTEA NOT NULL,
    carrier TEXT NOT NULL,
    carrier_id TEXT NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (tenant, carrier, carrier_id)
);

CREATE TABLE attempt (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    message BYTEA NOT NULL,
    number_token BYTEA NOT NULL,
    state TEXT NOT NULL,
    send_by BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    settled_at BIGINT,
    carrier TEXT NOT NULL,
    carrier_id TEXT,
    code TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX attempt_message ON attempt (tenant, message, id);

-- Every status that a carrier told us, as it came.
CREATE TABLE delivery_event (
    tenant BYTEA NOT NULL,
    message BYTEA NOT NULL,
    status TEXT NOT NULL,
    attempt BYTEA NOT NULL,
    code TEXT,
    told_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    PRIMARY KEY (tenant, message, status)
);

CREATE TABLE question (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    our_number TEXT NOT NULL,
    number_token BYTEA NOT NULL,
    patient BYTEA NOT NULL,
    workflow BYTEA NOT NULL,
    message BYTEA NOT NULL,
    context TEXT NOT NULL,
    -- JSON: numbers, slot references and instants
    offered TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX question_open ON question (tenant, our_number, number_token) WHERE state = 'open';
CREATE INDEX question_workflow ON question (tenant, workflow);

-- What a reply was read as.
CREATE TABLE reading (
    tenant BYTEA NOT NULL,
    message BYTEA NOT NULL,
    question BYTEA,
    intents TEXT NOT NULL,
    urgency TEXT NOT NULL,
    sentiment TEXT NOT NULL,
    certain BIGINT NOT NULL,
    reasons TEXT NOT NULL,
    -- JSON: which of the offered times was meant
    slot TEXT,
    reader_version TEXT NOT NULL,
    read_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, message)
);

-- Work for a person.
CREATE TABLE staff_task (
    tenant BYTEA NOT NULL,
    id BYTEA NOT NULL,
    patient BYTEA,
    message BYTEA,
    team TEXT NOT NULL,
    reason TEXT NOT NULL,
    urgency TEXT NOT NULL,
    state TEXT NOT NULL,
    unique_key TEXT NOT NULL,
    about TEXT,
    created_at BIGINT NOT NULL,
    closed_at BIGINT,
    closed_by BYTEA,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX staff_task_unique ON staff_task (tenant, unique_key);
CREATE INDEX staff_task_patient ON staff_task (tenant, patient, state);

-- How far the carrier's own list has been read.
CREATE TABLE carrier_watermark (
    tenant BYTEA NOT NULL,
    carrier TEXT NOT NULL,
    our_number TEXT NOT NULL,
    read_until BIGINT NOT NULL,
    PRIMARY KEY (tenant, carrier, our_number)
);

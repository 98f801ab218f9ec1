-- Conversations, texts in both directions, attempts to send, questions, readings and tasks for people.

-- The row that inbound commits and attempt commits lock: one per tenant and patient number.
CREATE TABLE number_line (
    tenant BLOB NOT NULL,
    number_token BLOB NOT NULL,
    -- inbound texts committed and not yet read
    unread INTEGER NOT NULL,
    last_inbound_at INTEGER,
    -- the attempt that the carrier has not answered for
    unsettled_attempt BLOB,
    -- when we last told an unknown number who we are; when help was last given
    introduced_at INTEGER,
    helped_at INTEGER,
    PRIMARY KEY (tenant, number_token)
);

CREATE TABLE conversation (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    our_number TEXT NOT NULL,
    number_token BLOB NOT NULL,
    -- sixteen zero bytes: nobody that we know
    patient BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX conversation_parties ON conversation (tenant, our_number, number_token, patient);

CREATE TABLE message (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    direction TEXT NOT NULL,
    conversation BLOB,
    patient BLOB,
    our_number TEXT NOT NULL,
    number_token BLOB NOT NULL,
    -- sealed: the other side's number
    number BLOB NOT NULL,
    class TEXT NOT NULL,
    category TEXT NOT NULL,
    language TEXT NOT NULL,
    template_key TEXT,
    template_version INTEGER,
    -- sealed JSON: what the template is filled with
    parameters BLOB,
    -- sealed: the text; for outbound texts from the moment they are cleared
    body BLOB,
    -- HMAC of the text under the tenant's hash key
    content_hash BLOB,
    segments INTEGER,
    media_count INTEGER NOT NULL,
    author TEXT NOT NULL,
    in_response_to BLOB,
    about TEXT,
    about_version TEXT,
    workflow BLOB,
    -- JSON: the question that the text asks, opened when it leaves
    asks TEXT,
    -- the writer chose to send in quiet hours
    quiet_overridden INTEGER NOT NULL,
    not_before INTEGER,
    expires_at INTEGER,
    state TEXT NOT NULL,
    state_reason TEXT,
    -- JSON of codes and ids: how the gate decided
    decision TEXT,
    carrier TEXT,
    carrier_id TEXT,
    received_at INTEGER,
    sealed_at INTEGER,
    sent_at INTEGER,
    delivered_at INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX message_conversation ON message (tenant, conversation, id);
CREATE INDEX message_patient ON message (tenant, patient, id);
CREATE INDEX message_number ON message (tenant, number_token, id);
CREATE INDEX message_carrier_id ON message (tenant, carrier_id);

CREATE TABLE message_dedupe (
    tenant BLOB NOT NULL,
    carrier TEXT NOT NULL,
    carrier_id TEXT NOT NULL,
    message BLOB NOT NULL,
    PRIMARY KEY (tenant, carrier, carrier_id)
);

CREATE TABLE attempt (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    message BLOB NOT NULL,
    number_token BLOB NOT NULL,
    state TEXT NOT NULL,
    send_by INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    settled_at INTEGER,
    carrier TEXT NOT NULL,
    carrier_id TEXT,
    code TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX attempt_message ON attempt (tenant, message, id);

-- Every status that a carrier told us, as it came.
CREATE TABLE delivery_event (
    tenant BLOB NOT NULL,
    message BLOB NOT NULL,
    status TEXT NOT NULL,
    attempt BLOB NOT NULL,
    code TEXT,
    told_at INTEGER NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (tenant, message, status)
);

CREATE TABLE question (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    our_number TEXT NOT NULL,
    number_token BLOB NOT NULL,
    patient BLOB NOT NULL,
    workflow BLOB NOT NULL,
    message BLOB NOT NULL,
    context TEXT NOT NULL,
    -- JSON: numbers, slot references and instants
    offered TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX question_open ON question (tenant, our_number, number_token) WHERE state = 'open';
CREATE INDEX question_workflow ON question (tenant, workflow);

-- What a reply was read as.
CREATE TABLE reading (
    tenant BLOB NOT NULL,
    message BLOB NOT NULL,
    question BLOB,
    intents TEXT NOT NULL,
    urgency TEXT NOT NULL,
    sentiment TEXT NOT NULL,
    certain INTEGER NOT NULL,
    reasons TEXT NOT NULL,
    -- JSON: which of the offered times was meant
    slot TEXT,
    reader_version TEXT NOT NULL,
    read_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, message)
);

-- Work for a person.
CREATE TABLE staff_task (
    tenant BLOB NOT NULL,
    id BLOB NOT NULL,
    patient BLOB,
    message BLOB,
    team TEXT NOT NULL,
    reason TEXT NOT NULL,
    urgency TEXT NOT NULL,
    state TEXT NOT NULL,
    unique_key TEXT NOT NULL,
    about TEXT,
    created_at INTEGER NOT NULL,
    closed_at INTEGER,
    closed_by BLOB,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX staff_task_unique ON staff_task (tenant, unique_key);
CREATE INDEX staff_task_patient ON staff_task (tenant, patient, state);

-- How far the carrier's own list has been read.
CREATE TABLE carrier_watermark (
    tenant BLOB NOT NULL,
    carrier TEXT NOT NULL,
    our_number TEXT NOT NULL,
    read_until INTEGER NOT NULL,
    PRIMARY KEY (tenant, carrier, our_number)
);

-- What grows with every text is kept by month: the newest texts' indexes stay small, and a month can be moved, compressed or
-- dropped as a whole. Ids begin with the unix milliseconds of their making (UUIDv7, RFC 9562 section 5.7), so that a range
-- of ids is a range of time; what belongs to a text lies in its text's month. What is of no month that was made stands in
-- the table's default partition. SQLite has nothing of the kind, and no need: it serves one machine.

ALTER TABLE message RENAME TO message_default;
ALTER TABLE message_default RENAME CONSTRAINT message_pkey TO message_default_pkey;
ALTER INDEX message_conversation RENAME TO message_default_conversation;
ALTER INDEX message_patient RENAME TO message_default_patient;
ALTER INDEX message_number RENAME TO message_default_number;
ALTER INDEX message_carrier_id RENAME TO message_default_carrier_id;
ALTER INDEX message_under_way RENAME TO message_default_under_way;
ALTER INDEX message_read_back RENAME TO message_default_read_back;
CREATE TABLE message (LIKE message_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, id)) PARTITION BY RANGE (id);
CREATE INDEX message_conversation ON message (tenant, conversation, id);
CREATE INDEX message_patient ON message (tenant, patient, id);
CREATE INDEX message_number ON message (tenant, number_token, id);
CREATE INDEX message_carrier_id ON message (tenant, carrier_id);
CREATE INDEX message_under_way ON message (tenant, sent_at) WHERE direction = 'out' AND state IN ('accepted', 'sent');
CREATE INDEX message_read_back ON message (tenant, number_token) WHERE read_back = 'open';
ALTER TABLE message ATTACH PARTITION message_default DEFAULT;

ALTER TABLE attempt RENAME TO attempt_default;
ALTER TABLE attempt_default RENAME CONSTRAINT attempt_pkey TO attempt_default_pkey;
ALTER INDEX attempt_message RENAME TO attempt_default_message;
CREATE TABLE attempt (LIKE attempt_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, id)) PARTITION BY RANGE (id);
CREATE INDEX attempt_message ON attempt (tenant, message, id);
ALTER TABLE attempt ATTACH PARTITION attempt_default DEFAULT;

ALTER TABLE delivery_event RENAME TO delivery_event_default;
ALTER TABLE delivery_event_default RENAME CONSTRAINT delivery_event_pkey TO delivery_event_default_pkey;
CREATE TABLE delivery_event (LIKE delivery_event_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, message, status))
    PARTITION BY RANGE (message);
ALTER TABLE delivery_event ATTACH PARTITION delivery_event_default DEFAULT;

ALTER TABLE reading RENAME TO reading_default;
ALTER TABLE reading_default RENAME CONSTRAINT reading_pkey TO reading_default_pkey;
CREATE TABLE reading (LIKE reading_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, message)) PARTITION BY RANGE (message);
ALTER TABLE reading ATTACH PARTITION reading_default DEFAULT;

ALTER TABLE chart_filing RENAME TO chart_filing_default;
ALTER TABLE chart_filing_default RENAME CONSTRAINT chart_filing_pkey TO chart_filing_default_pkey;
CREATE TABLE chart_filing (LIKE chart_filing_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, message))
    PARTITION BY RANGE (message);
ALTER TABLE chart_filing ATTACH PARTITION chart_filing_default DEFAULT;

-- A place in the log is unique within each partition, which holds its index; over all of them it is the sealer that gives
-- each place once, and `audit verify` that shows it.
ALTER TABLE audit_row RENAME TO audit_row_default;
ALTER TABLE audit_row_default RENAME CONSTRAINT audit_row_pkey TO audit_row_default_pkey;
ALTER INDEX audit_row_seq RENAME TO audit_row_default_seq;
ALTER INDEX audit_row_unsealed RENAME TO audit_row_default_unsealed;
CREATE TABLE audit_row (LIKE audit_row_default INCLUDING DEFAULTS, PRIMARY KEY (tenant, id)) PARTITION BY RANGE (id);
CREATE INDEX audit_row_unsealed ON audit_row (tenant, id) WHERE seq IS NULL;
ALTER TABLE audit_row ATTACH PARTITION audit_row_default DEFAULT;

-- Makes the partition of `kept` for what was made from `starts` until `ends` (unix milliseconds), with what of that stood in
-- the default partition. Whether there was none before.
CREATE FUNCTION make_month(kept TEXT, suffix TEXT, starts BIGINT, ends BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
    month TEXT := kept || '_' || suffix;
    low BYTEA := decode(lpad(to_hex(starts), 12, '0'), 'hex');
    high BYTEA := decode(lpad(to_hex(ends), 12, '0'), 'hex');
    key TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('chartwire make_month ' || kept));
    IF to_regclass(quote_ident(month)) IS NOT NULL THEN
        RETURN FALSE;
    END IF;
    SELECT attname INTO STRICT key FROM pg_partitioned_table JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
        WHERE partrelid = to_regclass(quote_ident(kept));
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', month, kept || '_default');
    EXECUTE format(
        'WITH moved AS (DELETE FROM %1$I WHERE %2$I >= $1 AND %2$I < $2 RETURNING *) INSERT INTO %3$I SELECT * FROM moved',
        kept || '_default', key, month) USING low, high;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', kept, month, low, high);
    RETURN TRUE;
END $$;

-- The months of what is there already.
DO $$
DECLARE
    kept TEXT;
    key TEXT;
    first BYTEA;
    last BYTEA;
    month TIMESTAMP;
BEGIN
    FOREACH kept IN ARRAY ARRAY['message', 'attempt', 'delivery_event', 'reading', 'chart_filing', 'audit_row'] LOOP
        key := CASE WHEN kept IN ('message', 'attempt', 'audit_row') THEN 'id' ELSE 'message' END;
        EXECUTE format('SELECT %2$I FROM %1$I ORDER BY %2$I LIMIT 1', kept, key) INTO first;
        EXECUTE format('SELECT %2$I FROM %1$I ORDER BY %2$I DESC LIMIT 1', kept, key) INTO last;
        CONTINUE WHEN first IS NULL;
        FOR month IN SELECT generate_series(
            date_trunc('month', to_timestamp(('x' || encode(substring(first FROM 1 FOR 6), 'hex'))::BIT(48)::BIGINT / 1000) AT TIME ZONE 'UTC'),
            to_timestamp(('x' || encode(substring(last FROM 1 FOR 6), 'hex'))::BIT(48)::BIGINT / 1000) AT TIME ZONE 'UTC',
            '1 month')
        LOOP
            PERFORM make_month(
                kept,
                to_char(month, 'YYYY_MM'),
                (extract(epoch FROM month AT TIME ZONE 'UTC') * 1000)::BIGINT,
                (extract(epoch FROM (month + INTERVAL '1 month') AT TIME ZONE 'UTC') * 1000)::BIGINT);
        END LOOP;
    END LOOP;
END $$;

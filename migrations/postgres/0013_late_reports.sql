-- When the carrier was last asked how the text has ended, and the texts that are asked about: those whose end is open.
ALTER TABLE message ADD COLUMN reports_asked_at BIGINT;
CREATE INDEX message_under_way ON message (tenant, sent_at) WHERE direction = 'out' AND state IN ('accepted', 'sent');

-- A database that was put back from a backup: what happened since is read back before anything leaves.
CREATE TABLE recovery (
    tenant BLOB NOT NULL,
    -- what was committed after this instant may be missing here
    since INTEGER NOT NULL,
    marked_at INTEGER NOT NULL,
    -- restored, operator or audit-head: how it became known
    how TEXT NOT NULL,
    -- when the reading of the carrier's lists that was complete began
    inbound_read_at INTEGER,
    outbound_read_at INTEGER,
    -- who vouches for what no list shows
    confirmed_by TEXT,
    confirmed_at INTEGER,
    lifted_at INTEGER,
    PRIMARY KEY (tenant)
);

-- In a backup: when it was begun.
CREATE TABLE backup_stamp (
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (taken_at)
);

-- The hour that was planned for a text, however late it is queued.
ALTER TABLE message ADD COLUMN due_at INTEGER;
-- Read back from the carrier after a restore: open, or claimed by the text that was about to repeat it.
ALTER TABLE message ADD COLUMN read_back TEXT;
CREATE INDEX message_read_back ON message (tenant, number_token) WHERE read_back = 'open';

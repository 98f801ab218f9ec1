-- The open sessions of a practice are looked up every minute, among all that there have ever been.

DROP INDEX session_open;
CREATE INDEX session_open ON session (tenant, last_seen_at) WHERE ended_at IS NULL;

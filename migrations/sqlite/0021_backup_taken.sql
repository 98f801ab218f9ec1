-- When the newest whole backup of this database was begun. Not that of a copy: `backup_stamp` says what a copy is of.
CREATE TABLE backup_taken (
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (taken_at)
);

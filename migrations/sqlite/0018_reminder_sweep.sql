-- How far the sweep that plans every known visit anew has come, and by which rules. Without a visit it begins at the next.
CREATE TABLE reminder_sweep (
    tenant BLOB NOT NULL PRIMARY KEY,
    rules TEXT NOT NULL,
    after_start INTEGER,
    after_appointment TEXT
);

-- Visits in the order in which they are swept, in pages.
DROP INDEX appointment_start;
CREATE INDEX appointment_start ON appointment (tenant, start_at, fhir_id);

-- What an entry was taken from is no longer the EHR alone: a form at the desk, a line of an imported list.
ALTER TABLE consent_entry RENAME COLUMN ehr_reference TO origin;

-- IANA names of the zones that the patient's address leaves open, between spaces; empty where it tells nothing. Of the
-- address itself nothing is kept.
ALTER TABLE patient ADD COLUMN zones TEXT NOT NULL DEFAULT '';

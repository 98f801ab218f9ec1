-- The text tells the patient how to stop: where the practice's policy allows it, later ones go without.
ALTER TABLE message ADD COLUMN says_how_to_stop BIGINT NOT NULL DEFAULT 0;

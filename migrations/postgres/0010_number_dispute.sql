-- The text whose sender said that the number is not the patient's; until a person has settled that, nothing automated leaves.
ALTER TABLE patient_number ADD COLUMN disputed_by BYTEA;

-- What is looked up for one patient, one text or one number is found by an index that leads there, and in the order that is
-- asked for: SQLite keeps no statistics and would rather walk through a tenant in the right order than sort a few rows.

CREATE INDEX patient_merged ON patient (tenant, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX question_message ON question (tenant, message);
CREATE INDEX question_number ON question (tenant, our_number, number_token);
DROP INDEX staff_task_patient;
CREATE INDEX staff_task_patient ON staff_task (tenant, patient, state, id);
CREATE INDEX staff_task_message ON staff_task (tenant, message);
DROP INDEX reminder_plan_message;
CREATE INDEX reminder_plan_message ON reminder_plan (tenant, message, appointment, start_at, days_before);
DROP INDEX ehr_write_resource;
CREATE INDEX ehr_write_resource ON ehr_write (tenant, resource, id);

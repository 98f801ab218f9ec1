-- Each kind of job is looked up by itself, in the order in which its jobs are due.
DROP INDEX job_due;
CREATE INDEX job_due ON job (state, kind, run_at, id);

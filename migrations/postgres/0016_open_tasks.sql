-- What is open, for the gauges: how many tasks, and how old the oldest is.
CREATE INDEX staff_task_open ON staff_task (tenant, team, urgency, created_at) WHERE state = 'open';

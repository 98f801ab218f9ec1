//! The rows of workflows and of the appointments that they are about.
//!
//! Always: a transition is written only from the revision that it was decided on; with it, in one transaction, go the
//! texts, the work for people, the jobs and the plans that it causes.

use super::{
    ReminderDue, WORKFLOW_TIMEOUT, Workflow, WorkflowTimeout,
    plan::PlanState,
    plan_store::{Replan, end_plan},
    relevance::is_on,
};
use crate::{
    db::{Command, DbError, Query, Row, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Patient, Tenant},
    messaging::{self, PreparedText},
    practice::Practice,
    routing::{NewTask, open_task},
    vault::Sealed,
};
use jiff::Timestamp;

/// A workflow as it is stored.
#[derive(Debug, Clone)]
pub(super) struct WorkflowRow {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<Workflow>,
    pub(super) kind: &'static str,
    pub(super) state: String,
    pub(super) patient: Id<Patient>,
    pub(super) our_number: String,
    pub(super) number_token: Vec<u8>,
    pub(super) subject: String,
    pub(super) data: String,
    /// 0: not stored yet.
    pub(super) revision: i64,
    pub(super) deadline: Option<Timestamp>,
}

/// Conversations about a visit.
pub(super) const VISIT: &str = "visit";
/// Conversations about a refill.
pub(super) const REFILL: &str = "refill";

const NOT_STORED: i64 = 0;

impl WorkflowRow {
    /// A workflow that is not stored yet.
    pub(super) fn new(
        practice: &Practice,
        id: Id<Workflow>,
        kind: &'static str,
        patient: Id<Patient>,
        subject: String,
    ) -> Self {
        Self {
            tenant: practice.tenant,
            id,
            kind,
            state: String::new(),
            patient,
            our_number: practice.numbers.first().map(|own| own.number.as_e164().to_owned()).unwrap_or_default(),
            number_token: Vec::new(),
            subject,
            data: String::new(),
            revision: NOT_STORED,
            deadline: None,
        }
    }

    pub(super) fn with_id(tenant: Id<Tenant>, id: Id<Workflow>) -> Query {
        sql("SELECT tenant, id, kind, state, patient, our_number, number_token, subject, data, revision, deadline FROM workflow \
             WHERE tenant = $1 AND id = $2")
        .bind(tenant)
        .bind(id)
    }

    pub(super) fn about(tenant: Id<Tenant>, kind: &'static str, subject: &str) -> Query {
        sql("SELECT tenant, id, kind, state, patient, our_number, number_token, subject, data, revision, deadline FROM workflow \
             WHERE tenant = $1 AND kind = $2 AND subject = $3")
        .bind(tenant)
        .bind(kind)
        .bind(subject)
    }

    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let kind = match row.get::<String>("kind")?.as_str() {
            VISIT => VISIT,
            REFILL => REFILL,
            _ => return Err(DbError::Decode { column: "kind" }),
        };
        Ok(Self {
            tenant: row.get("tenant")?,
            id: row.get("id")?,
            kind,
            state: row.get("state")?,
            patient: row.get("patient")?,
            our_number: row.get("our_number")?,
            number_token: row.get("number_token")?,
            subject: row.get("subject")?,
            data: row.get("data")?,
            revision: row.get("revision")?,
            deadline: row.get("deadline")?,
        })
    }

    /// Writes this row over the revision that it was loaded at. `false`: somebody else was faster.
    pub(super) async fn write(&self, tx: &mut Tx, now: Timestamp) -> Result<bool, DbError> {
        let written = if self.revision == NOT_STORED {
            tx.execute(
                sql("INSERT INTO workflow (tenant, id, kind, state, patient, our_number, number_token, subject, data, revision, deadline, \
                     created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $11) \
                     ON CONFLICT (tenant, kind, subject) DO NOTHING")
                .bind(self.tenant)
                .bind(self.id)
                .bind(self.kind)
                .bind(self.state.clone())
                .bind(self.patient)
                .bind(self.our_number.clone())
                .bind(self.number_token.clone())
                .bind(self.subject.clone())
                .bind(self.data.clone())
                .bind(self.deadline)
                .bind(now),
            )
            .await?
        } else {
            tx.execute(
                sql("UPDATE workflow SET state = $4, patient = $5, our_number = $6, number_token = $7, data = $8, deadline = $9, \
                     revision = revision + 1, updated_at = $10 WHERE tenant = $1 AND id = $2 AND revision = $3")
                .bind(self.tenant)
                .bind(self.id)
                .bind(self.revision)
                .bind(self.state.clone())
                .bind(self.patient)
                .bind(self.our_number.clone())
                .bind(self.number_token.clone())
                .bind(self.data.clone())
                .bind(self.deadline)
                .bind(now),
            )
            .await?
        };
        Ok(written == 1)
    }
}

/// An appointment as we know it.
#[derive(Debug, Clone)]
pub(super) struct Appointment {
    pub(super) id: String,
    pub(super) patient: Id<Patient>,
    pub(super) on: bool,
    pub(super) start: Timestamp,
    pub(super) location: Option<String>,
    pub(super) labels: Sealed,
}

impl Appointment {
    pub(super) fn with_id(tenant: Id<Tenant>, id: &str) -> Query {
        sql("SELECT fhir_id, patient, status, start_at, location, labels FROM appointment WHERE tenant = $1 AND fhir_id = $2")
            .bind(tenant)
            .bind(id)
    }

    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("fhir_id")?,
            patient: row.get("patient")?,
            on: is_on(&row.get::<String>("status")?),
            start: row.get("start_at")?,
            location: row.get("location")?,
            labels: Sealed::from_bytes(row.get("labels")?).map_err(|_| DbError::Decode { column: "labels" })?,
        })
    }

    /// How texts and workflows name it.
    pub(super) fn reference(id: &str) -> String {
        format!("Appointment/{id}")
    }

    /// When it takes place, if it does.
    pub(super) fn visit(&self) -> Option<Timestamp> {
        self.on.then_some(self.start)
    }
}

/// What we have learnt of an appointment by reading or changing it, ahead of the feed. The version that the feed has
/// seen stays, so that it still takes in the rest.
#[derive(Debug, Clone)]
pub(super) struct Learnt {
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) status: Option<String>,
    /// The version that we wrote ourselves.
    pub(super) own_version: Option<String>,
}

/// One step of a workflow with all that it causes.
pub(super) struct Transition {
    pub(super) row: WorkflowRow,
    pub(super) texts: Vec<PreparedText>,
    pub(super) tasks: Vec<NewTask>,
    /// The appointment that the workflow is about, and what we have learnt of it.
    pub(super) learnt: Option<(String, Learnt)>,
    pub(super) replan: Option<Replan>,
    /// Planned reminders that the first text stands for.
    pub(super) reminds: Vec<ReminderDue>,
    /// What the workflow has asked and not yet heard an answer to is void.
    pub(super) closes_questions: bool,
    pub(super) timeout: Option<NewJob>,
    pub(super) now: Timestamp,
}

impl Transition {
    /// A step to `row`, which carries nothing yet.
    pub(super) fn to(row: WorkflowRow, instruments: &Instruments) -> Result<Self, crate::jobs::JobError> {
        let timeout = match row.deadline {
            Some(deadline) => {
                let about = WorkflowTimeout { workflow: row.id };
                let job = NewJob::new(instruments, row.tenant, WORKFLOW_TIMEOUT, &about)?;
                Some(job.unique(row.id.to_string()).at(deadline))
            }
            None => None,
        };
        Ok(Self {
            row,
            texts: Vec::new(),
            tasks: Vec::new(),
            learnt: None,
            replan: None,
            reminds: Vec::new(),
            closes_questions: false,
            timeout,
            now: instruments.now(),
        })
    }

    async fn write_learnt(&self, tx: &mut Tx, appointment: &str, learnt: &Learnt) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE appointment SET start_at = $3, end_at = COALESCE($4, end_at), status = COALESCE($5, status), \
                 own_version = COALESCE($6, own_version) WHERE tenant = $1 AND fhir_id = $2")
            .bind(self.row.tenant)
            .bind(appointment)
            .bind(learnt.start)
            .bind(learnt.end)
            .bind(learnt.status.clone())
            .bind(learnt.own_version.clone()),
        )
        .await
        .map(|_| ())
    }
}

impl Command for Transition {
    /// Whether the workflow still was where the step was decided.
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        if !self.row.write(tx, self.now).await? {
            return Ok(false);
        }
        let tenant = self.row.tenant;
        if let Some((appointment, learnt)) = &self.learnt {
            self.write_learnt(tx, appointment, learnt).await?;
        }
        if self.closes_questions {
            messaging::close_of_workflow(tx, tenant, self.row.id).await?;
        }
        for task in &self.tasks {
            // Before the text that promises it (law 6).
            open_task(tx, task).await?;
        }
        for text in &self.texts {
            messaging::queue(tx, text).await?;
        }
        for due in &self.reminds {
            let message = self.texts.first().map(|text| text.id);
            if !end_plan(tx, tenant, due, PlanState::Queued, None, message).await? {
                // Another reminder was faster: all of this step is undone and judged anew.
                return Err(DbError::NotFound);
            }
        }
        if let Some(replan) = &self.replan {
            replan.apply(tx).await?;
        }
        if let Some(job) = &self.timeout {
            enqueue(tx, job).await?;
        }
        Ok(true)
    }
}

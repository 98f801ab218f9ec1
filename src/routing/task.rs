//! Work for people.

use crate::{
    access::Team,
    db::{Command, Db, DbError, Row, Topic, Tx, sql},
    intent::Urgency,
    kernel::{Id, Patient, StaffUser, Tenant},
    messaging::Message,
    patient,
};
use jiff::Timestamp;

/// Marks ids of staff tasks.
pub enum StaffTask {}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),* $(,)?) => {
        /// Why a person must look.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum TaskReason { $($(#[$doc])* $variant),* }

        impl TaskReason {
            /// The stored word.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The reason with this stored word.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// A text may speak of danger to life; call.
    Emergency = "emergency",
    /// A symptom, a wound, a side effect.
    Clinical = "clinical",
    /// The patient cannot pay or cost keeps them away.
    Financial = "financial",
    /// The patient is angry.
    Complaint = "complaint",
    /// The text could not be read with certainty.
    NotUnderstood = "not-understood",
    /// The number fits more than one patient.
    WhichPatient = "which-patient",
    /// The number fits nobody.
    UnknownNumber = "unknown-number",
    /// The number is not the patient's.
    WrongNumber = "wrong-number",
    /// STOP or CANCEL came as an answer to a reminder: is the visit meant?
    StoppedOrCancelled = "stopped-or-cancelled",
    /// The patient wants another time, and no text can arrange it.
    Reschedule = "reschedule",
    /// The patient does not want the visit.
    Cancel = "cancel",
    /// A refill was asked for outside a notice.
    Refill = "refill",
    /// A question of time, place or preparation.
    Question = "question",
    /// The patient asks for results.
    Results = "results",
    /// The patient is here or on the way.
    Arrival = "arrival",
    /// The answer to a reminder came after the visit.
    LateAnswer = "late-answer",
    /// The patient has no number that can be texted; what was to be said has to be told.
    NoNumber = "no-number",
    /// The EHR did not take a change.
    EhrRefused = "ehr-refused",
    /// Nobody knows whether the EHR took a change.
    EhrUnknown = "ehr-unknown",
    /// The EHR may have two visits at one time, one of them moved there by us.
    DoubleBooked = "double-booked",
    /// The EHR keeps a time for a move that was not made.
    SlotHeld = "slot-held",
    /// A text could not be delivered.
    Undelivered = "undelivered",
    /// Nobody knows whether a text left.
    DeliveryUnknown = "delivery-unknown",
    /// Texts fail for a reason that is the practice's and its carrier's: others will fail so, too.
    CarrierTrouble = "carrier-trouble",
    /// A text does not stand in the chart.
    NotFiled = "not-filed",
}

/// Work to be done.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id.
    pub id: Id<StaffTask>,
    /// Whose.
    pub tenant: Id<Tenant>,
    /// Whom it is about, where known.
    pub patient: Option<Id<Patient>>,
    /// The text that caused it.
    pub message: Option<Id<Message>>,
    /// Who should do it.
    pub team: Team,
    /// Why.
    pub reason: TaskReason,
    /// How soon.
    pub urgency: Urgency,
    /// The resource that it is about, as `Appointment/123`.
    pub about: Option<String>,
    /// Another task with the same key is the same task.
    pub unique_key: String,
    /// When it arose.
    pub now: Timestamp,
}

/// Writes down work for people, in the transaction of what causes it. The same task is written once.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn open_task(tx: &mut Tx, task: &NewTask) -> Result<(), DbError> {
    tx.execute(
        sql("INSERT INTO staff_task (tenant, id, patient, message, team, reason, urgency, state, unique_key, about, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8, $9, $10) ON CONFLICT (tenant, unique_key) DO NOTHING")
        .bind(task.tenant)
        .bind(task.id)
        .bind(task.patient)
        .bind(task.message)
        .bind(task.team.code())
        .bind(task.reason.code())
        .bind(task.urgency.label())
        .bind(task.unique_key.clone())
        .bind(task.about.clone())
        .bind(task.now),
    )
    .await?;
    tell_pages(tx, task.tenant, task.patient);
    Ok(())
}

/// Tells the open pages on which a task about `patient` stands to look again; one about nobody known, the worklists.
pub fn tell_pages(tx: &mut Tx, tenant: Id<Tenant>, patient: Option<Id<Patient>>) {
    match patient {
        Some(patient) => tx.publish(Topic::Thread, format!("{tenant}/{patient}")),
        None => tx.publish(Topic::Worklist, tenant.to_string()),
    }
}

/// An open task as people see it.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Its id.
    pub id: Id<StaffTask>,
    /// The text that caused it.
    pub message: Option<Id<Message>>,
    /// Who should do it.
    pub team: String,
    /// Why.
    pub reason: String,
    /// `routine`, `prompt` or `emergency`.
    pub urgency: String,
    /// When it arose.
    pub created_at: Timestamp,
}

/// The open tasks about `patient`, oldest first.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn open_tasks(db: &Db, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<TaskView>, DbError> {
    let rows = db
        .all(
            sql("SELECT id, message, team, reason, urgency, created_at FROM staff_task \
                 WHERE tenant = $1 AND patient = $2 AND state = 'open' ORDER BY id")
            .bind(tenant)
            .bind(patient),
        )
        .await?;
    rows.iter().map(read).collect()
}

/// A task from its row.
pub(super) fn read(row: &Row) -> Result<TaskView, DbError> {
    Ok(TaskView {
        id: row.get("id")?,
        message: row.get("message")?,
        team: row.get("team")?,
        reason: row.get("reason")?,
        urgency: row.get("urgency")?,
        created_at: row.get("created_at")?,
    })
}

/// Closes a task. Answers whether it was open. What a text has said against its number is settled by that.
pub struct CloseTask {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// Which.
    pub task: Id<StaffTask>,
    /// Who did it.
    pub by: Id<StaffUser>,
    /// When.
    pub now: Timestamp,
}

impl Command for CloseTask {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let closed = tx
            .execute(
                sql("UPDATE staff_task SET state = 'done', closed_at = $3, closed_by = $4 WHERE tenant = $1 AND id = $2 AND state = 'open'")
                    .bind(self.tenant)
                    .bind(self.task)
                    .bind(self.now)
                    .bind(self.by),
            )
            .await?;
        if closed == 1 {
            self.settle_dispute(tx).await?;
        }
        Ok(closed == 1)
    }
}

impl CloseTask {
    /// Where the task was to look into a wrong number, that has been done.
    async fn settle_dispute(&self, tx: &mut Tx) -> Result<(), DbError> {
        let said = tx
            .optional(
                sql("SELECT m.id, m.number_token FROM staff_task t JOIN message m ON m.tenant = t.tenant AND m.id = t.message \
                     WHERE t.tenant = $1 AND t.id = $2 AND m.direction = 'in'")
                .bind(self.tenant)
                .bind(self.task),
            )
            .await?;
        let Some(said) = said else { return Ok(()) };
        let (message, number) = (said.get::<Id<Message>>("id")?, said.get::<Vec<u8>>("number_token")?);
        patient::settle_dispute(tx, self.tenant, &number, message).await
    }
}

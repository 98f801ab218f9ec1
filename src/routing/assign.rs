//! A person says whose text one is that could not be told by its number alone.

use super::{StaffTask, TaskReason, task::tell_pages};
use crate::{
    audit::{self, AuditEntry, AuditSigner},
    db::{Command, DbError, Tx, sql},
    kernel::{Id, Instruments, Patient, StaffUser, Tenant},
    messaging::{self, Message, MessagingError},
    patient::numbers_holders,
};

/// What became of saying whose text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    /// The text is the patient's now, and on its way to the chart.
    Done,
    /// The number is not among the patient's, or not any more: nothing has changed.
    NotTheirNumber,
    /// The text is somebody's already: nothing has changed.
    Already,
}

/// Gives an inbound text to one of the patients who have its number.
///
/// With it go our own answers to it; from a number that exactly one patient has, also its other texts that stand on the
/// worklist. On a shared phone each text is asked about by itself: the next may be somebody else's. What a text asks for
/// stays open, with the patient now; that it was not known whose it is, is done.
pub struct AssignText {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// The text.
    pub message: Id<Message>,
    /// The blind index of its number.
    pub number_token: Vec<u8>,
    /// Who wrote it, as the person says.
    pub patient: Id<Patient>,
    /// The person.
    pub by: Id<StaffUser>,
    /// Time and randomness, for the jobs that follow.
    pub instruments: Instruments,
    /// What stands in the audit log.
    pub entry: AuditEntry,
    /// Signs that.
    pub signer: AuditSigner,
}

impl Command for AssignText {
    type Output = Assigned;
    type Error = MessagingError;

    async fn run(&self, tx: &mut Tx) -> Result<Assigned, MessagingError> {
        // Texts of this number are read under the same lock: none is half assigned, half read.
        messaging::lock_line(tx, self.tenant, &self.number_token).await?;
        let holders = numbers_holders(tx, self.tenant, &self.number_token).await?;
        if !holders.contains(&self.patient) {
            return Ok(Assigned::NotTheirNumber);
        }
        if !messaging::unassigned_about(tx, self.tenant, self.message).await?.contains(&self.message) {
            return Ok(Assigned::Already);
        }
        let mut waiting = if holders.len() == 1 { self.waiting(tx).await? } else { Vec::new() };
        if !waiting.contains(&self.message) {
            waiting.push(self.message);
        }
        let mut entry = self.entry.clone().about("patient", self.patient);
        for said in waiting {
            for text in messaging::unassigned_about(tx, self.tenant, said).await? {
                messaging::assign(tx, &self.instruments, self.tenant, text, self.patient).await?;
                entry = entry.about("message", text);
            }
            self.move_tasks(tx, said).await?;
        }
        audit::record(tx, &entry, &self.signer).await?;
        tell_pages(tx, self.tenant, Some(self.patient));
        tell_pages(tx, self.tenant, None);
        Ok(Assigned::Done)
    }
}

impl AssignText {
    /// The texts of this number that stand on the worklist, oldest first.
    async fn waiting(&self, tx: &mut Tx) -> Result<Vec<Id<Message>>, DbError> {
        let query = sql(
            "SELECT DISTINCT m.id FROM staff_task t JOIN message m ON m.tenant = t.tenant AND m.id = t.message \
             WHERE t.tenant = $1 AND t.patient IS NULL AND t.state = 'open' AND m.number_token = $2 AND m.patient IS NULL ORDER BY m.id",
        );
        let rows = tx.all(query.bind(self.tenant).bind(self.number_token.clone())).await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    async fn move_tasks(&self, tx: &mut Tx, text: Id<Message>) -> Result<(), DbError> {
        let tasks = tx
            .all(
                sql("SELECT id, reason FROM staff_task WHERE tenant = $1 AND message = $2 AND patient IS NULL AND state = 'open'")
                    .bind(self.tenant)
                    .bind(text),
            )
            .await?;
        for task in &tasks {
            let reason: String = task.get("reason")?;
            let only_whose = [TaskReason::WhichPatient, TaskReason::UnknownNumber].map(TaskReason::code);
            let moved = if only_whose.contains(&reason.as_str()) {
                sql("UPDATE staff_task SET patient = $3, state = 'done', closed_at = $4, closed_by = $5 WHERE tenant = $1 AND id = $2")
                    .bind(self.tenant)
                    .bind(task.get::<Id<StaffTask>>("id")?)
                    .bind(self.patient)
                    .bind(self.instruments.now())
                    .bind(self.by)
            } else {
                sql("UPDATE staff_task SET patient = $3 WHERE tenant = $1 AND id = $2")
                    .bind(self.tenant)
                    .bind(task.get::<Id<StaffTask>>("id")?)
                    .bind(self.patient)
            };
            tx.execute(moved).await?;
        }
        Ok(())
    }
}

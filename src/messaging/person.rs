//! What a person decides about a text that nothing else settles (law 4).

use super::{
    Class, Message, MessagingError, Settler, changed::changed_job, gate::LONGEST_WAIT, journal::Journal, line,
    outbound, question, rows::AttemptRow, state,
};
use crate::{
    audit::Request,
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, StaffUser, Tenant},
};
use jiff::Timestamp;

/// What a person decides about a text of which nobody knows whether it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonSettles {
    /// It is treated as sent; nothing leaves.
    AsSent,
    /// It is treated as not sent and goes through the gate again.
    AsNotSent,
}

impl Settler {
    /// Settles an unknown text as `person` says, in `request`. Answers whether it was still unknown.
    ///
    /// # Errors
    /// [`MessagingError`] when the vault or the database is away.
    pub async fn settle_by_person(
        &self,
        tenant: Id<Tenant>,
        message: Id<Message>,
        decision: PersonSettles,
        person: Id<StaffUser>,
        request: Option<Id<Request>>,
    ) -> Result<bool, MessagingError> {
        let Some(attempt) = AttemptRow::newest(&self.db, tenant, message).await? else { return Ok(false) };
        if attempt.state != "unknown" {
            return Ok(false);
        }
        let stored = |_| MessagingError::Stored;
        self.db
            .execute(SettleByPerson {
                tenant,
                decision,
                person,
                request,
                now: self.instruments.now(),
                changed: changed_job(&self.instruments, tenant, message, &attempt.number_token).map_err(stored)?,
                send: outbound::send_job(&self.instruments, tenant, message, &attempt.number_token).map_err(stored)?,
                journal: Journal::of(&self.vault, &self.instruments, tenant).await?,
                attempt,
            })
            .await
            .map_err(MessagingError::from)
    }
}

struct SettleByPerson {
    tenant: Id<Tenant>,
    attempt: AttemptRow,
    decision: PersonSettles,
    person: Id<StaffUser>,
    request: Option<Id<Request>>,
    now: Timestamp,
    changed: NewJob,
    send: NewJob,
    journal: Journal,
}

impl Command for SettleByPerson {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        line::lock(tx, self.tenant, &self.attempt.number_token).await?;
        let (how, to) = match self.decision {
            PersonSettles::AsSent => ("person-sent", state::SENT),
            PersonSettles::AsNotSent => ("person-not-sent", state::QUEUED),
        };
        let settled = tx
            .execute(
                sql("UPDATE attempt SET state = $3, settled_at = $4 WHERE tenant = $1 AND id = $2 AND state = 'unknown'")
                    .bind(self.tenant)
                    .bind(self.attempt.id)
                    .bind(how)
                    .bind(self.now),
            )
            .await?;
        if settled == 0 {
            return Ok(false);
        }
        tx.execute(
            sql("UPDATE message SET state = $3, state_reason = $4, sent_at = COALESCE(sent_at, $5) \
                 WHERE tenant = $1 AND id = $2 AND state = 'unknown'")
            .bind(self.tenant)
            .bind(self.attempt.message)
            .bind(to)
            .bind(how)
            // What counts as sent counts for the caps too.
            .bind((self.decision == PersonSettles::AsSent).then_some(self.attempt.committed_at)),
        )
        .await?;
        line::note_settled(
            tx,
            self.tenant,
            &self.attempt.number_token,
            self.attempt.id,
            self.attempt.message,
            self.now,
        )
        .await?;
        enqueue(tx, &self.changed).await?;
        if self.decision == PersonSettles::AsNotSent {
            question::close_of_message(tx, self.tenant, self.attempt.message).await?;
            self.renew(tx).await?;
            enqueue(tx, &self.send).await?;
        }
        self.journal.settled_by_person(tx, &self.attempt, (self.person, self.request), how).await?;
        outbound::publish(tx, self.tenant, self.attempt.patient);
        Ok(true)
    }
}

impl SettleByPerson {
    /// What staff wrote and want sent after all has its whole life before it again; what the program wrote stays stale.
    async fn renew(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE message SET expires_at = $4 WHERE tenant = $1 AND id = $2 AND class = $3 AND expires_at < $4")
                .bind(self.tenant)
                .bind(self.attempt.message)
                .bind(Class::StaffReply.code())
                .bind(self.now.checked_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX)),
        )
        .await
        .map(|_| ())
    }
}

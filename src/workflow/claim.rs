//! Who acts for a workflow: one answer at a time.
//!
//! Always: an answer is claimed before the EHR is asked anything for it, in the workflow's own row; whoever finds the
//! claim of another answer waits, and whoever finds their own goes on after a crash. Of several answers to one question
//! the first counts.

use super::{
    Workflow, Workflows,
    answer::Reply,
    refill::{Refill, stage},
    store::{REFILL, WorkflowRow},
    visit::{Answer, Handled, Visit, VisitState},
};
use crate::{
    access::Team,
    db::{Command, DbError, Tx},
    jobs::JobError,
    kernel::{Id, Tenant},
    messaging::{self, Message},
    routing::{NewTask, TaskReason, open_task},
};
use jiff::{SignedDuration, Timestamp};

/// How soon another answer to a workflow that is busy looks again.
const BUSY_FOR: SignedDuration = SignedDuration::from_secs(5);

/// What a workflow remembers, by its kind.
pub(super) enum Memory {
    /// Of a conversation about a visit.
    Visit(Box<Visit>),
    /// Of one about a refill.
    Refill(Box<Refill>),
}

impl Memory {
    pub(super) fn of(row: &WorkflowRow) -> Result<Self, DbError> {
        let memory = if row.kind == REFILL {
            serde_json::from_str(&row.data).map(Self::Refill)
        } else {
            serde_json::from_str(&row.data).map(Self::Visit)
        };
        memory.map_err(|_| DbError::Decode { column: "data" })
    }

    pub(super) fn written(&self) -> Result<String, DbError> {
        let written = match self {
            Self::Visit(visit) => serde_json::to_string(visit),
            Self::Refill(refill) => serde_json::to_string(refill),
        };
        written.map_err(|_| DbError::Decode { column: "data" })
    }

    /// The answer that is being dealt with.
    pub(super) fn acting(&mut self) -> &mut Option<Id<Message>> {
        match self {
            Self::Visit(visit) => &mut visit.acting,
            Self::Refill(refill) => &mut refill.acting,
        }
    }

    /// The answer that was dealt with last.
    fn handled(&self) -> Option<&Handled> {
        match self {
            Self::Visit(visit) => visit.handled.as_ref(),
            Self::Refill(refill) => refill.handled.as_ref(),
        }
    }

    /// The state in which a person has the conversation.
    pub(super) const fn with_staff(&self) -> &'static str {
        match self {
            Self::Visit(_) => VisitState::WithStaff.code(),
            Self::Refill(_) => stage::WITH_STAFF,
        }
    }
}

impl Workflows {
    /// Claims the workflow for an answer; `None` where the answer needs nothing any more. An answer that differs from one
    /// that came before is a nurse's to read.
    pub(super) async fn claim(&self, workflow: Id<Workflow>, reply: &Reply) -> Result<Option<WorkflowRow>, JobError> {
        let unclear = reply.task(self, Team::Nursing, TaskReason::NotUnderstood, "");
        let claim = ClaimAnswer {
            tenant: reply.practice.tenant,
            workflow,
            question: reply.question.id,
            message: reply.text.id,
            answer: reply.answer.clone(),
            unclear: NewTask { about: None, ..unclear },
            now: self.instruments.now(),
        };
        match self.db.execute(claim).await? {
            Claimed::Ours(row) => Ok(Some(*row)),
            Claimed::Done => Ok(None),
            Claimed::Busy => {
                let until = self.instruments.now().checked_add(BUSY_FOR).unwrap_or(Timestamp::MAX);
                Err(JobError::Postpone { code: "workflow-busy", until })
            }
        }
    }
}

/// What became of a claim.
enum Claimed {
    /// The answer is ours to act on.
    Ours(Box<WorkflowRow>),
    /// Another answer is being acted on.
    Busy,
    /// It has been dealt with.
    Done,
}

/// Takes an answer to be acted on.
struct ClaimAnswer {
    tenant: Id<Tenant>,
    workflow: Id<Workflow>,
    question: Id<messaging::Question>,
    message: Id<Message>,
    answer: Answer,
    /// For whoever looks at a second, different answer.
    unclear: NewTask,
    now: Timestamp,
}

impl Command for ClaimAnswer {
    type Output = Claimed;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Claimed, DbError> {
        let Some(row) = tx.optional(WorkflowRow::with_id(self.tenant, self.workflow)).await? else {
            return Ok(Claimed::Done);
        };
        let mut row = WorkflowRow::read(&row)?;
        let mut memory = Memory::of(&row)?;
        let is_handled = |handled: &Handled| handled.message == self.message;
        let acting = *memory.acting();
        match acting {
            Some(acting) if acting == self.message => return Ok(Claimed::Ours(Box::new(row))),
            Some(_) => return Ok(Claimed::Busy),
            None if memory.handled().is_some_and(is_handled) => return Ok(Claimed::Done),
            None => {}
        }
        if !messaging::claim_answer(tx, self.tenant, self.question).await? {
            // Somebody has answered already: twice the same needs nothing, anything else a person.
            if memory.handled().is_none_or(|handled| handled.answer != self.answer) {
                open_task(tx, &self.unclear).await?;
            }
            return Ok(Claimed::Done);
        }
        *memory.acting() = Some(self.message);
        row.data = memory.written()?;
        if !row.write(tx, self.now).await? {
            return Err(DbError::NotFound);
        }
        row.revision += 1;
        Ok(Claimed::Ours(Box::new(row)))
    }
}

//! Open tasks that are not known to be about one patient: a text from an unknown number or a shared one, a fault of the
//! practice's own. They stand on the worklist until somebody has done them or has said whose text it is.

use super::{StaffTask, TaskView, task};
use crate::{
    db::{Db, DbError, Row, sql},
    kernel::{Id, Tenant},
};

/// How many open tasks of one team and urgency wait without a patient.
#[derive(Debug, Clone)]
pub struct Unassigned {
    /// Whose work they are.
    pub team: String,
    /// `routine`, `prompt` or `emergency`.
    pub urgency: String,
    /// How many.
    pub tasks: u32,
}

/// The open tasks without a patient: emergencies first, then what is prompt, each oldest first; at most `limit`.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn unassigned(db: &Db, tenant: Id<Tenant>, limit: u32) -> Result<Vec<TaskView>, DbError> {
    let query = sql("SELECT id, message, team, reason, urgency, created_at FROM staff_task \
         WHERE tenant = $1 AND patient IS NULL AND state = 'open' \
         ORDER BY CASE urgency WHEN 'emergency' THEN 0 WHEN 'routine' THEN 2 ELSE 1 END, id LIMIT $2");
    db.all(query.bind(tenant).bind(limit)).await?.iter().map(task::read).collect()
}

/// The open task `task`, if no patient is known for it.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn is_unassigned(db: &Db, tenant: Id<Tenant>, task: Id<StaffTask>) -> Result<Option<TaskView>, DbError> {
    let query = sql("SELECT id, message, team, reason, urgency, created_at FROM staff_task \
         WHERE tenant = $1 AND id = $2 AND patient IS NULL AND state = 'open'");
    db.optional(query.bind(tenant).bind(task)).await?.as_ref().map(task::read).transpose()
}

/// How many open tasks wait without a patient.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn how_many_unassigned(db: &Db, tenant: Id<Tenant>) -> Result<Vec<Unassigned>, DbError> {
    let query = sql("SELECT team, urgency, COUNT(*) AS tasks FROM staff_task \
         WHERE tenant = $1 AND patient IS NULL AND state = 'open' GROUP BY team, urgency");
    let count =
        |row: &Row| Ok(Unassigned { team: row.get("team")?, urgency: row.get("urgency")?, tasks: row.get("tasks")? });
    db.all(query.bind(tenant)).await?.iter().map(count).collect()
}

//! The log as JSON lines, for an auditor or a log archive.

use super::{AuditError, AuditRow, Request, row::StoredRow};
use crate::{
    db::{Db, sql},
    kernel::{Id, Tenant},
};
use jiff::Timestamp;
use serde_json::value::RawValue;
use std::io::Write;

const PAGE: i64 = 1_000;

/// An exported row: ids and codes only.
#[derive(serde::Serialize)]
struct Line {
    tenant: Id<Tenant>,
    seq: Option<i64>,
    id: Id<AuditRow>,
    at: Timestamp,
    actor_kind: String,
    actor: String,
    action: String,
    purpose: String,
    request: Option<Id<Request>>,
    subjects: Box<RawValue>,
    outcome: String,
    detail: Box<RawValue>,
}

/// Writes the sealed rows of `tenant` from the place `after_seq` (0: from the beginning) on, one JSON object a line, in
/// the order of the log, and gives their number. Whether they are genuine, [`verify`](super::verify) says.
///
/// # Errors
/// [`AuditError`] when the log cannot be read or `out` cannot be written to.
pub async fn export(
    db: &Db,
    tenant: Id<Tenant>,
    after_seq: i64,
    out: &mut (dyn Write + Send),
) -> Result<u64, AuditError> {
    let (mut after, mut rows) = (after_seq, 0);
    loop {
        let query = sql("SELECT * FROM audit_row WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        let page = db.all(query.bind(tenant).bind(after).bind(PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.get("seq")?;
        for row in &page {
            serde_json::to_writer(&mut *out, &line(StoredRow::read(row)?)?)?;
            out.write_all(b"\n")?;
            rows += 1;
        }
    }
    out.flush()?;
    Ok(rows)
}

fn line(row: StoredRow) -> Result<Line, AuditError> {
    Ok(Line {
        tenant: row.tenant,
        seq: row.seq,
        id: row.id,
        at: row.at,
        actor_kind: row.actor_kind,
        actor: row.actor,
        action: row.action,
        purpose: row.purpose,
        request: row.request,
        subjects: RawValue::from_string(row.subjects)?,
        outcome: row.outcome,
        detail: RawValue::from_string(row.detail)?,
    })
}

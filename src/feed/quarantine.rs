//! What could not be read: counted by place and kind, never kept.

use crate::{
    db::{Command, Db, DbError, Tx, sql},
    fhir::ParseFault,
    kernel::{Id, Tenant},
};
use jiff::Timestamp;

/// Counts entries that departed from R4.
pub(super) async fn note(
    db: &Db,
    tenant: Id<Tenant>,
    resource: &str,
    faults: Vec<ParseFault>,
    now: Timestamp,
) -> Result<(), DbError> {
    for fault in faults {
        metrics::counter!("chartwire_quarantined_total", "resource" => resource.to_owned()).increment(1);
        tracing::warn!(resource, path = %fault.path, kind = fault.kind.as_str(), "an entry of the EHR was quarantined");
        db.execute(Note { tenant, resource: resource.to_owned(), fault, now }).await?;
    }
    Ok(())
}

struct Note {
    tenant: Id<Tenant>,
    resource: String,
    fault: ParseFault,
    now: Timestamp,
}

impl Command for Note {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO quarantine (tenant, resource, path, kind, times, first_at, last_at) VALUES ($1, $2, $3, $4, 1, $5, $5) \
                 ON CONFLICT (tenant, resource, path, kind) DO UPDATE SET times = quarantine.times + 1, last_at = excluded.last_at")
            .bind(self.tenant)
            .bind(self.resource.clone())
            .bind(self.fault.path.clone())
            .bind(self.fault.kind.as_str())
            .bind(self.now),
        )
        .await
        .map(|_| ())
    }
}

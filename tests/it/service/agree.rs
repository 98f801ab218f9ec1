//! A consent that stands before a test begins.

use chartwire::{
    consent::{self, Category, ConsentEntry, Decision, NewEntry, Source},
    db::{Command, DbError, Tx},
    kernel::{Id, Patient, Tenant},
};
use jiff::Timestamp;

/// Somebody ticked at the desk that a patient agrees to texts, on every number.
pub(super) struct Agree {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<ConsentEntry>,
    pub(super) patient: Id<Patient>,
    pub(super) category: Category,
    pub(super) at: Timestamp,
}

impl Command for Agree {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let entry = NewEntry {
            id: self.id,
            tenant: self.tenant,
            patient: Some(self.patient),
            number_token: None,
            category: self.category,
            decision: Decision::Granted,
            source: Source::Desk,
            wording: "desk:1".to_owned(),
            recorded_by: "system".to_owned(),
            proof: None,
            origin: None,
            effective_at: self.at,
            period: consent::Period::default(),
            recorded_at: self.at,
        };
        consent::record(tx, &entry).await.map(|_| ())
    }
}

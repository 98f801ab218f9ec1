//! Whether what a text says of an appointment still holds.

use crate::{
    db::{DbError, Tx, sql},
    kernel::{Id, Tenant},
    messaging::Relevance,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// Answers the gate from the appointments that we know.
pub struct AppointmentRelevance;

impl AppointmentRelevance {
    /// What a text about a visit at `start` says of it: that it is on, and when.
    #[must_use]
    pub fn version(start: Timestamp) -> String {
        start.as_millisecond().to_string()
    }
}

impl Relevance for AppointmentRelevance {
    fn still_true<'a>(
        &'a self,
        tx: &'a mut Tx,
        tenant: Id<Tenant>,
        about: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<bool, DbError>> {
        Box::pin(async move {
            // Of other resources nothing is kept that could change under a text.
            let Some(id) = about.strip_prefix("Appointment/") else { return Ok(true) };
            let query = sql("SELECT start_at, status FROM appointment WHERE tenant = $1 AND fhir_id = $2");
            let Some(row) = tx.optional(query.bind(tenant).bind(id)).await? else { return Ok(false) };
            let on = matches!(row.get::<String>("status")?.as_str(), "booked" | "pending" | "proposed" | "arrived");
            Ok(on && Self::version(row.get("start_at")?) == version)
        })
    }
}

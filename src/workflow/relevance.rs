//! Whether what a text says of an appointment still holds.
//!
//! Workflows write what a text claims into its `about_version`; the gate asks here, in the transaction in which the text
//! would leave. What is claimed: that the visit is on, when, perhaps where and beside which other visits; or that it
//! is off.

use crate::{
    db::{DbError, Tx, sql},
    kernel::{Id, Tenant},
    messaging::Relevance,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// The status words of a visit that takes place.
pub(super) fn is_on(status: &str) -> bool {
    matches!(status, "booked" | "pending" | "proposed" | "arrived")
}

const OFF: &str = "off";
/// Stands between claims; FHIR ids and references have none.
const AND: char = '|';

/// Answers the gate from the appointments that we know.
pub struct AppointmentRelevance;

impl AppointmentRelevance {
    /// The visit is on, at `start`.
    #[must_use]
    pub fn version(start: Timestamp) -> String {
        start.as_millisecond().to_string()
    }

    /// The visit is on, at `start`, and there.
    pub(super) fn at_place(start: Timestamp, location: Option<&str>) -> String {
        format!("{}{AND}in={}", Self::version(start), location.unwrap_or_default())
    }

    /// The visit is on, at `start`, and so are these others.
    pub(super) fn together<'a>(start: Timestamp, others: impl Iterator<Item = (&'a str, Timestamp)>) -> String {
        let others = others.map(|(id, at)| format!("{AND}with={id}:{}", Self::version(at)));
        std::iter::once(Self::version(start)).chain(others).collect()
    }

    /// The visit is off.
    pub(super) fn off() -> String {
        OFF.to_owned()
    }
}

/// What is known of a visit.
struct Known {
    on: bool,
    start: Timestamp,
    location: Option<String>,
}

async fn known(tx: &mut Tx, tenant: Id<Tenant>, id: &str) -> Result<Option<Known>, DbError> {
    let query = sql("SELECT start_at, status, location FROM appointment WHERE tenant = $1 AND fhir_id = $2");
    let Some(row) = tx.optional(query.bind(tenant).bind(id)).await? else { return Ok(None) };
    Ok(Some(Known {
        on: is_on(&row.get::<String>("status")?),
        start: row.get("start_at")?,
        location: row.get("location")?,
    }))
}

async fn holds(tx: &mut Tx, tenant: Id<Tenant>, id: &str, version: &str) -> Result<bool, DbError> {
    let Some(visit) = known(tx, tenant, id).await? else { return Ok(false) };
    if version == OFF {
        return Ok(!visit.on);
    }
    for claim in version.split(AND) {
        let holds = match claim.split_once('=') {
            None => visit.on && AppointmentRelevance::version(visit.start) == claim,
            Some(("in", location)) => visit.location.as_deref().unwrap_or_default() == location,
            Some(("with", other)) => match other.split_once(':') {
                Some((other, start)) => known(tx, tenant, other)
                    .await?
                    .is_some_and(|other| other.on && AppointmentRelevance::version(other.start) == start),
                None => false,
            },
            Some(_) => false,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
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
            holds(tx, tenant, id, version).await
        })
    }
}

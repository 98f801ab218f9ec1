//! What we know of the EHR's appointments, and noticing what has changed.
//!
//! Always: what was read takes the place only of what we knew when it was read. Whoever changes an appointment meanwhile,
//! a patient by a text among them, is not overwritten by an older answer of the EHR.

use super::APPOINTMENT_CHANGED;
use crate::{
    db::{Command, Db, DbError, Query, Row, Tx, sql},
    fhir::views::AppointmentView,
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Patient, Tenant},
    vault::Sealed,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The status word of an appointment that the EHR does not have any more, or has in another practice's schedule.
pub const GONE: &str = "gone";

/// What is sealed in `appointment.labels`: names as patients may read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Labels {
    pub(crate) provider: Option<String>,
    pub(crate) place: Option<String>,
}

/// What of an appointment a change is noticed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAppointment {
    /// FHIR's status word, or [`GONE`].
    pub status: String,
    /// When it starts.
    pub start: Timestamp,
    /// Where, as `Location/1`.
    pub location: Option<String>,
    /// With whom, as `Practitioner/1`.
    pub practitioner: Option<String>,
}

/// The payload of [`APPOINTMENT_CHANGED`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppointmentChanged {
    /// The appointment's FHIR id.
    pub appointment: String,
    /// What we knew before; absent when it is new to us.
    pub before: Option<KnownAppointment>,
}

/// An appointment as it stands in our books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stands {
    known: KnownAppointment,
    version: Option<String>,
    own_version: Option<String>,
    last_updated: Option<Timestamp>,
}

impl Stands {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            known: KnownAppointment {
                status: row.get("status")?,
                start: row.get("start_at")?,
                location: row.get("location")?,
                practitioner: row.get("practitioner")?,
            },
            version: row.get("version")?,
            own_version: row.get("own_version")?,
            last_updated: row.get("last_updated")?,
        })
    }

    /// Whether `view` says nothing else.
    pub(super) fn agrees(&self, view: &AppointmentView) -> bool {
        let known = view.start.and_then(|start| known(view, start));
        self.version == version(view) && known.as_ref() == Some(&self.known)
    }
}

fn row_of(tenant: Id<Tenant>, fhir_id: &str) -> Query {
    sql("SELECT status, start_at, location, practitioner, version, own_version, last_updated FROM appointment \
         WHERE tenant = $1 AND fhir_id = $2")
    .bind(tenant)
    .bind(fhir_id)
}

/// An appointment as it stands in our books; `None`: we do not know it.
pub(super) async fn stands(db: &Db, tenant: Id<Tenant>, fhir_id: &str) -> Result<Option<Stands>, DbError> {
    db.optional(row_of(tenant, fhir_id)).await?.as_ref().map(Stands::read).transpose()
}

/// The ids of the visits that start in `[from, until)` as far as we know, those off and gone left out.
pub(super) async fn known_between(
    db: &Db,
    tenant: Id<Tenant>,
    (from, until): (Timestamp, Timestamp),
) -> Result<Vec<String>, DbError> {
    let query = sql("SELECT fhir_id FROM appointment WHERE tenant = $1 AND start_at >= $2 AND start_at < $3 \
                     AND status IN ('proposed', 'pending', 'booked', 'arrived') ORDER BY start_at, fhir_id");
    let rows = db.all(query.bind(tenant).bind(from).bind(until)).await?;
    rows.iter().map(|row| row.get("fhir_id")).collect()
}

fn status(view: &AppointmentView) -> Option<String> {
    Some(serde_json::to_value(view.status).ok()?.as_str()?.to_owned())
}

fn version(view: &AppointmentView) -> Option<String> {
    view.version.as_ref().map(|version| version.as_str().to_owned())
}

fn known(view: &AppointmentView, start: Timestamp) -> Option<KnownAppointment> {
    Some(KnownAppointment {
        status: status(view)?,
        start,
        location: view.location().map(ToString::to_string),
        practitioner: view.practitioner().map(ToString::to_string),
    })
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Our books are as the EHR was read.
    AsRead,
    /// Our books have changed since the EHR was read: read again.
    ChangedSince,
}

fn announce(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    appointment: &str,
    before: Option<KnownAppointment>,
) -> Result<NewJob, DbError> {
    let changed = AppointmentChanged { appointment: appointment.to_owned(), before };
    let job = NewJob::new(instruments, tenant, APPOINTMENT_CHANGED, &changed);
    Ok(job.map_err(|_| DbError::Decode { column: "payload" })?.in_lane(format!("appointment:{appointment}")))
}

/// Writes what was read, and announces a change.
pub(super) struct WriteAppointment {
    tenant: Id<Tenant>,
    fhir_id: String,
    patient: Id<Patient>,
    now_known: KnownAppointment,
    end: Timestamp,
    version: Option<String>,
    last_updated: Option<Timestamp>,
    service_type: Option<String>,
    slots: String,
    /// How it stood when it was read.
    stood: Option<Stands>,
    labels: Sealed,
    now: Timestamp,
    instruments: Instruments,
}

impl WriteAppointment {
    pub(super) fn of(
        (tenant, fhir_id): (Id<Tenant>, &str),
        view: &AppointmentView,
        patient: Id<Patient>,
        (start, end): (Timestamp, Timestamp),
        (stood, labels): (Option<Stands>, Sealed),
        instruments: &Instruments,
    ) -> Option<Self> {
        let slots: Vec<String> = view.slots.iter().map(ToString::to_string).collect();
        let service_type = view.service_types.first().and_then(|concept| concept.codings.first());
        Some(Self {
            tenant,
            fhir_id: fhir_id.to_owned(),
            patient,
            now_known: known(view, start)?,
            end,
            version: version(view),
            last_updated: view.last_updated,
            service_type: service_type.map(|coding| {
                format!(
                    "{}|{}",
                    coding.system.as_deref().unwrap_or_default(),
                    coding.code.as_deref().unwrap_or_default()
                )
            }),
            slots: serde_json::to_string(&slots).ok()?,
            stood,
            labels,
            now: instruments.now(),
            instruments: instruments.clone(),
        })
    }

    async fn write(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, version, practitioner, location, service_type, \
                 slots, labels, seen_at, last_updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                 ON CONFLICT (tenant, fhir_id) DO UPDATE SET \
                 patient = excluded.patient, status = excluded.status, start_at = excluded.start_at, end_at = excluded.end_at, \
                 version = excluded.version, practitioner = excluded.practitioner, location = excluded.location, \
                 service_type = excluded.service_type, slots = excluded.slots, labels = excluded.labels, seen_at = excluded.seen_at, \
                 last_updated = excluded.last_updated")
            .bind(self.tenant)
            .bind(self.fhir_id.clone())
            .bind(self.patient)
            .bind(self.now_known.status.clone())
            .bind(self.now_known.start)
            .bind(self.end)
            .bind(self.version.clone())
            .bind(self.now_known.practitioner.clone())
            .bind(self.now_known.location.clone())
            .bind(self.service_type.clone())
            .bind(self.slots.clone())
            .bind(self.labels.as_bytes())
            .bind(self.now)
            .bind(self.last_updated),
        )
        .await
        .map(|_| ())
    }
}

impl Command for WriteAppointment {
    type Output = Written;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Written, DbError> {
        let row = tx.optional(row_of(self.tenant, &self.fhir_id)).await?;
        let stands = row.as_ref().map(Stands::read).transpose()?;
        if stands != self.stood {
            return Ok(Written::ChangedSince);
        }
        if let Some(stands) = &stands {
            // A copy of the EHR's that lags behind what it has said already.
            let older = self.last_updated.zip(stands.last_updated).is_some_and(|(read, known)| read < known);
            if older || (stands.version == self.version && stands.known == self.now_known) {
                return Ok(Written::AsRead);
            }
        }
        self.write(tx).await?;
        let before = stands.map(|stands| stands.known);
        if before.as_ref() != Some(&self.now_known) {
            enqueue(tx, &announce(&self.instruments, self.tenant, &self.fhir_id, before)?).await?;
        }
        Ok(Written::AsRead)
    }
}

/// What says that an appointment is nobody's any more.
#[derive(Clone, Copy)]
pub(super) enum OffBy<'a> {
    /// The EHR does not have it, or has it in another practice's schedule.
    Gone,
    /// The EHR shows it without a time or a patient.
    View(&'a AppointmentView),
}

/// Notes that an appointment that we know is off, and announces it.
pub(super) struct NoteOff {
    tenant: Id<Tenant>,
    fhir_id: String,
    stood: Stands,
    status: String,
    version: Option<String>,
    last_updated: Option<Timestamp>,
    now: Timestamp,
    instruments: Instruments,
}

impl NoteOff {
    pub(super) fn of(
        tenant: Id<Tenant>,
        fhir_id: &str,
        stood: Stands,
        off: OffBy<'_>,
        instruments: &Instruments,
    ) -> Option<Self> {
        let (status, version, last_updated) = match off {
            OffBy::Gone => (GONE.to_owned(), None, stood.last_updated),
            // It may be cancelled, or on without anybody in it: then it is not this patient's visit.
            OffBy::View(view) if view.patient().is_some() && !is_on(&status(view)?) => {
                (status(view)?, version(view), view.last_updated)
            }
            OffBy::View(view) => (GONE.to_owned(), version(view), view.last_updated),
        };
        let (now, instruments) = (instruments.now(), instruments.clone());
        Some(Self { tenant, fhir_id: fhir_id.to_owned(), stood, status, version, last_updated, now, instruments })
    }
}

fn is_on(status: &str) -> bool {
    matches!(status, "proposed" | "pending" | "booked" | "arrived")
}

impl Command for NoteOff {
    type Output = Written;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Written, DbError> {
        let row = tx.optional(row_of(self.tenant, &self.fhir_id)).await?;
        if row.as_ref().map(Stands::read).transpose()?.as_ref() != Some(&self.stood) {
            return Ok(Written::ChangedSince);
        }
        tx.execute(
            sql("UPDATE appointment SET status = $3, version = $4, last_updated = $5, seen_at = $6 \
                 WHERE tenant = $1 AND fhir_id = $2")
            .bind(self.tenant)
            .bind(self.fhir_id.clone())
            .bind(self.status.clone())
            .bind(self.version.clone())
            .bind(self.last_updated)
            .bind(self.now),
        )
        .await?;
        if self.status != self.stood.known.status {
            let before = Some(self.stood.known.clone());
            enqueue(tx, &announce(&self.instruments, self.tenant, &self.fhir_id, before)?).await?;
        }
        Ok(Written::AsRead)
    }
}

//! What we know of the EHR's appointments, and noticing what has changed.

use super::APPOINTMENT_CHANGED;
use crate::{
    db::{Command, DbError, Row, Tx, sql},
    fhir::{ResourceRef, views::AppointmentView},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Patient, Tenant},
    vault::Sealed,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is sealed in `appointment.labels`: names as patients may read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Labels {
    pub(crate) provider: Option<String>,
    pub(crate) place: Option<String>,
}

/// What of an appointment a change is noticed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAppointment {
    /// FHIR's status word.
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
    /// We made the change ourselves.
    pub own: bool,
}

/// Writes what was read, and announces a change.
pub(super) struct WriteAppointment {
    tenant: Id<Tenant>,
    fhir_id: String,
    patient: Id<Patient>,
    now_known: KnownAppointment,
    end: Timestamp,
    version: Option<String>,
    service_type: Option<String>,
    slots: String,
    labels: Sealed,
    now: Timestamp,
    instruments: Instruments,
}

impl WriteAppointment {
    pub(super) fn of(
        tenant: Id<Tenant>,
        view: &AppointmentView,
        reference: &ResourceRef,
        patient: Id<Patient>,
        (start, end): (Timestamp, Timestamp),
        labels: Sealed,
        instruments: &Instruments,
    ) -> Option<Self> {
        let slots: Vec<String> = view.slots.iter().map(ToString::to_string).collect();
        let service_type = view.service_types.first().and_then(|concept| concept.codings.first());
        Some(Self {
            tenant,
            fhir_id: reference.id().to_owned(),
            patient,
            now_known: KnownAppointment {
                status: serde_json::to_value(view.status).ok()?.as_str()?.to_owned(),
                start,
                location: view.location().map(ToString::to_string),
                practitioner: view.practitioner().map(ToString::to_string),
            },
            end,
            version: view.version.as_ref().map(|version| version.as_str().to_owned()),
            service_type: service_type.map(|coding| {
                format!(
                    "{}|{}",
                    coding.system.as_deref().unwrap_or_default(),
                    coding.code.as_deref().unwrap_or_default()
                )
            }),
            slots: serde_json::to_string(&slots).ok()?,
            labels,
            now: instruments.now(),
            instruments: instruments.clone(),
        })
    }

    /// A write of ours is under way or has just given this version, and is not noted with the appointment yet.
    async fn is_being_written(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let row = tx
            .optional(
                sql("SELECT 1 AS found FROM ehr_write WHERE tenant = $1 AND resource = $2 \
                     AND (version = $3 OR state = 'unknown' OR (state = 'pending' AND code IS NULL)) LIMIT 1")
                .bind(self.tenant)
                .bind(format!("Appointment/{}", self.fhir_id))
                .bind(self.version.clone()),
            )
            .await?;
        Ok(row.is_some())
    }

    fn known(row: &Row) -> Result<KnownAppointment, DbError> {
        Ok(KnownAppointment {
            status: row.get("status")?,
            start: row.get("start_at")?,
            location: row.get("location")?,
            practitioner: row.get("practitioner")?,
        })
    }
}

impl Command for WriteAppointment {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let before = tx
            .optional(
                sql("SELECT status, start_at, location, practitioner, own_version, version FROM appointment WHERE tenant = $1 AND fhir_id = $2")
                    .bind(self.tenant)
                    .bind(self.fhir_id.clone()),
            )
            .await?;
        let own = match &before {
            Some(row) => {
                let noted = row.get::<Option<String>>("own_version")?.is_some_and(|own| Some(own) == self.version);
                noted || self.is_being_written(tx).await?
            }
            None => false,
        };
        if let Some(row) = &before
            && row.get::<Option<String>>("version")? == self.version
            && Self::known(row)? == self.now_known
        {
            return Ok(());
        }
        tx.execute(
            sql("INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, version, practitioner, location, service_type, slots, labels, seen_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant, fhir_id) DO UPDATE SET \
                 patient = excluded.patient, status = excluded.status, start_at = excluded.start_at, end_at = excluded.end_at, \
                 version = excluded.version, practitioner = excluded.practitioner, location = excluded.location, \
                 service_type = excluded.service_type, slots = excluded.slots, labels = excluded.labels, seen_at = excluded.seen_at")
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
            .bind(self.now),
        )
        .await?;
        let before = before.as_ref().map(Self::known).transpose()?;
        if before.as_ref() == Some(&self.now_known) {
            return Ok(());
        }
        let changed = AppointmentChanged { appointment: self.fhir_id.clone(), before, own };
        let job = NewJob::new(&self.instruments, self.tenant, APPOINTMENT_CHANGED, &changed)
            .map_err(|_| DbError::Decode { column: "payload" })?
            .in_lane(format!("appointment:{}", self.fhir_id));
        enqueue(tx, &job).await
    }
}

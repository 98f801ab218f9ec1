//! What the open question tells the reader of the reply to it.

use crate::{
    intent::OfferedTime, kernel::Language, messaging::OpenQuestion, patient::PatientRecord, practice::Practice,
};

/// The language of the patient who was asked.
pub(super) fn asked_language(patients: &[PatientRecord], question: Option<&OpenQuestion>) -> Option<Language> {
    let asked = question?.patient;
    patients.iter().find(|patient| patient.id == asked)?.language
}

/// The times that were offered, as they read at the clinic.
pub(super) fn offered_times(question: Option<&OpenQuestion>, practice: &Practice) -> Vec<OfferedTime> {
    let offered = question.map(|open| open.asked.offered.as_slice()).unwrap_or_default();
    offered
        .iter()
        .map(|time| OfferedTime {
            number: time.number,
            start: time.start,
            local: time.start.to_zoned(practice.zone.clone()).datetime(),
        })
        .collect()
}

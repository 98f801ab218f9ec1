//! Refills: which prescriptions run out soon, the Task that asks the prescriber, and what became of it.

use super::{Ehr, EhrError, Ledger, WriteIntent, WrittenRef, ledger::IDENTIFIER_SYSTEM};
use crate::{
    fhir::{
        ParseFault, Parsed, ResourceRef, SearchMethod, SearchParams,
        views::{MedicationRequestView, TaskStatus, TaskView},
    },
    kernel::{Instruments, Phi},
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde_json::{Value, json};

/// How many days before a supply runs out it is due.
const DAYS_BEFORE: i64 = 5;
/// How many days after it ran out it still is.
const DAYS_AFTER: i64 = 3;
/// How many entries a page is asked for.
const PAGE: &str = "100";

/// A prescription whose supply runs out.
#[derive(Debug, Clone)]
pub struct DueRefill {
    /// The prescription.
    pub medication_request: ResourceRef,
    /// Whose.
    pub patient: ResourceRef,
    /// Who prescribed it.
    pub prescriber: Option<ResourceRef>,
    /// What, in the EHR's words.
    pub medication: Option<Phi<String>>,
    /// The day on which the supply runs out; names the refill that is due.
    pub due_on: Date,
}

/// What a page of a search for due refills gave.
#[derive(Debug, Default)]
pub struct DueRefills {
    /// The due ones.
    pub due: Vec<DueRefill>,
    /// What of the prescriptions could not be read.
    pub faults: Vec<ParseFault>,
    /// Where the next page is; absent after the last.
    pub next: Option<String>,
}

/// Of a page of the running prescriptions those whose supply runs out within days of `today`: the first page, or the one
/// at `link`. Page by page, because a practice may have more of them than one search may give.
///
/// # Errors
/// [`EhrError`] as the EHR is away or refuses.
pub async fn due_refills(ehr: &Ehr, today: Date, link: Option<&str>) -> Result<DueRefills, EhrError> {
    let mut pages = if let Some(link) = link {
        ehr.client.resume_search("MedicationRequest", link)?
    } else {
        let params = SearchParams::new().with("status", "active").with("intent", "order").with("_count", PAGE);
        ehr.client.search("MedicationRequest", params, SearchMethod::Get)?
    };
    let Some(page) = pages.next_page().await? else { return Ok(DueRefills::default()) };
    let parsed = Parsed::read(&page.matches, MedicationRequestView::read);
    let unread = page.quarantined.into_iter().chain(parsed.quarantined);
    Ok(DueRefills {
        due: parsed.good.iter().filter_map(|view| due(view, today)).collect(),
        faults: unread.map(|entry| entry.fault).collect(),
        next: pages.next_link().map(str::to_owned),
    })
}

/// A running prescription whose supply runs out within days of `today`.
fn due(view: &MedicationRequestView, today: Date) -> Option<DueRefill> {
    if !is_running(view) {
        return None;
    }
    let due_on = due_on(view, today)?;
    let window = (-DAYS_AFTER)..=DAYS_BEFORE;
    let days = i64::from(today.until(due_on).ok()?.get_days());
    Some(DueRefill {
        medication_request: view.reference.clone()?,
        patient: view.patient.clone()?,
        prescriber: prescriber(view),
        medication: view.medication.expose().words().map(|words| Phi::new(words.to_owned())),
        due_on,
    })
    .filter(|_| window.contains(&days))
}

fn is_running(view: &MedicationRequestView) -> bool {
    view.status == "active" && view.intent == "order" && !view.do_not_perform
}

/// The day, nearest to `today`, on which a supply runs out: counted in supplies from the day of writing, and not past the
/// day on which the prescription ends. `None` where the EHR does not tell enough.
fn due_on(view: &MedicationRequestView, today: Date) -> Option<Date> {
    // An end is the first instant after the prescription's last day.
    let last_day = view.validity.end.map(|end| utc_date(end).saturating_sub(1.day()));
    let supply = view.supply.map(|supply| supply.as_hours() / 24).filter(|days| *days > 0);
    let Some((from, supply)) = view.validity.start.or(view.authored).map(utc_date).zip(supply) else { return last_day };
    let elapsed = i64::from(from.until(today).ok()?.get_days()).max(0);
    // Of the run-outs before and after today the one that a window around today can hold.
    let passed = elapsed / supply;
    let fills = i64::from(view.repeats_allowed.unwrap_or(0)) + 1;
    let run_out = |fill: i64| from.saturating_add((supply * fill).days());
    let after_today = run_out((passed + 1).min(fills));
    let before_today = run_out(passed.clamp(1, fills));
    let recent = before_today.saturating_add(DAYS_AFTER.days()) >= today;
    let next = if recent { before_today } else { after_today };
    Some(last_day.map_or(next, |last| next.min(last)))
}

fn utc_date(instant: Timestamp) -> Date {
    instant.to_zoned(TimeZone::UTC).date()
}

fn prescriber(view: &MedicationRequestView) -> Option<ResourceRef> {
    view.requester.clone().filter(|one| one.is("Practitioner") || one.is("PractitionerRole"))
}

/// How a request for a refill ended that the EHR has neither refused nor left open.
#[derive(Debug, Clone)]
pub enum RefillOutcome {
    /// The prescriber has a Task.
    Requested(WrittenRef),
    /// The prescription is not running any more.
    NotRunning,
}

/// Asks for refills in every tenant's EHR.
#[derive(Clone)]
pub struct Refills {
    instruments: Instruments,
    ledger: Ledger,
}

impl Refills {
    /// Through this ledger.
    #[must_use]
    pub const fn new(instruments: Instruments, ledger: Ledger) -> Self {
        Self { instruments, ledger }
    }

    /// Creates the Task that asks the prescriber for a refill, once for each `request`: an identifier of ours, as
    /// `urn:uuid:…`.
    ///
    /// # Errors
    /// [`EhrError::Unavailable`] and [`EhrError::Unknown`]: ask again; [`EhrError::Refused`] where the EHR takes no Task.
    pub async fn request(
        &self,
        ehr: &Ehr,
        request: &str,
        medication_request: &ResourceRef,
    ) -> Result<RefillOutcome, EhrError> {
        let now = self.instruments.now();
        if !ehr.capabilities(now).await?.creates("Task") {
            return Err(EhrError::Refused { code: "ehr-without-tasks" });
        }
        let prescription = MedicationRequestView::read(&ehr.client.read(medication_request).await?)?;
        let Some(patient) = prescription.patient.as_ref().filter(|_| is_running(&prescription)) else {
            return Ok(RefillOutcome::NotRunning);
        };
        let body = task(request, medication_request, patient, prescriber(&prescription).as_ref(), now);
        let intent = WriteIntent { tenant: ehr.tenant, words: request.to_owned(), sole_writer: None };
        Ok(RefillOutcome::Requested(self.ledger.create(ehr, &intent, "Task", &body).await?))
    }
}

/// The status of a Task as the EHR has it now.
///
/// # Errors
/// [`EhrError::NotFound`] when it was deleted; otherwise as the EHR is away or refuses.
pub async fn task_status(ehr: &Ehr, task: &ResourceRef) -> Result<TaskStatus, EhrError> {
    Ok(TaskView::read(&ehr.client.read(task).await?)?.status)
}

/// The Task of a refill (<https://hl7.org/fhir/R4/task.html>, as its example 3).
fn task(
    request: &str,
    medication_request: &ResourceRef,
    patient: &ResourceRef,
    prescriber: Option<&ResourceRef>,
    now: Timestamp,
) -> Value {
    let reference = |to: &ResourceRef| json!({ "reference": to.to_string() });
    let mut task = json!({
        "resourceType": "Task",
        "identifier": [{ "system": IDENTIFIER_SYSTEM, "value": request }],
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": {
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/communication-topic",
                "code": "prescription-refill-request",
                "display": "Prescription Refill Request",
            }],
            "text": "Refill request",
        },
        "description": "The patient asks for a refill by text message.",
        "focus": reference(medication_request),
        "for": reference(patient),
        "authoredOn": now.to_string(),
        "lastModified": now.to_string(),
        "requester": reference(patient),
    });
    if let (Some(members), Some(prescriber)) = (task.as_object_mut(), prescriber) {
        members.insert("owner".to_owned(), reference(prescriber));
    }
    task
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{Resource, ServerBase};
    use rstest::rstest;

    fn prescription(dispense: &Value) -> MedicationRequestView {
        let body = json!({
            "resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order",
            "medicationCodeableConcept": { "text": "lisinopril 10 MG" },
            "subject": { "reference": "Patient/p1" }, "authoredOn": "2026-11-01",
            "requester": { "reference": "Practitioner/d1" }, "dispenseRequest": dispense,
        });
        let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
        MedicationRequestView::read(&Resource::from_json(&base, &body.to_string()).unwrap()).unwrap()
    }

    fn thirty_days(repeats: u32) -> Value {
        json!({ "numberOfRepeatsAllowed": repeats, "expectedSupplyDuration": { "value": 30, "unit": "days", "code": "d" } })
    }

    #[rstest]
    #[case(thirty_days(0), "2026-11-26", Some("2026-12-01"))]
    #[case(thirty_days(0), "2026-11-25", None)]
    #[case(thirty_days(0), "2026-12-04", Some("2026-12-01"))]
    #[case(thirty_days(0), "2026-12-05", None)]
    #[case(thirty_days(2), "2026-12-28", Some("2026-12-31"))]
    #[case(thirty_days(2), "2027-01-30", Some("2027-01-30"))]
    #[case(thirty_days(2), "2027-03-01", None)]
    #[case(json!({ "validityPeriod": { "end": "2026-11-30" } }), "2026-11-28", Some("2026-11-30"))]
    #[case(json!({ "quantity": { "value": 30 } }), "2026-11-28", None)]
    fn a_refill_is_due_around_the_day_on_which_the_supply_runs_out(
        #[case] dispense: Value,
        #[case] today: Date,
        #[case] expected: Option<&str>,
    ) {
        let found = due(&prescription(&dispense), today);
        assert_eq!(found.map(|due| due.due_on), expected.map(|day| day.parse().unwrap()));
    }

    #[test]
    fn what_is_not_running_is_not_due() {
        let mut stopped = prescription(&thirty_days(0));
        stopped.status = "stopped".to_owned();
        assert!(due(&stopped, "2026-12-01".parse().unwrap()).is_none());
    }

    #[test]
    fn the_prescriber_gets_a_task() {
        let reference = |text: &str| text.parse::<ResourceRef>().unwrap();
        let task = task(
            "urn:uuid:01900000-0000-7000-8000-000000000001",
            &reference("MedicationRequest/m1"),
            &reference("Patient/p1"),
            Some(&reference("Practitioner/d1")),
            "2026-11-22T10:00:00Z".parse().unwrap(),
        );
        insta::assert_json_snapshot!(task);
    }
}

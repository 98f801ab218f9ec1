//! What stored codes mean, in the sentences that staff read. Pure.

use super::scope::StoredReading;
use crate::{
    consent::{self, Method, Source},
    guard,
    http::inbox::source::{Delivery, DeliveryState, DraftFinding, Filing, FilingState, Reading, Urgency},
    intent::Intent,
    kernel::{Language, Phi},
    messaging::state,
    patient::NumberKind,
    routing::TaskReason,
    template::{FormWord, TextKey},
};

/// How far an outbound text is.
pub(super) fn delivery(stored: &str, reason: Option<&str>) -> Delivery {
    let (state, words) = match stored {
        state::QUEUED => (DeliveryState::Waiting, "It leaves when its turn comes."),
        state::SENDING | state::ACCEPTED => (DeliveryState::Sending, "It is on its way."),
        state::SENT => (DeliveryState::Sent, sent(reason)),
        state::DELIVERED => (DeliveryState::Delivered, "The phone has it."),
        state::DROPPED => (DeliveryState::Dropped, dropped(reason)),
        state::UNDELIVERED | state::FAILED => (DeliveryState::NotDelivered, not_delivered(reason)),
        _ => (DeliveryState::Unknown, "The connection broke while it was sent. Ask the patient, or decide here."),
    };
    Delivery { state, words: words.to_owned() }
}

fn sent(reason: Option<&str>) -> &'static str {
    match reason {
        Some("person-sent") => "A person decided that it counts as sent.",
        Some("read-back") => "It left before the system was restored from a backup; the carrier's list shows it.",
        _ => "The carrier passed it on; the phone has not confirmed yet.",
    }
}

fn dropped(reason: Option<&str>) -> &'static str {
    match reason {
        Some("stopped") => "It never left: the number said STOP.",
        Some("no-consent") => "It never left: the patient has not agreed to such texts.",
        Some("unverified") => "It never left: the number was never verified.",
        Some("guard") => "It never left: it holds words that must not be texted.",
        Some("no-longer-true") => "It never left: what it says does not hold any more.",
        Some("expired") => "It never left: it would have come too late.",
        Some("unreadable") => "It never left: the program could not put it together.",
        Some("sent-before") => "It had left before the system was restored from a backup; it stands above.",
        Some("maybe-sent-before") => {
            "It was not sent: one like it left before the system was restored from a backup. Look above, and write if it is needed."
        }
        _ => "It never left.",
    }
}

fn not_delivered(reason: Option<&str>) -> &'static str {
    match reason {
        Some("opted_out" | "blocked") => "The carrier blocks texts to this number: the patient said STOP there. Call.",
        Some("landline") => "The number is a landline. Call.",
        Some("unknown_number") => "There is no such number. Ask the patient for the right one.",
        Some("unreachable") => "The phone cannot be reached. Call, or try again later.",
        Some("filtered" | "content") => "The carrier filtered it. Say it in other words, or call.",
        Some("expired") => "The phone could not be reached in time.",
        _ => "It did not arrive. Call, or try again later.",
    }
}

/// How a text stands in the chart: `refused` is why the EHR did not take it.
pub(super) fn filing(filed: bool, refused: Option<&str>) -> Filing {
    let (state, words) = match (filed, refused) {
        (_, Some(_)) => (FilingState::Refused, "The EHR refused it. Note it by hand, and tell who runs the EHR."),
        (true, None) => (FilingState::Filed, "It stands in the chart."),
        (false, None) => (FilingState::Waiting, "It will be filed in the chart."),
    };
    Filing { state, words: words.to_owned() }
}

/// How urgent, by the stored word. What is not known counts as prompt: somebody should look.
pub(super) fn urgency(stored: &str) -> Urgency {
    match stored {
        "routine" => Urgency::Routine,
        "emergency" => Urgency::Emergency,
        _ => Urgency::Prompt,
    }
}

/// How a text was read.
pub(super) fn reading(stored: &StoredReading) -> Reading {
    let intents = stored.intents.as_deref().unwrap_or_default();
    let mut label: Vec<&str> = intents.iter().copied().map(intent).collect();
    if !stored.certain {
        label.push("not sure");
    }
    if label.is_empty() {
        label.push("not understood");
    }
    Reading {
        label: Phi::new(label.join(", ")),
        urgency: urgency(&stored.urgency),
        reason: Phi::new(stored.rules.replace(['-', '_'], " ")),
    }
}

const fn intent(intent: Intent) -> &'static str {
    match intent {
        Intent::Confirm => "confirms",
        Intent::Reschedule => "wants another time",
        Intent::Cancel => "does not want the visit",
        Intent::SlotChoice => "picks a time",
        Intent::LogisticsQuestion => "question about the visit",
        Intent::Refill => "refill",
        Intent::Arrival => "arrival",
        Intent::ClinicalConcern => "clinical",
        Intent::AdverseEvent => "side effect",
        Intent::FinancialBarrier => "cost",
        Intent::OptOut => "wants no texts",
        Intent::OptIn => "wants texts",
        Intent::Help => "asks for help",
        Intent::IntakeYes => "something is new",
        Intent::IntakeNo => "nothing is new",
        Intent::AdherenceYes => "takes the treatment",
        Intent::AdherenceNo => "does not take the treatment",
        Intent::ResultsQuestion => "asks for results",
        Intent::WrongNumber => "wrong number",
        Intent::ThanksSmalltalk => "thanks",
        Intent::Other => "something else",
    }
}

/// What is to be done, in a few words.
pub(super) fn task(reason: &str) -> &'static str {
    let Some(reason) = TaskReason::from_code(reason) else { return "Look at the thread" };
    match reason {
        TaskReason::Emergency => "May be an emergency: call now",
        TaskReason::Clinical => "Clinical concern",
        TaskReason::Financial => "Cannot pay",
        TaskReason::Complaint => "Complaint",
        TaskReason::NotUnderstood => "Text was not understood",
        TaskReason::WhichPatient => "Several patients share the number: whose text is it?",
        TaskReason::UnknownNumber => "Text from an unknown number",
        TaskReason::WrongNumber => "The number is not the patient's",
        TaskReason::StoppedOrCancelled => "STOP after a reminder: is the visit meant?",
        TaskReason::Reschedule => "Wants another time",
        TaskReason::Cancel => "Does not want the visit",
        TaskReason::Refill => "Asks for a refill",
        TaskReason::Question => "Question about the visit",
        TaskReason::Results => "Asks for results",
        TaskReason::Arrival => "Is here or on the way",
        TaskReason::LateAnswer => "Answered after the visit had passed",
        TaskReason::NoNumber => "No number to text: tell the patient another way",
        TaskReason::EhrRefused => "The EHR did not take a change: do it there",
        TaskReason::EhrUnknown => "Check in the EHR whether a change was made",
        TaskReason::DoubleBooked => "Two visits at one time in the EHR: decide which one stays, tell the patient",
        TaskReason::SlotHeld => "A time is held in the EHR for nobody: free it there",
        TaskReason::Undelivered => "A text was not delivered: call",
        TaskReason::DeliveryUnknown => "Nobody knows whether a text left: decide",
        TaskReason::CarrierTrouble => "The carrier turns texts away: tell who runs the account",
        TaskReason::NotFiled => "A text does not stand in the chart",
    }
}

/// The kind of texts that a consent is about.
pub(super) const fn consented(category: consent::Category) -> &'static str {
    match category {
        consent::Category::Appointment => "appointments",
        consent::Category::Refill => "refills",
        consent::Category::Clinical => "care",
        consent::Category::Billing => "billing",
    }
}

/// How a consent came to us.
pub(super) fn consent_source(source: Source, method: Option<Method>) -> String {
    let came = match source {
        Source::Fhir => "Consent in the EHR",
        Source::Desk => "At the desk",
        Source::Import => "Imported list",
        Source::Start => "Texted START",
        Source::Stop => "Texted STOP",
        Source::Staff => "Told staff",
        Source::Carrier => "Told by the carrier",
    };
    method.map_or_else(|| came.to_owned(), |method| format!("{came}, {}", told(method)))
}

/// How the patient's word came.
pub(super) const fn told(method: Method) -> &'static str {
    match method {
        Method::InPerson => "in person",
        Method::Phone => "by phone",
        Method::PaperForm => "signed paper form",
        Method::OnlineForm => "online form",
        Method::Portal => "by the patient portal",
        Method::Email => "by e-mail",
        Method::Letter => "by letter",
        Method::Text => "by text",
    }
}

/// Which wording, as staff call it. What is not ours is called as the ledger calls it.
pub(super) fn wording(stored: &str) -> String {
    if let Ok(FormWord { key: TextKey::ConsentForm, version, language }) = stored.parse() {
        let language = match language {
            Language::English => "English",
            Language::Spanish => "Spanish",
        };
        return format!("Consent form, version {version}, {language}");
    }
    match stored.strip_prefix("started:") {
        Some(version) => format!("Answer to START, version {version}"),
        None => stored.to_owned(),
    }
}

/// What kind of phone a number is.
pub(super) const fn phone(kind: NumberKind) -> &'static str {
    match kind {
        NumberKind::Sms => "for texts",
        NumberKind::Mobile => "mobile",
        NumberKind::Unspecified => "phone",
        NumberKind::Home => "home",
        NumberKind::Work => "work",
    }
}

/// A finding of the guard in `text`, in characters.
pub(super) fn finding(found: &guard::Finding, text: &str) -> DraftFinding {
    let characters = |end: usize| text.get(..end).map_or(0, |before| before.chars().count());
    DraftFinding {
        category: finding_code(found.category),
        start: characters(found.start),
        end: characters(found.end),
        advice: found.category.advice(Language::English).to_owned(),
    }
}

const fn finding_code(category: guard::Category) -> &'static str {
    match category {
        guard::Category::HivSti => "hiv_sti",
        guard::Category::SubstanceUse => "substance_use",
        guard::Category::MentalHealth => "mental_health",
        guard::Category::Genetic => "genetic",
        guard::Category::MedicationName => "medication_name",
        guard::Category::Diagnosis => "diagnosis",
        guard::Category::LabValue => "lab_value",
        guard::Category::ClinicalNote => "clinical_note",
        guard::Category::FinancialIdentity => "financial_identity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_categories_have_one_spelling() {
        for category in guard::Category::ALL {
            assert_eq!(serde_json::to_value(category).unwrap(), finding_code(category));
        }
    }

    #[test]
    fn findings_count_characters_not_bytes() {
        let text = "Señora, your Metformin is ready";
        let verdict = guard::check(text, &[]);
        let found = finding(verdict.findings.first().unwrap(), text);
        assert_eq!((found.category, found.start, found.end), ("medication_name", 13, 22));
    }

    #[test]
    fn a_wording_is_called_as_staff_know_it() {
        assert_eq!(wording("consent_form:2:es"), "Consent form, version 2, Spanish");
        assert_eq!(wording("started:1"), "Answer to START, version 1");
        assert_eq!(wording("front-desk-2019"), "front-desk-2019");
        assert_eq!(consent_source(Source::Desk, Some(Method::InPerson)), "At the desk, in person");
        assert_eq!(consent_source(Source::Stop, None), "Texted STOP");
    }

    #[test]
    fn a_state_that_nobody_knows_is_unknown() {
        assert_eq!(delivery("beamed", None).state, DeliveryState::Unknown);
        assert_eq!(filing(false, None).state, FilingState::Waiting);
        assert_eq!(filing(true, None).state, FilingState::Filed);
        assert_eq!(filing(false, Some("ehr-refused")).state, FilingState::Refused);
    }
}

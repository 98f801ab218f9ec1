//! What the EHR's Consents say about texts, taken into the ledger.
//!
//! Called when a patient is taken in. Always: a word against texts counts from when the EHR learnt of it, however old the
//! date that it bears, so that no START from before overtakes it; a permission counts from the day on which it was given,
//! and for as long as it was given; a Consent that permitted and does not any more (withdrawn, in error, deleted, narrowed,
//! not to be read) is a denial from then on.

use super::{Intake, quarantine};
use crate::{
    consent::{self, Category, Decision, NewEntry, Period, Source},
    db::{Command, DbError, Query, Row, Tx, sql_built},
    ehr::{Ehr, EhrError},
    fhir::{
        Parsed, ResourceRef, SearchMethod, SearchParams,
        views::{ConsentProvisionType, ConsentState, ConsentView},
    },
    kernel::{Id, Instruments, Patient, Tenant},
    patient::WITH_MERGED,
};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Stands between a Consent and its version.
const VERSION: &str = "/_history/";

impl Intake {
    /// The Consents of a patient as the EHR shows them; `None` where it shows none to us.
    pub(super) async fn consents(
        &self,
        ehr: &Ehr,
        reference: &ResourceRef,
    ) -> Result<Option<Vec<ConsentView>>, EhrError> {
        let params = SearchParams::new().with("patient", reference.to_string());
        let page = match ehr.client.search("Consent", params, SearchMethod::Get)?.all().await {
            Ok(page) => page,
            // An EHR without consents leaves the ledger to say what holds.
            Err(error) => match EhrError::from(error) {
                error @ (EhrError::Refused { .. } | EhrError::NotFound) => {
                    metrics::counter!("chartwire_consents_unread_total").increment(1);
                    tracing::warn!(%error, "the EHR shows no consents; our ledger alone says what holds");
                    return Ok(None);
                }
                error => return Err(error),
            },
        };
        let parsed = Parsed::read(&page.matches, ConsentView::read);
        let faults = page.quarantined.into_iter().chain(parsed.quarantined).map(|entry| entry.fault).collect();
        quarantine::note(&self.db, ehr.tenant, "Consent", faults, self.instruments.now()).await?;
        Ok(Some(parsed.good))
    }

    /// Takes what `shown` says into the ledger of `patient`, and what those say that had permitted and were not shown.
    pub(super) async fn take_consents(
        &self,
        ehr: &Ehr,
        patient: Id<Patient>,
        mut shown: Vec<ConsentView>,
    ) -> Result<(), EhrError> {
        for reference in self.not_shown(ehr.tenant, patient, &shown).await? {
            // A search may leave out what the Consent itself still says. Deleted or beyond reading, it permits nothing.
            match ehr.client.read(&reference).await.map_err(EhrError::from) {
                Ok(resource) => shown.extend(ConsentView::read(&resource).ok()),
                Err(EhrError::NotFound | EhrError::Unreadable) => {}
                Err(error) => return Err(error),
            }
        }
        let now = self.instruments.now();
        let said = shown.iter().flat_map(|consent| said(consent, now)).collect();
        let take = TakeSaid { tenant: ehr.tenant, patient, said, now, instruments: self.instruments.clone() };
        Ok(self.db.execute(take).await?)
    }

    /// The Consents that permit by the ledger and are not among `shown`.
    async fn not_shown(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        shown: &[ConsentView],
    ) -> Result<BTreeSet<ResourceRef>, EhrError> {
        let known = newest(&self.db.all(of_ehr(tenant, patient)).await?)?;
        let permitting = known.into_iter().filter(|known| known.decision == Decision::Granted);
        let references = permitting.filter_map(|known| known.consent().parse::<ResourceRef>().ok());
        let is_shown = |one: &ResourceRef| shown.iter().any(|consent| consent.reference.as_ref() == Some(one));
        Ok(references.filter(|reference| !is_shown(reference)).collect())
    }
}

/// What a Consent says about one category of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    category: Category,
    decision: Decision,
    wording: String,
    origin: String,
    effective_at: Timestamp,
    period: Period,
}

/// What `consent`, as it is read at `now`, says. Drafts and errors say nothing.
fn said(consent: &ConsentView, now: Timestamp) -> Vec<Said> {
    let (Some(rule), Some(reference)) = (&consent.rule, &consent.reference) else { return Vec::new() };
    let permits = rule.kind == Some(ConsentProvisionType::Permit);
    let decision = match consent.status {
        ConsentState::Active if permits => Decision::Granted,
        ConsentState::Active | ConsentState::Inactive | ConsentState::Rejected => Decision::Denied,
        _ => return Vec::new(),
    };
    let (effective_at, period) = match decision {
        // What was said before must not overtake what we were told since.
        Decision::Granted => {
            let period = Period { from: rule.period.start, until: rule.period.end };
            (consent.given.or(consent.last_updated).unwrap_or(now), period)
        }
        // A Consent that is set to inactive keeps the date on which it was given.
        Decision::Denied => {
            (consent.last_updated.map_or(now, |at| at.max(consent.given.unwrap_or(at))), Period::default())
        }
    };
    let version = match (&consent.version, consent.last_updated) {
        (Some(version), _) => version.as_str().to_owned(),
        (None, Some(at)) => at.to_string(),
        (None, None) => decision.code().to_owned(),
    };
    let codings = rule.codes.iter().flat_map(|code| &code.codings);
    let categories: BTreeSet<Category> =
        codings.filter_map(|coding| Category::from_code(coding.code.as_deref()?)).collect();
    let of = |category| Said {
        category,
        decision,
        wording: consent.policy_uris.first().cloned().unwrap_or_default(),
        origin: format!("{reference}{VERSION}{version}"),
        effective_at: effective_at.min(now),
        period,
    };
    categories.into_iter().map(of).collect()
}

/// The newest entry that the ledger has of a Consent and a category.
struct Known {
    category: Category,
    decision: Decision,
    origin: String,
}

impl Known {
    fn consent(&self) -> &str {
        consent_of(&self.origin)
    }
}

fn consent_of(origin: &str) -> &str {
    origin.split_once(VERSION).map_or(origin, |(consent, _)| consent)
}

/// What the EHR's Consents have said about a patient, the newest first.
fn of_ehr(tenant: Id<Tenant>, patient: Id<Patient>) -> Query {
    sql_built(format!(
        "SELECT e.category, e.decision, e.origin FROM consent_entry e WHERE e.tenant = $1 AND e.source = $3 \
         AND e.origin IS NOT NULL AND e.patient IN {WITH_MERGED} ORDER BY e.recorded_at DESC, e.id DESC"
    ))
    .bind(tenant)
    .bind(patient)
    .bind(Source::Fhir.code())
}

/// Of each Consent and category the newest.
fn newest(rows: &[Row]) -> Result<Vec<Known>, DbError> {
    let mut newest: Vec<Known> = Vec::new();
    for row in rows {
        let unknown = |column| DbError::Decode { column };
        let category = Category::from_code(&row.get::<String>("category")?).ok_or(unknown("category"))?;
        let decision = Decision::from_code(&row.get::<String>("decision")?).ok_or(unknown("decision"))?;
        let known = Known { category, decision, origin: row.get("origin")? };
        if newest.iter().all(|other| other.category != category || other.consent() != known.consent()) {
            newest.push(known);
        }
    }
    Ok(newest)
}

/// Records what is new, and that what had permitted does not any more.
struct TakeSaid {
    tenant: Id<Tenant>,
    patient: Id<Patient>,
    said: Vec<Said>,
    now: Timestamp,
    instruments: Instruments,
}

impl Command for TakeSaid {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let known = newest(&tx.all(of_ehr(self.tenant, self.patient)).await?)?;
        for said in &self.said {
            let before = known
                .iter()
                .find(|known| known.category == said.category && known.consent() == consent_of(&said.origin));
            if before.is_some_and(|before| before.origin == said.origin && before.decision == said.decision) {
                continue;
            }
            if !consent::record(tx, &self.entry(said)).await?
                && before.is_some_and(|before| before.decision != said.decision)
            {
                // It had gone and is back as it was.
                let origin = format!("{}@{}", said.origin, self.now.as_millisecond());
                consent::record(tx, &self.entry(&Said { origin, ..said.clone() })).await?;
            }
        }
        for gone in known.iter().filter(|known| known.decision == Decision::Granted) {
            let says = |said: &&Said| said.category == gone.category && consent_of(&said.origin) == gone.consent();
            if self.said.iter().any(|said| says(&said)) {
                continue;
            }
            let denied = Said {
                category: gone.category,
                decision: Decision::Denied,
                wording: String::new(),
                origin: format!("{}{VERSION}gone@{}", gone.consent(), self.now.as_millisecond()),
                effective_at: self.now,
                period: Period::default(),
            };
            consent::record(tx, &self.entry(&denied)).await?;
        }
        Ok(())
    }
}

impl TakeSaid {
    fn entry(&self, said: &Said) -> NewEntry {
        NewEntry {
            id: self.instruments.new_id(),
            tenant: self.tenant,
            patient: Some(self.patient),
            number_token: None,
            category: said.category,
            decision: said.decision,
            source: Source::Fhir,
            wording: said.wording.clone(),
            recorded_by: "system".to_owned(),
            proof: None,
            origin: Some(said.origin.clone()),
            effective_at: said.effective_at,
            period: said.period,
            recorded_at: self.now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{Resource, ServerBase};
    use rstest::rstest;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-23T17:00:00Z";

    fn consent(status: &str, meta: &Value, provision: &Value) -> ConsentView {
        let body = json!({
            "resourceType": "Consent", "id": "c1", "meta": meta, "status": status,
            "scope": { "text": "texts" }, "category": [{ "text": "texts" }],
            "patient": { "reference": "Patient/p1" }, "dateTime": "2026-01-05T10:00:00Z",
            "policy": [{ "uri": "https://clinic.example/texts/1" }], "provision": provision,
        });
        let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
        ConsentView::read(&Resource::from_json(&base, &body.to_string()).unwrap()).unwrap()
    }

    fn provision(kind: &str, period: &Value) -> Value {
        json!({ "type": kind, "period": period, "code": [{ "coding": [{ "code": "appointment" }] }] })
    }

    #[rstest]
    #[case("active", "permit", "granted", "2026-01-05T10:00:00Z")]
    #[case("inactive", "permit", "denied", "2026-11-20T08:00:00Z")]
    #[case("rejected", "permit", "denied", "2026-11-20T08:00:00Z")]
    #[case("active", "deny", "denied", "2026-11-20T08:00:00Z")]
    fn a_denial_counts_from_when_the_ehr_learnt_of_it(
        #[case] status: &str,
        #[case] kind: &str,
        #[case] decision: &str,
        #[case] effective: &str,
    ) {
        let meta = json!({ "versionId": "2", "lastUpdated": "2026-11-20T08:00:00Z" });
        let said = said(&consent(status, &meta, &provision(kind, &json!({}))), NOW.parse().unwrap());
        let [said] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!((said.decision.code(), said.effective_at), (decision, effective.parse().unwrap()));
    }

    #[test]
    fn a_denial_of_unknown_date_counts_from_now_and_drafts_say_nothing() {
        let now: Timestamp = NOW.parse().unwrap();
        let permit = provision("permit", &json!({}));
        assert_eq!(said(&consent("inactive", &json!({}), &permit), now)[0].effective_at, now);
        assert!(said(&consent("entered-in-error", &json!({}), &permit), now).is_empty());
    }

    #[test]
    fn a_permission_keeps_its_end() {
        let period = json!({ "start": "2026-12-01T00:00:00Z", "end": "2027-01-01T00:00:00Z" });
        let said =
            said(&consent("active", &json!({ "versionId": "1" }), &provision("permit", &period)), NOW.parse().unwrap());
        assert_eq!(said[0].decision, Decision::Granted);
        let holds = |at: &str| said[0].period.contains(at.parse().unwrap());
        assert!(!holds(NOW) && holds("2026-12-24T00:00:00Z") && !holds("2027-01-02T00:00:00Z"));
    }
}

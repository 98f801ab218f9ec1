//! How a patient stands towards a category of texts on a number: the one rule, for the gate and for the pages alike.

use super::{Category, ConsentEntry, Decision, ledger::Entry, suppression::of_number};
use crate::{
    db::{DbError, Tx},
    kernel::{Id, Patient, Tenant},
};
use jiff::Timestamp;

/// How a patient, on a number, stands towards a category of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The number said STOP.
    pub suppressed: bool,
    /// Since when.
    pub stopped_at: Option<Timestamp>,
    /// STOP has been confirmed.
    pub confirmed: bool,
    /// The entry that grants it.
    pub grant: Option<Id<ConsentEntry>>,
    /// The entry that denies it, newer than any grant.
    pub denial: Option<Id<ConsentEntry>>,
    /// The patient has been told, by the wording of some grant, that replies are read and kept.
    pub archiving_notice: bool,
}

/// How `patient` on `number_token` stands towards `category` at `now`, in this transaction.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn standing(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    patient: Option<Id<Patient>>,
    number_token: &[u8],
    category: Category,
    now: Timestamp,
) -> Result<Standing, DbError> {
    let suppression = of_number(tx, tenant, number_token).await?;
    let mut standing = Standing {
        suppressed: suppression.stopped,
        stopped_at: suppression.since,
        confirmed: suppression.confirmed,
        ..Standing::default()
    };
    let Some(patient) = patient else { return Ok(standing) };
    let entries = Entry::in_transaction(tx, tenant, patient).await?;
    let decided = Decided::of(&entries, number_token, category, now);
    standing.grant = decided.grant.map(|entry| entry.id);
    standing.denial = decided.denial.map(|entry| entry.id);
    standing.archiving_notice =
        on(&entries, number_token).any(|entry| entry.decision == Decision::Granted && !entry.wording.is_empty());
    Ok(standing)
}

/// What the ledger says about a category of texts on a number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decided<'a> {
    /// The entry that grants it.
    pub grant: Option<&'a Entry>,
    /// The entry that denies it, or a grant outside the time that it was given for: whatever grants it beside, it is not
    /// granted.
    pub denial: Option<&'a Entry>,
}

impl<'a> Decided<'a> {
    /// What `entries` of a patient, the newest first, say at `now`.
    ///
    /// The newest entry of each source patient decides for that patient; of patients that were merged into one the
    /// strictest holds, which is why a denial of any of them stands until that one's own newer grant.
    #[must_use]
    pub fn of(entries: &'a [Entry], number_token: &[u8], category: Category, now: Timestamp) -> Self {
        let mut decided = Self::default();
        let mut heard: Vec<Id<Patient>> = Vec::new();
        for entry in on(entries, number_token).filter(|entry| entry.category == category) {
            if heard.contains(&entry.patient) {
                continue;
            }
            heard.push(entry.patient);
            let place = match entry.decision {
                Decision::Granted if entry.period.contains(now) => &mut decided.grant,
                Decision::Granted | Decision::Denied => &mut decided.denial,
            };
            *place = place.or(Some(entry));
        }
        decided
    }

    /// Such texts may be sent, as far as the ledger goes.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        self.grant.is_some() && self.denial.is_none()
    }
}

fn on<'a>(entries: &'a [Entry], number_token: &[u8]) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| entry.number_token.as_deref().is_none_or(|token| token == number_token))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Period, Source},
        *,
    };
    use crate::kernel::clock::from_millis;

    const ANA: Id<Patient> = Id::from_bytes([1; 16]);
    const MERGED: Id<Patient> = Id::from_bytes([2; 16]);
    const NUMBER: &[u8] = b"number";

    fn entry(at: u8, patient: Id<Patient>, number: Option<&[u8]>, decision: Decision) -> Entry {
        Entry {
            id: Id::from_bytes([at; 16]),
            patient,
            number_token: number.map(<[u8]>::to_vec),
            category: Category::Appointment,
            decision,
            source: Source::Desk,
            wording: String::new(),
            recorded_by: "system".to_owned(),
            effective_at: from_millis(i64::from(at)),
            period: Period::default(),
        }
    }

    fn granted(newest_first: &[Entry]) -> bool {
        Decided::of(newest_first, NUMBER, Category::Appointment, from_millis(100)).is_granted()
    }

    #[test]
    fn the_newest_word_about_the_number_decides() {
        let yes = entry(1, ANA, None, Decision::Granted);
        let no = entry(2, ANA, Some(NUMBER), Decision::Denied);
        assert!(granted(std::slice::from_ref(&yes)));
        assert!(!granted(&[no.clone(), yes.clone()]));
        assert!(granted(&[entry(3, ANA, Some(NUMBER), Decision::Granted), no, yes.clone()]));
        let elsewhere = entry(4, ANA, Some(b"other"), Decision::Denied);
        assert!(granted(&[elsewhere, yes.clone()]), "another number's word is not this one's");
        assert!(!Decided::of(&[yes], NUMBER, Category::Billing, from_millis(100)).is_granted());
        assert!(!granted(&[]), "nobody asked is nobody agreed");
    }

    #[test]
    fn a_grant_holds_for_the_time_that_it_was_given_for() {
        let bounds = |from, until| Period { from: Some(from_millis(from)), until: Some(from_millis(until)) };
        let grant = |period| Entry { period, ..entry(1, ANA, None, Decision::Granted) };
        assert!(granted(&[grant(bounds(100, 101))]));
        assert!(!granted(&[grant(bounds(0, 100))]), "over");
        assert!(!granted(&[grant(bounds(101, 200))]), "not yet");
        let older = entry(1, ANA, Some(NUMBER), Decision::Granted);
        assert!(!granted(&[grant(bounds(0, 100)), older]), "the newest word was for a time only");
        assert!(granted(&[entry(2, ANA, None, Decision::Granted), grant(bounds(0, 100))]));
        let merged = Entry { period: bounds(0, 100), ..entry(1, MERGED, None, Decision::Granted) };
        assert!(!granted(&[entry(2, ANA, None, Decision::Granted), merged]));
    }

    #[test]
    fn of_patients_who_turned_out_to_be_one_the_strictest_holds() {
        let no = entry(1, MERGED, None, Decision::Denied);
        let yes = entry(2, ANA, None, Decision::Granted);
        assert!(!granted(&[yes.clone(), no.clone()]));
        assert!(granted(&[entry(3, MERGED, None, Decision::Granted), yes, no]));
    }
}

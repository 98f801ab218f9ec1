//! Which free slots to offer.

use super::Scheduling;
use crate::{
    ehr::{Ehr, EhrError},
    fhir::{
        Parsed, ResourceRef, SearchMethod, SearchParams,
        views::{AppointmentView, ConceptView, ScheduleView, SlotStatus, SlotView},
    },
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// A visit is not moved to a time that is sooner than this.
const NOTICE: SignedDuration = SignedDuration::from_hours(2);
/// How far ahead slots are looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(10 * 24);
/// How many entries a page is asked for.
const PAGE: &str = "100";

/// What to offer.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Not before; never within two hours from now.
    pub from: Timestamp,
    /// How many at most.
    pub count: usize,
    /// Slots that were offered and not wanted.
    pub exclude: &'a [ResourceRef],
    /// The clinic's zone, in which days and halves of days are counted.
    pub zone: &'a TimeZone,
}

/// A slot that can be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedSlot {
    /// Which.
    pub slot: ResourceRef,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}

impl Scheduling {
    /// Free slots of the same practitioner, place and service type as the appointment, long enough for it, spread over days
    /// and halves of days, in the order of time. None where the EHR tells nothing of schedules and slots.
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away or refuses.
    pub async fn free_slots(
        &self,
        ehr: &Ehr,
        appointment: &AppointmentView,
        wanted: Wanted<'_>,
    ) -> Result<Vec<OfferedSlot>, EhrError> {
        let now = self.instruments.now();
        let can = ehr.capabilities(now).await?;
        if !can.searches_by("Schedule", "actor") || !can.searches_by("Slot", "schedule") {
            return Ok(Vec::new());
        }
        let from = wanted.from.max(now.checked_add(NOTICE).unwrap_or(Timestamp::MAX));
        let schedules = self.schedules(ehr, appointment).await?;
        if schedules.is_empty() {
            return Ok(Vec::new());
        }
        let held = self.holds.held(ehr.tenant).await?;
        let found = self.free_in(ehr, &schedules, from).await?;
        let fitting = found.iter().filter_map(|slot| fitting(slot, appointment, from));
        let open =
            fitting.filter(|offer| !wanted.exclude.contains(&offer.slot) && !held.contains(&offer.slot.to_string()));
        Ok(spread(open.collect(), wanted.count, wanted.zone))
    }

    /// The schedules that the appointment could be in.
    async fn schedules(&self, ehr: &Ehr, appointment: &AppointmentView) -> Result<Vec<ResourceRef>, EhrError> {
        let Some(actor) = appointment.practitioner().or_else(|| appointment.location()) else { return Ok(Vec::new()) };
        let params = SearchParams::new().with("actor", actor.to_string());
        let page = ehr.client.search("Schedule", params, SearchMethod::Get)?.all().await?;
        let schedules = Parsed::read(&page.matches, ScheduleView::read).good.into_iter();
        let fits = |schedule: &ScheduleView| {
            // Another place is another journey for the patient.
            let mut places = schedule.actors.iter().filter(|actor| actor.is("Location")).peekable();
            let says_nothing = places.peek().is_none() || appointment.location().is_none();
            let same_place = says_nothing || places.any(|place| appointment.location() == Some(place));
            schedule.active && same_place && serves(&schedule.service_types, &appointment.service_types)
        };
        Ok(schedules.filter(fits).filter_map(|schedule| schedule.reference).collect())
    }

    async fn free_in(&self, ehr: &Ehr, schedules: &[ResourceRef], from: Timestamp) -> Result<Vec<SlotView>, EhrError> {
        let schedules: Vec<String> = schedules.iter().map(ToString::to_string).collect();
        let until = from.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let params = SearchParams::new()
            .with("schedule", schedules.join(","))
            .with("status", "free")
            .with("start", format!("ge{from}"))
            .with("start", format!("lt{until}"))
            .with("_count", PAGE);
        let page = ehr.client.search("Slot", params, SearchMethod::Get)?.all().await?;
        Ok(Parsed::read(&page.matches, SlotView::read).good)
    }
}

/// Whether something for `offered` may be taken for `wanted`; the EHR's silence means yes.
fn serves(offered: &[ConceptView], wanted: &[ConceptView]) -> bool {
    let silent = offered.is_empty() || wanted.is_empty();
    silent || wanted.iter().any(|wanted| offered.iter().any(|offered| offered.shares_code_with(wanted)))
}

/// The slot as an offer. A server may ignore a parameter: each slot is looked at.
fn fitting(slot: &SlotView, appointment: &AppointmentView, from: Timestamp) -> Option<OfferedSlot> {
    let length = appointment.end?.duration_since(appointment.start?);
    let fits = slot.status == SlotStatus::Free
        && !slot.overbooked
        && slot.start >= from
        && Some(slot.start) != appointment.start
        && slot.end.duration_since(slot.start) >= length
        && serves(&slot.service_types, &appointment.service_types);
    let reference = slot.reference.clone().filter(|_| fits)?;
    Some(OfferedSlot { slot: reference, start: slot.start, end: slot.end })
}

/// Picks `count` offers that differ: each time the earliest of the least used days and halves of days.
fn spread(mut open: Vec<OfferedSlot>, count: usize, zone: &TimeZone) -> Vec<OfferedSlot> {
    let half = |offer: &OfferedSlot| -> (Date, bool) {
        let local = offer.start.to_zoned(zone.clone());
        (local.date(), local.hour() >= 12)
    };
    // Two practitioners' slots at one instant look the same to the patient.
    open.sort_by_key(|offer| offer.start);
    open.dedup_by_key(|offer| offer.start);
    let mut picked: Vec<OfferedSlot> = Vec::new();
    while picked.len() < count {
        let used = |offer: &OfferedSlot| {
            let (day, afternoon) = half(offer);
            let same_day = picked.iter().filter(|other| half(other).0 == day).count();
            let same_half = picked.iter().filter(|other| half(other).1 == afternoon).count();
            (same_day, same_half, offer.start)
        };
        let Some((index, _)) = open.iter().enumerate().min_by_key(|(_, offer)| used(offer)) else { break };
        picked.push(open.remove(index));
    }
    picked.sort_by_key(|offer| offer.start);
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(starts: &[&str]) -> Vec<OfferedSlot> {
        let offer = |(index, start): (usize, &&str)| {
            let start: Timestamp = start.parse().unwrap();
            let slot = ResourceRef::new("Slot", &format!("s{index}")).unwrap();
            OfferedSlot { slot, start, end: start + SignedDuration::from_mins(30) }
        };
        starts.iter().enumerate().map(offer).collect()
    }

    fn picked(starts: &[&str], count: usize) -> Vec<String> {
        let zone = TimeZone::get("America/New_York").unwrap();
        spread(open(starts), count, &zone).iter().map(|offer| offer.start.to_string()).collect()
    }

    #[test]
    fn offers_differ_in_day_and_half_of_day() {
        let starts = [
            "2026-11-24T14:00:00Z",
            "2026-11-24T14:30:00Z",
            "2026-11-24T19:00:00Z",
            "2026-11-25T14:00:00Z",
            "2026-11-25T19:00:00Z",
            "2026-11-26T14:00:00Z",
        ];
        assert_eq!(picked(&starts, 3), ["2026-11-24T14:00:00Z", "2026-11-25T19:00:00Z", "2026-11-26T14:00:00Z"]);
    }

    #[test]
    fn one_day_is_used_as_far_as_it_goes() {
        let starts = ["2026-11-24T14:30:00Z", "2026-11-24T14:00:00Z", "2026-11-24T19:00:00Z", "2026-11-24T14:00:00Z"];
        assert_eq!(picked(&starts, 2), ["2026-11-24T14:00:00Z", "2026-11-24T19:00:00Z"]);
        assert_eq!(picked(&starts, 9).len(), 3);
        assert!(picked(&[], 3).is_empty());
    }
}

//! When which reminder of a visit is due. Pure; `plan_store` keeps the rows.
//!
//! Always, whatever the calendar does and however often the visit is moved: no reminder leaves for a time that is not
//! the visit's, and none leaves twice for one rule and one start.

use crate::{kernel::local_instant, practice::ReminderRule};
use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};

/// A reminder that is later than this was held up by an outage.
const ON_TIME_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead the visit must be for a reminder to be of use after an outage.
const USEFUL_BEFORE: SignedDuration = SignedDuration::from_hours(12);
/// A reminder for a visit sooner than that is of use until so long before it.
const LAST_CALL: SignedDuration = SignedDuration::from_hours(1);

/// How far a planned reminder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlanState {
    /// It waits for its time.
    Planned,
    /// Its text is queued or on its way: the rule is used up for this start.
    Queued,
    /// The carrier has its text.
    Sent,
    /// Its text was dropped, refused or not delivered; the reason is the text's.
    Failed,
    /// It was too late when the visit became known or the outage ended.
    Skipped,
    /// The visit is off or at another time.
    Dropped,
}

impl PlanState {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Planned, "planned"),
        (Self::Queued, "queued"),
        (Self::Sent, "sent"),
        (Self::Failed, "failed"),
        (Self::Skipped, "skipped"),
        (Self::Dropped, "dropped"),
    ];

    /// The stored word.
    pub(super) fn code(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("dropped", |(_, code)| code)
    }

    /// The state with this stored word.
    pub(super) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(state, _)| *state)
    }
}

/// A reminder of a visit at one start, by one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The start that it is for.
    pub(super) start: Timestamp,
    /// The rule's days.
    pub(super) days_before: u32,
    /// When it is due.
    pub(super) due: Timestamp,
    /// How far it is.
    pub(super) state: PlanState,
    /// Why, as a constant word.
    pub(super) reason: Option<&'static str>,
}

/// The instant at which `rule` reminds of a visit at `start`: calendar days count in the clinic's zone.
pub(super) fn due(rule: ReminderRule, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let day = start.to_zoned(zone.clone()).date();
    let day = day.checked_sub(i64::from(rule.days_before).days()).ok()?;
    Some(local_instant(day, rule.at, zone))
}

/// What changes in the plans `existing` of a visit when it is at `visit` now (`None`: it is off): the plans to write.
pub(super) fn replan(
    existing: &[Plan],
    visit: Option<Timestamp>,
    rules: &[ReminderRule],
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<Plan> {
    let outdated = existing.iter().filter(|plan| plan.state == PlanState::Planned && Some(plan.start) != visit);
    let mut changes: Vec<Plan> =
        outdated.map(|plan| Plan { state: PlanState::Dropped, reason: Some("visit-changed"), ..*plan }).collect();
    let Some(start) = visit.filter(|start| *start > now) else { return changes };
    for rule in rules {
        let Some(due) = due(*rule, start, zone).filter(|due| *due < start) else { continue };
        let same = |plan: &Plan| plan.start == start && plan.days_before == rule.days_before;
        let past = due <= now;
        let (state, reason) = if past { (PlanState::Skipped, Some("past")) } else { (PlanState::Planned, None) };
        let plan = Plan { start, days_before: rule.days_before, due, state, reason };
        let known = existing.iter().find(|plan| same(plan)).or_else(|| changes.iter().find(|plan| same(plan)));
        // A visit that comes back to an earlier time takes up what had not been sent for it.
        if known.is_none_or(|known| known.state == PlanState::Dropped) {
            changes.push(plan);
        }
    }
    changes
}

/// What to do with a planned reminder whose time may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not yet.
    Wait(Timestamp),
    /// It leaves, unless it is still waiting at this instant.
    Send {
        /// Stale from then on: when the next reminder is due, or when it would not be of use any more.
        expires: Timestamp,
    },
    /// It does not leave.
    End(PlanState, &'static str),
}

/// Judges `plan`, one of the visit's plans `all`, for a visit that is at `visit` now.
pub(super) fn verdict(plan: &Plan, all: &[Plan], visit: Option<Timestamp>, now: Timestamp) -> Verdict {
    if plan.state != PlanState::Planned {
        return Verdict::End(plan.state, plan.reason.unwrap_or("done"));
    }
    if visit != Some(plan.start) {
        return Verdict::End(PlanState::Dropped, "visit-changed");
    }
    if now < plan.due {
        return Verdict::Wait(plan.due);
    }
    let later = |other: &&Plan| other.start == plan.start && other.due > plan.due;
    if all.iter().filter(later).any(|other| other.due <= now && other.state == PlanState::Planned) {
        return Verdict::End(PlanState::Skipped, "overtaken");
    }
    let before = |span| plan.start.checked_sub(span).unwrap_or(Timestamp::MIN);
    let delayed = now.duration_since(plan.due) > ON_TIME_WITHIN;
    let useful = before(USEFUL_BEFORE);
    let last = if useful > now { useful } else { before(LAST_CALL) };
    if now >= last || (delayed && useful < now) {
        return Verdict::End(PlanState::Skipped, "late");
    }
    let next = all.iter().filter(later).map(|other| other.due).min();
    Verdict::Send { expires: next.map_or(last, |next| next.min(last)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;
    use proptest::prelude::*;
    use rstest::rstest;

    fn new_york() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rules() -> Vec<ReminderRule> {
        [3, 1].map(|days_before| ReminderRule { days_before, at: time(10, 0, 0, 0) }).to_vec()
    }

    #[rstest]
    #[case::plain("2026-11-26T19:00:00Z", 1, "2026-11-25T15:00:00Z")]
    #[case::the_clocks_go_back_between("2026-11-02T15:00:00Z", 3, "2026-10-30T14:00:00Z")]
    #[case::the_clocks_go_forward_between("2026-03-09T14:00:00Z", 1, "2026-03-08T14:00:00Z")]
    #[case::late_evening_is_the_next_day_in_utc("2026-11-27T02:00:00Z", 1, "2026-11-25T15:00:00Z")]
    fn days_are_the_clinics(#[case] start: &str, #[case] days_before: u32, #[case] expected: &str) {
        let rule = ReminderRule { days_before, at: time(10, 0, 0, 0) };
        assert_eq!(due(rule, at(start), &new_york()), Some(at(expected)));
    }

    #[test]
    fn what_is_past_at_booking_is_skipped() {
        let plans = replan(&[], Some(at("2026-11-26T19:00:00Z")), &rules(), &new_york(), at("2026-11-24T12:00:00Z"));
        let states: Vec<_> = plans.iter().map(|plan| (plan.days_before, plan.state)).collect();
        assert_eq!(states, [(3, PlanState::Skipped), (1, PlanState::Planned)]);
    }

    #[rstest]
    #[case::on_time("2026-11-25T15:00:30Z", Some("2026-11-26T07:00:00Z"))]
    #[case::after_an_outage_half_a_day_ahead("2026-11-26T06:59:00Z", Some("2026-11-26T07:00:00Z"))]
    #[case::after_an_outage_too_near("2026-11-26T08:00:00Z", None)]
    fn after_an_outage(#[case] now: &str, #[case] expires: Option<&str>) {
        let start = at("2026-11-26T19:00:00Z");
        let plans = replan(&[], Some(start), &rules(), &new_york(), at("2026-11-01T00:00:00Z"));
        let day_before = plans.iter().find(|plan| plan.days_before == 1).unwrap();
        let expected =
            expires.map_or(Verdict::End(PlanState::Skipped, "late"), |expires| Verdict::Send { expires: at(expires) });
        assert_eq!(verdict(day_before, &plans, Some(start), at(now)), expected);
        let three_days = plans.iter().find(|plan| plan.days_before == 3).unwrap();
        let overtaken = Verdict::End(PlanState::Skipped, "overtaken");
        assert_eq!(verdict(three_days, &plans, Some(start), at(now)), overtaken);
    }

    /// What can happen to a visit.
    #[derive(Debug, Clone)]
    enum Happening {
        Booked(i64),
        Cancelled,
        HoursPass(i64),
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        let one = prop_oneof![
            // Few different times, so that visits come back to one.
            (0..8_i64).prop_map(|step| Happening::Booked(step * 19)),
            Just(Happening::Cancelled),
            (1..60_i64).prop_map(Happening::HoursPass),
        ];
        prop::collection::vec(one, 1..40)
    }

    fn apply(plans: &mut Vec<Plan>, changes: Vec<Plan>) {
        for change in changes {
            let same = |plan: &&mut Plan| plan.start == change.start && plan.days_before == change.days_before;
            match plans.iter_mut().find(same) {
                Some(plan) => *plan = change,
                None => plans.push(change),
            }
        }
    }

    proptest! {
        #[test]
        fn never_for_another_time_and_never_twice(
            days in 0..800_i64,
            happenings in happenings(),
        ) {
            let zone = new_york();
            let mut now = at("2026-01-01T05:00:00Z").checked_add(SignedDuration::from_hours(24 * days)).unwrap();
            let base = now.checked_add(SignedDuration::from_hours(40)).unwrap();
            let (mut plans, mut visit) = (Vec::new(), None);
            let mut sent: Vec<(Timestamp, u32)> = Vec::new();
            for happening in happenings {
                match happening {
                    Happening::Booked(hours) => visit = base.checked_add(SignedDuration::from_hours(hours)).ok(),
                    Happening::Cancelled => visit = None,
                    Happening::HoursPass(hours) => now = now.checked_add(SignedDuration::from_hours(hours)).unwrap(),
                }
                let changes = replan(&plans, visit, &rules(), &zone, now);
                apply(&mut plans, changes);
                for index in 0..plans.len() {
                    let plan = plans[index];
                    match verdict(&plan, &plans, visit, now) {
                        Verdict::Send { expires } => {
                            prop_assert_eq!(Some(plan.start), visit);
                            prop_assert!(now >= plan.due && now < expires && expires < plan.start);
                            prop_assert!(!sent.contains(&(plan.start, plan.days_before)));
                            sent.push((plan.start, plan.days_before));
                            plans[index].state = PlanState::Queued;
                        }
                        Verdict::End(state, reason) => {
                            plans[index].state = state;
                            plans[index].reason = Some(reason);
                        }
                        Verdict::Wait(until) => prop_assert!(until > now),
                    }
                }
                let planned = plans.iter().filter(|plan| plan.state == PlanState::Planned);
                for plan in planned {
                    prop_assert_eq!(Some(plan.start), visit);
                }
            }
        }
    }
}

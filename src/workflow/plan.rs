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

/// What changes in the plans `existing` of a visit when it is at `visit` now (`None`: it is off) and these are the rules:
/// the plans to write. Nothing where all is as it should be. What has left, or is about to, stays as it is.
pub(super) fn replan(
    existing: &[Plan],
    visit: Option<Timestamp>,
    rules: &[ReminderRule],
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<Plan> {
    let due_of =
        |rule: &ReminderRule| Some((rule.days_before, due(*rule, visit?, zone).filter(|due| Some(*due) < visit)?));
    let wanted: Vec<(u32, Timestamp)> = rules.iter().filter_map(due_of).collect();
    let unwanted = |plan: &Plan| {
        if Some(plan.start) != visit {
            return Some("visit-changed");
        }
        let by_a_rule = wanted.iter().any(|(days_before, _)| *days_before == plan.days_before);
        (!by_a_rule).then_some("rule-changed")
    };
    let planned = existing.iter().filter(|plan| plan.state == PlanState::Planned);
    let off = |plan: &Plan| Some(Plan { state: PlanState::Dropped, reason: Some(unwanted(plan)?), ..*plan });
    let mut changes: Vec<Plan> = planned.filter_map(off).collect();
    let Some(start) = visit.filter(|start| *start > now) else { return changes };
    for (days_before, due) in wanted {
        let known = existing.iter().find(|plan| plan.start == start && plan.days_before == days_before);
        if let Some((state, reason)) = next_state(known, due, now) {
            changes.push(Plan { start, days_before, due, state, reason });
        }
    }
    changes
}

/// What becomes of the plan `known` of a rule that is due at `due`; `None`: it stays as it is.
fn next_state(known: Option<&Plan>, due: Timestamp, now: Timestamp) -> Option<(PlanState, Option<&'static str>)> {
    let planned = Some((PlanState::Planned, None));
    let Some(known) = known else {
        return if due > now { planned } else { Some((PlanState::Skipped, Some("past"))) };
    };
    match known.state {
        // Its new time may be past: then it is judged at once.
        PlanState::Planned if known.due != due => planned,
        // A visit that comes back to an earlier time, or a rule that comes back, takes up what had not been sent for it.
        PlanState::Dropped if due > now => planned,
        PlanState::Skipped if known.due != due && due > now => planned,
        _ => None,
    }
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
    // What was taken off or came too late tells the patient nothing.
    let comes = |other: &Plan| !matches!(other.state, PlanState::Dropped | PlanState::Skipped);
    let later = |other: &&Plan| other.start == plan.start && other.due > plan.due && comes(other);
    if all.iter().filter(later).any(|other| other.due <= now) {
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

    fn rule(days_before: u32, hour: i8) -> ReminderRule {
        ReminderRule { days_before, at: time(hour, 0, 0, 0) }
    }

    fn rules() -> Vec<ReminderRule> {
        vec![rule(3, 10), rule(1, 10)]
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

    #[rstest]
    #[case::the_same_rules(&[(3, 10), (1, 10)], &[])]
    #[case::one_more(&[(3, 10), (2, 10), (1, 10)], &["2 planned 2026-11-24T15:00:00Z"])]
    #[case::one_more_that_would_be_past(&[(5, 10), (3, 10), (1, 10)], &["5 skipped 2026-11-21T15:00:00Z"])]
    #[case::one_less(&[(3, 10)], &["1 dropped 2026-11-25T15:00:00Z"])]
    #[case::later_that_day(&[(3, 10), (1, 12)], &["1 planned 2026-11-25T17:00:00Z"])]
    #[case::the_sent_one_at_another_time(&[(3, 15), (1, 10)], &[])]
    #[case::the_sent_one_is_no_rule_any_more(&[(1, 10)], &[])]
    #[case::after_the_visit_begins(&[(3, 10), (0, 16), (1, 10)], &[])]
    fn when_the_rules_change(#[case] new: &[(u32, i8)], #[case] expected: &[&str]) {
        let (start, now) = (Some(at("2026-11-26T19:00:00Z")), at("2026-11-23T16:00:00Z"));
        let mut plans = replan(&[], start, &rules(), &new_york(), at("2026-11-20T12:00:00Z"));
        plans[0].state = PlanState::Sent;
        let new: Vec<_> = new.iter().map(|(days, hour)| rule(*days, *hour)).collect();
        let changes = replan(&plans, start, &new, &new_york(), now);
        let told: Vec<_> =
            changes.iter().map(|plan| format!("{} {} {}", plan.days_before, plan.state.code(), plan.due)).collect();
        assert_eq!(told, expected);
        apply(&mut plans, changes);
        assert_eq!(replan(&plans, start, &new, &new_york(), now), [], "the second time");
        let back = replan(&plans, start, &rules(), &new_york(), now);
        apply(&mut plans, back);
        let day_before = plans.iter().find(|plan| plan.days_before == 1).unwrap();
        assert_eq!((day_before.state, day_before.due), (PlanState::Planned, at("2026-11-25T15:00:00Z")), "back again");
    }

    #[test]
    fn what_was_too_late_is_taken_up_by_a_rule_that_is_not() {
        let (start, now) = (Some(at("2026-11-26T19:00:00Z")), at("2026-11-23T16:00:00Z"));
        let mut plans = replan(&[], start, &rules(), &new_york(), now);
        assert_eq!(plans[0].state, PlanState::Skipped);
        let changes = replan(&plans, start, &[rule(3, 15), rule(1, 10)], &new_york(), now);
        assert_eq!(
            changes.iter().map(|plan| (plan.days_before, plan.state)).collect::<Vec<_>>(),
            [(3, PlanState::Planned)]
        );
        apply(&mut plans, changes);
        assert_eq!(plans.len(), 2);
    }

    #[test]
    fn a_reminder_that_is_not_wanted_any_more_does_not_end_another() {
        let start = at("2026-11-26T19:00:00Z");
        let mut plans = replan(&[], Some(start), &rules(), &new_york(), at("2026-11-20T12:00:00Z"));
        let changes = replan(&plans, Some(start), &[rule(3, 10)], &new_york(), at("2026-11-20T12:00:00Z"));
        apply(&mut plans, changes);
        let sent = verdict(&plans[0], &plans, Some(start), at("2026-11-23T15:00:00Z"));
        assert_eq!(sent, Verdict::Send { expires: at("2026-11-26T07:00:00Z") });
    }

    /// What can happen to a visit.
    #[derive(Debug, Clone)]
    enum Happening {
        Booked(i64),
        Cancelled,
        HoursPass(i64),
        RulesChange(Vec<ReminderRule>),
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        let one = prop_oneof![
            // Few different times, so that visits come back to one.
            (0..8_i64).prop_map(|step| Happening::Booked(step * 19)),
            Just(Happening::Cancelled),
            (1..60_i64).prop_map(Happening::HoursPass),
            prop::collection::btree_map(0..4_u32, 9..20_i8, 1..3).prop_map(|rules| Happening::RulesChange(
                rules.into_iter().map(|(days, hour)| rule(days, hour)).collect()
            )),
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
            let (mut plans, mut visit, mut rules) = (Vec::new(), None, rules());
            let mut sent: Vec<(Timestamp, u32)> = Vec::new();
            for happening in happenings {
                match happening {
                    Happening::Booked(hours) => visit = base.checked_add(SignedDuration::from_hours(hours)).ok(),
                    Happening::Cancelled => visit = None,
                    Happening::HoursPass(hours) => now = now.checked_add(SignedDuration::from_hours(hours)).unwrap(),
                    Happening::RulesChange(new) => rules = new,
                }
                let changes = replan(&plans, visit, &rules, &zone, now);
                apply(&mut plans, changes);
                prop_assert_eq!(replan(&plans, visit, &rules, &zone, now), vec![]);
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
                    prop_assert!(rules.iter().any(|rule| due(*rule, plan.start, &zone) == Some(plan.due)));
                }
            }
        }
    }
}

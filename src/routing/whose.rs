//! Where a reading goes when it is not known, or not certain, whose text it is. Pure.

use super::{TaskReason, triage::Route};
use crate::{access::Team, intent::Compliance};

/// The route with what the number says of the sender. Danger and symptoms go to nurses whoever sent them; of the rest, an
/// unknown number is the work of whoever schedules, and what needs no answer still needs somebody to say whose it is.
pub(super) fn whose(route: Route, patients: usize, compliance: Option<Compliance>) -> Route {
    match (route, patients, compliance) {
        (Route::Person(Team::Nursing, TaskReason::Emergency | TaskReason::Clinical), ..) | (_, 1, _) => route,
        (_, 0, None) => Route::Person(Team::Scheduling, TaskReason::UnknownNumber),
        (Route::Nobody, 2.., None) => Route::Person(Team::Scheduling, TaskReason::WhichPatient),
        _ => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn danger_goes_to_nurses_whoever_sent_it() {
        let danger = Route::Person(Team::Nursing, TaskReason::Emergency);
        let symptom = Route::Person(Team::Nursing, TaskReason::Clinical);
        for patients in 0..3 {
            assert_eq!(whose(danger, patients, None), danger);
            assert_eq!(whose(symptom, patients, None), symptom);
        }
    }

    #[test]
    fn no_text_is_left_without_anybody_who_says_whose_it_is() {
        let unknown = Route::Person(Team::Scheduling, TaskReason::UnknownNumber);
        let which = Route::Person(Team::Scheduling, TaskReason::WhichPatient);
        for route in [Route::Nobody, Route::Workflow, Route::Person(Team::Pharmacy, TaskReason::Refill)] {
            assert_eq!(whose(route, 0, None), unknown);
            assert_eq!(whose(route, 1, None), route);
        }
        assert_eq!(whose(Route::Nobody, 2, None), which);
        assert_eq!(whose(Route::Workflow, 2, None), Route::Workflow, "the question says who");
        assert_eq!(whose(Route::Nobody, 2, Some(Compliance::OptOut)), Route::Nobody);
    }
}

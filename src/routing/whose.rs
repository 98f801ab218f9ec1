//! Where a reading goes when it is not known, or not certain, whose text it is. Pure.

use super::{TaskReason, triage::Route};
use crate::{access::Team, intent::Compliance};

/// The route with what the number says of the sender. Whoever would see to the text of a known patient sees to it, and
/// says whose it is; what would need nobody, or a workflow, needs somebody who says that. STOP, START and HELP are the
/// number's: they need nobody who knows.
pub(super) fn whose(route: Route, patients: usize, compliance: Option<Compliance>) -> Route {
    match (route, patients, compliance) {
        (Route::Nobody | Route::Workflow, 0, None) => Route::Person(Team::Scheduling, TaskReason::UnknownNumber),
        (Route::Nobody, 2.., None) => Route::Person(Team::Scheduling, TaskReason::WhichPatient),
        // One patient; or the question that a workflow asked says who.
        _ => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_to_a_text_does_so_whoever_sent_it() {
        for (team, reason) in [
            (Team::Nursing, TaskReason::Emergency),
            (Team::Nursing, TaskReason::Clinical),
            (Team::Pharmacy, TaskReason::Refill),
        ] {
            for patients in 0..3 {
                assert_eq!(whose(Route::Person(team, reason), patients, None), Route::Person(team, reason));
            }
        }
    }

    #[test]
    fn no_text_is_left_without_anybody_who_says_whose_it_is() {
        let unknown = Route::Person(Team::Scheduling, TaskReason::UnknownNumber);
        let which = Route::Person(Team::Scheduling, TaskReason::WhichPatient);
        for route in [Route::Nobody, Route::Workflow] {
            assert_eq!(whose(route, 0, None), unknown);
            assert_eq!(whose(route, 1, None), route);
        }
        assert_eq!(whose(Route::Nobody, 2, None), which);
        assert_eq!(whose(Route::Workflow, 2, None), Route::Workflow, "the question says who");
        assert_eq!(whose(Route::Nobody, 2, Some(Compliance::OptOut)), Route::Nobody);
        assert_eq!(whose(Route::Nobody, 0, Some(Compliance::OptOut)), Route::Nobody);
    }
}

//! Every setting that is looser than the strict reading (`check` lists them).

use crate::{
    config::{Policies, TenantSettings},
    practice::OptOutNotice,
};

/// What this practice has loosened: the key, and what that allows.
pub(super) fn loosened(tenant: &TenantSettings) -> Vec<(&'static str, String)> {
    // Every field is named, so that a new switch cannot be left out here.
    let Policies { first_name_in_texts, texts_before_verification, confirm_stop, texts_at_any_hour, opt_out_wording } =
        tenant.policies;
    let switches = [
        (first_name_in_texts, "policies.first_name_in_texts", "texts may greet by first name"),
        (
            texts_before_verification,
            "policies.texts_before_verification",
            "texts may go to numbers that are not verified",
        ),
        (confirm_stop, "policies.confirm_stop", "one text confirms a STOP"),
        (texts_at_any_hour, "policies.texts_at_any_hour", "automated texts may leave outside 08:00 to 21:00"),
        (
            opt_out_wording == OptOutNotice::FirstAndMonthly,
            "policies.opt_out_wording",
            "automated texts say how to stop in the first and once in 30 days only",
        ),
    ];
    let mut found: Vec<(&'static str, String)> =
        switches.into_iter().filter(|(on, ..)| *on).map(|(_, key, what)| (key, what.to_owned())).collect();
    if let Some(word) = &tenant.ehr.mfa.attestation {
        let what = format!(
            "the EHR need not show a second factor, by the written word of {} on {}",
            word.signed_by, word.signed_on
        );
        found.push(("ehr.mfa.attestation", what));
    }
    found
}

//! Every setting that is looser than the strict reading (`check` lists them).

use crate::config::{OptOutWording, Policies, StopScope, TenantSettings};

/// What this practice has loosened: the key, and what that allows.
pub(super) fn loosened(tenant: &TenantSettings) -> Vec<(&'static str, String)> {
    // Every field is named, so that a new switch cannot be left out here.
    let Policies {
        amounts_in_texts,
        first_name_in_texts,
        texts_before_verification,
        confirm_stop,
        clinical_detail_after_acceptance,
        texts_at_any_hour,
        stop_scope,
        opt_out_wording,
    } = tenant.policies;
    let switches = [
        (amounts_in_texts, "policies.amounts_in_texts", "amounts of money may stand in texts"),
        (first_name_in_texts, "policies.first_name_in_texts", "texts may greet by first name"),
        (
            texts_before_verification,
            "policies.texts_before_verification",
            "texts may go to numbers that are not verified",
        ),
        (confirm_stop, "policies.confirm_stop", "one text confirms a STOP"),
        (
            clinical_detail_after_acceptance,
            "policies.clinical_detail_after_acceptance",
            "clinical roles may name medications and values to patients who accepted the risk",
        ),
        (texts_at_any_hour, "policies.texts_at_any_hour", "automated texts may leave outside 08:00 to 21:00"),
        (stop_scope == StopScope::Category, "policies.stop_scope", "a STOP ends only the category that it answers"),
        (
            opt_out_wording == OptOutWording::FirstAndMonthly,
            "policies.opt_out_wording",
            "not every automated text says how to stop",
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

//! What a person sees when a launch does not end in the inbox. No page repeats what the request brought.

use super::{LaunchSite, Parts};
use crate::{
    http::{Failure, page, server::Source},
    smart::{Advice, SmartError},
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use std::net::IpAddr;

/// The answer, with who may frame it: the practice's EHR, or any practice's where it is not known which is meant.
pub(super) fn framed(parts: &Parts, site: Option<&LaunchSite>, mut response: Response) -> Response {
    let mut ancestors: Vec<String> = match site {
        Some(site) => site.embedding.frame_ancestors.clone(),
        None => parts.sites.iter().flat_map(|site| site.embedding.frame_ancestors.iter().cloned()).collect(),
    };
    ancestors.sort();
    ancestors.dedup();
    if let Some(policy) = page::content_security_policy(&ancestors) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Counts and logs a launch that failed, and says what the person can do.
pub(super) fn told(parts: &Parts, site: &LaunchSite, error: &SmartError, source: IpAddr) -> Response {
    tracing::warn!(%error, "a launch failed");
    if let Some(reason) = refused(error) {
        parts.refuse(Some(site), reason, source);
    }
    match error.advice() {
        Advice::OpenFromEhrAgain => open_again(),
        Advice::TryLater => try_later(),
        Advice::TellAdministrator => tell_administrator(),
        Advice::NotAllowed if *error == SmartError::NotStaff => no_role(),
        Advice::NotAllowed => not_let_in(),
    }
}

/// The refusal that an error is, for the audit log; what is only broken is none.
const fn refused(error: &SmartError) -> Option<&'static str> {
    match error {
        SmartError::UnknownIssuer => Some("unknown-issuer"),
        SmartError::BadLaunchRequest => Some("bad-launch"),
        SmartError::Denied { .. } => Some("denied-by-ehr"),
        SmartError::StateMismatch => Some("state-mismatch"),
        SmartError::LaunchExpired => Some("launch-expired"),
        SmartError::MixUp => Some("mix-up"),
        SmartError::IdToken(_) => Some("id-token"),
        SmartError::NotStaff => Some("not-staff"),
        SmartError::Discovery(_) | SmartError::Token(_) | SmartError::BadContext(_) => None,
    }
}

pub(super) fn unknown_issuer() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "This EHR is not connected",
        "No practice here is registered with the EHR that opened this page. Nothing was sent to it.",
        "Whoever runs Chartwire can register the EHR's address.",
    )
}

pub(super) fn which_practice() -> Response {
    page::state(
        StatusCode::BAD_REQUEST,
        "Which practice?",
        "Several practices share this EHR, and the EHR did not say which one is meant.",
        "Whoever runs the EHR can register the launch address of the practice, which ends in its name.",
    )
}

pub(super) fn open_again() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "This launch is over",
        "It took too long, was used already, or did not begin here.",
        "Open the patient in the EHR again.",
    )
}

pub(super) fn other_browser() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "This launch began elsewhere",
        "It did not begin in this browser, or the browser keeps no cookies for pages inside the EHR.",
        "Open the patient in the EHR again. If that does not help, allow cookies for Chartwire.",
    )
}

/// The page for a source that launches too much; none for others.
pub(super) fn too_many(parts: &Parts, source: Option<Source>) -> Option<Response> {
    let Err(Failure::TooMany(seconds)) = parts.rates.launch(source) else { return None };
    let mut response = page::state(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many launches at once",
        "More launches came from your network within a minute than are let in. Nothing was asked of the EHR.",
        "Wait a minute and open the patient in the EHR again. If it happens again, tell whoever runs Chartwire.",
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(framed(parts, None, response))
}

pub(super) fn try_later() -> Response {
    page::state(
        StatusCode::SERVICE_UNAVAILABLE,
        "The EHR does not answer",
        "You could not be signed in, because the EHR cannot be reached right now.",
        "Open the patient again in a few minutes.",
    )
}

pub(super) fn tell_administrator() -> Response {
    page::state(
        StatusCode::BAD_GATEWAY,
        "Something is set up wrongly",
        "The EHR and Chartwire do not fit together as they are set up. It has been noted.",
        "Tell whoever runs Chartwire when this happened.",
    )
}

pub(super) fn not_let_in() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "The EHR did not let you in",
        "Chartwire asked the EHR to sign you in, and the EHR refused.",
        "Open the patient again, or ask whoever manages accounts in the EHR.",
    )
}

pub(super) fn second_factor() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "Sign in to the EHR with a second factor",
        "The EHR says that you signed in without one. Texts with patients need one.",
        "Sign out of the EHR, sign in with your second factor, and open the patient again.",
    )
}

pub(super) fn no_role() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "You have no role here",
        "The EHR tells us your role. It has none that reads or answers texts.",
        "Ask whoever manages roles in the EHR, then open the patient again.",
    )
}

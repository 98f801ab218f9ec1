//! `GET /smart/callback`: the EHR sends the browser back; a person, their roles and a patient become a session.

use super::{LaunchSite, Parts, StaffInEhr, launch::Remembered, launch::with_cookie, pages};
use crate::{
    access::{NewSession, NewStaffMember, Session, SessionRefusal, StaffMember},
    config::MfaSettings,
    ehr::EhrError,
    http::{Failure, RequestId, cookie, inbox, server::Source, source_address},
    kernel::{Id, Patient},
    smart::{Callback, Identity, LaunchCompleted, SmartError},
};
use axum::{
    Extension,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Redirect, Response},
};
use std::net::{IpAddr, SocketAddr};

pub(super) async fn callback(
    State(parts): State<Parts>,
    Extension(request): Extension<RequestId>,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    Query(callback): Query<Callback>,
) -> Response {
    if let Some(refused) = pages::too_many(&parts, source.map(|Extension(source)| source)) {
        return refused;
    }
    let arrival = Arrival { request, source: source_address(connection), headers: &headers };
    let (site, remembered) = match taken(&parts, &callback, &arrival).await {
        Ok(taken) => taken,
        Err((site, refused)) => return pages::framed(&parts, site, refused),
    };
    let response = match complete(&parts, site, remembered, &callback, &arrival).await {
        Ok(response) | Err(response) => response,
    };
    pages::framed(&parts, Some(site), response)
}

/// The request as it came.
struct Arrival<'a> {
    request: RequestId,
    source: IpAddr,
    headers: &'a HeaderMap,
}

/// The launch that the callback belongs to, taken out so that no other callback can use it.
async fn taken<'a>(
    parts: &'a Parts,
    callback: &Callback,
    arrival: &Arrival<'_>,
) -> Result<(&'a LaunchSite, Remembered), (Option<&'a LaunchSite>, Response)> {
    let state = callback.state.as_deref().unwrap_or_default();
    let pending = match parts.states.take(state).await {
        Ok(Some(pending)) => pending,
        Ok(None) => {
            parts.refuse(None, "unknown-state", arrival.source);
            return Err((None, pages::open_again()));
        }
        Err(error) => return Err((None, Failure::from(error).into_response())),
    };
    let Some(site) = parts.site(pending.tenant) else { return Err((None, pages::open_again())) };
    let remembered: Remembered = match serde_json::from_slice(&pending.body) {
        Ok(remembered) => remembered,
        Err(error) => return Err((Some(site), Failure::of(&error, false).into_response())),
    };
    let browser = cookie::value_of(arrival.headers, cookie::LAUNCH);
    if !browser.is_some_and(|browser| remembered.began_in(&browser)) {
        parts.refuse(Some(site), "other-browser", arrival.source);
        return Err((Some(site), pages::other_browser()));
    }
    Ok((site, remembered))
}

async fn complete(
    parts: &Parts,
    site: &LaunchSite,
    remembered: Remembered,
    callback: &Callback,
    arrival: &Arrival<'_>,
) -> Result<Response, Response> {
    let told = |error: &SmartError| pages::told(parts, site, error, arrival.source);
    let registration =
        site.registration(remembered.launch.iss()).ok_or_else(|| told(&SmartError::UnknownIssuer))?.clone();
    let completed = parts.smart.complete_launch(&registration, remembered.launch, callback).await;
    let completed = completed.map_err(|error| told(&error))?;
    let Some(authentication) = authentication(&site.mfa, &completed.identity) else {
        parts.refuse(Some(site), "no-second-factor", arrival.source);
        return Err(pages::second_factor());
    };
    let member = member(parts, site, &completed.identity, arrival).await?;
    let previous = cookie::session_of(arrival.headers);
    if member.roles.is_empty() {
        parts
            .sessions
            .refuse(&member, previous.as_ref())
            .await
            .map_err(|error| Failure::from(error).into_response())?;
        return Err(with_cookie(pages::no_role(), cookie::end_session()));
    }
    let patient = patient(parts, site, &completed).await?;
    let new = NewSession {
        member,
        patient,
        authentication,
        // Nothing is asked for in the person's name after the launch; what is not kept cannot leak.
        grant: None,
        previous,
        request: Some(arrival.request.0),
    };
    match parts.sessions.start(new).await {
        Ok(started) => Ok(with_cookie(to_inbox(started.id), cookie::begin_session(&started.token))),
        Err(SessionRefusal::Failed(error)) => Err(Failure::from(error).into_response()),
        Err(SessionRefusal::SignedOut | SessionRefusal::Ended(_) | SessionRefusal::NoRole) => Err(pages::no_role()),
    }
}

/// To the inbox of this launch. Its address names the launch, so that no page of an earlier one goes on in it.
fn to_inbox(session: Id<Session>) -> Response {
    let mut response = Redirect::to(&inbox::address(session)).into_response();
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// How the EHR says that it knew the person, if that is enough: `amr` or `acr`, or the practice's written word where the
/// EHR sends neither.
fn authentication(mfa: &MfaSettings, identity: &Identity) -> Option<String> {
    let method = identity.authentication_methods.iter().find(|method| mfa.accepted_amr.contains(method));
    if let Some(method) = method {
        return Some(format!("amr:{method}"));
    }
    if let Some(class) = &identity.authentication_class {
        return mfa.accepted_acr.contains(class).then(|| format!("acr:{class}"));
    }
    let attested = mfa.attestation.as_ref().filter(|_| identity.authentication_methods.is_empty())?;
    Some(format!("attestation:{}", attested.signed_on))
}

/// The person, with the roles that they have in the EHR now.
async fn member(
    parts: &Parts,
    site: &LaunchSite,
    identity: &Identity,
    arrival: &Arrival<'_>,
) -> Result<StaffMember, Response> {
    let not_staff = || {
        parts.refuse(Some(site), "not-staff", arrival.source);
        with_cookie(pages::no_role(), cookie::end_session())
    };
    let fhir_user = identity.fhir_user.as_ref().ok_or_else(not_staff)?;
    let known = parts.mirror.staff(site.tenant, fhir_user).await.map_err(|error| asked(&error))?;
    let StaffInEhr { name, roles } = known.ok_or_else(not_staff)?;
    let person = NewStaffMember {
        tenant: site.tenant,
        issuer: identity.issuer.clone(),
        fhir_user: fhir_user.to_string(),
        name,
        roles,
    };
    parts.staff.refresh(person).await.map_err(|error| Failure::from(error).into_response())
}

/// The patient in context, as we know them; taken in from the EHR where we do not.
async fn patient(
    parts: &Parts,
    site: &LaunchSite,
    completed: &LaunchCompleted,
) -> Result<Option<Id<Patient>>, Response> {
    let Some(in_context) = &completed.patient else { return Ok(None) };
    match parts.directory.by_fhir_id(site.tenant, in_context.id()).await {
        Ok(Some(known)) => Ok(Some(known.id)),
        Ok(None) => parts.intake.refresh(site.tenant, in_context.id()).await.map_err(|error| asked(&error)),
        Err(error) => Err(Failure::of(&error, true).into_response()),
    }
}

fn asked(error: &EhrError) -> Response {
    tracing::warn!(%error, "the EHR could not be asked about a person who launched");
    match error {
        EhrError::Unavailable { .. } | EhrError::Unknown | EhrError::Conflict => pages::try_later(),
        EhrError::Db(error) if error.is_transient() => pages::try_later(),
        EhrError::Vault(error) if error.is_transient() => pages::try_later(),
        _ => pages::tell_administrator(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MfaAttestation;
    use jiff::civil::date;

    fn identity(amr: &[&str], acr: Option<&str>) -> Identity {
        Identity {
            issuer: "https://ehr.example".to_owned(),
            subject: "1".to_owned(),
            fhir_user: None,
            authentication_class: acr.map(str::to_owned),
            authentication_methods: amr.iter().map(|method| (*method).to_owned()).collect(),
        }
    }

    #[test]
    fn a_second_factor_is_shown_by_the_ehr_or_attested_by_the_practice() {
        let strict = MfaSettings {
            accepted_amr: vec!["mfa".to_owned()],
            accepted_acr: vec!["urn:strong".to_owned()],
            attestation: None,
        };
        assert_eq!(authentication(&strict, &identity(&["pwd", "mfa"], None)).as_deref(), Some("amr:mfa"));
        assert_eq!(authentication(&strict, &identity(&["pwd"], Some("urn:strong"))).as_deref(), Some("acr:urn:strong"));
        assert_eq!(authentication(&strict, &identity(&["pwd"], Some("urn:weak"))), None);
        assert_eq!(authentication(&strict, &identity(&[], None)), None);
        let attestation = MfaAttestation {
            signed_by: "A. Admin".to_owned(),
            signed_on: date(2026, 3, 1),
            statement: "Sign-in asks for a token.".to_owned(),
        };
        let attested = MfaSettings { attestation: Some(attestation), ..strict };
        assert_eq!(authentication(&attested, &identity(&[], None)).as_deref(), Some("attestation:2026-03-01"));
        // What the EHR does say counts before what was written about it.
        assert_eq!(authentication(&attested, &identity(&["pwd"], None)), None);
        assert_eq!(authentication(&attested, &identity(&[], Some("urn:weak"))), None);
    }
}

//! `GET /smart/launch` and `/smart/launch/{tenant}`: the EHR's request becomes a redirect to its sign-in.

use super::{LaunchSite, Parts, pages};
use crate::{
    http::{Failure, cookie, server::Source, source_address},
    kernel::Instruments,
    smart::LaunchState,
};
use aws_lc_rs::{constant_time, digest};
use axum::{
    Extension,
    extract::{ConnectInfo, Path, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Bytes of randomness in the cookie that ties a launch to its browser.
const BROWSER_BYTES: usize = 32;

/// What the EHR's request brings.
#[derive(Deserialize)]
pub(super) struct Asked {
    pub(super) iss: Option<String>,
    pub(super) launch: Option<String>,
}

/// What is remembered of a launch until its callback.
#[derive(Serialize, Deserialize)]
pub(super) struct Remembered {
    /// What `smart` needs.
    pub(super) launch: LaunchState,
    /// The hash of the browser's cookie.
    browser: String,
}

impl Remembered {
    /// Whether the launch began in the browser with this cookie.
    pub(super) fn began_in(&self, browser: &str) -> bool {
        constant_time::verify_slices_are_equal(self.browser.as_bytes(), hash(browser).as_bytes()).is_ok()
    }
}

fn hash(browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, browser.as_bytes()).as_ref())
}

/// The address that every practice shares.
pub(super) async fn shared(
    State(parts): State<Parts>,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Some(refused) = pages::too_many(&parts, source.map(|Extension(source)| source)) {
        return refused;
    }
    begin(&parts, None, &asked, &headers, source_address(connection)).await
}

/// A practice's own address, for EHRs that several practices share.
pub(super) async fn of_tenant(
    State(parts): State<Parts>,
    Path(slug): Path<String>,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Some(refused) = pages::too_many(&parts, source.map(|Extension(source)| source)) {
        return refused;
    }
    begin(&parts, Some(&slug), &asked, &headers, source_address(connection)).await
}

async fn begin(parts: &Parts, slug: Option<&str>, asked: &Asked, headers: &HeaderMap, source: IpAddr) -> Response {
    let meant = slug.and_then(|slug| parts.sites.iter().find(|site| site.slug == slug));
    let iss = asked.iss.as_deref().unwrap_or_default();
    let mut admitted = parts
        .sites
        .iter()
        .filter(|site| slug.is_none_or(|slug| site.slug == slug))
        .filter_map(|site| site.registration(iss).map(|registration| (site, registration)));
    let (site, registration) = match (admitted.next(), admitted.next()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) => return pages::framed(parts, None, pages::which_practice()),
        (None, _) => {
            parts.refuse(meant, "unknown-issuer", source);
            return pages::framed(parts, None, pages::unknown_issuer());
        }
    };
    let launch = asked.launch.as_deref().unwrap_or_default();
    let begun = match parts.smart.begin_launch(registration, iss, launch).await {
        Ok(begun) => begun,
        Err(error) => return pages::framed(parts, Some(site), pages::told(parts, site, &error, source)),
    };
    let redirect = begun.redirect.to_string();
    match remember(parts, site, begun.state, headers).await {
        Ok(cookie) => with_cookie(Redirect::to(&redirect).into_response(), cookie),
        Err(failure) => pages::framed(parts, Some(site), failure.into_response()),
    }
}

/// Remembers the launch, and gives the cookie of the browser that it is tied to. Launches side by side in one browser
/// share the cookie: an EHR may open several frames at once.
async fn remember(
    parts: &Parts,
    site: &LaunchSite,
    launch: LaunchState,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Failure> {
    let browser = cookie::value_of(headers, cookie::LAUNCH)
        .filter(|value| is_ours(value))
        .unwrap_or_else(|| fresh(&parts.instruments));
    let state = launch.state().to_owned();
    let remembered = Remembered { launch, browser: hash(&browser) };
    let body = serde_json::to_vec(&remembered).map_err(|error| Failure::of(&error, false))?;
    parts.states.remember(site.tenant, &state, &zeroize::Zeroizing::new(body)).await?;
    Ok(cookie::begin_launch(&browser))
}

fn fresh(instruments: &Instruments) -> String {
    instruments.token(BROWSER_BYTES)
}

fn is_ours(value: &str) -> bool {
    URL_SAFE_NO_PAD.decode(value).is_ok_and(|raw| raw.len() == BROWSER_BYTES)
}

/// The answer, with a cookie, kept by no cache.
pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    let Some(cookie) = cookie else { return Failure::Internal.into_response() };
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

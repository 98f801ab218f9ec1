//! Pages that say one thing: a failure, an end, nothing to show.

use super::Failure;
use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

/// What a page may load and who may embed it. `frame_ancestors` are origins, or none at all.
#[must_use]
pub(super) fn content_security_policy(frame_ancestors: &[String]) -> Option<HeaderValue> {
    // An origin that could not be one must not be able to end the directive.
    let fits = |origin: &&String| origin.bytes().all(|byte| byte.is_ascii_graphic() && !b";,'\"".contains(&byte));
    let ancestors: Vec<&str> = frame_ancestors.iter().filter(fits).map(String::as_str).collect();
    let ancestors = if ancestors.is_empty() { "'none'".to_owned() } else { ancestors.join(" ") };
    HeaderValue::from_str(&format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}"
    ))
    .ok()
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "state.html", config = "src/http/askama.toml")]
struct StatePage<'a> {
    title: &'a str,
    text: &'a str,
    hint: &'a str,
}

/// The page that says what happened and what to do.
pub(super) fn state(status: StatusCode, title: &str, text: &str, hint: &str) -> Response {
    let page = StatePage { title, text, hint };
    match rendered(&page) {
        Ok(html) => (status, html).into_response(),
        Err(_) => status.into_response(),
    }
}

/// The page of a failure.
pub(super) fn failure(status: StatusCode, title: &str, detail: &str) -> Response {
    let mut response = state(status, title, detail, "");
    if let Some(policy) = content_security_policy(&[]) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A template as a page that nothing keeps.
pub(super) fn rendered(template: &impl Template) -> Result<Response, Failure> {
    let html = template.render().map_err(|error| Failure::of(&error, false))?;
    let mut response = Html(html).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_cannot_end_the_directive() {
        let policy =
            content_security_policy(&["https://ehr.example".to_owned(), "x; script-src *".to_owned()]).unwrap();
        let policy = policy.to_str().unwrap();
        assert!(policy.ends_with("frame-ancestors https://ehr.example"), "{policy}");
        assert!(content_security_policy(&[]).unwrap().to_str().unwrap().ends_with("frame-ancestors 'none'"));
    }
}

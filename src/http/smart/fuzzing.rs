//! What an EHR's launch request brings, through a browser.

use super::launch::Asked;
use axum::{extract::Query, http::Uri};

/// Reads the query of a launch. What cannot be read is refused before anything is looked up.
pub(crate) fn asked(uri: &Uri) {
    let asked = Query::<Asked>::try_from_uri(uri).ok();
    let pairs = || url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let given = |name: &str| pairs().filter(|(key, _)| key == name).count();
    if let Some(Query(asked)) = asked {
        assert!(given("iss") < 2 && given("launch") < 2, "a parameter given twice is ambiguous");
        assert_eq!((asked.iss.is_some(), asked.launch.is_some()), (given("iss") == 1, given("launch") == 1));
    }
}

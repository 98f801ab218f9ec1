//! `X-Twilio-Signature`: that a webhook comes from Twilio, and is for us.
//!
//! The signature is base64 of HMAC-SHA1, keyed with the account's token, over the URL as Twilio knows it followed by
//! every form field, sorted, name and value run together; of a repeated field each different value once. A JSON body
//! is bound by `bodySHA256` in the URL's query instead (Twilio, "Webhooks security"). There is no time in it: the
//! caller tells replays by message id and status.

use super::{CONNECTION_OVERRIDES, form, webhook::WebhookBody};
use crate::carrier::AuthToken;
use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use url::Url;

/// Why a webhook is refused. Every one of them is answered 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature came with it, or no HMAC-SHA1 can look like this.
    #[error("the X-Twilio-Signature header is missing or malformed")]
    Malformed,
    /// The external URL in our settings cannot be read.
    #[error("the external URL of the webhook cannot be read; check the public base URL in the settings")]
    Url,
    /// A JSON body without `bodySHA256`, or with that of another body.
    #[error("the body is not the one that was signed")]
    Body,
    /// No token of ours gives this signature for this URL and body.
    #[error("the signature is of another token, URL or body")]
    Mismatch,
}

/// Checks that one of `tokens` (the primary, and while it is being replaced the secondary) has signed this webhook.
///
/// `external_url` is the URL as Twilio has it: our public base URL from the settings, never the `Host` header, with
/// the path and the query exactly as received. Twilio's own libraries differ in whether a default port is part of it,
/// and its documentation does not say whether a fragment is: every combination is tried.
///
/// # Errors
/// [`SignatureError`] when it is not signed by one of them.
pub fn verify(
    tokens: &[AuthToken],
    signature: Option<&str>,
    external_url: &str,
    body: WebhookBody<'_>,
) -> Result<(), SignatureError> {
    let signature = STANDARD.decode(signature.unwrap_or_default()).map_err(|_| SignatureError::Malformed)?;
    if signature.len() != digest::SHA1_OUTPUT_LEN {
        return Err(SignatureError::Malformed);
    }
    let url = Url::parse(external_url).map_err(|_| SignatureError::Url)?;
    let suffix = match body {
        WebhookBody::Form(bytes) => signed_fields(bytes),
        WebhookBody::Json(bytes) => {
            check_body_hash(&url, bytes)?;
            Vec::new()
        }
    };
    let candidates = candidate_urls(external_url, &url);
    // An empty token would let anyone sign.
    let signed = tokens.iter().filter(|token| !token.reveal().is_empty()).any(|token| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.reveal().as_bytes());
        candidates.iter().any(|candidate| {
            let message = [candidate.as_bytes(), &suffix].concat();
            // Compares in constant time.
            hmac::verify(&key, &message, &signature).is_ok()
        })
    });
    if signed { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Every field, sorted by name and then by value, without repetitions.
fn signed_fields(body: &[u8]) -> Vec<u8> {
    let mut fields: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for (name, value) in form::fields(body) {
        fields.entry(name).or_default().insert(value);
    }
    let mut text = Vec::with_capacity(body.len());
    for (name, values) in &fields {
        for value in values {
            text.extend_from_slice(name);
            text.extend_from_slice(value);
        }
    }
    text
}

fn check_body_hash(url: &Url, body: &[u8]) -> Result<(), SignatureError> {
    let claimed = url.query_pairs().find(|(name, _)| name == "bodySHA256").ok_or(SignatureError::Body)?.1;
    let mut actual = String::with_capacity(2 * digest::SHA256_OUTPUT_LEN);
    for byte in digest::digest(&digest::SHA256, body).as_ref() {
        let _ = write!(actual, "{byte:02x}");
    }
    constant_time::verify_slices_are_equal(claimed.to_ascii_lowercase().as_bytes(), actual.as_bytes())
        .map_err(|_| SignatureError::Body)
}

/// The URL with and without a port, each without a fragment, with its own and with the one that we append. Cut from
/// the text itself: a parser would rewrite escapes that Twilio has signed as they stand.
fn candidate_urls(text: &str, url: &Url) -> Vec<String> {
    let (bare, fragment) = text.split_once('#').map_or((text, None), |(bare, fragment)| (bare, Some(fragment)));
    let default_port = url.port_or_known_default().unwrap_or(443);
    let ported = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, tail) = rest.split_at(end);
            // A colon within brackets belongs to an IPv6 address.
            let host_end = authority.rfind(']').map_or(0, |at| at + 1);
            let port_at = authority.rfind(':').filter(|at| *at >= host_end);
            let host = port_at.map_or(authority, |at| authority.split_at(at).0);
            let with_port =
                if port_at.is_some() { bare.to_owned() } else { format!("{scheme}://{host}:{default_port}{tail}") };
            vec![with_port, format!("{scheme}://{host}{tail}")]
        }
        None => vec![bare.to_owned()],
    };
    let fragments = [None, fragment, Some(CONNECTION_OVERRIDES)];
    let spelled = |url: &String| fragments.map(|f| f.map_or_else(|| url.clone(), |f| format!("{url}#{f}")));
    ported.iter().flat_map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const FORM: &[u8] =
        b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309";
    const JSON: &[u8] = br#"{"property": "value", "boolean": true}"#;
    const JSON_URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";

    fn tokens() -> Vec<AuthToken> {
        vec![AuthToken::new("secondary".into()), AuthToken::new("12345".into())]
    }

    /// What Twilio would send for exactly this URL and these fields.
    fn signed(url: &str, form: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
        STANDARD.encode(hmac::sign(&key, &[url.as_bytes(), &signed_fields(form)].concat()))
    }

    // The vectors of Twilio's own Python library.
    #[rstest]
    #[case::plain(URL, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")]
    #[case::signed_with_the_default_port(URL, "kvajT1Ptam85bY51eRf/AJRuM3w=")]
    #[case::signed_without_our_port("https://mycompany.com:1234/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")]
    #[case::http_with_a_port("http://mycompany.com:1234/myapp.php?foo=1&bar=2", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=")]
    #[case::http_signed_with_port_80("http://mycompany.com/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4=")]
    #[case::http_with_port_80("http://mycompany.com:80/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4=")]
    #[case::with_a_fragment("https://mycompany.com/myapp.php?foo=1&bar=2#rc=1", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")]
    fn twilios_own_vectors(#[case] url: &str, #[case] signature: &str) {
        assert_eq!(verify(&tokens(), Some(signature), url, WebhookBody::Form(FORM)), Ok(()));
        assert_eq!(
            verify(&tokens()[..1], Some(signature), url, WebhookBody::Form(FORM)),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn a_repeated_field_counts_each_value_once_in_order() {
        for form in [
            &b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234"[..],
            b"Digits=1234&Digits=5678&Digits=1234&Sid=CA123&SidAccount=AC123",
        ] {
            let checked = verify(&tokens(), Some("IK+Dwps556ElfBT0I3Rgjkr1wJU="), URL, WebhookBody::Form(form));
            assert_eq!(checked, Ok(()));
        }
    }

    #[test]
    fn a_json_body_is_bound_by_its_hash() {
        let signature = Some("a9nBmqA0ju/hNViExpshrM61xv4=");
        assert_eq!(verify(&tokens(), signature, JSON_URL, WebhookBody::Json(JSON)), Ok(()));
        let other = WebhookBody::Json(br#"{"property": "other"}"#);
        assert_eq!(verify(&tokens(), signature, JSON_URL, other), Err(SignatureError::Body));
        assert_eq!(verify(&tokens(), signature, URL, WebhookBody::Json(JSON)), Err(SignatureError::Body));
    }

    #[test]
    fn the_fragment_that_we_append_may_or_may_not_be_signed() {
        let signature = signed(&format!("{URL}#{CONNECTION_OVERRIDES}"), FORM);
        assert_eq!(verify(&tokens(), Some(&signature), URL, WebhookBody::Form(FORM)), Ok(()));
    }

    #[test]
    fn any_change_is_noticed() {
        let signature = signed(URL, FORM);
        let longer = [FORM, b"&Extra=1"].concat();
        for (url, form) in [(URL, &longer[..]), (URL, b""), ("https://mycompany.com/myapp.php?foo=2&bar=2", FORM)] {
            let checked = verify(&tokens(), Some(&signature), url, WebhookBody::Form(form));
            assert_eq!(checked, Err(SignatureError::Mismatch));
        }
    }

    #[rstest]
    #[case(None)]
    #[case(Some(""))]
    #[case(Some("not base64!"))]
    #[case(Some("RSOYDt4T1cUTdK1PDd93"))]
    fn what_cannot_be_a_signature_is_refused(#[case] signature: Option<&str>) {
        assert_eq!(verify(&tokens(), signature, URL, WebhookBody::Form(FORM)), Err(SignatureError::Malformed));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_signed_as_they_are() {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
        let signature = STANDARD.encode(hmac::sign(&key, &[URL.as_bytes(), b"Body\xff\xfe"].concat()));
        assert_eq!(verify(&tokens(), Some(&signature), URL, WebhookBody::Form(b"Body=%FF%FE")), Ok(()));
    }

    #[test]
    fn an_empty_token_signs_nothing() {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"");
        let forged = STANDARD.encode(hmac::sign(&key, URL.as_bytes()));
        let checked = verify(&[AuthToken::new(String::new())], Some(&forged), URL, WebhookBody::Form(b""));
        assert_eq!(checked, Err(SignatureError::Mismatch));
    }

    #[test]
    fn without_a_token_nothing_passes() {
        assert_eq!(verify(&[], Some(&signed(URL, FORM)), URL, WebhookBody::Form(FORM)), Err(SignatureError::Mismatch));
    }
}

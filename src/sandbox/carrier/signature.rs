//! `X-Twilio-Signature`: how the carrier proves that a webhook is its own.
//!
//! Pure. Base64 of HMAC-SHA1, keyed by the account's auth token, over the URL followed by every parameter's name and
//! value, sorted. Source: Twilio, "Validating signatures from Twilio"; the vectors below are those of its libraries.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// One form parameter. The value is bytes, because a handset's text need not be valid UTF-8.
pub(super) type Parameter = (String, Vec<u8>);

/// The signature of a request to `url` (as configured, without its fragment) with these form parameters.
pub(super) fn sign(auth_token: &str, url: &str, parameters: &[Parameter]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    sorted.dedup();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(url.as_bytes());
    for (name, value) in sorted {
        context.update(name.as_bytes());
        context.update(value);
    }
    STANDARD.encode(context.sign())
}

/// The value of the `bodySHA256` query parameter that goes with a JSON body; the signature then covers the URL alone.
pub(super) fn body_hash(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parameters(pairs: &[(&str, &str)]) -> Vec<Parameter> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[rstest]
    #[case("https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")]
    #[case("https://mycompany.com:443/myapp.php?foo=1&bar=2", "kvajT1Ptam85bY51eRf/AJRuM3w=")]
    #[case("http://mycompany.com:1234/myapp.php?foo=1&bar=2", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=")]
    #[case("http://mycompany.com:80/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4=")]
    fn the_vendors_vectors_hold(#[case] url: &str, #[case] expected: &str) {
        let call = parameters(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
            ("Caller", "+14158675309"),
        ]);
        assert_eq!(sign("12345", url, &call), expected);
    }

    #[test]
    fn a_repeated_parameter_counts_each_value_once() {
        let repeated =
            [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")];
        let signature = sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", &parameters(&repeated));
        assert_eq!(signature, "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
    }

    #[test]
    fn a_json_body_is_covered_by_its_hash_in_the_url() {
        let hash = body_hash(br#"{"property": "value", "boolean": true}"#);
        assert_eq!(hash, "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620");
        let url = format!("https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256={hash}");
        assert_eq!(sign("12345", &url, &[]), "a9nBmqA0ju/hNViExpshrM61xv4=");
    }
}

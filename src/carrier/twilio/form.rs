//! `application/x-www-form-urlencoded` bodies as bytes.
//!
//! The usual parsers put U+FFFD where bytes are not UTF-8. Twilio signs the bytes, so a signature over such a
//! body would fail there, and nobody would know that a text was damaged. Hence this one, which keeps bytes.

/// One field: name and value, decoded to bytes.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// The fields of a form in their order, by the URL standard's `application/x-www-form-urlencoded` parser.
pub(super) fn fields(body: &[u8]) -> Vec<Field> {
    body.split(|byte| *byte == b'&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            (decoded(name), decoded(halves.next().unwrap_or_default()))
        })
        .collect()
}

/// `+` means a space and `%XX` a byte; a `%` that no two hexadecimal digits follow means itself.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return bytes,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                tail
            }
            [b'+', tail @ ..] => {
                bytes.push(b' ');
                tail
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                tail
            }
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        assert_eq!(fields(b"Body=%ff%FEok&X"), [(b"Body".to_vec(), b"\xff\xfeok".to_vec()), (b"X".to_vec(), vec![])]);
        assert_eq!(fields(b"a=%4&b=%zz+%"), [(b"a".to_vec(), b"%4".to_vec()), (b"b".to_vec(), b"%zz %".to_vec())]);
    }

    proptest! {
        #[test]
        fn it_reads_what_the_url_crate_reads(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let ours: Vec<(String, String)> = fields(&body)
                .into_iter()
                .map(|(name, value)| (String::from_utf8_lossy(&name).into(), String::from_utf8_lossy(&value).into()))
                .collect();
            let theirs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}

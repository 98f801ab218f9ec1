//! What must be found nowhere: a marked word that stands in every name, text, reason and address, the patients' numbers
//! and their birth dates, each in every form in which bytes are commonly written.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use std::collections::BTreeSet;

/// The word that marks what is a patient's. No word of ours has it.
pub(crate) const MARK: &str = "Zorvexqu";
/// The month in which every marked patient was born. No instant of a run lies in it.
pub(crate) const BORN: &str = "1931-02";

/// Something to look for.
struct Needle {
    what: &'static str,
    /// In lower case.
    bytes: Vec<u8>,
}

/// Looks for all of them.
pub(crate) struct Needles {
    needles: Vec<Needle>,
}

impl Needles {
    /// Those of the marked charts of patients with these numbers, in E.164.
    pub(crate) fn new(numbers: &[&str]) -> Self {
        let mut needles = Vec::new();
        forms("the mark", MARK, &mut needles);
        forms("a birth date", BORN, &mut needles);
        for number in numbers {
            let national = number.trim_start_matches("+1");
            let (area, local) = national.split_at(3);
            let (exchange, line) = local.split_at(3);
            let dashed = format!("{exchange}-{line}");
            forms("a number", national, &mut needles);
            needles
                .extend(["-", ") "].map(|by| Needle { what: "a number", bytes: format!("{area}{by}{dashed}").into() }));
        }
        Self { needles }
    }

    /// What stands in `hay`, with the bytes around the first of each.
    pub(crate) fn in_bytes(&self, hay: &[u8]) -> BTreeSet<String> {
        let hay = hay.to_ascii_lowercase();
        let mut found = BTreeSet::new();
        for needle in &self.needles {
            if let Some(at) = memchr::memmem::find(&hay, &needle.bytes) {
                let around = &hay[at.saturating_sub(100)..hay.len().min(at + needle.bytes.len() + 20)];
                found.insert(format!("{} in …{}…", needle.what, around.escape_ascii()));
            }
        }
        found
    }
}

/// `text` as it is, in UTF-16, in hexadecimal, and in base64 at each of the three places where it may begin.
fn forms(what: &'static str, text: &str, needles: &mut Vec<Needle>) {
    let mut add = |bytes: Vec<u8>| needles.push(Needle { what, bytes: bytes.to_ascii_lowercase() });
    add(text.into());
    add(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    add(hex(text.as_bytes()).into());
    for before in 0..3_usize {
        let shifted = [&b"\0\0"[..before], text.as_bytes()].concat();
        let written = STANDARD_NO_PAD.encode(&shifted);
        // The first and the last letters also hold bits of what stands beside.
        let from = (before * 8).div_ceil(6);
        let to = shifted.len() * 8 / 6;
        add(written[from..to].into());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |written, byte| format!("{written}{byte:02x}"))
}

/// Whether every form of what must not be found would be found: a search that finds nothing proves something only then.
pub(crate) fn find_what_they_should() -> bool {
    let needles = Needles::new(&["+12125550101"]);
    let found = |hay: &[u8]| !needles.in_bytes(hay).is_empty();
    let encoded = |words: &str, shift: &str| STANDARD_NO_PAD.encode(format!("{shift}{words} and more"));
    [MARK, BORN, "2125550101"].into_iter().all(|words| {
        found(words.as_bytes())
            && found(words.to_uppercase().as_bytes())
            && found(hex(words.as_bytes()).to_uppercase().as_bytes())
            && ["", "a", "ab", "abc"].into_iter().all(|shift| found(encoded(words, shift).as_bytes()))
    }) && found(b"to=%2B12125550101&x")
        && found(b"call (212) 555-0101")
        && !found(b"from=%2B12125550199&x")
        && !found(b"nothing of anybody, 2026-11-22")
}

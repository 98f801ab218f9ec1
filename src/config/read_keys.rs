//! Reads a tenant's key-encryption keys: those that the service is given, and the one that stays in a KMS.

use super::{
    read_service::base_url,
    reader::Section,
    secret::Secret,
    value::{self, Parsed, Wrong},
};
use crate::vault::{Kek, Outage, TransitKey};
use jiff::SignedDuration;
use toml::Value;

/// The keys of the tenants that have been read: none belongs to two.
#[derive(Default)]
pub(super) struct TakenKeys {
    here: Vec<Secret>,
    in_kms: Vec<TransitKey>,
}

/// A tenant's; `None` where something is wrong with them.
#[expect(clippy::option_option, reason = "absent and wrong are two things")]
pub(super) struct Keys {
    pub(super) here: Option<Vec<Secret>>,
    pub(super) transit: Option<Option<TransitKey>>,
}

pub(super) fn keys(section: &Section<'_, '_>, taken: &mut TakenKeys) -> Keys {
    let transit = section.section_if_there("transit", transit);
    if let Some(Some(key)) = &transit {
        if taken.in_kms.iter().any(|other| is_the_same(other, key)) {
            let fix = "make one for each tenant in the KMS: who destroys a tenant's key destroys no other's";
            section.report("transit", Wrong::new("another tenant has this key", fix));
        }
        taken.in_kms.push(key.clone());
    }
    // A key in a KMS may be the only one.
    let optional = matches!(&transit, Some(Some(key)) if !key.only_unwraps);
    Keys { here: here(section, &mut taken.here, optional), transit }
}

fn is_the_same(one: &TransitKey, other: &TransitKey) -> bool {
    let parts = |key: &TransitKey| (key.address.clone(), key.namespace.clone(), key.mount.clone(), key.key.clone());
    parts(one) == parts(other)
}

fn here(section: &Section<'_, '_>, taken: &mut Vec<Secret>, optional: bool) -> Option<Vec<Secret>> {
    let fix = "make one with `chartwire keys generate` and refer to it: [{ file = \"path\" }]";
    let keys = if optional && !section.has("key_encryption_keys") {
        Vec::new()
    } else {
        section.secrets("key_encryption_keys", fix, key_encryption_key)?
    };
    for (index, key) in keys.iter().enumerate() {
        if taken.iter().any(|other| other.reveal() == key.reveal()) {
            section.report(
                &format!("key_encryption_keys[{index}]"),
                Wrong::new("this key stands twice", "make one for each tenant with `chartwire keys generate`"),
            );
        }
        taken.push(key.clone());
    }
    Some(keys)
}

fn key_encryption_key(secret: &Secret) -> Parsed<()> {
    Kek::from_base64(secret.reveal()).map(drop).map_err(|_| {
        Wrong::new("this is no key-encryption key (base64 of 32 bytes)", "make one with `chartwire keys generate`")
    })
}

/// A key in the transit engine of HashiCorp Vault or OpenBao.
fn transit(section: &Section<'_, '_>) -> Option<TransitKey> {
    let address = section.required("address", "write where the KMS is: \"https://vault.example.org:8200\"", base_url);
    let mount = section.or("mount", "transit".to_owned(), path);
    let key = section.required("key", "write the key's name in the KMS", name);
    let namespace = section.optional("namespace", path);
    let token_file = section.path("token_file", "write the path of the file in which the KMS's token is kept fresh");
    let asks_every = section.or("asks_every_seconds", 300, value::integer(10..=1_800));
    let survives = section.or("survives_outage_hours", 8, value::integer(1..=72));
    let only_unwraps = section.or("only_unwraps", false, value::boolean);
    Some(TransitKey {
        address: address?,
        mount: mount?,
        key: key?,
        namespace: namespace?,
        token_file: token_file?,
        outage: Outage {
            asks_every: SignedDuration::from_secs(asks_every?),
            survives: SignedDuration::from_hours(survives?),
        },
        only_unwraps: only_unwraps?,
    })
}

/// A name as Vault and OpenBao take it: it cannot lead elsewhere in a URL.
fn name(value: &Value) -> Parsed<String> {
    let text = value::text(value)?;
    if is_name(&text) { Ok(text) } else { Err(not_a_name()) }
}

/// Names with slashes between them.
fn path(value: &Value) -> Parsed<String> {
    let text = value::text(value)?;
    let path = text.trim_matches('/');
    if path.split('/').all(is_name) { Ok(path.to_owned()) } else { Err(not_a_name()) }
}

fn is_name(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(|byte| is_word(byte) || byte == b'-' || byte == b'.')
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().last().is_some_and(is_word)
}

fn not_a_name() -> Wrong {
    Wrong::new("this is no name in Vault or OpenBao", "write letters, digits, hyphens, underscores and dots")
}

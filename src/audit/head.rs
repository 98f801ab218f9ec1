//! The head of a tenant's log, and its copies outside the database.

use super::{AuditError, AuditRow};
use crate::{
    db::{DbError, Row},
    kernel::{Id, Tenant},
    vault::MacKey,
};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// How far a tenant's log is sealed, with a MAC. As stored, and as exported: one JSON line each time it moves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Whose log it is.
    pub tenant: Id<Tenant>,
    /// How many sealed rows there are.
    pub row_count: i64,
    /// The place of the last of them, counted from 1.
    pub last_seq: i64,
    /// The chain up to it.
    #[serde(with = "hex")]
    pub last_chain: Vec<u8>,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// The version of the key that signs the head.
    pub key_version: i64,
    /// HMAC-SHA-256 over all of the above.
    #[serde(with = "hex")]
    pub mac: Vec<u8>,
}

impl Head {
    /// The head of a log without rows.
    pub(super) fn genesis(tenant: Id<Tenant>, at: Timestamp, key: &MacKey) -> Self {
        Self::signed(tenant, 0, genesis_chain(tenant, key), at, key)
    }

    pub(super) fn signed(tenant: Id<Tenant>, last_seq: i64, chain: [u8; 32], at: Timestamp, key: &MacKey) -> Self {
        let mut head = Self {
            tenant,
            row_count: last_seq,
            last_seq,
            last_chain: chain.to_vec(),
            sealed_at: at,
            key_version: key.version(),
            mac: Vec::new(),
        };
        head.mac = key.sign(&head.signed_parts().each_ref().map(Vec::as_slice)).to_vec();
        head
    }

    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            tenant: row.get("tenant")?,
            row_count: row.get("row_count")?,
            last_seq: row.get("last_seq")?,
            last_chain: row.get("last_chain")?,
            sealed_at: row.get("sealed_at")?,
            key_version: row.get("key_version")?,
            mac: row.get("mac")?,
        })
    }

    /// Whether it is as the sealer wrote it. `keys` are all that ever signed for the tenant.
    pub(super) fn is_genuine(&self, tenant: Id<Tenant>, keys: &[MacKey]) -> bool {
        let parts = self.signed_parts();
        self.tenant == tenant
            && keys
                .iter()
                .filter(|key| key.version() == self.key_version)
                .any(|key| key.verify(&parts.each_ref().map(Vec::as_slice), &self.mac))
    }

    fn signed_parts(&self) -> [Vec<u8>; 7] {
        [
            b"audit head".to_vec(),
            self.tenant.as_bytes().to_vec(),
            self.row_count.to_be_bytes().to_vec(),
            self.last_seq.to_be_bytes().to_vec(),
            self.last_chain.clone(),
            self.sealed_at.as_millisecond().to_be_bytes().to_vec(),
            self.key_version.to_be_bytes().to_vec(),
        ]
    }
}

/// What the first row is chained to.
pub(super) fn genesis_chain(tenant: Id<Tenant>, key: &MacKey) -> [u8; 32] {
    key.sign(&[b"audit genesis", tenant.as_bytes()])
}

/// The chain up to the row `id` in place `seq`, of the chain before it.
pub(super) fn next_chain(key: &MacKey, previous: &[u8], seq: i64, id: Id<AuditRow>, row_mac: &[u8]) -> [u8; 32] {
    key.sign(&[b"audit chain", previous, &seq.to_be_bytes(), id.as_bytes(), row_mac])
}

/// Whether `chain` is where `previous` leads with this row. Takes the same time whatever `chain` is.
pub(super) fn leads_to(
    key: &MacKey,
    (previous, chain): (&[u8], &[u8]),
    seq: i64,
    id: Id<AuditRow>,
    row_mac: &[u8],
) -> bool {
    key.verify(&[b"audit chain", previous, &seq.to_be_bytes(), id.as_bytes(), row_mac], chain)
}

/// Exported heads: one file per tenant and day in a folder that should lie outside the database's reach (another
/// disk, a write-once bucket mounted there). Lines are only ever added.
#[derive(Debug, Clone)]
pub struct HeadExport {
    folder: PathBuf,
}

impl HeadExport {
    /// Exports into `folder`, which must exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Adds `head` and waits until it is on disk. Blocks.
    ///
    /// # Errors
    /// [`AuditError::Export`] when the file cannot be written.
    pub fn append(&self, head: &Head) -> Result<(), AuditError> {
        let day = head.sealed_at.to_zoned(TimeZone::UTC).date();
        let path = self.folder.join(format!("{}-{day}.jsonl", head.tenant));
        let is_new = !path.exists();
        let mut line = serde_json::to_vec(head)?;
        line.push(b'\n');
        if !is_new && !ends_with_newline(&path)? {
            // A crash tore the last line: close it, so that this one stands alone.
            line.insert(0, b'\n');
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        if is_new {
            fs::File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    /// The furthest head of `tenant` in its newest file. Torn lines are passed over. Blocks.
    ///
    /// # Errors
    /// [`AuditError::Export`] when the folder or a file cannot be read.
    pub fn latest(&self, tenant: Id<Tenant>) -> Result<Option<Head>, AuditError> {
        for file in self.files(tenant)? {
            if let Some(furthest) = Self::read(&file)?.pop() {
                return Ok(Some(furthest));
            }
        }
        Ok(None)
    }

    /// Whose heads were exported. None where the folder does not exist. Blocks.
    ///
    /// # Errors
    /// [`AuditError::Export`] when the folder cannot be read.
    pub fn tenants(&self) -> Result<BTreeSet<Id<Tenant>>, AuditError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut tenants = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // `TENANT-2026-11-23.jsonl`
            let tenant = name.strip_suffix(".jsonl").and_then(|stem| stem.rsplitn(4, '-').nth(3));
            tenants.extend(tenant.and_then(|tenant| tenant.parse::<Id<Tenant>>().ok()));
        }
        Ok(tenants)
    }

    /// The files of `tenant`, the newest first.
    pub(super) fn files(&self, tenant: Id<Tenant>) -> Result<Vec<PathBuf>, AuditError> {
        let prefix = format!("{tenant}-");
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && Path::new(&name).extension().is_some_and(|end| end == "jsonl") {
                files.push(name);
            }
        }
        files.sort_unstable();
        Ok(files.iter().rev().map(|name| self.folder.join(name)).collect())
    }

    /// The heads of a file, the furthest last.
    pub(super) fn read(file: &Path) -> Result<Vec<Head>, AuditError> {
        let text = fs::read_to_string(file)?;
        let mut heads: Vec<Head> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        heads.sort_by_key(|head| head.last_seq);
        Ok(heads)
    }

    /// Moves what was exported of `tenant` into a folder of its own beside it, named by `at`: the log that goes on from
    /// a backup is another one from there on. Nothing is deleted. Gives the folder, if there was anything. Blocks.
    ///
    /// # Errors
    /// [`AuditError::Export`] when a file cannot be moved.
    pub fn set_aside(&self, tenant: Id<Tenant>, at: Timestamp) -> Result<Option<PathBuf>, AuditError> {
        let files = self.files(tenant)?;
        if files.is_empty() {
            return Ok(None);
        }
        let aside = self.folder.join(format!("before-restore-{}", at.as_millisecond()));
        fs::create_dir_all(&aside)?;
        for file in files {
            if let Some(name) = file.file_name() {
                fs::rename(&file, aside.join(name))?;
            }
        }
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(Some(aside))
    }
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Bytes as lower-case hexadecimal text.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use std::fmt::Write as _;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("expected hexadecimal digits");
        if !text.len().is_multiple_of(2) {
            return Err(wrong());
        }
        (0..text.len())
            .step_by(2)
            .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong))
            .collect()
    }
}

//! Proving that a tenant's log is whole, and naming the rows where it is not.

use super::{
    AuditError, Finding, Head, Position,
    head::{genesis_chain, leads_to, next_chain},
    row::StoredRow,
};
use crate::{
    db::{Db, DbError, sql},
    kernel::{Id, Tenant},
    vault::{MacKey, MacPurpose, Vault},
};
use jiff::{SignedDuration, Timestamp};

/// Rows that are held in memory at once.
const PAGE: i64 = 1_000;
/// Findings that are reported one by one; the rest is counted.
const FINDINGS: usize = 1_000;
/// How many earlier chains are tried to find out where a disturbed stretch of the log ends.
const SUSPECTS: usize = 64;
/// How long a row may wait for the sealer.
pub const UNSEALED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct AuditReport {
    /// Sealed rows that were read.
    pub rows: u64,
    /// Rows that wait for the sealer.
    pub unsealed: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more_findings: u64,
}

impl AuditReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}

/// Reads `tenant`'s whole log, page by page, and reports every row that was changed, removed or moved, a forged head, and
/// a log that does not reach up to `exported`. The sealer may go on meanwhile. Writes nothing, no key either.
///
/// # Errors
/// [`AuditError`] when the log or the keys cannot be read. What was tampered with is a finding, not an error.
pub async fn verify(
    db: &Db,
    vault: &Vault,
    tenant: Id<Tenant>,
    exported: Option<&Head>,
    now: Timestamp,
) -> Result<AuditReport, AuditError> {
    let keys = Keys {
        rows: vault.stored_mac_keys(tenant, MacPurpose::AuditRow).await?,
        heads: vault.stored_mac_keys(tenant, MacPurpose::AuditHead).await?,
    };
    // The last row before the head: what is sealed in between is then beyond neither.
    let last_seq: i64 = db
        .one(sql("SELECT COALESCE(MAX(seq), 0) AS last FROM audit_row WHERE tenant = $1").bind(tenant))
        .await?
        .get("last")?;
    let head = db.optional(sql("SELECT * FROM audit_head WHERE tenant = $1").bind(tenant)).await?;
    let head = head.map(|row| Head::read(&row)).transpose()?;

    let mut walk = Walk::new(tenant, &keys, exported);
    let head = walk.check_head(head, last_seq);
    let end = head.as_ref().map_or(last_seq, |head| head.last_seq.max(last_seq));
    let mut after = 0_i64;
    loop {
        let query = sql("SELECT * FROM audit_row WHERE tenant = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4");
        let page = db.all(query.bind(tenant).bind(after).bind(end).bind(PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.get("seq")?;
        for row in &page {
            walk.step(&StoredRow::read(row)?, head.as_ref())?;
        }
    }
    walk.finish(head.as_ref());
    let mut report = walk.report;
    check_unsealed(db, tenant, &keys, now, &mut report).await?;
    Ok(report)
}

struct Keys {
    rows: Vec<MacKey>,
    heads: Vec<MacKey>,
}

/// A genuine row that does not follow from the one before. Whether it was moved or only its chain was overwritten shows
/// at the next row.
struct Pending {
    finding: Finding,
    if_overwritten: Finding,
    chain: Vec<u8>,
}

struct Walk<'a> {
    tenant: Id<Tenant>,
    keys: &'a Keys,
    exported: Option<&'a Head>,
    /// The place of the last row that was read.
    seq: i64,
    /// The chain up to it as it should be; `None` after a gap.
    chain: Option<Vec<u8>>,
    /// Chains as stored in a disturbed stretch: one of them may be the true one to go on from.
    suspects: Vec<Vec<u8>>,
    pending: Option<Pending>,
    report: AuditReport,
}

impl<'a> Walk<'a> {
    fn new(tenant: Id<Tenant>, keys: &'a Keys, exported: Option<&'a Head>) -> Self {
        let mut walk = Self {
            tenant,
            keys,
            exported: None,
            seq: 0,
            chain: None,
            suspects: Vec::new(),
            pending: None,
            report: AuditReport::default(),
        };
        // Keys are the oldest last: the log began under that one.
        walk.chain = keys.heads.last().map(|key| genesis_chain(tenant, key).to_vec());
        match exported {
            Some(head) if !head.is_genuine(tenant, &keys.heads) => walk.report.add(Finding::ExportForged),
            genuine => walk.exported = genuine,
        }
        walk
    }

    /// The head if it can be relied on.
    fn check_head(&mut self, head: Option<Head>, last_seq: i64) -> Option<Head> {
        let head = match head {
            Some(head) if head.is_genuine(self.tenant, &self.keys.heads) => Some(head),
            Some(_) => {
                self.report.add(Finding::HeadForged);
                None
            }
            None => {
                if last_seq > 0 {
                    self.report.add(Finding::HeadMissing);
                }
                None
            }
        };
        let reached = head.as_ref().map_or(last_seq, |head| head.last_seq);
        if let Some(exported) = self.exported
            && exported.last_seq > reached
        {
            self.report.add(Finding::BehindExport { last_seq: reached, exported_seq: exported.last_seq });
        }
        head
    }

    fn step(&mut self, row: &StoredRow, head: Option<&Head>) -> Result<(), DbError> {
        let seq = row.seq.ok_or(DbError::Decode { column: "seq" })?;
        self.report.rows += 1;
        let genuine = row.is_genuine(&self.keys.rows);
        if head.is_some_and(|head| seq > head.last_seq) {
            self.settle_pending(false);
            self.report.add(Finding::BeyondHead { row: row.id, seq });
            return Ok(());
        }
        if seq > self.seq + 1 {
            let position = if self.seq == 0 { Position::First } else { Position::Middle };
            self.settle_pending(false);
            self.report.add(Finding::Missing { first_seq: self.seq + 1, last_seq: seq - 1, position });
            self.chain = None;
            self.suspects.clear();
        }
        self.check_exported(row, seq);
        self.seq = seq;
        let stored = row.chain.clone().unwrap_or_default();
        if !genuine {
            self.report.add(Finding::Changed { row: row.id, seq: Some(seq) });
        }
        self.follow(row, seq, stored, genuine);
        Ok(())
    }

    /// Checks that the row stands where the sealer put it.
    fn follow(&mut self, row: &StoredRow, seq: i64, stored: Vec<u8>, genuine: bool) {
        let Some(chain) = self.chain.take() else {
            self.chain = Some(stored);
            return;
        };
        if self.leads_to(&chain, row, seq, &stored) {
            self.settle_pending(true);
            self.suspects.clear();
            self.chain = Some(stored);
            return;
        }
        let resumed = self.suspects.iter().any(|suspect| self.leads_to(suspect, row, seq, &stored));
        self.settle_pending(false);
        if resumed {
            self.suspects.clear();
            self.chain = Some(stored);
            return;
        }
        let computed = self.computed(&chain, row, seq);
        if genuine {
            self.pending = Some(Pending {
                finding: Finding::Moved { row: row.id, seq },
                if_overwritten: Finding::Changed { row: row.id, seq: Some(seq) },
                chain: computed.clone(),
            });
        }
        if self.suspects.len() == SUSPECTS {
            self.suspects.remove(0);
        }
        self.suspects.push(stored);
        self.chain = Some(computed);
    }

    fn finish(&mut self, head: Option<&Head>) {
        let pending_chain = self.pending.as_ref().map(|pending| pending.chain.clone());
        let overwritten = head.is_some_and(|head| {
            head.last_seq == self.seq && pending_chain.is_some_and(|chain| chain == head.last_chain)
        });
        self.settle_pending(overwritten);
        let Some(head) = head else { return };
        if self.seq < head.last_seq {
            let position = if self.seq == 0 { Position::First } else { Position::Last };
            self.report.add(Finding::Missing { first_seq: self.seq + 1, last_seq: head.last_seq, position });
        } else if self.report.is_clean() && self.chain.as_ref() != Some(&head.last_chain) {
            self.report.add(Finding::HeadForged);
        }
    }

    fn check_exported(&mut self, row: &StoredRow, seq: i64) {
        if self.exported.is_some_and(|head| head.last_seq == seq && Some(&head.last_chain) != row.chain.as_ref()) {
            self.report.add(Finding::ExportDiffers { row: row.id, seq });
        }
    }

    fn settle_pending(&mut self, overwritten: bool) {
        if let Some(pending) = self.pending.take() {
            self.report.add(if overwritten { pending.if_overwritten } else { pending.finding });
        }
    }

    fn leads_to(&self, chain: &[u8], row: &StoredRow, seq: i64, stored: &[u8]) -> bool {
        self.keys.heads.iter().any(|key| leads_to(key, (chain, stored), seq, row.id, &row.mac))
    }

    fn computed(&self, chain: &[u8], row: &StoredRow, seq: i64) -> Vec<u8> {
        let key = self.keys.heads.first();
        key.map(|key| next_chain(key, chain, seq, row.id, &row.mac).to_vec()).unwrap_or_default()
    }
}

/// Rows without a place: they must be genuine, and must not wait for long.
async fn check_unsealed(
    db: &Db,
    tenant: Id<Tenant>,
    keys: &Keys,
    now: Timestamp,
    report: &mut AuditReport,
) -> Result<(), AuditError> {
    let mut after = Vec::new();
    loop {
        let query = sql("SELECT * FROM audit_row WHERE tenant = $1 AND seq IS NULL AND id > $2 ORDER BY id LIMIT $3");
        let page = db.all(query.bind(tenant).bind(after).bind(PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.get::<Vec<u8>>("id")?;
        for row in &page {
            let row = StoredRow::read(row)?;
            report.unsealed += 1;
            if !row.is_genuine(&keys.rows) {
                report.add(Finding::Changed { row: row.id, seq: None });
            } else if now.duration_since(row.at) > UNSEALED_FOR {
                report.add(Finding::Unsealed { row: row.id, since: row.at });
            }
        }
    }
}

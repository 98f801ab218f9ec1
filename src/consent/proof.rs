//! What proves an entry: how the patient's word came, what they were shown, where the paper is.

use super::{ConsentEntry, ConsentError, Method};
use crate::{
    db::{Db, sql},
    kernel::{Id, Phi, Tenant},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use serde::{Deserialize, Serialize};

/// What proves an entry. Kept sealed: a practice may write anything into it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// How the patient's word came to the practice.
    pub method: Method,
    /// Where the signed form, the recording or the message is kept; empty where nothing was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// The words that the patient read or heard, in full; empty for a withdrawal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wording: String,
    /// Who recorded it, by name, where that was done in another system.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recorded_by: String,
}

impl Proof {
    /// Seals it for the entry with this id.
    ///
    /// # Errors
    /// [`ConsentError::Vault`] when no data key can be had.
    pub async fn seal(
        proof: &Phi<Self>,
        vault: &Vault,
        tenant: Id<Tenant>,
        entry: Id<ConsentEntry>,
    ) -> Result<Sealed, ConsentError> {
        let plain = serde_json::to_vec(proof.expose()).map_err(|_| ConsentError::Stored)?;
        Ok(vault.seal(tenant, RetentionClass::Audit, place(&entry), &plain).await?)
    }
}

/// What proves the entry with this id, if anything was kept.
///
/// # Errors
/// [`ConsentError`] when database or vault are away, or the stored value was changed.
pub async fn proof(
    db: &Db,
    vault: &Vault,
    tenant: Id<Tenant>,
    entry: Id<ConsentEntry>,
) -> Result<Option<Phi<Proof>>, ConsentError> {
    let query = sql("SELECT proof FROM consent_entry WHERE tenant = $1 AND id = $2").bind(tenant).bind(entry);
    let row = db.optional(query).await?;
    let Some(bytes) = row.map(|row| row.get::<Option<Vec<u8>>>("proof")).transpose()?.flatten() else {
        return Ok(None);
    };
    let plain = vault.open(tenant, place(&entry), &Sealed::from_bytes(bytes)?).await?;
    serde_json::from_slice(&plain).map(|proof| Some(Phi::new(proof))).map_err(|_| ConsentError::Stored)
}

const fn place(entry: &Id<ConsentEntry>) -> Place<'_> {
    Place::new("consent_entry", entry, "proof")
}

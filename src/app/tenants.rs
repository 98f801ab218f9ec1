//! From settings to practices: ids, keys, policy.

use super::AppError;
use crate::{
    config::{Settings, TenantSettings},
    db::{Command, Db, DbError, Tx, recovery, sql},
    kernel::{Id, Instruments, Tenant},
    practice::{Practice, Practices},
    vault::{Kek, LocalKeks, TransitKeks},
};
use jiff::Timestamp;
use std::collections::HashMap;
use url::Url;

/// The id of each tenant, by its name in URLs. A name that is new gets a new id.
pub(super) async fn ids(
    db: &Db,
    instruments: &Instruments,
    settings: &Settings,
) -> Result<HashMap<String, Id<Tenant>>, AppError> {
    let known: Vec<Id<Tenant>> = stored_ids(db, settings).await?.into_values().collect();
    let mut ids = HashMap::new();
    for tenant in &settings.tenants {
        let (fresh, slug, now) = (instruments.new_id(), tenant.slug.clone(), instruments.now());
        let command = NameTenant { fresh, slug, now, known: known.clone() };
        ids.insert(tenant.slug.clone(), db.execute(command).await?);
    }
    Ok(ids)
}

/// The id of each tenant that the database knows, by its name in URLs. Nothing is made.
pub(super) async fn stored_ids(db: &Db, settings: &Settings) -> Result<HashMap<String, Id<Tenant>>, DbError> {
    let mut ids = HashMap::new();
    for tenant in &settings.tenants {
        let query = sql("SELECT id FROM tenant WHERE slug = $1").bind(tenant.slug.clone());
        if let Some(row) = db.optional(query).await? {
            ids.insert(tenant.slug.clone(), row.get("id")?);
        }
    }
    Ok(ids)
}

struct NameTenant {
    fresh: Id<Tenant>,
    slug: String,
    now: Timestamp,
    /// The practices of the settings that were stored before.
    known: Vec<Id<Tenant>>,
}

impl Command for NameTenant {
    type Output = Id<Tenant>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Id<Tenant>, DbError> {
        let row = tx
            .one(
                sql("INSERT INTO tenant (id, slug, created_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (slug) DO UPDATE SET slug = excluded.slug RETURNING id")
                .bind(self.fresh)
                .bind(self.slug.clone())
                .bind(self.now),
            )
            .await?;
        let id: Id<Tenant> = row.get("id")?;
        if id == self.fresh {
            recovery::mark_newcomer(tx, id, &self.known, self.now).await?;
        }
        Ok(id)
    }
}

/// The key-encryption keys of every tenant, here and in a KMS.
pub(super) fn keks(
    settings: &Settings,
    ids: &HashMap<String, Id<Tenant>>,
    instruments: &Instruments,
) -> Result<TransitKeks, AppError> {
    let mut local = LocalKeks::new(std::sync::Arc::clone(&instruments.entropy));
    for tenant in &settings.tenants {
        let keks: Result<Vec<Kek>, _> =
            tenant.key_encryption_keys.iter().map(|secret| Kek::from_base64(secret.reveal())).collect();
        let keks = keks.map_err(AppError::of(&tenant.slug))?;
        if !keks.is_empty() {
            local.insert(id_of(ids, tenant)?, keks).map_err(AppError::of(&tenant.slug))?;
        }
    }
    let mut provider = TransitKeks::over(local);
    for tenant in &settings.tenants {
        if let Some(key) = &tenant.transit {
            provider.insert(id_of(ids, tenant)?, key.clone()).map_err(AppError::of(&tenant.slug))?;
        }
    }
    Ok(provider)
}

/// The practices, as their settings say.
pub(super) fn practices(settings: &Settings, ids: &HashMap<String, Id<Tenant>>) -> Result<Practices, AppError> {
    let practices: Result<Vec<Practice>, AppError> = settings
        .tenants
        .iter()
        .map(|tenant| Ok(practice(tenant, id_of(ids, tenant)?, &settings.server.public_url)))
        .collect();
    Ok(Practices::new(practices?))
}

pub(super) fn id_of(ids: &HashMap<String, Id<Tenant>>, tenant: &TenantSettings) -> Result<Id<Tenant>, AppError> {
    ids.get(&tenant.slug).copied().ok_or(AppError::Settings("a tenant has no id"))
}

fn practice(tenant: &TenantSettings, id: Id<Tenant>, public_url: &Url) -> Practice {
    Practice {
        tenant: id,
        slug: tenant.slug.clone(),
        clinic_name: tenant.text_name.clone(),
        phone: tenant.phone.clone(),
        zone: tenant.zone.clone(),
        default_language: tenant.languages.first().copied().unwrap_or_default(),
        quiet_hours: tenant.texting_hours,
        reminders: tenant.reminders.clone(),
        numbers: tenant.numbers.clone(),
        unverified_numbers_allowed: tenant.policies.texts_before_verification,
        first_name_in_texts: tenant.policies.first_name_in_texts,
        confirm_stop: tenant.policies.confirm_stop,
        opt_out_notice: tenant.policies.opt_out_wording,
        caps: tenant.caps,
        poll_every: tenant.poll_interval,
        public_url: public_url.clone(),
    }
}

/// Keeps the practice's policy as it is from now on, if it differs from the last version kept: who looks back at a
/// decision finds the rules under which it was made.
pub(super) async fn keep_policies(db: &Db, instruments: &Instruments, practices: &Practices) -> Result<(), AppError> {
    for practice in practices.all() {
        let settings = serde_json::json!({
            "clinic_name": practice.clinic_name,
            "zone": practice.zone.iana_name(),
            "texting_hours": [practice.quiet_hours.opens.to_string(), practice.quiet_hours.closes.to_string()],
            "reminders": practice.reminders.iter().map(|rule| (rule.days_before, rule.at.to_string())).collect::<Vec<_>>(),
            "numbers": practice.numbers.iter().map(|own| (own.number.as_e164(), format!("{:?}", own.keywords))).collect::<Vec<_>>(),
            "texts_before_verification": practice.unverified_numbers_allowed,
            "first_name_in_texts": practice.first_name_in_texts,
            "confirm_stop": practice.confirm_stop,
            "opt_out_wording": format!("{:?}", practice.opt_out_notice),
            "caps": practice.caps.map(|caps| (caps.per_day, caps.per_week)),
        });
        db.execute(KeepPolicy { tenant: practice.tenant, settings: settings.to_string(), now: instruments.now() })
            .await?;
    }
    Ok(())
}

struct KeepPolicy {
    tenant: Id<Tenant>,
    settings: String,
    now: Timestamp,
}

impl Command for KeepPolicy {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let last = tx
            .optional(
                sql("SELECT version, settings FROM practice_policy WHERE tenant = $1 ORDER BY version DESC LIMIT 1")
                    .bind(self.tenant),
            )
            .await?;
        let version = match &last {
            Some(row) if row.get::<String>("settings")? == self.settings => return Ok(()),
            Some(row) => row.get::<i64>("version")? + 1,
            None => 1,
        };
        tx.execute(
            sql("INSERT INTO practice_policy (tenant, version, settings, source, created_at) VALUES ($1, $2, $3, 'settings', $4)")
                .bind(self.tenant)
                .bind(version)
                .bind(self.settings.clone())
                .bind(self.now),
        )
        .await
        .map(|_| ())
    }
}

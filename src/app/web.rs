//! What people open in a browser: the inbox and the launches into it.

use super::{AppError, launches, people::People};
use crate::{
    access::{Drafts, LaunchStates, Sessions, StaffDirectory},
    audit::CoalescedRefusals,
    config::Settings,
    db::Db,
    http::{
        Rates, Section,
        inbox::{self, live::LiveInbox},
        smart,
    },
    kernel::{Id, Instruments, Tenant},
    messaging::Settler,
    patient::Directory,
    practice::Practices,
    smart::SmartClient,
    template::Catalogue,
    vault::Vault,
};
use std::{collections::HashMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The rooms that the pages stand on.
pub(super) struct Web {
    pub(super) db: Db,
    pub(super) vault: Vault,
    pub(super) instruments: Instruments,
    pub(super) practices: Arc<Practices>,
    pub(super) settler: Settler,
    pub(super) smart: SmartClient,
    pub(super) people: Arc<People>,
    pub(super) refusals: Arc<CoalescedRefusals>,
    pub(super) rates: Arc<Rates>,
    /// Ends the streams of live changes.
    pub(super) streams: CancellationToken,
    pub(super) sessions: Sessions,
    pub(super) catalogue: Arc<Catalogue>,
}

/// Who is signed in, with each practice's idle time.
pub(super) fn sessions(
    settings: &Settings,
    ids: &HashMap<String, Id<Tenant>>,
    (db, vault): (&Db, &Vault),
    instruments: &Instruments,
) -> Sessions {
    let idle: HashMap<Id<Tenant>, _> =
        settings.tenants.iter().filter_map(|tenant| Some((*ids.get(&tenant.slug)?, tenant.session_idle))).collect();
    let idle = Arc::new(move |tenant| idle.get(&tenant).copied().unwrap_or_default());
    Sessions::new(db.clone(), vault.clone(), instruments.clone(), idle)
}

impl Web {
    /// The sections for the router.
    pub(super) fn sections(
        &self,
        settings: &Settings,
        ids: &HashMap<String, Id<Tenant>>,
    ) -> Result<Vec<Section>, AppError> {
        let keys = launches::published_keys(settings)?;
        let inbox = inbox::routes(inbox::Parts {
            sessions: self.sessions.clone(),
            drafts: Drafts::new(self.db.clone(), self.vault.clone(), self.instruments.clone()),
            db: self.db.clone(),
            source: Arc::new(LiveInbox::new(
                self.db.clone(),
                self.vault.clone(),
                self.instruments.clone(),
                Arc::clone(&self.practices),
                launches::clinics(settings, ids)?,
                self.settler.clone(),
                Arc::clone(&self.catalogue),
            )),
            rates: Arc::clone(&self.rates),
            instruments: self.instruments.clone(),
            stop: self.streams.clone(),
        });
        let launches = smart::routes(self.launches(settings, ids)?);
        Ok(vec![Section::pages(inbox), Section::pages(launches), Section::api(smart::jwks_routes(keys))])
    }

    fn launches(&self, settings: &Settings, ids: &HashMap<String, Id<Tenant>>) -> Result<smart::Parts, AppError> {
        Ok(smart::Parts {
            sites: Arc::new(launches::sites(settings, ids)?),
            smart: self.smart.clone(),
            states: LaunchStates::new(self.db.clone(), self.vault.clone(), self.instruments.clone()),
            staff: StaffDirectory::new(self.db.clone(), self.vault.clone(), self.instruments.clone()),
            sessions: self.sessions.clone(),
            directory: Directory::new(self.db.clone(), self.vault.clone(), self.instruments.clone()),
            mirror: self.people.clone(),
            intake: self.people.clone(),
            refusals: Arc::clone(&self.refusals),
            rates: Arc::clone(&self.rates),
            instruments: self.instruments.clone(),
        })
    }
}

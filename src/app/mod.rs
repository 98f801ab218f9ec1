//! The composition root: alone names everything, and decides nothing.
//!
//! `main.rs`, the demo and the tests build an [`App`] from [`Settings`](crate::config::Settings), serve its
//! [`router`](App::router) and run its workers ([`App::run`]). Always: the service has no test mode; what differs
//! between production, the demo and tests is the settings and the instruments.

mod carriers;
mod ehrs;
mod error;
mod handlers;
mod launches;
mod people;
mod tenants;
mod web;

pub use error::AppError;

use crate::{
    access::StaffDirectory,
    audit::{CoalescedRefusals, HeadExport, Sealer},
    chart::Filing,
    config::Settings,
    db::{Db, DbKeyStore},
    ehr::{Ehrs, Ledger},
    feed::{Intake, Poller},
    http::{self, Section, webhooks},
    jobs::{Worker, WorkerLimits},
    kernel::{Id, Instruments, PhoneNumber, Tenant},
    messaging::{Delivery, Inbox, Puller, Sender, Settler, thread::Thread},
    patient::Directory,
    practice::Practices,
    routing::ReplyReader,
    smart::SmartClient,
    template::Catalogue,
    vault::Vault,
    workflow,
};
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often the carriers' own lists are read for what webhooks missed.
const PULL_EVERY: Duration = Duration::from_mins(3);
/// How often refusals are written to the audit log.
const FLUSH_REFUSALS_EVERY: Duration = Duration::from_secs(20);

/// How the program runs, beside what its settings say.
#[derive(Clone)]
pub struct Running {
    /// Clock, randomness, ids.
    pub instruments: Instruments,
    /// The workers' limits.
    pub workers: WorkerLimits,
    /// How often the carriers' lists are read.
    pub pull_every: Duration,
    /// Renders `/metrics`; none where no recorder is installed.
    pub metrics: Option<PrometheusHandle>,
}

impl Running {
    /// As in production, on these instruments.
    #[must_use]
    pub fn with(instruments: Instruments) -> Self {
        Self { instruments, workers: WorkerLimits::default(), pull_every: PULL_EVERY, metrics: None }
    }
}

/// The whole service, ready to be served.
pub struct App {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    tenants: HashMap<String, Id<Tenant>>,
    worker: Worker,
    puller: Puller,
    poller: Poller,
    sealer: Sealer,
    /// Ends the streams of live changes.
    streams: CancellationToken,
    refusals: Arc<CoalescedRefusals>,
    router: Router,
}

impl App {
    /// Opens the database, checks every key and puts the rooms together. Nothing runs yet.
    ///
    /// # Errors
    /// [`AppError`]: what is wrong, and what to do. A service that cannot be safe does not start.
    pub async fn build(settings: &Settings, running: Running) -> Result<Self, AppError> {
        PhoneNumber::warm_up();
        let instruments = running.instruments.clone();
        let db = Db::open(settings.database.url.reveal()).await?;
        let tenants = tenants::ids(&db, &instruments, settings).await?;
        let keks = tenants::keks(settings, &tenants, &instruments)?;
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments.clone());
        for tenant in tenants.values() {
            vault.check(*tenant).await?;
        }
        let practices = Arc::new(tenants::practices(settings, &tenants)?);
        tenants::keep_policies(&db, &instruments, &practices).await?;
        std::fs::create_dir_all(&settings.audit.head_folder).map_err(AppError::HeadFolder)?;
        let export = HeadExport::new(&settings.audit.head_folder);
        let sealer = Sealer::new(db.clone(), vault.clone(), instruments.clone(), export);
        let refusals = Arc::new(CoalescedRefusals::new(instruments.clone()));

        let rooms = Rooms::build(settings, &running, &db, &vault, &tenants, Arc::clone(&practices))?;
        let worker = handlers::bind(Worker::new(db.clone(), instruments.clone(), running.workers), &rooms);
        let streams = CancellationToken::new();
        let web = web::Web {
            db: db.clone(),
            vault: vault.clone(),
            instruments: instruments.clone(),
            practices,
            settler: rooms.settler.clone(),
            smart: rooms.smart.clone(),
            people: Arc::clone(&rooms.people),
            refusals: Arc::clone(&refusals),
            streams: streams.clone(),
        };
        let mut sections = web.sections(settings, &tenants)?;
        sections.extend(rooms.sections(&db, &refusals, &running));
        let router = http::router(sections, &instruments);
        Ok(Self {
            db,
            vault,
            instruments,
            tenants,
            worker,
            puller: rooms.puller,
            poller: rooms.poller,
            sealer,
            streams,
            refusals,
            router,
        })
    }

    /// What answers over HTTP.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The worker, for tests that run due jobs step by step.
    #[must_use]
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The database.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// The vault.
    #[must_use]
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Chains and exports the audit rows that are committed.
    #[must_use]
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The id of the tenant with this name in URLs.
    #[must_use]
    pub fn tenant(&self, slug: &str) -> Option<Id<Tenant>> {
        self.tenants.get(slug).copied()
    }

    /// Enqueues what repeats by itself. Called once at start; again changes nothing.
    ///
    /// # Errors
    /// [`AppError`] when the database is away.
    pub async fn schedule(&self) -> Result<(), AppError> {
        self.puller.schedule().await?;
        Ok(self.poller.schedule().await?)
    }

    /// Works until `stop`, then finishes what is in hand.
    pub async fn run(&self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let (streams, token) = (self.streams.clone(), stop.clone());
        tasks.spawn(async move {
            token.cancelled().await;
            streams.cancel();
        });
        let (worker, token) = (self.worker.clone(), stop.clone());
        tasks.spawn(async move { worker.run(token).await });
        let (refusals, db, vault, token) =
            (Arc::clone(&self.refusals), self.db.clone(), self.vault.clone(), stop.clone());
        tasks.spawn(async move { flush_refusals(&refusals, &db, &vault, token).await });
        self.sealer.run(stop).await;
        tasks.close();
        tasks.wait().await;
        // What the last jobs wrote is sealed too.
        for tenant in self.tenants.values() {
            if let Err(error) = self.sealer.seal(*tenant).await {
                tracing::warn!(%error, "audit rows are left for the next start to seal");
            }
        }
    }

    /// Closes the database. Nothing of this app works afterwards.
    pub async fn close(&self) {
        self.db.close().await;
        tracing::info!(instant = %self.instruments.now(), "stopped");
    }
}

async fn flush_refusals(refusals: &CoalescedRefusals, db: &Db, vault: &Vault, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(FLUSH_REFUSALS_EVERY) => {
                if let Err(error) = refusals.flush(db, vault).await {
                    tracing::warn!(%error, "refusals are kept until they can be written");
                }
            }
        }
    }
    if let Err(error) = refusals.flush_all(db, vault).await {
        tracing::error!(%error, "refusals of the last minute are lost");
    }
}

/// The rooms whose handlers and routes are bound.
pub(crate) struct Rooms {
    practices: Arc<Practices>,
    webhooks: Arc<HashMap<String, webhooks::TwilioTenant>>,
    inbox: Inbox,
    delivery: Delivery,
    smart: SmartClient,
    people: Arc<people::People>,
    pub(crate) puller: Puller,
    pub(crate) poller: Poller,
    pub(crate) filing: Filing,
    pub(crate) reader: ReplyReader,
    pub(crate) settler: Settler,
    pub(crate) sender: Sender,
}

impl Rooms {
    fn build(
        settings: &Settings,
        running: &Running,
        db: &Db,
        vault: &Vault,
        tenants: &HashMap<String, Id<Tenant>>,
        practices: Arc<Practices>,
    ) -> Result<Self, AppError> {
        let instruments = &running.instruments;
        let (carriers, webhooks) = carriers::carriers(settings, tenants, &instruments.clock)?;
        let carriers = Arc::new(carriers);
        let inbox = Inbox::new(db.clone(), vault.clone(), instruments.clone());
        let directory = Directory::new(db.clone(), vault.clone(), instruments.clone());
        let settler = Settler::new(db.clone(), vault.clone(), instruments.clone(), Arc::clone(&carriers));
        let sender = Sender::new(
            settler.clone(),
            Arc::clone(&practices),
            Arc::new(Catalogue::house()?),
            Arc::new(workflow::AppointmentRelevance),
            directory.clone(),
        );
        let reader =
            ReplyReader::new(db.clone(), vault.clone(), instruments.clone(), Arc::clone(&practices), directory.clone());
        let puller = Puller::new(
            db.clone(),
            inbox.clone(),
            instruments.clone(),
            Arc::clone(&practices),
            carriers,
            running.pull_every,
        );
        let smart = ehrs::smart_client(instruments)?;
        let ehrs = ehrs::ehrs(settings, tenants, instruments, &smart)?;
        let intake = Intake::new(db.clone(), vault.clone(), instruments.clone(), ehrs.clone(), directory.clone());
        let people =
            Arc::new(people::People { ehrs: ehrs.clone(), intake: intake.clone(), instruments: instruments.clone() });
        let (poller, filing) = Self::ehr_side(running, db, vault, &ehrs, &practices, &directory, intake);
        let delivery = Delivery::new(db.clone(), vault.clone(), instruments.clone());
        Ok(Self {
            practices,
            webhooks: Arc::new(webhooks),
            inbox,
            delivery,
            smart,
            people,
            puller,
            poller,
            filing,
            reader,
            settler,
            sender,
        })
    }

    fn ehr_side(
        running: &Running,
        db: &Db,
        vault: &Vault,
        ehrs: &Ehrs,
        practices: &Arc<Practices>,
        directory: &Directory,
        intake: Intake,
    ) -> (Poller, Filing) {
        let instruments = &running.instruments;
        let poller = Poller::new(db.clone(), instruments.clone(), Arc::clone(practices), ehrs.clone(), intake);
        let filing = Filing::new(
            db.clone(),
            instruments.clone(),
            ehrs.clone(),
            Ledger::new(db.clone(), vault.clone(), instruments.clone()),
            Thread::new(db.clone(), vault.clone(), instruments.clone()),
            directory.clone(),
            StaffDirectory::new(db.clone(), vault.clone(), instruments.clone()),
        );
        (poller, filing)
    }

    fn sections(&self, db: &Db, refusals: &Arc<CoalescedRefusals>, running: &Running) -> Vec<Section> {
        let twilio = webhooks::twilio(webhooks::TwilioWebhooks {
            practices: Arc::clone(&self.practices),
            tenants: Arc::clone(&self.webhooks),
            inbox: self.inbox.clone(),
            delivery: self.delivery.clone(),
            refusals: Arc::clone(refusals),
        });
        let health = http::health::routes(vec![http::health::Part::database(db.clone())], running.metrics.clone());
        vec![Section::api(twilio), Section::api(health)]
    }
}

//! The composition root: alone names everything, and decides nothing.
//!
//! `main.rs` hands the command line to [`command_line`]; `serve`, the demo and the tests build an [`App`] from
//! [`Settings`](crate::config::Settings), serve its [`router`](App::router) and run its workers ([`App::run`]). Always:
//! the service has no test mode; what differs between production, the demo and tests is the settings and the
//! instruments.

mod carriers;
pub mod command_line;
#[cfg(feature = "sandbox")]
pub mod demo;
mod ehr_ports;
mod ehr_servers;
mod ehr_side;
mod ehrs;
mod error;
mod foundation;
pub mod gauges;
mod handlers;
mod key_providers;
mod launches;
mod marking;
mod people;
mod recovering;
mod refusals;
mod resealing;
mod sealed_columns;
mod serving;
mod tenants;
mod web;

pub use error::AppError;
pub use serving::{ProcessRole, Service};

use self::ehr_side::{EhrPolls, EhrSide};
use crate::{
    access::Sessions,
    audit::{CoalescedRefusals, HeadExport, Sealer},
    config::Settings,
    db::Db,
    feed::Intake,
    http::{self, Rates, Section, webhooks},
    jobs::{Worker, WorkerLimits},
    kernel::{Id, Instruments, PhoneNumber, Tenant},
    messaging::{Delivery, Inbox, LateReports, Puller, ReadBack, Sender, Settler},
    patient::Directory,
    practice::Practices,
    routing::{ReplyReader, TextEndings},
    smart::{RefreshPolicy, SmartClient},
    template::Catalogue,
    vault::Vault,
    workflow,
};
use axum::Router;
use foundation::Foundation;
use gauges::Gauges;
use metrics_exporter_prometheus::PrometheusHandle;
use resealing::Resealer;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the carriers' own lists are read for what webhooks missed.
const PULL_EVERY: Duration = Duration::from_mins(3);
/// How often it is looked whether months lie ahead, on PostgreSQL.
const MAKE_MONTHS_EVERY: Duration = Duration::from_hours(12);

/// How the program runs, beside what its settings say.
#[derive(Clone)]
pub struct Running {
    /// Clock, randomness, ids.
    pub instruments: Instruments,
    /// The workers' limits.
    pub workers: WorkerLimits,
    /// How often the carriers' lists are read.
    pub pull_every: Duration,
    /// When EHRs' access tokens are renewed.
    pub token_refresh: RefreshPolicy,
    /// Renders `/metrics`; none where no recorder is installed.
    pub metrics: Option<PrometheusHandle>,
}

impl Running {
    /// As in production, on these instruments.
    #[must_use]
    pub fn with(instruments: Instruments) -> Self {
        let workers = WorkerLimits::default();
        Self { instruments, workers, pull_every: PULL_EVERY, token_refresh: RefreshPolicy::default(), metrics: None }
    }
}

/// The whole service, ready to be served.
pub struct App {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    tenants: HashMap<String, Id<Tenant>>,
    heads: HeadExport,
    worker: Worker,
    puller: Puller,
    read_back: ReadBack,
    carriers: Arc<carriers::Carriers>,
    reports: LateReports,
    polls: Box<EhrPolls>,
    sessions: Sessions,
    sealer: Sealer,
    gauges: Gauges,
    /// Ends the streams of live changes.
    streams: CancellationToken,
    refusals: Arc<CoalescedRefusals>,
    router: Router,
    health: Router,
}

impl App {
    /// Opens the database, checks every key and puts the rooms together. Nothing runs yet.
    ///
    /// # Errors
    /// [`AppError`]: what is wrong, and what to do. A service that cannot be safe does not start.
    pub async fn build(settings: &Settings, running: Running) -> Result<Self, AppError> {
        let foundation = Foundation::open(settings, &running.instruments).await?;
        Self::over(foundation, settings, running).await
    }

    /// The same over a database that is open.
    async fn over(foundation: Foundation, settings: &Settings, running: Running) -> Result<Self, AppError> {
        PhoneNumber::warm_up();
        let instruments = running.instruments.clone();
        let Foundation { db, vault, tenants, .. } = foundation;
        key_providers::open(&vault, &tenants).await?;
        let practices = Arc::new(tenants::practices(settings, &tenants)?);
        tenants::keep_policies(&db, &instruments, &practices).await?;
        std::fs::create_dir_all(&settings.audit.head_folder).map_err(AppError::HeadFolder)?;
        let heads = HeadExport::new(&settings.audit.head_folder);
        let sealer = Sealer::new(db.clone(), vault.clone(), instruments.clone(), heads.clone(), marking::end_sessions);
        let refusals = Arc::new(CoalescedRefusals::new(instruments.clone()));
        let rates = Arc::new(Rates::new(settings.server.rates, &instruments.clock));

        let catalogue = Arc::new(Catalogue::house()?);
        let rooms = Rooms::build(settings, &running, (&db, &vault), &tenants, Arc::clone(&practices), &catalogue)?;
        let resealer = Resealer::new(db.clone(), vault.clone(), instruments.clone());
        let sessions = web::sessions(settings, &tenants, (&db, &vault), &instruments);
        let worker = Worker::new(db.clone(), instruments.clone(), running.workers);
        let worker = handlers::bind(worker, &rooms, &resealer, &sessions);
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
            rates: Arc::clone(&rates),
            streams: streams.clone(),
            sessions: sessions.clone(),
            catalogue,
        };
        let mut sections = web.sections(settings, &tenants)?;
        sections.extend(rooms.sections((&db, &vault), (&refusals, &rates), &running));
        let server = &settings.server;
        let limits = http::Limits::of(server.request_body_limit, server.connections.body_time, server.requests_at_once);
        let router = http::router(sections, limits, &instruments);
        let health = http::router(vec![health((&db, &vault), &rooms.practices, &running)], limits, &instruments);
        let gauges = Gauges::new(db.clone(), instruments.clone(), &tenants);
        let app = Self {
            db,
            vault,
            instruments,
            tenants,
            heads,
            worker,
            puller: rooms.puller,
            read_back: rooms.read_back,
            carriers: rooms.carriers,
            reports: rooms.reports,
            polls: Box::new(EhrPolls::of(&rooms.ehr_side)),
            sessions,
            sealer,
            gauges,
            streams,
            refusals,
            router,
            health,
        };
        app.mark_unmarked_restores().await?;
        Ok(app)
    }

    /// How long the tenant's carrier may take until its lists show a text.
    fn carrier_lists_within(&self, tenant: Id<Tenant>) -> Duration {
        self.carriers.get(&tenant).map_or(Duration::ZERO, |carrier| carrier.listed_within())
    }

    /// What answers over HTTP.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What answers over HTTP where a process only works: its health and its metrics.
    pub fn health_router(&self) -> Router {
        self.health.clone()
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

    /// How the service stands.
    #[must_use]
    pub const fn gauges(&self) -> &Gauges {
        &self.gauges
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
        self.reports.schedule().await?;
        self.sessions.schedule(self.tenants.values().copied()).await?;
        Ok(self.polls.schedule().await?)
    }

    /// Does everything but answer over HTTP until `stop`, then finishes what is in hand.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::join!(
            Box::pin(self.work(stop.clone())),
            self.keep_refusals(stop.clone()),
            self.keep_asking_key_providers(stop.clone()),
            self.end_streams(stop)
        );
        self.seal_what_is_left().await;
    }

    /// Runs jobs, seals the audit log and keeps the gauges until `stop`, then finishes what is in hand.
    async fn work(&self, stop: CancellationToken) {
        tokio::join!(
            self.worker.run(stop.clone()),
            self.sealer.run(stop.clone()),
            self.gauges.keep(stop.clone()),
            self.keep_months_ahead(stop)
        );
    }

    /// The first were made when the database was opened.
    async fn keep_months_ahead(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(MAKE_MONTHS_EVERY) => {}
            }
            if let Err(error) = self.db.make_months(self.instruments.now()).await {
                tracing::warn!(%error, "the next months' partitions could not be made");
            }
        }
    }

    /// Writes refusals to the audit log until `stop`, and then those of the last minute.
    async fn keep_refusals(&self, stop: CancellationToken) {
        refusals::flush(&self.refusals, &self.db, &self.vault, stop).await;
    }

    /// Ends the streams of live changes at `stop`: open ones would keep the server from ending.
    async fn end_streams(&self, stop: CancellationToken) {
        stop.cancelled().await;
        self.streams.cancel();
    }

    /// What the last jobs and requests wrote is sealed too.
    async fn seal_what_is_left(&self) {
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

fn health((db, vault): (&Db, &Vault), practices: &Arc<Practices>, running: &Running) -> Section {
    let parts = vec![
        http::health::Part::database(db.clone()),
        http::health::Part::feeds(db.clone()),
        http::health::Part::recovery(db.clone(), Arc::clone(practices)),
        http::health::Part::key_providers(vault.clone()),
    ];
    Section::api(http::health::routes(parts, running.metrics.clone()))
}

/// The rooms whose handlers and routes are bound.
pub(crate) struct Rooms {
    practices: Arc<Practices>,
    webhooks: Arc<HashMap<String, webhooks::TwilioTenant>>,
    inbox: Inbox,
    delivery: Delivery,
    smart: SmartClient,
    people: Arc<people::People>,
    puller: Puller,
    read_back: ReadBack,
    carriers: Arc<carriers::Carriers>,
    reports: LateReports,
    ehr_side: EhrSide,
    reader: ReplyReader,
    endings: TextEndings,
    settler: Settler,
    sender: Sender,
}

impl Rooms {
    fn build(
        settings: &Settings,
        running: &Running,
        (db, vault): (&Db, &Vault),
        tenants: &HashMap<String, Id<Tenant>>,
        practices: Arc<Practices>,
        catalogue: &Arc<Catalogue>,
    ) -> Result<Self, AppError> {
        let instruments = &running.instruments;
        let (carriers, webhooks) = carriers::carriers(settings, tenants, &instruments.clock)?;
        let carriers = Arc::new(carriers);
        let inbox = Inbox::new(db.clone(), vault.clone(), instruments.clone());
        let directory = Directory::new(db.clone(), vault.clone(), instruments.clone());
        let settler = Settler::new(db.clone(), vault.clone(), instruments.clone(), Arc::clone(&carriers));
        let reader =
            ReplyReader::new(db.clone(), vault.clone(), instruments.clone(), Arc::clone(&practices), directory.clone());
        let puller = Puller::new(
            db.clone(),
            inbox.clone(),
            instruments.clone(),
            Arc::clone(&practices),
            Arc::clone(&carriers),
            running.pull_every,
        );
        let read_back =
            ReadBack::new(settler.clone(), Arc::clone(&practices), directory.clone(), Arc::clone(catalogue));
        let smart = ehrs::smart_client(instruments)?;
        let ehrs = ehrs::ehrs(settings, tenants, (instruments, running.token_refresh), &smart)?;
        let intake = Intake::new(db.clone(), vault.clone(), instruments.clone(), ehrs.clone(), directory.clone());
        let people =
            Arc::new(people::People { ehrs: ehrs.clone(), intake: intake.clone(), instruments: instruments.clone() });
        let ehr_side = EhrSide::build(running, (db, vault), &ehrs, &practices, &directory, &intake);
        let sender = Sender::new(
            settler.clone(),
            Arc::clone(&practices),
            Arc::clone(catalogue),
            Arc::new(workflow::AppointmentRelevance),
            Arc::new(ehr_side.upstream(instruments)),
            directory.clone(),
        );
        let reports = LateReports::new(settler.clone(), Arc::clone(&practices));
        let delivery = Delivery::new(db.clone(), vault.clone(), instruments.clone());
        Ok(Self {
            practices,
            webhooks: Arc::new(webhooks),
            inbox,
            delivery,
            smart,
            people,
            puller,
            read_back,
            carriers,
            reports,
            ehr_side,
            reader,
            endings: TextEndings::new(db.clone(), instruments.clone()),
            settler,
            sender,
        })
    }

    fn sections(
        &self,
        stores: (&Db, &Vault),
        (refusals, rates): (&Arc<CoalescedRefusals>, &Arc<Rates>),
        running: &Running,
    ) -> Vec<Section> {
        let twilio = webhooks::twilio(webhooks::TwilioWebhooks {
            practices: Arc::clone(&self.practices),
            tenants: Arc::clone(&self.webhooks),
            inbox: self.inbox.clone(),
            delivery: self.delivery.clone(),
            refusals: Arc::clone(refusals),
            rates: Arc::clone(rates),
        });
        vec![Section::api(twilio), health(stores, &self.practices, running)]
    }
}

//! Texts through the whole gate to a carrier that takes 50 ms: `cargo bench -- send`.
//!
//! Every text goes to a number of its own. The limit is bare reqwest: as many forms in flight to the same carrier, and
//! nothing kept.

use crate::carrier::Carrier;
use crate::fhir_server::FhirServer;
use crate::patients::Reachable;
use crate::{
    carrier,
    database::{Database, Engine},
    installation::{AUTH_TOKEN, Beside, Installation, SLUG},
    patients,
    report::{self, Arguments, Measured, Round, Subject},
};
use anyhow::{Result, ensure};
use chartwire::{
    app::{App, Running},
    db::sql,
    jobs::WorkerLimits,
    kernel::{Id, Instruments, Tenant},
    messaging::{Content, TEXT_CHANGED},
    template::{Params, TextKey},
};
use jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// What is done beside sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// Those who hear of a sent text do nothing about it: filing has a benchmark of its own.
    Nothing,
    /// Every text is filed in the chart of an EHR that answers at once.
    Chart,
}

struct Bench {
    instruments: Instruments,
    carrier: Carrier,
    ehr: FhirServer,
    installation: Installation,
    engine: Engine,
    /// How long the limit is measured.
    span: Duration,
}

impl Bench {
    async fn app(&self, in_flight: u32) -> Result<(App, Id<Tenant>)> {
        let workers = WorkerLimits { at_once: in_flight, ..WorkerLimits::default() };
        let running = Running { workers, ..Running::with(self.instruments.clone()) };
        let app = App::build(&self.installation.settings()?, running).await?;
        let tenant = app.tenant(SLUG).ok_or_else(|| anyhow::anyhow!("the practice is not there"))?;
        Ok((app, tenant))
    }

    /// Queues a reminder for each patient, and then sends them all.
    async fn ours(&self, patients: &[Reachable], in_flight: u32, beyond: Beyond) -> Result<Measured> {
        let (app, tenant) = self.app(in_flight).await?;
        patients::queue(&app, tenant, &self.instruments, patients, &self.reminder()?).await?;
        let (before, sent_before) = (self.carrier.accepted.count(), sent(&app).await?);
        let worker = match beyond {
            Beyond::Nothing => app.worker().clone().bind(TEXT_CHANGED, async |_| Ok(())),
            Beyond::Chart => app.worker().clone(),
        };
        let stop = CancellationToken::new();
        let started = Instant::now();
        let finished = async {
            self.carrier.accepted.reaches(before + patients.len()).await;
            let took = started.elapsed();
            stop.cancel();
            took
        };
        let (took, (), ()) = tokio::join!(finished, worker.run(stop.clone()), app.sealer().run(stop.clone()));
        let sent = sent(&app).await? - sent_before;
        ensure!(usize::try_from(sent)? == patients.len(), "{} texts, {sent} accepted", patients.len());
        app.close().await;
        Ok(Measured { count: patients.len(), took })
    }

    fn reminder(&self) -> Result<Content> {
        let zone = jiff::tz::TimeZone::get("America/New_York")?;
        let when = self.instruments.now() + SignedDuration::from_hours(72);
        let params = Params::new("Riverside Clinic", &zone).first(None).when(when).provider(None);
        Ok(Content::Template { key: TextKey::Reminder, params: Box::new(params) })
    }

    /// As many in flight, for as long as is said.
    async fn limit(&self, in_flight: u32) -> Result<Measured> {
        let http = reqwest::Client::builder().http1_only().no_proxy().build()?;
        let (before, started) = (self.carrier.accepted.count(), Instant::now());
        let mut sending = JoinSet::new();
        for _ in 0..in_flight {
            let (http, url, ends) = (http.clone(), self.carrier.messages(), started + self.span);
            sending.spawn(async move {
                while Instant::now() < ends {
                    let request = http.post(&url).basic_auth("AC0123456789abcdef0123456789abcdef", Some(AUTH_TOKEN));
                    request.form(&carrier::FORM).send().await?.error_for_status()?.bytes().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        Ok(Measured { count: self.carrier.accepted.count() - before, took: started.elapsed() })
    }
}

/// How many texts the carrier has accepted, by our books.
async fn sent(app: &App) -> Result<i64> {
    Ok(app.db().one(sql("SELECT COUNT(*) AS n FROM attempt WHERE state = 'accepted'")).await?.get("n")?)
}

async fn measure(arguments: &Arguments, engine: Engine) -> Result<()> {
    let (database, carrier, ehr) = (Database::new(engine).await?, Carrier::start()?, FhirServer::start()?);
    let beside = Beside { database: &database.url, ehr: &ehr.base, carrier: &carrier.base };
    let bench = Bench {
        instruments: Instruments::system(),
        installation: Installation::new(&beside)?,
        carrier,
        ehr,
        engine,
        span: Duration::from_secs(arguments.size(10, 1) as u64),
    };
    let (app, tenant) = bench.app(1).await?;
    let count = arguments.size(15_000, 100);
    let patients = patients::seed(&app, tenant, &bench.instruments, count).await?;
    app.close().await;
    for in_flight in [64, 256] {
        bench.compare(arguments, &patients, in_flight, Beyond::Nothing).await?;
    }
    bench.compare(arguments, &patients, 64, Beyond::Chart).await
}

impl Bench {
    async fn compare(
        &self,
        arguments: &Arguments,
        patients: &[Reachable],
        in_flight: u32,
        beyond: Beyond,
    ) -> Result<()> {
        let (mut rounds, filed_before) = (Vec::new(), self.ehr.created.count());
        for _ in 0..arguments.rounds() {
            let limit = self.limit(in_flight).await?;
            rounds.push(Round { ours: self.ours(patients, in_flight, beyond).await?, limit });
        }
        let subject = Subject {
            name: "send",
            database: self.engine,
            what: match beyond {
                Beyond::Nothing => "texts through the gate to distinct numbers, carrier with 50 ms latency",
                Beyond::Chart => "the same while each is filed in the chart",
            },
            limit: "bare reqwest to the same carrier, as many in flight",
            unit: "texts/s",
            goal: (beyond == Beyond::Nothing).then_some(0.7),
        };
        let filed = self.ehr.created.count() - filed_before;
        report::compare(&subject, &rounds, &json!({ "in_flight": in_flight, "filed_meanwhile": filed }));
        Ok(())
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    for engine in arguments.engines() {
        Box::pin(measure(arguments, engine)).await?;
    }
    Ok(())
}

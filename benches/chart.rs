//! Texts filed in the chart, 32 in flight, by an EHR that answers at once: `cargo bench -- chart`.
//!
//! The limit is bare POSTs of the same resource to the same server, as many in flight, and nothing kept.

use crate::fhir_server::FhirServer;
use crate::{
    database::{Database, Engine},
    installation::{Beside, Installation, SLUG},
    patients,
    report::{self, Arguments, Measured, Round, Subject},
};
use anyhow::{Context as _, Result, ensure};
use chartwire::{
    app::{App, Running},
    chart::FILE_CONVERSATION,
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, WorkerLimits, enqueue_all},
    kernel::{Id, Instruments, Phi, Tenant},
    messaging::{Content, Conversation},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

const IN_FLIGHT: u32 = 32;
const WORDS: &str = "We can see you on Thursday at nine. Please bring your insurance card and come ten minutes early.";

struct Bench {
    instruments: Instruments,
    app: App,
    tenant: Id<Tenant>,
    ehr: FhirServer,
    patients: Vec<patients::Reachable>,
    /// How long the limit is measured.
    span: Duration,
}

impl Bench {
    /// One delivered text for each patient, filed from the first to the last.
    async fn ours(&self) -> Result<Measured> {
        let words = Content::Written(Phi::new(WORDS.to_owned()));
        patients::queue(&self.app, self.tenant, &self.instruments, &self.patients, &words).await?;
        let (tenant, instruments) = (self.tenant, self.instruments.clone());
        self.app.db().execute(Deliver { tenant, instruments }).await?;
        let (before, filed_before) = (self.ehr.created.count(), self.filed().await?);
        let stop = CancellationToken::new();
        let started = Instant::now();
        let finished = async {
            self.ehr.created.reaches(before + self.patients.len()).await;
            let took = started.elapsed();
            stop.cancel();
            took
        };
        let (worker, sealer) = (self.app.worker(), self.app.sealer());
        let (took, (), ()) = tokio::join!(finished, worker.run(stop.clone()), sealer.run(stop.clone()));
        let filed = self.filed().await? - filed_before;
        ensure!(usize::try_from(filed)? == self.patients.len(), "{} texts, {filed} filed", self.patients.len());
        Ok(Measured { count: self.patients.len(), took })
    }

    /// How many texts stand in the chart, by our books.
    async fn filed(&self) -> Result<i64> {
        let query = sql("SELECT COUNT(*) AS n FROM chart_filing WHERE reference IS NOT NULL");
        Ok(self.app.db().one(query).await?.get("n")?)
    }

    async fn limit(&self) -> Result<Measured> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let (before, started) = (self.ehr.created.count(), Instant::now());
        let mut posting = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (http, ends) = (http.clone(), started + self.span);
            let (url, body) = (format!("{}/Communication", self.ehr.base), communication().to_string());
            posting.spawn(async move {
                while Instant::now() < ends {
                    let request = http.post(&url).bearer_auth("a-token").header("accept", "application/fhir+json");
                    let request = request.header("content-type", "application/fhir+json").body(body.clone());
                    request.send().await?.error_for_status()?.bytes().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(posted) = posting.join_next().await {
            posted??;
        }
        Ok(Measured { count: self.ehr.created.count() - before, took: started.elapsed() })
    }
}

/// Lets every queued text have been delivered, with nothing left to do but to file it.
struct Deliver {
    tenant: Id<Tenant>,
    instruments: Instruments,
}

impl Command for Deliver {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql("DELETE FROM job")).await?;
        let now = self.instruments.now();
        let delivered = tx
            .all(
                sql("UPDATE message SET state = 'delivered', carrier = 'twilio', carrier_id = 'SM00000000000000000000000000000001', \
                     sent_at = $1, delivered_at = $1 WHERE state = 'queued' RETURNING conversation")
                .bind(now),
            )
            .await?;
        let mut jobs = Vec::with_capacity(delivered.len());
        for row in &delivered {
            let conversation: Id<Conversation> = row.get("conversation")?;
            let payload = json!({ "conversation": conversation.to_string() });
            let job = NewJob::new(&self.instruments, self.tenant, FILE_CONVERSATION, &payload);
            let job = job.map_err(|_| DbError::Decode { column: "payload" })?;
            jobs.push(job.unique(conversation.to_string()).attempts(1000));
        }
        for some in jobs.chunks(500) {
            enqueue_all(tx, &some.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// A Communication as the service files it.
fn communication() -> Value {
    json!({
        "resourceType": "Communication",
        "identifier": [
            { "system": "urn:ietf:rfc:3986", "value": "urn:uuid:0197b1f4-5a3c-7d5e-8f00-000000000001" },
            { "system": "urn:uuid:754e1ff4-f145-46d7-b3e9-3606e9865843", "value": "0197b1f4-5a3c-7d5e-8f00-000000000002" },
            { "system": "urn:uuid:efffcea4-73af-44ce-b63f-b67fc7cd3e64", "value": "SM00000000000000000000000000000001" },
        ],
        "status": "completed",
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "notification",
        }] }],
        "medium": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "SMSWRIT",
        }] }],
        "subject": { "reference": "Patient/patient-1" },
        "payload": [{ "contentString": WORDS }],
        "recipient": [{ "reference": "Patient/patient-1" }],
        "sent": "2026-11-23T17:00:00Z",
        "received": "2026-11-23T17:00:00Z",
    })
}

async fn measure(arguments: &Arguments, engine: Engine) -> Result<()> {
    let (database, ehr, instruments) = (Database::new(engine).await?, FhirServer::start()?, Instruments::system());
    let beside = Beside { database: &database.url, ehr: &ehr.base, carrier: "http://127.0.0.1:1/" };
    let installation = Installation::new(&beside)?;
    let workers = WorkerLimits { at_once: IN_FLIGHT, ..WorkerLimits::default() };
    let running = Running { workers, ..Running::with(instruments.clone()) };
    let app = App::build(&installation.settings()?, running).await?;
    let tenant = app.tenant(SLUG).context("the practice is not there")?;
    let patients = patients::seed(&app, tenant, &instruments, arguments.size(10_000, 200)).await?;
    let span = Duration::from_secs(arguments.size(5, 1) as u64);
    let bench = Bench { instruments, app, tenant, ehr, patients, span };
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds() {
        let limit = bench.limit().await?;
        rounds.push(Round { ours: bench.ours().await?, limit });
    }
    let subject = Subject {
        name: "chart",
        database: engine,
        what: "texts filed, 32 in flight, FHIR server that answers at once",
        limit: "bare POSTs of the same resource to the same server, as many in flight",
        unit: "texts/s",
        goal: Some(0.7),
    };
    report::compare(&subject, &rounds, &json!({ "in_flight": IN_FLIGHT }));
    bench.app.close().await;
    Ok(())
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    for engine in arguments.engines() {
        Box::pin(measure(arguments, engine)).await?;
    }
    Ok(())
}

//! What must hold however commits interleave.

use crate::{
    database::both_databases,
    service::{ANA, CLINIC, SLUG, Service, Setting},
};
use chartwire::{
    audit::AuditRow,
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, Worker, WorkerLimits, enqueue},
    kernel::{Id, Language, Phi, PhoneNumber, Tenant},
    messaging::{
        Accepted, Inbox,
        carrier_port::{CarrierAddress, CarrierInbound},
    },
    practice::{ClinicNumber, KeywordAnswerer, OptOutNotice, Practice, QuietHours},
};
use futures_util::future::join_all;
use jiff::{civil::time, tz::TimeZone};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

fn practice(tenant: Id<Tenant>) -> Practice {
    Practice {
        tenant,
        slug: SLUG.to_owned(),
        clinic_name: "Riverside Clinic".to_owned(),
        phone: PhoneNumber::parse("+12125550198").unwrap(),
        zone: TimeZone::UTC,
        default_language: Language::English,
        quiet_hours: QuietHours { opens: time(9, 0, 0, 0), closes: time(20, 0, 0, 0) },
        reminders: vec![],
        numbers: vec![ClinicNumber {
            number: PhoneNumber::parse(CLINIC).unwrap(),
            keywords: KeywordAnswerer::Chartwire,
        }],
        unverified_numbers_allowed: true,
        first_name_in_texts: false,
        confirm_stop: true,
        opt_out_notice: OptOutNotice::EveryText,
        caps: None,
        poll_every: Duration::from_mins(2),
        public_url: "http://127.0.0.1/".parse().unwrap(),
    }
}

fn inbound(carrier_id: usize, from: usize) -> CarrierInbound {
    CarrierInbound {
        carrier_id: format!("SM{carrier_id:032}"),
        from: CarrierAddress::parse(&format!("+1212555{from:04}")),
        to: PhoneNumber::parse(CLINIC).unwrap(),
        body: Phi::new(format!("text {carrier_id}")),
        body_damaged: false,
        media: vec![],
        media_count: 0,
        received_at: None,
        opt_out_type: None,
    }
}

/// The ids of the audit rows of this action and purpose, in the order in which they were written.
async fn audited(service: &Service, action: &str, purpose: &str) -> Vec<Id<AuditRow>> {
    let query = sql(
        "SELECT id FROM audit_row WHERE tenant = $1 AND action = $2 AND purpose = $3 AND detail NOT LIKE '%stop-confirmation%' ORDER BY id",
    );
    let rows = service.app.db().all(query.bind(service.tenant).bind(action).bind(purpose)).await.unwrap();
    rows.iter().map(|row| row.get("id").unwrap()).collect()
}

struct Ask(NewJob);

impl Command for Ask {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

both_databases! {
    async fn a_group_with_repetitions_keeps_each_text_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let inbox = Inbox::new(service.app.db().clone(), service.app.vault().clone(), service.instruments.clone());
        let practice = practice(service.tenant);
        // Forty texts from four numbers, each brought three times, all at once.
        let texts: Vec<_> = (0..120).map(|n| inbound(n % 40, n % 4)).collect();
        let accepted = join_all(texts.iter().map(|text| inbox.accept(&practice, "twilio", text))).await;
        let new: HashSet<_> = accepted
            .into_iter()
            .filter_map(|accepted| match accepted.unwrap() {
                Accepted::New(id) => Some(id),
                Accepted::Duplicate => None,
            })
            .collect();
        assert_eq!(new.len(), 40);
        let lines = service.app.db().all(sql("SELECT unread FROM number_line ORDER BY number_token")).await.unwrap();
        let unread: Vec<i64> = lines.iter().map(|row| row.get("unread").unwrap()).collect();
        assert_eq!(unread, [10, 10, 10, 10]);
        for (table, expected) in [("message", 40), ("message_dedupe", 40), ("job", 40), ("audit_row", 40)] {
            let count = chartwire::db::sql_built(format!("SELECT COUNT(*) AS n FROM {table}"));
            assert_eq!(service.app.db().one(count).await.unwrap().get::<i64>("n").unwrap(), expected, "{table}");
        }
        service.settle().await;
        let left = sql("SELECT COUNT(*) AS n FROM number_line WHERE unread > 0");
        assert_eq!(service.app.db().one(left).await.unwrap().get::<i64>("n").unwrap(), 0);
        service.stop().await;
    }

    async fn a_job_that_is_asked_for_again_as_it_ends_runs_again(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let (asked, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let handler = {
            let (asked, seen) = (asked.clone(), seen.clone());
            move |_| {
                let (asked, seen) = (asked.clone(), seen.clone());
                async move {
                    seen.fetch_max(asked.load(Ordering::SeqCst), Ordering::SeqCst);
                    Ok(())
                }
            }
        };
        let (db, instruments) = (service.app.db().clone(), service.instruments.clone());
        let worker = Worker::new(db.clone(), instruments.clone(), WorkerLimits::default()).bind("Look", handler);
        let asking = async {
            for _ in 0..300 {
                asked.fetch_add(1, Ordering::SeqCst);
                let job = NewJob::new(&instruments, service.tenant, "Look", &()).unwrap().unique("here");
                db.execute(Ask(job)).await.unwrap();
            }
        };
        let working = async {
            while asked.load(Ordering::SeqCst) < 300 {
                worker.run_due().await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(asking, working);
        worker.run_due().await.unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), 300, "what was asked for last was looked at");
        assert_eq!(db.one(sql("SELECT COUNT(*) AS n FROM job")).await.unwrap().get::<i64>("n").unwrap(), 0);
        service.stop().await;
    }

    async fn after_the_first_stop_is_committed_no_attempt_is(database: TestDatabase) {
        let service = Arc::new(Service::start(&database, Setting::default()).await);
        let ana = service.patient("ana", "Ana", ANA).await;
        service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        let texting = async {
            join_all((0..4).map(|_| service.text(ANA, "STOP"))).await;
        };
        let queueing = async {
            for _ in 0..12 {
                service.queue(service.reminder(ana, ANA)).await;
            }
        };
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let worker = service.app.worker().clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        worker.run_due().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::join!(texting, queueing);
        for worker in workers {
            worker.await.unwrap();
        }
        service.settle().await;
        // These rows get their ids under the lock of the number: their order is that of the commits.
        let stopped = audited(&service, "receive", "inbound-text").await[0];
        let left = audited(&service, "send", "outbound-text").await;
        let cleared = sql("SELECT COUNT(*) AS n FROM attempt a JOIN message m ON m.tenant = a.tenant AND m.id = a.message WHERE m.class = 'automated'");
        let cleared = service.app.db().one(cleared).await.unwrap().get::<i64>("n").unwrap();
        let refused = sql("SELECT COUNT(*) AS n FROM message WHERE state = 'dropped' AND state_reason = 'stopped' AND class = 'automated'");
        let refused = service.app.db().one(refused).await.unwrap().get::<i64>("n").unwrap();
        assert_eq!(cleared + refused, 13, "every text left or was refused");
        assert!(cleared >= 1 && refused >= 1, "{cleared} left, {refused} refused");
        let before = left.iter().filter(|row| **row < stopped).count();
        assert_eq!(i64::try_from(before).unwrap(), cleared, "what left had left before");
        let confirmations = service.on(ANA).iter().filter(|text| text.contains("no more texts")).count();
        assert_eq!(confirmations, 1);
        Arc::into_inner(service).unwrap().stop().await;
    }
}

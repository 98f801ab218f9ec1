//! The limit of the webhook benchmark: what is left when all is left out but HTTP, the body and the rows.

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chartwire::{
    db::{BatchCommand, Command, Db, DbError, Tx, Value, sql_rows},
    kernel::{Entropy as _, Id, Instruments, SystemEntropy},
};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Kinds of what the rows are of; here only for their ids.
enum Row {}

#[derive(Clone)]
struct Bare {
    db: Db,
    instruments: Instruments,
    tenant: Id<Row>,
}

/// Serves until `stop`.
pub(crate) async fn serve(url: &str, stop: CancellationToken) -> Result<(SocketAddr, Db, JoinHandle<Result<()>>)> {
    let db = Db::open(url).await?;
    let instruments = Instruments::system();
    let bare = Bare { db: db.clone(), tenant: instruments.new_id(), instruments };
    let router = Router::new().route("/carriers/twilio/{tenant}/inbound", post(inbound)).with_state(bare);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let close = db.clone();
    let serving = tokio::spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
        close.close().await;
        Ok(())
    });
    Ok((address, db, serving))
}

async fn inbound(State(bare): State<Bare>, body: Bytes) -> Response {
    let mut random = [0; 64];
    SystemEntropy.fill(&mut random);
    let command = Text {
        tenant: bare.tenant,
        message: bare.instruments.new_id(),
        job: bare.instruments.new_id(),
        audit: bare.instruments.new_id(),
        now: bare.instruments.now().as_millisecond(),
        words: body.iter().rev().take(90).copied().collect(),
        random,
    };
    if bare.db.execute_grouped(command).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>")
        .into_response()
}

/// One text's rows: as many, in the same tables, of the same sizes, under keys that fall as far apart.
struct Text {
    tenant: Id<Row>,
    message: Id<Row>,
    job: Id<Row>,
    audit: Id<Row>,
    now: i64,
    words: Vec<u8>,
    random: [u8; 64],
}

/// What a text is in one of the tables.
type Columns = fn(&Text) -> Vec<Value>;

impl Command for Text {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        Self::run_all(&[self], tx).await.map(|_| ())
    }
}

impl BatchCommand for Text {
    async fn run_all(texts: &[&Self], tx: &mut Tx) -> Result<Vec<()>, DbError> {
        let tables: [(&str, Columns); 5] = [
            ("INSERT INTO message_dedupe (tenant, carrier, carrier_id, message)", Self::dedupe),
            ("INSERT INTO number_line (tenant, number_token, unread, last_inbound_at)", Self::line),
            (
                "INSERT INTO message (tenant, id, direction, our_number, number_token, number, class, category, language, \
                 body, content_hash, media_count, author, quiet_overridden, state, carrier, carrier_id, received_at, \
                 sealed_at, created_at)",
                Self::message,
            ),
            (
                "INSERT INTO job (tenant, id, kind, lane, payload, state, run_at, attempts, max_attempts, again, created_at)",
                Self::job,
            ),
            (
                "INSERT INTO audit_row (tenant, id, at, actor_kind, actor, action, purpose, subjects, outcome, detail, \
                 key_version, mac)",
                Self::audit,
            ),
        ];
        for (insert, columns) in tables {
            let rows = texts.iter().map(|text| columns(text)).collect();
            tx.execute(sql_rows(insert, rows, "", tx.is_postgres())?).await?;
        }
        Ok(vec![(); texts.len()])
    }
}

impl Text {
    fn token(&self) -> Vec<u8> {
        self.random.iter().take(32).copied().collect()
    }

    fn carrier_id(&self) -> String {
        format!("SM{}", self.message)
    }

    fn dedupe(&self) -> Vec<Value> {
        vec![self.tenant.into(), "twilio".into(), self.carrier_id().into(), self.message.into()]
    }

    fn line(&self) -> Vec<Value> {
        vec![self.tenant.into(), self.token().into(), 1_i64.into(), self.now.into()]
    }

    fn message(&self) -> Vec<Value> {
        let number = [self.random.as_slice(), b"sealed"].concat();
        let hash: Vec<u8> = self.random.iter().rev().take(32).copied().collect();
        vec![
            self.tenant.into(),
            self.message.into(),
            "in".into(),
            "+12125550199".into(),
            self.token().into(),
            number.into(),
            "answer".into(),
            "appointment".into(),
            "en".into(),
            self.words.clone().into(),
            hash.into(),
            0_i64.into(),
            "patient".into(),
            false.into(),
            "received".into(),
            "twilio".into(),
            self.carrier_id().into(),
            self.now.into(),
            self.now.into(),
            self.now.into(),
        ]
    }

    fn job(&self) -> Vec<Value> {
        let payload = format!("{{\"message\":\"{}\"}}", self.message);
        // As long as the lane of a number.
        let lane = format!("read:{}{}", self.message, self.job);
        vec![
            self.tenant.into(),
            self.job.into(),
            "TextReceived".into(),
            lane.into(),
            payload.into(),
            "ready".into(),
            self.now.into(),
            0_i64.into(),
            160_i64.into(),
            0_i64.into(),
            self.now.into(),
        ]
    }

    fn audit(&self) -> Vec<Value> {
        let mac: Vec<u8> = self.random.iter().skip(32).copied().collect();
        vec![
            self.tenant.into(),
            self.audit.into(),
            self.now.into(),
            "system".into(),
            "messaging".into(),
            "receive".into(),
            "inbound-text".into(),
            format!("[{{\"kind\":\"message\",\"id\":\"{}\"}}]", self.message).into(),
            "success".into(),
            format!("{{\"sealed_under\":\"{}\"}}", self.job).into(),
            1_i64.into(),
            mac.into(),
        ]
    }
}

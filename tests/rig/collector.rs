//! A collector of OpenTelemetry traces that keeps what it is sent (OTLP over HTTP, protobuf).

use anyhow::{Context as _, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use chartwire::{db::sql, kernel::Id, messaging::Message};
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use crate::stored::Stored;

/// What is done about each text that stands in the chart.
const STEPS: [&str; 3] = ["receive", "TextReceived", "file"];

/// The collector, as long as the run.
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let bodies = Arc::<Mutex<Vec<Bytes>>>::default();
        let app = Router::new().route("/v1/traces", post(keep)).with_state(Arc::clone(&bodies));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, bodies })
    }

    /// Everything it was sent.
    pub(crate) fn told(&self) -> Vec<u8> {
        self.bodies.lock().unwrap().concat()
    }

    /// The spans of each trace.
    fn traces(&self) -> Result<BTreeMap<Vec<u8>, Vec<Span>>> {
        let mut traces: BTreeMap<Vec<u8>, Vec<Span>> = BTreeMap::new();
        for body in self.bodies.lock().unwrap().iter() {
            let told = ExportTraceServiceRequest::decode(body.clone()).context("what was sent is no OTLP")?;
            for span in told.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans) {
                traces.entry(span.trace_id.clone()).or_default().push(span);
            }
        }
        Ok(traces)
    }

    /// Whether each text that came in and stands in the chart can be followed from its webhook to there in the trace that
    /// bears its id, the write to the EHR among its spans. How many there were.
    ///
    /// # Errors
    /// When one cannot be followed.
    pub(crate) async fn follows_texts_into_the_chart(&self, stored: &Stored) -> Result<usize> {
        let filed = "SELECT DISTINCT m.id AS id FROM message m JOIN chart_filing f ON f.tenant = m.tenant AND f.message = m.id \
             WHERE m.direction = 'in' AND f.reference IS NOT NULL";
        let filed = stored.db.all(sql(filed)).await?;
        let traces = self.traces()?;
        for row in &filed {
            let id: Id<Message> = row.get("id")?;
            let spans = traces.get(id.as_bytes().as_slice()).with_context(|| format!("there is no trace of {id}"))?;
            let named: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
            for step in STEPS {
                ensure!(named.contains(step), "the trace of {id} has no {step}: {named:?}");
            }
            ensure!(
                writes_into_the_chart(spans),
                "the trace of {id} has no write to the EHR within its filing: {named:?}"
            );
        }
        Ok(filed.len())
    }
}

async fn keep(State(bodies): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes) -> StatusCode {
    bodies.lock().unwrap().push(body);
    StatusCode::OK
}

/// A request that writes, somewhere under the filing.
fn writes_into_the_chart(spans: &[Span]) -> bool {
    let parents: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let under_filing = |span: &Span| {
        let mut at = Some(span);
        while let Some(span) = at {
            if span.name == "file" {
                return true;
            }
            at = parents.get(span.parent_span_id.as_slice()).copied();
        }
        false
    };
    spans.iter().any(|span| matches!(span.name.as_str(), "fhir POST" | "fhir PUT") && under_filing(span))
}

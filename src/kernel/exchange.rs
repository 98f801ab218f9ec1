//! One request to somebody outside, measured: how many, how they end, how long they take.
//!
//! Whoever speaks to an EHR, a carrier or a key service begins an [`Exchange`] and says how it ended. Always: what is
//! recorded is the host and the outcome, never the path, the query or a body.

use std::time::Instant;
use tracing::Span;
use url::Url;

/// How a request that had no whole answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke off.
    Interrupted,
    /// The answer was larger than is read.
    TooLarge,
    /// Withheld by us: it was too late to send.
    Withheld,
}

impl Unanswered {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::TooLarge => "too-large",
            Self::Withheld => "withheld",
        }
    }
}

/// A request that is under way. One that is dropped before it ended counts as `abandoned`.
pub struct Exchange {
    party: &'static str,
    host: String,
    began: Instant,
    span: Span,
    ended: bool,
}

impl Exchange {
    /// Begins one with `party` (`fhir`, `oauth`, `twilio`, …) at the host of `url`.
    #[must_use]
    pub fn begin(party: &'static str, method: &str, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let span = tracing::info_span!(
            "outside",
            otel.name = format!("{party} {method}"),
            otel.kind = "client",
            party,
            host,
            method,
            outcome = tracing::field::Empty
        );
        Self { party, host, began: Instant::now(), span, ended: false }
    }

    /// The span that the request's own work stands in.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The head of an answer came with this status, and its body with it.
    pub fn answered(mut self, status: u16) {
        self.end(&status.to_string());
    }

    /// There was no whole answer.
    pub fn unanswered(mut self, how: Unanswered) {
        self.end(how.as_str());
    }

    fn end(&mut self, outcome: &str) {
        self.ended = true;
        self.span.record("outcome", outcome);
        let (party, host) = (self.party, self.host.clone());
        metrics::counter!("chartwire_outside_requests_total", "party" => party, "host" => host.clone(), "outcome" => outcome.to_owned())
            .increment(1);
        metrics::histogram!("chartwire_outside_request_seconds", "party" => party, "host" => host)
            .record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.end("abandoned");
        }
    }
}

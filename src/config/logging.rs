//! What is logged, how, and what is kept out of it.
//!
//! Lines go to standard error; standard output belongs to the commands. Other crates' events pass only from warnings
//! upwards, and those of crates that put URLs, headers or statements into theirs not at all: a FHIR search URL may
//! name a patient.

use super::{LogFormat, LogSettings};
use crate::kernel::{Id, IdSource, Instruments};
use axum::extract::MatchedPath;
use http::{HeaderValue, Request};
use std::{io, panic, sync::Arc};
use tower_http::{
    request_id::{MakeRequestId, RequestId},
    trace::MakeSpan,
};
use tracing::{Level, Span, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// Crates whose events may hold a URL, a header, a statement or a body.
const SILENCED: [&str; 8] = ["fhir_sdk", "h2", "hyper", "hyper_util", "oauth2", "reqwest", "sqlx", "tower_http"];

/// Logging was already set up in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging can be set up once only, at the start")]
pub struct LoggingError;

/// Sets up logging for this process, and a panic hook that logs where a panic was but never its message, which may
/// hold what was being worked on.
///
/// # Errors
/// [`LoggingError`] at the second call.
pub fn install(settings: LogSettings) -> Result<(), LoggingError> {
    subscriber(settings, io::stderr).try_init().map_err(|_| LoggingError)?;
    hook_panics();
    Ok(())
}

/// The same, and spans become traces.
///
/// # Errors
/// [`LoggingError`] at the second call.
#[cfg(feature = "otel")]
pub fn install_with(settings: LogSettings, traces: &super::traces::Traces) -> Result<(), LoggingError> {
    // What is traced does not hang on how much is logged.
    let spans = traces.layer().with_filter(targets(Level::INFO));
    subscriber(settings, io::stderr).with(spans).try_init().map_err(|_| LoggingError)?;
    hook_panics();
    Ok(())
}

fn hook_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location();
        tracing::error!(
            file = place.map(panic::Location::file),
            line = place.map(panic::Location::line),
            "a part of the program panicked"
        );
    }));
}

fn subscriber<W>(settings: LogSettings, writer: W) -> impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = match settings.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(targets(settings.level)))
}

fn targets(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN.min(LevelFilter::from_level(level)))
        .with_target("chartwire", level)
        .with_targets(SILENCED.map(|target| (target, LevelFilter::OFF)))
}

/// The kind of [`RequestIds`]' ids.
enum HttpRequest {}

/// Gives each HTTP request an id of our own; one that the client sent is not believed.
#[derive(Clone)]
pub struct RequestIds(Arc<IdSource>);

impl RequestIds {
    /// Ids from the program's source.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        Self(Arc::clone(&instruments.ids))
    }
}

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id: Id<HttpRequest> = self.0.next();
        HeaderValue::from_str(&id.to_string()).ok().map(RequestId::new)
    }
}

/// The span that a request's lines stand in: its method, its id and the route that it matched, never its URL.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpan;

impl<B> MakeSpan<B> for RequestSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let extensions = request.extensions();
        let id = extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        tracing::info_span!("request", request_id = id, method = request.method().as_str(), route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{ManualClock, SeededEntropy};
    use std::sync::{Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: Level, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(LogSettings { format, level }, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        lines.text()
    }

    #[test]
    fn a_json_line_carries_its_request() {
        let text = logged(LogFormat::Json, Level::INFO, || {
            let mut request = Request::post("/fhir/notify?patient=canary").body(()).unwrap();
            let clock = Arc::new(ManualClock::at("2026-03-02T15:00:00Z".parse().unwrap()));
            let instruments = Instruments::new(clock, Arc::new(SeededEntropy::new(1)));
            let id = RequestIds::new(&instruments).make_request_id(&request).unwrap();
            request.extensions_mut().insert(id);
            RequestSpan.make_span(&request).in_scope(|| tracing::info!(count = 3, "done"));
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["count"]), (&"done".into(), &3.into()));
        assert_eq!(line["span"]["method"], "POST");
        assert_eq!(line["span"]["request_id"].as_str().unwrap().len(), 36);
        assert!(!text.contains("canary"));
    }

    #[test]
    fn crates_that_log_urls_are_silent_at_every_level() {
        let text = logged(LogFormat::Text, Level::DEBUG, || {
            tracing::error!(target: "hyper_util::client", "canary");
            tracing::info!(target: "fhir_sdk::client", "canary");
            tracing::warn!(target: "sqlx::query", "canary");
            tracing::info!(target: "some_other_crate", "canary");
            tracing::warn!(target: "some_other_crate", "of note");
            tracing::debug!("ours");
        });
        assert!(text.contains("ours") && text.contains("of note"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

//! OpenTelemetry traces, sent to a collector by OTLP over HTTP where the settings name one.
//!
//! A span holds what a log line may hold: ids, codes, counts and names of routes, hosts and job kinds. What is done about
//! one text stands in one trace, whose id is the text's own ([`about_text`](crate::kernel::about_text)). Always: a
//! collector that is slow or away costs traces, never a request or a job.

use super::TraceSettings;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

/// How long the last spans may take to leave when the process ends.
const LAST_WORD: Duration = Duration::from_secs(3);

/// The traces of this process, as long as it lives.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// The exporter cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to the collector: {reason}; check traces.collector")]
pub struct TracesError {
    reason: String,
}

impl Traces {
    /// Makes traces as the settings say. Nothing is sent before the first span has ended.
    ///
    /// # Errors
    /// [`TracesError`] when the exporter cannot be made.
    pub fn to_collector(settings: &TraceSettings) -> Result<Self, TracesError> {
        let wrong = |reason: String| TracesError { reason };
        let endpoint = settings.collector.join("v1/traces").map_err(|error| wrong(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("chartwire")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // By the trace's id alone, so that a text's spans are all there or none, on every node.
            .with_sampler(Sampler::TraceIdRatioBased(f64::from(settings.percent) / 100.0))
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// The layer that turns spans into traces.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("chartwire"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
    }
}

impl Drop for Traces {
    /// Sends what is left. Blocks for some seconds at most.
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WORD) {
            tracing::warn!(%error, "the last traces are lost");
        }
    }
}

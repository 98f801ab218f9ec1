//! The trace of one text: everything that is done about it, on whichever node and whenever, stands in the trace whose id is
//! the text's own.
//!
//! Nothing has to be carried from the webhook through job rows to the chart for that, and who has a text's id from the
//! audit log finds its trace. Without the feature `otel` the spans are there for the log lines alone.

use super::Id;
use tracing::Span;

/// A span named `step` about `text`, in the text's own trace. Where it comes about is linked to it.
#[must_use]
pub fn about_text<K>(step: &'static str, text: Id<K>) -> Span {
    let span = tracing::info_span!("text", otel.name = step, text = %text);
    #[cfg(feature = "otel")]
    in_trace_of(&span, text);
    span.follows_from(Span::current());
    span
}

#[cfg(feature = "otel")]
fn in_trace_of<K>(span: &Span, text: Id<K>) {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let id = text.as_bytes();
    // The root is no span of anybody's: its id is the random half of the text's.
    let Some(random) = id.last_chunk() else { return };
    let root = SpanId::from_bytes(*random);
    let context = SpanContext::new(TraceId::from_bytes(*id), root, TraceFlags::SAMPLED, true, TraceState::default());
    // Refused only where no trace is being made.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
}

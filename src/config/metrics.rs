//! The recorder behind `metrics::counter!` and its kin, and what `/metrics` shows of it.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Buckets of every histogram, in seconds: from a database read to a carrier's time-out.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Renders what has been recorded since the start. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// The process already has a recorder, or the buckets are empty.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded; install them once, at the start")]
pub struct MetricsError;

impl Metrics {
    /// Makes the process record its metrics. Called once, at the start.
    ///
    /// # Errors
    /// [`MetricsError`] at the second call.
    pub fn install() -> Result<Self, MetricsError> {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).map_err(|_| MetricsError)?;
        builder.install_recorder().map(Self).map_err(|_| MetricsError)
    }

    /// The metrics in Prometheus' text format 0.0.4. Labels carry no patient data: whoever records sees to that.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// What `/metrics` renders with.
    #[must_use]
    pub fn handle(&self) -> PrometheusHandle {
        self.0.clone()
    }

    /// Folds what histograms have collected. Called now and then, so that memory stays bounded between renderings.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_and_a_second_recorder_is_refused() {
        let metrics = Metrics::install().unwrap();
        metrics::counter!("chartwire_texts_total", "direction" => "in").increment(2);
        metrics::histogram!("chartwire_request_seconds").record(0.3);
        let text = metrics.render();
        assert!(text.contains("chartwire_texts_total{direction=\"in\"} 2"), "{text}");
        assert!(text.contains("chartwire_request_seconds_bucket{le=\"0.5\"} 1"), "{text}");
        assert!(Metrics::install().is_err());
    }
}

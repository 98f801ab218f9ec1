//! Figures as JSON lines, each beside its limit: the least work that any program would have to do for the same, measured
//! in the same run by the same client.

use crate::database::Engine;
use serde_json::{Value, json};
use std::time::Duration;

/// Which benchmark.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Benchmark {
    Webhook,
    Send,
    Chart,
    Sweep,
    Start,
}

/// How benchmarks are run.
#[derive(Debug, clap::Parser)]
pub(crate) struct Arguments {
    /// Only these (default: all).
    pub(crate) benchmarks: Vec<Benchmark>,
    /// A small size, to see that it works; its figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this database (default: both).
    #[arg(long)]
    pub(crate) database: Option<Engine>,
    /// How many visits `sweep` plans.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) appointments: usize,
    /// How often it is measured; medians are printed.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Arguments {
    pub(crate) fn engines(&self) -> Vec<Engine> {
        self.database.map_or_else(|| vec![Engine::Sqlite, Engine::Postgres], |engine| vec![engine])
    }

    /// The full size, or the quick one.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }
}

/// So many in so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) count: usize,
    pub(crate) took: Duration,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// One round: ours, and the limit.
pub(crate) struct Round {
    pub(crate) ours: Measured,
    pub(crate) limit: Measured,
}

/// What the figures are about.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) database: Engine,
    pub(crate) what: &'a str,
    pub(crate) limit: &'a str,
    pub(crate) unit: &'a str,
    /// The share of the limit that is wanted; none where the line only informs.
    pub(crate) goal: Option<f64>,
}

/// Prints the medians of `rounds` and gives that of ours. Ratios are taken round by round: the machine's speed drifts.
pub(crate) fn compare(subject: &Subject<'_>, rounds: &[Round], more: &Value) -> f64 {
    let rates = |pick: fn(&Round) -> f64| rounds.iter().map(pick).collect::<Vec<f64>>();
    let ours = rates(|round| round.ours.per_second());
    let limits = rates(|round| round.limit.per_second());
    let ratios = rates(|round| round.ours.per_second() / round.limit.per_second());
    let ratio = median(&ratios);
    print(&json!({
        "name": subject.name,
        "database": subject.database.to_string(),
        "what": subject.what,
        "limit_is": subject.limit,
        "unit": subject.unit,
        "measured": rounded(median(&ours)),
        "limit": rounded(median(&limits)),
        "ratio": rounded(ratio),
        "goal": subject.goal,
        "met": subject.goal.map(|goal| ratio >= goal),
        "rounds": {
            "measured": ours.iter().copied().map(rounded).collect::<Vec<f64>>(),
            "limit": limits.iter().copied().map(rounded).collect::<Vec<f64>>(),
            "ratio": ratios.iter().copied().map(rounded).collect::<Vec<f64>>(),
        },
        "seconds": rounds.iter().map(|round| rounded(round.ours.took.as_secs_f64())).collect::<Vec<f64>>(),
        "count": rounds.iter().map(|round| round.ours.count).collect::<Vec<usize>>(),
        "more": more,
    }));
    median(&ours)
}

#[expect(clippy::print_stdout, reason = "the figures are what a benchmark is for")]
pub(crate) fn print(line: &Value) {
    println!("{line}");
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// To three decimals below ten, to one above: more would only look exact.
pub(crate) fn rounded(value: f64) -> f64 {
    let scale = if value.abs() < 10.0 { 1000.0 } else { 10.0 };
    (value * scale).round() / scale
}

//! How much memory a process takes.

use anyhow::{Context as _, Result, bail};
use std::fs;

/// What a process takes, in megabytes of 1 000 000 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) peak: f64,
}

impl Memory {
    /// Of the process with this id, or of `self`.
    pub(crate) fn of(process: &str) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("not in /proc")?;
            let Some(kibibytes) = line.split_whitespace().next() else { bail!("not in /proc") };
            Ok(kibibytes.parse::<f64>()? * 1024.0 / 1_000_000.0)
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// The peak of this process is what it takes from now on.
    pub(crate) fn forget_peak() -> Result<()> {
        Ok(fs::write("/proc/self/clear_refs", "5")?)
    }
}

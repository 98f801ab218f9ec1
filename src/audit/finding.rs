//! What can be wrong with a log, in words for an operator.

use super::AuditRow;
use crate::kernel::Id;
use jiff::Timestamp;
use std::fmt;

/// Where rows are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// From the beginning on.
    First,
    /// Between two rows.
    Middle,
    /// At the end.
    Last,
}

/// One thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A column of a row differs from what was written, or the row was never written by the program.
    Changed {
        /// The row.
        row: Id<AuditRow>,
        /// Its place, if it has one.
        seq: Option<i64>,
    },
    /// Rows were removed.
    Missing {
        /// The place of the first that is missing.
        first_seq: i64,
        /// The place of the last of them.
        last_seq: i64,
        /// Where that is.
        position: Position,
    },
    /// A row as it was written stands in another place than the sealer gave it.
    Moved {
        /// The row.
        row: Id<AuditRow>,
        /// The place where it stands now.
        seq: i64,
    },
    /// A row stands beyond the end that the head gives.
    BeyondHead {
        /// The row.
        row: Id<AuditRow>,
        /// Its place.
        seq: i64,
    },
    /// The head was changed.
    HeadForged,
    /// There are sealed rows and no head.
    HeadMissing,
    /// The log ends before the exported head: it was put back to an older state, or its end was removed with the head.
    BehindExport {
        /// Where the log ends.
        last_seq: i64,
        /// Where it ended when it was exported.
        exported_seq: i64,
    },
    /// The log differs from the exported head at its place: it was put back and has grown since, or was rewritten.
    ExportDiffers {
        /// The row there.
        row: Id<AuditRow>,
        /// Its place.
        seq: i64,
    },
    /// The exported head was changed, or belongs to another tenant or another installation.
    ExportForged,
    /// A row waits for the sealer for too long: the sealer does not run, or refuses to.
    Unsealed {
        /// The row.
        row: Id<AuditRow>,
        /// When it was written.
        since: Timestamp,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { row, seq: Some(seq) } => write!(f, "row {row} (number {seq}) was changed"),
            Self::Changed { row, seq: None } => write!(f, "row {row} (not sealed) was changed"),
            Self::Missing { first_seq, last_seq, position } => {
                let place = match position {
                    Position::First => "at the beginning",
                    Position::Middle => "in the middle",
                    Position::Last => "at the end",
                };
                if first_seq == last_seq {
                    write!(f, "row number {first_seq} was removed {place}")
                } else {
                    write!(f, "rows number {first_seq} to {last_seq} were removed {place}")
                }
            }
            Self::Moved { row, seq } => write!(f, "row {row} was moved: it does not belong at number {seq}"),
            Self::BeyondHead { row, seq } => {
                write!(f, "row {row} (number {seq}) stands beyond the head: row or head was changed")
            }
            Self::HeadForged => f.write_str("the head was changed"),
            Self::HeadMissing => f.write_str("the head was removed"),
            Self::BehindExport { last_seq, exported_seq } => {
                write!(f, "the log ends at number {last_seq}, but number {exported_seq} was exported: it was put back")
            }
            Self::ExportDiffers { row, seq } => {
                write!(
                    f,
                    "row {row} (number {seq}) is not the one that was exported: the log was put back or rewritten"
                )
            }
            Self::ExportForged => f.write_str("the exported head was changed, or is not of this tenant"),
            Self::Unsealed { row, since } => write!(f, "row {row} waits for the sealer since {since}"),
        }
    }
}

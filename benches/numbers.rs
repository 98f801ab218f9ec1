//! Phone numbers, as many as are asked for.

/// The number of the phone with this rank: all exist in New York's numbering plan.
pub(crate) fn phone(rank: usize) -> String {
    format!("+1212{}{:04}", 200 + rank / 10_000 % 355, rank % 10_000)
}

//! Every column that holds sealed values, in one list, so that none is forgotten when data keys are replaced.

use crate::vault::{RowKind, SealedColumn};

/// The columns that are sealed anew. The schema marks each with a comment that begins with `sealed`.
///
/// `launch_state.body` is not among them: its place is named by a value that is nowhere stored, and it is gone after
/// minutes. Until then it opens under its old key.
pub(super) fn all() -> Vec<SealedColumn> {
    vec![
        SealedColumn::new("patient", "identity"),
        SealedColumn::new("patient", "chart_terms"),
        SealedColumn::keyed("patient_number", "patient", RowKind::Id, "number"),
        SealedColumn::new("consent_entry", "proof"),
        SealedColumn::new("message", "number"),
        SealedColumn::new("message", "parameters"),
        SealedColumn::new("message", "body"),
        SealedColumn::keyed("appointment", "fhir_id", RowKind::Text, "labels"),
        SealedColumn::new("staff_user", "name"),
        SealedColumn::new("session", "grant_tokens"),
        SealedColumn::new("draft", "body"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    /// Columns of bytes that are no sealed values: ids, hashes, tokens, MACs and wrapped keys.
    const NOT_SEALED: [&str; 24] = [
        "id",
        "tenant",
        "patient",
        "merged_into",
        "number_token",
        "message",
        "attempt",
        "unsettled_attempt",
        "conversation",
        "content_hash",
        "in_response_to",
        "workflow",
        "question",
        "closed_by",
        "staff_user",
        "state_hash",
        "token_hash",
        "lease_token",
        "wrapped",
        "check_value",
        "request",
        "mac",
        "chain",
        "last_chain",
    ];

    /// The schema's columns of bytes, as `table.column`: those marked as sealed, and the others.
    fn columns_of_bytes(folder: &str, bytes: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let (mut sealed, mut others) = (BTreeSet::new(), BTreeSet::new());
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let (mut table, mut comment) = ("", "");
            for line in text.lines().map(str::trim) {
                let mut words = line.split_whitespace();
                match (words.next(), words.next(), words.next()) {
                    (Some("CREATE"), Some("TABLE"), Some(name)) => table = name,
                    // What functions and blocks declare is no column.
                    (Some("CREATE" | "DO"), ..) => table = "",
                    (Some("--"), ..) => {
                        comment = line;
                        continue;
                    }
                    (Some(column), Some(kind), _) if !table.is_empty() && kind.trim_end_matches(',') == bytes => {
                        let marked = comment.starts_with("-- sealed");
                        if marked { &mut sealed } else { &mut others }.insert(format!("{table}.{column}"));
                    }
                    _ => {}
                }
                comment = "";
            }
        }
        (sealed, others)
    }

    #[test]
    fn the_list_is_what_the_schema_marks_as_sealed() {
        let mut listed: BTreeSet<String> = all().iter().map(ToString::to_string).collect();
        assert_eq!(listed.len(), all().len(), "no column is walked twice");
        listed.insert("launch_state.body".to_owned());
        for (folder, bytes) in [("sqlite", "BLOB"), ("postgres", "BYTEA")] {
            let (sealed, others) = columns_of_bytes(folder, bytes);
            assert_eq!(sealed, listed, "{folder}");
            for column in others {
                let name = column.split_once('.').unwrap().1;
                assert!(NOT_SEALED.contains(&name), "{folder}: is {column} sealed? Mark it so and list it here");
            }
        }
    }
}

//! How SQLite finds what a statement asks for: by an index that leads there, never by a walk through a table that grows.
//!
//! Without statistics SQLite takes what looks good in the statement; a walk through a tenant's rows in the right order can
//! look better to it than an index. On a test's few rows nobody notices. PostgreSQL has statistics, and the same indexes.

use crate::database::TestDatabase;
use chartwire::db::{Db, sql_built};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What grows with every text, visit or patient.
const GROWS: [&str; 20] = [
    "message",
    "attempt",
    "delivery_event",
    "reading",
    "chart_filing",
    "message_dedupe",
    "conversation",
    "number_line",
    "question",
    "staff_task",
    "workflow",
    "audit_row",
    "patient",
    "patient_ehr_id",
    "patient_number",
    "consent_entry",
    "appointment",
    "reminder_plan",
    "refill_notice",
    "ehr_write",
];

/// Walks that are meant: how the statement begins, and why.
const MEANT: [(&str, &str); 11] = [
    ("SELECT tenant, COUNT(id) AS unsealed FROM audit_row", "through the index of what is not sealed yet"),
    ("SELECT team, urgency, COUNT(*) AS tasks FROM staff_task", "through the index of what is open"),
    ("SELECT tenant, team, urgency, COUNT(*) AS tasks", "through the index of what is open"),
    ("SELECT MIN(at) AS oldest FROM audit_row", "once, when a database that was put back is noticed"),
    ("SELECT MAX(at) AS newest FROM audit_row", "once, when a database that was put back is noticed"),
    ("SELECT COALESCE(MAX(seq), 0) AS last FROM audit_row", "one step from the end of an index"),
    (
        "SELECT appointment, start_at, days_before, due_at, state, reason FROM reminder_plan",
        "its beginning; its end names the visits",
    ),
    ("SELECT CAST(SUM(unread) AS BIGINT) AS n FROM number_line", "while a database is recovered"),
    ("SELECT 1 AS unread FROM number_line", "while a database is recovered"),
    (
        "SELECT COUNT(*) AS n FROM message WHERE tenant = $1 AND direction = 'out' AND state = 'unknown'",
        "while a database is recovered",
    ),
    ("SELECT MIN(committed_at) AS oldest FROM attempt", "while a database is recovered"),
];

/// The program's own sources; what the sandbox asks is nobody's.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["sandbox", "tests", "demo"].contains(&name.as_str()) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The string literals of a source, with their line continuations taken out.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find('"') {
        let (mut text, mut end, mut escaped) = (String::new(), None, false);
        let body = &rest[start + 1..];
        let mut skipping = false;
        for (at, c) in body.char_indices() {
            match c {
                _ if skipping && c.is_whitespace() => {}
                '\n' if escaped => (escaped, skipping) = (false, true),
                _ if escaped => {
                    escaped = false;
                    text.push(c);
                }
                '\\' => (escaped, skipping) = (true, false),
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {
                    skipping = false;
                    text.push(c);
                }
            }
        }
        let Some(end) = end else { break };
        found.push(text);
        rest = &body[end + 1..];
    }
    found
}

/// `const NAME: &str = "…"`, so that statements built of such parts are whole.
fn constants(source: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (at, _) in source.match_indices("const ") {
        let Some((name, rest)) = source[at + 6..].split_once(": &str") else { continue };
        let rest = rest.trim_start_matches([' ', '=', '\n']);
        if rest.starts_with('"') && !name.contains(char::is_whitespace) {
            found.insert(name.to_owned(), literals(rest).swap_remove(0));
        }
    }
    found
}

/// The statements of the program that are written down whole, or of constant parts.
fn statements() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let shared =
        constants(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/patient/mod.rs")).unwrap());
    let mut statements = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        let parts = constants(&source);
        for mut literal in literals(&source) {
            for (name, part) in parts.iter().chain(&shared) {
                literal = literal.replace(&format!("{{{name}}}"), part);
            }
            let verb = literal.split(' ').next().unwrap_or_default();
            if ["SELECT", "UPDATE", "DELETE", "INSERT", "WITH"].contains(&verb) && !literal.contains('{') {
                statements.insert(literal);
            }
        }
    }
    statements
}

/// The names by which a statement speaks of the tables that grow.
fn growing(statement: &str) -> BTreeSet<String> {
    let words: Vec<&str> = statement.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
    let mut names = BTreeSet::new();
    for pair in words.windows(3) {
        if ["FROM", "JOIN", "UPDATE", "INTO"].contains(&pair[0]) && GROWS.contains(&pair[1]) {
            names.insert(pair[1].to_owned());
            names.insert(pair[2].to_owned());
        }
    }
    names
}

/// A step of a plan that grows with the table: all of it, or all that the tenant has.
fn walks(step: &str, names: &BTreeSet<String>) -> bool {
    let mut words = step.split(' ');
    let (verb, table) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    names.contains(table) && (verb == "SCAN" || step.ends_with("(tenant=?)"))
}

#[tokio::test]
async fn no_statement_walks_through_what_grows() {
    let database = TestDatabase::sqlite();
    let db = Db::open(database.url()).await.unwrap();
    let statements = statements();
    let (mut seen, mut wrong, mut meant) = (0, Vec::new(), BTreeSet::new());
    for statement in &statements {
        let names = growing(statement);
        // Parts of statements do not parse by themselves.
        let Ok(plan) = db.all(sql_built(format!("EXPLAIN QUERY PLAN {statement}"))).await else { continue };
        seen += 1;
        let steps: Vec<String> = plan.iter().map(|step| step.get("detail").unwrap()).collect();
        if steps.iter().any(|step| walks(step, &names)) {
            match MEANT.iter().find(|(begins, _)| statement.starts_with(begins)) {
                Some((begins, _)) => _ = meant.insert(*begins),
                None => wrong.push(format!("{statement}\n    {}", steps.join("\n    "))),
            }
        }
    }
    db.close().await;
    assert!(seen > 250, "only {seen} of {} statements were understood", statements.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let idle: Vec<_> = MEANT.iter().filter(|(begins, _)| !meant.contains(begins)).collect();
    assert!(idle.is_empty(), "no longer needed: {idle:?}");
}

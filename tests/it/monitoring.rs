//! What dashboards, alerts and documentation say of the metrics is true: each that they name is recorded, each that is
//! recorded is explained, and each alert says what to do.

use std::{collections::BTreeSet, fs, path::Path};

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

/// Every name in `text` that begins like a metric's, after `before`.
fn names(text: &str, before: &str) -> BTreeSet<String> {
    let begin = format!("{before}chartwire_");
    let ends = |c: char| !c.is_ascii_lowercase() && c != '_';
    let name = |(at, _): (usize, &str)| {
        let rest = &text[at + before.len()..];
        rest[..rest.find(ends).unwrap_or(rest.len())].to_owned()
    };
    text.match_indices(&begin).map(name).collect()
}

/// A histogram's series by the histogram's name.
fn metric(series: &str) -> &str {
    let ends = ["_bucket", "_count", "_sum"];
    ends.iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn dashboards_alerts_and_documentation_name_the_metrics_that_there_are() {
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let recorded = names(&source, "\"");
    let explained = names(&read("docs/monitoring.md"), "| `");
    assert_eq!(explained, recorded, "the table in docs/monitoring.md");
    for file in ["deploy/prometheus/chartwire.rules.yml", "deploy/grafana/chartwire.json", "docs/monitoring.md"] {
        for series in names(&read(file), "") {
            assert!(recorded.contains(metric(&series)), "{file} names {series}, which nothing records");
        }
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let (rules, documentation) = (read("deploy/prometheus/chartwire.rules.yml"), read("docs/monitoring.md"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        assert!(documentation.contains(&format!("\n### {alert}\n")), "{alert}");
        assert!(rules.contains(&format!("runbook: docs/monitoring.md#{}\n", alert.to_lowercase())), "{alert}");
    }
}

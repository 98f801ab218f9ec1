//! Environment variables that set keys, laid over the file before it is read.

use super::{
    mistake::Mistake,
    surroundings::{OVERRIDE_PREFIX, Surroundings},
};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Which variable set the key of this path.
pub(super) type Origins = BTreeMap<String, String>;

/// Sets each key that a variable names. A number in a name picks an element of a list that the file has:
/// `CHARTWIRE__TENANTS__0__ZONE`. Whether the key exists is found out when the settings are read.
pub(super) fn apply(root: &mut Table, surroundings: &dyn Surroundings) -> (Origins, Vec<Mistake>) {
    let mut origins = Origins::new();
    let mut mistakes = Vec::new();
    for (name, text) in surroundings.overrides() {
        let Some(rest) = name.strip_prefix(OVERRIDE_PREFIX) else { continue };
        let lower = rest.to_lowercase();
        let segments: Vec<&str> = lower.split("__").collect();
        match set(root, &segments, value_of(&text)) {
            Ok(path) => {
                origins.insert(path, name);
            }
            Err(fix) => mistakes.push(Mistake {
                key: segments.join("."),
                variable: Some(name),
                problem: "there is no such place in the configuration file".to_owned(),
                fix,
            }),
        }
    }
    (origins, mistakes)
}

/// A table or a list is written as in TOML; everything else is text, which the reader takes as a number or a truth
/// value where its key asks for one.
fn value_of(text: &str) -> Value {
    if text.starts_with(['{', '[']) { read_as_toml(text) } else { None }
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// `text` as the right side of a TOML assignment.
pub(super) fn read_as_toml(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// Sets the key and answers its path; an error is the fix.
fn set(root: &mut Table, segments: &[&str], value: Value) -> Result<String, String> {
    let (last, parents) = segments.split_last().ok_or("name a key")?;
    let mut table = root;
    let mut path = String::new();
    let mut parents = parents.iter().peekable();
    while let Some(segment) = parents.next() {
        push(&mut path, segment);
        let child = table.entry(*segment).or_insert_with(|| Value::Table(Table::new()));
        table = match child {
            Value::Table(child) => child,
            Value::Array(elements) => {
                let length = elements.len();
                let index = parents.next().and_then(|index| index.parse::<usize>().ok());
                let chosen = index.and_then(|index| Some((index, elements.get_mut(index)?.as_table_mut()?)));
                let (index, child) = chosen.ok_or_else(|| {
                    format!("{path} is a list of {length} in the file; name one by its number, counted from 0")
                })?;
                path = format!("{path}[{index}]");
                child
            }
            _ => return Err(format!("{path} is a value, not a section; take off what follows it")),
        };
    }
    push(&mut path, last);
    table.insert((*last).to_owned(), value);
    Ok(path)
}

fn push(path: &mut String, segment: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(segment);
}

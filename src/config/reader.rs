//! Reads typed values out of a TOML table and collects every mistake on the way, instead of stopping at the first.
//!
//! A section is asked for all its keys before any answer is looked at; when it is dropped, whatever nobody asked for
//! is reported as unknown. A key that has a mistake answers `None`, and the mistake is already noted.

use super::{
    mistake::Mistake,
    overrides::{Origins, read_as_toml},
    secret::Secret,
    surroundings::Surroundings,
    value::{Parsed, Wrong},
};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use toml::{Table, Value};
use zeroize::Zeroizing;

/// One reading of one configuration.
pub(super) struct Reader<'s> {
    surroundings: &'s dyn Surroundings,
    /// Relative paths start here: the folder of the configuration file.
    folder: PathBuf,
    origins: Origins,
    mistakes: RefCell<Vec<Mistake>>,
    /// The path of every key that was asked for, with `[]` for any element of a list.
    asked: RefCell<BTreeSet<String>>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(
        surroundings: &'s dyn Surroundings,
        folder: &Path,
        origins: Origins,
        mistakes: Vec<Mistake>,
    ) -> Self {
        let mistakes = RefCell::new(mistakes);
        Self { surroundings, folder: folder.to_owned(), origins, mistakes, asked: RefCell::default() }
    }

    /// The whole file as a section.
    pub(super) fn root<'r>(&'r self, table: &'r Table) -> Section<'r, 's> {
        Section {
            reader: self,
            path: String::new(),
            pattern: String::new(),
            table: Some(table),
            asked: RefCell::default(),
        }
    }

    /// Every mistake so far, and every key that was asked for.
    pub(super) fn finish(self) -> (Vec<Mistake>, BTreeSet<String>) {
        (self.mistakes.into_inner(), self.asked.into_inner())
    }

    pub(super) fn report(&self, key: impl Into<String>, wrong: Wrong) {
        let key = key.into();
        let variable = self.origins.get(&key).cloned();
        self.mistakes.borrow_mut().push(Mistake { key, variable, problem: wrong.problem, fix: wrong.fix });
    }

    /// A path in the configuration, from the folder of its file.
    fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// `{ env = "NAME" }` or `{ file = "path" }`, resolved now.
    fn secret(&self, value: &Value) -> Parsed<Secret> {
        const FORM: &str = "write { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";
        let Value::Table(reference) = value else {
            return Err(Wrong::new("secrets do not stand in this file", FORM));
        };
        let mut entries = reference.iter();
        match (entries.next(), entries.next()) {
            (Some((kind, Value::String(name))), None) if kind == "env" => {
                let secret = self.surroundings.variable(name).filter(|secret| !secret.trim().is_empty());
                secret.map(Secret::new).ok_or_else(|| {
                    Wrong::new(format!("the environment variable {name} is not set"), "set it, or refer to another")
                })
            }
            (Some((kind, Value::String(path))), None) if kind == "file" => self.secret_file(path),
            (Some((kind, Value::String(name))), None) if kind == "credential" => self.credential(name),
            _ => Err(Wrong::new("this is no reference to a secret", FORM)),
        }
    }

    /// One of the files that systemd's `LoadCredential=` hands to whichever unit runs this.
    fn credential(&self, name: &str) -> Parsed<Secret> {
        let Some(folder) = self.surroundings.variable("CREDENTIALS_DIRECTORY") else {
            return Err(Wrong::new(
                "no credentials were handed to this process",
                "run it in a systemd unit with LoadCredential=, or use { file = \"path\" }",
            ));
        };
        if name.contains('/') {
            return Err(Wrong::new("this is no name of a credential", "write the name that stands in LoadCredential="));
        }
        self.secret_file(&format!("{}/{name}", folder.trim_end_matches('/')))
    }

    fn secret_file(&self, path: &str) -> Parsed<Secret> {
        let bytes = self.surroundings.file(&self.resolve(path)).map_err(|error| {
            Wrong::new(
                format!("the file {path} cannot be read ({})", error.kind()),
                "check the path (it starts at the configuration file's folder) and who may read it",
            )
        })?;
        let text = std::str::from_utf8(&bytes).map(str::trim).ok().filter(|text| !text.is_empty());
        text.map(|text| Secret::new(Zeroizing::new(text.to_owned())))
            .ok_or_else(|| Wrong::new(format!("the file {path} is empty or not text"), "write the secret into it"))
    }
}

/// A table of the configuration, with the keys that were asked for.
pub(super) struct Section<'r, 's> {
    reader: &'r Reader<'s>,
    path: String,
    pattern: String,
    /// `None`: the file does not have it; its required keys are then reported one by one.
    table: Option<&'r Table>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'r, 's> Section<'r, 's> {
    /// The path of `key` in this section.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a mistake about `key`.
    pub(super) fn report(&self, key: &str, wrong: Wrong) {
        self.reader.report(self.key(key), wrong);
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &'static str) -> Option<&'r Value> {
        self.asked.borrow_mut().insert(key);
        self.reader.asked.borrow_mut().insert(join(&self.pattern, key));
        self.table.and_then(|table| table.get(key))
    }

    /// Takes the value with `parse`; one that came from the environment may also be a number or a truth value.
    fn parsed<T>(&self, path: String, value: &Value, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        let result = parse(value).or_else(|wrong| match value {
            Value::String(text) if self.reader.origins.contains_key(&path) => {
                read_as_toml(text).and_then(|value| parse(&value).ok()).ok_or(wrong)
            }
            _ => Err(wrong),
        });
        result.map_err(|wrong| self.reader.report(path, wrong)).ok()
    }

    /// A value that must be there; `fix` says what to write when it is not.
    pub(super) fn required<T>(&self, key: &'static str, fix: &str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        let Some(value) = self.value(key) else {
            self.report(key, Wrong::new("this is missing", fix));
            return None;
        };
        self.parsed(self.key(key), value, parse)
    }

    /// A value that may be left out; the outer `None` means that it is there and wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn optional<T>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<Option<T>> {
        self.value(key).map_or(Some(None), |value| self.parsed(self.key(key), value, parse).map(Some))
    }

    /// A value with a default.
    pub(super) fn or<T>(&self, key: &'static str, default: T, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        self.optional(key, parse).map(|value| value.unwrap_or(default))
    }

    /// A list, each element taken with `parse`; an absent one is `None` inside.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn optional_list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<Option<Vec<T>>> {
        let path = self.key(key);
        let Some(value) = self.value(key) else { return Some(None) };
        let Value::Array(list) = value else {
            self.reader.report(path, Wrong::new("this is not a list", "write its elements between [ and ]"));
            return None;
        };
        let elements: Vec<Option<T>> = list
            .iter()
            .enumerate()
            .map(|(index, value)| self.parsed(format!("{path}[{index}]"), value, &parse))
            .collect();
        elements.into_iter().collect::<Option<Vec<T>>>().map(Some)
    }

    /// A list that may be left out or empty.
    pub(super) fn list<T>(&self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<Vec<T>> {
        self.optional_list(key, parse).map(Option::unwrap_or_default)
    }

    /// A list with one element at least; `fix` says what to write when it is missing or empty.
    pub(super) fn filled_list<T>(
        &self,
        key: &'static str,
        fix: &str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<Vec<T>> {
        let list = self.list(key, parse)?;
        if list.is_empty() {
            self.report(key, Wrong::new("one is needed at least", fix));
            return None;
        }
        Some(list)
    }

    /// A secret that must be there.
    pub(super) fn secret(&self, key: &'static str, what: &str) -> Option<Secret> {
        self.required(key, &format!("refer to {what}: {{ env = \"NAME\" }} or {{ file = \"path\" }}"), |value| {
            self.reader.secret(value)
        })
    }

    /// A secret that may be left out; the outer `None` means that it is there and wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn optional_secret(&self, key: &'static str) -> Option<Option<Secret>> {
        self.optional(key, |value| self.reader.secret(value))
    }

    /// A list of secrets, one at least, each checked with `check`.
    pub(super) fn secrets(
        &self,
        key: &'static str,
        fix: &str,
        check: impl Fn(&Secret) -> Parsed<()>,
    ) -> Option<Vec<Secret>> {
        self.filled_list(key, fix, |value| {
            let secret = self.reader.secret(value)?;
            check(&secret).map(|()| secret)
        })
    }

    /// A list of secrets that may be left out or empty.
    pub(super) fn optional_secrets(&self, key: &'static str) -> Option<Vec<Secret>> {
        self.list(key, |value| self.reader.secret(value))
    }

    /// Text that stands in the file, or a reference to a secret.
    pub(super) fn text_or_secret(&self, key: &'static str, fix: &str) -> Option<(Secret, Stands)> {
        self.required(key, fix, |value| match value {
            Value::String(text) => Ok((Secret::new(text.clone()), Stands::InTheFile)),
            _ => self.reader.secret(value).map(|secret| (secret, Stands::Elsewhere)),
        })
    }

    /// A path, from the folder of the configuration file.
    pub(super) fn path(&self, key: &'static str, fix: &str) -> Option<PathBuf> {
        self.required(key, fix, super::value::text).map(|path| self.reader.resolve(&path))
    }

    /// A section below this one; when the file has none, its required keys are reported.
    pub(super) fn section(&self, key: &'static str) -> Section<'r, 's> {
        let table = self.value(key).and_then(|value| self.table_of(self.key(key), value));
        self.child(self.key(key), join(&self.pattern, key), table)
    }

    /// A section that may be left out; the outer `None` means that it is there and wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn section_if_there<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let Some(value) = self.value(key) else { return Some(None) };
        let table = self.table_of(self.key(key), value)?;
        read(&self.child(self.key(key), join(&self.pattern, key), Some(table))).map(Some)
    }

    /// The sections of a list (`[[key]]`).
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'r, 's>> {
        let path = self.key(key);
        let Some(value) = self.value(key) else { return Vec::new() };
        let Value::Array(list) = value else {
            self.reader.report(path, Wrong::new("this is not a list of sections", format!("head each with [[{key}]]")));
            return Vec::new();
        };
        let pattern = format!("{}[]", join(&self.pattern, key));
        let numbered = list.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value));
        numbered
            .filter_map(|(path, value)| {
                let table = self.table_of(path.clone(), value)?;
                Some(self.child(path, pattern.clone(), Some(table)))
            })
            .collect()
    }

    fn table_of(&self, path: String, value: &'r Value) -> Option<&'r Table> {
        let table = value.as_table();
        if table.is_none() {
            self.reader.report(path, Wrong::new("this is not a section", "write it as a table with keys of its own"));
        }
        table
    }

    fn child(&self, path: String, pattern: String, table: Option<&'r Table>) -> Section<'r, 's> {
        Section { reader: self.reader, path, pattern, table, asked: RefCell::default() }
    }

    fn unknown(&self, key: &str) -> Wrong {
        let asked = self.asked.borrow();
        let nearest = asked
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, key), *known))
            .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
            .min();
        let fix = nearest.map_or_else(
            || format!("here stand {}", asked.iter().copied().collect::<Vec<_>>().join(", ")),
            |(_, known)| format!("did you mean {known}?"),
        );
        Wrong::new("there is no such key", fix)
    }
}

/// What nobody asked for is unknown. Done here, so that no section can forget it.
impl Drop for Section<'_, '_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        for key in table.keys().filter(|key| !self.asked.borrow().contains(key.as_str())) {
            self.report(key, self.unknown(key));
        }
    }
}

/// Where a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// In the configuration file itself.
    InTheFile,
    /// In the environment or a file of its own.
    Elsewhere,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

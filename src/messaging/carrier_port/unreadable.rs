//! What of a carrier's list cannot be read, and what it is called.

use std::{collections::BTreeSet, fmt};

/// Entries of a carrier's list that cannot be read; who asked must not believe that it has everything. Shown, it names
/// them by the carrier's ids, so that a person can look them up there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// What the carrier calls them, where that much can be read.
    pub ids: BTreeSet<String>,
    /// How many others there are.
    pub nameless: usize,
}

impl Unreadable {
    /// One more, by its id where that can be read.
    pub fn add(&mut self, id: Option<String>) {
        match id {
            Some(id) => drop(self.ids.insert(id)),
            None => self.nameless += 1,
        }
    }

    /// Those of another list as well.
    pub fn extend(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.nameless += other.nameless;
    }

    /// Those of the same list as well, read another time. What has no id counts as often as one of the times had it.
    pub fn overlay(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.nameless = self.nameless.max(other.nameless);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids.len() + self.nameless
    }

    /// Whether everything could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match (ids.is_empty(), self.nameless) {
            (false, 0) => f.write_str(&ids),
            (false, nameless) => write!(f, "{ids}, and {nameless} without an id"),
            (true, nameless) => write!(f, "{nameless} without an id"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(ids: &[&str], nameless: usize) -> Unreadable {
        Unreadable { ids: ids.iter().map(ToString::to_string).collect(), nameless }
    }

    #[test]
    fn entries_are_counted_once_and_named_where_they_have_names() {
        let mut one = Unreadable::default();
        assert!(one.is_empty());
        one.add(Some("SM1".to_owned()));
        one.add(Some("SM1".to_owned()));
        one.add(None);
        assert_eq!(one, unreadable(&["SM1"], 1));
        let mut again = one.clone();
        again.overlay(unreadable(&["SM1", "SM2"], 1));
        assert_eq!((again.count(), again.to_string().as_str()), (3, "SM1, SM2, and 1 without an id"));
        one.extend(unreadable(&["SM3"], 1));
        assert_eq!(one, unreadable(&["SM1", "SM3"], 2));
        assert_eq!(unreadable(&["SM1"], 0).to_string(), "SM1");
        assert_eq!(unreadable(&[], 2).to_string(), "2 without an id");
    }
}

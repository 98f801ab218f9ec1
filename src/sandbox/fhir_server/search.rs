//! Search: reading the query, finding what it asks for, sorting, including.
//!
//! Strict: a parameter, modifier or sort key that the type does not have is refused, never ignored
//! (<https://hl7.org/fhir/R4/search.html#errors>).

use super::comparison::{Wanted, element_period};
use super::element::{at_path, local_reference};
use super::outcome::FhirError;
use super::resource_types::{ParameterKind, ResourceType, SearchParameter, resource_type};
use super::store::{Shelves, Version};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// The page size where the client names none.
const DEFAULT_COUNT: usize = 50;
/// The largest page; a greater `_count` is cut to it.
const MAX_COUNT: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    None,
    Not,
    Missing,
}

#[derive(Debug, Clone)]
struct Filter {
    parameter: &'static SearchParameter,
    modifier: Modifier,
    /// Any of these (a comma list); empty with [`Modifier::Missing`].
    wanted: Vec<Wanted>,
    missing: bool,
}

#[derive(Debug, Clone, Copy)]
struct SortKey {
    parameter: &'static SearchParameter,
    descending: bool,
}

/// A search that was read and understood.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// The type that is searched.
    pub kind: &'static ResourceType,
    filters: Vec<Filter>,
    sort: Vec<SortKey>,
    includes: Vec<&'static SearchParameter>,
    /// Entries per page; 0 asks for the total only.
    pub count: usize,
}

/// How references and dates without a zone are read.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The server's base URL.
    pub base: String,
    /// The clinic's zone.
    pub zone: TimeZone,
}

impl Search {
    /// Reads the query of a search.
    ///
    /// # Errors
    /// [`FhirError::UnknownParameter`] and [`FhirError::Invalid`].
    pub(super) fn read(
        kind: &'static ResourceType,
        pairs: &[(String, String)],
        frame: &Frame,
    ) -> Result<Self, FhirError> {
        let mut search =
            Self { kind, filters: Vec::new(), sort: Vec::new(), includes: Vec::new(), count: DEFAULT_COUNT };
        for (name, value) in pairs {
            match name.as_str() {
                "_count" => search.count = read_count(value)?,
                "_summary" if value == "count" => search.count = 0,
                "_summary" if value == "false" => {}
                "_sort" => search.sort = read_sort(kind, value)?,
                "_include" => search.includes.push(read_include(kind, value)?),
                "_format" if value.contains("json") => {}
                "_total" if ["none", "estimate", "accurate"].contains(&value.as_str()) => {}
                _ => search.filters.push(read_filter(kind, name, value, frame)?),
            }
        }
        Ok(search)
    }

    /// What matches, in the order asked for (by id where none is).
    #[must_use]
    pub(super) fn matches(&self, shelves: &Shelves, frame: &Frame) -> Vec<Arc<Value>> {
        let mut found: Vec<(&Version, &Arc<Value>)> = shelves
            .all(self.kind.name)
            .filter(|(_, resource)| self.filters.iter().all(|filter| filter.passes(resource, shelves, frame)))
            .collect();
        if !self.sort.is_empty() {
            found.sort_by(|left, right| self.order(*left, *right, frame));
        }
        found.into_iter().map(|(_, resource)| Arc::clone(resource)).collect()
    }

    fn order(&self, left: (&Version, &Arc<Value>), right: (&Version, &Arc<Value>), frame: &Frame) -> Ordering {
        for key in &self.sort {
            let order = if key.parameter.name == "_lastUpdated" {
                (left.0.last_updated, left.0.order).cmp(&(right.0.last_updated, right.0.order))
            } else {
                sort_value(key.parameter, left.1, frame).cmp(&sort_value(key.parameter, right.1, frame))
            };
            let order = if key.descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// What `_include` adds to these matches, each once.
    #[must_use]
    pub(super) fn included(&self, matches: &[Arc<Value>], shelves: &Shelves, frame: &Frame) -> Vec<Arc<Value>> {
        let mut seen = std::collections::BTreeSet::new();
        let mut included = Vec::new();
        for parameter in &self.includes {
            for resource in matches {
                for (kind, id) in targets(parameter, resource, frame) {
                    if let Ok(target) = shelves.current(kind, id)
                        && seen.insert((kind.to_owned(), id.to_owned()))
                    {
                        included.push(Arc::clone(target));
                    }
                }
            }
        }
        included
    }
}

fn read_count(value: &str) -> Result<usize, FhirError> {
    let count: usize = value.parse().map_err(|_| FhirError::Invalid("_count is a whole number".into()))?;
    Ok(count.min(MAX_COUNT))
}

fn read_sort(kind: &'static ResourceType, value: &str) -> Result<Vec<SortKey>, FhirError> {
    let key = |text: &str| {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let parameter = known(kind, name)?;
        let sortable = matches!(parameter.kind, ParameterKind::Date | ParameterKind::Token | ParameterKind::Text);
        sortable.then_some(SortKey { parameter, descending }).ok_or_else(|| unknown(kind, name))
    };
    value.split(',').map(key).collect()
}

fn read_include(kind: &'static ResourceType, value: &str) -> Result<&'static SearchParameter, FhirError> {
    let mut parts = value.split(':');
    let (source, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let parameter = known(kind, name)?;
    if source != kind.name || !matches!(parameter.kind, ParameterKind::Reference(_)) {
        return Err(unknown(kind, "_include"));
    }
    Ok(parameter)
}

fn read_filter(kind: &'static ResourceType, name: &str, value: &str, frame: &Frame) -> Result<Filter, FhirError> {
    let (plain, modifier) = name.split_once(':').map_or((name, ""), |(plain, modifier)| (plain, modifier));
    let parameter = known(kind, plain)?;
    if value.is_empty() {
        return Err(FhirError::Invalid(format!("{plain} has no value")));
    }
    let modifier = match modifier {
        "" => Modifier::None,
        "not" if parameter.kind == ParameterKind::Token => Modifier::Not,
        "missing" => Modifier::Missing,
        _ => return Err(FhirError::UnknownParameter(format!("the modifier of {plain} is not supported here"))),
    };
    if modifier == Modifier::Missing {
        let missing = value.parse().map_err(|_| FhirError::Invalid(":missing is true or false".into()))?;
        return Ok(Filter { parameter, modifier, wanted: Vec::new(), missing });
    }
    let read = |value: &String| Wanted::read(parameter.kind, value, &frame.base, &frame.zone);
    let wanted = alternatives(value).iter().map(read).collect::<Result<_, _>>()?;
    Ok(Filter { parameter, modifier, wanted, missing: false })
}

/// The values of a comma list; `\,` and `\|` and `\\` stand for themselves.
fn alternatives(value: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter, all.last_mut()) {
            (',', _) => all.push(String::new()),
            ('\\', Some(last)) => last.extend(letters.next()),
            (letter, Some(last)) => last.push(letter),
            (_, None) => {}
        }
    }
    all
}

fn known(kind: &'static ResourceType, name: &str) -> Result<&'static SearchParameter, FhirError> {
    kind.parameter(name).ok_or_else(|| unknown(kind, name))
}

/// Names the parameter only where it can be a name: what else stands there may be a patient's data.
fn unknown(kind: &ResourceType, name: &str) -> FhirError {
    let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_.".contains(&byte));
    let shown = if is_name { name } else { "that parameter" };
    FhirError::UnknownParameter(format!("{} cannot be searched or sorted by {shown} here", kind.name))
}

impl Filter {
    fn passes(&self, resource: &Value, shelves: &Shelves, frame: &Frame) -> bool {
        match self.modifier {
            Modifier::Missing => elements(self.parameter, resource, frame).is_empty() == self.missing,
            Modifier::None => self.any(resource, shelves, frame),
            Modifier::Not => !self.any(resource, shelves, frame),
        }
    }

    fn any(&self, resource: &Value, shelves: &Shelves, frame: &Frame) -> bool {
        if let ParameterKind::Chain(kind, name) = self.parameter.kind {
            let Some(inner) = resource_type(kind).and_then(|kind| kind.parameter(name)) else { return false };
            return targets(self.parameter, resource, frame)
                .into_iter()
                .any(|(kind, id)| shelves.current(kind, id).is_ok_and(|target| self.answered(inner, target, frame)));
        }
        self.answered(self.parameter, resource, frame)
    }

    fn answered(&self, parameter: &SearchParameter, resource: &Value, frame: &Frame) -> bool {
        let elements = elements(parameter, resource, frame);
        self.wanted
            .iter()
            .any(|wanted| elements.iter().any(|element| wanted.answered_by(element, &frame.base, &frame.zone)))
    }
}

/// The elements that a parameter looks at; references only of the types that it allows.
fn elements<'a>(parameter: &SearchParameter, resource: &'a Value, frame: &Frame) -> Vec<&'a Value> {
    let found = parameter.paths.iter().flat_map(|path| at_path(resource, path));
    match parameter.kind {
        ParameterKind::Reference(kinds) if !kinds.is_empty() => found
            .filter(|element| local_reference(element, &frame.base).is_some_and(|(kind, _)| kinds.contains(&kind)))
            .collect(),
        _ => found.collect(),
    }
}

fn targets<'a>(parameter: &SearchParameter, resource: &'a Value, frame: &Frame) -> Vec<(&'a str, &'a str)> {
    let elements = elements(parameter, resource, frame);
    elements.into_iter().filter_map(|element| local_reference(element, &frame.base)).collect()
}

/// Resources without the element come last.
fn sort_value(parameter: &SearchParameter, resource: &Value, frame: &Frame) -> (Reverse<bool>, String) {
    let value = elements(parameter, resource, frame).into_iter().find_map(|element| match parameter.kind {
        ParameterKind::Date => {
            element_period(element, &frame.zone).map(|period| format!("{:020}", period.start.as_millisecond()))
        }
        _ => element.as_str().map(str::to_owned),
    });
    (Reverse(value.is_some()), value.unwrap_or_default())
}

//! Finding elements in FHIR JSON: dotted paths through lists, references, ids.

use serde_json::Value;

/// Every value at a dotted path such as `participant.actor`, lists flattened.
#[must_use]
pub fn at_path<'a>(resource: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = flattened(resource);
    for name in path.split('.') {
        found = found.into_iter().filter_map(|value| value.get(name)).flat_map(flattened).collect();
    }
    found
}

fn flattened(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

/// The text at a path where there is exactly one value there worth having: the first.
#[must_use]
pub fn text_at<'a>(resource: &'a Value, path: &str) -> Option<&'a str> {
    at_path(resource, path).into_iter().find_map(Value::as_str)
}

/// The `Type/id` that a `Reference` element points to; absolute references below `base` count, others do not.
#[must_use]
pub fn local_reference<'a>(reference: &'a Value, base: &str) -> Option<(&'a str, &'a str)> {
    split_reference(reference.get("reference")?.as_str()?, base)
}

/// `Type/id` of a reference's text; a version (`/_history/2`) is ignored.
#[must_use]
pub fn split_reference<'a>(text: &'a str, base: &str) -> Option<(&'a str, &'a str)> {
    let relative = text.strip_prefix(base).map_or(text, |rest| rest.trim_start_matches('/'));
    let mut parts = relative.split('/');
    let (kind, id) = (parts.next()?, parts.next()?);
    let rest_is_version = matches!(parts.next(), None | Some("_history"));
    (rest_is_version && kind.starts_with(|first: char| first.is_ascii_uppercase()) && is_id(id)).then_some((kind, id))
}

/// Whether `text` is a FHIR id (<https://hl7.org/fhir/R4/datatypes.html#id>).
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// Calls `found` for every `Reference` element anywhere in `value`.
pub fn each_reference<'a>(value: &'a Value, found: &mut impl FnMut(&'a Value)) {
    match value {
        Value::Object(members) => {
            if members.get("reference").is_some_and(Value::is_string) {
                found(value);
            }
            members.values().for_each(|member| each_reference(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_on_the_way_are_flattened() {
        let resource =
            json!({"participant": [{"actor": {"reference": "Patient/1"}}, {"actor": {"reference": "Location/2"}}]});
        let actors = at_path(&resource, "participant.actor");
        assert_eq!(actors.len(), 2);
        assert_eq!(text_at(&resource, "participant.actor.reference"), Some("Patient/1"));
    }

    #[test]
    fn references_are_local_or_none() {
        let base = "http://ehr.example/fhir";
        assert_eq!(split_reference("Patient/1", base), Some(("Patient", "1")));
        assert_eq!(split_reference("http://ehr.example/fhir/Patient/1/_history/2", base), Some(("Patient", "1")));
        assert_eq!(split_reference("http://other.example/fhir/Patient/1", base), None);
        assert_eq!(split_reference("#contained", base), None);
    }
}

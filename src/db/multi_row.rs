//! Statements over many rows at once: arrays under `UNNEST` on PostgreSQL, `VALUES` on SQLite.

use super::{DbError, Query, Value, query::sql_built};
use std::fmt::Write as _;

/// A statement that takes `rows` in where `before` ends and goes on with `after`:
/// `INSERT INTO t (a, b)` … `ON CONFLICT DO NOTHING`. Every row has the same columns, each of one type throughout; the
/// rows are taken in their order. The same text for the same number of rows on SQLite, for any number on PostgreSQL.
///
/// # Errors
/// [`DbError::Refused`] when there is no row, or the rows differ in their columns: a mistake in this program.
pub fn sql_rows(before: &str, rows: Vec<Vec<Value>>, after: &str, postgres: bool) -> Result<Query, DbError> {
    let width = rows.first().map_or(0, Vec::len);
    if width == 0 || rows.iter().any(|row| row.len() != width) {
        return Err(uneven());
    }
    if postgres { unnest(before, rows, after) } else { Ok(values(before, rows, width, after)) }
}

/// A statement that `before` begins, with `bound` for its first places, and that ends with the condition that the text
/// column which it closes with is one of `texts`: an array on PostgreSQL, a list on SQLite. Each database looks up each of
/// them by an index of that column, whatever it believes to know of the table.
#[must_use]
pub fn sql_among(before: &str, bound: Vec<Value>, texts: Vec<String>, postgres: bool) -> Query {
    let first = bound.len() + 1;
    if postgres {
        let built = bound.into_iter().fold(sql_built(format!("{before} = ANY(${first}::text[])")), Query::bind);
        return built.bind(Value::Texts(texts.into_iter().map(Some).collect()));
    }
    let places: Vec<String> = (first..first + texts.len()).map(|place| format!("${place}")).collect();
    let built = bound.into_iter().fold(sql_built(format!("{before} IN ({})", places.join(","))), Query::bind);
    texts.into_iter().fold(built, Query::bind)
}

fn uneven() -> DbError {
    DbError::Refused { code: "rows".to_owned() }
}

fn values(before: &str, rows: Vec<Vec<Value>>, width: usize, after: &str) -> Query {
    let mut text = format!("{before} VALUES ");
    for row in 0..rows.len() {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 1..=width {
            let separator = if column == 1 { "" } else { "," };
            let _ = write!(text, "{separator}${}", row * width + column);
        }
        text.push(')');
    }
    let _ = write!(text, " {after}");
    rows.into_iter().flatten().fold(sql_built(text), Query::bind)
}

fn unnest(before: &str, rows: Vec<Vec<Value>>, after: &str) -> Result<Query, DbError> {
    let mut columns: Vec<Value> = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        if number == 0 {
            columns = row.into_iter().map(column_of).collect::<Result<_, _>>()?;
            continue;
        }
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, value) {
                (Value::Integers(column), Value::Integer(value)) => column.push(value),
                (Value::Texts(column), Value::Text(value)) => column.push(value),
                (Value::ByteStrings(column), Value::Bytes(value)) => column.push(value),
                _ => return Err(uneven()),
            }
        }
    }
    let mut text = format!("{before} SELECT * FROM UNNEST(");
    for (number, column) in columns.iter().enumerate() {
        let separator = if number == 0 { "" } else { "," };
        let of = match column {
            Value::Integers(_) => "bigint[]",
            Value::Texts(_) => "text[]",
            _ => "bytea[]",
        };
        let _ = write!(text, "{separator}${}::{of}", number + 1);
    }
    let _ = write!(text, ") {after}");
    Ok(columns.into_iter().fold(sql_built(text), Query::bind))
}

/// A column that begins with `first`.
fn column_of(first: Value) -> Result<Value, DbError> {
    match first {
        Value::Integer(value) => Ok(Value::Integers(vec![value])),
        Value::Text(value) => Ok(Value::Texts(vec![value])),
        Value::Bytes(value) => Ok(Value::ByteStrings(vec![value])),
        _ => Err(uneven()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Value>> {
        vec![vec![1_i64.into(), "a".into()], vec![2_i64.into(), None::<String>.into()]]
    }

    #[test]
    fn the_rows_become_values_or_arrays() {
        let (before, after) = ("INSERT INTO t (a, b)", "ON CONFLICT DO NOTHING");
        let lite = sql_rows(before, rows(), after, false).unwrap();
        assert_eq!(lite.text, "INSERT INTO t (a, b) VALUES ($1,$2),($3,$4) ON CONFLICT DO NOTHING");
        assert_eq!(lite.values.len(), 4);
        let postgres = sql_rows(before, rows(), after, true).unwrap();
        let expected = "INSERT INTO t (a, b) SELECT * FROM UNNEST($1::bigint[],$2::text[]) ON CONFLICT DO NOTHING";
        assert_eq!(postgres.text, expected);
        assert!(
            matches!(postgres.values.as_slice(), [Value::Integers(a), Value::Texts(b)] if a.len() == 2 && b[1].is_none())
        );
    }

    #[test]
    fn one_of_many_is_a_list_or_an_array() {
        let texts = || vec!["a".to_owned(), "b".to_owned()];
        let lite = sql_among("DELETE FROM t WHERE n = $1 AND a", vec![1_i64.into()], texts(), false);
        assert_eq!(lite.text, "DELETE FROM t WHERE n = $1 AND a IN ($2,$3)");
        assert_eq!(lite.values.len(), 3);
        let postgres = sql_among("DELETE FROM t WHERE n = $1 AND a", vec![1_i64.into()], texts(), true);
        assert_eq!(postgres.text, "DELETE FROM t WHERE n = $1 AND a = ANY($2::text[])");
        assert_eq!(postgres.values.len(), 2);
    }

    #[test]
    fn rows_that_differ_are_refused() {
        let uneven = vec![vec![1_i64.into()], vec![1_i64.into(), 2_i64.into()]];
        assert!(sql_rows("", uneven, "", false).is_err());
        assert!(sql_rows("", vec![vec![1_i64.into()], vec!["a".into()]], "", true).is_err());
        assert!(sql_rows("", vec![], "", false).is_err());
    }
}

//! The two schemas are one: what a statement finds on SQLite it finds on PostgreSQL.

use crate::database::TestDatabase;
use chartwire::db::{Db, sql};
use std::collections::BTreeSet;

const SQLITE_COLUMNS: &str = "SELECT m.name AS tab, p.name AS col, p.type AS of, p.\"notnull\" AS needed, p.pk AS place \
     FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'";
const POSTGRES_COLUMNS: &str = "SELECT c.table_name::text AS tab, c.column_name::text AS col, c.data_type::text AS of, \
     CASE WHEN c.is_nullable = 'NO' THEN 1 ELSE 0 END::bigint AS needed, \
     COALESCE((SELECT array_position(i.indkey::int[], a.attnum::int) + 1 FROM pg_index i \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
        WHERE i.indrelid = to_regclass(c.table_name) AND i.indisprimary AND a.attname = c.column_name), 0)::bigint AS place \
     FROM information_schema.columns c JOIN pg_class t ON t.oid = to_regclass(c.table_name) \
     WHERE c.table_schema = 'public' AND NOT t.relispartition";
const SQLITE_INDEXES: &str = "SELECT m.name AS tab, CASE l.origin WHEN 'c' THEN l.name ELSE 'inline' END AS name, l.\"unique\" AS single, \
     l.partial AS partial, (SELECT group_concat(name, ',') FROM (SELECT i.name FROM pragma_index_info(l.name) i ORDER BY i.seqno)) AS cols \
     FROM sqlite_master m JOIN pragma_index_list(m.name) l WHERE m.type = 'table' AND l.origin <> 'pk'";
const POSTGRES_INDEXES: &str = "SELECT t.relname::text AS tab, CASE WHEN k.oid IS NULL THEN x.relname::text ELSE 'inline' END AS name, \
     i.indisunique::int::bigint AS single, (i.indpred IS NOT NULL)::int::bigint AS partial, \
     (SELECT string_agg(a.attname::text, ',' ORDER BY n.place) FROM unnest(i.indkey) WITH ORDINALITY AS n(attnum, place) \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = n.attnum) AS cols \
     FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid \
     JOIN pg_namespace s ON s.oid = t.relnamespace LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid \
     WHERE s.nspname = 'public' AND NOT i.indisprimary AND (NOT t.relispartition OR x.relname = 'audit_row_default_seq')";
/// The one index that only the partitions have: what is unique over all of a table's months has to name the month.
const OF_PARTITIONS: (&str, &str) =
    ("index audit_row_default_seq on audit_row_default(", "index audit_row_seq on audit_row(");

/// What a column holds, in words that both databases share.
fn class(of: &str) -> &'static str {
    match of {
        "INTEGER" | "bigint" => "integer",
        "TEXT" | "text" => "text",
        "BLOB" | "bytea" => "bytes",
        // Never equal on both sides.
        other => panic!("{other} is none of the three types"),
    }
}

async fn described(db: &Db) -> BTreeSet<String> {
    let (columns, indexes) =
        if db.is_postgres() { (POSTGRES_COLUMNS, POSTGRES_INDEXES) } else { (SQLITE_COLUMNS, SQLITE_INDEXES) };
    let ours = |tab: &String| !tab.starts_with("_sqlx") && !tab.starts_with("sqlite_");
    let mut lines = BTreeSet::new();
    for row in db.all(sql(columns)).await.unwrap() {
        let tab = row.get::<String>("tab").unwrap();
        if ours(&tab) {
            let col = row.get::<String>("col").unwrap();
            let of = class(&row.get::<String>("of").unwrap());
            let (needed, place) = (row.get::<bool>("needed").unwrap(), row.get::<i64>("place").unwrap());
            lines.insert(format!("{tab}.{col}: {of}, needed {needed}, place in the key {place}"));
        }
    }
    for row in db.all(sql(indexes)).await.unwrap() {
        let tab = row.get::<String>("tab").unwrap();
        if ours(&tab) {
            let (name, cols) = (row.get::<String>("name").unwrap(), row.get::<String>("cols").unwrap());
            let (single, partial) = (row.get::<bool>("single").unwrap(), row.get::<bool>("partial").unwrap());
            let line = format!("index {name} on {tab}({cols}): unique {single}, partial {partial}");
            lines.insert(line.replace(OF_PARTITIONS.0, OF_PARTITIONS.1));
        }
    }
    lines
}

#[tokio::test]
async fn both_databases_have_the_same_tables_keys_and_indexes() {
    let Some(postgres) = TestDatabase::postgres().await else { return };
    let sqlite = TestDatabase::sqlite();
    let of_sqlite = described(&Db::open(sqlite.url()).await.unwrap()).await;
    let of_postgres = described(&Db::open(postgres.url()).await.unwrap()).await;
    let differences: Vec<_> = of_sqlite.symmetric_difference(&of_postgres).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    let keys = of_sqlite.iter().filter(|line| line.contains(".tenant: bytes, needed true, place in the key 1")).count();
    assert!(
        keys > 20 && of_sqlite.len() > 250,
        "{keys} keys, {} lines: the comparison sees too little",
        of_sqlite.len()
    );
}

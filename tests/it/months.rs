//! What grows with every text is kept by month on PostgreSQL.

use crate::{conversation::reminded, database::TestDatabase, service::ANA};
use chartwire::db::{Command, Db, DbError, Tx, sql};
use jiff::Timestamp;
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::{fs, path::Path};

/// The id of something that was made at `instant`.
fn id_of(instant: &str) -> Vec<u8> {
    let instant: Timestamp = instant.parse().unwrap();
    let mut id = u64::try_from(instant.as_millisecond()).unwrap().to_be_bytes()[2..].to_vec();
    id.extend([0x70, 1, 0x80, 2, 3, 4, 5, 6, 7, 8]);
    id
}

/// A reading of a text of that instant.
struct Read(&'static str);

impl Command for Read {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let insert = "INSERT INTO reading (tenant, message, intents, urgency, sentiment, certain, reasons, reader_version, read_at) \
             VALUES ($1, $2, '[]', 'routine', 'neutral', 1, '[]', '1', 0)";
        tx.execute(sql(insert).bind([1; 16]).bind(id_of(self.0))).await.map(drop)
    }
}

/// How many rows of a table stand in which of its partitions.
async fn spread(db: &Db, query: &'static str) -> Vec<(String, i64)> {
    let rows = db.all(sql(query)).await.unwrap();
    rows.iter().map(|row| (row.get("partition").unwrap(), row.get("rows").unwrap())).collect()
}

const READINGS: &str =
    "SELECT tableoid::regclass::text AS partition, COUNT(*) AS rows FROM reading GROUP BY 1 ORDER BY 1";

fn told(spread: &[(String, i64)]) -> Vec<(&str, i64)> {
    spread.iter().map(|(partition, rows)| (partition.as_str(), *rows)).collect()
}

#[tokio::test]
async fn what_came_without_a_month_moves_into_it() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let db = Db::open(database.url()).await.unwrap();
    let months =
        ["2026-10-31T23:59:59.999Z", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00Z"];
    for instant in months {
        db.execute(Read(instant)).await.unwrap();
    }
    assert_eq!(told(&spread(&db, READINGS).await), [("reading_default", 4)]);
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    // Two nodes that start at once.
    let (one, other) = tokio::join!(db.make_months(now), db.make_months(now));
    assert_eq!(one.unwrap() + other.unwrap(), 12, "two months of six tables");
    assert_eq!(
        told(&spread(&db, READINGS).await),
        [("reading_2026_11", 2), ("reading_2026_12", 1), ("reading_default", 1)]
    );
    db.close().await;
}

#[tokio::test]
async fn a_service_keeps_its_rows_in_their_month() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let service = reminded(&database).await;
    service.text(ANA, "C").await;
    service.settle().await;
    let all = "SELECT partition, SUM(rows)::BIGINT AS rows FROM ( \
        SELECT tableoid::regclass::text AS partition, COUNT(*) AS rows FROM message GROUP BY 1 \
        UNION ALL SELECT tableoid::regclass::text, COUNT(*) FROM attempt GROUP BY 1 \
        UNION ALL SELECT tableoid::regclass::text, COUNT(*) FROM delivery_event GROUP BY 1 \
        UNION ALL SELECT tableoid::regclass::text, COUNT(*) FROM reading GROUP BY 1 \
        UNION ALL SELECT tableoid::regclass::text, COUNT(*) FROM chart_filing GROUP BY 1 \
        UNION ALL SELECT tableoid::regclass::text, COUNT(*) FROM audit_row GROUP BY 1) AS kept GROUP BY 1 ORDER BY 1";
    let spread = spread(service.app.db(), all).await;
    let partitions: Vec<&str> = spread.iter().map(|(partition, _)| partition.as_str()).collect();
    assert_eq!(
        partitions,
        [
            "attempt_2026_11",
            "audit_row_2026_11",
            "chart_filing_2026_11",
            "delivery_event_2026_11",
            "message_2026_11",
            "reading_2026_11"
        ]
    );
    service.stop().await;
}

/// A database of a program that did not keep months.
#[tokio::test]
async fn what_was_there_before_is_kept_by_month_too() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let at = files.iter().position(|file| file.ends_with("0017_months.sql")).unwrap();
    for file in &files[..at] {
        connection.execute(sqlx::AssertSqlSafe(fs::read_to_string(file).unwrap())).await.unwrap();
    }
    for instant in ["2026-08-31T23:59:59.999Z", "2026-09-01T00:00:00Z", "2026-11-15T00:00:00Z"] {
        let insert = "INSERT INTO reading (tenant, message, intents, urgency, sentiment, certain, reasons, reader_version, read_at) \
             VALUES ($1, $2, '[]', 'routine', 'neutral', 1, '[]', '1', 0)";
        sqlx::query(insert).bind(vec![1_u8; 16]).bind(id_of(instant)).execute(&mut connection).await.unwrap();
    }
    connection.execute(sqlx::AssertSqlSafe(fs::read_to_string(&files[at]).unwrap())).await.unwrap();
    let rows: Vec<(String, i64)> = sqlx::query_as(READINGS).fetch_all(&mut connection).await.unwrap();
    assert_eq!(told(&rows), [("reading_2026_08", 1), ("reading_2026_09", 1), ("reading_2026_11", 1)]);
    connection.close().await.unwrap();
}

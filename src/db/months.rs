//! On PostgreSQL, what grows with every text is kept by month (`migrations/postgres/0017_months.sql`).
//!
//! Always: a month is made before its first row; a row that comes without one is kept in the default partition, and moves
//! when its month is made.

use super::{Command, Db, DbError, Tx, sql};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

/// What is kept by month.
const KEPT: [&str; 6] = ["message", "attempt", "delivery_event", "reading", "chart_filing", "audit_row"];
/// How many months are made ahead; a start makes what is lacking.
const AHEAD: i32 = 1;

impl Db {
    /// Makes the partitions of this month and the next, and says how many there were not. Again changes nothing. On
    /// SQLite there is nothing to make.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn make_months(&self, now: Timestamp) -> Result<u32, DbError> {
        let mut made = 0;
        if self.is_postgres() {
            for month in months(now)? {
                for kept in KEPT {
                    made += u32::from(self.execute(MakeMonth { kept, month: month.clone() }).await?);
                }
            }
        }
        Ok(made)
    }
}

/// A month of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Month {
    suffix: String,
    starts: Timestamp,
    ends: Timestamp,
}

fn months(now: Timestamp) -> Result<Vec<Month>, DbError> {
    let beyond = |_| DbError::Refused { code: "beyond the calendar".to_owned() };
    let this = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let month = |ahead: i32| {
        let first = this.checked_add(ahead.months())?;
        let start = |day: Date| day.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
        let suffix = first.strftime("%Y_%m").to_string();
        Ok(Month { suffix, starts: start(first)?, ends: start(first.checked_add(1.month())?)? })
    };
    (0..=AHEAD).map(month).collect::<Result<_, jiff::Error>>().map_err(beyond)
}

/// One table's month. Alone in its transaction: it locks the table's default partition.
struct MakeMonth {
    kept: &'static str,
    month: Month,
}

impl Command for MakeMonth {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let make = sql("SELECT CAST(make_month($1, $2, $3, $4) AS INTEGER)::BIGINT AS made")
            .bind(self.kept)
            .bind(self.month.suffix.as_str())
            .bind(self.month.starts)
            .bind(self.month.ends);
        tx.one(make).await?.get("made")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_over_the_year() {
        let found = months("2026-12-31T23:59:59Z".parse().unwrap()).unwrap();
        let suffixes: Vec<&str> = found.iter().map(|month| month.suffix.as_str()).collect();
        assert_eq!(suffixes, ["2026_12", "2027_01"]);
        assert!(found.windows(2).all(|pair| pair[0].ends == pair[1].starts));
        assert_eq!(found[0].starts, "2026-12-01T00:00:00Z".parse().unwrap());
    }
}

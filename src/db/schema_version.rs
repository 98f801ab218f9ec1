//! How a database's schema stands towards this program's, told without changing anything.

use super::{Db, DbError, POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS, sql};
use sqlx::migrate::Migrator;
use std::collections::BTreeMap;

/// A migration as the database remembers it.
struct Applied {
    checksum: Vec<u8>,
    finished: bool,
}

/// Whether exactly this program's migrations were applied.
///
/// # Errors
/// [`DbError::OlderThanProgram`], [`DbError::NewerThanProgram`], [`DbError::MigrationChanged`]; otherwise as the
/// database refuses or is away.
pub(super) async fn check(db: &Db) -> Result<(), DbError> {
    let program = if db.is_postgres() { &POSTGRES_MIGRATIONS } else { &SQLITE_MIGRATIONS };
    compare(program, &applied(db).await?)
}

/// Whether any of this program's migrations was applied.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub(super) async fn is_made(db: &Db) -> Result<bool, DbError> {
    Ok(!applied(db).await?.is_empty())
}

async fn applied(db: &Db) -> Result<BTreeMap<i64, Applied>, DbError> {
    let memory = if db.is_postgres() {
        sql("SELECT 1 AS there FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'")
    } else {
        sql("SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'")
    };
    if db.optional(memory).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let rows = db
        .all(sql("SELECT version, checksum, CAST(CASE WHEN success THEN 1 ELSE 0 END AS BIGINT) AS finished \
                  FROM _sqlx_migrations"))
        .await?;
    let read = rows.iter().map(|row| {
        Ok((row.get("version")?, Applied { checksum: row.get("checksum")?, finished: row.get("finished")? }))
    });
    read.collect()
}

fn compare(program: &Migrator, applied: &BTreeMap<i64, Applied>) -> Result<(), DbError> {
    if let Some(version) = applied.keys().rev().find(|version| !program.version_exists(**version)) {
        return Err(DbError::NewerThanProgram { version: *version });
    }
    for migration in program.iter() {
        match applied.get(&migration.version) {
            Some(known) if *known.checksum != *migration.checksum => {
                return Err(DbError::MigrationChanged { version: migration.version });
            }
            Some(Applied { finished: true, .. }) => {}
            _ => return Err(DbError::OlderThanProgram { version: migration.version }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_applied() -> BTreeMap<i64, Applied> {
        let known = SQLITE_MIGRATIONS
            .iter()
            .map(|migration| (migration.version, Applied { checksum: migration.checksum.to_vec(), finished: true }));
        known.collect()
    }

    #[test]
    fn a_schema_is_the_programs_own_older_newer_or_another() {
        assert_eq!(compare(&SQLITE_MIGRATIONS, &all_applied()), Ok(()));
        let first = SQLITE_MIGRATIONS.iter().next().unwrap().version;
        assert_eq!(compare(&SQLITE_MIGRATIONS, &BTreeMap::new()), Err(DbError::OlderThanProgram { version: first }));
        let mut half = all_applied();
        let last = *half.keys().last().unwrap();
        half.get_mut(&last).unwrap().finished = false;
        assert_eq!(compare(&SQLITE_MIGRATIONS, &half), Err(DbError::OlderThanProgram { version: last }));
        let mut changed = all_applied();
        changed.get_mut(&first).unwrap().checksum = vec![0];
        assert_eq!(compare(&SQLITE_MIGRATIONS, &changed), Err(DbError::MigrationChanged { version: first }));
        let mut later = all_applied();
        later.insert(9999, Applied { checksum: vec![0], finished: true });
        assert_eq!(compare(&SQLITE_MIGRATIONS, &later), Err(DbError::NewerThanProgram { version: 9999 }));
    }
}

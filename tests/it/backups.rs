//! Copies of the database as operators of either engine make them and put them back.

use crate::{
    database::TestDatabase,
    installation::{Installation, Ran},
    postgres,
    service::Service,
};
use chartwire::{
    app::command_line::Ended,
    db::{Command as DbCommand, Db, DbError, Tx, sql},
};
use jiff::Timestamp;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program that comes with PostgreSQL.
fn program(name: &str) -> PathBuf {
    postgres::programs_with(name).unwrap().join(name)
}

pub(crate) fn well(ran: &Ran) {
    assert_eq!(ran.ended, Ended::Well, "{}{}", ran.out, ran.err);
}

/// A copy of the database, as the operator of either engine makes it.
pub(crate) async fn backed_up(service: &Service, url: &str, folder: &Path) {
    if service.app.db().is_postgres() {
        let mut dump = Command::new(program("pg_dump"));
        dump.args(["--format=custom", "--file"]).arg(folder.join("backup")).args(["--dbname", url]);
        let dumped = tokio::task::spawn_blocking(move || dump.status()).await.unwrap().unwrap();
        assert!(dumped.success());
    } else {
        let to = folder.join("backup");
        let ran = service.installed_over(url).run(&["backup", "--to", to.to_str().unwrap()]).await;
        well(&ran);
        assert!(ran.out.contains("whole, as of"), "{}", ran.out);
    }
}

/// A new PostgreSQL database with what was dumped.
async fn restored(folder: &Path) -> TestDatabase {
    let database = TestDatabase::postgres().await.unwrap();
    let mut restore = Command::new(program("pg_restore"));
    restore.args(["--no-owner", "--dbname", database.url()]).arg(folder.join("backup"));
    let restored = tokio::task::spawn_blocking(move || restore.status()).await.unwrap().unwrap();
    assert!(restored.success());
    database
}

/// The copy is put in place elsewhere, and said to be one of now.
pub(crate) async fn put_back(service: &Service, folder: &Path) -> (Installation, Option<TestDatabase>) {
    put_back_as_of(service, folder, service.now()).await
}

/// The copy is put in place elsewhere, and said to be one of `taken_at`.
pub(crate) async fn put_back_as_of(
    service: &Service,
    folder: &Path,
    taken_at: Timestamp,
) -> (Installation, Option<TestDatabase>) {
    if service.app.db().is_postgres() {
        let database = restored(folder).await;
        let elsewhere = service.installed_over(database.url());
        well(&elsewhere.run(&["recover", "--begin", "--since", &taken_at.to_string()]).await);
        return (elsewhere, Some(database));
    }
    let url = format!("sqlite:{}", folder.join("elsewhere.db").display());
    let elsewhere = service.installed_over(&url);
    well(&elsewhere.run(&["restore", "--from", folder.join("backup").to_str().unwrap()]).await);
    (elsewhere, None)
}

/// The copy is put in place without a word, by means that say nothing of it being one.
pub(crate) async fn copied_by_hand(service: &Service, folder: &Path) -> (String, Option<TestDatabase>) {
    if service.app.db().is_postgres() {
        let database = restored(folder).await;
        return (database.url().to_owned(), Some(database));
    }
    let copy = folder.join("by-hand.db");
    fs::copy(folder.join("backup"), &copy).unwrap();
    let url = format!("sqlite:{}", copy.display());
    let db = Db::open_as_it_stands(&url).await.unwrap();
    db.execute(Unstamped).await.unwrap();
    db.close().await;
    (url, None)
}

/// Nothing in the copy says that it is one.
struct Unstamped;

impl DbCommand for Unstamped {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("DELETE FROM backup_stamp")).await
    }
}

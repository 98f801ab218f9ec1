//! What every flow takes for granted, on both engines.

use crate::database::both_databases;
use chartwire::db::{Command, Db, DbError, Tx, sql};

struct AddTenant {
    slug: &'static str,
    fails: bool,
}

impl Command for AddTenant {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let insert = sql("INSERT INTO tenant (id, slug, created_at) VALUES ($1, $2, $3)");
        tx.execute(insert.bind(vec![u8::from(self.fails); 16]).bind(self.slug).bind(1_i64)).await?;
        if self.fails { Err(DbError::NotFound) } else { Ok(()) }
    }
}

async fn slugs(db: &Db) -> Vec<String> {
    let rows = db.all(sql("SELECT slug FROM tenant ORDER BY slug")).await.unwrap();
    rows.iter().map(|row| row.get("slug").unwrap()).collect()
}

both_databases! {
    async fn a_command_is_kept_whole_or_not_at_all(database: TestDatabase) {
        let db = Db::open(database.url()).await.unwrap();
        db.execute(AddTenant { slug: "kept", fails: false }).await.unwrap();
        assert_eq!(db.execute(AddTenant { slug: "refused", fails: true }).await, Err(DbError::NotFound));
        let again = db.execute(AddTenant { slug: "kept", fails: false }).await;
        assert!(matches!(again, Err(DbError::UniqueViolation { .. })), "{again:?}");
        assert_eq!(slugs(&db).await, ["kept"]);
    }

    async fn a_database_is_opened_as_it_stands_only_if_it_is_the_programs_own(database: TestDatabase) {
        let early = Db::open_as_it_stands(database.url()).await.err();
        assert!(matches!(early, Some(DbError::NotMade | DbError::OlderThanProgram { .. })), "{early:?}");
        Db::open(database.url()).await.unwrap().close().await;
        let db = Db::open_as_it_stands(database.url()).await.unwrap();
        assert!(slugs(&db).await.is_empty());
        db.execute(AddTenant { slug: "kept", fails: false }).await.unwrap();
        db.close().await;
    }

    async fn a_frozen_node_does_not_keep_its_locks(database: TestDatabase) {
        let db = Db::open(database.url()).await.unwrap();
        if db.is_postgres() {
            let query = sql("SELECT current_setting('idle_in_transaction_session_timeout') AS patience");
            assert_eq!(db.one(query).await.unwrap().get::<String>("patience").unwrap(), "10s");
        }
    }

    async fn what_was_committed_is_there_when_the_database_is_opened_again(database: TestDatabase) {
        Db::open(database.url()).await.unwrap().execute(AddTenant { slug: "kept", fails: false }).await.unwrap();
        assert_eq!(slugs(&Db::open(database.url()).await.unwrap()).await, ["kept"]);
    }
}

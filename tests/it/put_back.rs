//! A database that is put back is marked, whoever put it back and however; one that is lost is not taken for a new one.

use crate::{
    backups::{backed_up, copied_by_hand, put_back, well},
    database::{TestDatabase, both_databases},
    installation::{Installation, SLUG},
    recovery::{before_the_reminders, ready},
    service::{ANA, Neighbour, Service, Setting},
};
use chartwire::{
    app::{App, Running, command_line::Ended},
    db::{
        Command, Db, DbError, Recovery, Tx,
        recovery::{self, HowMarked},
        sql,
    },
};
use jiff::{SignedDuration, Timestamp};
use std::fs;

const UNDER_WAY: &str = "chartwire_recoveries_under_way";
const NEIGHBOUR: &str = "hilltop";

/// What a program before the last migration would have left.
struct AsByAnOlderProgram;

impl Command for AsByAnOlderProgram {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql("DROP TABLE backup_taken")).await?;
        tx.execute(sql("DELETE FROM _sqlx_migrations WHERE description = 'backup taken'")).await.map(|_| ())
    }
}

/// The heads that `service` has exported are where `elsewhere` looks for them.
fn beside_the_heads(service: &Service, elsewhere: &Installation) {
    elsewhere.edit("head_folder = \"heads\"", &format!("head_folder = \"{}\"", service.heads().display()));
}

async fn built(installation: &Installation) -> Result<App, String> {
    let running = Running::with(installation.instruments.clone());
    App::build(&installation.settings(), running).await.map_err(|error| error.to_string())
}

async fn under_way(db: &Db) -> Vec<Recovery> {
    Recovery::under_way(db).await.unwrap()
}

/// Two practices on one EHR; the neighbour's carrier account is not known to the carrier.
async fn with_a_neighbour(database: &TestDatabase) -> Service {
    let neighbour = Neighbour { slug: NEIGHBOUR, ehr: "locations = [\"Location/location-annex\"]" };
    let ehr = "locations = [\"Location/location-main\"]";
    let setting = Setting { ehr, neighbour: Some(neighbour), now: "2026-11-23T14:30:00Z", ..Setting::default() };
    Service::start(database, setting).await
}

both_databases! {
    async fn an_older_schema_is_brought_up_to_date_and_marked_in_one(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let installation = service.installed_over(database.url());
        service.app.db().execute(AsByAnOlderProgram).await.unwrap();
        service.die().await;
        let refused = installation.run(&["recover", "--status"]).await;
        assert!(refused.err.contains("has to be marked first: `chartwire recover --begin`"), "{}", refused.err);
        let unsaid = installation.run(&["recover", "--begin"]).await;
        assert!(unsaid.ended == Ended::NotDone && unsaid.err.contains("--since INSTANT"), "{}{}", unsaid.out, unsaid.err);
        well(&installation.run(&["recover", "--begin", "--since", "2026-11-20T08:00:00Z"]).await);
        service.come_back(&installation).await;
        let marked = under_way(service.app.db()).await;
        assert_eq!(marked[0].since, "2026-11-20T08:00:00Z".parse().unwrap());
        assert_eq!((marked.len(), marked[0].how), (1, HowMarked::Operator));
        service.stop().await;
    }

    async fn what_is_no_database_of_ours_cannot_be_marked(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let elsewhere =
            if service.app.db().is_postgres() { TestDatabase::postgres().await.unwrap() } else { TestDatabase::sqlite() };
        let nothing = service.installed_over(elsewhere.url());
        let begin = ["recover", "--begin", "--since", "2026-11-20T08:00:00Z"];
        let refused = nothing.run(&begin).await;
        assert!(refused.ended == Ended::NotDone && refused.err.contains("there is no database"), "{}", refused.err);
        well(&nothing.run(&["migrate"]).await);
        let unknown = nothing.run(&begin).await;
        assert!(unknown.ended == Ended::NotDone && unknown.err.contains("knows no practice"), "{}", unknown.err);
        service.stop().await;
    }

    async fn the_heads_of_one_practice_date_all(database: TestDatabase) {
        let mut service = with_a_neighbour(&database).await;
        service.text(ANA, "hello").await;
        service.settle().await;
        service.app.sealer().seal(service.tenant).await.unwrap();
        let (folder, backed_up_at) = (tempfile::tempdir().unwrap(), service.now());
        backed_up(&service, database.url(), folder.path()).await;
        service.advance(SignedDuration::from_mins(5));
        service.text(ANA, "hello again").await;
        service.settle().await;
        service.app.sealer().seal(service.tenant).await.unwrap();
        service.die().await;
        let (url, _database) = copied_by_hand(&service, folder.path()).await;
        let elsewhere = service.installed_over(&url);
        beside_the_heads(&service, &elsewhere);
        service.advance(SignedDuration::from_hours(1));
        well(&elsewhere.run(&["recover", "--begin"]).await);
        let db = Db::open_as_it_stands(&url).await.unwrap();
        let since: Vec<Timestamp> = under_way(&db).await.iter().map(|marked| marked.since).collect();
        assert_eq!(since, [backed_up_at; 2]);
        db.close().await;
        service.stop().await;
    }

    async fn a_lost_database_is_not_taken_for_a_new_installation(database: TestDatabase) {
        let mut service = before_the_reminders(&database).await;
        service.die().await;
        let (fresh, file) = (TestDatabase::postgres().await, tempfile::tempdir().unwrap());
        let file = file.path().join("fresh.db");
        let url = match (service.app.db().is_postgres(), &fresh) {
            (true, Some(fresh)) => fresh.url().to_owned(),
            _ => format!("sqlite:{}", file.display()),
        };
        let elsewhere = service.installed_over(&url);
        beside_the_heads(&service, &elsewhere);
        for _ in 0..2 {
            let refused = built(&elsewhere).await.err().unwrap();
            assert!(refused.contains("audit.head_folder holds heads of practices"), "{refused}");
            let migrated = elsewhere.run(&["migrate"]).await;
            assert!(migrated.ended == Ended::NotDone && migrated.err.contains("put its newest backup back"), "{}", migrated.err);
            assert!(!file.exists() && !Db::is_made(&url).await.unwrap(), "nothing is in a backup's way");
        }
        // Made all the same, with its heads elsewhere: who brings the old ones back is told so.
        elsewhere.edit(&format!("head_folder = \"{}\"", service.heads().display()), "head_folder = \"heads\"");
        built(&elsewhere).await.unwrap().close().await;
        elsewhere.edit("head_folder = \"heads\"", &format!("head_folder = \"{}\"", service.heads().display()));
        assert!(built(&elsewhere).await.is_err());
        let begun = elsewhere.run(&["recover", "--begin", "--since", "2026-11-23T14:00:00Z"]).await;
        well(&begun);
        assert!(begun.out.contains("audit heads of a practice that the database does not know were moved to"), "{}", begun.out);
        let app = built(&elsewhere).await.unwrap();
        assert_eq!(under_way(app.db()).await.len(), 1);
        app.close().await;
        service.stop().await;
    }

    async fn another_machines_old_heads_do_not_begin_the_recovery_anew(database: TestDatabase) {
        let mut service = before_the_reminders(&database).await;
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        backed_up(&service, database.url(), folder.path()).await;
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "hello").await;
        service.settle().await;
        service.app.sealer().seal(service.tenant).await.unwrap();
        service.die().await;
        for head in fs::read_dir(service.heads()).unwrap().map(Result::unwrap) {
            fs::copy(head.path(), other.path().join(head.file_name())).unwrap();
        }
        service.advance(SignedDuration::from_mins(1));
        let (elsewhere, _database) = put_back(&service, folder.path()).await;
        beside_the_heads(&service, &elsewhere);
        service.come_back(&elsewhere).await;
        service.advance(SignedDuration::from_mins(10));
        well(&elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await);
        service.die().await;

        let heads = format!("head_folder = \"{}\"", service.heads().display());
        elsewhere.edit(&heads, &format!("head_folder = \"{}\"", other.path().display()));
        service.come_back(&elsewhere).await;
        assert!(under_way(service.app.db()).await.is_empty(), "the heads are of the log that has ended");
        service.app.sealer().seal(service.tenant).await.unwrap();
        well(&elsewhere.run(&["audit", "verify"]).await);
        let aside = |name: &str| name.starts_with("before-restore-");
        let names = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| aside(name)).count(), 1);
        service.stop().await;
    }

    async fn each_practice_is_recovered_for_itself_and_who_is_not_served_holds_nobody(database: TestDatabase) {
        let mut service = with_a_neighbour(&database).await;
        let folder = tempfile::tempdir().unwrap();
        backed_up(&service, database.url(), folder.path()).await;
        service.die().await;
        let (elsewhere, _database) = put_back(&service, folder.path()).await;
        service.come_back(&elsewhere).await;
        assert_eq!(service.app.gauges().read().await.unwrap().value(UNDER_WAY, &[]), 2);
        service.advance(SignedDuration::from_mins(10));
        let ran = elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await;
        assert_eq!(ran.ended, Ended::FoundWrong, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("riverside: recovered; texts leave again"), "{}", ran.out);
        assert!(ran.out.contains("hilltop: WRONG: sent texts cannot be read back"), "{}", ran.out);
        assert_eq!(service.app.gauges().read().await.unwrap().value(UNDER_WAY, &[]), 1);
        assert_eq!(ready(&service).await["parts"]["recovery"], "not ready");
        service.die().await;

        // The practice goes, and another comes in its place.
        elsewhere.edit(&format!("slug = \"{NEIGHBOUR}\""), "slug = \"lakeside\"");
        service.come_back(&elsewhere).await;
        assert_eq!(service.app.gauges().read().await.unwrap().value(UNDER_WAY, &[]), 0);
        assert_eq!(ready(&service).await["parts"]["recovery"], "ready");
        assert_eq!(under_way(service.app.db()).await.len(), 1, "should it come back, it is held");
        service.stop().await;
    }
}

/// An installation with one practice that has been served, and where its backup is.
async fn served() -> (Installation, tempfile::TempDir) {
    let (installation, folder) = (Installation::new(), tempfile::tempdir().unwrap());
    built(&installation).await.unwrap().close().await;
    (installation, folder)
}

fn in_folder(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backup_that_is_copied_into_place_by_hand_is_marked_by_whoever_opens_it() {
    let (installation, folder) = served().await;
    let (backup, taken_at) = (in_folder(&folder, "backup"), installation.instruments.now());
    well(&installation.run(&["backup", "--to", &backup]).await);
    for (before, opens) in [("chartwire", "service"), ("service", "command")] {
        installation.clock.advance(SignedDuration::from_hours(1));
        fs::copy(&backup, installation.folder.path().join(format!("{opens}.db"))).unwrap();
        installation.edit(&format!("sqlite:{before}.db"), &format!("sqlite:{opens}.db"));
        if opens == "service" {
            built(&installation).await.unwrap().close().await;
        } else {
            let status = installation.run(&["recover", "--status"]).await;
            assert_eq!(status.ended, Ended::FoundWrong, "{}{}", status.out, status.err);
        }
        let db = Db::open_as_it_stands(installation.settings().database.url.reveal()).await.unwrap();
        let marked = under_way(&db).await;
        assert_eq!((marked.len(), marked[0].since, marked[0].how), (1, taken_at, HowMarked::Restored), "{opens}");
        assert_eq!(recovery::copied_from_backup_of(&db).await.unwrap(), None);
        let noted = sql("SELECT COUNT(*) AS n FROM audit_row WHERE purpose = 'recovery'");
        assert_eq!(db.one(noted).await.unwrap().get::<i64>("n").unwrap(), 1);
        db.close().await;
    }
}

#[tokio::test]
async fn a_practice_that_no_service_has_taken_in_keeps_nobody_from_being_backed_up() {
    let (installation, folder) = (Installation::new(), tempfile::tempdir().unwrap());
    well(&installation.run(&["migrate"]).await);
    let ran = installation.run(&["backup", "--to", &in_folder(&folder, "backup")]).await;
    well(&ran);
    assert!(ran.out.contains(&format!("{SLUG}: no service has taken it in yet")), "{}", ran.out);
    assert!(folder.path().join("backup").exists());
}

#[tokio::test]
async fn how_old_the_newest_backup_is_shows_once_there_is_one() {
    let (installation, folder) = served().await;
    let app = built(&installation).await.unwrap();
    let age = async || app.gauges().read().await.unwrap().value("chartwire_backup_age_seconds", &[]);
    installation.clock.advance(SignedDuration::from_mins(10));
    assert_eq!(age().await, 0, "none was taken");
    well(&installation.run(&["backup", "--to", &in_folder(&folder, "first")]).await);
    installation.clock.advance(SignedDuration::from_mins(90));
    assert_eq!(age().await, 5400);
    well(&installation.run(&["backup", "--to", &in_folder(&folder, "second")]).await);
    assert_eq!(age().await, 0);
    app.close().await;
}

#[tokio::test]
async fn a_backup_is_refused_where_it_would_overwrite_and_a_restore_where_it_would_or_cannot_be_opened() {
    let (installation, folder) = (Installation::new(), tempfile::tempdir().unwrap());
    well(&installation.run(&["migrate"]).await);
    let settings = installation.settings();
    let service = App::build(&settings, Running::with(installation.instruments.clone())).await.unwrap();
    well(&installation.run(&["keys", "rotate"]).await);
    let backup = folder.path().join("backup");
    let to = backup.to_str().unwrap();
    well(&installation.run(&["backup", "--to", to]).await);
    service.close().await;
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&backup).unwrap()) & 0o777, 0o600);
    let again = installation.run(&["backup", "--to", to]).await;
    assert!(again.ended == Ended::NotDone && again.err.contains("exists already"), "{}", again.err);
    well(&installation.run(&["backup", "--to", folder.path().to_str().unwrap()]).await);
    let in_place = installation.run(&["restore", "--from", to]).await;
    assert!(in_place.ended == Ended::NotDone && in_place.err.contains("exists already"), "{}", in_place.err);

    let elsewhere = Installation::new();
    let wrong_key = elsewhere.run(&["restore", "--from", to]).await;
    assert!(wrong_key.ended == Ended::NotDone && wrong_key.err.contains("key"), "{}", wrong_key.err);
    fs::copy(installation.folder.path().join("kek"), elsewhere.folder.path().join("kek")).unwrap();
    let damaged = folder.path().join("damaged");
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    fs::write(&damaged, bytes).unwrap();
    for file in [damaged.to_str().unwrap(), installation.folder.path().join("kek").to_str().unwrap()] {
        let refused = elsewhere.run(&["restore", "--from", file]).await;
        assert_eq!(refused.ended, Ended::NotDone, "{}{}", refused.out, refused.err);
    }
    let left: Vec<_> = fs::read_dir(elsewhere.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".db")), "nothing is left behind: {left:?}");
    well(&elsewhere.run(&["restore", "--from", to]).await);
    let db = Db::open_as_it_stands(elsewhere.settings().database.url.reveal()).await.unwrap();
    let marked = db.one(sql("SELECT since FROM recovery WHERE lifted_at IS NULL")).await.unwrap();
    assert_eq!(marked.get::<Timestamp>("since").unwrap(), installation.instruments.now());
    db.close().await;
}

#[tokio::test]
async fn on_postgresql_backup_and_restore_name_the_way_that_is_documented() {
    let installation = Installation::new();
    installation.edit("url = \"sqlite:chartwire.db\"", "url = \"postgres://nobody@127.0.0.1:1/none\"");
    for command in [["backup", "--to", "x"], ["restore", "--from", "x"]] {
        let refused = installation.run(&command).await;
        assert!(refused.ended == Ended::NotDone && refused.err.contains("docs/backup.md"), "{}", refused.err);
    }
}

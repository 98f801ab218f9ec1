//! `consents`: a list of what patients agreed to elsewhere, taken into the ledger: all of it or nothing.

#[cfg(any(test, fuzzing))]
mod fuzzing;
mod list;
mod patients;

#[cfg(any(test, fuzzing))]
pub(crate) use fuzzing::consent_list;

use super::{CommandError, ConfigFile, Ended, Streams, chosen, operator::operator};
use crate::{
    app::{Foundation, tenants},
    audit::{Action, AuditEntry, AuditSigner, Detail},
    config::Settings,
    consent::{self, Decision, NewEntry, Period, Proof, Source},
    db::{Command as DbCommand, DbError, Tx},
    kernel::{Id, Instruments, Phi},
    practice::Practice,
    routing::{InForce, ToldConsent},
    template::{Catalogue, FormWord, Params, TextKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use list::{Listed, Mistake, Terms};
use patients::Person;
use std::{cmp::Reverse, fs::File, io::BufReader, path::PathBuf, sync::Arc};

/// Who recorded an entry whose proof names the person.
const RECORDED_BY: &str = "import";

/// What the list has to be.
const LIST: &str = "\
Take a list of consents and denials into the ledger

The list is CSV in UTF-8. Its first line names the columns, in any order:

  patient       the FHIR id
  phone         one of the patient's numbers on file
  categories    some of appointment;refill;clinical;billing, or all for a denial
  decision      granted or denied
  wording       the name of the wording with its version; may be empty for a denial
  wording_text  its words, once in the list; empty for the program's own forms (consent_form:1:en)
  obtained_at   a date or an instant
  method        in-person, phone, paper-form, online-form, portal, email, letter or text
  proof         where it is kept; may be empty for a denial
  recorded_by   a name

A wording that is imported has to say that staff read replies and keep them.

All of it is checked first and every mistake reported by its line; then all of it is recorded, or nothing.
Lines that were recorded before are left alone. A number that said STOP stays stopped.";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Take a list of consents and denials into the ledger
    #[command(long_about = LIST)]
    Import {
        #[command(flatten)]
        config: ConfigFile,
        /// The practice
        #[arg(long, value_name = "SLUG", alias = "tenant")]
        practice: String,
        /// Check the list and record nothing
        #[arg(long)]
        dry_run: bool,
        /// The list
        file: PathBuf,
    },
}

pub(super) async fn run(
    command: Command,
    streams: &mut Streams<'_>,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let Command::Import { config, practice, dry_run, file } = command;
    let file = File::open(file).map_err(CommandError::Input)?;
    let (settings, foundation) = config.foundation(instruments).await?;
    let imported = match Import::of(&settings, &foundation, &practice) {
        Ok(import) => import.run(file, dry_run, streams).await,
        Err(error) => Err(error),
    };
    foundation.db.close().await;
    imported
}

/// One run.
struct Import<'a> {
    settings: &'a Settings,
    foundation: &'a Foundation,
    practice: Arc<Practice>,
    catalogue: Catalogue,
}

/// What a run would record, by line.
struct Prepared {
    decisions: Vec<(u64, ToldConsent)>,
    known_before: usize,
}

impl<'a> Import<'a> {
    fn of(settings: &'a Settings, foundation: &'a Foundation, named: &str) -> Result<Self, CommandError> {
        let chosen = chosen(settings, foundation, Some(named))?;
        let practices = tenants::practices(settings, &foundation.tenants)?;
        let practice = chosen.first().and_then(|(_, tenant)| practices.get(*tenant));
        let practice = practice.ok_or(CommandError::NoSuchTenant { known: named.to_owned() })?;
        let catalogue = Catalogue::house().map_err(crate::app::AppError::from)?;
        Ok(Self { settings, foundation, practice, catalogue })
    }

    async fn run(&self, file: File, dry_run: bool, streams: &mut Streams<'_>) -> Result<Ended, CommandError> {
        let knows_form = |word| self.form(word).is_some();
        let now = self.foundation.instruments.now();
        let terms = Terms { now, zone: &self.practice.zone, knows_form: &knows_form };
        let listed = match list::read(BufReader::new(file), &terms) {
            Ok(listed) => listed,
            Err(mistakes) => return refuse(&mistakes, streams),
        };
        let listed = match patients::known(self.settings, self.foundation, self.practice.tenant, listed).await? {
            Ok(listed) => listed,
            Err(mistakes) => return refuse(&mistakes, streams),
        };
        let lines = listed.len();
        if dry_run {
            writeln!(streams.out, "{lines} lines can be imported; nothing was recorded")?;
            return Ok(Ended::Well);
        }
        let Prepared { decisions, known_before } = self.prepare(listed).await?;
        let numbers: Vec<u64> = decisions.iter().map(|(line, _)| *line).collect();
        let decisions: Vec<ToldConsent> = decisions.into_iter().map(|(_, told)| told).collect();
        let came_to =
            if decisions.is_empty() { Vec::new() } else { self.foundation.db.execute(RecordAll(decisions)).await? };
        let recorded = came_to.iter().filter(|came_to| **came_to != InForce::KnownBefore).count();
        let before = known_before + came_to.len() - recorded;
        writeln!(streams.out, "{lines} lines: {recorded} recorded, {before} known before")?;
        let mut stopped: Vec<u64> = numbers
            .iter()
            .zip(&came_to)
            .filter(|(_, to)| **to == InForce::StaysStopped)
            .map(|(line, _)| *line)
            .collect();
        stopped.sort_unstable();
        for line in stopped {
            writeln!(
                streams.out,
                "line {line}: the number said STOP, so no text leaves until the patient texts START from it"
            )?;
        }
        Ok(Ended::Well)
    }

    /// The words of one of the program's own forms.
    fn form(&self, word: FormWord) -> Option<Phi<String>> {
        let params = Params::new(&self.practice.clinic_name, &self.practice.zone).phone(&self.practice.phone);
        if word.key == TextKey::ConsentForm { self.catalogue.form(word, &params).ok() } else { None }
    }

    /// Seals what is new. What was recorded before is not even sealed.
    async fn prepare(&self, listed: Vec<(Listed, Arc<Person>)>) -> Result<Prepared, CommandError> {
        let tenant = self.practice.tenant;
        let signer = self.foundation.signer(tenant).await?;
        let mut prepared = Prepared { decisions: Vec::with_capacity(listed.len()), known_before: 0 };
        for (line, person) in listed {
            let key = self.foundation.vault.content_hash(tenant, &canonical(&line)).await?;
            let origin = format!("import:{}", URL_SAFE_NO_PAD.encode(key));
            if consent::is_recorded(&self.foundation.db, tenant, &origin_of(&origin, person.patient)).await? {
                prepared.known_before += 1;
                continue;
            }
            let told = self.told(&line, &origin, &person, signer.clone()).await?;
            prepared.decisions.push((line.line, told));
        }
        // The locks of the numbers are taken in one order, so that two imports do not wait for each other; of a number
        // the newest word comes first, so that an older denial does not stop what was agreed to since.
        prepared.decisions.sort_by(|(_, a), (_, b)| {
            (&a.number_token, Reverse(a.effective_at)).cmp(&(&b.number_token, Reverse(b.effective_at)))
        });
        Ok(prepared)
    }

    async fn told(
        &self,
        line: &Listed,
        origin: &str,
        person: &Person,
        signer: AuditSigner,
    ) -> Result<ToldConsent, CommandError> {
        let (tenant, instruments) = (self.practice.tenant, &self.foundation.instruments);
        let own_form = line.wording.parse().ok().and_then(|word| self.form(word)).map(Phi::into_exposed);
        let proof = Phi::new(Proof {
            method: line.method,
            reference: line.proof.clone(),
            wording: own_form.unwrap_or_else(|| line.wording_text.clone()),
            recorded_by: line.recorded_by.clone(),
        });
        let ids = if line.decision == Decision::Granted { person.ids.as_slice() } else { &[person.patient] };
        let now = instruments.now();
        let mut entries = Vec::with_capacity(ids.len() * line.categories.len());
        for patient in ids {
            for category in &line.categories {
                let id = instruments.new_id();
                entries.push(NewEntry {
                    id,
                    tenant,
                    patient: Some(*patient),
                    number_token: Some(person.number_token.clone()),
                    category: *category,
                    decision: line.decision,
                    source: Source::Import,
                    wording: line.wording.clone(),
                    recorded_by: RECORDED_BY.to_owned(),
                    proof: Some(Proof::seal(&proof, &self.foundation.vault, tenant, id).await?),
                    origin: Some(origin_of(origin, *patient)),
                    effective_at: line.obtained_at,
                    period: Period::default(),
                    recorded_at: now,
                });
            }
        }
        let detail = Detail::new()
            .code("source", Source::Import.code())
            .code("method", line.method.code())
            .count("line", i64::try_from(line.line).unwrap_or(i64::MAX));
        Ok(ToldConsent {
            tenant,
            patient: person.patient,
            number_token: person.number_token.clone(),
            decision: line.decision,
            entries,
            effective_at: line.obtained_at,
            now,
            audit: AuditEntry::new(operator(), Action::Consent, "consent-import").with_detail(detail),
            signer,
        })
    }
}

/// Names a line by all that it says, so that the same is recorded once in whatever file and at whatever place it stands.
fn canonical(line: &Listed) -> Vec<u8> {
    let categories: Vec<&str> = line.categories.iter().map(|category| category.code()).collect();
    let said = (
        (&line.patient, line.phone.as_e164(), categories, line.decision.code(), &line.wording),
        (&line.wording_text, line.obtained_at.as_millisecond(), line.method.code(), &line.proof, &line.recorded_by),
    );
    serde_json::to_vec(&said).unwrap_or_default()
}

fn origin_of(origin: &str, patient: Id<crate::kernel::Patient>) -> String {
    format!("{origin}:{patient}")
}

fn refuse(mistakes: &[Mistake], streams: &mut Streams<'_>) -> Result<Ended, CommandError> {
    for mistake in mistakes {
        writeln!(streams.err, "{mistake}")?;
    }
    let mistakes = mistakes.len();
    writeln!(streams.err, "nothing was imported; mistakes: {mistakes}")?;
    Ok(Ended::NotDone)
}

/// Records every decision, or none.
struct RecordAll(Vec<ToldConsent>);

impl DbCommand for RecordAll {
    type Output = Vec<InForce>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Vec<InForce>, DbError> {
        let mut came_to = Vec::with_capacity(self.0.len());
        for told in &self.0 {
            came_to.push(told.enforce(tx).await?);
        }
        Ok(came_to)
    }
}

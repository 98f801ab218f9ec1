//! Recording what a patient told the person at the screen, in force from the transaction that records it.

use super::{
    LiveInbox,
    consent::{PURPOSE, form_params, number_key},
    failed,
    reply::form_key,
    staff_entry,
};
use crate::{
    access::{ConsentRight, consent_right},
    audit::{Action, Detail},
    consent::{Decision, Method, NewEntry, Period, Proof, Source},
    db::{Command, DbError, Tx},
    http::inbox::source::{InboxError, PatientsWord, ToldByPatient, Viewer},
    kernel::{Id, Patient, Phi},
    practice::Practice,
    routing::{InForce, ToldConsent},
    template::{FormWord, TemplateError, TextKey},
};

impl LiveInbox {
    pub(super) async fn record_told(
        &self,
        viewer: &Viewer,
        patient: Id<Patient>,
        told: &ToldByPatient,
    ) -> Result<InForce, InboxError> {
        let tenant = viewer.session.tenant;
        let needed = match told.word {
            PatientsWord::Agrees { .. } => ConsentRight::Grant,
            PatientsWord::WantsNone => ConsentRight::Withdraw,
        };
        if consent_right(&viewer.session.roles) < Some(needed) {
            return Err(InboxError::NotAllowed);
        }
        let practice = self.practices.get(tenant).ok_or(InboxError::NotFound)?;
        let record = self.directory.by_id(tenant, patient).await.map_err(failed)?.ok_or(InboxError::NotFound)?;
        if record.deceased && needed == ConsentRight::Grant {
            return Err(InboxError::Changed);
        }
        // A number that is not on file any more was changed while the page was open.
        let number = record.numbers.iter().find(|number| number_key(number) == told.number);
        let number = number.ok_or(InboxError::Changed)?;
        let said = self.said(&practice, told)?;
        let now = self.instruments.now();
        // Who agrees does so under every id that they have had: a denial of one of them would stand otherwise.
        let ids = match said.decision {
            Decision::Granted => self.directory.ids_of(tenant, record.id).await.map_err(failed)?,
            Decision::Denied => vec![record.id],
        };
        // A withdrawal counts however often it is sent off: it must never be taken for an earlier one.
        let form = (said.decision == Decision::Granted).then(|| form_key(viewer, &told.once));
        let mut entries = Vec::with_capacity(ids.len() * told.categories.len());
        for patient in ids {
            for category in &told.categories {
                let id = self.instruments.new_id();
                entries.push(NewEntry {
                    id,
                    tenant,
                    patient: Some(patient),
                    number_token: Some(number.token.clone()),
                    category: *category,
                    decision: said.decision,
                    source: said.source,
                    wording: said.wording.clone(),
                    recorded_by: viewer.session.staff.to_string(),
                    proof: Some(Proof::seal(&said.proof, &self.vault, tenant, id).await.map_err(failed)?),
                    origin: form.as_ref().map(|form| format!("form:{form}:{patient}")),
                    effective_at: now,
                    period: Period::default(),
                    recorded_at: now,
                });
            }
        }
        let consent = ToldConsent {
            tenant,
            patient: record.id,
            number_token: number.token.clone(),
            decision: said.decision,
            entries,
            effective_at: now,
            now,
            audit: staff_entry(viewer, Action::Consent, PURPOSE)
                .with_detail(Detail::new().code("source", said.source.code()).code("method", told.method.code())),
            signer: self.signer(tenant).await?,
        };
        self.db.execute(Enforce(consent)).await.map_err(failed)
    }

    /// What was told, for the ledger.
    fn said(&self, practice: &Practice, told: &ToldByPatient) -> Result<Said, InboxError> {
        let proof = |reference: &Phi<String>, wording: Phi<String>, method: Method| {
            Phi::new(Proof {
                method,
                reference: reference.as_str().to_owned(),
                wording: wording.into_exposed(),
                recorded_by: String::new(),
            })
        };
        match &told.word {
            PatientsWord::Agrees { wording, proof: reference } => {
                // Any version that there ever was: what the page showed may have been replaced meanwhile.
                let word = wording.parse::<FormWord>().ok().filter(|word| word.key == TextKey::ConsentForm);
                let word = word.ok_or(InboxError::NotFound)?;
                let text = match self.catalogue.form(word, &form_params(practice)) {
                    Ok(text) => text,
                    Err(TemplateError::NoSuchVersion { .. }) => return Err(InboxError::NotFound),
                    Err(error) => return Err(failed(error)),
                };
                Ok(Said {
                    decision: Decision::Granted,
                    source: Source::Desk,
                    wording: word.to_string(),
                    proof: proof(reference, text, told.method),
                })
            }
            PatientsWord::WantsNone => Ok(Said {
                decision: Decision::Denied,
                source: Source::Staff,
                wording: String::new(),
                proof: proof(&Phi::default(), Phi::default(), told.method),
            }),
        }
    }
}

struct Said {
    decision: Decision,
    source: Source,
    wording: String,
    proof: Phi<Proof>,
}

struct Enforce(ToldConsent);

impl Command for Enforce {
    type Output = InForce;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<InForce, DbError> {
        self.0.enforce(tx).await
    }
}

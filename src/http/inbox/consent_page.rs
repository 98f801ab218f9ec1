//! What the launched patient said about texts: what stands, and two forms to record what the patient says now.

use super::{
    Parts,
    consent_layout::{AGREED_BY, Choice, NumberLines, TOLD_BY, WordingLines, numbers, topic, wordings},
    session_layer::owned,
    source::{ConsentState, ConsentView, PatientsWord, ToldByPatient, Viewer},
};
use crate::{
    access::ConsentRight,
    consent::{Category, Method},
    http::{Failure, page},
    kernel::{Language, Phi},
    routing::InForce,
};
use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

/// The longest note of where a proof is kept, in characters.
const LONGEST_NOTE: usize = 200;

/// The page.
#[derive(Template)]
#[template(path = "consent.html", config = "src/http/askama.toml")]
struct ConsentPage<'a> {
    clinic: &'a str,
    name: &'a str,
    details: &'a str,
    language: &'static str,
    staff: &'a str,
    numbers: Vec<NumberLines<'a>>,
    wordings: Vec<WordingLines<'a>>,
    topics: Vec<Choice>,
    agreed_by: Vec<Choice>,
    told_by: Vec<Choice>,
    typed: &'a Typed,
    right: ConsentRight,
    /// The form that is open.
    open: Option<Sheet>,
    done: Option<&'static str>,
    problem: Option<&'static str>,
    once: String,
    form_token: &'a str,
    at: String,
    seconds_left: i64,
    idle_seconds: i64,
}

impl ConsentPage<'_> {
    fn may_grant(&self) -> bool {
        self.right >= ConsentRight::Grant
    }

    fn may_withdraw(&self) -> bool {
        self.right >= ConsentRight::Withdraw
    }

    fn opens(&self, sheet: Sheet) -> bool {
        self.open == Some(sheet)
    }
}

/// What a form holds. What is not ticked is not sent.
#[derive(Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    form_token: String,
    once: String,
    number: String,
    wording: String,
    method: String,
    proof: String,
    agrees: Option<String>,
    everything: Option<String>,
    appointment: Option<String>,
    refill: Option<String>,
    clinical: Option<String>,
    billing: Option<String>,
}

impl Typed {
    const fn ticked(&self, category: Category) -> bool {
        match category {
            Category::Appointment => self.appointment.is_some(),
            Category::Refill => self.refill.is_some(),
            Category::Clinical => self.clinical.is_some(),
            Category::Billing => self.billing.is_some(),
        }
    }

    fn categories(&self) -> Vec<Category> {
        Category::ALL.iter().copied().filter(|category| self.ticked(*category)).collect()
    }

    /// The method, if it is one of those that the form offers.
    fn method(&self, offered: &[(Method, &str)]) -> Option<Method> {
        let method = Method::from_code(&self.method)?;
        offered.iter().any(|(offered, _)| *offered == method).then_some(method)
    }

    /// The agreement, or what is missing for it.
    fn agreement(&self) -> Result<ToldByPatient, &'static str> {
        let categories = self.categories();
        let proof = self.proof.trim();
        if self.number.is_empty() {
            return Err("Choose the number.");
        }
        if self.wording.is_empty() {
            return Err("Choose the words that the patient read or heard.");
        }
        if categories.is_empty() {
            return Err("Tick at least one thing that the patient wants texts about.");
        }
        let Some(method) = self.method(&AGREED_BY) else { return Err("Choose how the patient agreed.") };
        if proof.chars().count() > LONGEST_NOTE {
            return Err("Shorten the note of where the form is kept to 200 characters.");
        }
        if self.agrees.is_none() {
            return Err("Tick that the patient read or heard the words and agrees. Without that there is no consent.");
        }
        let word = PatientsWord::Agrees { wording: self.wording.clone(), proof: Phi::new(proof.to_owned()) };
        Ok(ToldByPatient { once: self.once.clone(), number: self.number.clone(), categories, method, word })
    }

    /// The withdrawal, or what is missing for it.
    fn withdrawal(&self) -> Result<ToldByPatient, &'static str> {
        let categories = if self.everything.is_some() { Category::ALL.to_vec() } else { self.categories() };
        if self.number.is_empty() {
            return Err("Choose the number.");
        }
        if categories.is_empty() {
            return Err("Tick which texts end.");
        }
        let Some(method) = self.method(&TOLD_BY) else { return Err("Choose how the patient said so.") };
        let word = PatientsWord::WantsNone;
        Ok(ToldByPatient { once: self.once.clone(), number: self.number.clone(), categories, method, word })
    }
}

/// Which form is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sheet {
    Agreed,
    Withdrawn,
}

/// What was done just now. Says nothing about anybody: it stands in the address.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    Agreed,
    StaysStopped,
    Withdrawn,
    KnownBefore,
}

impl Done {
    const fn address(self) -> &'static str {
        match self {
            Self::Agreed => "consent?done=agreed",
            Self::StaysStopped => "consent?done=stays-stopped",
            Self::Withdrawn => "consent?done=withdrawn",
            Self::KnownBefore => "consent?done=known-before",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Agreed => "Recorded: the patient agrees.",
            Self::StaysStopped => {
                "Recorded, but texts stay off: this number said STOP. The patient must text START from this phone."
            }
            Self::Withdrawn => "Recorded: these texts end now.",
            Self::KnownBefore => "This was recorded before. Nothing has changed.",
        }
    }
}

/// What the address may say.
#[derive(Deserialize)]
pub(super) struct Asked {
    done: Option<Done>,
}

/// What stands, and the forms.
pub(super) async fn page(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let Some(patient) = viewer.session.patient else { return Ok(Redirect::to(&viewer.address()).into_response()) };
    let view = parts.source.consent(&viewer, patient).await?;
    let typed = preset(&view);
    shown(&parts, &viewer, &view, &typed, None, asked.done)
}

/// Records that the patient agrees.
pub(super) async fn agreed(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Typed>,
) -> Result<Response, Failure> {
    let told = form.agreement();
    record(&parts, &viewer, &form, Sheet::Agreed, told).await
}

/// Records that the patient wants no such texts.
pub(super) async fn withdrawn(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Typed>,
) -> Result<Response, Failure> {
    let told = form.withdrawal();
    record(&parts, &viewer, &form, Sheet::Withdrawn, told).await
}

async fn record(
    parts: &Parts,
    viewer: &Viewer,
    form: &Typed,
    sheet: Sheet,
    told: Result<ToldByPatient, &'static str>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    let patient = viewer.patient()?;
    let told = match told {
        Ok(told) => told,
        Err(problem) => {
            let view = parts.source.consent(viewer, patient).await?;
            let page = shown(parts, viewer, &view, form, Some((sheet, problem)), None)?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let done = match (parts.source.record_consent(viewer, patient, &told).await?, sheet) {
        (InForce::KnownBefore, _) => Done::KnownBefore,
        (InForce::StaysStopped, _) => Done::StaysStopped,
        (InForce::Holds, Sheet::Agreed) => Done::Agreed,
        (InForce::Holds, Sheet::Withdrawn) => Done::Withdrawn,
    };
    Ok(Redirect::to(&format!("{}/{}", viewer.address(), done.address())).into_response())
}

/// The forms as they are opened: the number that is texted, the patient's language, and no tick that the patient has
/// to give.
fn preset(view: &ConsentView) -> Typed {
    Typed {
        number: view.numbers.first().map(|number| number.key.clone()).unwrap_or_default(),
        wording: view.wordings.first().map(|wording| wording.word.clone()).unwrap_or_default(),
        ..Typed::default()
    }
}

fn shown(
    parts: &Parts,
    viewer: &Viewer,
    view: &ConsentView,
    typed: &Typed,
    problem: Option<(Sheet, &'static str)>,
    done: Option<Done>,
) -> Result<Response, Failure> {
    let session = &viewer.session;
    let now = parts.instruments.now();
    let zone = parts.source.zone(session.tenant);
    let asking = problem.is_none() && done.is_none() && was_never_asked(view);
    let choices = |offered: &[(Method, &'static str)]| {
        let choice = |(method, name): &(Method, &'static str)| Choice {
            code: method.code(),
            name,
            ticked: method.code() == typed.method,
        };
        offered.iter().map(choice).collect()
    };
    let topics = Category::ALL.iter().map(|category| Choice {
        code: category.code(),
        name: topic(*category),
        ticked: typed.ticked(*category),
    });
    page::rendered(&ConsentPage {
        clinic: &view.clinic,
        name: view.patient.name.as_str(),
        details: view.patient.details.as_str(),
        language: match view.patient.language {
            Language::English => "English",
            Language::Spanish => "Spanish",
        },
        staff: session.name.as_str(),
        numbers: numbers(view, now, &zone),
        wordings: wordings(view),
        topics: topics.collect(),
        agreed_by: choices(&AGREED_BY),
        told_by: choices(&TOLD_BY),
        typed,
        right: view.right,
        open: problem.map(|(sheet, _)| sheet).or(asking.then_some(Sheet::Agreed)),
        done: done.map(Done::words),
        problem: problem.map(|(_, words)| words),
        once: parts.instruments.token(16),
        form_token: session.form_token(),
        at: viewer.address(),
        seconds_left: session.ends_at.duration_since(now).as_secs(),
        idle_seconds: session.idle.duration().as_secs(),
    })
}

/// Whether nothing stands on any number: then asking is what the page is opened for.
fn was_never_asked(view: &ConsentView) -> bool {
    let mut lines = view.numbers.iter().flat_map(|number| &number.categories);
    lines.all(|line| line.state == ConsentState::NotAsked) && view.numbers.iter().all(|number| number.stopped.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Typed {
        Typed {
            number: "n".to_owned(),
            wording: "consent_form:2:en".to_owned(),
            method: "in-person".to_owned(),
            agrees: Some("1".to_owned()),
            refill: Some("1".to_owned()),
            ..Typed::default()
        }
    }

    #[test]
    fn an_agreement_needs_every_part_of_it() {
        assert_eq!(whole().agreement().unwrap().categories, [Category::Refill]);
        for lacking in [
            Typed { number: String::new(), ..whole() },
            Typed { wording: String::new(), ..whole() },
            Typed { refill: None, ..whole() },
            Typed { method: "telepathy".to_owned(), ..whole() },
            Typed { method: "letter".to_owned(), ..whole() },
            Typed { agrees: None, ..whole() },
            Typed { proof: "x".repeat(201), ..whole() },
        ] {
            assert!(lacking.agreement().is_err());
        }
    }

    #[test]
    fn a_withdrawal_of_everything_is_one_of_every_kind() {
        let all = Typed { everything: Some("1".to_owned()), ..whole() };
        assert_eq!(all.withdrawal().unwrap().categories, Category::ALL);
        assert_eq!(whole().withdrawal().unwrap().categories, [Category::Refill]);
        assert!(Typed { refill: None, ..whole() }.withdrawal().is_err());
        assert!(Typed { method: String::new(), ..whole() }.withdrawal().is_err());
    }
}

//! The patients.

use super::{Day, ORGANIZATION, SYSTEM, persona};
use serde_json::{Value, json};

/// What the chart says about texting someone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texting {
    /// A Consent permits these message classes: `appointment`, `refill`, `clinical`.
    Permitted(&'static [&'static str]),
    /// A Consent denies.
    Denied,
    /// Nobody has asked.
    NotAsked,
}

/// A patient of the practice.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// The Patient's id.
    pub id: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Family name.
    pub family: &'static str,
    /// FHIR's administrative gender.
    pub gender: &'static str,
    /// Age in years, near enough.
    pub age: i16,
    /// The phone number, E.164; empty where there is none.
    pub phone: &'static str,
    /// `mobile`, or `home` for a landline.
    pub phone_use: &'static str,
    /// The language spoken, as a BCP 47 tag.
    pub language: &'static str,
    /// What the chart says about texting.
    pub texting: Texting,
}

impl Person {
    /// The name as people say it, with what tells this person apart.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {} · {}", self.given, self.family, self.age)
    }

    /// The name as people say it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    /// Whether the record was replaced by another.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.id == persona::ROBERT_CHEN_DUPLICATE
    }
}

const ALL_CLASSES: Texting = Texting::Permitted(&["appointment", "refill", "clinical"]);
const VISITS_ONLY: Texting = Texting::Permitted(&["appointment"]);

const fn person(
    id: &'static str,
    (given, family): (&'static str, &'static str),
    (gender, age): (&'static str, i16),
    phone: &'static str,
) -> Person {
    let texting = ALL_CLASSES;
    Person { id, given, family, gender, age, phone, phone_use: "mobile", language: "en", texting }
}

const PATIENTS: [Person; 26] = [
    person(persona::ANA_LOPEZ, ("Ana", "Lopez"), ("female", 41), "+12125550101"),
    Person { language: "es", ..person(persona::ROSA_JIMENEZ, ("Rosa", "Jiménez"), ("female", 57), "+12125550102") },
    person(persona::MARIA_SANTOS, ("Maria", "Santos"), ("female", 36), "+12125550103"),
    person(persona::MIA_SANTOS, ("Mia", "Santos"), ("female", 9), "+12125550103"),
    Person { phone_use: "home", ..person(persona::WALTER_BROOKS, ("Walter", "Brooks"), ("male", 78), "+12125550104") },
    Person { texting: Texting::Denied, ..person(persona::GRACE_KIM, ("Grace", "Kim"), ("female", 49), "+12125550105") },
    Person {
        texting: Texting::NotAsked,
        ..person(persona::PETER_NOVAK, ("Peter", "Novak"), ("male", 52), "+12125550106")
    },
    person(persona::JAMES_CARTER, ("James", "Carter"), ("male", 63), "+12125550107"),
    person(persona::LINDA_OKAFOR, ("Linda", "Okafor"), ("female", 66), "+12125550108"),
    person(persona::HELEN_WARD, ("Helen", "Ward"), ("female", 71), "+12125550109"),
    person(persona::PRIYA_NAIR, ("Priya", "Nair"), ("female", 33), "+12125550110"),
    person(persona::TOM_BECKER, ("Tom", "Becker"), ("male", 45), "+12125550111"),
    person(persona::ROBERT_CHEN, ("Robert", "Chen"), ("male", 60), "+12125550112"),
    person(persona::ROBERT_CHEN_DUPLICATE, ("Bob", "Chen"), ("male", 60), "+12125550112"),
    Person { phone_use: "", ..person(persona::AGNES_COLE, ("Agnes", "Cole"), ("female", 84), "") },
    person("patient-daniel-murphy", ("Daniel", "Murphy"), ("male", 29), "+12125550113"),
    person("patient-fatima-hassan", ("Fatima", "Hassan"), ("female", 38), "+12125550114"),
    person("patient-george-petrov", ("George", "Petrov"), ("male", 55), "+12125550115"),
    Person {
        texting: VISITS_ONLY,
        ..person("patient-irene-walsh", ("Irene", "Walsh"), ("female", 68), "+12125550116")
    },
    Person { language: "es", ..person("patient-carlos-vega", ("Carlos", "Vega"), ("male", 47), "+12125550117") },
    person("patient-nina-larsen", ("Nina", "Larsen"), ("female", 26), "+12125550118"),
    Person { texting: VISITS_ONLY, ..person("patient-oscar-grant", ("Oscar", "Grant"), ("male", 73), "+12125550119") },
    person("patient-paula-ricci", ("Paula", "Ricci"), ("female", 50), "+12125550120"),
    person("patient-samuel-adeyemi", ("Samuel", "Adeyemi"), ("male", 34), "+12125550121"),
    person("patient-tessa-young", ("Tessa", "Young"), ("female", 22), "+12125550122"),
    person("patient-victor-lam", ("Victor", "Lam"), ("male", 61), "+12125550123"),
];

/// Everyone in the practice's register.
#[must_use]
pub const fn patients() -> &'static [Person] {
    &PATIENTS
}

pub(super) fn resources(day: &Day) -> Vec<Value> {
    let mut resources: Vec<Value> =
        PATIENTS.iter().enumerate().map(|(index, person)| patient(person, index, day)).collect();
    resources.push(mother_of_mia());
    resources
}

fn patient(person: &Person, index: usize, day: &Day) -> Value {
    let born = format!("{:04}-{:02}-{:02}", day.today.year() - person.age, index % 12 + 1, index * 7 % 28 + 1);
    let mut patient = json!({
        "resourceType": "Patient",
        "id": person.id,
        "active": !person.is_replaced(),
        "identifier": [{
            "use": "usual",
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": format!("{SYSTEM}/mrn"),
            "value": format!("RFM-{:05}", 10_001 + index),
        }],
        "name": [{"use": "official", "family": person.family, "given": [person.given]}],
        "gender": person.gender,
        "birthDate": born,
        "communication": [{
            "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": person.language}]},
            "preferred": true,
        }],
        "managingOrganization": {"reference": format!("Organization/{ORGANIZATION}")},
    });
    let Some(members) = patient.as_object_mut() else { return patient };
    if !person.phone.is_empty() {
        let phone = json!([{"system": "phone", "value": person.phone, "use": person.phone_use}]);
        members.insert("telecom".into(), phone);
    }
    if person.is_replaced() {
        let other = json!({"reference": format!("Patient/{}", persona::ROBERT_CHEN)});
        members.insert("link".into(), json!([{"other": other, "type": "replaced-by"}]));
    }
    if person.id == persona::MIA_SANTOS {
        members.insert(
            "contact".into(),
            json!([{
                "relationship": [mother()],
                "name": {"family": "Santos", "given": ["Maria"]},
                "telecom": [{"system": "phone", "value": person.phone, "use": "mobile"}],
            }]),
        );
    }
    patient
}

fn mother() -> Value {
    json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH", "display": "mother"}]})
}

fn mother_of_mia() -> Value {
    json!({
        "resourceType": "RelatedPerson",
        "id": "related-maria-santos",
        "active": true,
        "patient": {"reference": format!("Patient/{}", persona::MIA_SANTOS)},
        "relationship": [mother()],
        "name": [{"family": "Santos", "given": ["Maria"]}],
        "telecom": [{"system": "phone", "value": "+12125550103", "use": "mobile"}],
    })
}

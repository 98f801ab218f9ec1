//! What may not leave in a text, by category, with the advice that goes with each.

use serde::{Deserialize, Serialize};

use crate::kernel::Language;

/// A kind of content that a text over SMS must not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// HIV and other sexually transmitted infections, their tests and medicines.
    HivSti,
    /// Substance use and its treatment (42 CFR part 2).
    SubstanceUse,
    /// Mental and behavioural health.
    MentalHealth,
    /// Genetic tests and inherited conditions.
    Genetic,
    /// A medicine by name, or a dose.
    MedicationName,
    /// A disease, condition or injury, or a department that names one.
    Diagnosis,
    /// A named test, a measurement, or what it showed.
    LabValue,
    /// What belongs in the chart: findings, symptoms, named treatments.
    ClinicalNote,
    /// Insurance, account, card, record or social security numbers.
    FinancialIdentity,
}

impl Category {
    /// Every category. Where two claim the same words, the earlier one has them.
    pub const ALL: [Self; 9] = [
        Self::HivSti,
        Self::SubstanceUse,
        Self::MentalHealth,
        Self::Genetic,
        Self::MedicationName,
        Self::Diagnosis,
        Self::LabValue,
        Self::ClinicalNote,
        Self::FinancialIdentity,
    ];

    /// Whether the law protects it beyond other health information.
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::HivSti | Self::SubstanceUse | Self::MentalHealth | Self::Genetic)
    }

    /// What to write instead, in one sentence, for the person who writes.
    #[must_use]
    pub const fn advice(self, language: Language) -> &'static str {
        match language {
            Language::English => self.advice_in_english(),
            Language::Spanish => self.advice_in_spanish(),
        }
    }

    const fn advice_in_english(self) -> &'static str {
        match self {
            Self::HivSti | Self::SubstanceUse | Self::MentalHealth | Self::Genetic => {
                "Say \"your visit\" or \"your care team\" and put the detail behind a secure link."
            }
            Self::MedicationName => {
                "Say \"your prescription\" without its name or dose; the detail goes behind a secure link."
            }
            Self::Diagnosis => {
                "Say \"your visit\" or \"your follow-up\" without naming a condition; the detail goes behind a secure link."
            }
            Self::LabValue => {
                "Say \"your results\" or \"your lab work\" without names or values; the detail goes behind a secure link."
            }
            Self::ClinicalNote => "Ask the patient to call, or put clinical detail behind a secure link.",
            Self::FinancialIdentity => "Leave the number out; ask the patient to bring the card or to call.",
        }
    }

    const fn advice_in_spanish(self) -> &'static str {
        match self {
            Self::HivSti | Self::SubstanceUse | Self::MentalHealth | Self::Genetic => {
                "Escriba \"su visita\" o \"su equipo médico\" y deje el detalle en un enlace seguro."
            }
            Self::MedicationName => "Escriba \"su receta\" sin nombre ni dosis; el detalle va en un enlace seguro.",
            Self::Diagnosis => {
                "Escriba \"su visita\" o \"su seguimiento\" sin nombrar la condición; el detalle va en un enlace seguro."
            }
            Self::LabValue => {
                "Escriba \"sus resultados\" o \"sus análisis\" sin nombres ni valores; el detalle va en un enlace seguro."
            }
            Self::ClinicalNote => "Pida al paciente que llame, o deje el detalle clínico en un enlace seguro.",
            Self::FinancialIdentity => "Quite el número; pida al paciente que traiga la tarjeta o que llame.",
        }
    }
}

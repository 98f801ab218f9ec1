//! The words of the ledger: what texts, yes or no, from where, and how the patient's word came to the practice.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored word.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The value with this stored word.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }
        }
    };
}

codes! {
    /// What a text is about, as far as consent is concerned.
    Category {
        /// Visits: reminders, rescheduling, arrival.
        Appointment = "appointment",
        /// Prescriptions that can be renewed.
        Refill = "refill",
        /// Care: follow-up, results that are there, answers of clinical staff.
        Clinical = "clinical",
        /// Bills and payments.
        Billing = "billing",
    }
}
codes! {
    /// Yes or no.
    Decision {
        /// Such texts are wanted.
        Granted = "granted",
        /// They are not.
        Denied = "denied",
    }
}
codes! {
    /// Where a decision came from.
    Source {
        /// A FHIR Consent in the EHR.
        Fhir = "fhir",
        /// A member of staff ticked it at the desk.
        Desk = "desk",
        /// A list that the practice imported.
        Import = "import",
        /// The patient texted START.
        Start = "start",
        /// The patient texted STOP or said so in other words.
        Stop = "stop",
        /// The patient told staff by phone, portal, letter or e-mail.
        Staff = "staff",
        /// The carrier reports that the number is blocked there.
        Carrier = "carrier",
    }
}
codes! {
    /// How the patient's word came to the practice.
    Method {
        /// Face to face.
        InPerson = "in-person",
        /// On the phone.
        Phone = "phone",
        /// A form on paper that the patient signed.
        PaperForm = "paper-form",
        /// A form on a page of the practice's.
        OnlineForm = "online-form",
        /// The patient portal.
        Portal = "portal",
        /// An e-mail.
        Email = "email",
        /// A letter.
        Letter = "letter",
        /// A text to another system than this one.
        Text = "text",
    }
}

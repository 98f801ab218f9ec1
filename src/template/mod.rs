//! What patients are texted: versioned texts in each language, filled in strictly, linted and counted.
//!
//! The gate calls [`Catalogue::render`] at the moment of sending; workflows build [`Params`] and name a [`TextKey`];
//! the staff's reply box counts with [`Segments`]. Pure: reads no clock and stores nothing. Always: a parameter that is
//! missing or not asked for is an error, a value is never read as template code, and every text of the house passes
//! [`lint`].

mod catalogue;
mod form;
mod key;
pub mod lint;
mod params;
mod recognise;
mod segments;
mod value;
mod wording;

pub use catalogue::{Catalogue, OptOutWording, Rendered, TemplateError, Text};
pub use form::{FormWord, NoFormWord};
pub use key::{TextCategory, TextClass, TextKey};
pub use params::{Param, Params, Visit};
pub use segments::{Encoding, Segments};

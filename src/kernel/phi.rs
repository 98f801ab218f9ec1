//! `Phi<T>`: a protected value that cannot be printed, serialised or compared by accident.

use std::fmt;

/// Protected health information in memory: a name, a text, a reason.
///
/// `Debug` prints a mark instead of the value; there is no `Display`, `Serialize` or `PartialEq`. What opens it
/// is spelled out at the place of use ([`Phi::expose`]), so a reader can find every such place. That none of these comes
/// to be is checked when the tests are compiled.
#[derive(Clone, Default)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Marks `value` as protected.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. What is done with it must keep the ninth law: no logs, errors, metrics, URLs, job rows.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, taken out.
    pub fn into_exposed(self) -> T {
        self.0
    }

    /// A protected value made from this one.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Phi<U> {
        Phi(f(self.0))
    }
}

impl<T: AsRef<str>> Phi<T> {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phi(…)")
    }
}

impl<T> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// Compiled, never run: what must not be possible is not. `$name` has a method of one kind for every type, and of another for
/// types that have the trait; were both there, the call would be ambiguous and this file would not compile.
#[cfg(test)]
macro_rules! never {
    ($($name:ident: $bound:path),+ $(,)?) => {$(
        const _: fn() = || {
            trait $name<Which> { fn there() {} }
            impl<T: ?Sized> $name<()> for T {}
            struct WithIt;
            impl<T: ?Sized + $bound> $name<WithIt> for T {}
            let _ = <Phi<String> as $name<_>>::there;
            let _ = <Phi<&str> as $name<_>>::there;
            let _ = <Phi<i64> as $name<_>>::there;
        };
    )+};
}

#[cfg(test)]
never! {
    Displayed: fmt::Display,
    Serialised: serde::Serialize,
    Compared: PartialEq,
    Ordered: PartialOrd,
    Hashed: std::hash::Hash,
    Dereferenced: std::ops::Deref,
    MadeText: ToString,
    ShownAsAnError: std::error::Error,
    Logged: tracing::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_hold_the_value() {
        assert_eq!(format!("{:?}", Phi::new("Ana Lopez")), "Phi(…)");
        assert_eq!(format!("{:?}", Some(Phi::new(41))), "Some(Phi(…))");
    }
}

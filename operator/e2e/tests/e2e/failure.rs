//! Why a case failed, in words for a person: what was done, and what came back. No I/O.

use std::error::Error;
use std::fmt;

/// What a case or one of its actions comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why something failed.
#[derive(Clone, Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure in words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            words.push_str(": ");
            words.push_str(&source.to_string());
            cause = source.source();
        }
        Self(words)
    }
}

/// Says what was being done when something failed.
pub trait While<T> {
    /// The result, a failure preceded by `what`.
    fn during(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> While<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{what}: {}", error.into())))
    }
}

/// Fails with the words unless it holds.
pub fn ensure(holds: bool, words: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(words())) }
}

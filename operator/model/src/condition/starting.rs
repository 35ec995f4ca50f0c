//! Why nothing of a StatefulSet is up. No I/O.

use super::{State, Verdict};
use crate::fence;
use crate::outcome::Applied;

/// Nothing of a StatefulSet is up, and why if that is known.
pub(crate) fn starting(applied: &Applied<'_>, set: &str, message: &str) -> Verdict {
    Verdict::new(State::False, "Starting", with_held(applied, set, message))
}

/// The message, and which pod of a StatefulSet its fence holds.
pub(crate) fn with_held(applied: &Applied<'_>, set: &str, message: &str) -> String {
    match fence::held(applied.facts, set) {
        Some(held) => format!("{message} {held}."),
        None => message.to_owned(),
    }
}

//! One condition: its state, reason and message, and how it is written over the one before. No I/O.

pub(crate) mod archive;
pub(crate) mod network;
pub(crate) mod object_store;
pub(crate) mod postgres;
pub(crate) mod starting;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The status of a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    True,
    False,
    Unknown,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    pub const fn of(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

pub(crate) struct Conditions {
    pub list: Vec<Condition>,
    pub generation: Option<i64>,
    pub now: Timestamp,
}

impl Conditions {
    pub fn set(&mut self, type_: &str, state: State, reason: &str, message: &str) {
        let mut next = Condition {
            type_: type_.to_owned(),
            status: state.as_str().to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: self.generation,
            last_transition_time: Time(self.now),
        };
        match self
            .list
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(old) => {
                if old.status == next.status {
                    next.last_transition_time = old.last_transition_time.clone();
                }
                *old = next;
            }
            None => self.list.push(next),
        }
    }
}

/// The state and reason of one condition, and a message for people.
pub(crate) struct Verdict {
    pub state: State,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    pub fn new(state: State, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: message.into(),
        }
    }
}

/// The reason of conditions that tell of a credential that was made anew and that processes still run without.
pub(crate) const CREDENTIALS_REPLACED: &str = "CredentialsReplaced";

/// The first few of several sentences, and how many there are more.
pub(crate) fn some_of(sentences: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = sentences[..sentences.len().min(SHOWN)].join("; ");
    match sentences.len().saturating_sub(SHOWN) {
        0 => format!("{shown}."),
        more => format!("{shown}; and {more} more."),
    }
}

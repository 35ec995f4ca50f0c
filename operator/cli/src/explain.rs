//! What a leakage channel is: by what data would get out, what closes it, and from which assurance on it is demanded. A
//! number or a name in, the channel out; no I/O.

use bailiwick_api::region::Assurance;
use bailiwick_model::channel::{CHANNELS, Channel};
use serde::Serialize;

/// A channel for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its number.
    pub id: u8,
    /// Its name.
    pub name: &'static str,
    /// How data gets out by it.
    pub way_out: &'static str,
    /// What closes it.
    pub control: &'static str,
    /// The assurance from which on it must not be Unknown.
    pub demanded_from: Assurance,
}

impl From<&Channel> for Explanation {
    fn from(channel: &Channel) -> Self {
        Self {
            id: channel.id,
            name: channel.name,
            way_out: channel.way_out,
            control: channel.control,
            demanded_from: channel.demanded,
        }
    }
}

/// Every channel.
#[must_use]
pub fn all() -> Vec<Explanation> {
    CHANNELS.iter().map(Explanation::from).collect()
}

/// The channels that a number, a name or a part of a name means. A number or a whole name means one at most.
#[must_use]
pub fn matching(word: &str) -> Vec<Explanation> {
    let word = word.trim().to_lowercase();
    if let Ok(id) = word.parse::<u8>() {
        return Channel::of(id).map(Explanation::from).into_iter().collect();
    }
    let named = |fits: &dyn Fn(&str) -> bool| -> Vec<Explanation> {
        CHANNELS
            .iter()
            .filter(|channel| fits(&channel.name.to_lowercase()))
            .map(Explanation::from)
            .collect()
    };
    let exact = named(&|name| name == word);
    if exact.is_empty() && !word.is_empty() {
        named(&|name| name.contains(&word))
    } else {
        exact
    }
}

//! Quarantine: what a proven leak does to a Region. Its channels and what was known of its breach before in, its breach
//! now out. Declared endpoints and clients are shut off while a leak is there that this may stop; Postgres never stops
//! for it. Nothing that is merely unknown begins a breach, and nothing that is merely unknown ends one. No I/O.

use bailiwick_api::region::{BreachStatus, BreachedChannel};
use jiff::{SignedDuration, Timestamp};

use crate::channel::Channels;

/// The channels whose leak is stopped, or may be, by shutting off the Region's declared endpoints and its clients.
pub const STOPPED: [u8; 8] = [1, 2, 3, 9, 17, 18, 19, 20];
/// How long a Region with declared endpoints stays shut at least. That nothing leaks any more may be due to just that,
/// and then it would open and shut by turns.
pub const HELD: SignedDuration = SignedDuration::from_mins(10);

/// The breach after `before`, by what this look made of the channels. `endpoints` tells whether the spec declares any.
#[must_use]
pub fn breach(
    before: &BreachStatus,
    channels: &Channels,
    endpoints: bool,
    now: Timestamp,
) -> BreachStatus {
    let mut open: Vec<BreachedChannel> = Vec::new();
    for id in STOPPED {
        let number = id.to_string();
        let known = before.channels.iter().find(|known| known.id == number);
        let leak = channels.leaks.iter().find(|(leaking, _)| *leaking == id);
        match (leak, known) {
            (Some((_, finding)), _) => open.push(BreachedChannel {
                id: number,
                since: known.map_or(now, |known| known.since),
                finding: finding.clone(),
            }),
            (None, Some(known)) if channels.unseen.contains(&id) => open.push(known.clone()),
            (None, _) => {}
        }
    }
    let shut = before.is_active().then_some(before.since).flatten();
    if open.is_empty() && endpoints && shut.is_some_and(|shut| now.duration_since(shut) < HELD) {
        return before.clone();
    }
    match (before.is_active(), open.is_empty()) {
        (_, false) => BreachStatus {
            count: before.count + i32::from(!before.is_active()),
            since: shut.or(Some(now)),
            channels: open,
        },
        (true, true) => BreachStatus {
            channels: Vec::new(),
            since: None,
            count: before.count,
        },
        (false, true) => before.clone(),
    }
}

/// What is known of the breach: by the status, or by what the operator itself wrote into it last, when the status tells
/// less. Whoever empties a status ends no quarantine. What another replica wrote in between is newer by its count.
#[must_use]
pub fn known(status: BreachStatus, written: Option<&BreachStatus>) -> BreachStatus {
    match written {
        Some(written)
            if written.count > status.count
                || (written.count == status.count && written.is_active()) =>
        {
            written.clone()
        }
        _ => status,
    }
}

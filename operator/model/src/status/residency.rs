//! The conditions that tell of the residency. Channels and what was planned and seen in, verdicts out; no I/O.

use bailiwick_api::region::{BreachStatus, ChannelState, ResidencyStatus};
use jiff::SignedDuration;

use crate::channel::Channels;
use crate::condition::{State, Verdict};
use crate::outcome::Applied;

/// What became of the residency in this look. Its time moves when something else does, and every five minutes.
pub(super) fn residency(
    before: Option<&ResidencyStatus>,
    applied: &Applied<'_>,
    channels: Channels,
    moved: bool,
) -> ResidencyStatus {
    let Applied { plan, facts, .. } = applied;
    let mut residency = ResidencyStatus {
        assurance: plan.assurance,
        channels: channels.rows,
        exceptions: channels.exceptions,
        checked_at: before.and_then(|before| before.checked_at),
        breach: plan.breach.clone(),
        ways: Some(plan.ways.clone()),
        // It is written where records are, and stays until the next one.
        evidence: before.and_then(|before| before.evidence.clone()),
    };
    let recent = residency
        .checked_at
        .is_some_and(|checked| facts.now.duration_since(checked) < SignedDuration::from_mins(5));
    if moved || !recent || before != Some(&residency) {
        residency.checked_at = Some(facts.now);
    }
    residency
}

/// Whether every channel that is demanded here is closed, or answered for.
pub(super) fn residency_enforced(breach: &BreachStatus, channels: &Channels) -> Verdict {
    if let Some(breached) = breach.channels.first() {
        return Verdict::new(
            State::False,
            "LeakFound",
            format!(
                "Channel {}: {}. See condition Quarantined.",
                breached.id, breached.finding
            ),
        );
    }
    if let Some((id, finding)) = channels.open.first() {
        let more = match channels.open.len() - 1 {
            0 => String::new(),
            more => format!(" And {more} more: see status.residency.channels."),
        };
        return Verdict::new(
            State::False,
            "ChannelOpen",
            format!("Channel {id}: {finding}.{more}"),
        );
    }
    if let Some(id) = channels.expired.first() {
        return Verdict::new(
            State::False,
            "ExceptionExpired",
            format!(
                "The exception for channel {id} has expired: close the channel, or have the exception approved anew in \
                 spec.residency.exceptions."
            ),
        );
    }
    if channels.unknown.is_empty() {
        let excepted = match channels.exceptions.active {
            0 => String::new(),
            active => format!(", {active} by exception"),
        };
        return Verdict::new(
            State::True,
            "Verified",
            format!("Every channel that is demanded here was seen to be closed{excepted}."),
        );
    }
    let unknown: Vec<String> = channels.unknown.iter().map(ToString::to_string).collect();
    Verdict::new(
        State::Unknown,
        "NotVerified",
        format!(
            "Nothing is known of channel {}: see status.residency.channels.",
            unknown.join(", ")
        ),
    )
}

/// Whether clients and declared endpoints are shut off, since data was seen to get out.
pub(super) fn quarantined(breach: &BreachStatus, paused: bool) -> Verdict {
    let Some(breached) = breach.channels.first() else {
        return Verdict::new(
            State::False,
            "Open",
            "Clients and declared endpoints are let through.",
        );
    };
    let more = match breach.channels.len() - 1 {
        0 => String::new(),
        more => format!(" And {more} more: see status.residency.breach."),
    };
    let paused = if paused {
        " The Region is paused: it stays shut off until it goes on."
    } else {
        ""
    };
    Verdict::new(
        State::True,
        "LeakFound",
        format!(
            "Clients and declared endpoints are shut off until channel {} is seen to be closed: {}.{more}{paused} See \
             docs/runbooks/quarantined.md.",
            breached.id, breached.finding
        ),
    )
}

/// A condition that stands for some of the channels.
pub(super) fn of_channels(channels: &Channels, ids: &[u8]) -> Verdict {
    let rows = || {
        channels
            .rows
            .iter()
            .filter(|row| row.id.parse().is_ok_and(|id: u8| ids.contains(&id)))
    };
    // What somebody answers for is told of in the row alone.
    let open = rows().filter(|row| row.state == ChannelState::Unknown);
    if let Some(finding) = open.clone().find_map(|row| row.finding.as_ref()) {
        return Verdict::new(State::False, "ChannelOpen", format!("{finding}."));
    }
    match open.clone().next() {
        Some(row) => Verdict::new(
            State::Unknown,
            "NotVerified",
            format!("Channel {}: {}.", row.id, row.evidence),
        ),
        None => Verdict::new(
            State::True,
            "Verified",
            format!(
                "{}.",
                rows()
                    .map(|row| row.evidence.as_str())
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
        ),
    }
}

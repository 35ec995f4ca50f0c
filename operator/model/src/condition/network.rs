//! Whether the boundary holds, as the canaries found it. What was planned and seen in, a verdict out; no I/O.

use bailiwick_api::region::BreachedChannel;

use super::{State, Verdict};
use crate::canary::verdict as canaries;
use crate::outcome::Applied;

/// Whether the boundary held when the canaries last tried it.
pub(crate) fn network(applied: &Applied<'_>) -> Verdict {
    // A leak that a canary found stands until a canary finds none, though the boundary has changed since.
    let leak = |breached: &&BreachedChannel| ["1", "2", "9"].contains(&breached.id.as_str());
    if let Some(breached) = applied.plan.breach.channels.iter().find(leak) {
        return Verdict::new(
            State::False,
            "LeakFound",
            format!("Channel {}: {}.", breached.id, breached.finding),
        );
    }
    let enforced = canaries::verdict(applied.plan, applied.facts).enforced(applied.plan);
    let state = enforced.state.map_or(State::Unknown, State::of);
    Verdict::new(state, enforced.reason, enforced.message)
}

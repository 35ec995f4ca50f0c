//! What the status says of a spec that is refused. Violations in, conditions out; no I/O.

use bailiwick_api::violation::Violation;

use crate::condition::{Conditions, State};
use crate::outcome::Applied;
use crate::status::not_looked_at;

/// That the newest spec is refused and the one before it in force.
pub(super) fn another_in_force(conditions: &mut Conditions, applied: &Applied<'_>) {
    let number = |generation: Option<i64>| generation.map_or_else(String::new, |it| it.to_string());
    let message = format!(
        "Generation {} is refused; generation {} is in force.\n{}",
        number(conditions.generation),
        number(applied.plan.generation),
        lines(applied.refused)
    );
    let reason = first_reason(applied.refused);
    conditions.set("Accepted", State::False, reason, &message);
}

pub(super) fn first_reason(violations: &[Violation]) -> &'static str {
    violations
        .first()
        .map_or("Invalid", |violation| violation.reason.as_str())
}

/// Violations, one a line.
pub(super) fn lines(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// `logged` says whether the Region has an evidence log: of that, who writes the refusal into it tells.
pub(super) fn refused(conditions: &mut Conditions, violations: &[Violation], logged: bool) {
    let reason = first_reason(violations);
    conditions.set("Accepted", State::False, reason, &lines(violations));
    conditions.set(
        "Ready",
        State::False,
        "NotAccepted",
        "The Region is not accepted: see condition Accepted.",
    );
    conditions.set(
        "Progressing",
        State::False,
        "NotAccepted",
        "Nothing is applied while the Region is not accepted.",
    );
    let judged = ["Accepted", "Ready", "Progressing", "EvidenceRecorded"];
    not_looked_at(
        conditions,
        // A condition that is set twice would seem to flip each time.
        &judged[..judged.len() - usize::from(!logged)],
        "NotAccepted",
        "Nothing is looked at while the Region is not accepted.",
    );
}

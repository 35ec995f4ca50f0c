//! Whether a Region is settled, and whether clients can use it. What was planned and seen in, verdicts out; no I/O.

use crate::component::COMPONENTS;
use crate::condition::starting::with_held;
use crate::condition::{CREDENTIALS_REPLACED, State, Verdict};
use crate::outcome::Applied;
use crate::scale::Departure;
use crate::status::degraded;
use crate::{growth, rotation};

pub(super) fn progressing(applied: &Applied<'_>) -> Verdict {
    // The last needs those before it: it is told of first.
    let sets: Vec<String> = COMPONENTS
        .iter()
        .rev()
        .filter_map(|component| component.stateful_set)
        .map(|name| name(&applied.plan.names))
        .collect();
    // One that was only just applied is not seen yet, and has no pod.
    let unready: Vec<&str> = sets
        .iter()
        .filter(|name| {
            applied
                .facts
                .stateful_sets
                .get(*name)
                .is_none_or(|set| !set.observed || set.ready < set.replicas)
        })
        .map(String::as_str)
        .collect();
    let mut found: Vec<(&'static str, String)> = Vec::new();
    if let Some(told) = degraded::objects_refused(applied) {
        found.push((degraded::OBJECT_REFUSED, told));
    }
    if let Some(leaving) = &applied.plan.members.leaving {
        let reason = match leaving.what {
            Departure::Goes | Departure::HandsOver(_) => "MembersLeaving",
            Departure::Waits(_) => "ScaleDownWaits",
        };
        found.push((reason, format!("{leaving}.")));
    }
    for replaced in rotation::told(applied.plan, applied.facts) {
        found.push((CREDENTIALS_REPLACED, format!("{replaced}.")));
    }
    // Neither hides the other. What else goes on beside them waits for them mostly.
    if let Some((reason, _)) = found.first() {
        let message: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
        return Verdict::new(State::True, reason, message.join(" "));
    }
    if !unready.is_empty() {
        return Verdict::new(
            State::True,
            "PodsStarting",
            unready.iter().fold(
                format!("Waiting for the pods of {}.", unready.join(", ")),
                |message, set| with_held(applied, set, &message),
            ),
        );
    }
    let growing = growth::growing(applied.plan, applied.facts);
    if !growing.is_empty() {
        return Verdict::new(
            State::True,
            "VolumesGrowing",
            format!("Waiting for the volumes of {}.", growing.join(", ")),
        );
    }
    if applied.steps_due > 0 {
        return Verdict::new(
            State::True,
            "StepsDue",
            "Changes behind S3, SQL or Patroni are being made.",
        );
    }
    Verdict::new(State::False, "Settled", "Nothing is left to do.")
}

/// Whether clients can use the Region now. `provisioned` is the newest generation of which all was there: of a Region that
/// never was, nobody can say so; of one that was, they can while something newer is being made, and while that fails.
pub(super) fn ready(
    applied: &Applied<'_>,
    provisioned: Option<i64>,
    of_components: &[(&'static str, Verdict)],
) -> Verdict {
    let plan = applied.plan;
    if plan.spec.lifecycle.hibernated {
        return Verdict::new(State::False, "Hibernated", "The Region is hibernated.");
    }
    if plan.assurance < plan.spec.residency.minimum_assurance {
        return Verdict::new(
            State::False,
            "AssuranceTooLow",
            format!(
                "The assurance here is {:?}, spec.residency.minimumAssurance asks for {:?}.",
                plan.assurance, plan.spec.residency.minimum_assurance
            ),
        );
    }
    if plan.breach.is_active() {
        return Verdict::new(
            State::False,
            "Quarantined",
            "Clients and declared endpoints are shut off: see condition Quarantined.",
        );
    }
    // The last needs those before it: it is told of first.
    for component in COMPONENTS.iter().rev() {
        let Some(availability) = component.availability else {
            continue;
        };
        let found = of_components
            .iter()
            .find(|(type_, _)| *type_ == availability.condition);
        let state = found.map_or(State::Unknown, |(_, verdict)| verdict.state);
        if state != State::True {
            return Verdict::new(
                state,
                availability.reason,
                format!("See condition {}.", availability.condition),
            );
        }
    }
    match provisioned {
        None => Verdict::new(
            State::False,
            "Provisioning",
            "Databases, roles, buckets and users are being made.",
        ),
        Some(generation) if Some(generation) != plan.generation => Verdict::new(
            State::True,
            "Serving",
            format!(
                "Clients can use what generation {generation} asks for; what is newer is being made: see conditions \
                 Progressing and Degraded."
            ),
        ),
        Some(_) => Verdict::new(State::True, "Serving", "Clients can use the Region now."),
    }
}

//! The conditions of the object store. What was planned and seen in, verdicts out; no I/O.

use crate::condition::starting::starting;
use crate::condition::{CREDENTIALS_REPLACED, State, Verdict, some_of};
use crate::facts::Observed;
use crate::outcome::Applied;
use crate::{rotation, store};

pub(crate) fn object_store(applied: &Applied<'_>) -> Verdict {
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::False,
            "Hibernated",
            "The object store is stopped on purpose.",
        );
    }
    match &applied.facts.store {
        Observed::Seen(_) => Verdict::new(State::True, "Serving", "The object store answers."),
        Observed::NotAsked => starting(
            applied,
            &applied.plan.names.object_store(),
            "The servers are not up yet.",
        ),
        Observed::Failed(unread)
            if let Some(replaced) = rotation::store_root(applied.plan, applied.facts) =>
        {
            let message = format!("{replaced}. The object store could not be read: {unread}.");
            Verdict::new(State::False, CREDENTIALS_REPLACED, message)
        }
        Observed::Failed(unread) => Verdict::new(
            State::False,
            unread.failure.as_str(),
            format!(
                "The object store could not be read: {unread}. See the pods of {}.",
                applied.plan.names.object_store()
            ),
        ),
    }
}

/// Whether nothing leads out of the object store. Of the channels of the store, those that its own settings open.
pub(crate) fn contained(applied: &Applied<'_>) -> Verdict {
    let Some(seen) = applied.facts.store.seen() else {
        return Verdict::new(
            State::Unknown,
            "NotRead",
            "The object store was not read: see condition ObjectStoreAvailable.",
        );
    };
    let leaks: Vec<String> = store::drift(applied.plan, seen)
        .into_iter()
        // Whose repository it is, is channel 17's; by this nothing leads out of the store.
        .filter(|drift| {
            drift.channel().is_some() && !matches!(drift, store::Drift::ForeignMarker { .. })
        })
        .map(|drift| drift.to_string())
        .collect();
    if leaks.is_empty() {
        Verdict::new(
            State::True,
            "Contained",
            "No replication, tier, target or identity provider leads out of the object store.",
        )
    } else {
        Verdict::new(State::False, "LeadsOut", some_of(&leaks))
    }
}

//! What is to be done now beside the manifests: the smallest differences between wanted and seen, in order. A plan and
//! facts in, steps out; no I/O.

use std::collections::BTreeSet;

use bailiwick_api::region::{Reclaim, RegionSpec, RegionStatus};

use crate::component::{COMPONENTS, Component};
use crate::facts::Facts;
use crate::facts::postgres::PostgresFacts;
use crate::facts::store::StoreFacts;
use crate::names::Names;
use crate::outcome::Retained;
use crate::plan::Plan;
use crate::sql::step::SqlStep;
use crate::sql::untold::is_untold;
use crate::step::Step;
use crate::store::step::StoreStep;
use crate::subject::Subject;
use crate::{growth, rotation, sql, store};

/// What is to be done now; of a Region that is paused, only what a leak asks for. Room first, then what
/// each component needs.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    if plan.spec.lifecycle.paused {
        let seen = facts.postgres.seen();
        let steps = seen.map(|seen| sql::steps_while_paused(plan, seen));
        return steps.into_iter().flatten().map(Step::Sql).collect();
    }
    // One that is to stop goes on with that.
    if facts.pods_must_wait() && !plan.spec.lifecycle.hibernated {
        return steps_without_pods(plan, facts);
    }
    let mut steps: Vec<Step> = growth::growths(plan, facts)
        .into_iter()
        .map(Step::Grow)
        .collect();
    steps.extend(growth::unmarked(facts).into_iter().map(Step::MarkClaim));
    steps.extend(orphans(plan, facts));
    steps.extend(rotation::steps(plan, facts));
    for component in in_order_of_steps() {
        steps.extend((component.steps)(plan, facts));
    }
    steps
}

/// The components in the order of their steps: a canary waits for no step of another that fails, and then as they are applied,
/// the object store before what archives to it.
fn in_order_of_steps() -> impl Iterator<Item = &'static Component> {
    let without_data = COMPONENTS.iter().filter(|it| it.stateful_set.is_none());
    without_data.chain(COMPONENTS.iter().filter(|it| it.stateful_set.is_some()))
}

/// Those of the steps that neither start nor end a pod with data, while the API server refuses what such a pod needs: a
/// canary has no data, and is what finds out whether the boundary holds.
fn steps_without_pods(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let mut steps: Vec<Step> = growth::unmarked(facts)
        .into_iter()
        .map(Step::MarkClaim)
        .collect();
    for component in in_order_of_steps() {
        steps.extend((component.steps_without_pods)(plan, facts));
    }
    let (lacking, mut steps): (Vec<Step>, _) = steps
        .into_iter()
        .partition(|it| lacks_its_secret(facts, it));
    // Nor is anything else done about whom it would have given a password or key.
    let without: BTreeSet<Subject> = lacking.iter().flat_map(Step::subjects).collect();
    steps.retain(|step| without.is_disjoint(&step.subjects()));
    steps
}

/// Whether a step gives somebody the value of a Secret that could not be made.
fn lacks_its_secret(facts: &Facts, step: &Step) -> bool {
    let (Step::Sql(SqlStep::SetPassword { secret, .. })
    | Step::Store(StoreStep::CreateUser { secret, .. } | StoreStep::PutMarker { secret, .. })) =
        step
    else {
        return false;
    };
    let mut refused = facts.refused.iter();
    refused.any(|it| it.kind == "Secret" && it.name == *secret)
}

/// The Secrets that may be left of roles and users without a login in the spec: whether each is there is to be read.
#[must_use]
pub fn may_be_left(names: &Names, spec: &RegionSpec, facts: &Facts) -> BTreeSet<String> {
    let wanted: BTreeSet<String> = crate::planner::secrets(names, spec)
        .into_iter()
        .map(|wanted| wanted.name)
        .collect();
    let roles = facts.postgres.seen().into_iter().flat_map(|seen| {
        let ours = seen.roles.iter().filter(|(_, role)| role.mark.is_some());
        ours.map(|(role, _)| names.postgres_role(role))
    });
    let users = facts.store.seen().into_iter().flat_map(|seen| {
        let users = seen.users.keys();
        users.map(|user| names.object_store_user(user))
    });
    roles
        .chain(users)
        .filter(|secret| !wanted.contains(secret))
        .collect()
}

/// The Secrets of which the status of a Region says that they go with their roles. Once such a role is gone, nothing else
/// tells of its Secret.
#[must_use]
pub fn announced(names: &Names, status: Option<&RegionStatus>) -> BTreeSet<String> {
    status
        .and_then(|status| status.postgres.as_ref())
        .into_iter()
        .flat_map(|postgres| &postgres.secrets_to_delete)
        // Whatever is written into a status: no other Secret goes by it.
        .filter(|secret| secret.starts_with(&names.postgres_role("")))
        .cloned()
        .collect()
}

/// Whether a Secret that is left goes: with a role that is to go, or after one that went.
fn goes(plan: &Plan, facts: &Facts, seen: &PostgresFacts, secret: &str) -> bool {
    let mut left = sql::left_roles(&plan.names, &plan.spec.postgres, seen);
    match left.find(|(role, _)| plan.names.postgres_role(role) == secret) {
        Some((_, goes)) => goes,
        None => is_orphan(plan, facts, seen, secret),
    }
}

/// Whether a Secret goes and its role is gone.
fn is_orphan(plan: &Plan, facts: &Facts, seen: &PostgresFacts, secret: &str) -> bool {
    let mut roles = seen.roles.keys();
    facts.announced.contains(secret)
        && !seen.in_recovery
        && !roles.any(|role| plan.names.postgres_role(role) == secret)
}

/// The Secrets whose roles are gone. Never before: a role that cannot be dropped keeps its password.
fn orphans(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let Some(seen) = facts.postgres.seen() else {
        return Vec::new();
    };
    facts
        .left_over
        .iter()
        .filter(|(secret, _)| is_orphan(plan, facts, seen, secret))
        .map(|(name, uid)| Step::DeleteSecret {
            name: name.clone(),
            uid: uid.clone(),
        })
        .collect()
}

/// How many steps wait until the status tells of what they leave.
#[must_use]
pub fn untold(plan: &Plan, facts: &Facts) -> usize {
    if plan.spec.lifecycle.paused {
        return 0;
    }
    let seen = facts.postgres.seen();
    seen.map_or(0, |seen| {
        let steps = sql::steps(plan, seen);
        steps.iter().filter(|it| is_untold(plan, facts, it)).count()
    })
}

/// What was retained, and of a role what removes it and no data.
fn with_what_removes_it(retained: String) -> String {
    match retained.strip_prefix("role ") {
        Some(role) => format!(
            "{retained} (as a superuser, in each database, REASSIGN OWNED BY {role} TO its db_admin and DROP OWNED BY \
             {role}; then DROP ROLE {role} removes it)"
        ),
        None => retained,
    }
}

/// The page on how to remove what is retained in the object store.
const STORE_PAGE: &str = "docs/how-to/remove-from-the-object-store.md";

/// What was retained in the object store, and what removes it.
fn with_what_removes_it_there(seen: &StoreFacts, retained: &str) -> String {
    if let Some(user) = retained.strip_prefix("user ") {
        return format!(
            "{retained} (it may not sign in; as root, DELETE /minio/admin/v3/remove-user?accessKey={user} removes it: see \
             {STORE_PAGE})"
        );
    }
    let bucket = retained.strip_prefix("bucket ");
    let fact = bucket.and_then(|bucket| seen.buckets.get(bucket));
    if fact.is_some_and(|fact| fact.reclaim == Some(Reclaim::Delete)) {
        format!("{retained} (it goes once it is empty, of old versions too: see {STORE_PAGE})")
    } else {
        format!(
            "{retained} (put back into the spec with `reclaim: Delete`, emptied and taken out again, it goes: see \
             {STORE_PAGE})"
        )
    }
}

/// What left the spec and was retained, with the Secrets that are left of its logins.
#[must_use]
pub fn retained(plan: &Plan, facts: &Facts) -> Retained {
    let namespace = plan.names.namespace();
    let goes = |secret: &str| {
        let seen = facts.postgres.seen();
        seen.is_some_and(|seen| goes(plan, facts, seen, secret))
    };
    let secrets = |of: &str| {
        let left = facts.left_over.keys();
        left.filter(|name| name.starts_with(of))
            .map(|name| {
                let how = if goes(name) {
                    "it goes once its role is dropped; "
                } else {
                    ""
                };
                format!(
                    "Secret {name} ({how}kubectl -n {namespace} delete secret {name} removes it)"
                )
            })
            .collect::<Vec<_>>()
    };
    let mut postgres = facts
        .postgres
        .seen()
        .map(|seen| sql::retained(plan, seen))
        .unwrap_or_default()
        .into_iter()
        .map(with_what_removes_it)
        .collect::<Vec<_>>();
    postgres.extend(secrets(&plan.names.postgres_role("")));
    let mut store = facts
        .store
        .seen()
        .map(|seen| {
            let retained = store::retained(plan, seen).into_iter();
            let told = retained.map(|it| with_what_removes_it_there(seen, &it));
            told.collect::<Vec<_>>()
        })
        .unwrap_or_default();
    store.extend(secrets(&plan.names.object_store_user("")));
    Retained {
        postgres,
        object_store: store,
        secrets_to_delete: (facts.left_over.keys())
            .filter(|secret| goes(secret))
            .cloned()
            .collect(),
    }
}

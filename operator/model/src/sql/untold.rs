//! Roles that wait to be dropped until the status tells of their Secrets. No I/O.

use crate::facts::Facts;
use crate::plan::Plan;
use crate::sql::step::SqlStep;

/// Whether a role is to be dropped whose Secret the status does not announce yet: an operator that ends after it was dropped
/// would leave a Secret behind that nobody knows of.
pub(crate) fn is_untold(plan: &Plan, facts: &Facts, step: &SqlStep) -> bool {
    let SqlStep::DropRole { role, .. } = step else {
        return false;
    };
    let secret = plan.names.postgres_role(role);
    facts.left_over.contains_key(&secret) && !facts.announced.contains(&secret)
}

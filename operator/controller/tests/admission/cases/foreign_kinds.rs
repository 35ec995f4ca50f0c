//! Kinds that have no place in the namespaces of a Region.

use serde_json::json;

use super::{CLIENT, FOREIGN_KINDS, OWN, Table, create};
use crate::objects::{foreign, with};

pub fn foreign_kinds(table: &mut Table) {
    for (policy, group, kind) in FOREIGN_KINDS {
        let object = if group == "networking.k8s.io" {
            with(
                foreign(group, kind),
                json!({"spec": {"defaultBackend": {"service": {"name": "standing", "port": {"number": 80}}}}}),
            )
        } else {
            foreign(group, kind)
        };
        table
            .of(policy, 0)
            .editor(format!("a {kind} of {group}"), create(OWN, object));
    }
    table.of("bailiwick-other-clusters", 0).editor(
        "a client's ServiceExport",
        create(CLIENT, foreign("multicluster.x-k8s.io", "ServiceExport")),
    );
}

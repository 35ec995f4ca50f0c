//! Who may connect to a Region, and where it may connect to. Types only; no I/O.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::rules;

/// Who may reach the Region's services, and what they may reach.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The pods that may connect to the Region's services. Network plugins let connections live on that were made before a
    /// client was taken out or its selectors or services were changed. So half a minute later the operator ends, once, all
    /// connections of applications to Postgres: whoever is let in connects again. Those to the object store stand until its
    /// pods are made anew, and channel 2 is Unknown until then: see docs/how-to/remove-a-client.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clients: Vec<Client>,
    /// The only addresses outside the cluster that the Region's pods may connect to. When one is taken out or its addresses
    /// or ports are changed, connections of applications to Postgres are ended once, as with `clients`, since a session may
    /// hold one to it; channel 9 is Unknown until the pods of Postgres are made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub external: Vec<External>,
}

/// Pods that may connect to the Region's services.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    /// A name for the client, a DNS label, unique in the list.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// The namespaces of the client's pods, among those that carry the label `bailiwick.dev/region` of this Region: no
    /// other is let in, whatever the selector says. It must select something: an empty selector is refused.
    #[schemars(schema_with = "bounded_selector")]
    #[x_kube(
        validation = rules::selects_something(),
        validation = rules::selector_labels(),
        validation = rules::selector_expressions()
    )]
    pub namespace_selector: LabelSelector,
    /// The client's pods in these namespaces; all, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded_selector")]
    #[x_kube(
        validation = rules::selector_labels(),
        validation = rules::selector_expressions()
    )]
    pub pod_selector: Option<LabelSelector>,
    /// The services that the client may connect to, at least one: `Postgres` (port 5432), `ObjectStore` (S3, port 9000).
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub to: Vec<Service>,
}

/// A selector whose lists and texts have bounds: without them the cost of the rules on it cannot be told.
fn bounded_selector(generator: &mut SchemaGenerator) -> schemars::Schema {
    let mut schema = LabelSelector::json_schema(generator);
    for (path, bound, most) in [
        ("/properties/matchLabels", "maxProperties", 16),
        (
            "/properties/matchLabels/additionalProperties",
            "maxLength",
            63,
        ),
        ("/properties/matchExpressions", "maxItems", 16),
        (
            "/properties/matchExpressions/items/properties/key",
            "maxLength",
            317,
        ),
        (
            "/properties/matchExpressions/items/properties/operator",
            "maxLength",
            12,
        ),
        (
            "/properties/matchExpressions/items/properties/values",
            "maxItems",
            16,
        ),
        (
            "/properties/matchExpressions/items/properties/values/items",
            "maxLength",
            63,
        ),
    ] {
        if let Some(part) = schema
            .pointer_mut(path)
            .and_then(serde_json::Value::as_object_mut)
        {
            part.insert(bound.to_owned(), most.into());
        }
    }
    schema
}

/// A service of a Region.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum Service {
    /// Postgres, port 5432.
    Postgres,
    /// The S3 API, port 9000.
    ObjectStore,
}

/// A place outside the cluster that the Region's pods may connect to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// A name for the place, a DNS label, unique in the list.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,
    /// Its host name, for people and for TLS.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::host())]
    pub host: String,
    /// Its addresses, in CIDR notation: no range wider than /20 (IPv6: /116), and at most 4096 addresses in all of a
    /// Region's. They lie in what the operator was told of the location (`--location-addresses`), and hold no address of
    /// the cluster, of a metadata service or of what the canary tries outside.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 43)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = rules::cidrs())]
    pub cidrs: Vec<String>,
    /// Its TCP ports.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = rules::ports())]
    pub ports: Vec<i32>,
    /// Where it is; one of `residency.allowedLocations`.
    #[schemars(length(max = 63))]
    pub location: String,
}

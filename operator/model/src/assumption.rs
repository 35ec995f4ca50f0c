//! What is assumed of a cluster when there is none to ask, so that a Region can be planned on a laptop or in Git: the
//! cluster is as the Region needs it. A Region in, a platform and facts out; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bailiwick_api::region::Region;

use crate::endpoint;
use crate::facts::{ApiServerAddress, Facts, Observed, StorageClassFact};
use crate::names::{LABEL_JURISDICTION, LABEL_LOCATION, LABEL_REGION, NODE_REGION, Names};
use crate::plan::Platform;

/// The registry of images that nobody named.
const REGISTRY: &str = "bailiwick.dev";

/// The platform, with what was not given filled in: the Region's location, an image of its version, a registry that
/// is where the Region is, its declared endpoints where it says.
#[must_use]
pub fn platform(region: &Region, given: Platform) -> Platform {
    let Platform {
        mut locations,
        mut postgres_images,
        mut object_store_image,
        mut operator_image,
        mut fence_image,
        mut image_registries,
        outside_address,
        outside_name,
        mut location_addresses,
        cluster_addresses,
    } = given;
    let version = region.spec.postgres.version;
    if locations.is_empty() {
        locations.push(region.spec.residency.location.clone());
    }
    if postgres_images.is_empty() {
        postgres_images.insert(version, format!("{REGISTRY}/postgres:{version}"));
    }
    if object_store_image.is_empty() {
        object_store_image = format!("{REGISTRY}/minio:assumed");
    }
    if operator_image.is_empty() {
        operator_image = format!("{REGISTRY}/operator:assumed");
    }
    if fence_image.is_empty() {
        fence_image = format!("{REGISTRY}/fence:assumed");
    }
    if image_registries.is_empty() {
        image_registries.insert(REGISTRY.to_owned(), "*".to_owned());
    }
    if location_addresses.is_empty() {
        for external in &region.spec.network.external {
            let ranges = external
                .cidrs
                .iter()
                .filter_map(|cidr| endpoint::range(cidr));
            location_addresses
                .entry(external.location.clone())
                .or_default()
                .extend(ranges);
        }
    }
    Platform {
        locations,
        postgres_images,
        object_store_image,
        operator_image,
        fence_image,
        image_registries,
        outside_address,
        outside_name,
        location_addresses,
        cluster_addresses,
    }
}

/// The Region as the API server would hand it to the operator: with a uid.
#[must_use]
pub fn applied(mut region: Region) -> Region {
    region
        .metadata
        .uid
        .get_or_insert_with(|| "00000000-0000-0000-0000-000000000000".to_owned());
    region
}

/// The facts of a cluster that has what the Region names and nothing of the Region itself: its namespaces, a node that
/// its selector chooses, its storage classes in its location, an API server and a responder of the start fence at addresses for documentation.
#[must_use]
pub fn facts(region: &Region) -> Facts {
    let names = Names::of(region);
    let residency = &region.spec.residency;
    let identity: BTreeMap<String, String> = [
        (LABEL_REGION, names.region()),
        (LABEL_LOCATION, residency.location.as_str()),
        (LABEL_JURISDICTION, residency.jurisdiction.as_str()),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into();
    let mut node = residency.node_selector.clone();
    node.insert(NODE_REGION.to_owned(), residency.location.clone());
    let class = StorageClassFact {
        locations: BTreeSet::from([residency.location.clone()]),
        retains: true,
        expands: true,
    };
    Facts {
        namespaces: names
            .namespaces()
            .map(|namespace| (namespace, identity.clone()))
            .into(),
        nodes: [("assumed-node".to_owned(), node)].into(),
        storage_classes: [
            &region.spec.postgres.storage.data.storage_class,
            &region.spec.object_store.volume.storage_class,
        ]
        .map(|name| (name.clone(), class.clone()))
        .into(),
        api_server: [ApiServerAddress {
            ip: "192.0.2.1".to_owned(),
            port: 6443,
        }]
        .into(),
        fence_responder: Observed::Seen([(Ipv4Addr::new(192, 0, 2, 2).into(), true)].into()),
        ..Facts::default()
    }
}

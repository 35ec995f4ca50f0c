//! Both Regions are there and say so: every condition, and what `kubectl get regions` shows. Reads only.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Resource;
use serde_json::Value;

use crate::cluster::{Cluster, SETTLED};
use crate::failure::{Failure, Outcome, While, ensure};

/// From nothing, images on the nodes: members, store, stanza, first backup.
const FROM_NOTHING: Duration = Duration::from_mins(5);

/// Both Regions settle, with every condition as expected and no other condition.
pub async fn conditions(cluster: &Cluster) -> Outcome<String> {
    let mut count = 0;
    let regions = cluster.all_settled(FROM_NOTHING).await?;
    for (place, region) in cluster.places.iter().zip(regions) {
        let conditions = region
            .status
            .map(|status| status.conditions)
            .unwrap_or_default();
        for condition in &conditions {
            ensure(
                SETTLED.iter().any(|(type_, ..)| *type_ == condition.type_),
                || {
                    format!(
                        "{}: nobody expects condition {}",
                        place.region, condition.type_
                    )
                },
            )?;
            ensure(!condition.message.is_empty(), || {
                format!("{}: {} has no message", place.region, condition.type_)
            })?;
        }
        count += conditions.len();
    }
    ensure(count == SETTLED.len() * 2, || {
        format!("{count} conditions, expected {}", SETTLED.len() * 2)
    })?;
    Ok(format!("{count} conditions as expected"))
}

/// What `kubectl get regions` shows.
pub async fn columns(cluster: &Cluster) -> Outcome<String> {
    let url = kube::core::Request::new(bailiwick_api::region::Region::url_path(&(), None));
    let mut request = url.list(&kube::api::ListParams::default())?;
    request.headers_mut().insert(
        "Accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io".parse()?,
    );
    let table: Value = cluster
        .client
        .request(request)
        .await
        .during("list Regions as a table")?;
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|column| column["name"].as_str())
        .collect();
    for place in &cluster.places {
        let row = table["rows"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| row["object"]["metadata"]["name"] == place.region.as_str())
            .ok_or_else(|| Failure::new(format!("{} has no row", place.region)))?;
        let cells: BTreeMap<String, String> = names
            .iter()
            .zip(row["cells"].as_array().into_iter().flatten())
            .map(|(name, cell)| {
                let text = cell
                    .as_str()
                    .map_or_else(|| cell.to_string(), str::to_owned);
                (name.to_uppercase(), text)
            })
            .collect();
        for (column, expected) in [
            ("LOCATION", place.location.as_str()),
            ("ASSURANCE", "Simulated"),
            ("READY", "True"),
            ("RESIDENCY", "True"),
            ("PRIMARY", "*"),
            ("ARCHIVED", "*"),
            ("BACKUP", "*"),
            ("AGE", "*"),
        ] {
            let found = cells.get(column).map_or("", String::as_str);
            let right = if expected == "*" {
                !["", "null", "<none>", "<unknown>"].contains(&found)
            } else {
                found == expected
            };
            ensure(right, || {
                format!(
                    "{}: column {column} shows {found:?}, expected {expected:?}",
                    place.region
                )
            })?;
        }
    }
    Ok(format!(
        "{} columns: {}",
        names.len(),
        names.join(", ").to_uppercase()
    ))
}

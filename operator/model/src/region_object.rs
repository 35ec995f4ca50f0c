//! A Region as the API server gave it: decoded, or where and why it cannot be. Each is decoded on its own, so that a
//! list holds whatever one of them is. JSON in, values out; no I/O.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::region::Region;

/// How much of a decoder's complaint is told, in characters: it may quote the value.
const MOST_OF_A_CAUSE: usize = 200;

/// A Region as the API server gave it.
#[derive(Clone, Debug)]
pub enum RegionObject {
    /// One that the operator understands.
    Decoded(Arc<Region>),
    /// One that it does not.
    Undecodable(Box<Undecodable>),
}

/// A Region that the API server took and the operator cannot decode.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its status, as it is; null when it has none.
    pub status: Value,
    /// The path of the field that does not decode.
    pub field: String,
    /// Why it does not: one line, cut to 200 characters.
    pub cause: String,
}

impl RegionObject {
    fn of(object: Value) -> Result<Self, serde_json::Error> {
        let error = match serde_path_to_error::deserialize::<_, Region>(&object) {
            Ok(region) => return Ok(Self::Decoded(Arc::new(region))),
            Err(error) => error,
        };
        let cause: String = error
            .inner()
            .to_string()
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(MOST_OF_A_CAUSE)
            .collect();
        let field = error.path().to_string();
        let mut object = object;
        // An object of the API server always has metadata: without, it is no object.
        let metadata = object["metadata"].take();
        Ok(Self::Undecodable(Box::new(Undecodable {
            metadata: serde_json::from_value(metadata)?,
            status: object["status"].take(),
            field,
            cause,
        })))
    }
}

impl<'de> Deserialize<'de> for RegionObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Resource for RegionObject {
    type DynamicType = ();
    type Scope = <Region as Resource>::Scope;

    fn kind(dynamic: &()) -> Cow<'_, str> {
        Region::kind(dynamic)
    }

    fn group(dynamic: &()) -> Cow<'_, str> {
        Region::group(dynamic)
    }

    fn version(dynamic: &()) -> Cow<'_, str> {
        Region::version(dynamic)
    }

    fn plural(dynamic: &()) -> Cow<'_, str> {
        Region::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Decoded(region) => &region.metadata,
            Self::Undecodable(undecodable) => &undecodable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Decoded(region) => &mut Arc::make_mut(region).metadata,
            Self::Undecodable(undecodable) => &mut undecodable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn region(expires: &str) -> Value {
        json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": {"name": "tr", "uid": "1"},
            "spec": {
                "residency": {
                    "jurisdiction": "TR", "location": "tr-ist-1",
                    "exceptions": [{"channel": "35", "reason": "on call", "approvedBy": "dpo", "expires": expires}],
                },
                "postgres": {
                    "version": 17, "instances": 1,
                    "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1"}},
                },
                "objectStore": {"servers": 1, "volume": {"size": "1Gi", "storageClass": "tr-ist-1"}},
            },
            "status": {"location": "tr-ist-1"},
        })
    }

    #[test]
    fn of_a_list_each_region_is_decoded_on_its_own() {
        let list = json!([
            region("9999-12-31T23:59:59Z"),
            region("2027-01-31T00:00:00Z")
        ]);
        let decoded: Vec<RegionObject> = serde_json::from_value(list).unwrap();
        let [
            RegionObject::Undecodable(undecodable),
            RegionObject::Decoded(region),
        ] = decoded.as_slice()
        else {
            panic!("{decoded:?}");
        };
        assert_eq!(undecodable.field, "spec.residency.exceptions[0].expires");
        assert_eq!(undecodable.metadata.uid.as_deref(), Some("1"));
        assert_eq!(undecodable.status, json!({"location": "tr-ist-1"}));
        assert_eq!(region.name_any(), "tr");
    }

    #[test]
    fn a_cause_is_one_short_line() {
        let long = format!("{}\n{}", "x".repeat(300), "y".repeat(300));
        let decoded: RegionObject = serde_json::from_value(region(&long)).unwrap();
        let RegionObject::Undecodable(undecodable) = decoded else {
            panic!("{decoded:?}");
        };
        assert!(undecodable.cause.len() <= 200, "{}", undecodable.cause);
        assert!(!undecodable.cause.contains('\n'), "{}", undecodable.cause);
        assert_eq!(undecodable.field, "spec.residency.exceptions[0].expires");
    }
}

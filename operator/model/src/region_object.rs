//! A Region as the API server gave it: decoded, or where and why it cannot be. Each is decoded on its own, so that a
//! list holds whatever one of them is. JSON in, values out; no I/O.

use std::borrow::Cow;
use std::sync::Arc;

use bailiwick_api::region::{Region, RegionStatus, Residency};
use bailiwick_api::violation::{Reason, Violation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::accepted::AcceptedSpec;

/// How much of what a decoder expected is told, in characters.
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
    /// Its spec, as it is; null when it has none.
    pub spec: Value,
    /// Its status, as it is; null when it has none.
    pub status: Value,
    /// The path of the field that does not decode.
    pub field: String,
    /// Why it does not, without the value that was found: what was expected, in one line of at most 240 characters.
    pub cause: String,
}

impl Undecodable {
    /// That it is refused, and what to do.
    #[must_use]
    pub fn violation(&self) -> Violation {
        Violation::new(
            self.field.as_str(),
            Reason::Undecodable,
            format!(
                "cannot be decoded: {}; give it a value as `kubectl explain region.{}` describes it",
                self.cause,
                without_places(&self.field)
            ),
        )
    }

    /// The Region with the spec that was accepted last, to be tended in its place. None when its place is another by now or
    /// cannot be read, or when its status cannot be: that says whether it is shut off.
    #[must_use]
    pub fn tended_by(&self, accepted: &AcceptedSpec) -> Option<Region> {
        let mut place = self.spec.get("residency")?.clone();
        // They end by the clock, whoever's spec names them.
        place.as_object_mut()?.remove("exceptions");
        let place: Residency = serde_json::from_value(place).ok()?;
        let status: Option<RegionStatus> = serde_json::from_value(self.status.clone()).ok()?;
        let mut region = Region::new("", accepted.spec.clone());
        region.metadata = self.metadata.clone();
        region.status = status;
        (place == accepted.place()).then_some(region)
    }
}

/// The path of a field as `kubectl explain` takes it: without the places in lists.
pub(crate) fn without_places(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|letter| {
            inside = *letter == '[' || (inside && *letter != ']');
            !inside && *letter != ']'
        })
        .collect()
}

/// What a decoder expected, and of what kind the value was that it found. The value itself, which its complaint quotes before
/// that, is left out.
fn expectation(complaint: &str) -> String {
    let kind = [
        "invalid type",
        "invalid value",
        "unknown variant",
        "unknown field",
        "invalid length",
    ]
    .into_iter()
    .find(|kind| complaint.starts_with(kind));
    // Of types, not of values.
    if complaint.starts_with("missing field `") || complaint.starts_with("duplicate field `") {
        return complaint.chars().take(MOST_OF_A_CAUSE).collect();
    }
    let (Some(kind), Some(expected)) = (kind, complaint.rfind(", expected ")) else {
        return "its value is not of the expected form".to_owned();
    };
    let expected: String = complaint[expected..]
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MOST_OF_A_CAUSE)
        .collect();
    format!("{kind}{expected}")
}

impl RegionObject {
    fn of(object: Value) -> Result<Self, serde_json::Error> {
        let error = match serde_path_to_error::deserialize::<_, Region>(&object) {
            Ok(region) => return Ok(Self::Decoded(Arc::new(region))),
            Err(error) => error,
        };
        let cause = expectation(&error.inner().to_string());
        let field = error.path().to_string();
        let mut object = object;
        // An object of the API server always has metadata: without, it is no object.
        let metadata = object["metadata"].take();
        Ok(Self::Undecodable(Box::new(Undecodable {
            metadata: serde_json::from_value(metadata)?,
            spec: object["spec"].take(),
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

    fn undecodable(object: Value) -> Undecodable {
        match RegionObject::of(object).unwrap() {
            RegionObject::Undecodable(undecodable) => *undecodable,
            decoded @ RegionObject::Decoded(_) => panic!("{decoded:?}"),
        }
    }

    #[test]
    fn a_cause_is_one_short_line_that_names_what_was_expected_and_no_value() {
        let long = format!(
            "hunter2 {}\n, expected {}",
            "x".repeat(300),
            "y".repeat(300)
        );
        let table = [
            ("/spec/residency/exceptions/0/expires", json!("hunter2")),
            ("/spec/residency/exceptions/0/expires", json!(long)),
            ("/spec/residency/exceptions", json!("hunter2")),
            ("/spec/residency/jurisdiction", json!({"hunter2": 1})),
            ("/spec/postgres/instances", json!("hunter2")),
            ("/spec/postgres/instances", json!(9_999_999_999_i64)),
            ("/spec/postgres/version", json!("hunter2, expected 17")),
            ("/spec/objectStore/volume", json!(["hunter2"])),
        ];
        for (field, value) in table {
            let mut object = region("2027-01-31T00:00:00Z");
            *object.pointer_mut(field).unwrap() = value;
            let found = undecodable(object);
            let path = field
                .trim_start_matches('/')
                .replace("/0/", "[0].")
                .replace('/', ".");
            assert_eq!(found.field, path);
            let said = found.violation().to_string();
            for value in ["hunter2", "9999999999", "xxx", "\n"] {
                assert!(!said.contains(value), "{said}");
            }
            assert!(found.cause.chars().count() <= 240, "{said}");
            assert!(said.contains("expected"), "{said}");
        }
        let mut object = region("2027-01-31T00:00:00Z");
        object["spec"]["postgres"]["instances"] = json!("hunter2");
        assert_eq!(
            undecodable(object).violation().to_string(),
            "spec.postgres.instances: cannot be decoded: invalid type, expected i32; give it a value as `kubectl explain \
             region.spec.postgres.instances` describes it"
        );
        let expires = undecodable(region("hunter2")).violation().to_string();
        assert!(
            expires.contains("region.spec.residency.exceptions.expires`"),
            "{expires}"
        );
    }

    #[test]
    fn the_spec_that_was_accepted_is_tended_where_the_place_is_the_same() {
        let RegionObject::Decoded(before) =
            RegionObject::of(region("2027-01-31T00:00:00Z")).unwrap()
        else {
            panic!("it is a Region");
        };
        let mut before = Arc::unwrap_or_clone(before);
        before.metadata.generation = Some(3);
        let accepted = AcceptedSpec::of(&before).unwrap();
        let tended = |object: Value| undecodable(object).tended_by(&accepted);
        let found = tended(region("never")).expect("it is tended");
        assert_eq!(found.spec, before.spec);
        assert_eq!(found.metadata.uid.as_deref(), Some("1"));
        assert_eq!(found.status, before.status);
        for (field, value) in [
            ("/spec/residency/location", json!("es-mad-1")),
            ("/spec/residency/location", json!(1)),
            ("/spec/residency", json!(null)),
            ("/status/location", json!(1)),
        ] {
            let mut object = region("never");
            *object.pointer_mut(field).unwrap() = value;
            assert_eq!(tended(object), None, "{field}");
        }
    }
}

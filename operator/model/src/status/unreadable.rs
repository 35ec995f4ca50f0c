//! A status that does not decode: what is taken out of it, so that it does and can be written anew. JSON in, a merge patch
//! out; no I/O.

use bailiwick_api::region::{Assurance, BreachStatus, BreachedChannel, RegionStatus};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use serde_path_to_error::{Path, Segment};

use crate::ways;

/// What of a status does not decode, and what mends that.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// The paths of the fields that were taken out, without their values.
    pub fields: Vec<String>,
    /// The merge patch (RFC 7386) of the status: what decodes stays as it is.
    pub patch: Value,
}

/// What is to be taken out of the status of a Region, as JSON or null, so that it decodes; none when it does. `known` is the
/// breach as it was written last, where that is remembered: if that part does not decode and nobody remembers it, a leak may
/// have been in it, and the Region is shut off from `now` until its canaries find none. Ways of before that do not decode may
/// have been shut until `now`, and hold connections.
#[must_use]
pub fn unreadable(
    status: &Value,
    known: Option<&BreachStatus>,
    now: Timestamp,
) -> Option<Unreadable> {
    let mut left = status.clone();
    let mut fields = Vec::new();
    // Each round takes something out, and what has nothing in it decodes.
    while let Err(error) = serde_path_to_error::deserialize::<_, Option<RegionStatus>>(&left) {
        let place = taken_out(&mut left, error.path());
        fields.push(if place.is_empty() {
            "status".to_owned()
        } else {
            format!("status.{place}")
        });
    }
    if fields.is_empty() {
        return None;
    }
    let lost = |part: &str| {
        let part = format!("status.residency.{part}");
        fields.iter().any(|field| {
            ["status", "status.residency"].contains(&field.as_str()) || field.starts_with(&part)
        })
    };
    let (breach_lost, ways_lost) = (lost("breach"), lost("ways"));
    if breach_lost || ways_lost {
        if !left.is_object() {
            left = json!({});
        }
        if left["residency"].is_null() {
            left["residency"] = json!({"assurance": Assurance::default()});
        }
    }
    if breach_lost {
        let breach = known.cloned().unwrap_or_else(|| doubted(status, now));
        if !breach.is_none() {
            left["residency"]["breach"] = json!(breach);
        }
    }
    if ways_lost {
        left["residency"]["ways"] = json!(ways::doubted(now));
    }
    Some(Unreadable {
        patch: difference(status, &left),
        fields,
    })
}

/// A breach of which nothing is known but that there may be one.
fn doubted(status: &Value, now: Timestamp) -> BreachStatus {
    let count = status["residency"]["breach"]["count"]
        .as_i64()
        .and_then(|count| i32::try_from(count).ok())
        .unwrap_or_default();
    BreachStatus {
        count: count.max(1),
        since: Some(now),
        channels: vec![BreachedChannel {
            id: "1".to_owned(),
            since: now,
            finding: "status.residency.breach could not be decoded, so that it may have told of a leak; the canaries tell"
                .to_owned(),
        }],
    }
}

/// Takes what does not decode out of a status; where that is demanded of its place, with the place. The path of what went.
fn taken_out(status: &mut Value, path: &Path) -> String {
    let mut place = Vec::new();
    let mut at: &Value = status;
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => at.get(*index).map(|next| (index.to_string(), next)),
            Segment::Map { key } => at.get(key).map(|next| (key.clone(), next)),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some((name, next)) = next else { break };
        place.push(name);
        at = next;
    }
    let Some((last, parents)) = place.split_last() else {
        *status = Value::Null;
        return String::new();
    };
    let pointer = parents
        .iter()
        .fold(String::new(), |pointer, name| pointer + "/" + name);
    match status.pointer_mut(&pointer) {
        Some(Value::Array(items)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                let _: Value = items.remove(index);
            }
        }
        // The rest of it is worth keeping: the end of the evidence log is there.
        Some(Value::Object(fields)) if pointer == "/residency" && last == "assurance" => {
            fields.insert(last.clone(), json!(Assurance::default()));
        }
        Some(Value::Object(fields)) => {
            fields.remove(last);
        }
        _ => *status = Value::Null,
    }
    place.join(".")
}

/// The merge patch that makes `after` of `before`.
pub(super) fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return after.clone();
    };
    let gone = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| match old.get(key) {
        Some(old) if old == value => None,
        Some(old) => Some((key.clone(), difference(old, value))),
        None => Some((key.clone(), value.clone())),
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "observedGeneration": 3,
            "postgres": {"incarnation": 2, "primary": "tr-pg-0"},
            "certificates": {"soonestExpiry": "2027-01-31T00:00:00Z"},
            "residency": {
                "assurance": "Logical",
                "channels": [
                    {"id": "1", "state": "Enforced", "evidence": "seen"},
                    {"id": "2", "state": "Enforced", "evidence": "seen"},
                ],
                "breach": {"count": 2, "since": "2026-01-01T00:00:00Z", "channels": [
                    {"id": "2", "since": "2026-01-01T00:00:00Z", "finding": "reached"},
                ]},
                "evidence": {"sequence": 7, "hash": "ab", "keyId": "cd", "told": ""},
                "ways": {"open": ["Postgres/lab/ab"], "shut": [
                    {"way": "ObjectStore/lab/ab", "since": "2026-01-01T00:00:00Z"},
                ]},
            },
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Degraded", "status": "False", "reason": "Whole", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        })
    }

    /// A merge patch applied, as the API server does it.
    fn merged(before: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else {
            return patch.clone();
        };
        let mut after = before.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                after.remove(key);
            } else {
                let old = after.get(key).cloned().unwrap_or_default();
                after.insert(key.clone(), merged(&old, value));
            }
        }
        Value::Object(after)
    }

    #[test]
    fn what_does_not_decode_is_taken_out_and_the_rest_stays() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(unreadable(&status(), None, now), None);
        assert_eq!(unreadable(&Value::Null, None, now), None);
        // What is broken, what goes with it, and whether the breach is doubted then.
        let table = [
            (
                "/certificates/soonestExpiry",
                &["certificates.soonestExpiry"][..],
                false,
            ),
            ("/location", &["location"], false),
            ("/residency/assurance", &["residency.assurance"], false),
            (
                "/residency/channels/1/state",
                &["residency.channels.1.state", "residency.channels.1"],
                false,
            ),
            (
                "/residency/evidence/sequence",
                &["residency.evidence.sequence", "residency.evidence"],
                false,
            ),
            (
                "/conditions/0/lastTransitionTime",
                &["conditions.0.lastTransitionTime", "conditions.0"],
                false,
            ),
            ("/residency/breach/since", &["residency.breach.since"], true),
            (
                "/residency/breach/channels/0/since",
                &[
                    "residency.breach.channels.0.since",
                    "residency.breach.channels.0",
                ],
                true,
            ),
            (
                "/residency/breach/count",
                &["residency.breach.count", "residency.breach"],
                true,
            ),
            (
                "/residency/ways/shut/0/since",
                &["residency.ways.shut.0.since", "residency.ways.shut.0"],
                false,
            ),
            ("/residency", &["residency.0", "residency"], true),
        ];
        for (pointer, fields, doubted) in table {
            let mut broken = status();
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            let parent = broken.pointer_mut(parent).unwrap();
            match last.parse::<usize>() {
                Ok(index) => parent[index] = json!({"hunter2": true}),
                Err(_) => parent[last] = json!(["hunter2"]),
            }
            let found = unreadable(&broken, None, now).expect(pointer);
            let expected: Vec<String> = fields
                .iter()
                .map(|field| format!("status.{field}"))
                .collect();
            assert_eq!(found.fields, expected, "{pointer}");
            let after = merged(&broken, &found.patch);
            let decoded: RegionStatus = serde_json::from_value(after.clone()).expect(pointer);
            assert!(!after.to_string().contains("hunter2"), "{after}");
            assert_eq!(decoded.postgres.unwrap().incarnation, Some(2), "{pointer}");
            let residency = decoded.residency.unwrap();
            // A quarantine never ends by it.
            assert!(residency.breach.is_active(), "{pointer}");
            let says = residency.breach.channels[0]
                .finding
                .contains("could not be decoded");
            assert_eq!(says, doubted, "{pointer}");
            // Whatever may have been shut may hold connections; what can be read stays as it is.
            let ways = residency.ways.expect(pointer);
            let forgotten = pointer == "/residency" || pointer.starts_with("/residency/ways");
            let shut: Vec<&str> = ways.shut.iter().map(|it| it.way.as_str()).collect();
            let expected: &[&str] = if forgotten {
                &["Postgres/*/*", "ObjectStore/*/*", "External/*/*"]
            } else {
                &["ObjectStore/lab/ab"]
            };
            assert_eq!(shut, expected, "{pointer}");

            // What is remembered is better than doubt.
            let known = BreachStatus::default();
            let after = merged(
                &broken,
                &unreadable(&broken, Some(&known), now).unwrap().patch,
            );
            let decoded: RegionStatus = serde_json::from_value(after).expect(pointer);
            assert!(
                !decoded
                    .residency
                    .unwrap()
                    .breach
                    .channels
                    .iter()
                    .any(|it| it.finding.contains("decoded"))
            );
        }
        let found = unreadable(&json!("hunter2"), None, now).unwrap();
        assert_eq!(found.fields, ["status"]);
        assert!(serde_json::from_value::<RegionStatus>(found.patch).is_ok());
    }
}

//! Which steps put right what somebody else changed. Steps and the status before them in; no I/O.

use bailiwick_api::region::Region;

use crate::patroni::step::PatroniStep;
use crate::sql::step::SqlStep;
use crate::step::Step;

/// Whether a step puts right what was settled for the spec as it is, and was changed by somebody else.
#[must_use]
pub fn undoes_drift(region: &Region, step: &Step) -> bool {
    is_settled(region) && restores_a_setting(step)
}

/// Whether nothing was left to do for the spec as it is.
fn is_settled(region: &Region) -> bool {
    region.status.as_ref().is_some_and(|status| {
        status.observed_generation == region.metadata.generation
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Progressing" && condition.reason == "Settled")
    })
}

/// Whether a step makes a setting what the spec says. The others come with time: backups, canaries, pods, connections.
fn restores_a_setting(step: &Step) -> bool {
    match step {
        Step::Sql(step) => !matches!(step, SqlStep::EndSessions { .. }),
        Step::Store(_) | Step::Patroni(PatroniStep::PatchConfig(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::store::step::StoreStep;
    use bailiwick_api::region::RegionStatus;

    /// A Region of generation 2 whose status speaks of this one, with this reason of Progressing.
    fn region(observed: i64, reason: &str) -> Region {
        let mut region: Region =
            serde_yaml::from_str(include_str!("../tests/regions/valid/full.yaml")).unwrap();
        region.metadata.generation = Some(2);
        region.status = Some(RegionStatus {
            observed_generation: Some(observed),
            conditions: vec![Condition {
                type_: "Progressing".to_owned(),
                status: "False".to_owned(),
                reason: reason.to_owned(),
                message: String::new(),
                observed_generation: Some(observed),
                last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            }],
            ..RegionStatus::default()
        });
        region
    }

    #[test]
    fn a_setting_that_is_put_right_in_a_settled_region_was_changed_by_somebody_else() {
        let encryption = Step::Store(StoreStep::SetEncryption {
            bucket: "documents".to_owned(),
        });
        let act_as = Step::Sql(SqlStep::ActAs {
            role: "app".to_owned(),
        });
        let end = Step::Sql(SqlStep::EndSessions {
            role: "app".to_owned(),
            standby: None,
            from_age: None,
        });
        let pod = Step::DeletePod {
            name: "tr-pg-0".to_owned(),
            uid: "1".to_owned(),
        };
        let settled = region(2, "Settled");
        let unknown = Region {
            status: None,
            ..region(2, "Settled")
        };
        for (region, step, expected) in [
            (&settled, &encryption, true),
            (&settled, &act_as, true),
            (&settled, &end, false),
            (&settled, &pod, false),
            (&region(1, "Settled"), &encryption, false),
            (&region(2, "StepsDue"), &encryption, false),
            (&unknown, &encryption, false),
        ] {
            assert_eq!(undoes_drift(region, step), expected, "{step:?}");
        }
    }
}

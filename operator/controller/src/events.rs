//! Kubernetes Events, for the flips that people are woken for. One write each, best effort: the status is the
//! record, an Event only its echo.

use bailiwick_api::region::{Region, RegionStatus};
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::context::Context;

/// The conditions whose flips are published, and the status that is good.
const PUBLISHED: [(&str, &str); 4] = [
    ("Ready", "True"),
    ("ResidencyEnforced", "True"),
    ("Quarantined", "False"),
    ("EvidenceRecorded", "True"),
];

/// Publishes an Event for each published condition whose status differs from the Region's old one.
pub async fn publish_flips(ctx: &Context, region: &Region, status: &RegionStatus) {
    let old = |type_: &str| {
        region
            .status
            .as_ref()
            .and_then(|status| {
                status
                    .conditions
                    .iter()
                    .find(|condition| condition.type_ == type_)
            })
            .map(|condition| condition.status.as_str())
    };
    let published = status.conditions.iter().filter_map(|condition| {
        let (_, good) = PUBLISHED
            .iter()
            .find(|(type_, _)| *type_ == condition.type_)?;
        Some((condition, condition.status == *good))
    });
    // A condition that is not good yet on the first look is no flip, nor is one that could not be other than good.
    let flips = published.filter(|(condition, good)| {
        old(&condition.type_).map_or(*good && condition.status == "True", |old| {
            old != condition.status
        })
    });
    for (condition, good) in flips {
        let type_ = if good {
            EventType::Normal
        } else {
            EventType::Warning
        };
        let reason = format!("{}{}", condition.type_, condition.status);
        let note = format!("{}: {}", condition.reason, condition.message);
        publish(ctx, region, type_, &reason, note).await;
    }
}

/// Publishes an Event about a Region, best effort.
pub async fn publish(ctx: &Context, region: &Region, type_: EventType, reason: &str, note: String) {
    let recorder = Recorder::new(ctx.client.clone(), Reporter::from("bailiwick-operator"));
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &region.object_ref(&())).await {
        tracing::warn!(%error, "an Event could not be published");
    }
}

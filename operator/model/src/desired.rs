//! `desired(&Plan)`: every Kubernetes object of a Region, in the order in which they are applied, the boundary
//! first. Pure; the cluster is not read.

pub mod boundary;
pub mod canary;
pub mod fence;
pub mod object_store;
pub mod postgres;

use crate::accepted;
use crate::component::COMPONENTS;
use crate::manifest::Manifest;
use crate::names::component;
use crate::plan::Plan;

/// Every Kubernetes object of a Region, in apply order. Jobs are steps and Secrets are minted: neither is here.
#[must_use]
pub fn desired(plan: &Plan) -> Vec<Manifest> {
    let mut manifests: Vec<Manifest> = COMPONENTS
        .iter()
        .flat_map(|component| (component.manifests)(plan))
        .collect();
    // Last: what could not be applied is not what is in force.
    manifests.extend(accepted::manifest(plan));
    manifests
}

/// What is applied of a Region that is paused: nothing, but for the boundary while it is shut off. Then that lets through
/// what the Region's own parts need, whatever the spec says by now.
#[must_use]
pub fn desired_while_paused(plan: &Plan) -> Vec<Manifest> {
    if plan.breach.is_active() {
        boundary::manifests(plan)
    } else {
        Vec::new()
    }
}

/// The component that a Secret of the Region is of: the one that asks for it, whatever names look like.
#[must_use]
pub fn secret_component(plan: &Plan, secret: &str) -> &'static str {
    COMPONENTS
        .iter()
        .find(|component| {
            let wanted = (component.secrets)(&plan.names, &plan.spec);
            wanted.iter().any(|wanted| wanted.name == secret)
        })
        // The Region's authority is nobody's alone.
        .map_or(component::POSTGRES, |component| component.name)
}

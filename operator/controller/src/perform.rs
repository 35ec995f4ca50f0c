//! Does steps one by one: in the object store, in Postgres, with Patroni, and those of Kubernetes that are no apply. Steps in,
//! what was done and what failed out; which steps wait for one that failed is the model's.

use bailiwick_api::region::Region;
use bailiwick_model::drift::undoes_drift;
use bailiwick_model::names::FIELD_MANAGER;
use bailiwick_model::plan::Plan;
use bailiwick_model::reconciled::FailedStep;
use bailiwick_model::step::Step;
use bailiwick_model::step_failures::StepFailures;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};

use crate::apply;
use crate::context::{Context, Memory};
use crate::error::{Error, StepError};
use crate::systems::Access;
use crate::watch::Object;

/// Does steps one by one: how many were done, and those that failed: which, why, and the code that the system answered with.
///
/// # Errors
/// Any [`Error`] of the API server that says nothing of one object alone.
pub async fn perform(
    ctx: &Context,
    region: &Region,
    plan: &Plan,
    memory: &mut Memory,
    steps: &[Step],
) -> Result<(usize, Vec<FailedStep>), Error> {
    let name = plan.names.region();
    let mut writes = 0;
    let mut failures = StepFailures::default();
    for step in steps {
        if failures.block(step) {
            continue;
        }
        match perform_one(ctx, region, plan, memory, step).await {
            Err(error) => {
                let (what, cause) = refused_step(error, step, memory)?;
                failures.add_refusal(what, cause);
            }
            Ok(Err(failure)) => {
                tracing::warn!(
                    region = name,
                    error = &failure as &dyn std::error::Error,
                    "a step was not done"
                );
                let what = format!("{}: {}", failure.system, failure.what);
                failures.add(step, what, failure.failure, failure.cause());
            }
            Ok(Ok(())) => {
                writes += 1;
                if let Step::DeleteSecret { name, .. } = step {
                    memory.left_over.1.remove(name);
                }
                if undoes_drift(region, step) {
                    tracing::warn!(
                        region = name,
                        system = step.system(),
                        "what was settled had been changed by somebody else and was put right"
                    );
                    ctx.metrics.undone(name);
                }
            }
        }
    }
    Ok((writes, failures.into_failed()))
}

/// What the API server refused of a step, and why.
///
/// # Errors
/// The error itself when it says nothing of this one object.
fn refused_step(error: Error, step: &Step, memory: &mut Memory) -> Result<(String, String), Error> {
    let Some(cause) = error.refusal() else {
        return Err(error);
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "a step was not done"
    );
    if error.status().is_some_and(kube::core::Status::is_forbidden) {
        memory.delegated = false;
    }
    Ok((format!("{}: {error}", step.system()), cause))
}

/// Does one step. The outer error is the API server's, the inner one that of the system behind the step.
async fn perform_one(
    ctx: &Context,
    region: &Region,
    plan: &Plan,
    memory: &Memory,
    step: &Step,
) -> Result<Result<(), StepError>, Error> {
    ctx.lease.check()?;
    let access = Access {
        region,
        names: &plan.names,
        credentials: &memory.credentials,
    };
    let object = |name: &str| Object {
        namespace: plan.names.namespace(),
        name: name.to_owned(),
    };
    Ok(match step {
        Step::Store(step) => ctx.systems.store_step(access, step).await,
        Step::Patroni(step) => ctx.systems.patroni_step(access, step).await,
        Step::Sql(step) => ctx.systems.sql_step(access, step).await,
        Step::Create(manifest) => {
            let api: Api<DynamicObject> = Api::namespaced_with(
                ctx.client.clone(),
                &plan.names.namespace(),
                &manifest.resource,
            );
            let parameters = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            match api.create(&parameters, &manifest.object).await {
                Ok(_) => Ok(()),
                // The watch has not shown it yet.
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(source) => {
                    return Err(Error::Apply {
                        object: manifest.id(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Step::Grow(growth) => apply::grow(&ctx.client, &plan.names.namespace(), growth).await?,
        Step::MarkClaim(claim) => {
            apply::mark_claim(&ctx.client, &plan.names.namespace(), claim).await?;
            Ok(())
        }
        Step::DeleteSecret { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Secret>(&()), &object(name), uid).await?;
            Ok(())
        }
        Step::DeletePod { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Pod>(&()), &object(name), uid).await?;
            Ok(())
        }
        Step::DeleteJob { name, uid } => {
            apply::delete(ctx, &ApiResource::erase::<Job>(&()), &object(name), uid).await?;
            Ok(())
        }
    })
}

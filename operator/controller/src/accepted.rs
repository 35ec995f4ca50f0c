//! Reads the spec that was accepted last, as an operator before this one left it in a ConfigMap of the Region. Reads only.

use bailiwick_model::accepted::AcceptedSpec;
use bailiwick_model::names::Names;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::Api;

use crate::context::{Context, Memory};
use crate::error::Error;

/// Remembers the spec that was accepted last, as an operator before this one left it.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer.
pub async fn recall_accepted(
    ctx: &Context,
    region: &ObjectMeta,
    memory: &mut Memory,
) -> Result<(), Error> {
    if memory.accepted.is_none() && !memory.asked_for_accepted {
        memory.accepted = accepted(ctx, region).await?;
        memory.asked_for_accepted = true;
    }
    Ok(())
}

/// The spec that was accepted last, as an operator before this one left it; none when there was none.
async fn accepted(ctx: &Context, region: &ObjectMeta) -> Result<Option<AcceptedSpec>, Error> {
    let names = Names::new(region.name.as_deref().unwrap_or_default());
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &names.namespace());
    let found = api.get_opt(&names.accepted()).await;
    match found {
        // One of a Region that had the name before goes with that one.
        Ok(found) => Ok(found
            .filter(|found| {
                let owners = found.owner_references();
                owners
                    .iter()
                    .any(|owner| Some(&owner.uid) == region.uid.as_ref())
            })
            .and_then(|found| found.data)
            .and_then(|data| AcceptedSpec::read(&data))),
        // Without a right there, nothing is tended either.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(source) => Err(Error::Observe {
            what: format!("ConfigMap {}", names.accepted()),
            source: Box::new(source),
        }),
    }
}

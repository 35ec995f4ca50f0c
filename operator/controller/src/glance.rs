//! A look at the metadata of a Region's Secrets between two readings of all of them: an edit of a password, and a Secret
//! that is gone, are seen within half a minute. What was not changed is not read. Decides nothing.

use std::collections::BTreeMap;

use bailiwick_api::region::Region;
use bailiwick_model::facts::Facts;
use bailiwick_model::names::Names;
use bailiwick_model::secret::SecretWanted;
use bailiwick_model::steps::may_be_left;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use crate::context::{Context, Memory};
use crate::credentials::{Seen, is_replicated};
use crate::error::Error;
use crate::mint;

/// Whether an edit of a Secret, or its loss, is to be seen soon. Certificates have time.
fn matters(wanted: &SecretWanted) -> bool {
    wanted.key || !wanted.contents.generated().is_empty()
}

/// Looks at the metadata of the Secrets that people edit and processes depend on, and reads those that are not as they
/// were.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer for one.
pub async fn glance(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &names.namespace());
    for wanted in bailiwick_model::planner::secrets(names, &region.spec)
        .iter()
        .filter(|wanted| matters(wanted))
    {
        let found = api
            .get_metadata_opt(&wanted.name)
            .await
            .map_err(|source| failed(&wanted.name, source))?;
        let known = memory.credentials.seen(&wanted.name);
        let same = match (&found, known) {
            (Some(found), Some(Seen { uid, version, .. })) => {
                found.metadata.uid == *uid && found.metadata.resource_version == *version
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            read(&api, wanted, memory).await?;
        }
    }
    Ok(())
}

/// The Secrets that are there of logins which left the spec, with their uids: looked for when others may be left, and with
/// each glance.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer for one.
pub async fn left_over(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
    facts: &Facts,
    glanced: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let mut candidates = may_be_left(names, &region.spec, facts);
    // What was there last is there until it is seen to be gone, though its role is.
    candidates.extend(memory.left_over.1.keys().cloned());
    candidates.extend(facts.announced.iter().cloned());
    for wanted in bailiwick_model::planner::secrets(names, &region.spec) {
        candidates.remove(&wanted.name);
    }
    if glanced || candidates != memory.left_over.0 {
        let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &names.namespace());
        let mut found = BTreeMap::new();
        for name in &candidates {
            let metadata = api.get_metadata_opt(name).await;
            let metadata = metadata.map_err(|source| failed(name, source))?;
            if let Some(uid) = metadata.and_then(|it| it.metadata.uid) {
                found.insert(name.clone(), uid);
            }
        }
        memory.left_over = (candidates, found);
    }
    Ok(memory.left_over.1.clone())
}

/// Reads one Secret. The values of a key that is gone are kept: it can be put back as it was.
///
/// # Errors
/// [`Error::Observe`] when the API server did not answer.
pub async fn read(
    api: &Api<Secret>,
    wanted: &SecretWanted,
    memory: &mut Memory,
) -> Result<(), Error> {
    let found = api
        .get_opt(&wanted.name)
        .await
        .map_err(|source| failed(&wanted.name, source))?;
    let credentials = &mut memory.credentials;
    match found {
        Some(secret) => {
            credentials.set_replicated(&wanted.name, is_replicated(&secret));
            credentials.take(&secret, mint::values_of(&secret));
        }
        None if wanted.key => credentials.set_gone(&wanted.name),
        None => credentials.remove(&wanted.name),
    }
    Ok(())
}

fn failed(secret: &str, source: kube::Error) -> Error {
    Error::Observe {
        what: format!("Secret {secret}"),
        source: Box::new(source),
    }
}

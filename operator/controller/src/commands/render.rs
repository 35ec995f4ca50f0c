//! `bailiwick-operator render`: prints what the operator would apply for the Regions of a file on a cluster that has
//! what they need. Nothing is asked of a cluster, and no secret is made.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bailiwick_api::region::Region;
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_model::admission::Admission;
use bailiwick_model::desired::desired;
use bailiwick_model::offline::{is_meant_as_region, text};
use bailiwick_model::plan::{Plan, Platform};
use bailiwick_model::planner::plan;
use bailiwick_model::region_object::RegionObject;
use bailiwick_model::{assumption, yaml};
use clap::Args;
use serde_json::Value;

use super::CommandError;
use super::check::read;
use super::run::{registry, versioned_image};

/// What is rendered, and the platform that is assumed.
#[derive(Args, Debug)]
pub struct Render {
    /// A file with Regions.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A location that the cluster serves [default: the Region's].
    #[arg(long = "location", value_name = "LOCATION")]
    locations: Vec<String>,
    /// The image of a major version of Postgres, as 17=registry/postgres:17.12-1.
    #[arg(long = "postgres-image", value_name = "MAJOR=IMAGE", value_parser = versioned_image)]
    postgres_images: Vec<(i32, String)>,
    /// The image of the object store.
    #[arg(
        long,
        default_value = "",
        value_name = "IMAGE",
        hide_default_value = true
    )]
    object_store_image: String,
    /// The operator's own image.
    #[arg(
        long,
        default_value = "",
        value_name = "IMAGE",
        hide_default_value = true
    )]
    operator_image: String,
    /// The image of the start fence.
    #[arg(
        long,
        default_value = "",
        value_name = "IMAGE",
        hide_default_value = true
    )]
    fence_image: String,
    /// A registry that images may come from and the location it is in; * for every served location.
    #[arg(long = "image-registry", value_name = "PREFIX=LOCATION", value_parser = registry)]
    image_registries: Vec<(String, String)>,
}

/// Prints the manifests to `out`, and what is not among them to `hints`.
///
/// # Errors
/// The file cannot be read, a Region in it is refused, or the output cannot be written.
pub fn run(
    render: Render,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CommandError> {
    let Render {
        file,
        locations,
        postgres_images,
        object_store_image,
        operator_image,
        fence_image,
        image_registries,
    } = render;
    let given = Platform {
        locations,
        postgres_images: postgres_images.into_iter().collect(),
        object_store_image,
        operator_image,
        fence_image,
        image_registries: image_registries.into_iter().collect(),
        ..Platform::default()
    };
    let documents = read(&file)?;
    let admission = Admission::new()?;
    let mut rendered = 0;
    for document in documents {
        let object = document.object;
        if !is_meant_as_region(&object) {
            continue;
        }
        let name = text(&object, &["metadata", "name"]);
        let region = region(&admission, object).map_err(|violations| CommandError::Refused {
            name: name.clone(),
            violations,
        })?;
        let region = assumption::applied(region);
        let platform = assumption::platform(&region, given.clone());
        let plan = plan(&region, &platform, &assumption::facts(&region))
            .map_err(|violations| CommandError::Refused { name, violations })?;
        print(&plan, out)?;
        rendered += 1;
    }
    if rendered == 0 {
        return Err(CommandError::Argument(format!(
            "{} holds no Region; name a file that `bailiwick-operator new` printed",
            file.display()
        )));
    }
    writeln!(
        hints,
        "Secrets are minted in the cluster and are only named above. Next: `bailiwick-operator check {}` for its \
         faults.",
        file.display()
    )?;
    Ok(())
}

/// The Region that the API server would hand to the operator.
///
/// # Errors
/// It would take no such Region, or the operator could not decode it.
fn region(admission: &Admission, object: Value) -> Result<Region, Vec<Violation>> {
    let refusals = admission.refusals(&object, None);
    if !refusals.is_empty() {
        return Err(refusals
            .into_iter()
            .map(|refusal| Violation::new(refusal.field, Reason::Invalid, refusal.message))
            .collect());
    }
    match serde_json::from_value(object) {
        Ok(RegionObject::Decoded(region)) => Ok(Arc::unwrap_or_clone(region)),
        Ok(RegionObject::Undecodable(region)) => Err(vec![region.violation()]),
        Err(error) => Err(vec![Violation::new(
            "metadata",
            Reason::Undecodable,
            format!("cannot be decoded: {error}"),
        )]),
    }
}

fn print(plan: &Plan, out: &mut impl Write) -> Result<(), CommandError> {
    writeln!(
        out,
        "# Region {}: what the operator applies, in this order.",
        plan.names.region()
    )?;
    for secret in &plan.secrets {
        let kind = if secret.key { "key Secret" } else { "Secret" };
        writeln!(out, "# {kind} {}, minted once", secret.name)?;
    }
    for manifest in desired(plan) {
        let object = serde_yaml::to_value(&manifest.object).map_err(|source| {
            bailiwick_model::delegation::DocumentError {
                object: manifest.id(),
                source,
            }
        })?;
        let text = yaml::document(&object);
        write!(out, "---\n{text}")?;
    }
    Ok(())
}

//! `bailiwick-operator crd`: prints the CustomResourceDefinition that `crds/regions.yaml` holds.

use std::io::Write;

use super::CommandError;

/// Prints the definition to `out` and the next step to `hints`.
///
/// # Errors
/// The definition or the output cannot be written.
pub fn run(out: &mut impl Write, hints: &mut impl Write) -> Result<(), CommandError> {
    out.write_all(bailiwick_api::region::crd_yaml()?.as_bytes())?;
    writeln!(
        hints,
        "Next: apply it with `kubectl apply --server-side -f -`, before the operator starts."
    )?;
    Ok(())
}

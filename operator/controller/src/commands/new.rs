//! `bailiwick-operator new`: prints the file of a new Region, with its namespaces and the operator's rights in them.

use std::io::Write;

pub use bailiwick_model::draft::arguments::New;
use bailiwick_model::draft::{self, Draft};

use super::CommandError;

/// Prints the file to `out` and the next step to `hints`.
///
/// # Errors
/// The options make no Region that `check` accepts, or the file or the output cannot be written.
pub fn run(new: New, out: &mut impl Write, hints: &mut impl Write) -> Result<(), CommandError> {
    let draft = Draft::from(new);
    let text = draft::text(&draft)?;
    out.write_all(text.as_bytes())?;
    writeln!(
        hints,
        "Next: keep it as regions/{name}.yaml, look it over with `bailiwick-operator check regions/{name}.yaml`, \
         then `kubectl apply -f regions/{name}.yaml`.",
        name = draft.name
    )?;
    Ok(())
}

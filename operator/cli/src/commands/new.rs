//! `kubectl bailiwick new`: prints the file of a new Region, as `bailiwick-operator new` does. No cluster is needed.

use std::io::Write;

pub use bailiwick_model::draft::arguments::New;
use bailiwick_model::draft::{self, Draft};

use crate::error::CliError;

/// Prints the file to `out` and the next step to `hints`.
///
/// # Errors
/// The options make no Region that `check` accepts, or the file or the output cannot be written.
pub fn run(new: New, out: &mut impl Write, hints: &mut impl Write) -> Result<(), CliError> {
    let draft = Draft::from(new);
    out.write_all(draft::text(&draft)?.as_bytes())?;
    writeln!(
        hints,
        "Next: keep it as regions/{name}.yaml, look it over with `bailiwick-operator check regions/{name}.yaml`, \
         then `kubectl apply -f regions/{name}.yaml`.",
        name = draft.name
    )?;
    Ok(())
}

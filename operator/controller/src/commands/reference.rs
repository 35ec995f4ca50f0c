//! `bailiwick-operator reference`: prints the reference of Region that `docs/reference/region.md` holds.

use std::io::Write;

use super::CommandError;

/// Prints the reference to `out` and the next step to `hints`.
///
/// # Errors
/// The reference or the output cannot be written.
pub fn run(out: &mut impl Write, hints: &mut impl Write) -> Result<(), CommandError> {
    out.write_all(bailiwick_model::reference::markdown()?.as_bytes())?;
    writeln!(hints, "Next: keep it as docs/reference/region.md.")?;
    Ok(())
}

//! `bailiwick-operator reference`: prints the references that `docs/reference` holds.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::CommandError;

/// Which reference is printed.
#[derive(Args, Debug)]
pub struct Reference {
    /// The page.
    #[arg(value_enum, default_value_t = Page::Region)]
    page: Page,
}

/// A page of `docs/reference`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// Every field of Region.
    Region,
    /// The leakage channels.
    Channels,
    /// The settings of PostgreSQL.
    PostgresParameters,
}

/// Prints the reference to `out` and the next step to `hints`.
///
/// # Errors
/// The reference or the output cannot be written.
pub fn run(
    reference: &Reference,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CommandError> {
    let (text, file) = match reference.page {
        Page::Region => (bailiwick_model::reference::markdown()?, "region.md"),
        Page::Channels => (
            bailiwick_model::reference::channels_markdown(),
            "channels.md",
        ),
        Page::PostgresParameters => (
            bailiwick_model::reference::settings_markdown(),
            "postgres-parameters.md",
        ),
    };
    out.write_all(text.as_bytes())?;
    writeln!(hints, "Next: keep it as docs/reference/{file}.")?;
    Ok(())
}

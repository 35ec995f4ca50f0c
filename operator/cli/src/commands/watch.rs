//! `--watch`: shows a page again when it changes: on each change of a Region, and every so often, because a status grows
//! stale without any change. Ends with Ctrl-C.

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use bailiwick_model::piped::Piped;
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};

use super::Format;
use crate::cluster::Cluster;
use crate::error::CliError;

/// How often it is looked again without a change.
const EVERY: Duration = Duration::from_secs(30);
/// How long is waited after a change, because they come in groups.
const SETTLE: Duration = Duration::from_millis(500);

/// What one look came to: the page, and the exit code.
pub struct Page {
    /// The text.
    pub text: Vec<u8>,
    /// The exit code.
    pub code: u8,
}

/// What comes between two pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// A terminal is cleared.
    Cleared,
    /// A line of its own.
    Line(&'static str),
}

impl Between {
    /// What comes between pages of this format.
    #[must_use]
    pub const fn pages(format: Format, on_terminal: bool) -> Self {
        match format {
            Format::Table | Format::Wide if on_terminal => Self::Cleared,
            Format::Yaml => Self::Line("---"),
            Format::Table | Format::Wide | Format::Json => Self::Line(""),
        }
    }
}

/// Shows what `look` yields whenever it differs from what was shown before, until Ctrl-C or until nobody reads it any more;
/// returns the last exit code. A
/// look that fails is shown as such in the page's place: nothing old is left standing as if it still held.
///
/// # Errors
/// The output cannot be written.
pub async fn watch<F: Future<Output = Page>>(
    cluster: &Cluster,
    between: Between,
    out: &mut Piped<impl Write>,
    mut look: impl FnMut() -> F,
) -> Result<u8, CliError> {
    let mut changes = pin!(watcher(cluster.api(), watcher::Config::default()).default_backoff());
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let mut shown = None;
    // Nothing was looked at yet.
    let mut code = 2;
    loop {
        let page = tokio::select! {
            _ = &mut interrupted => return Ok(code),
            page = look() => page,
        };
        code = page.code;
        if shown.as_ref() != Some(&page.text) {
            match between {
                // Home, and everything cleared.
                Between::Cleared => out.write_all(b"\x1b[H\x1b[2J\x1b[3J")?,
                Between::Line(line) if shown.is_some() => writeln!(out, "{line}")?,
                Between::Line(_) => {}
            }
            out.write_all(&page.text)?;
            out.flush()?;
            if out.is_closed() {
                return Ok(code);
            }
            shown = Some(page.text);
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(code),
            _ = changes.next() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

//! Waiting: a look is repeated until it sees what is awaited or the time is over. I/O is the look's alone.

use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What a look saw.
pub enum Look<T> {
    /// What is awaited.
    Seen(T),
    /// Something else, in words for the case that it stays so.
    NotYet(String),
}

/// Seen when it holds, in words otherwise.
pub fn seen_if(holds: bool, words: impl FnOnce() -> String) -> Look<()> {
    if holds {
        Look::Seen(())
    } else {
        Look::NotYet(words())
    }
}

/// Looks until what is awaited is seen, and returns it. A look that fails counts as not yet: the API server and the
/// programs of a Region may be away for a moment, and what they said last is told when the time is over.
pub async fn until<T, L, F>(what: &str, limit: Duration, mut look: L) -> Outcome<T>
where
    L: FnMut() -> F,
    F: Future<Output = Outcome<Look<T>>>,
{
    let started = Instant::now();
    loop {
        let words = match look().await {
            Ok(Look::Seen(value)) => return Ok(value),
            Ok(Look::NotYet(words)) => words,
            Err(failure) => failure.to_string(),
        };
        if started.elapsed() >= limit {
            return Err(Failure::new(format!(
                "waited {} s for {what}; last seen: {words}",
                limit.as_secs()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

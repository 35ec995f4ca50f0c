//! How long a watch has been failing. Events of the watch in, a time out; no I/O.
//!
//! A watch on which nothing happens is silent for hours, so that silence says nothing; one that cannot be opened says so
//! again and again, every 30 seconds at the latest. The client itself ends one that hangs after five minutes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Errors that are further apart are two troubles, and not one. The watcher tries again within half of it.
const APART: Duration = Duration::from_mins(1);

/// The errors of a watch since something was last heard of it: the first and the last.
#[derive(Debug, Default)]
pub struct WatchHealth(Mutex<Option<(Instant, Instant)>>);

impl WatchHealth {
    fn with<T>(&self, work: impl FnOnce(&mut Option<(Instant, Instant)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An event or a list came.
    pub fn heard(&self) {
        self.with(|trouble| *trouble = None);
    }

    /// The watch or the list failed at `now`.
    pub fn failed(&self, now: Instant) {
        self.with(|trouble| {
            *trouble = match *trouble {
                Some((first, last)) if now.duration_since(last) < APART => Some((first, now)),
                _ => Some((now, now)),
            };
        });
    }

    /// For how long nothing but errors came, at `now`; none when the watch is open, as far as can be told.
    #[must_use]
    pub fn failing(&self, now: Instant) -> Option<Duration> {
        self.with(|trouble| {
            trouble
                .filter(|(_, last)| now.duration_since(*last) < APART)
                .map(|(first, _)| now.duration_since(first))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_follow_each_other_are_one_trouble_and_an_event_or_a_minutes_silence_ends_it() {
        let health = WatchHealth::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(health.failing(at(0)), None);
        for seconds in (0..=150).step_by(30) {
            health.failed(at(seconds));
        }
        assert_eq!(health.failing(at(170)), Some(Duration::from_secs(170)));
        // It was opened again, and nothing happens.
        assert_eq!(health.failing(at(210)), None);
        health.failed(at(300));
        assert_eq!(health.failing(at(300)), Some(Duration::ZERO));
        health.heard();
        assert_eq!(health.failing(at(301)), None);
    }
}

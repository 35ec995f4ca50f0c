//! Output whose reader may leave before its end, as `head` does. A writer in, one that takes note of it out; no I/O of
//! its own.

use std::io::{self, ErrorKind, Write};

/// A writer that nobody may read any more. What is written then goes nowhere and is no error, so that a command comes to
/// its own end and to its own exit code: a verdict does not hang on who read it.
#[derive(Debug)]
pub struct Piped<W> {
    to: W,
    closed: bool,
}

impl<W> Piped<W> {
    /// Output to a writer.
    pub const fn new(to: W) -> Self {
        Self { to, closed: false }
    }

    /// Whether its reader has left: whatever has no end of its own may end.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn unless_closed<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Piped<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(text.len());
        }
        let written = self.to.write(text);
        self.unless_closed(written, text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.unless_closed(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as it is told to.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_any_other_is() {
        let mut left = Piped::new(Failing(ErrorKind::BrokenPipe));
        assert!(!left.is_closed());
        writeln!(left, "one").unwrap();
        assert!(left.is_closed());
        writeln!(left, "two").unwrap();
        left.flush().unwrap();
        let mut full = Piped::new(Failing(ErrorKind::StorageFull));
        assert!(writeln!(full, "one").is_err() && full.flush().is_err());
        assert!(!full.is_closed());
        let mut whole = Piped::new(Vec::new());
        writeln!(whole, "one").unwrap();
        assert_eq!(whole.to, b"one\n");
    }
}

//! Passwords of roles: what Postgres stores of one, and how the operator remembers which it set. Credentials in,
//! derived text out; the passwords themselves leave nothing here. No I/O.

use std::fmt::Write as _;

use bailiwick_model::facts::postgres::{Mark, PasswordFact};
use bailiwick_model::names::Names;
use ring::hmac;

use crate::credentials::Credentials;

/// How much of the fingerprint is kept, in bytes.
const FINGERPRINT: usize = 16;

/// The passwords of one Region's roles.
pub(super) struct Passwords<'a> {
    names: &'a Names,
    credentials: &'a Credentials,
}

impl<'a> Passwords<'a> {
    pub(super) const fn new(names: &'a Names, credentials: &'a Credentials) -> Self {
        Self { names, credentials }
    }

    /// Whether a role's password is that of its Secret, from the role's mark.
    pub(super) fn compare(&self, role: &str, mark: Option<&Mark>) -> PasswordFact {
        let secret = self.names.postgres_role(role);
        let Some(fingerprint) = self.fingerprint(role, &secret) else {
            return PasswordFact::Unknown;
        };
        if mark.and_then(|mark| mark.password.as_ref()) == Some(&fingerprint) {
            PasswordFact::Current
        } else {
            PasswordFact::Stale
        }
    }

    /// A keyed hash of a role's password. Everybody can read the comment that it is kept in: without the control
    /// role's password nobody can try passwords against it, and equal passwords of two roles do not show.
    pub(super) fn fingerprint(&self, role: &str, secret: &str) -> Option<String> {
        let key = self
            .credentials
            .bytes(&self.names.postgres_internal(), "control-password")?;
        let password = self.credentials.text(secret, "password")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut context = hmac::Context::with_key(&key);
        for part in [role, "\0", password] {
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        Some(
            tag.as_ref()
                .iter()
                .take(FINGERPRINT)
                .fold(String::new(), |mut text, byte| {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                }),
        )
    }

    /// The SCRAM-SHA-256 verifier of the password in a Secret (RFC 5803, freshly salted). It is all that the server
    /// gets to see, so neither its log nor its statistics can hold the password.
    pub(super) fn verifier(&self, secret: &str) -> Option<String> {
        let password = self.credentials.text(secret, "password")?;
        Some(postgres_protocol::password::scram_sha_256(
            password.as_bytes(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(control: &str, password: &str) -> Credentials {
        let mut credentials = Credentials::default();
        let names = Names::new("tr");
        for (secret, key, value) in [
            (names.postgres_internal(), "control-password", control),
            (names.postgres_role("a"), "password", password),
            (names.postgres_role("b"), "password", password),
        ] {
            credentials.insert(secret, [(key.to_owned(), value.as_bytes().to_vec())].into());
        }
        credentials
    }

    #[test]
    fn a_fingerprint_tells_role_password_and_key_apart() {
        let names = Names::new("tr");
        let print = |credentials: &Credentials, role: &str| {
            Passwords::new(&names, credentials)
                .fingerprint(role, &names.postgres_role(role))
                .unwrap()
        };
        let one = credentials("control", "secret");
        let first = print(&one, "a");
        assert_eq!(first, print(&one, "a"));
        assert_eq!(first.len(), 2 * FINGERPRINT);
        assert!(!first.contains("secret"));
        assert_ne!(first, print(&one, "b"));
        assert_ne!(first, print(&credentials("control", "other"), "a"));
        assert_ne!(first, print(&credentials("rotated", "secret"), "a"));
    }

    #[test]
    fn a_password_is_current_only_with_its_own_fingerprint() {
        let names = Names::new("tr");
        let credentials = credentials("control", "secret");
        let passwords = Passwords::new(&names, &credentials);
        let mark = |password: Option<String>| Mark {
            password,
            ..Mark::new(bailiwick_api::region::Reclaim::Retain)
        };
        let own = passwords.fingerprint("a", &names.postgres_role("a"));
        assert!(own.is_some());
        assert_eq!(
            passwords.compare("a", Some(&mark(own.clone()))),
            PasswordFact::Current
        );
        assert_eq!(
            passwords.compare("b", Some(&mark(own))),
            PasswordFact::Stale
        );
        assert_eq!(
            passwords.compare("a", Some(&mark(None))),
            PasswordFact::Stale
        );
        assert_eq!(passwords.compare("a", None), PasswordFact::Stale);
        assert_eq!(passwords.compare("nobody", None), PasswordFact::Unknown);
    }

    #[test]
    fn a_verifier_is_salted_and_holds_no_password() {
        let names = Names::new("tr");
        let credentials = credentials("control", "secret");
        let passwords = Passwords::new(&names, &credentials);
        let verifier = passwords.verifier(&names.postgres_role("a")).unwrap();
        assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
        assert!(!verifier.contains("secret"));
        assert_ne!(
            Some(verifier),
            passwords.verifier(&names.postgres_role("a"))
        );
        assert_eq!(passwords.verifier("none"), None);
    }
}

//! Text that must not appear in logs.

use std::fmt;

/// A password or the like; its [`fmt::Debug`] tells only that there is one.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes the text out of what others wrote.
    pub fn redact(&self, text: &mut String) {
        if !self.0.is_empty() && text.contains(&self.0) {
            *text = text.replace(&self.0, "[redacted]");
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Secret::new("hunter2");

        let shown = format!("{:?}", Some(secret));

        assert_eq!(shown, "Some([redacted])");
    }

    #[test]
    fn the_text_is_taken_out_of_what_others_wrote() {
        let redacted = |secret: &str| {
            let mut text = "no user root with hunter2".to_owned();
            Secret::new(secret).redact(&mut text);
            text
        };

        assert_eq!(redacted("hunter2"), "no user root with [redacted]");
        assert_eq!(redacted("other"), "no user root with hunter2");
        assert_eq!(redacted(""), "no user root with hunter2");
    }
}

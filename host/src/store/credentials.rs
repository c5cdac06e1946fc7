//! Whom etcd shall take the node for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::secret::Secret;

/// A user of etcd.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    name: String,
    password: Secret,
    /// Where the password is read again when etcd refuses it.
    file: Option<PathBuf>,
}

impl Credentials {
    /// Takes a user whose password stays as it is.
    pub fn new(name: impl Into<String>, password: Secret) -> Self {
        Self {
            name: name.into(),
            password,
            file: None,
        }
    }

    /// Takes a user whose password is the first line of a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn in_file(name: impl Into<String>, file: &Path) -> io::Result<Self> {
        Ok(Self {
            name: name.into(),
            password: read(file)?,
            file: Some(file.to_owned()),
        })
    }

    /// Returns the user's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user's password.
    pub(super) const fn password(&self) -> &Secret {
        &self.password
    }

    /// Returns the credentials with the password that the file has by now, if it has another.
    fn renewed(&self) -> Option<Self> {
        let file = self.file.as_ref()?;
        match read(file) {
            Ok(password) if password == self.password => None,
            Ok(password) => Some(Self {
                password,
                ..self.clone()
            }),
            Err(error) => {
                tracing::warn!(
                    "cannot read {}: {error}; going on with the password read before",
                    file.display()
                );
                None
            }
        }
    }
}

/// The credentials in use.
#[derive(Debug)]
pub(super) struct Login {
    current: ArcSwap<Credentials>,
    /// The passwords before; an answer that was under way may still tell them.
    retired: Mutex<Vec<Secret>>,
}

impl Login {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            current: ArcSwap::from_pointee(credentials),
            retired: Mutex::default(),
        }
    }

    pub(super) fn credentials(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// Reads the password again.
    pub(super) fn renew(&self) {
        if let Some(renewed) = self.current.load().renewed() {
            tracing::info!("etcd refused the password; its file has another by now");
            let before = self.current.swap(Arc::new(renewed));
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push(before.password.clone());
        }
    }

    /// Takes every password out of what others wrote.
    pub(super) fn redact(&self, text: &mut String) {
        self.current.load().password.redact(text);
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        for password in retired.iter() {
            password.redact(text);
        }
    }
}

fn read(file: &Path) -> io::Result<Secret> {
    let text = fs::read_to_string(file)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_again_and_the_one_before_stays_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "before\n").unwrap();
        let login = Login::new(Credentials::in_file("root", file.path()).unwrap());

        fs::write(file.path(), "after\n").unwrap();
        login.renew();

        assert_eq!(login.credentials().password().expose(), "after");
        let mut text = "root: before, after".to_owned();
        login.redact(&mut text);
        assert_eq!(text, "root: [redacted], [redacted]");
    }

    #[test]
    fn a_file_that_is_gone_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "before\n").unwrap();
        let login = Login::new(Credentials::in_file("root", &file).unwrap());

        fs::remove_file(&file).unwrap();
        login.renew();

        assert_eq!(login.credentials().password().expose(), "before");
    }
}

//! TLS to etcd.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use etcd_client::Channel;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as Transport, Identity};

use super::endpoint::{Endpoint, Scheme};
use super::pool::transport;

/// Whom to trust and what to show; the files are read once.
#[derive(Clone, Default)]
pub struct Tls {
    authority: Option<Certificate>,
    identity: Option<Identity>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file has no PEM text of the kind wanted.
    #[error("{}: no {wanted} in PEM form", path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The files do not make a configuration.
    #[error("{0}")]
    Refused(String),
}

impl Tls {
    /// Reads the authority to trust instead of the system's.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has no certificate.
    pub fn trusting(mut self, authority: &Path) -> Result<Self, TlsError> {
        self.authority = Some(Certificate::from_pem(read(
            authority,
            "CERTIFICATE",
            "certificate",
        )?));
        Ok(self)
    }

    /// Reads the certificate to show to etcd, with its key.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has something else.
    pub fn showing(mut self, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificate = read(certificate, "CERTIFICATE", "certificate")?;
        let key = read(key, "PRIVATE KEY", "private key")?;
        self.identity = Some(Identity::from_pem(certificate, key));
        Ok(self)
    }

    /// Tells whether the files make a configuration for an endpoint.
    ///
    /// # Errors
    ///
    /// If they do not: a key that does not fit its certificate, no trusted authority on this system.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), TlsError> {
        self.transport(endpoint).map(drop)
    }

    /// Makes the way to an etcd member over TCP, with TLS for `https`.
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        // What `check` lets pass cannot fail; without TLS an `https` URL is refused when it is used.
        let transport = self.transport(endpoint).unwrap_or_else(|_| transport(endpoint));
        Channel::Tonic(transport.connect_lazy())
    }

    fn transport(&self, endpoint: &Endpoint) -> Result<Transport, TlsError> {
        if endpoint.scheme() == Scheme::Http {
            return Ok(transport(endpoint));
        }
        let config = ClientTlsConfig::new();
        let config = match &self.authority {
            Some(authority) => config.ca_certificate(authority.clone()),
            None => config.with_native_roots(),
        };
        let config = match &self.identity {
            Some(identity) => config.identity(identity.clone()),
            None => config,
        };
        transport(endpoint).tls_config(config).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TlsError::Refused(cause)
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_authority", &self.authority.is_some())
            .field("shows_certificate", &self.identity.is_some())
            .finish()
    }
}

fn read(path: &Path, label: &str, wanted: &'static str) -> Result<String, TlsError> {
    let text = fs::read_to_string(path).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let has_it = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{label}-----")));
    if has_it {
        Ok(text)
    } else {
        Err(TlsError::NoPem {
            path: path.to_owned(),
            wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn files_that_are_not_what_they_should_be_are_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();

        let not_a_key = Tls::default().showing(file.path(), file.path());
        assert!(matches!(
            not_a_key,
            Err(TlsError::NoPem {
                wanted: "private key",
                ..
            })
        ));
        let missing = Tls::default().trusting(Path::new("/nonexistent"));
        assert!(matches!(missing, Err(TlsError::Unreadable { .. })));
    }

    #[test]
    fn plain_http_needs_no_tls() {
        let http = Endpoint::parse("http://10.0.0.1:2379").unwrap();

        assert!(Tls::default().check(&http).is_ok());
    }
}

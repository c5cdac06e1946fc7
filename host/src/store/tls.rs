//! TLS to etcd.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_client::Channel;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as Transport, Identity};

use super::endpoint::{Endpoint, Scheme};
use super::pool::transport;

/// Whom to trust and what to show; the files are read again for each new way to etcd.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    authority: Option<PathBuf>,
    identity: Option<IdentityFiles>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
struct IdentityFiles {
    certificate: PathBuf,
    key: PathBuf,
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
    /// Trusts the authority in a file instead of the system's.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has no certificate.
    pub fn trusting(mut self, authority: &Path) -> Result<Self, TlsError> {
        read_authority(authority)?;
        self.authority = Some(authority.to_owned());
        Ok(self)
    }

    /// Shows the certificate in a file to etcd, with its key.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has something else.
    pub fn showing(mut self, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = IdentityFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        files.read()?;
        self.identity = Some(files);
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
    ///
    /// # Errors
    ///
    /// Those of [`Tls::check`], or if a file cannot be read any more.
    pub fn channel(&self, endpoint: &Endpoint) -> Result<Channel, TlsError> {
        Ok(Channel::Tonic(self.transport(endpoint)?.connect_lazy()))
    }

    fn transport(&self, endpoint: &Endpoint) -> Result<Transport, TlsError> {
        if endpoint.scheme() == Scheme::Http {
            return Ok(transport(endpoint));
        }
        let config = ClientTlsConfig::new();
        let config = match &self.authority {
            Some(authority) => config.ca_certificate(read_authority(authority)?),
            None => config.with_native_roots(),
        };
        let config = match &self.identity {
            Some(files) => config.identity(files.read()?),
            None => config,
        };
        transport(endpoint).tls_config(config).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TlsError::Refused(cause)
        })
    }
}

impl IdentityFiles {
    fn read(&self) -> Result<Identity, TlsError> {
        let certificate = read(&self.certificate, "CERTIFICATE", "certificate")?;
        let key = read(&self.key, "PRIVATE KEY", "private key")?;
        Ok(Identity::from_pem(certificate, key))
    }
}

fn read_authority(path: &Path) -> Result<Certificate, TlsError> {
    Ok(Certificate::from_pem(read(path, "CERTIFICATE", "certificate")?))
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

//! Where etcd listens.

use std::fmt;
use std::str::FromStr;

use tonic::codegen::http::Uri;

/// The URL of one etcd member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    uri: Uri,
}

/// Why a text is not the URL of an etcd member.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("{0}: not a URL; for example http://10.0.0.1:2379")]
    Malformed(String),
    /// It carries a user or password, which etcd does not read there.
    #[error("must not carry a user or password; use --etcd-username and --etcd-password-file")]
    Credentials,
    /// It asks for TLS.
    #[error("{0}: https is not supported yet; use http")]
    Tls(String),
    /// It has another scheme.
    #[error("{0}: must start with http://")]
    Scheme(String),
}

impl Endpoint {
    /// Reads a URL; without a scheme it is taken as `http`.
    ///
    /// # Errors
    ///
    /// If it is malformed or has a scheme that is not supported.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let malformed = || EndpointError::Malformed(text.to_owned());
        let uri = Uri::from_str(&url).map_err(|_| malformed())?;
        if has_user(&uri) {
            return Err(EndpointError::Credentials);
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(malformed());
        }
        match uri.scheme_str() {
            Some("http") => Ok(Self { uri }),
            Some("https") => Err(EndpointError::Tls(text.to_owned())),
            Some(_) | None => Err(EndpointError::Scheme(text.to_owned())),
        }
    }

    /// Returns the URL.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }
}

fn has_user(uri: &Uri) -> bool {
    uri.authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri.to_string().trim_end_matches('/'))
    }
}

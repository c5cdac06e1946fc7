//! Where etcd listens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use tonic::codegen::http::Uri;

/// The URL of one etcd member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    uri: Uri,
    scheme: Scheme,
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
    /// It has another scheme.
    #[error("{0}: must start with http:// or https://")]
    Scheme(String),
}

/// How to talk to a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// By TLS.
    Https,
}

impl Endpoint {
    /// Reads a URL; without a scheme it is taken as `http`.
    ///
    /// # Errors
    ///
    /// If it is malformed, has another scheme or carries credentials.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        Self::parse_or(Scheme::Http, text)
    }

    /// Returns the member's address, if the URL has one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        let host = self.uri.host()?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Reads a URL, which may leave out its scheme if it is `default`.
    ///
    /// # Errors
    ///
    /// If it is malformed, has another scheme or carries credentials.
    pub fn parse_or(default: Scheme, text: &str) -> Result<Self, EndpointError> {
        let url = match default {
            _ if text.contains("://") => text.to_owned(),
            Scheme::Http => format!("http://{text}"),
            Scheme::Https => format!("https://{text}"),
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
            Some("http") => Ok(Self {
                uri,
                scheme: Scheme::Http,
            }),
            Some("https") => Ok(Self {
                uri,
                scheme: Scheme::Https,
            }),
            Some(_) | None => Err(EndpointError::Scheme(text.to_owned())),
        }
    }

    /// Returns how to talk to the member.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
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

//! The one place that reads etcd's errors.

use std::error::Error as StdError;
use std::io;

use etcd_client::Error;
use selvedge_engine::{StoreError, StoreErrorKind};
use tonic::{Code, ConnectError, Status};

use super::endpoint::{Endpoint, Scheme};

/// What etcd says as `mvcc: database space exceeded`, with the cure.
const OUT_OF_SPACE: &str =
    "is out of space and refuses writes; compact and defragment it, then run `etcdctl alarm disarm`";

/// What an error means for the engine, with a message that names the endpoint and the cause.
pub(super) fn classify(endpoint: &Endpoint, error: &Error) -> StoreError {
    StoreError {
        kind: kind(error),
        message: format!("etcd at {endpoint}: {}", cause(error)),
    }
}

/// What the reason of a cancelled watch means.
pub(super) fn classify_cancel(endpoint: &Endpoint, reason: &str) -> StoreError {
    let text = if reason.is_empty() {
        "cancelled the watch"
    } else {
        reason
    };
    StoreError {
        kind: kind_of_text(reason).unwrap_or(StoreErrorKind::Unavailable),
        message: format!("etcd at {endpoint}: {text}"),
    }
}

/// Tells whether the connection could not even be made, so that nothing was carried out.
pub(super) fn is_connect_failure(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    chain(status).any(<dyn StdError>::is::<ConnectError>)
}

/// Tells whether etcd has no users, so that credentials are of no use.
pub(super) fn is_auth_disabled(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    status.message().contains("authentication is not enabled")
}

/// Tells whether etcd does not, or no longer, take the node for a user; logging in again may help, as it does not
/// when a user lacks a right.
pub(super) fn is_login_refused(error: &Error) -> bool {
    const TEXTS: [&str; 3] = [
        "invalid auth token",
        "authentication failed",
        "user name is empty",
    ];
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    TEXTS.iter().any(|text| status.message().contains(text))
}

fn kind(error: &Error) -> StoreErrorKind {
    match error {
        Error::GRpcStatus(status) => kind_of_status(status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            StoreErrorKind::Invalid
        }
        Error::LeaseKeepAliveError(text) if text.contains("lease not found") => StoreErrorKind::LeaseNotFound,
        Error::IoError(_)
        | Error::TransportError(_)
        | Error::WatchError(_)
        | Error::Utf8Error(_)
        | Error::LeaseKeepAliveError(_)
        | Error::ElectError(_)
        | Error::EndpointError(_)
        | Error::EndpointsNotManaged
        | Error::Internal(_) => StoreErrorKind::Unavailable,
    }
}

/// The texts are etcd's `rpctypes`, the same from 3.4 on; they are more telling than the codes.
fn kind_of_text(text: &str) -> Option<StoreErrorKind> {
    const KNOWN: &[(&str, StoreErrorKind)] = &[
        ("requested lease not found", StoreErrorKind::LeaseNotFound),
        ("lease already exists", StoreErrorKind::LeaseExists),
        ("required revision has been compacted", StoreErrorKind::Compacted),
        (
            "required revision is a future revision",
            StoreErrorKind::FutureRevision,
        ),
        ("database space exceeded", StoreErrorKind::NoSpace),
        ("permission denied", StoreErrorKind::Auth),
        ("invalid auth token", StoreErrorKind::Auth),
        ("authentication failed", StoreErrorKind::Auth),
        ("authentication is not enabled", StoreErrorKind::Auth),
        ("user name is empty", StoreErrorKind::Auth),
        ("revision in auth is old", StoreErrorKind::Unavailable),
        ("no leader", StoreErrorKind::Unavailable),
        ("request timed out", StoreErrorKind::DeadlineExceeded),
        ("too many requests", StoreErrorKind::Unavailable),
    ];
    KNOWN
        .iter()
        .find(|(part, _)| text.contains(part))
        .map(|(_, kind)| *kind)
}

fn kind_of_status(status: &Status) -> StoreErrorKind {
    if let Some(kind) = kind_of_text(status.message()) {
        return kind;
    }
    match status.code() {
        Code::DeadlineExceeded => StoreErrorKind::DeadlineExceeded,
        Code::Unauthenticated | Code::PermissionDenied => StoreErrorKind::Auth,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented => {
            StoreErrorKind::Invalid
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => StoreErrorKind::Unavailable,
    }
}

const CONNECTION_LOST: &str = "connection lost";

const WANTS_CERTIFICATE: &str = "it may want a client certificate (--etcd-certfile and --etcd-keyfile)";

/// How hyper begins to tell of a connection that broke.
const LOST: &[&str] = &["h2 protocol error", "operation was canceled", "connection closed"];

/// Adds what may be behind a connection that breaks before etcd ever answered: TLS on one side only, or a
/// certificate that is not shown. The other side says no word about it.
pub(super) fn with_hint(error: StoreError, endpoint: &Endpoint) -> StoreError {
    if !error.message.ends_with(CONNECTION_LOST) {
        return error;
    }
    let hint = match endpoint.scheme() {
        Scheme::Http => "it may want https",
        Scheme::Https => WANTS_CERTIFICATE,
    };
    StoreError {
        message: format!("{}; {hint}", error.message),
        ..error
    }
}

/// Puts the cause into words: the operating system's if there is one, else etcd's.
fn cause(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else {
        return error.to_string();
    };
    if let Some(io) = chain(status).find_map(|cause| cause.downcast_ref::<io::Error>()) {
        return io_text(io);
    }
    if kind_of_text(status.message()) == Some(StoreErrorKind::NoSpace) {
        return OUT_OF_SPACE.to_owned();
    }
    if status.code() == Code::Unimplemented {
        return "does not speak etcd's v3 API".to_owned();
    }
    let deepest = chain(status).last().map(ToString::to_string);
    match (status.message(), deepest) {
        ("", Some(deepest)) => deepest,
        ("transport error", Some(deepest)) => format!("{CONNECTION_LOST}: {deepest}"),
        (message, _) if LOST.iter().any(|lost| message.starts_with(lost)) => CONNECTION_LOST.to_owned(),
        ("", None) => format!("{:?}", status.code()),
        (message, _) => message.strip_prefix("etcdserver: ").unwrap_or(message).to_owned(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the operating system's words do for the many others"
)]
fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused; is it running there?".to_owned(),
        io::ErrorKind::TimedOut => "no answer to the attempt to connect".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CONNECTION_LOST.to_owned(),
        io::ErrorKind::InvalidData if error.to_string().contains("UnknownIssuer") => {
            "its certificate is not from an authority that is trusted here; name its own with --etcd-cafile"
                .to_owned()
        }
        io::ErrorKind::InvalidData if error.to_string().contains("received fatal alert") => {
            format!("{error}; {WANTS_CERTIFICATE}")
        }
        _ => error.to_string(),
    }
}

fn chain<'a>(status: &'a Status) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_etcd_is_told_with_the_cure() {
        let status = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");

        let cause = cause(&Error::GRpcStatus(status));

        assert!(
            cause.contains("out of space") && cause.contains("etcdctl alarm disarm"),
            "{cause}"
        );
    }

    #[test]
    fn etcds_texts_are_told_apart() {
        let cases = [
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                StoreErrorKind::LeaseNotFound,
            ),
            (
                Code::FailedPrecondition,
                "etcdserver: lease already exists",
                StoreErrorKind::LeaseExists,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                StoreErrorKind::Compacted,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
                StoreErrorKind::FutureRevision,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                StoreErrorKind::NoSpace,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                StoreErrorKind::Auth,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                StoreErrorKind::Auth,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                StoreErrorKind::Auth,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                StoreErrorKind::Auth,
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                StoreErrorKind::Unavailable,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                StoreErrorKind::DeadlineExceeded,
            ),
            (
                Code::DeadlineExceeded,
                "context deadline exceeded",
                StoreErrorKind::DeadlineExceeded,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: key is not provided",
                StoreErrorKind::Invalid,
            ),
            (Code::Unknown, "h2 protocol error", StoreErrorKind::Unavailable),
            (Code::Cancelled, "", StoreErrorKind::Unavailable),
        ];

        for (code, text, expected) in cases {
            let error = Error::GRpcStatus(Status::new(code, text));
            assert_eq!(classify(&endpoint(), &error).kind, expected, "{code:?} {text}");
        }
    }

    #[test]
    fn the_message_names_the_endpoint_and_the_cause() {
        let error = Error::GRpcStatus(Status::new(Code::Unavailable, "etcdserver: no leader"));

        let classified = classify(&endpoint(), &error);

        assert_eq!(classified.message, "etcd at http://10.0.0.1:2379: no leader");
    }

    #[test]
    fn a_refused_connection_is_a_connect_failure() {
        let io = io::Error::from(io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(Box::new(io))));
        let error = Error::GRpcStatus(status);

        assert!(is_connect_failure(&error));
        let classified = classify(&endpoint(), &error);
        assert_eq!(classified.kind, StoreErrorKind::Unavailable);
        assert_eq!(
            classified.message,
            "etcd at http://10.0.0.1:2379: connection refused; is it running there?"
        );
    }

    #[test]
    fn a_connection_that_breaks_at_once_comes_with_a_hint() {
        let lost = Error::GRpcStatus(Status::new(
            Code::Unknown,
            "h2 protocol error: error reading a body",
        ));
        let other = Error::GRpcStatus(Status::new(Code::Unavailable, "etcdserver: no leader"));
        let https = Endpoint::parse("https://10.0.0.1:2379").unwrap();

        let hint = |error, endpoint: &Endpoint| with_hint(classify(endpoint, error), endpoint).message;

        assert_eq!(
            hint(&lost, &endpoint()),
            "etcd at http://10.0.0.1:2379: connection lost; it may want https"
        );
        assert_eq!(
            hint(&lost, &https),
            "etcd at https://10.0.0.1:2379: connection lost; it may want a client certificate \
             (--etcd-certfile and --etcd-keyfile)"
        );
        assert_eq!(
            hint(&other, &endpoint()),
            "etcd at http://10.0.0.1:2379: no leader"
        );
    }

    #[test]
    fn an_expired_lease_is_seen_in_the_keep_alive() {
        let error = Error::LeaseKeepAliveError("lease not found".to_owned());

        assert_eq!(classify(&endpoint(), &error).kind, StoreErrorKind::LeaseNotFound);
    }

    #[test]
    fn a_watch_cancelled_without_a_reason_may_be_tried_again() {
        let ended = classify_cancel(&endpoint(), "");

        assert_eq!(ended.kind, StoreErrorKind::Unavailable);
        assert_eq!(ended.message, "etcd at http://10.0.0.1:2379: cancelled the watch");
    }

    fn endpoint() -> Endpoint {
        Endpoint::parse("http://10.0.0.1:2379").unwrap()
    }
}

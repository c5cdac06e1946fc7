//! The host's adapter to etcd, against a real etcd and against the store model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, ConnectOptions, Permission, PermissionType};
use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, KeyRange, Page, RequestId, Revision, StoreError,
    StoreErrorKind, StoreEvent, StoreRequest, StoreResponse, Txn, TxnOp, TxnOpResponse, TxnOutcome, WatchEnd,
    WatchEvent, WatchId,
};
use selvedge_host::secret::Secret;
use selvedge_host::store::Store;
use selvedge_host::store::credentials::Credentials;
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::store::tls::Tls;
use selvedge_sim::grpc::{SharedStore, serve};
use selvedge_tests::etcd::{Etcd, Place};
use selvedge_tests::need;
use tokio::net::TcpListener;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const LEASE: EtcdLeaseId = EtcdLeaseId(0x5e1f);
const NO_LEASE: EtcdLeaseId = EtcdLeaseId(0xdead);

#[tokio::test]
async fn a_real_etcd_is_understood() {
    need!(etcd);
    let etcd = start_etcd();

    check(&etcd.endpoints()).await;
}

#[tokio::test]
async fn the_store_model_is_understood() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(SharedStore::new(7), listener, std::future::pending()));

    check(&[endpoint]).await;

    server.abort();
}

#[tokio::test]
async fn a_member_that_refuses_is_left_for_the_next() {
    need!(etcd);
    let etcd = start_etcd();
    let mut endpoints = vec!["http://127.0.0.1:1".to_owned()];
    endpoints.extend(etcd.endpoints());
    let mut asker = Asker::new(&endpoints, None);

    let answer = asker.ask(read("/any", None)).await;

    assert!(matches!(answer, Ok(StoreResponse::Range { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_error_names_every_member_that_refused() {
    let endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(str::to_owned);
    let mut asker = Asker::new(&endpoints, None);

    let error = asker.ask(read("/any", None)).await.unwrap_err();

    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert_eq!(
        error.message,
        "etcd at http://127.0.0.1:1: connection refused; is it running there?; \
         etcd at http://127.0.0.1:2: connection refused; is it running there?"
    );
}

#[tokio::test]
async fn a_silent_member_costs_no_more_than_the_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut asker = Asker::new(&[endpoint], None);

    let error = asker
        .ask_within(Duration::from_millis(200), read("/any", None))
        .await
        .unwrap_err();

    assert_eq!(error.kind, StoreErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn what_is_under_way_fails_at_once_when_connections_are_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut asker = Asker::new(&[endpoint], None);
    let (id, patience) = (RequestId(7), Duration::from_mins(1));
    asker.store.request(id, patience, read("/any", None));
    asker
        .store
        .watch(WatchId(8), KeyRange::Key(b"/any".to_vec()), Revision(1));
    // Both have connected, and hear nothing.
    let _silent = listener.accept().await.unwrap();

    asker.store.reconnect();

    let mut failed = 0;
    while failed < 2 {
        let error = match asker.next().await {
            StoreEvent::Response {
                result: Err(error), ..
            }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Failed(error),
                ..
            } => error,
            other @ (StoreEvent::Response { result: Ok(_), .. }
            | StoreEvent::WatchCreated { .. }
            | StoreEvent::WatchBatch { .. }
            | StoreEvent::WatchEnded {
                end: WatchEnd::Compacted(_),
                ..
            }) => panic!("{other:?}"),
        };
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
        assert!(error.message.contains("another address"), "{error}");
        failed += 1;
    }
}

#[tokio::test]
async fn a_watch_that_stands_ends_when_connections_are_given_up_and_the_next_one_connects_anew() {
    need!(etcd);
    let etcd = start_etcd();
    let mut asker = Asker::new(&etcd.endpoints(), None);
    let watch = |asker: &mut Asker, id| {
        asker
            .store
            .watch(WatchId(id), KeyRange::Key(b"/any".to_vec()), Revision(1));
    };
    watch(&mut asker, 1);
    let created = asker.next().await;
    assert!(matches!(created, StoreEvent::WatchCreated { .. }), "{created:?}");

    asker.store.reconnect();

    let ended = asker.next().await;
    assert!(
        matches!(&ended, StoreEvent::WatchEnded { end: WatchEnd::Failed(error), .. } if error.kind == StoreErrorKind::Unavailable),
        "{ended:?}"
    );
    watch(&mut asker, 2);
    let created = asker.next().await;
    assert!(matches!(created, StoreEvent::WatchCreated { .. }), "{created:?}");
}

#[tokio::test]
async fn users_and_passwords_are_honoured() {
    need!(etcd);
    let etcd = start_etcd();
    let endpoints = etcd.endpoints();

    // Credentials are of no use yet, and do no harm.
    let mut early = Asker::new(&endpoints, Some(("root", "right")));
    assert!(early.ask(read("/any", None)).await.is_ok());
    enable_users(&endpoints).await;

    let mut nobody = Asker::new(&endpoints, None);
    assert_eq!(refusal(&mut nobody).await.kind, StoreErrorKind::Auth);
    let mut wrong = Asker::new(&endpoints, Some(("root", "wrong")));
    let error = refusal(&mut wrong).await;
    assert_eq!(error.kind, StoreErrorKind::Auth);
    assert!(!error.message.contains("wrong"), "{error}");
    let mut right = Asker::new(&endpoints, Some(("root", "right")));
    assert!(right.ask(read("/any", None)).await.is_ok());
    let mut narrow = Asker::new(&endpoints, Some(("narrow", "pass")));
    assert!(narrow.ask(read("/own", None)).await.is_ok());
    assert_eq!(refusal(&mut narrow).await.kind, StoreErrorKind::Auth);
    narrow
        .store
        .watch(WatchId(1), KeyRange::Key(b"/any".to_vec()), Revision(1));
    let ended = narrow.next().await;
    assert!(
        matches!(&ended, StoreEvent::WatchEnded { end: WatchEnd::Failed(error), .. } if error.kind == StoreErrorKind::Auth),
        "{ended:?}"
    );
}

#[tokio::test]
async fn users_may_come_and_passwords_may_change_while_it_runs() {
    need!(etcd);
    let etcd = start_etcd();
    let endpoints = etcd.endpoints();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "right\n").unwrap();
    let mut asker = Asker::taken_for(
        &endpoints,
        Some(Credentials::in_file("root", file.path()).unwrap()),
    );
    assert!(asker.ask(read("/any", None)).await.is_ok());

    enable_users(&endpoints).await;
    let as_nobody = refusal(&mut asker).await;
    let as_root = asker.ask(read("/any", None)).await;
    assert_eq!(as_nobody.kind, StoreErrorKind::Auth);
    assert!(as_root.is_ok(), "{as_root:?}");

    let options = ConnectOptions::new().with_user("root", "right");
    let mut client = Client::connect(&endpoints, Some(options)).await.unwrap();
    client.user_change_password("root", "better").await.unwrap();
    let refused = refusal(&mut asker).await;
    assert_eq!(refused.kind, StoreErrorKind::Auth);
    fs::write(file.path(), "better\n").unwrap();
    // The first that is refused makes the store read the file.
    drop(asker.ask(read("/any", None)).await);
    let answer = asker.ask(read("/any", None)).await;
    assert!(answer.is_ok(), "{answer:?}");
}

async fn check(endpoints: &[String]) {
    let mut asker = Asker::new(endpoints, None);
    check_leases(&mut asker).await;
    let created = check_transactions(&mut asker).await;
    check_watch(&mut asker, created).await;
    check_history(&mut asker, endpoints).await;
    check_pages(&mut asker).await;
}

async fn check_leases(asker: &mut Asker) {
    let grant = StoreRequest::LeaseGrant {
        id: LEASE,
        ttl_seconds: 600,
    };
    let granted = asker.ask(grant.clone()).await;
    assert!(
        matches!(
            granted,
            Ok(StoreResponse::LeaseGrant {
                id: LEASE,
                ttl_seconds: 600,
                ..
            })
        ),
        "{granted:?}"
    );
    assert_eq!(kind(asker.ask(grant).await), StoreErrorKind::LeaseExists);

    let kept = asker.ask(StoreRequest::LeaseKeepAlive { id: LEASE }).await;
    assert!(
        matches!(
            kept,
            Ok(StoreResponse::LeaseKeepAlive {
                id: LEASE,
                ttl_seconds: 600,
                ..
            })
        ),
        "{kept:?}"
    );
    let lost = asker.ask(StoreRequest::LeaseKeepAlive { id: NO_LEASE }).await;
    assert_eq!(kind(lost), StoreErrorKind::LeaseNotFound);
    let lost = asker.ask(StoreRequest::LeaseRevoke { id: NO_LEASE }).await;
    assert_eq!(kind(lost), StoreErrorKind::LeaseNotFound);
}

async fn check_transactions(asker: &mut Asker) -> Revision {
    let create = || {
        StoreRequest::Txn(Txn {
            compares: vec![Compare {
                range: KeyRange::Key(b"/net/a".to_vec()),
                target: CompareTarget::Version(0),
                op: CompareOp::Equal,
            }],
            success: vec![TxnOp::Put {
                key: b"/net/a".to_vec(),
                value: b"1".to_vec(),
                lease: Some(LEASE),
            }],
            failure: Vec::new(),
        })
    };

    let Ok(StoreResponse::Txn {
        header,
        outcome,
        responses,
    }) = asker.ask(create()).await
    else {
        panic!("no answer");
    };
    assert_eq!(outcome, TxnOutcome::Succeeded);
    assert_eq!(responses, [TxnOpResponse::Put]);
    let Ok(StoreResponse::Txn {
        outcome, responses, ..
    }) = asker.ask(create()).await
    else {
        panic!("no answer");
    };
    assert_eq!(outcome, TxnOutcome::Failed);
    assert_eq!(responses, []);
    let Ok(StoreResponse::Range { kvs, more, .. }) = asker.ask(read_all("/net/a", Page::default())).await
    else {
        panic!("no answer");
    };
    assert!(!more);
    let [kv] = kvs.as_slice() else { panic!("{kvs:?}") };
    assert_eq!(kv.key, b"/net/a");
    assert_eq!(kv.value, b"1");
    assert_eq!(kv.lease, Some(LEASE));
    assert_eq!(kv.version, 1);
    assert_eq!(
        (kv.create_revision, kv.mod_revision),
        (header.revision, header.revision)
    );
    header.revision
}

async fn check_pages(asker: &mut Asker) {
    let keys = ["/page/a", "/page/b", "/page/c", "/page0"];
    for key in keys {
        let put = TxnOp::Put {
            key: key.into(),
            value: b"1".to_vec(),
            lease: None,
        };
        let write = Txn {
            success: vec![put],
            ..Txn::default()
        };
        assert!(asker.ask(StoreRequest::Txn(write)).await.is_ok());
    }
    let page = |after: Option<&str>, limit| Page {
        after: after.map(|after| after.as_bytes().to_vec()),
        limit: NonZero::new(limit),
    };

    let first = asker.ask(read_all("/page/", page(None, 2))).await;
    let last = asker.ask(read_all("/page/", page(Some("/page/b"), 2))).await;
    let behind = asker.ask(read_all("/page/", page(Some("/page/c"), 2))).await;
    let exact = asker.ask(read_all("/page/", page(None, 3))).await;

    assert_eq!(found(&first), (vec!["/page/a", "/page/b"], true));
    assert_eq!(found(&last), (vec!["/page/c"], false));
    assert_eq!(found(&behind), (vec![], false));
    assert_eq!(found(&exact), (vec!["/page/a", "/page/b", "/page/c"], false));
}

/// Returns the keys of a page, and whether more follow.
fn found(answer: &Result<StoreResponse, StoreError>) -> (Vec<&str>, bool) {
    let Ok(StoreResponse::Range { kvs, more, .. }) = answer else {
        panic!("{answer:?}");
    };
    let keys = kvs.iter().filter_map(|kv| std::str::from_utf8(&kv.key).ok());
    (keys.collect(), *more)
}

async fn check_watch(asker: &mut Asker, created: Revision) {
    asker
        .store
        .watch(WatchId(1), KeyRange::Prefix(b"/net/".to_vec()), created);
    assert!(matches!(
        asker.next().await,
        StoreEvent::WatchCreated { id: WatchId(1), .. }
    ));
    let StoreEvent::WatchBatch { events, .. } = asker.next().await else {
        panic!("no batch");
    };
    assert!(
        matches!(events.as_slice(), [WatchEvent::Put(kv)] if kv.key == b"/net/a"),
        "{events:?}"
    );

    // With its lease goes the key.
    let revoked = asker
        .ask_beside_watch(StoreRequest::LeaseRevoke { id: LEASE })
        .await;
    let StoreEvent::WatchBatch { events, .. } = revoked else {
        panic!("no batch");
    };
    assert!(
        matches!(events.as_slice(), [WatchEvent::Delete { key, .. }] if key == b"/net/a"),
        "{events:?}"
    );

    asker.store.cancel_watch(WatchId(1));
    let put = StoreRequest::Txn(Txn {
        success: vec![TxnOp::Put {
            key: b"/net/b".to_vec(),
            value: Vec::new(),
            lease: None,
        }],
        ..Txn::default()
    });
    assert!(asker.ask(put).await.is_ok());
}

/// Nothing of the closed watch arrives any more, and what is compacted or to come is told apart.
async fn check_history(asker: &mut Asker, endpoints: &[String]) {
    let Ok(StoreResponse::Range { header, .. }) = asker.ask(read("/net/b", None)).await else {
        panic!("no answer");
    };
    let newest = header.revision;
    let future = asker.ask(read("/net/b", Some(Revision(newest.0 + 100)))).await;
    assert_eq!(kind(future), StoreErrorKind::FutureRevision);

    let mut client = Client::connect(endpoints, None).await.unwrap();
    client
        .compact(newest.0, Some(CompactionOptions::new().with_physical()))
        .await
        .unwrap();

    assert_eq!(
        kind(asker.ask(read("/net/b", Some(Revision(1)))).await),
        StoreErrorKind::Compacted
    );
    asker
        .store
        .watch(WatchId(2), KeyRange::Prefix(b"/net/".to_vec()), Revision(1));
    let mut ended = asker.next().await;
    if let StoreEvent::WatchCreated { .. } = ended {
        ended = asker.next().await;
    }
    assert!(
        matches!(&ended, StoreEvent::WatchEnded { id: WatchId(2), end: WatchEnd::Compacted(at) } if *at == newest),
        "{ended:?}"
    );
}

async fn enable_users(endpoints: &[String]) {
    let mut client = Client::connect(endpoints, None).await.unwrap();
    client.user_add("root", "right", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("narrow", "pass", None).await.unwrap();
    client.role_add("narrow").await.unwrap();
    let own = Permission::new(PermissionType::Readwrite, "/own");
    client.role_grant_permission("narrow", own).await.unwrap();
    client.user_grant_role("narrow", "narrow").await.unwrap();
    client.auth_enable().await.unwrap();
}

async fn refusal(asker: &mut Asker) -> StoreError {
    asker.ask(read("/any", None)).await.unwrap_err()
}

fn start_etcd() -> Etcd {
    Etcd::start(&Etcd::find_binary().unwrap(), Place::loopback().unwrap()).unwrap()
}

fn read(key: &str, revision: Option<Revision>) -> StoreRequest {
    StoreRequest::Range {
        range: KeyRange::Key(key.as_bytes().to_vec()),
        page: Page::default(),
        revision,
    }
}

fn read_all(prefix: &str, page: Page) -> StoreRequest {
    StoreRequest::Range {
        range: KeyRange::Prefix(prefix.as_bytes().to_vec()),
        page,
        revision: None,
    }
}

fn kind(answer: Result<StoreResponse, StoreError>) -> StoreErrorKind {
    answer.unwrap_err().kind
}

struct Asker {
    store: Store,
    asked: u64,
}

impl Asker {
    fn new(endpoints: &[String], user: Option<(&str, &str)>) -> Self {
        let user = user.map(|(name, password)| Credentials::new(name, Secret::new(password)));
        Self::taken_for(endpoints, user)
    }

    fn taken_for(endpoints: &[String], user: Option<Credentials>) -> Self {
        let endpoints: Vec<Endpoint> = endpoints
            .iter()
            .map(|url| Endpoint::parse(url).unwrap())
            .collect();
        let channels = |endpoint: &Endpoint| Tls::default().channel(endpoint);
        Self {
            store: Store::new(&endpoints, user, channels).unwrap(),
            asked: 0,
        }
    }

    async fn ask(&mut self, request: StoreRequest) -> Result<StoreResponse, StoreError> {
        self.ask_within(PATIENCE, request).await
    }

    async fn ask_within(
        &mut self,
        limit: Duration,
        request: StoreRequest,
    ) -> Result<StoreResponse, StoreError> {
        self.asked += 1;
        let asked = RequestId(self.asked);
        self.store.request(asked, limit, request);
        let event = self.next().await;
        let StoreEvent::Response { id, result } = event else {
            panic!("not the answer: {event:?}");
        };
        assert_eq!(id, asked);
        result
    }

    /// Sends a request and returns the event that a watch yields besides the answer.
    async fn ask_beside_watch(&mut self, request: StoreRequest) -> StoreEvent {
        self.asked += 1;
        self.store.request(RequestId(self.asked), PATIENCE, request);
        let (first, second) = (self.next().await, self.next().await);
        match (first, second) {
            (StoreEvent::Response { result: Ok(_), .. }, event)
            | (event, StoreEvent::Response { result: Ok(_), .. }) => event,
            events => panic!("no answer: {events:?}"),
        }
    }

    async fn next(&mut self) -> StoreEvent {
        timeout(PATIENCE + Duration::from_secs(1), self.store.next_event())
            .await
            .expect("an event in time")
    }
}

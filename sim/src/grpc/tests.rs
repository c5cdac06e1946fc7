use std::net::Ipv4Addr;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, EventType, PutOptions, Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use selvedge_engine::{EtcdLeaseId, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;

use super::{Call, Fate, SharedStore, serve};

#[tokio::test]
async fn a_client_reads_what_another_wrote() {
    let server = Server::start().await;
    let mut writer = server.client().await;
    let mut reader = server.client().await;

    let put = writer.put("/a", "1", None).await.unwrap();
    let got = reader.get("/a", None).await.unwrap();

    assert_eq!(put.header().unwrap().revision(), 2);
    assert_eq!(got.kvs()[0].value(), b"1");
    assert_eq!(got.kvs()[0].mod_revision(), 2);
}

#[tokio::test]
async fn a_transaction_takes_one_branch_in_one_revision() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let create = |value: &str| {
        Txn::new()
            .when([Compare::version("/a", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("/a", value, None), TxnOp::put("/b", value, None)])
            .or_else([TxnOp::get("/a", None)])
    };

    let first = client.txn(create("1")).await.unwrap();
    let second = client.txn(create("2")).await.unwrap();

    assert!(first.succeeded());
    assert!(!second.succeeded());
    assert_eq!(second.header().unwrap().revision(), 2);
}

#[tokio::test]
async fn a_watch_replays_history_and_then_follows_with_previous_values() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.put("/a", "1", None).await.unwrap();
    let options = WatchOptions::new()
        .with_prefix()
        .with_prev_key()
        .with_start_revision(2);

    let mut stream = client.watch("/", Some(options)).await.unwrap();
    let replayed = next_events(&mut stream).await;
    client.delete("/a", None).await.unwrap();
    let followed = next_events(&mut stream).await;

    let created = &replayed.events()[0];
    assert_eq!(
        (created.event_type(), created.prev_kv().is_none()),
        (EventType::Put, true)
    );
    let deleted = &followed.events()[0];
    assert_eq!(deleted.event_type(), EventType::Delete);
    assert_eq!(deleted.prev_kv().unwrap().value(), b"1");
}

#[tokio::test]
async fn the_owner_expires_a_lease_under_a_watching_client() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    client
        .put("/a", "", Some(PutOptions::new().with_lease(lease)))
        .await
        .unwrap();
    let mut stream = client.watch("/a", None).await.unwrap();

    server
        .store
        .act(|store, now| store.handle_timeout(now + Duration::from_secs(61)));
    let message = next_events(&mut stream).await;

    assert_eq!(message.events()[0].event_type(), EventType::Delete);
    assert!(
        server
            .store
            .act(|store, _| store.lease(EtcdLeaseId(lease)).is_none())
    );
}

#[tokio::test]
async fn a_lease_expires_by_the_servers_clock() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let lease = client.lease_grant(2, None).await.unwrap().id();
    client
        .put("/a", "", Some(PutOptions::new().with_lease(lease)))
        .await
        .unwrap();
    let mut stream = client.watch("/a", None).await.unwrap();

    let message = next_events(&mut stream).await;

    assert_eq!(message.events()[0].event_type(), EventType::Delete);
}

#[tokio::test]
async fn a_refused_call_has_no_effect_and_a_lost_answer_has() {
    let server = Server::start().await;
    let mut client = server.client().await;

    server.store.set_fates(|_| Fate::Refuse);
    let refused = client.put("/refused", "", None).await.unwrap_err();
    server.store.set_fates(|_| Fate::LoseAnswer);
    let lost = client.put("/lost", "", None).await.unwrap_err();

    assert_eq!(
        (code(&refused), code(&lost)),
        (Code::Unavailable, Code::Unavailable)
    );
    let written = |key: &[u8]| server.store.act(|store, _| store.get(key).is_some());
    assert_eq!((written(b"/refused"), written(b"/lost")), (false, true));
}

#[tokio::test]
async fn a_delayed_answer_comes_late_for_the_chosen_call_alone() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let delay = Duration::from_millis(200);
    server.store.set_fates(move |call| {
        if call == Call::Put {
            Fate::Delay(delay)
        } else {
            Fate::Answer
        }
    });
    let started = tokio::time::Instant::now();

    client.get("/a", None).await.unwrap();
    let got = started.elapsed();
    client.put("/a", "", None).await.unwrap();

    assert!(got < delay, "the read took {got:?}");
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_watches_and_the_store_lives_on() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    let mut stream = client.watch("/a", None).await.unwrap();
    stream.message().await.unwrap().unwrap();

    server.stop().await;
    let ended = stream.message().await;

    assert_eq!(
        ended.map_err(|error| code(&error)).unwrap_err(),
        Code::Unavailable
    );
    server.store.act(|store, _| store.put(b"/a", b"", None)).unwrap();
}

#[tokio::test]
async fn the_next_server_goes_on_from_the_time_the_last_one_saw() {
    let mut server = Server::start().await;
    server.client().await.put("/a", "", None).await.unwrap();
    let seen = server.store.now();

    server.stop().await;
    let next = Server::serving(server.store.clone()).await;
    next.client().await.put("/a", "", None).await.unwrap();

    assert!(seen > Instant::ZERO);
    assert!(server.store.now() > seen);
}

struct Server {
    store: SharedStore,
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    async fn start() -> Self {
        Self::serving(SharedStore::new(7)).await
    }

    async fn serving(store: SharedStore) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap() };
        let task = tokio::spawn(serve(store.clone(), listener, shutdown));
        Self {
            store,
            endpoint,
            stop: Some(stop),
            task,
        }
    }

    async fn client(&self) -> Client {
        Client::connect([&self.endpoint], None).await.unwrap()
    }

    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), &mut self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Returns the next message that has events, past the one that says that the watch stands.
async fn next_events(stream: &mut WatchStream) -> WatchResponse {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), stream.message())
            .await
            .unwrap();
        let message = message.unwrap().unwrap();
        if !message.events().is_empty() {
            return message;
        }
    }
}

fn code(error: &etcd_client::Error) -> Code {
    let etcd_client::Error::GRpcStatus(status) = error else {
        panic!("no answer of the server: {error}")
    };
    status.code()
}

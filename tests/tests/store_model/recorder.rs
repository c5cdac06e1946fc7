//! A client that writes down what it is answered, in a form that is the same for every store.
//!
//! Revisions count from the store's revision at the start, leases have names, ids of cluster and member are
//! only checked to stay the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use etcd_client::{
    Client, CompactionOptions, DeleteOptions, Error, Event, EventType, GetOptions, GetResponse, KeyValue,
    LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, ResponseHeader, Txn, TxnOpResponse, TxnResponse,
    WatchOptions, WatchResponse, WatchStream,
};

/// How long a watch may keep silent when something must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Recorder {
    client: Client,
    cluster: (u64, u64),
    start: i64,
    leases: BTreeMap<i64, &'static str>,
    streams: BTreeMap<&'static str, WatchStream>,
    transcript: String,
}

impl Recorder {
    pub(crate) async fn new(mut client: Client) -> Self {
        let response = client.get("anything", None).await.unwrap();
        let header = response.header().unwrap();
        Self {
            client,
            cluster: (header.cluster_id(), header.member_id()),
            start: header.revision(),
            leases: BTreeMap::new(),
            streams: BTreeMap::new(),
            transcript: String::new(),
        }
    }

    pub(crate) fn into_transcript(self) -> String {
        self.transcript
    }

    /// Returns the store's revision `offset` writes after the start.
    pub(crate) fn revision(&self, offset: i64) -> i64 {
        self.start + offset
    }

    /// Returns the store's newest revision, counted from the start.
    pub(crate) async fn offset(&mut self) -> i64 {
        let response = self.client.get("anything", None).await.unwrap();
        response.header().unwrap().revision() - self.start
    }

    pub(crate) fn chapter(&mut self, title: &str) {
        writeln!(self.transcript, "\n# {title}").unwrap();
    }

    pub(crate) async fn get(&mut self, step: &str, key: &str, options: Option<GetOptions>) {
        let result = self.client.get(key, options).await;
        self.note(step, result.map(|response| self.got(&response)));
    }

    pub(crate) async fn put(&mut self, step: &str, key: &str, value: &str, options: Option<PutOptions>) {
        let result = self.client.put(key, value, options).await;
        let answer = result.map(|response| {
            format!(
                "{}{}",
                self.head(response.header()),
                self.previous(response.prev_key())
            )
        });
        self.note(step, answer);
    }

    pub(crate) async fn delete(&mut self, step: &str, key: &str, options: Option<DeleteOptions>) {
        let result = self.client.delete(key, options).await;
        let answer = result.map(|response| {
            let head = self.head(response.header());
            format!(
                "{head} deleted {}{}",
                response.deleted(),
                self.kvs(response.prev_kvs())
            )
        });
        self.note(step, answer);
    }

    pub(crate) async fn txn(&mut self, step: &str, txn: Txn) {
        let result = self.client.txn(txn).await;
        self.note(step, result.map(|response| self.transacted(&response)));
    }

    pub(crate) async fn compact(&mut self, step: &str, offset: i64) {
        let result = self.client.compact(self.revision(offset), None).await;
        self.note(step, result.map(|response| self.head(response.header())));
    }

    /// Compacts and waits until the past is really gone, which etcd otherwise leaves for later.
    pub(crate) async fn compact_physically(&mut self, step: &str, offset: i64) {
        let options = CompactionOptions::new().with_physical();
        let result = self.client.compact(self.revision(offset), Some(options)).await;
        self.note(step, result.map(|response| self.head(response.header())));
    }

    /// Asks for a lease of this id, zero for one that the store chooses, and names it if it is granted.
    pub(crate) async fn grant(&mut self, step: &str, name: &'static str, id: i64, ttl: i64) -> i64 {
        let options = LeaseGrantOptions::new().with_id(id);
        let result = self.client.lease_grant(ttl, Some(options)).await;
        let granted = result.as_ref().map_or(id, etcd_client::LeaseGrantResponse::id);
        if result.is_ok() {
            self.leases.insert(granted, name);
        }
        let answer = result.map(|response| {
            let head = self.head(response.header());
            format!("{head} {} ttl {}", self.lease(response.id()), response.ttl())
        });
        self.note(step, answer);
        granted
    }

    pub(crate) async fn keep_alive(&mut self, step: &str, id: i64) {
        let answer = match self.client.lease_keep_alive(id).await {
            Ok((mut keeper, mut stream)) => {
                keeper.keep_alive().await.unwrap();
                let response = stream.message().await.unwrap().unwrap();
                let head = self.head(response.header());
                Ok(format!(
                    "{head} {} ttl {}",
                    self.lease(response.id()),
                    response.ttl()
                ))
            }
            Err(error) => Err(error),
        };
        self.note(step, answer);
    }

    pub(crate) async fn revoke(&mut self, step: &str, id: i64) {
        let result = self.client.lease_revoke(id).await;
        self.note(step, result.map(|response| self.head(response.header())));
    }

    pub(crate) async fn time_to_live(&mut self, step: &str, id: i64) {
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let result = self.client.lease_time_to_live(id, Some(options)).await;
        let answer = result.map(|response| {
            let head = self.head(response.header());
            let left = if response.ttl() < 0 { "none" } else { "some" };
            let mut keys: Vec<_> = response
                .keys()
                .iter()
                .map(|key| String::from_utf8_lossy(key))
                .collect();
            // etcd tells them in no order.
            keys.sort();
            format!("{head} ttl {left} of {} keys {keys:?}", response.granted_ttl())
        });
        self.note(step, answer);
    }

    pub(crate) async fn leases(&mut self, step: &str) {
        let result = self.client.leases().await;
        let answer = result.map(|response| {
            let mut names: Vec<_> = response
                .leases()
                .iter()
                .map(|lease| self.lease(lease.id()))
                .collect();
            names.sort();
            format!("{} {names:?}", self.head(response.header()))
        });
        self.note(step, answer);
    }

    /// Opens a watch on a stream of its own and notes the first message.
    pub(crate) async fn watch(
        &mut self,
        step: &str,
        stream: &'static str,
        key: &str,
        options: Option<WatchOptions>,
    ) {
        let opened = self.client.watch(key, options).await.unwrap();
        self.streams.insert(stream, opened);
        self.hear_one(step, stream).await;
    }

    /// Opens one more watch on a stream and notes the first message.
    pub(crate) async fn watch_too(
        &mut self,
        step: &str,
        stream: &'static str,
        key: &str,
        options: Option<WatchOptions>,
    ) {
        self.streams
            .get_mut(stream)
            .unwrap()
            .watch(key, options)
            .await
            .unwrap();
        self.hear_one(step, stream).await;
    }

    pub(crate) async fn cancel(&mut self, step: &str, stream: &'static str, watch_id: i64) {
        self.streams
            .get_mut(stream)
            .unwrap()
            .cancel(watch_id)
            .await
            .unwrap();
        self.hear_one(step, stream).await;
    }

    pub(crate) async fn progress(&mut self, step: &str, stream: &'static str) {
        self.streams
            .get_mut(stream)
            .unwrap()
            .request_progress()
            .await
            .unwrap();
        self.hear_one(step, stream).await;
    }

    /// Notes the next message of a stream as it is.
    pub(crate) async fn hear_one(&mut self, step: &str, stream: &'static str) {
        let message = self.message(stream).await;
        let answer = message.map(|message| {
            let kind = match (message.created(), message.canceled()) {
                (true, true) => "declined",
                (true, false) => "created",
                (false, true) => "cancelled",
                (false, false) => "told",
            };
            let mut line = format!("{kind} watch {}", message.watch_id());
            if message.compact_revision() != 0 {
                write!(
                    line,
                    ", history begins at {}",
                    self.at(message.compact_revision())
                )
                .unwrap();
            }
            if !message.cancel_reason().is_empty() {
                write!(line, " because of {:?}", message.cancel_reason()).unwrap();
            }
            write!(
                line,
                " {}{}",
                self.head(message.header()),
                self.events(message.events())
            )
            .unwrap();
            line
        });
        self.note(step, answer);
    }

    /// Notes the next `count` events of a stream by watch, however many messages bring them.
    pub(crate) async fn hear(&mut self, step: &str, stream: &'static str, count: usize) {
        let mut heard: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        while heard.values().map(Vec::len).sum::<usize>() < count {
            let message = self.message(stream).await.unwrap();
            self.head(message.header());
            assert!(!message.events().is_empty(), "{step}: not an event: {message:?}");
            let newest = message.events().last().map_or(0, revision);
            assert!(
                message.header().unwrap().revision() >= newest,
                "{step}: the header lags behind"
            );
            let earlier = heard.entry(message.watch_id()).or_default();
            let split = earlier
                .last()
                .is_some_and(|last| revision(last) == revision(&message.events()[0]));
            assert!(!split, "{step}: the events of one revision came in two messages");
            earlier.extend_from_slice(message.events());
        }
        for (watch_id, events) in heard {
            self.note(step, Ok(format!("watch {watch_id}{}", self.events(&events))));
        }
    }

    async fn message(&mut self, stream: &'static str) -> Result<WatchResponse, Error> {
        let message = self.streams.get_mut(stream).unwrap().message();
        let message = tokio::time::timeout(PATIENCE, message).await;
        Ok(message
            .unwrap_or_else(|_| panic!("{stream} hears nothing"))?
            .expect("the stream goes on"))
    }

    fn note(&mut self, step: &str, answer: Result<String, Error>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Error::GRpcStatus(status)) => format!("{:?}: {}", status.code(), status.message()),
            Err(error) => error.to_string(),
        };
        writeln!(self.transcript, "{step}: {}", answer.trim()).unwrap();
    }

    fn head(&self, header: Option<&ResponseHeader>) -> String {
        let header = header.expect("every answer has a header");
        assert_eq!((header.cluster_id(), header.member_id()), self.cluster);
        format!("@{}", self.at(header.revision()))
    }

    /// Counts a revision from the start; zero is etcd's word for none.
    fn at(&self, revision: i64) -> String {
        if revision == 0 {
            "none".to_owned()
        } else {
            format!("{:+}", revision - self.start)
        }
    }

    fn lease(&self, id: i64) -> String {
        self.leases
            .get(&id)
            .map_or_else(|| format!("lease {id}"), |name| format!("lease {name}"))
    }

    fn got(&self, response: &GetResponse) -> String {
        let more = if response.more() { " and more" } else { "" };
        let kvs = self.kvs(response.kvs());
        format!(
            "{} {} keys{more}{kvs}",
            self.head(response.header()),
            response.count()
        )
    }

    fn transacted(&self, response: &TxnResponse) -> String {
        let branch = if response.succeeded() {
            "success"
        } else {
            "failure"
        };
        let mut answer = format!("{} {branch}", self.head(response.header()));
        answer.push_str(&self.operations(response));
        answer
    }

    fn operations(&self, response: &TxnResponse) -> String {
        let mut answer = String::new();
        for operation in response.op_responses() {
            answer.push_str("\n    ");
            answer.push_str(&self.operation(&operation).replace('\n', "\n    "));
        }
        answer
    }

    /// Inside a transaction headers have a revision at most.
    fn operation(&self, response: &TxnOpResponse) -> String {
        let inner = |header: Option<&ResponseHeader>| self.at(header.map_or(0, ResponseHeader::revision));
        match response {
            TxnOpResponse::Get(get) => {
                let more = if get.more() { " and more" } else { "" };
                format!(
                    "get @{} {} keys{more}{}",
                    inner(get.header()),
                    get.count(),
                    self.kvs(get.kvs())
                )
            }
            TxnOpResponse::Put(put) => {
                format!("put @{}{}", inner(put.header()), self.previous(put.prev_key()))
            }
            TxnOpResponse::Delete(delete) => {
                let kvs = self.kvs(delete.prev_kvs());
                format!(
                    "delete @{} deleted {}{kvs}",
                    inner(delete.header()),
                    delete.deleted()
                )
            }
            TxnOpResponse::Txn(txn) => {
                let branch = if txn.succeeded() { "success" } else { "failure" };
                format!("txn @{} {branch}{}", inner(txn.header()), self.operations(txn))
            }
        }
    }

    fn previous(&self, kv: Option<&KeyValue>) -> String {
        kv.map_or(String::new(), |kv| format!(" was {}", self.kv(kv)))
    }

    fn kvs(&self, kvs: &[KeyValue]) -> String {
        kvs.iter()
            .flat_map(|kv| ["\n    ".to_owned(), self.kv(kv)])
            .collect()
    }

    fn events(&self, events: &[Event]) -> String {
        let line = |event: &Event| {
            let kind = match event.event_type() {
                EventType::Put => "put",
                EventType::Delete => "delete",
            };
            format!(
                "\n    {kind} {}{}",
                self.kv(event.kv().unwrap()),
                self.previous(event.prev_kv())
            )
        };
        events.iter().map(line).collect()
    }

    fn kv(&self, kv: &KeyValue) -> String {
        let (key, value) = (
            String::from_utf8_lossy(kv.key()),
            String::from_utf8_lossy(kv.value()),
        );
        let (created, modified) = (self.at(kv.create_revision()), self.at(kv.mod_revision()));
        let lease = if kv.lease() == 0 {
            String::new()
        } else {
            format!(" {}", self.lease(kv.lease()))
        };
        format!(
            "{key}={value} created {created} modified {modified} version {}{lease}",
            kv.version()
        )
    }
}

fn revision(event: &Event) -> i64 {
    event.kv().map_or(0, KeyValue::mod_revision)
}

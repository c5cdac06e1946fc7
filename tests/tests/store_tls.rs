//! The host's adapter to an etcd that speaks TLS and wants a client certificate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use selvedge_engine::{KeyRange, Page, RequestId, StoreError, StoreEvent, StoreRequest, StoreResponse};
use selvedge_host::store::Store;
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::store::tls::Tls;
use selvedge_tests::etcd::Etcd;
use selvedge_tests::need;
use tempfile::TempDir;

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    need!(etcd, openssl);
    let etcd = TlsEtcd::start();
    let trusting = || Tls::default().trusting(&etcd.file("authority.pem")).unwrap();
    let showing = |tls: Tls| {
        tls.showing(&etcd.file("client.pem"), &etcd.file("client.key"))
            .unwrap()
    };

    assert!(ask(&etcd.url("https"), &showing(trusting())).await.is_ok());

    let unproven = ask(&etcd.url("https"), &trusting()).await.unwrap_err();
    let advice = "it may want a client certificate (--etcd-certfile and --etcd-keyfile)";
    assert!(unproven.message.ends_with(advice), "{unproven}");
    let complaints = [
        ask(&etcd.url("https"), &showing(Tls::default())).await,
        ask(
            &etcd.url("https"),
            &Tls::default().trusting(&etcd.file("stranger.pem")).unwrap(),
        )
        .await,
        ask(&etcd.url("http"), &Tls::default()).await,
    ]
    .map(|answer| {
        answer
            .unwrap_err()
            .message
            .replace(&etcd.port.to_string(), "PORT")
    });
    assert_eq!(
        complaints,
        [
            "etcd at https://127.0.0.1:PORT: its certificate is not from an authority that is trusted here; \
             name its own with --etcd-cafile",
            "etcd at https://127.0.0.1:PORT: its certificate is not from an authority that is trusted here; \
             name its own with --etcd-cafile",
            "etcd at http://127.0.0.1:PORT: connection lost; it may want https",
        ]
    );
}

#[tokio::test]
async fn certificates_may_be_renewed_while_it_runs() {
    need!(etcd, openssl);
    let mut etcd = TlsEtcd::start();
    let tls = Tls::default()
        .trusting(&etcd.file("authority.pem"))
        .and_then(|tls| tls.showing(&etcd.file("client.pem"), &etcd.file("client.key")))
        .unwrap();
    let mut store = open(Endpoint::parse(&etcd.url("https")).unwrap(), &tls);
    assert!(ask_over(&mut store).await.is_ok());

    etcd.stop();
    make_certificates(etcd.directory.path());
    etcd.restart();
    // What fails over the old way makes the store read the files.
    drop(ask_over(&mut store).await);
    let answer = ask_over(&mut store).await;

    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_key_that_does_not_fit_is_refused_before_the_first_connection() {
    need!(openssl);
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let file = |name: &str| directory.path().join(name);

    let tls = Tls::default()
        .trusting(&file("authority.pem"))
        .and_then(|tls| tls.showing(&file("client.pem"), &file("server.key")))
        .unwrap();

    assert!(
        tls.check(&Endpoint::parse("https://127.0.0.1:2379").unwrap())
            .is_err()
    );
}

async fn ask(url: &str, tls: &Tls) -> Result<StoreResponse, StoreError> {
    let endpoint = Endpoint::parse(url).unwrap();
    ask_over(&mut open(endpoint, tls)).await
}

fn open(endpoint: Endpoint, tls: &Tls) -> Store {
    let tls = tls.clone();
    Store::new(&[endpoint], None, move |endpoint| tls.channel(endpoint)).unwrap()
}

async fn ask_over(store: &mut Store) -> Result<StoreResponse, StoreError> {
    let request = StoreRequest::Range {
        range: KeyRange::Key(b"/any".to_vec()),
        page: Page::default(),
        revision: None,
    };
    store.request(RequestId(1), Duration::from_secs(5), request);
    let StoreEvent::Response { result, .. } = store.next_event().await else {
        panic!("no answer");
    };
    result
}

/// An etcd with certificates of its own authority; ends when dropped, or with the thread that started it.
struct TlsEtcd {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl TlsEtcd {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path());
        let port = free_port();
        Self {
            child: spawn(directory.path(), port),
            directory,
            port,
        }
    }

    fn stop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(self.directory.path(), self.port);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

impl Drop for TlsEtcd {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn spawn(directory: &Path, port: u16) -> Child {
    let url = format!("https://127.0.0.1:{port}");
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(Etcd::find_binary().unwrap())
        .current_dir(directory)
        .args(["--data-dir", "data", "--client-cert-auth"])
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &format!("http://127.0.0.1:{}", free_port())])
        .args(["--cert-file", "server.pem", "--key-file", "server.key"])
        .args(["--trusted-ca-file", "authority.pem"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    await_listener(port).unwrap();
    child
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn await_listener(port: u16) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..200 {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(error) => last = Err(error),
        }
        sleep(Duration::from_millis(50));
    }
    last
}

fn make_certificates(directory: &Path) {
    for name in ["authority", "stranger"] {
        let subject = format!("/CN={name}");
        openssl(
            directory,
            &format!("req -x509 -nodes -days 2 -keyout {name}.key -out {name}.pem -subj {subject}"),
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        );
    }
    for (name, extensions) in [
        (
            "server",
            "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
        ),
        (
            "client",
            "subjectAltName=DNS:client\nextendedKeyUsage=clientAuth\n",
        ),
    ] {
        fs::write(directory.join("extensions"), extensions).unwrap();
        openssl(
            directory,
            &format!("req -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"),
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        );
        openssl(
            directory,
            &format!("x509 -req -in {name}.csr -out {name}.pem -days 2 -extfile extensions -CAcreateserial"),
            &["-CA", "authority.pem", "-CAkey", "authority.key"],
        );
    }
}

fn openssl(directory: &Path, args: &str, more: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(directory)
        .args(args.split(' '))
        .args(more)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

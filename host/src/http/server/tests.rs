use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::http::Audience;
use crate::http::inquiry;
use crate::http::report::Report;
use crate::tunnel::TunnelProbe;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_and_the_connection_closed() {
    let answer = conversation(HEALTH.as_bytes()).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nflanneld is running"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_head_of_an_answer_can_be_had_alone() {
    let answer = conversation(b"HEAD /healthz HTTP/1.1\r\nHost: node\r\n\r\n").await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_too_large_a_head_is_refused() {
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(40));

    for request in [long, many] {
        let answer = conversation(request.as_bytes()).await;

        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_refused() {
    let answer = conversation(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").await;

    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_waited_for() {
    let began = Instant::now();

    let answer =
        conversation(b"POST /status HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000\r\n\r\nabc").await;

    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_too_slowly_is_not_waited_for() {
    for head in ["", "GET /healthz HT"] {
        let began = Instant::now();

        conversation(head.as_bytes()).await;

        assert_eq!(began.elapsed(), PATIENCE.0, "{head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_the_answer_is_not_waited_for() {
    // Too small for any answer.
    let (mut client, stream) = duplex(64);
    let (pages, _) = pages();
    let began = Instant::now();

    client.write_all(HEALTH.as_bytes()).await.unwrap();
    serve_connection(stream, Visitor::Node, pages).await;

    assert_eq!(began.elapsed(), PATIENCE.1);
}

#[tokio::test]
async fn whoever_opens_many_connections_and_says_nothing_keeps_no_one_else_out() {
    let (address, _) = serve_here().await;
    let mut idle = Vec::new();
    for _ in 0..5 * MAX_CONNECTIONS {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let began = Instant::now();

    let answer = ask(address, HEALTH).await;

    assert!(answer.ends_with("flanneld is running"), "{answer}");
    assert!(began.elapsed() < PATIENCE.0, "{:?}", began.elapsed());
    let mut open = 0;
    for mut connection in idle {
        let closed = tokio::time::timeout(Duration::from_millis(10), connection.read_u8()).await;
        open += usize::from(closed.is_err());
    }
    assert!(open < MAX_CONNECTIONS, "{open} are open still");
}

#[tokio::test]
async fn a_flood_of_requests_costs_the_loop_few_reports() {
    let (address, reports) = serve_here().await;
    let began = Instant::now();

    for _ in 0..300 {
        let answer = ask(address, "GET /status HTTP/1.1\r\nHost: node\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    let most = 1 + began.elapsed().as_millis() / 100;
    let reports = reports.load(Ordering::Relaxed);
    assert!(
        reports > 0 && u128::from(reports) <= most,
        "{reports} reports, {most} at most"
    );
}

/// Says something to the server, and returns what it answers until it closes the connection.
async fn conversation(said: &[u8]) -> String {
    let (mut client, stream) = duplex(64 << 10);
    let (pages, _) = pages();
    let talk = async {
        client.write_all(said).await.unwrap();
        read_all(&mut client).await
    };
    tokio::join!(serve_connection(stream, Visitor::Node, pages), talk).1
}

async fn read_all(client: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Serves on a port of this machine; also returns how many reports were made.
async fn serve_here() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.address().unwrap();
    let (pages, reports) = pages();
    tokio::spawn(serve(listener, Arc::into_inner(pages).unwrap()));
    (address, reports)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Returns pages of a loop that turns, and how many reports it made.
fn pages() -> (Arc<Pages>, Arc<AtomicU64>) {
    let (inquirer, mut inquiries) = inquiry::channel();
    let reports = Arc::new(AtomicU64::new(0));
    let made = Arc::clone(&reports);
    tokio::spawn(async move {
        loop {
            inquiries.wait().await;
            inquiries.answer(|| {
                made.fetch_add(1, Ordering::Relaxed);
                Report::Searching("the interface".to_owned())
            });
        }
    });
    let pages = Pages::new(Audience::Node, inquirer, TunnelProbe::default());
    (Arc::new(pages), reports)
}

//! The store model answers as etcd does: one client script, one transcript for both.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "store_model/recorder.rs"]
mod recorder;
#[path = "store_model/script.rs"]
mod script;

use std::net::Ipv4Addr;

use etcd_client::Client;
use selvedge_sim::grpc::{SharedStore, serve};
use selvedge_tests::etcd::{Etcd, Place};
use selvedge_tests::skip;
use tokio::net::TcpListener;

use recorder::Recorder;

#[tokio::test]
async fn the_store_model_gives_the_recorded_answers() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(serve(SharedStore::new(7), listener, std::future::pending()));

    let transcript = transcript_of(&[endpoint]).await;

    server.abort();
    insta::assert_snapshot!("transcript", transcript);
}

#[tokio::test]
async fn etcd_gives_the_recorded_answers() {
    let Some(binary) = Etcd::find_binary() else {
        skip!("no etcd binary in PATH or /usr/bin (Debian: apt install etcd-server)");
        return;
    };
    let version = Etcd::version(&binary).unwrap();
    if !version.starts_with("3.4.") {
        skip!(
            "the answers were recorded from etcd 3.4; {} is {version}",
            binary.display()
        );
        return;
    }
    let etcd = Etcd::start(&binary, Place::loopback().unwrap()).unwrap();

    let transcript = transcript_of(&etcd.endpoints()).await;

    insta::assert_snapshot!("transcript", transcript);
}

async fn transcript_of(endpoints: &[String]) -> String {
    let client = Client::connect(endpoints, None).await.unwrap();
    let mut recorder = Recorder::new(client).await;
    script::run(&mut recorder).await;
    recorder.into_transcript()
}

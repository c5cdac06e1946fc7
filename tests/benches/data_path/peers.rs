//! More peers for a node, which are leases and nothing else.

use std::time::Duration;

use etcd_client::{Client, Txn, TxnOp};
use ipnet::Ipv4Net;
use selvedge_engine::Subnet;
use selvedge_host::lab::{LabOptions, Place, Stopwatch};

use crate::pair::Pair;
use crate::trouble::Trouble;

/// The peers that a node has in the end.
pub(crate) const PEERS: u8 = 100;
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Writes leases until each node has [`PEERS`] peers, and waits until the daemons know them.
pub(crate) fn add(pair: &Pair) -> Result<(), Trouble> {
    let mut free = free_subnets(pair)?;
    // Each node is a peer of the other already.
    free.truncate(usize::from(PEERS) - 1);
    write(pair, &free)?;
    let waiting = Stopwatch::start();
    while !are_known(pair) {
        if waiting.elapsed() > KNOWN_WITHIN {
            return Err(Trouble::Failed(format!(
                "the daemons do not know {PEERS} peers after {} s",
                KNOWN_WITHIN.as_secs()
            )));
        }
        pair.interrupt.sleep(Duration::from_millis(50))?;
    }
    Ok(())
}

fn free_subnets(pair: &Pair) -> Result<Vec<Subnet>, Trouble> {
    let taken: Vec<Option<Ipv4Net>> = pair.lab.leases()?.iter().map(|lease| lease.subnet.v4()).collect();
    let all = (1..=u8::MAX).filter_map(|number| Subnet::parse(&format!("10.50.{number}.0-24")).ok());
    Ok(all.filter(|subnet| !taken.contains(&subnet.v4())).collect())
}

/// At once, so that the daemons are told of all together.
fn write(pair: &Pair, subnets: &[Subnet]) -> Result<(), Trouble> {
    let prefix = pair.lab.prefix();
    let puts = subnets.iter().zip(1..=PEERS).map(|(subnet, number)| {
        let value = format!(r#"{{"PublicIP":"198.18.0.{number}","BackendType":"udp"}}"#);
        TxnOp::put(prefix.lease_key(subnet), value, None)
    });
    let transaction = Txn::new().and_then(puts.collect::<Vec<_>>());
    let failed = |error: String| Trouble::with("writing leases", error);
    let store = pair.lab.namespace(Place::Store);
    store.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let written = runtime.block_on(async {
            let mut client = Client::connect([LabOptions::ENDPOINT], None).await?;
            client.txn(transaction).await
        });
        written.map(drop).map_err(|error| failed(error.to_string()))
    })?
}

/// The log names peers one by one, or tells how many there are.
fn are_known(pair: &Pair) -> bool {
    pair.nodes().into_iter().all(|node| {
        let file = pair.lab.log_file(Place::Node(node));
        let log = std::fs::read_to_string(file).unwrap_or_default();
        let named = log
            .lines()
            .filter(|line| line.contains(" peer ") && line.contains(" via "));
        log.contains(&format!(": {PEERS} now")) || named.count() >= usize::from(PEERS)
    })
}

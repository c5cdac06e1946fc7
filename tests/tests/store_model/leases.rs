//! The chapter about etcd leases.

use etcd_client::{GetOptions, PutOptions};

use super::super::recorder::Recorder;

pub(super) async fn leases(r: &mut Recorder) {
    r.chapter("leases");
    let (a, b) = (101, 102);
    let leased = |id| Some(PutOptions::new().with_lease(id));
    r.grant("grant", "A", a, 600).await;
    r.grant("grant of a taken id", "A", a, 300).await;
    r.grant("grant of another", "B", b, 600).await;
    let short = r.grant("grant of a short time", "short", 0, 1).await;
    r.revoke("revocation of a lease without keys makes no revision", short)
        .await;
    let zero = r.grant("grant of no time", "zero", 0, 0).await;
    r.revoke("revocation", zero).await;
    r.grant("grant of a huge time", "huge", 0, 9_000_000_001).await;
    r.put("put with a lease", "l/a", "1", leased(a)).await;
    r.put("put with a lease", "l/b", "1", leased(a)).await;
    r.put("put with a lease", "l/c", "1", leased(a)).await;
    r.put("put with an unknown lease", "l/d", "1", leased(404)).await;
    r.time_to_live("keys of the lease", a).await;
    r.put("put without the lease detaches", "l/a", "2", None).await;
    r.put("put with another lease moves", "l/b", "2", leased(b)).await;
    r.put(
        "put that keeps the lease",
        "l/c",
        "2",
        Some(PutOptions::new().with_ignore_lease()),
    )
    .await;
    let both = PutOptions::new().with_ignore_lease().with_lease(b);
    r.put("put that keeps the lease and has one", "l/c", "2", Some(both))
        .await;
    r.time_to_live("keys of the lease", a).await;
    r.time_to_live("keys of the other lease", b).await;
    r.get(
        "keys with their leases",
        "l/",
        Some(GetOptions::new().with_prefix()),
    )
    .await;
    r.put("put with a lease", "l/d", "1", leased(a)).await;
    r.delete("deletion detaches", "l/d", None).await;
    r.put("put with a lease", "l/e", "1", leased(a)).await;
    r.keep_alive("keep-alive", a).await;
    r.keep_alive("keep-alive of an unknown lease", 404).await;
    r.leases("all leases").await;
    r.revoke("revocation deletes all keys in one revision", a).await;
    r.get("what is left", "l/", Some(GetOptions::new().with_prefix()))
        .await;
    r.revoke("revocation again", a).await;
    r.time_to_live("keys of no lease", a).await;
    r.grant("grant of a freed id", "A again", a, 600).await;
}

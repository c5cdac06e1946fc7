//! The chapters about watches, and what they hear of expiry and compaction.

use etcd_client::{GetOptions, PutOptions, Txn, TxnOp, WatchFilterType, WatchOptions};

use super::super::recorder::Recorder;

pub(super) async fn watches(r: &mut Recorder) {
    r.chapter("watches");
    let before = r.offset().await;
    for (key, value) in [("w/a", "1"), ("w/b", "1"), ("w/a", "2")] {
        r.put("put", key, value, None).await;
    }
    r.delete("deletion", "w/b", None).await;
    let prefix = || WatchOptions::new().with_prefix();
    let past = prefix()
        .with_prev_key()
        .with_start_revision(r.revision(before + 1));
    r.watch("watch from the past", "past", "w/", Some(past)).await;
    r.hear("the replay", "past", 4).await;
    r.watch("watch from now on", "now", "w/", Some(prefix())).await;
    let key_past = WatchOptions::new().with_start_revision(r.revision(before + 2));
    r.watch("watch of a key from the past", "key", "w/a", Some(key_past))
        .await;
    r.hear("the replay for the key", "key", 1).await;
    let newest = r.offset().await;
    let current = prefix().with_start_revision(r.revision(newest));
    r.watch("watch from the newest revision", "current", "w/", Some(current))
        .await;
    r.hear("the newest revision again", "current", 1).await;
    let future = prefix().with_start_revision(r.revision(newest + 3));
    r.watch("watch from the future", "future", "w/", Some(future))
        .await;
    let no_put = prefix().with_filters([WatchFilterType::NoPut]);
    r.watch("watch of deletions", "deletions", "w/", Some(no_put))
        .await;
    let no_delete = prefix().with_filters([WatchFilterType::NoDelete]);
    r.watch("watch of puts", "puts", "w/", Some(no_delete)).await;
    r.put("put", "w/c", "1", None).await;
    r.delete("deletion", "w/c", None).await;
    let several = Txn::new().and_then([
        TxnOp::put("w/z", "1", None),
        TxnOp::delete("w/a", None),
        TxnOp::put("w/b", "2", None),
        TxnOp::put("elsewhere", "1", None),
    ]);
    r.txn("several changes in one revision", several).await;
    r.hear("all changes with previous values", "past", 5).await;
    r.hear("all changes", "now", 5).await;
    r.hear("the changes from the awaited revision on", "future", 3)
        .await;
    r.hear("the deletions", "deletions", 2).await;
    r.hear("the puts", "puts", 3).await;
    r.hear("the key's change", "key", 1).await;
}

pub(super) async fn many_watches_on_one_stream(r: &mut Recorder) {
    r.chapter("many watches on one stream");
    r.watch("watch", "many", "m/a", None).await;
    r.watch_too(
        "another watch",
        "many",
        "m/",
        Some(WatchOptions::new().with_prefix()),
    )
    .await;
    r.watch_too(
        "a watch with an id",
        "many",
        "m/b",
        Some(WatchOptions::new().with_watch_id(7)),
    )
    .await;
    r.watch_too(
        "a watch with a taken id",
        "many",
        "m/b",
        Some(WatchOptions::new().with_watch_id(7)),
    )
    .await;
    r.watch_too(
        "a watch of an interval",
        "many",
        "m/b",
        Some(WatchOptions::new().with_range("m/z")),
    )
    .await;
    r.watch_too(
        "a watch of nothing",
        "many",
        "m/b",
        Some(WatchOptions::new().with_range("m/a")),
    )
    .await;
    r.watch_too(
        "a watch from a key on",
        "many",
        "m/b",
        Some(WatchOptions::new().with_from_key()),
    )
    .await;
    r.watch_too(
        "a watch of everything",
        "many",
        "",
        Some(WatchOptions::new().with_from_key()),
    )
    .await;
    r.put("put", "m/b", "1", None).await;
    r.hear("all hear of it", "many", 5).await;
    r.cancel("cancel", "many", 1).await;
    r.cancel("cancel by id", "many", 7).await;
    r.put("put", "m/a", "1", None).await;
    r.hear("the others hear of it", "many", 2).await;
    r.progress("progress", "many").await;
    r.watch_too("one more watch", "many", "m/c", None).await;
}

pub(super) async fn expiry(r: &mut Recorder) {
    r.chapter("expiry");
    let lease = r.grant("grant", "E", 0, 1).await;
    for key in ["e/c", "e/a", "e/b"] {
        r.put(
            "put with the lease",
            key,
            "1",
            Some(PutOptions::new().with_lease(lease)),
        )
        .await;
    }
    r.put("put without a lease", "e/stays", "1", None).await;
    let options = WatchOptions::new().with_prefix().with_prev_key();
    r.watch("watch", "expiry", "e/", Some(options)).await;
    r.hear("all keys go in one revision", "expiry", 3).await;
    r.get("what is left", "e/", Some(GetOptions::new().with_prefix()))
        .await;
    r.keep_alive("keep-alive comes too late", lease).await;
}

pub(super) async fn compaction(r: &mut Recorder) {
    r.chapter("compaction");
    for value in ["1", "2", "3"] {
        r.put("put", "z/a", value, None).await;
    }
    r.put("put", "z/gone", "1", None).await;
    r.delete("deletion", "z/gone", None).await;
    let newest = r.offset().await;
    let middle = newest - 3;
    let at = |r: &Recorder, offset| Some(GetOptions::new().with_prefix().with_revision(r.revision(offset)));
    let from = |r: &Recorder, offset| {
        Some(
            WatchOptions::new()
                .with_prefix()
                .with_prev_key()
                .with_start_revision(r.revision(offset)),
        )
    };
    r.compact("of a future revision", newest + 1).await;
    r.compact("in the middle", middle).await;
    r.compact("twice", middle).await;
    r.compact("further back", middle - 1).await;
    r.get("get before it", "z/", at(r, middle - 1)).await;
    r.get("get at it", "z/", at(r, middle)).await;
    r.get("get after it", "z/", at(r, newest - 1)).await;
    r.get("get at the newest revision", "z/", at(r, newest)).await;
    let old = TxnOp::get(
        "z/a",
        Some(GetOptions::new().with_revision(r.revision(middle - 1))),
    );
    r.txn("transaction that reads before it", Txn::new().and_then([old]))
        .await;
    r.watch("watch from before it", "before", "z/", from(r, middle - 1))
        .await;
    r.hear_one("the second message", "before").await;
    r.watch("watch from it", "at", "z/", from(r, middle)).await;
    r.hear("the replay, which lacks the compacted previous value", "at", 4)
        .await;
    r.put("put", "z/a", "4", None).await;
    r.hear("a watch goes on over a compaction", "at", 1).await;
    let newest = r.offset().await;
    r.compact("of the newest revision", newest).await;
    r.get("get at the newest revision", "z/", at(r, newest)).await;
    r.put("put", "z/a", "5", None).await;
    r.hear("a watch goes on over a compaction", "at", 1).await;
    r.delete("deletion", "z/a", None).await;
    let newest = r.offset().await;
    r.compact_physically("of a revision that deletes", newest).await;
    r.watch("watch from it", "deletion", "z/", from(r, newest)).await;
    r.put("put", "z/a", "6", None).await;
    r.hear("the replay, which lacks the deletion", "deletion", 1)
        .await;
}

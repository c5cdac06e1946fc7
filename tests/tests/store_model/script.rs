//! What the client does, chapter by chapter. Each chapter has keys of its own.

mod leases;
mod transactions;
mod watches;

use etcd_client::{DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget};

use super::recorder::Recorder;

pub(crate) async fn run(r: &mut Recorder) {
    keys_and_revisions(r).await;
    ranges(r).await;
    transactions::transactions(r).await;
    transactions::comparisons(r).await;
    transactions::rejected_transactions(r).await;
    leases::leases(r).await;
    watches::watches(r).await;
    watches::many_watches_on_one_stream(r).await;
    watches::expiry(r).await;
    watches::compaction(r).await;
}

async fn keys_and_revisions(r: &mut Recorder) {
    r.chapter("keys and revisions");
    r.get("get of a missing key", "k/a", None).await;
    r.put("first put", "k/a", "1", None).await;
    r.put(
        "second put tells the previous value",
        "k/a",
        "2",
        Some(PutOptions::new().with_prev_key()),
    )
    .await;
    r.put("put of another key", "k/b", "1", None).await;
    r.get("get", "k/a", None).await;
    r.get(
        "get at an old revision",
        "k/a",
        Some(GetOptions::new().with_revision(r.revision(1))),
    )
    .await;
    r.get(
        "get before the key",
        "k/a",
        Some(GetOptions::new().with_revision(r.revision(0))),
    )
    .await;
    r.delete("deletion of nothing makes no revision", "k/none", None)
        .await;
    r.delete(
        "deletion tells the previous value",
        "k/a",
        Some(DeleteOptions::new().with_prev_key()),
    )
    .await;
    r.put("a key made again starts anew", "k/a", "3", None).await;
    r.get("get of the key made again", "k/a", None).await;
    r.delete(
        "deletion of a prefix is one revision",
        "k/",
        Some(DeleteOptions::new().with_prefix()),
    )
    .await;
    r.put("put of an empty value", "k/empty", "", None).await;
    r.put(
        "put that keeps the value",
        "k/empty",
        "",
        Some(PutOptions::new().with_ignore_value()),
    )
    .await;
    r.put(
        "put that keeps a missing key's value",
        "k/none",
        "",
        Some(PutOptions::new().with_ignore_value()),
    )
    .await;
    r.put(
        "put that keeps the value and has one",
        "k/empty",
        "x",
        Some(PutOptions::new().with_ignore_value()),
    )
    .await;
    r.put("put without a key", "", "x", None).await;
    r.get("get without a key", "", None).await;
    r.delete("deletion without a key", "", None).await;
    let future = r.offset().await + 1;
    r.get(
        "get at a future revision",
        "k/a",
        Some(GetOptions::new().with_revision(r.revision(future))),
    )
    .await;
}

async fn ranges(r: &mut Recorder) {
    r.chapter("ranges");
    for key in ["r/a", "r/c", "r/b", "r/a"] {
        r.put("put", key, &key.to_uppercase(), None).await;
    }
    let prefix = || GetOptions::new().with_prefix();
    r.get("prefix", "r/", Some(prefix())).await;
    r.get("prefix with a limit", "r/", Some(prefix().with_limit(2)))
        .await;
    r.get(
        "the rest of a prefix behind a key, at the revision of its beginning",
        "r/b\0",
        Some(
            GetOptions::new()
                .with_range("r0")
                .with_limit(1)
                .with_revision(r.revision(12)),
        ),
    )
    .await;
    r.get(
        "prefix with a limit that suffices",
        "r/",
        Some(prefix().with_limit(3)),
    )
    .await;
    r.get("keys only", "r/", Some(prefix().with_keys_only())).await;
    r.get("count only", "r/", Some(prefix().with_count_only())).await;
    r.get(
        "newest first",
        "r/",
        Some(
            prefix()
                .with_sort(SortTarget::Mod, SortOrder::Descend)
                .with_limit(1),
        ),
    )
    .await;
    r.get(
        "by version",
        "r/",
        Some(prefix().with_sort(SortTarget::Version, SortOrder::Ascend)),
    )
    .await;
    r.get(
        "key order reversed",
        "r/",
        Some(prefix().with_sort(SortTarget::Key, SortOrder::Descend)),
    )
    .await;
    r.get("from a key on", "r/b", Some(GetOptions::new().with_from_key()))
        .await;
    r.get("interval", "r/a", Some(GetOptions::new().with_range("r/c")))
        .await;
    r.get(
        "interval upside down",
        "r/c",
        Some(GetOptions::new().with_range("r/a")),
    )
    .await;
    let newest = r.offset().await;
    let since = prefix().with_min_mod_revision(r.revision(newest - 1));
    r.get("modified lately, the count is of all", "r/", Some(since))
        .await;
    r.get(
        "prefix at an old revision",
        "r/",
        Some(prefix().with_revision(r.revision(newest - 2))),
    )
    .await;
    r.get(
        "prefix at a negative revision",
        "r/",
        Some(prefix().with_revision(-5).with_count_only()),
    )
    .await;
}

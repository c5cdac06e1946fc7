//! The chapters about transactions.

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};

use super::super::recorder::Recorder;

pub(super) async fn transactions(r: &mut Recorder) {
    r.chapter("transactions");
    let create = |value: &str| {
        Txn::new()
            .when([Compare::version("t/a", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("t/a", value, None)])
            .or_else([TxnOp::get("t/a", None)])
    };
    r.txn("create if absent", create("1")).await;
    r.txn("create if absent, too late, reads instead", create("2"))
        .await;
    let several = Txn::new().and_then([
        TxnOp::get("t/", Some(GetOptions::new().with_prefix())),
        TxnOp::put("t/b", "1", Some(PutOptions::new().with_prev_key())),
        TxnOp::get("t/", Some(GetOptions::new().with_prefix())),
        TxnOp::delete("t/a", Some(DeleteOptions::new().with_prev_key())),
        TxnOp::put("t/c", "1", None),
        TxnOp::delete("t/none", None),
        TxnOp::get(
            "t/",
            Some(GetOptions::new().with_prefix().with_keys_only().with_limit(1)),
        ),
    ]);
    r.txn("several operations in one revision", several).await;
    let reads = Txn::new().and_then([TxnOp::get("t/b", None), TxnOp::delete("t/none", None)]);
    r.txn("a transaction that changes nothing makes no revision", reads)
        .await;
    r.txn("an empty transaction", Txn::new()).await;
    let old = r.offset().await - 1;
    let history = Txn::new().and_then([
        TxnOp::put("t/c", "2", None),
        TxnOp::get("t/a", Some(GetOptions::new().with_revision(r.revision(old)))),
    ]);
    r.txn("a read at an old revision beside a write", history).await;
    let inner = Txn::new()
        .when([Compare::version("t/new", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("t/inner", "then", None), TxnOp::get("t/new", None)])
        .or_else([TxnOp::put("t/inner", "else", None)]);
    let outer = Txn::new().and_then([TxnOp::put("t/new", "1", None), TxnOp::txn(inner)]);
    r.txn("a nested transaction judges by the state before", outer)
        .await;
    r.get(
        "what the transactions left",
        "t/",
        Some(GetOptions::new().with_prefix()),
    )
    .await;
}

pub(super) async fn comparisons(r: &mut Recorder) {
    r.chapter("comparisons");
    let lease = r.grant("grant", "C", 0, 600).await;
    r.put("put", "c/a", "1", Some(PutOptions::new().with_lease(lease)))
        .await;
    r.put("put", "c/b", "2", None).await;
    r.put("put", "c/b", "2", None).await;
    let newest = r.offset().await;
    let (first, last) = (r.revision(newest - 2), r.revision(newest));
    let checks = [
        ("version equal", Compare::version("c/b", CompareOp::Equal, 2)),
        ("version greater", Compare::version("c/b", CompareOp::Greater, 2)),
        ("version less", Compare::version("c/b", CompareOp::Less, 3)),
        (
            "version not equal",
            Compare::version("c/b", CompareOp::NotEqual, 2),
        ),
        (
            "create revision equal",
            Compare::create_revision("c/a", CompareOp::Equal, first),
        ),
        (
            "create revision of a missing key",
            Compare::create_revision("c/x", CompareOp::Equal, 0),
        ),
        (
            "mod revision equal",
            Compare::mod_revision("c/b", CompareOp::Equal, last),
        ),
        (
            "mod revision less",
            Compare::mod_revision("c/b", CompareOp::Less, last),
        ),
        (
            "mod revision of a missing key is less",
            Compare::mod_revision("c/x", CompareOp::Less, 1),
        ),
        ("value equal", Compare::value("c/a", CompareOp::Equal, "1")),
        ("value less", Compare::value("c/a", CompareOp::Less, "2")),
        (
            "value of a missing key, equal to empty",
            Compare::value("c/x", CompareOp::Equal, ""),
        ),
        (
            "value of a missing key, not equal",
            Compare::value("c/x", CompareOp::NotEqual, "1"),
        ),
        ("lease equal", Compare::lease("c/a", CompareOp::Equal, lease)),
        (
            "lease of a key without one",
            Compare::lease("c/b", CompareOp::Equal, 0),
        ),
        (
            "lease of a missing key",
            Compare::lease("c/x", CompareOp::Equal, 0),
        ),
    ];
    compare(r, checks).await;
    comparisons_of_ranges(r, last).await;
}

/// Compares ranges, those of existing keys with the revision of the newest write to them.
async fn comparisons_of_ranges(r: &mut Recorder, last: i64) {
    let checks = [
        (
            "prefix, each key",
            Compare::version("c/", CompareOp::Greater, 0).with_prefix(),
        ),
        (
            "prefix, not each key",
            Compare::version("c/", CompareOp::Equal, 1).with_prefix(),
        ),
        (
            "prefix, no key differs",
            Compare::mod_revision("c/", CompareOp::Less, last + 1).with_prefix(),
        ),
        (
            "empty prefix, version zero",
            Compare::version("none/", CompareOp::Equal, 0).with_prefix(),
        ),
        (
            "empty prefix, version above zero",
            Compare::version("none/", CompareOp::Greater, 0).with_prefix(),
        ),
        (
            "empty prefix, mod revision below one",
            Compare::mod_revision("none/", CompareOp::Less, 1).with_prefix(),
        ),
        (
            "empty prefix, create revision",
            Compare::create_revision("none/", CompareOp::NotEqual, 0).with_prefix(),
        ),
        (
            "empty prefix, value",
            Compare::value("none/", CompareOp::NotEqual, "x").with_prefix(),
        ),
        (
            "interval",
            Compare::version("c/a", CompareOp::Equal, 1).with_range("c/b"),
        ),
        (
            "interval upside down",
            Compare::version("c/b", CompareOp::Equal, 0).with_range("c/a"),
        ),
    ];
    compare(r, checks).await;
    let both = [
        Compare::version("c/a", CompareOp::Equal, 1),
        Compare::version("c/b", CompareOp::Equal, 1),
    ];
    r.txn("all comparisons must hold", Txn::new().when(both)).await;
}

async fn compare(r: &mut Recorder, checks: impl IntoIterator<Item = (&str, Compare)>) {
    for (step, compare) in checks {
        r.txn(step, Txn::new().when([compare])).await;
    }
}

pub(super) async fn rejected_transactions(r: &mut Recorder) {
    r.chapter("rejected transactions");
    let put = |key: &str| TxnOp::put(key, "x", None);
    let nested = || TxnOp::txn(Txn::new().and_then([put("x/a")]).or_else([put("x/a")]));
    let future = GetOptions::new().with_revision(r.revision(1000));
    let leased = |id| TxnOp::put("x/lease", "x", Some(PutOptions::new().with_lease(id)));
    r.txn("one key put twice", Txn::new().and_then([put("x/a"), put("x/a")]))
        .await;
    r.txn(
        "one key put twice in the other branch",
        Txn::new().or_else([put("x/a"), put("x/a")]),
    )
    .await;
    r.txn(
        "one key in both branches",
        Txn::new().and_then([put("x/a")]).or_else([put("x/a")]),
    )
    .await;
    r.txn(
        "a key put and deleted",
        Txn::new().and_then([TxnOp::delete("x/a", None), put("x/a")]),
    )
    .await;
    let prefix = TxnOp::delete("x/", Some(DeleteOptions::new().with_prefix()));
    r.txn(
        "a key put and its prefix deleted",
        Txn::new().and_then([put("x/a"), prefix]),
    )
    .await;
    let twice = [TxnOp::delete("x/a", None), TxnOp::delete("x/a", None)];
    r.txn("a key deleted twice", Txn::new().and_then(twice)).await;
    r.txn(
        "one key in the branches of a nested transaction",
        Txn::new().and_then([nested()]),
    )
    .await;
    r.txn(
        "one key in two nested transactions",
        Txn::new().and_then([nested(), nested()]),
    )
    .await;
    r.txn(
        "one key outside and inside",
        Txn::new().and_then([put("x/a"), nested()]),
    )
    .await;
    let inside = TxnOp::txn(Txn::new().and_then([TxnOp::delete("x/a", None)]));
    r.txn(
        "a key put outside and deleted inside",
        Txn::new().and_then([put("x/a"), inside]),
    )
    .await;
    r.txn(
        "a comparison without a key",
        Txn::new().when([Compare::version("", CompareOp::Equal, 0)]),
    )
    .await;
    r.txn("a put without a key", Txn::new().and_then([put("")])).await;
    r.txn("an unknown lease", Txn::new().and_then([put("x/b"), leased(404)]))
        .await;
    r.txn(
        "an unknown lease in the other branch",
        Txn::new().or_else([leased(404)]),
    )
    .await;
    r.txn(
        "a future revision",
        Txn::new().and_then([put("x/b"), TxnOp::get("x/a", Some(future))]),
    )
    .await;
    let keep = TxnOp::put("x/none", "", Some(PutOptions::new().with_ignore_value()));
    r.txn(
        "a missing key's value kept",
        Txn::new().and_then([put("x/b"), keep]),
    )
    .await;
    let reads = |count| {
        Txn::new().and_then(vec![
            TxnOp::get(
                "x/none",
                Some(GetOptions::new().with_count_only())
            );
            count
        ])
    };
    r.txn("129 operations", reads(129)).await;
    let compares = vec![Compare::version("x/a", CompareOp::Equal, 0); 129];
    r.txn("129 comparisons", Txn::new().when(compares)).await;
    r.get(
        "what the rejected transactions left",
        "x/",
        Some(GetOptions::new().with_prefix()),
    )
    .await;
}

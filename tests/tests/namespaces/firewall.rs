//! Rules of nftables in a node.

use selvedge_host::lab::Namespace;

/// Carries out commands of `nft`, one after the other.
pub(crate) fn nft(namespace: &Namespace, commands: &[&str]) {
    for command in commands {
        let status = namespace
            .command("nft")
            .arg(command)
            .status()
            .expect("nft starts");
        assert!(status.success(), "{command}");
    }
}

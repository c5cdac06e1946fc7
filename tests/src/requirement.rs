//! What a test needs of the machine; without it the test is skipped, loudly.

use std::path::Path;

use crate::etcd::Etcd;

/// Returns from the enclosing test, after a loud skip, unless everything named is there: `root`, `tun`, a kernel
/// (`linux_6_2`), or a program.
#[macro_export]
macro_rules! need {
    ($($requirement:ident),+) => {
        $(
            if let Some(missing) = $crate::requirement::missing(stringify!($requirement)) {
                $crate::skip!("{missing}");
                return;
            }
        )+
    };
}

/// Returns what to tell people if a requirement is not met.
pub fn missing(requirement: &str) -> Option<String> {
    match requirement {
        "root" => {
            (!nix::unistd::geteuid().is_root()).then(|| "needs root, for network namespaces".to_owned())
        }
        // Before, packet sockets cannot tell of super-packets of UDP, and TUN devices take none.
        "linux_6_2" => (kernel() < (6, 2)).then(|| "needs Linux 6.2".to_owned()),
        "tun" => (!Path::new("/dev/net/tun").exists()).then(|| "needs /dev/net/tun".to_owned()),
        "etcd" => Etcd::find_binary()
            .is_none()
            .then(|| "needs etcd (apt-get install etcd-server)".to_owned()),
        program => (!in_path(program)).then(|| format!("needs the program {program}")),
    }
}

/// Returns the first two numbers of the kernel's version; zeros if it tells none.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|number| number.parse().ok());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.any(|folder| folder.join(program).is_file())
}

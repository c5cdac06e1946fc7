//! Real daemons in network namespaces with a real etcd: what a user of the network sees, what is on the wire, what
//! stands in the kernel and in etcd, and what happens when something breaks.

mod adoption;
mod backend_facts;
mod backends;
mod bad_backends;
mod bad_input;
mod captures;
mod chaos;
mod command_line;
mod disturbed;
mod dual_stack;
mod etcd_faults;
mod facts;
mod firewall;
mod firewall_tools;
mod health;
mod hostile;
mod icmp_errors;
mod ipv6;
mod life;
mod load;
mod masquerading;
mod membership;
mod offloads;
mod path_mtu;
mod plan_and_cleanup;
mod recordings;
mod restarts;
mod traffic;
mod wire;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge-under-test");

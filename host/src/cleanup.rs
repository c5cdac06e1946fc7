//! `selvedge cleanup`: everything of ours removed from this node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode as ProcessExitCode;
use std::sync::Arc;

use selvedge_engine::{KernelEvent, KernelOp, OpId, StorePrefix, SubnetFile, Survey, leftovers};

use crate::exit_code::ExitCode;
use crate::kernel::linux::LinuxKernel;
use crate::kernel::{Kernel as _, Outcome};
use crate::tunnel::offload::Offloads;
use crate::tunnel::worker_count::WorkerCount;
use crate::tunnel::{DataPath, SharedTable, TunnelProbe};

/// Removes what selvedge left on this node
#[derive(Clone, Debug, clap::Args)]
pub struct CleanupArgs {
    /// Where the network's keys live in etcd: what other clusters left on this node stays
    #[arg(long, value_name = "PREFIX", default_value = "/coreos.com/network")]
    pub etcd_prefix: String,

    /// File that the daemon wrote for CNI plugins and Docker
    #[arg(long, value_name = "FILE", default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,

    /// Only print what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// Removes everything; prints a line for each object.
pub fn run(args: &CleanupArgs) -> ProcessExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(clean(args))) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("selvedge: cannot clean up: {error}");
            ExitCode::System.into()
        }
    }
}

async fn clean(args: &CleanupArgs) -> io::Result<ExitCode> {
    let table = SharedTable::default();
    let probe = TunnelProbe::default();
    let data_path = DataPath {
        offloads: Offloads::NONE,
        workers: WorkerCount::ONE,
    };
    let mut kernel = LinuxKernel::open(args.subnet_file.clone(), Arc::clone(&table), data_path, probe)?;
    let facts = kernel
        .survey(&Survey::default())
        .await
        .map_err(io::Error::other)?;
    let written = fs::read_to_string(&args.subnet_file).unwrap_or_default();
    let prefix = StorePrefix::new(&args.etcd_prefix);
    let removals = leftovers(&facts, &prefix, &SubnetFile::networks_in(&written));
    if removals.is_empty() && !args.subnet_file.exists() {
        println!("nothing to remove");
        return Ok(ExitCode::Clean);
    }
    let mut code = ExitCode::Clean;
    for op in removals {
        println!("- {}", op.object());
        if !args.dry_run {
            code = code.or(remove(&mut kernel, op).await);
        }
    }
    if args.subnet_file.exists() {
        println!("- {}", args.subnet_file.display());
        if !args.dry_run {
            code = code.or(delete(&args.subnet_file));
        }
    }
    Ok(code)
}

async fn remove(kernel: &mut LinuxKernel, op: KernelOp) -> ExitCode {
    let id = OpId(0);
    let result = match kernel.apply(id, op).await {
        Outcome::Ended(result) => result,
        Outcome::Begun => loop {
            if let KernelEvent::OpDone { id: ended, result } = kernel.next_event().await
                && ended == id
            {
                break result;
            }
        },
    };
    match result {
        Ok(()) => ExitCode::Clean,
        Err(error) => {
            eprintln!("selvedge: {error}");
            ExitCode::of_kernel(&error)
        }
    }
}

fn delete(path: &Path) -> ExitCode {
    match fs::remove_file(path) {
        Ok(()) => ExitCode::Clean,
        Err(error) => {
            eprintln!("selvedge: {}: {error}", path.display());
            ExitCode::System
        }
    }
}

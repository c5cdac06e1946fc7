//! A TUN device without a kernel behind it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_host::tunnel::worker::PacketDevice;
use tokio::sync::Notify;

/// A TUN device whose kernel is the test.
#[derive(Clone, Debug, Default)]
pub struct MemoryTun {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Queues>,
    routed: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    routed: VecDeque<Vec<u8>>,
    delivered: Vec<Vec<u8>>,
}

impl MemoryTun {
    /// Routes a packet into the device, as the kernel would.
    pub fn route(&self, packet: Vec<u8>) {
        self.queues().routed.push_back(packet);
        self.shared.routed.notify_one();
    }

    /// Takes the packets that were handed to the kernel.
    pub fn take_delivered(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.queues().delivered)
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacketDevice for MemoryTun {
    async fn readable(&self) -> io::Result<()> {
        while self.queues().routed.is_empty() {
            self.shared.routed.notified().await;
        }
        Ok(())
    }

    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        let Some(routed) = self.queues().routed.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let room = packet
            .get_mut(..routed.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(&routed);
        Ok(routed.len())
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let packet = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.queues().delivered.push(packet);
        Ok(())
    }
}

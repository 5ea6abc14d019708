//! Offloads of the TUN device, as pure functions on bytes: the virtio header,
//! splitting what the kernel joined, joining what the kernel may split.

mod coalesce;
mod split;
mod virtio;

pub use coalesce::{Coalescer, Offloads, Write};
pub use split::{Malformed, split};
pub use virtio::{GsoType, VirtioHeader};

//! Offloads of the TUN device, as pure functions on bytes: the virtio header,
//! splitting what the kernel joined, joining what the kernel may split.

mod virtio;

pub use virtio::VirtioHeader;

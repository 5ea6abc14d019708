//! What can go wrong with a device.

use std::ffi::c_int;
use std::io;

use wgbind_tunnel::share::MAX_WORKERS;

use crate::features::Features;

/// Each message is one line that names what is wrong, and the remedy. None carries a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No interface can have this name.
    #[error(
        "interface name {name:?}: {problem}; a name is 1 to 15 of the characters a-z A-Z 0-9 _ = + . -"
    )]
    Name {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A device cannot have that many workers.
    #[error("workers: {0}: give a whole number from 1 to {MAX_WORKERS}")]
    Workers(usize),
    /// There is no such feature to switch off.
    #[error("feature {0:?}: there is none of that name; there are {names}", names = feature_names())]
    Feature(String),
    /// An open descriptor that was handed over is not what it should be.
    #[error("descriptor {number}: {problem}")]
    Descriptor {
        /// Its number at whoever handed it over.
        number: c_int,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// The kernel asks for a capability that this process does not have.
    #[error("{what} needs {needs}")]
    Privilege {
        /// What was tried.
        what: String,
        /// The capability, as capabilities(7) names it, and how to get it.
        needs: &'static str,
    },
    /// An interface, a port or a control socket belongs to somebody else.
    #[error("{what} is in use; {remedy}")]
    InUse {
        /// What is taken.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The tunnel refused a change.
    #[error(transparent)]
    Tunnel(#[from] wgbind_tunnel::Error),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device is no more; the text says why.
    #[error("the device has ended: {0}")]
    Ended(String),
    /// There is no /dev/net/tun.
    #[error(
        "/dev/net/tun is missing: load the module `tun` (modprobe tun), or give the container the device (--device /dev/net/tun)"
    )]
    NoTunDevice,
}

/// What most calls on interfaces and sockets need.
pub(crate) const NET_ADMIN: &str = "CAP_NET_ADMIN: run as root or with that capability";

fn feature_names() -> String {
    let names: Vec<_> = Features::default().iter().map(|(name, _)| name).collect();
    names.join(", ")
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io {
            what: what.into(),
            source,
        }
    }
}

//! Open descriptors that another program hands over: a TUN device and a control socket that it made,
//! as one that has the right to does for one that has not (wireguard-go's `WG_TUN_FD` and
//! `WG_UAPI_FD`).

use std::ffi::c_int;
use std::os::fd::OwnedFd;

use crate::error::Error;
use crate::sys;

/// What a device takes over instead of making it.
#[derive(Debug, Default)]
pub struct Handed {
    pub(crate) tun: Option<HandedFd>,
    pub(crate) control: Option<HandedFd>,
}

/// A descriptor of our own, and the number by which we were told of it.
#[derive(Debug)]
pub(crate) struct HandedFd {
    pub(crate) fd: OwnedFd,
    pub(crate) number: c_int,
}

impl Handed {
    /// Takes over a queue of a TUN interface and a bound Unix socket, by their numbers, which stay
    /// the caller's to close: while they are open, so are interface and socket.
    ///
    /// # Errors
    /// [`Error::Descriptor`] if nothing of that number is open.
    pub fn duplicate(tun: Option<c_int>, control: Option<c_int>) -> Result<Self, Error> {
        Ok(Self {
            tun: tun.map(HandedFd::duplicate).transpose()?,
            control: control.map(HandedFd::duplicate).transpose()?,
        })
    }
}

impl HandedFd {
    fn duplicate(number: c_int) -> Result<Self, Error> {
        let fd = sys::duplicate(number).map_err(|error| Error::Descriptor {
            number,
            problem: format!("it cannot be taken over: {error}"),
        })?;
        Ok(Self { fd, number })
    }

    /// The error for a descriptor that stands for something else.
    pub(crate) fn is_no(number: c_int, what: &str) -> Error {
        Error::Descriptor {
            number,
            problem: format!("it is no {what}"),
        }
    }
}

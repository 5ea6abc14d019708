//! Carrying out an operation: between a client and the worker.

use std::ffi::c_int;
use std::fmt;

use super::format::{write_device, write_peer};
use super::parse::{Refusal, SetParser};
use crate::error::Error;
use crate::remote::Remote;

/// Applies what was parsed, all of it or nothing.
pub(super) fn set(remote: &Remote, parser: SetParser) -> Result<(), Refusal> {
    remote.set(parser.finish()).map_err(refusal)
}

/// Writes the device and its peers. They are read before the first line is written: a client that
/// reads slowly holds up nobody.
pub(super) fn get(remote: &Remote, out: &mut impl fmt::Write) -> Result<(), GetError> {
    let (summary, pages) = remote.settled()?;
    write_device(out, &summary)?;
    for page in pages {
        for peer in page {
            write_peer(out, &peer)?;
        }
    }
    Ok(())
}

/// What can go wrong with an answer.
pub(super) enum GetError {
    /// The device could not tell.
    Refused(Refusal),
    /// The client does not listen.
    Unheard,
}

impl From<Error> for GetError {
    fn from(error: Error) -> Self {
        Self::Refused(refusal(error))
    }
}

impl From<fmt::Error> for GetError {
    fn from(_: fmt::Error) -> Self {
        Self::Unheard
    }
}

fn refusal(error: Error) -> Refusal {
    let errno: c_int = match &error {
        Error::InUse { .. } => libc::EADDRINUSE,
        Error::Privilege { .. } => libc::EPERM,
        Error::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        Error::Ended(_) | Error::NoTunDevice => libc::ENODEV,
        Error::Tunnel(_)
        | Error::Name { .. }
        | Error::Workers(_)
        | Error::Feature(_)
        | Error::Descriptor { .. } => libc::EINVAL,
    };
    Refusal {
        errno,
        message: error.to_string(),
    }
}

//! The standard control socket, where `wg` and its kin configure a device
//! (<https://www.wireguard.com/xplatform/>). The protocol itself lands next.

use std::path::Path;

use crate::device::Remote;
use crate::error::Error;
use crate::name::InterfaceName;

pub(crate) struct ControlSocket;

impl ControlSocket {
    pub(crate) fn bind(_directory: &Path, _name: &InterfaceName) -> Result<Self, Error> {
        Ok(Self)
    }

    pub(crate) fn serve(self, _remote: &Remote) {}
}

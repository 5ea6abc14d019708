//! The TUN interface: packets in and out, with the kernel's offloads.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use wgbind_tunnel::batch::MAX_TRAIN;
use wgbind_tunnel::{PacketIn, PacketsOut, VirtioHeader};

use crate::error::{Error, NET_ADMIN};
use crate::name::{self, InterfaceName};
use crate::sys;

/// The interface was deleted, or its namespace was.
#[derive(Debug)]
pub(crate) struct Removed;

/// One queue of a TUN interface, which lives as long as this does (unless somebody made it
/// persistent).
pub(crate) struct Tun {
    file: File,
    /// Any socket of the namespace in which the interface was made: what ioctls on interfaces need.
    namespace: OwnedFd,
    mtu: u16,
    /// Packets that could not be read or written.
    pub(crate) drops: u64,
}

impl Tun {
    /// Makes the interface, or takes a persistent one that nobody has open.
    pub(crate) fn open(name: &InterfaceName, mtu: u16) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(|error| match sys::errno(&error) {
                libc::ENOENT | libc::ENODEV | libc::ENXIO => Error::NoTunDevice,
                libc::EACCES | libc::EPERM => Error::Privilege {
                    what: "opening /dev/net/tun".to_owned(),
                    needs: "permission on the device: run as root, or give the container the device (--device /dev/net/tun)",
                },
                _ => Error::io("opening /dev/net/tun")(error),
            })?;
        let mut request = interface_request(name.as_str());
        request.ifr_ifru.ifru_flags =
            (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        interface_ioctl(file.as_fd(), libc::TUNSETIFF, &mut request).map_err(|error| {
            let what = format!("interface {name}");
            match sys::errno(&error) {
                libc::EPERM | libc::EACCES => Error::Privilege {
                    what: format!("creating {name}"),
                    needs: NET_ADMIN,
                },
                libc::EBUSY => Error::InUse {
                    what,
                    remedy: "choose another name, or stop the program that has it",
                },
                libc::EINVAL => Error::InUse {
                    what,
                    remedy: "it is no TUN interface: choose another name, or delete it (ip link del)",
                },
                _ => Error::io(format!("creating {name}"))(error),
            }
        })?;
        let header_size = VirtioHeader::SIZE as c_int;
        // SAFETY: the kernel reads one integer from a reference to one.
        sys::check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &header_size) })
            .map_err(Error::io(format!("setting up {name}")))?;
        let namespace = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM)
            .map_err(Error::io(format!("setting up {name}")))?;
        let mut tun = Self {
            file,
            namespace,
            mtu,
            drops: 0,
        };
        tun.enable_offloads();
        tun.set_mtu(name, mtu)?;
        Ok(tun)
    }

    /// Lets the kernel hand us super-packets. UDP ones are known since Linux 6.2.
    fn enable_offloads(&mut self) {
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        for offloads in [tcp | udp, tcp] {
            let argument = libc::c_ulong::from(offloads);
            // SAFETY: the argument is a value, not a pointer.
            let result =
                unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, argument) };
            if sys::check(result).is_ok() {
                return;
            }
        }
        tracing::warn!("the TUN device refuses offloads: packets are read one at a time");
    }

    fn set_mtu(&self, name: &InterfaceName, mtu: u16) -> Result<(), Error> {
        let mut request = interface_request(name.as_str());
        request.ifr_ifru.ifru_mtu = c_int::from(mtu);
        interface_ioctl(self.namespace.as_fd(), libc::SIOCSIFMTU, &mut request)
            .map_err(Error::io(format!("setting the MTU of {name} to {mtu}")))
    }

    /// The interface's name now, also after a rename and in whatever namespace it is.
    pub(crate) fn name(&self) -> io::Result<String> {
        let mut request = interface_request("");
        interface_ioctl(self.file.as_fd(), libc::TUNGETIFF, &mut request)?;
        let bytes = request.ifr_name.map(|byte| byte as u8);
        let len = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name::SIZE);
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    /// The interface's MTU now; the last one known if it moved to another namespace, where
    /// there is no asking.
    pub(crate) fn mtu(&mut self) -> u16 {
        if let Ok(name) = self.name() {
            let mut request = interface_request(&name);
            if interface_ioctl(self.namespace.as_fd(), libc::SIOCGIFMTU, &mut request).is_ok() {
                // SAFETY: SIOCGIFMTU filled this member of the union.
                let mtu = unsafe { request.ifr_ifru.ifru_mtu };
                self.mtu = mtu.try_into().unwrap_or(u16::MAX);
            }
        }
        self.mtu
    }

    /// Reads packets until the slots are full or there are no more; returns how many.
    pub(crate) fn read(&mut self, slots: &mut [PacketIn]) -> Result<usize, Removed> {
        let mut filled = 0;
        while let Some(slot) = slots.get_mut(filled) {
            let mut header = [0; VirtioHeader::SIZE];
            let read = self.file.read_vectored(&mut [
                IoSliceMut::new(&mut header),
                IoSliceMut::new(&mut slot.buffer[..MAX_TRAIN]),
            ]);
            match read {
                Ok(len) => {
                    slot.len = len.saturating_sub(VirtioHeader::SIZE);
                    match VirtioHeader::parse(&header) {
                        Some(header) if slot.len > 0 => {
                            slot.header = header;
                            filled += 1;
                        }
                        _ => self.drops += 1,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_removed(&error) => return Err(Removed),
                Err(_) => {
                    self.drops += 1;
                    break;
                }
            }
        }
        Ok(filled)
    }

    /// Writes the packets, in order. What the kernel refuses is counted.
    pub(crate) fn write(&mut self, out: &PacketsOut) -> Result<(), Removed> {
        let header = VirtioHeader::default().encode();
        for range in &out.packets {
            let slices = [
                IoSlice::new(&header),
                IoSlice::new(&out.buffer[range.clone()]),
            ];
            if let Err(error) = self.write_one(&slices) {
                if is_removed(&error) {
                    return Err(Removed);
                }
                self.drops += 1;
            }
        }
        Ok(())
    }

    fn write_one(&self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        loop {
            match (&self.file).write_vectored(slices) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_removed(error: &io::Error) -> bool {
    matches!(sys::errno(error), libc::EBADFD | libc::ENODEV)
}

/// A request about the interface `name`, which has room for a zero at its end.
fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: a request is plain data; all zeros are an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name[..name::SIZE - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request
}

/// `request` must be one that takes an `ifreq`: only constants of this file are handed in.
fn interface_ioctl(
    fd: BorrowedFd<'_>,
    request: libc::Ioctl,
    argument: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: the kernel reads and writes one ifreq through a reference to one.
    sys::check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) }).map(drop)
}

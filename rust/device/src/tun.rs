//! The TUN interface: packets in and out, with the kernel's offloads.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::iter;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use wgbind_tunnel::batch::MAX_TRAIN;
use wgbind_tunnel::constants::MAX_SEGMENTS;
use wgbind_tunnel::offload::{self, Coalescer, GsoType, Offloads};
use wgbind_tunnel::{PacketIn, PacketsOut, VirtioHeader};

use crate::error::{Error, NET_ADMIN};
use crate::features::Features;
use crate::handed::HandedFd;
use crate::latch::Latch;
use crate::name::{self, InterfaceName};
use crate::sys;

/// Bytes of one turn's reads: more would keep the other peers' packets and what has come in over
/// UDP waiting, while two full trains are a batch that no larger one beats.
const READ_BYTES: usize = 2 * MAX_TRAIN;

/// The interface was deleted, or its namespace was.
#[derive(Debug)]
pub(crate) struct Removed;

/// One queue of a TUN interface, which lives as long as this does (unless somebody made it
/// persistent).
pub(crate) struct Tun {
    file: File,
    /// Bytes in front of every packet: a virtio header, or none.
    header_len: usize,
    /// Whether it is ours to read from. To write is everybody's.
    reads: bool,
    /// Any socket of the namespace in which the interface was made: what ioctls on interfaces need.
    namespace: OwnedFd,
    /// The interface's number in that namespace.
    index: c_int,
    mtu: u16,
    /// What the kernel did not refuse when the interface was set up.
    features: Features,
    coalescer: Coalescer,
    /// What the coalescer does now.
    offloads: Offloads,
    /// Whether the kernel takes joined packets.
    tcp: Latch,
    udp: Latch,
    /// Packets that could not be read or written.
    pub(crate) drops: u64,
}

impl Tun {
    /// Makes the interface, or takes a persistent one that nobody has open.
    pub(crate) fn open(name: &InterfaceName, mtu: u16, wanted: Features) -> Result<Self, Error> {
        Self::open_queue(name, mtu, wanted, 0)
    }

    /// Makes the interface with a queue for each of several workers. Where `steer` fails there is
    /// only one, which the first worker reads for all: what the kernel does without a program may
    /// reorder packets.
    pub(crate) fn open_queues(
        name: &InterfaceName,
        mtu: u16,
        wanted: Features,
        workers: usize,
        steer: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<()>,
    ) -> Result<Vec<Self>, Error> {
        let multi_queue = libc::IFF_MULTI_QUEUE;
        // Exclusively: an interface of several queues has room for other programs' as well.
        let first = Self::open_queue(name, mtu, wanted, multi_queue | libc::IFF_TUN_EXCL)?;
        let steered = steer(first.as_fd(), workers);
        let mut queues = vec![first];
        while queues.len() < workers {
            queues.push(match steered {
                Ok(()) => Self::open_queue(name, mtu, wanted, multi_queue)?,
                Err(_) => queues[0]
                    .writer()
                    .map_err(Error::io(format!("setting up {name}")))?,
            });
        }
        if let Err(error) = steered {
            tracing::warn!(
                "{name}: its queues cannot be steered ({error}), so one worker reads for all; CAP_BPF helps"
            );
        }
        Ok(queues)
    }

    /// Another one for the same queue, that only writes.
    fn writer(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            header_len: self.header_len,
            reads: false,
            namespace: self.namespace.try_clone()?,
            index: self.index,
            mtu: self.mtu,
            features: self.features,
            coalescer: Coalescer::new(self.offloads),
            offloads: self.offloads,
            tcp: self.tcp,
            udp: self.udp,
            drops: 0,
        })
    }

    fn open_queue(
        name: &InterfaceName,
        mtu: u16,
        wanted: Features,
        flags: c_int,
    ) -> Result<Self, Error> {
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
        let mut features = wanted;
        features.tun_vnet_hdr &= knows_vnet_hdr(&file);
        let vnet_hdr = if features.tun_vnet_hdr {
            libc::IFF_VNET_HDR
        } else {
            features.clear_offloads();
            0
        };
        let mut request = interface_request(name.as_str());
        request.ifr_ifru.ifru_flags =
            (libc::IFF_TUN | libc::IFF_NO_PI | vnet_hdr | flags) as libc::c_short;
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
        let namespace = namespace_socket(name)?;
        interface_ioctl(namespace.as_fd(), libc::SIOCGIFINDEX, &mut request)
            .map_err(Error::io(format!("setting up {name}")))?;
        // SAFETY: SIOCGIFINDEX filled this member of the union.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        let tun = Self::set_up(file, namespace, index, name, mtu, features, wanted)?;
        tun.set_mtu(name, mtu)?;
        Ok(tun)
    }

    /// Takes over a queue that another program has opened, and tells the interface's name. Where we
    /// have not the right to set the MTU, it stays what it is.
    pub(crate) fn take_over(
        handed: HandedFd,
        mtu: u16,
        wanted: Features,
    ) -> Result<(InterfaceName, Self), Error> {
        let (file, number) = (File::from(handed.fd), handed.number);
        let mut request = interface_request("");
        interface_ioctl(file.as_fd(), libc::TUNGETIFF, &mut request)
            .map_err(|_| HandedFd::is_no(number, "TUN interface"))?;
        // SAFETY: TUNGETIFF filled this member of the union.
        let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        if flags & libc::IFF_TUN == 0 || flags & libc::IFF_NO_PI == 0 {
            let kind = "TUN interface of the kind IFF_TUN | IFF_NO_PI";
            return Err(HandedFd::is_no(number, kind));
        }
        let name = InterfaceName::parse(&request_name(&request))?;
        let setting_up = || format!("setting up {name}");
        sys::set_nonblocking(file.as_fd()).map_err(Error::io(setting_up()))?;
        let mut features = wanted;
        features.tun_vnet_hdr = flags & libc::IFF_VNET_HDR != 0;
        if !features.tun_vnet_hdr {
            features.clear_offloads();
        }
        let namespace = namespace_socket(&name)?;
        // It may be in another namespace: then there is no asking about it.
        let index = interface_ioctl(namespace.as_fd(), libc::SIOCGIFINDEX, &mut request)
            // SAFETY: SIOCGIFINDEX filled this member of the union.
            .map_or(0, |()| unsafe { request.ifr_ifru.ifru_ifindex });
        let mut tun = Self::set_up(file, namespace, index, &name, mtu, features, wanted)?;
        if tun.set_mtu(&name, mtu).is_err() {
            tun.mtu();
        }
        Ok((name, tun))
    }

    /// What is the same for all queues, whoever opened them.
    fn set_up(
        file: File,
        namespace: OwnedFd,
        index: c_int,
        name: &InterfaceName,
        mtu: u16,
        mut features: Features,
        wanted: Features,
    ) -> Result<Self, Error> {
        let header_len = if features.tun_vnet_hdr {
            set_header_size(&file).map_err(Error::io(format!("setting up {name}")))?
        } else {
            0
        };
        enable_offloads(&file, &mut features);
        // Who knows no UDP super-packets in one direction knows none in the other.
        let offloads = Offloads {
            tcp: features.tun_gro,
            udp: features.tun_gro && features.tun_uso == wanted.tun_uso,
        };
        Ok(Self {
            file,
            header_len,
            reads: true,
            namespace,
            index,
            mtu,
            features,
            coalescer: Coalescer::new(offloads),
            offloads,
            tcp: Latch::new(offloads.tcp),
            udp: Latch::new(offloads.udp),
            drops: 0,
        })
    }

    fn set_mtu(&self, name: &InterfaceName, mtu: u16) -> Result<(), Error> {
        let mut request = interface_request(name.as_str());
        request.ifr_ifru.ifru_mtu = c_int::from(mtu);
        interface_ioctl(self.namespace.as_fd(), libc::SIOCSIFMTU, &mut request)
            .map_err(Error::io(format!("setting the MTU of {name} to {mtu}")))
    }

    /// The interface's name now, also after a rename and in whatever namespace it is.
    pub(crate) fn name(&self) -> io::Result<String> {
        let mut request = self.request_by_index();
        interface_ioctl(self.namespace.as_fd(), libc::SIOCGIFNAME, &mut request)
            // It moved. This call knows, but waits for whoever configures interfaces right now.
            .or_else(|_| interface_ioctl(self.file.as_fd(), libc::TUNGETIFF, &mut request))?;
        Ok(request_name(&request))
    }

    /// The interface's MTU now; the last one known if it moved to another namespace, where
    /// there is no asking.
    pub(crate) fn mtu(&mut self) -> u16 {
        let mut request = self.request_by_index();
        let asked = interface_ioctl(self.namespace.as_fd(), libc::SIOCGIFNAME, &mut request)
            .and_then(|()| interface_ioctl(self.namespace.as_fd(), libc::SIOCGIFMTU, &mut request));
        if asked.is_ok() {
            // SAFETY: SIOCGIFMTU filled this member of the union.
            let mtu = unsafe { request.ifr_ifru.ifru_mtu };
            self.mtu = mtu.try_into().unwrap_or(u16::MAX);
        }
        self.mtu
    }

    /// What this uses, as far as it tried.
    pub(crate) fn features(&self) -> Features {
        let mut features = self.features;
        // Without UDP super-packets there is nothing to miss.
        features.tun_gro &= self.tcp.is_usable() && (self.udp.is_usable() || !features.tun_uso);
        features
    }

    fn request_by_index(&self) -> libc::ifreq {
        let mut request = interface_request("");
        request.ifr_ifru.ifru_ifindex = self.index;
        request
    }

    /// Reads packets until there are no more, the slots are full, or it is [`READ_BYTES`]; returns
    /// how many.
    pub(crate) fn read(&mut self, slots: &mut [PacketIn]) -> Result<usize, Removed> {
        let (mut filled, mut bytes) = (0, 0);
        if !self.reads {
            return Ok(0);
        }
        while bytes < READ_BYTES
            && let Some(slot) = slots.get_mut(filled)
        {
            let mut header = [0; VirtioHeader::SIZE];
            let read = self.file.read_vectored(&mut [
                IoSliceMut::new(&mut header[..self.header_len]),
                IoSliceMut::new(&mut slot.buffer[..MAX_TRAIN]),
            ]);
            match read {
                Ok(len) => {
                    slot.len = len.saturating_sub(self.header_len);
                    match VirtioHeader::parse(&header) {
                        Some(header) if slot.len > 0 => {
                            slot.header = header;
                            bytes += slot.len;
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

    /// Writes the packets, those of one flow in order and joined where that is possible. What the
    /// kernel refuses is counted.
    pub(crate) fn write(&mut self, out: &mut PacketsOut) -> Result<(), Removed> {
        for write in self.coalescer.plan(&mut out.buffer, &out.packets) {
            let header = write.header.encode();
            let result = write_vectored(&self.file, &header[..self.header_len], || {
                write.ranges.iter().map(|range| &out.buffer[range.clone()])
            });
            let latch = match write.header.gso_type {
                GsoType::None => None,
                GsoType::Tcp4 | GsoType::Tcp6 => Some(&mut self.tcp),
                GsoType::UdpL4 => Some(&mut self.udp),
            };
            match (result, latch) {
                (Ok(()), None) => {}
                (Ok(()), Some(latch)) => latch.worked(),
                (Err(error), _) if is_removed(&error) => return Err(Removed),
                (Err(error), Some(latch)) if sys::errno(&error) == libc::EINVAL => {
                    if latch.refused() {
                        tracing::warn!(
                            "the TUN device refuses joined packets: they are written one at a time"
                        );
                    }
                    let joined = write.ranges.iter().map(|range| &out.buffer[range.clone()]);
                    self.drops += write_singly(&self.file, write.header, joined);
                }
                (Err(_), _) => self.drops += write.ranges.len() as u64,
            }
        }
        let offloads = Offloads {
            tcp: self.tcp.is_usable(),
            udp: self.udp.is_usable(),
        };
        if offloads != self.offloads {
            self.offloads = offloads;
            self.coalescer = Coalescer::new(offloads);
        }
        Ok(())
    }

    /// The descriptor to poll, if this is for reading.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.reads.then(|| self.file.as_fd())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// One write of a header and the pieces of a packet.
fn write_vectored<'a, I: Iterator<Item = &'a [u8]>>(
    mut file: &File,
    header: &[u8],
    pieces: impl Fn() -> I,
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); 1 + MAX_SEGMENTS];
    slices[0] = IoSlice::new(header);
    let mut filled = 1;
    for (slice, piece) in iter::zip(&mut slices[1..], pieces()) {
        *slice = IoSlice::new(piece);
        filled += 1;
    }
    debug_assert_eq!(filled, 1 + pieces().count());
    loop {
        match file.write_vectored(&slices[..filled]) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes what was joined one by one after all; returns how many packets the kernel refused.
fn write_singly<'a>(
    file: &File,
    header: VirtioHeader,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> u64 {
    let mut joined = pieces.fold(Vec::new(), |mut joined, piece| {
        joined.extend_from_slice(piece);
        joined
    });
    let len = joined.len();
    let mut refused = 0;
    let split = offload::split(&header, &mut joined, len, |buffer, range| {
        let packet = &buffer[range];
        let header = VirtioHeader::default().encode();
        let written = write_vectored(file, &header, || iter::once(packet));
        refused += u64::from(written.is_err());
    });
    refused + u64::from(split.is_err())
}

fn is_removed(error: &io::Error) -> bool {
    matches!(sys::errno(error), libc::EBADFD | libc::ENODEV)
}

/// Whether the kernel can put a virtio header in front of every packet.
fn knows_vnet_hdr(file: &File) -> bool {
    let mut flags: c_int = 0;
    // SAFETY: the kernel writes one integer through a reference to one.
    let asked =
        sys::check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETFEATURES, &raw mut flags) });
    asked.is_ok() && flags & libc::IFF_VNET_HDR != 0
}

/// Sets the size of the virtio header, which a persistent interface may have from somebody else;
/// returns it.
fn set_header_size(file: &File) -> io::Result<usize> {
    let size = VirtioHeader::SIZE as c_int;
    // SAFETY: the kernel reads one integer from a reference to one.
    sys::check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })?;
    Ok(VirtioHeader::SIZE)
}

/// Lets the kernel hand us the super-packets among `features`, and takes out what it refuses.
fn enable_offloads(file: &File, features: &mut Features) {
    let offer = |features: &Features| {
        let mut flags = 0;
        if features.tun_tso {
            flags |= libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        }
        if features.tun_uso {
            flags |= libc::TUN_F_CSUM | libc::TUN_F_USO4 | libc::TUN_F_USO6;
        }
        // None is said, too: a persistent interface may have some from somebody else.
        let argument = libc::c_ulong::from(flags);
        // SAFETY: the argument is a value, not a pointer.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, argument) };
        sys::check(result).is_ok()
    };
    if offer(features) {
        return;
    }
    features.tun_uso = false;
    if offer(features) || !features.tun_tso {
        return;
    }
    features.tun_tso = false;
    tracing::warn!("the TUN device refuses offloads: packets are read one at a time");
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

/// The name that a request is about.
fn request_name(request: &libc::ifreq) -> String {
    let bytes = request.ifr_name.map(|byte| byte as u8);
    let len = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name::SIZE);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// A socket of this thread's namespace, for ioctls on its interfaces.
fn namespace_socket(name: &InterfaceName) -> Result<OwnedFd, Error> {
    sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM).map_err(Error::io(format!("setting up {name}")))
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

#[cfg(test)]
mod tests;

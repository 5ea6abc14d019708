//! The socket file: made for us alone, watched, and removed with the device.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::client::Client;
use super::seats::Seats;
use crate::device::Ended;
use crate::error::Error;
use crate::handed::HandedFd;
use crate::name::InterfaceName;
use crate::remote::Remote;
use crate::sys;

/// How often we look whether the file is still there.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How often we look whether a client that has a place can give way to one that waits for it.
const CROWDED_INTERVAL: Duration = Duration::from_millis(50);

/// A listening control socket, whose file goes with it.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    /// None for a socket that was handed over and has none that we see.
    file: Option<SocketFile>,
    seats: Arc<Seats>,
}

/// The socket's file.
struct SocketFile {
    path: PathBuf,
    /// Its device and inode: another file of the same name is not ours.
    identity: (u64, u64),
}

impl SocketFile {
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }
}

impl ControlSocket {
    /// Listens on `NAME.sock` in a directory, which is made if need be. A socket that a dead
    /// process left is replaced; a live one is refused.
    pub(crate) fn bind(directory: &Path, name: &InterfaceName) -> Result<Self, Error> {
        let path = directory.join(format!("{name}.sock"));
        Self::try_bind(directory, path.clone()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::InUse {
                what: format!("control socket {}", path.display()),
                remedy: "choose another interface name, or stop the program that has it",
            },
            _ => Error::io(format!("opening the control socket {}", path.display()))(error),
        })
    }

    fn try_bind(directory: &Path, path: PathBuf) -> io::Result<Self> {
        let directory = open_directory(directory)?;
        // Held until the socket is bound: of two devices that find a dead socket, one replaces it.
        sys::lock_exclusively(directory.as_fd())?;
        let address = unix_address(&path)?;
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
        // The file gets the mode that the socket has when it is bound (kernel unix_bind). The umask
        // would do too, but belongs to the whole process and all its threads.
        let socket = File::from(socket);
        socket.set_permissions(Permissions::from_mode(0o600))?;
        if let Err(error) = sys::bind(socket.as_fd(), &address) {
            if error.kind() != io::ErrorKind::AddrInUse || is_live(&path, &address)? {
                return Err(error);
            }
            fs::remove_file(&path)?;
            sys::bind(socket.as_fd(), &address)?;
        }
        let metadata = fs::symlink_metadata(&path)?;
        let socket = Self {
            listener: OwnedFd::from(socket).into(),
            file: Some(SocketFile {
                path,
                identity: identity(&metadata),
            }),
            seats: Seats::new()?,
        };
        if metadata.permissions().mode() & 0o7777 != 0o600 {
            return Err(io::Error::other("the file's mode is not 0600"));
        }
        sys::listen(socket.listener.as_fd())?;
        Ok(socket)
    }

    /// Takes over a socket that another program has bound; its file is ours from now on.
    pub(crate) fn take_over(handed: HandedFd) -> Result<Self, Error> {
        let number = handed.number;
        let refusal = |_| HandedFd::is_no(number, "Unix stream socket that can listen");
        let listener = UnixListener::from(handed.fd);
        let address = listener.local_addr().map_err(refusal)?;
        sys::listen(listener.as_fd()).map_err(refusal)?;
        let setting_up = || format!("setting up the control socket of descriptor {number}");
        listener
            .set_nonblocking(true)
            .map_err(Error::io(setting_up()))?;
        let file = address.as_pathname().and_then(|path| {
            Some(SocketFile {
                path: path.to_owned(),
                identity: identity(&fs::symlink_metadata(path).ok()?),
            })
        });
        Ok(Self {
            listener,
            file,
            seats: Seats::new().map_err(Error::io(setting_up()))?,
        })
    }

    /// Serves clients until the device has ended; ends it when the file is removed.
    pub(crate) fn serve(self, remote: &Remote) {
        let mut watched = true;
        let mut crowded = false;
        loop {
            self.seats.freed.lower();
            let wanted = [
                Some(remote.closing().as_fd()),
                Some(self.seats.freed.as_fd()),
                // Who waits for a place has said so already.
                (!crowded || !self.seats.is_full()).then(|| self.listener.as_fd()),
            ]
            .map(|descriptor| (descriptor, libc::POLLIN));
            let interval = if crowded {
                CROWDED_INTERVAL
            } else {
                WATCH_INTERVAL
            };
            let [closing, _, waiting] = match sys::poll(wanted, Some(interval)) {
                Ok(events) => events,
                Err(_) => {
                    // For want of memory; it may pass.
                    thread::sleep(WATCH_INTERVAL);
                    continue;
                }
            };
            if closing != 0 {
                return;
            }
            if watched && self.file.as_ref().is_some_and(|file| !file.is_there()) {
                watched = false;
                remote.end(Ended::SocketRemoved);
            }
            crowded = (crowded || waiting != 0) && self.seats.is_full();
            if crowded {
                self.seats.make_room();
            } else if waiting != 0
                && let Err(error) = self.accept(remote)
            {
                tracing::warn!("control socket: {error}");
                // Out of descriptors or threads: do not spin on it.
                thread::sleep(CROWDED_INTERVAL);
            }
        }
    }

    fn accept(&self, remote: &Remote) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let uid = sys::peer_uid(stream.as_fd())?;
        if uid != 0 && uid != sys::effective_uid() {
            tracing::warn!("control socket: user {uid} is not let in");
            return Ok(());
        }
        let seat = self.seats.take(&stream)?;
        let client = Client::new(stream, seat, remote.clone())?;
        thread::Builder::new()
            .name("uapi client".to_owned())
            .spawn(move || client.serve())
            .map(drop)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && file.is_there()
        {
            // Somebody may be quicker: then it is gone too.
            let _ = fs::remove_file(&file.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Opens the directory, and makes it first if need be. Nobody else may be able to put a socket of
/// theirs in the place of ours.
fn open_directory(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let is_trusted = metadata.uid() == 0 || metadata.uid() == sys::effective_uid();
    if !metadata.is_dir() || !is_trusted || metadata.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::other(
            "its directory must belong to root and be writable by no one else (chown root, chmod 755)",
        ));
    }
    File::open(path)
}

/// Whether somebody listens on a socket file. Anything else in its place is left alone too.
fn is_live(path: &Path, address: &[u8]) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other(
            "there is a file in its place that is no socket",
        ));
    }
    // Non-blocking: a full queue of clients that nobody accepts is a live one.
    let probe = sys::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    match sys::connect(probe.as_fd(), address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        _ => Ok(true),
    }
}

/// A `sockaddr_un`: the family, then the path with a zero at its end.
fn unix_address(path: &Path) -> io::Result<Vec<u8>> {
    let path: &OsStr = path.as_os_str();
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend(path.as_bytes());
    address.push(0);
    if address.len() > size_of::<libc::sockaddr_un>() {
        return Err(io::Error::other("its path is too long for a socket"));
    }
    Ok(address)
}

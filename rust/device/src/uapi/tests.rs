//! The control socket of a real device, spoken to as `wg` speaks.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::seats::MAX_CLIENTS;
use crate::device::{Device, DeviceConfig, Ended};
use crate::error::Error;
use crate::features::Features;
use crate::handed::Handed;
use crate::name::InterfaceName;
use crate::testing::{PATIENCE, TemporaryDirectory, run_isolated, wait_until, wait_until_gone};
use crate::tun::Tun;

const NAME: &str = "wgu0";
const KEY_A: &str = "a85bbc9f2cee3a6ae8fc5e0a9c3e9c5a1b5d7d3a6bd7bd3be1a53d2cf1ac6d4c";
const KEY_B: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
/// Clamped, so that it is read back as it was written.
const PRIVATE_KEY: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";

fn open(directory: &Path) -> Result<Device, Error> {
    Device::open_in(
        directory,
        &DeviceConfig {
            name: NAME.to_owned(),
            mtu: 1420,
            control_socket: true,
            workers: None,
            features: Features::default(),
        },
        Handed::default(),
    )
}

/// Runs `body` with a device and the path of its control socket.
fn with_device<T: Send>(body: impl FnOnce(&Device, &Path) -> T + Send) -> T {
    run_isolated(|| {
        let directory = TemporaryDirectory::new();
        let device = open(directory.path()).expect("a device");
        body(&device, &socket_path(directory.path()))
    })
}

fn socket_path(directory: &Path) -> PathBuf {
    directory.join(format!("{NAME}.sock"))
}

struct Connection(BufReader<UnixStream>);

impl Connection {
    fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("sent");
    }

    /// Reads an answer, up to the empty line.
    fn answer(&mut self) -> String {
        let mut answer = String::new();
        while self.0.read_line(&mut answer).expect("an answer") > 1 {}
        answer
    }

    fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.answer()
    }

    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            // What it did not read any more is why.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn get(path: &Path) -> String {
    Connection::open(path).ask("get=1\n\n")
}

fn set(path: &Path, lines: &str) -> String {
    Connection::open(path).ask(&format!("set=1\n{lines}\n\n"))
}

const OK: &str = "errno=0\n\n";

#[test]
fn what_is_set_is_got() {
    with_device(|device, path| {
        let port = device.snapshot().expect("running").listen_port;
        assert_eq!(get(path), format!("listen_port={port}\nerrno=0\n\n"));
        let lines = format!(
            "private_key={PRIVATE_KEY}\nfwmark=9\nreplace_peers=true\npublic_key={KEY_A}\n\
             preshared_key={KEY_B}\nprotocol_version=1\nendpoint=[2001:db8::7]:51820\n\
             persistent_keepalive_interval=65535\nreplace_allowed_ips=true\n\
             allowed_ip=10.1.2.3/8\nallowed_ip=2001:db8::/64\npublic_key={KEY_B}"
        );
        assert_eq!(set(path, &lines), OK);
        let zero = "0".repeat(64);
        let times = "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n";
        let got = get(path);
        // The keepalive that was switched on may have been sent already, or a handshake for it.
        let got = got
            .lines()
            .map(|line| {
                if line.starts_with("tx_bytes=") {
                    "tx_bytes=?"
                } else {
                    line
                }
            })
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(
            got,
            format!(
                "private_key={PRIVATE_KEY}\nlisten_port={port}\nfwmark=9\n\
                 public_key={KEY_A}\npreshared_key={KEY_B}\nprotocol_version=1\n\
                 endpoint=[2001:db8::7]:51820\n{times}tx_bytes=?\nrx_bytes=0\n\
                 persistent_keepalive_interval=65535\nallowed_ip=10.0.0.0/8\n\
                 allowed_ip=2001:db8::/64\n\
                 public_key={KEY_B}\npreshared_key={zero}\nprotocol_version=1\n{times}\
                 tx_bytes=?\nrx_bytes=0\npersistent_keepalive_interval=0\nerrno=0\n\n"
            )
        );
        let lines = format!(
            "private_key={zero}\nfwmark=0\npublic_key={KEY_A}\npreshared_key={zero}\n\
             allowed_ip=-10.0.0.0/8\npublic_key={KEY_B}\nremove=true\n\
             public_key={PRIVATE_KEY}\nupdate_only=true"
        );
        assert_eq!(set(path, &lines), OK);
        let after = device.snapshot().expect("running");
        assert!(after.private_key.is_none() && after.fwmark == 0);
        let [peer] = after.peers.as_slice() else {
            panic!("one peer: {:?}", after.peers);
        };
        assert!(peer.preshared_key.is_none());
        assert_eq!(peer.persistent_keepalive, 65535);
        assert_eq!(peer.allowed_ips.len(), 1);
    });
}

#[test]
fn a_connection_takes_many_operations_and_survives_a_bad_one() {
    with_device(|device, path| {
        let mut connection = Connection::open(path);
        let bad =
            format!("set=1\nfwmark=5\npublic_key={KEY_A}\nallowed_ip=10.0.0.0/99\nfwmark=6\n\n");
        assert_eq!(connection.ask(&bad), "errno=-22\n\n");
        assert_eq!(connection.ask("set=1\nnonsense\n\n"), "errno=-71\n\n");
        assert_eq!(connection.ask("get=1\nfwmark=5\n\n"), "errno=71\n\n");
        let unchanged = device.snapshot().expect("running");
        assert!(unchanged.fwmark == 0 && unchanged.peers.is_empty());
        // Two at once, and one in pieces.
        connection.send("set=1\nfwmark=5\n\nset=1\n");
        assert_eq!(connection.answer(), OK);
        connection.send("fwma");
        thread::sleep(Duration::from_millis(20));
        assert_eq!(connection.ask("rk=6\n\n"), OK);
        assert!(connection.ask("get=1\n\n").contains("\nfwmark=6\n"));
        // What is no operation ends the connection.
        assert_eq!(connection.ask("GET / HTTP/1.1\n"), "errno=71\n\n");
        assert!(connection.is_closed());
    });
}

#[test]
fn half_an_operation_changes_nothing() {
    with_device(|device, path| {
        for text in [
            format!("set=1\nfwmark=5\npublic_key={KEY_A}\n"),
            "set=1\nfwmark=5".to_owned(),
        ] {
            let mut connection = Connection::open(path);
            connection.send(&text);
            let stream = connection.0.get_ref();
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shut down");
            let mut answer = String::new();
            connection.0.read_to_string(&mut answer).expect("an end");
            assert_eq!(answer, "errno=71\n\n");
        }
        let unchanged = device.snapshot().expect("running");
        assert!(unchanged.fwmark == 0 && unchanged.peers.is_empty());
    });
}

#[test]
fn a_taken_port_is_told() {
    with_device(|device, path| {
        let taken = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let port = taken.local_addr().expect("an address").port();
        let lines = format!("fwmark=5\nlisten_port={port}");
        assert_eq!(
            set(path, &lines),
            format!("errno=-{}\n\n", libc::EADDRINUSE)
        );
        assert_eq!(device.snapshot().expect("running").fwmark, 0);
    });
}

/// As many as the kernel's own test gives to one peer (`netns.sh`: 255 * 256 * 2).
#[test]
fn very_many_allowed_ips_take_little_time() {
    with_device(|_, path| {
        let mut lines = format!("public_key={KEY_A}\nreplace_allowed_ips=true");
        for (i, j) in (0..255).flat_map(|i| (0..256).map(move |j| (i, j))) {
            write!(
                lines,
                "\nallowed_ip=10.0.{i}.{j}/32\nallowed_ip=abcd::{i:x}:{j:x}/128"
            )
            .expect("text");
        }
        let start = Instant::now();
        assert_eq!(set(path, &lines), OK);
        let got = get(path);
        assert_eq!(got.matches("\nallowed_ip=").count(), 255 * 256 * 2);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    });
}

#[test]
fn lines_and_bytes_have_a_limit() {
    with_device(|_, path| {
        let mut connection = Connection::open(path);
        connection.send(&format!("set=1\nendpoint={}", "1".repeat(16 << 10)));
        assert_eq!(connection.answer(), "errno=71\n\n");
        assert!(connection.is_closed());
        assert!(get(path).ends_with(OK), "the others go on");
    });
}

/// Those that stall, in every way, leave another its place and the worker its time.
#[test]
fn stalled_clients_stall_nobody() {
    with_device(|device, path| {
        let lines = (0..2000).fold(format!("public_key={KEY_A}"), |lines, i| {
            lines + &format!("\nallowed_ip=10.{}.{}.0/24", i / 256, i % 256)
        });
        assert_eq!(set(path, &lines), OK);
        let mut stalled: Vec<_> = ["set=1\n", "set=1\nfwmark=", "get=1\n", "se"]
            .into_iter()
            .map(|text| {
                let mut connection = Connection::open(path);
                connection.send(text);
                connection
            })
            .collect();
        // These ask for more than the socket's buffers hold, and do not read it.
        let mut deaf: Vec<_> = (0..3)
            .map(|_| {
                let mut connection = Connection::open(path);
                connection.send(&"get=1\n\n".repeat(200));
                connection
            })
            .collect();
        let mut between = Connection::open(path);
        assert!(between.ask("get=1\n\n").ends_with(OK));
        for _ in 0..20 {
            assert!(get(path).ends_with(OK));
            device.snapshot().expect("running");
        }
        // All of them are hung up on but who waits between two operations, and a device does not
        // wait for that when it ends.
        for connection in &mut stalled {
            assert!(connection.is_closed());
        }
        for connection in &mut deaf {
            let mut rest = Vec::new();
            let _ = connection.0.read_to_end(&mut rest);
        }
        assert!(between.ask("get=1\n\n").ends_with(OK));
        let mut open = Connection::open(path);
        open.send("set=1\n");
        device.close();
        assert!(open.is_closed());
    });
}

#[test]
fn whoever_is_silent_gives_way_to_whoever_waits() {
    with_device(|_, path| {
        let mut silent: Vec<_> = (0..MAX_CLIENTS).map(|_| Connection::open(path)).collect();
        // All have a place, and the first one was heard last.
        assert!(silent[MAX_CLIENTS - 1].ask("get=1\n\n").ends_with(OK));
        assert!(silent[0].ask("get=1\n\n").ends_with(OK));
        assert!(get(path).ends_with(OK));
        assert!(silent[1].is_closed());
        assert!(silent[0].ask("get=1\n\n").ends_with(OK));
    });
}

#[test]
fn the_file_is_for_its_owner_and_goes_with_the_device() {
    with_device(|device, path| {
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
        assert_eq!(mode(path), 0o600);
        device.close();
        assert!(!path.exists());
    });
    run_isolated(|| {
        let directory = TemporaryDirectory::new();
        let deeper = directory.path().join("run").join("wireguard");
        let device = open(&deeper).expect("a device");
        let mode = fs::metadata(&deeper).expect("made").permissions().mode();
        assert_eq!(mode & 0o022, 0);
        drop(device);
    });
}

#[test]
fn other_users_are_not_let_in() {
    with_device(|_, path| {
        // The mode alone keeps them out; the check behind it must hold by itself.
        let directory = path.parent().expect("it is in one");
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("mine");
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("mine");
        let path = path.to_owned();
        thread::spawn(move || {
            // SAFETY: no memory is handed over. The system call, unlike the C library's function
            // of the same name, is about this thread alone.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            if result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
                return; // in a user namespace of one's own there is nobody else
            }
            assert_eq!(result, 0, "this test needs root");
            let mut connection = Connection::open(&path);
            let _ = connection.0.get_mut().write_all(b"get=1\n\n");
            let mut answer = String::new();
            let _ = connection.0.read_to_string(&mut answer);
            assert_eq!(answer, "");
        })
        .join()
        .expect("kept out");
    });
}

#[test]
fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    run_isolated(|| {
        let directory = TemporaryDirectory::new();
        let path = socket_path(directory.path());
        let other = UnixListener::bind(&path).expect("a socket");
        let refused = open(directory.path()).err().expect("live");
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        assert!(path.exists());
        wait_until_gone(NAME);
        drop(other);
        wait_until("nobody listens", || UnixStream::connect(&path).is_err());
        let device = open(directory.path()).expect("the socket is dead");
        assert!(get(&path).ends_with(OK));
        drop(device);
        wait_until_gone(NAME);

        fs::write(&path, "not a socket").expect("written");
        let refused = open(directory.path()).err().expect("no socket").to_string();
        assert!(refused.contains("no socket"), "{refused}");
        assert_eq!(
            fs::read_to_string(&path).expect("left alone"),
            "not a socket"
        );
    });
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    run_isolated(|| {
        let directory = TemporaryDirectory::new();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("mine");
        let refused = open(directory.path()).err().expect("refused").to_string();
        assert!(refused.contains("chmod 755"), "{refused}");
        wait_until_gone(NAME);
    });
}

#[test]
fn removing_the_file_ends_the_device() {
    with_device(|device, path| {
        fs::remove_file(path).expect("removed");
        let ended = device.wait(Some(PATIENCE));
        assert_eq!(ended, Some(Ended::SocketRemoved));
        wait_until_gone(NAME);
    });
    // Another's file in its place is as good as none, and is not ours to remove.
    with_device(|device, path| {
        fs::remove_file(path).expect("removed");
        fs::write(path, "another's").expect("written");
        let ended = device.wait(Some(PATIENCE));
        assert_eq!(ended, Some(Ended::SocketRemoved));
        device.close();
        assert!(path.exists());
    });
}

/// What another program has opened, and its number.
fn handed(tun: Option<&impl AsRawFd>, control: Option<&impl AsRawFd>) -> Handed {
    Handed::duplicate(tun.map(AsRawFd::as_raw_fd), control.map(AsRawFd::as_raw_fd))
        .expect("they are open")
}

fn open_handed(handed: Handed) -> Result<Device, Error> {
    let config = DeviceConfig {
        name: "ignored".to_owned(),
        mtu: 1420,
        control_socket: false,
        workers: None,
        features: Features::default(),
    };
    Device::open_handed(&config, handed)
}

#[test]
fn what_is_handed_over_is_used() {
    run_isolated(|| {
        let directory = TemporaryDirectory::new();
        let path = directory.path().join("any");
        let name = InterfaceName::parse(NAME).expect("a name");
        let tun = Tun::open(&name, 1500, Features::default()).expect("an interface");
        let listener = UnixListener::bind(&path).expect("a socket");
        let device = open_handed(handed(Some(&tun.as_fd()), Some(&listener))).expect("a device");
        drop((tun, listener));
        assert_eq!(device.name(), NAME);
        let seen = device.snapshot().expect("running");
        assert_eq!((seen.name.as_str(), seen.mtu), (NAME, 1420));
        assert_eq!(seen.features, Features::default());
        assert_eq!(set(&path, "fwmark=7"), OK);
        assert!(get(&path).contains("\nfwmark=7\n"));
        fs::remove_file(&path).expect("removed");
        let ended = device.wait(Some(PATIENCE));
        assert_eq!(ended, Some(Ended::SocketRemoved));
        drop(device);
        wait_until_gone(NAME);
    });
}

#[test]
fn what_is_no_interface_and_no_socket_is_refused() {
    run_isolated(|| {
        let nothing = None::<&UdpSocket>;
        let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let number = other.as_raw_fd();
        for handed in [handed(Some(&other), nothing), handed(nothing, Some(&other))] {
            let refused = open_handed(handed).err().expect("refused").to_string();
            assert!(
                refused.starts_with(&format!("descriptor {number}: it is no ")),
                "{refused}"
            );
        }
        wait_until_gone("ignored");
        let refused = Handed::duplicate(Some(1 << 20), None).expect_err("not open");
        assert!(refused.to_string().starts_with("descriptor 1048576: "));
    });
}

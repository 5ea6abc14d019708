//! What tests need: network namespaces with interfaces and addresses that nobody else sees, and
//! directories.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::sys;

/// Runs `body` on a thread in a new network namespace, whose loopback is up.
pub(crate) fn run_isolated<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter();
            body()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A second namespace, which lives as long as this does.
pub(crate) struct Namespace {
    /// The thread that is in it, by the kernel's number.
    thread_id: libc::pid_t,
    jobs: Option<Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, received) = channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            enter();
            // SAFETY: no memory is handed over, and it cannot fail.
            tell.send(unsafe { libc::gettid() })
                .expect("the test waits");
            for job in received {
                job();
            }
        });
        Self {
            thread_id: told.recv().expect("a namespace"),
            jobs: Some(jobs),
            thread: Some(thread),
        }
    }

    /// What `ip link set ... netns` takes.
    pub(crate) fn id(&self) -> String {
        self.thread_id.to_string()
    }

    pub(crate) fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = Box::new(move || {
            let _ = tell.send(body());
        });
        self.jobs
            .as_ref()
            .expect("not dropped")
            .send(job)
            .expect("a thread");
        told.recv().expect("the job did not panic")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter() {
    // SAFETY: no memory is handed over; only this thread moves.
    let entered = sys::check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
    if let Err(error) = entered {
        panic!("this test makes a network namespace, which needs CAP_SYS_ADMIN: {error}");
    }
    ip("link set lo up");
}

/// Runs `ip` with these words, in the namespace of this thread.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.expect("this test needs `ip` (iproute2)");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {message}");
}

pub(crate) fn has_interface(name: &str) -> bool {
    sys::interface_index(name).is_some()
}

/// How long what must come to pass may take: others share the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must come to pass, but not at once: a child process that another test starts has
/// our descriptors, too, until it executes its program.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn wait_until_gone(interface: &str) {
    wait_until("the interface goes", || !has_interface(interface));
}

/// A new directory, removed when dropped.
pub(crate) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wgbind-device-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.expect("a new directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! Places for clients, each with a way to hang up on who has it: whoever stalls gives way to
//! whoever waits.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::device::lock;
use crate::sys::EventFd;

/// Clients that are served at the same time.
pub(super) const MAX_CLIENTS: usize = 32;

/// A client that nothing has gone to or come from for this long gives way to one that waits.
const PATIENCE: Duration = Duration::from_millis(500);

/// All places.
pub(super) struct Seats {
    taken: Mutex<Vec<Arc<Taken>>>,
    /// Raised when a place becomes free.
    pub(super) freed: EventFd,
    start: Instant,
}

struct Taken {
    stream: UnixStream,
    /// When bytes last went either way, in milliseconds since `start`.
    heard: AtomicU64,
}

/// A place that is taken until it is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    taken: Arc<Taken>,
}

impl Seats {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            taken: Mutex::default(),
            freed: EventFd::new()?,
            start: Instant::now(),
        }))
    }

    pub(super) fn is_full(&self) -> bool {
        lock(&self.taken).len() >= MAX_CLIENTS
    }

    /// Gives a place to the client of a connection.
    pub(super) fn take(self: &Arc<Self>, stream: &UnixStream) -> io::Result<Seat> {
        let taken = Arc::new(Taken {
            stream: stream.try_clone()?,
            heard: AtomicU64::new(self.now()),
        });
        lock(&self.taken).push(taken.clone());
        Ok(Seat {
            seats: self.clone(),
            taken,
        })
    }

    /// Hangs up on the client that is silent for longest, if it is so for long enough. Its place is
    /// free as soon as it has noticed.
    pub(super) fn make_room(&self) {
        let taken = lock(&self.taken);
        let longest = taken.iter().min_by_key(|taken| taken.heard());
        if let Some(longest) = longest
            && self.now().saturating_sub(longest.heard()) >= PATIENCE.as_millis() as u64
        {
            tracing::debug!("control socket: hanging up on a silent client: others wait");
            // It fails only if the client has hung up already.
            let _ = longest.stream.shutdown(Shutdown::Both);
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl Taken {
    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Notes that bytes went either way.
    pub(super) fn hear(&self) {
        self.taken.heard.store(self.seats.now(), Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.taken).retain(|taken| !Arc::ptr_eq(taken, &self.taken));
        self.seats.freed.raise();
    }
}

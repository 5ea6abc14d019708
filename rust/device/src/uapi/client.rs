//! One client of the control socket: its operations, one after the other.

use std::ffi::c_short;
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::str;
use std::time::Duration;

use zeroize::Zeroizing;

use super::apply::{self, GetError};
use super::parse::{Refusal, SetParser};
use super::seats::Seat;
use crate::remote::Remote;
use crate::sys;

/// A client that is silent for this long in the middle of an operation is hung up on. Between two
/// operations it may be silent for as long as nobody waits for its place.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// Bytes of one operation. A peer with 130,560 allowed IPs, which the kernel's own tests use, is
/// 4 MB.
const MAX_OPERATION: usize = 64 << 20;

/// Bytes that are read or written at once; no line is longer.
const CHUNK: usize = 16 << 10;

pub(super) struct Client {
    stream: UnixStream,
    seat: Seat,
    remote: Remote,
    /// Whether an operation has begun and is not answered yet.
    is_busy: bool,
    /// Keys pass through here: wiped when dropped.
    input: Zeroizing<[u8; CHUNK]>,
    /// What of the input was not taken yet.
    unread: Range<usize>,
}

impl Client {
    pub(super) fn new(stream: UnixStream, seat: Seat, remote: Remote) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            seat,
            remote,
            is_busy: false,
            input: Zeroizing::new([0; CHUNK]),
            unread: 0..0,
        })
    }

    /// Serves operations until the client hangs up, breaks the protocol or falls silent. One that
    /// breaks the protocol is told so: `wg` reads digits only after a `get`, so the number is not
    /// negative.
    pub(super) fn serve(mut self) {
        if let Err(error) = self.try_serve() {
            if error.kind() == io::ErrorKind::InvalidData {
                let _ = self.answer(libc::EPROTO);
            }
            tracing::debug!("control socket: hanging up: {error}");
        }
    }

    fn try_serve(&mut self) -> io::Result<()> {
        while let Some(operation) = self.line()? {
            let is_get = match operation {
                "get=1" => true,
                "set=1" => false,
                _ => return Err(invalid("neither get=1 nor set=1")),
            };
            self.is_busy = true;
            if is_get {
                self.get()?;
            } else {
                self.set()?;
            }
            self.is_busy = false;
        }
        Ok(())
    }

    fn get(&mut self) -> io::Result<()> {
        let parsed = self.operation(|_| Err(Refusal::protocol("get=1 takes no lines")))?;
        let remote = self.remote.clone();
        let mut out = Output::new(self);
        let answered = match parsed {
            Ok(()) => apply::get(&remote, &mut out),
            Err(refusal) => Err(GetError::Refused(refusal)),
        };
        match answered {
            Ok(()) => out.finish(0),
            // `wg` reads digits only here, so the number is not negative.
            Err(GetError::Refused(refusal)) => {
                log(&refusal);
                out.finish(refusal.errno)
            }
            Err(GetError::Unheard) => Err(out.error()),
        }
    }

    fn set(&mut self) -> io::Result<()> {
        let mut parser = SetParser::default();
        let parsed = self.operation(|line| parser.line(line))?;
        match parsed.and_then(|()| apply::set(&self.remote, parser)) {
            Ok(()) => self.answer(0),
            Err(refusal) => {
                log(&refusal);
                // Negative, as wireguard-go has it; `wg` takes either.
                self.answer(-refusal.errno)
            }
        }
    }

    /// Hands the lines of an operation to `take`, up to the empty line at its end. After a
    /// refusal the rest is read and forgotten, so that the next operation starts where it should.
    fn operation(
        &mut self,
        mut take: impl FnMut(&str) -> Result<(), Refusal>,
    ) -> io::Result<Result<(), Refusal>> {
        let mut result = Ok(());
        let mut len = 0;
        loop {
            let Some(line) = self.line()? else {
                // Half an operation is none.
                return Err(invalid("the end came before the empty line"));
            };
            if line.is_empty() {
                return Ok(result);
            }
            len += line.len() + 1;
            if result.is_ok() {
                result = take(line);
            }
            if len > MAX_OPERATION {
                return Err(invalid("the operation is too long"));
            }
        }
    }

    /// The next line, without its end; none at the end of the input.
    fn line(&mut self) -> io::Result<Option<&str>> {
        let mut searched = 0;
        loop {
            let unread = &self.input[self.unread.clone()];
            if let Some(len) = unread[searched..].iter().position(|byte| *byte == b'\n') {
                let start = self.unread.start;
                let end = start + searched + len;
                self.unread.start = end + 1;
                let line = str::from_utf8(&self.input[start..end]);
                return line.map(Some).map_err(|_| invalid("a line is not text"));
            }
            searched = unread.len();
            if self.fill()? == 0 {
                return if searched == 0 {
                    Ok(None)
                } else {
                    Err(invalid("the end came in the middle of a line"))
                };
            }
        }
    }

    /// Reads more behind what was not taken yet; returns how much.
    fn fill(&mut self) -> io::Result<usize> {
        self.input.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.unread.end == CHUNK {
            return Err(invalid("a line is too long"));
        }
        loop {
            match self.stream.read(&mut self.input[self.unread.end..]) {
                Ok(read) => {
                    self.seat.hear();
                    self.unread.end += read;
                    return Ok(read);
                }
                Err(error) => self.wait_after(error, libc::POLLIN)?,
            }
        }
    }

    fn answer(&mut self, errno: i32) -> io::Result<()> {
        self.write_all(format!("errno={errno}\n\n").as_bytes())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => {
                    self.seat.hear();
                    bytes = &bytes[written..];
                }
                Err(error) => self.wait_after(error, libc::POLLOUT)?,
            }
        }
        Ok(())
    }

    /// Waits for the client to come along, if that is what the error is about.
    fn wait_after(&self, error: io::Error, event: c_short) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => {}
            _ => return Err(error),
        }
        let wanted = [
            (Some(self.stream.as_fd()), event),
            (Some(self.remote.closing().as_fd()), libc::POLLIN),
        ];
        let begun = self.is_busy || !self.unread.is_empty();
        match sys::poll(wanted, begun.then_some(MAX_SILENCE))? {
            [_, closing] if closing != 0 => Err(io::Error::other("the device has ended")),
            [0, _] => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

/// An answer on its way to a client, in chunks that are wiped when dropped.
struct Output<'a> {
    client: &'a mut Client,
    chunk: Zeroizing<[u8; CHUNK]>,
    len: usize,
    error: Option<io::Error>,
}

impl<'a> Output<'a> {
    fn new(client: &'a mut Client) -> Self {
        Self {
            client,
            chunk: Zeroizing::new([0; CHUNK]),
            len: 0,
            error: None,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let len = std::mem::take(&mut self.len);
        self.client.write_all(&self.chunk[..len])
    }

    fn finish(mut self, errno: i32) -> io::Result<()> {
        self.flush()?;
        self.client.answer(errno)
    }

    /// Why `write_str` failed.
    fn error(self) -> io::Error {
        self.error
            .unwrap_or_else(|| io::ErrorKind::WriteZero.into())
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(CHUNK) {
            if self.len + piece.len() > CHUNK
                && let Err(error) = self.flush()
            {
                self.error = Some(error);
                return Err(fmt::Error);
            }
            self.chunk[self.len..][..piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        Ok(())
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn log(refusal: &Refusal) {
    tracing::debug!("control socket: {}", refusal.message);
}

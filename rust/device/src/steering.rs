//! Programs for the kernel that pick a worker's socket or queue.
//!
//! Both are pure functions of what is in a packet, so that the packets of one flow always take the
//! same way and stay in order. The kernel's own way to pick a TUN queue moves flows from queue to
//! queue as it learns (`tun_flow_update`), which may reorder them.

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use wgbind_tunnel::share::{SPREAD, SPREAD_SHIFT};

use crate::sys;

/// Gives the datagrams of a `SO_REUSEPORT` group to their sockets, which joined it in order: data to
/// that of its worker, as [`wgbind_tunnel::Share::owner_of_index`] says, and all else to the
/// porter's, which is the last one.
pub(crate) fn steer_datagrams(socket: BorrowedFd<'_>, workers: usize) -> io::Result<()> {
    use libc::{BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MOD, BPF_RET};
    let workers = workers as u32;
    let code = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The bytes are those of the UDP payload. Loading what is not there ends with 0.
    let load_byte = |at| code(BPF_LD | BPF_B | BPF_ABS, 0, 0, at);
    let mut program = [
        load_byte(0),
        code(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 4),
        code(BPF_RET | BPF_K, 0, 0, workers),
        // The top byte of the receiver index.
        load_byte(7),
        code(BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers),
        code(BPF_RET | BPF_A, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: program.len() as _,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program's `len` instructions, which outlive the call.
    sys::check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Gives packets to the TUN queues of their workers, which were opened in order, as
/// [`wgbind_tunnel::Share::owner_of_address`] says. Needs CAP_BPF.
pub(crate) fn steer_packets(queue: BorrowedFd<'_>, workers: usize) -> io::Result<()> {
    let program = load(&packet_program(workers))?;
    let fd = program.as_raw_fd();
    // SAFETY: the kernel reads one integer from a reference to one. It keeps the program.
    sys::check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETSTEERINGEBPF, &fd) }).map(drop)
}

/// An instruction of extended BPF (`struct bpf_insn`, linux/bpf.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones; the other way round on big-endian
    /// machines, where only equal halves mean the same.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The bytes of a packet begin with its IP header; loading what is not there ends with 0.
fn packet_program(workers: usize) -> [Instruction; 11] {
    // linux/bpf_common.h and linux/bpf.h
    const MOVE_64: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
    const LOAD_BYTE: u8 = 0x30; // BPF_LD | BPF_ABS | BPF_B, into register 0
    const LOAD_WORD: u8 = 0x20; // BPF_LD | BPF_ABS | BPF_W, into register 0
    const SHIFT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
    const MULTIPLY: u8 = 0x24; // BPF_ALU | BPF_MUL | BPF_K
    const MODULO: u8 = 0x94; // BPF_ALU | BPF_MOD | BPF_K
    const JUMP_IF_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
    const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT
    let (context, argument) = (6, 1);
    let registers = if cfg!(target_endian = "little") {
        argument << 4 | context
    } else {
        context << 4 | argument
    };
    let code = |code, offset, immediate| Instruction {
        code,
        registers: 0,
        offset,
        immediate,
    };
    [
        // Loads from the packet want the context in register 6.
        Instruction {
            registers,
            ..code(MOVE_64, 0, 0)
        },
        // The version, then the low 32 bits of the destination address.
        code(LOAD_BYTE, 0, 0),
        code(SHIFT, 0, 4),
        code(JUMP_IF_EQUAL, 2, 6),
        code(LOAD_WORD, 0, 16),
        code(JUMP, 1, 0),
        code(LOAD_WORD, 0, 36),
        code(MULTIPLY, 0, SPREAD.cast_signed()),
        code(SHIFT, 0, SPREAD_SHIFT.cast_signed()),
        code(MODULO, 0, workers as i32),
        code(EXIT, 0, 0),
    ]
}

/// Loads a program of the type that a TUN device takes.
fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    /// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
    #[repr(C)]
    struct Attributes {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    const BPF_PROG_LOAD: c_long = 5;
    const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
    let attributes = Attributes {
        program_type: BPF_PROG_TYPE_SOCKET_FILTER,
        count: program.len() as u32,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: c"MIT".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads as many bytes of the attributes as it is told, `count`
    // instructions and a text with a zero at its end; all outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    let fd = sys::check(result as i32)?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests;

//! Accesses to memory that may fault: by instructions that are made again once the fault is resolved.
use super::{here, native};
use crate::addr::Vaddr;
use crate::fault::{self, Access, FaultOutcome, PageFault};
use crate::layout::{upper_half, user_top};

pub use native::user::Word;

/// Who makes an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// User code.
    User,
    /// The kernel, in user memory, on behalf of user code.
    Kernel,
    /// The kernel, at its own addresses.
    Supervisor,
}

impl Mode {
    /// How many of `len` bytes from `va` on are in the half of the addresses that these accesses are for.
    fn inside(self, va: Vaddr, len: usize) -> usize {
        match self {
            Mode::User | Mode::Kernel => len.min(user_top().saturating_sub(va.0)),
            // Kernel space ends with the last address.
            Mode::Supervisor if va.0 >= upper_half() => len.min(va.0.wrapping_neg()),
            Mode::Supervisor => 0,
        }
    }
}

/// How far an access to many bytes came, and why not further.
type Progress = (usize, Result<(), PageFault>);

/// What stopped an access.
pub struct Trap {
    /// The address that could not be accessed.
    pub addr: Vaddr,
    /// What the access wanted.
    pub access: Access,
    /// There is an entry, which forbids it.
    pub present: bool,
}

/// Has a trap resolved; nobody is asked about one at the kernel's own addresses.
#[cold]
fn resolve(mode: Mode, trap: &Trap) -> Result<(), PageFault> {
    here().faults.count();
    let Trap { addr, access, present } = *trap;
    let fault = PageFault { addr, access, present, user: mode == Mode::User };
    if mode == Mode::Supervisor {
        return Err(fault);
    }
    match fault::deliver(&fault) {
        FaultOutcome::Resolved => Ok(()),
        FaultOutcome::Unresolved => Err(fault),
    }
}

/// The fault of an access that is not in its half of the addresses: nobody is asked.
#[cold]
fn outside(mode: Mode, addr: Vaddr, access: Access) -> PageFault {
    PageFault { addr, access, present: false, user: mode == Mode::User }
}

/// Does `piece` with what is done and what is left, until all `len` bytes are done; it says how many it did and what
/// stopped it.
fn transfer(
    mode: Mode,
    va: Vaddr,
    len: usize,
    access: Access,
    mut piece: impl FnMut(usize, usize) -> (usize, Option<Trap>),
) -> Progress {
    let inside = mode.inside(va, len);
    let mut done = 0;
    while done < inside {
        let (more, trap) = piece(done, inside - done);
        done += more;
        if let Some(trap) = trap
            && let Err(fault) = resolve(mode, &trap)
        {
            return (done, Err(fault));
        }
    }
    if done < len {
        return (done, Err(outside(mode, Vaddr(va.0.wrapping_add(done)), access)));
    }
    (done, Ok(()))
}

/// Reads memory that may fault.
///
/// # Safety
/// 1. `dst` can be written for `len` bytes.
pub(crate) unsafe fn read(mode: Mode, dst: *mut u8, src: Vaddr, len: usize) -> Progress {
    transfer(mode, src, len, Access::Read, |done, left| {
        // SAFETY: `done + left` is at most `len`, duty 1; the other side may fault.
        unsafe { native::user::copy(dst.add(done).expose_provenance(), src.0 + done, left, src.0 + done) }
    })
}

/// Writes memory that may fault.
///
/// # Safety
/// 1. `src` can be read for `len` bytes.
pub(crate) unsafe fn write(mode: Mode, dst: Vaddr, src: *const u8, len: usize) -> Progress {
    transfer(mode, dst, len, Access::Write, |done, left| {
        // SAFETY: `done + left` is at most `len`, duty 1; the other side may fault.
        unsafe { native::user::copy(dst.0 + done, src.add(done).expose_provenance(), left, dst.0 + done) }
    })
}

/// Fills memory that may fault.
pub(crate) fn fill(mode: Mode, dst: Vaddr, byte: u8, len: usize) -> Progress {
    transfer(mode, dst, len, Access::Write, |done, left| {
        // SAFETY: the bytes are in the half of the mode, and may fault.
        unsafe { native::user::fill(dst.0 + done, byte, left) }
    })
}

/// Looks whether an address can be accessed. An instruction is not fetched: the tables are read for it, and no bit is
/// set in them.
pub(crate) fn touch(mode: Mode, va: Vaddr, access: Access) -> Result<(), PageFault> {
    let word = |va| -> Result<(), Trap> {
        match native::probe(va, access) {
            None => Ok(()),
            Some(present) => Err(Trap { addr: va, access, present }),
        }
    };
    one(mode, va, access, || word(va))
}

/// Makes one access until it does not fault.
fn one<R>(
    mode: Mode,
    va: Vaddr,
    access: Access,
    mut attempt: impl FnMut() -> Result<R, Trap>,
) -> Result<R, PageFault> {
    if mode.inside(va, 1) == 0 {
        return Err(outside(mode, va, access));
    }
    loop {
        match attempt() {
            Ok(result) => return Ok(result),
            Err(trap) => resolve(mode, &trap)?,
        }
    }
}

// Words are aligned: one that begins in a half of the addresses ends there.
pub(crate) fn load_word<W: Word>(mode: Mode, va: Vaddr) -> Result<W, PageFault> {
    // SAFETY: the word is in the half of the mode, and may fault.
    one(mode, va, Access::Read, || unsafe { W::load(va.0) })
}

pub(crate) fn store_word<W: Word>(mode: Mode, va: Vaddr, value: W) -> Result<(), PageFault> {
    // SAFETY: as in `load_word`.
    one(mode, va, Access::Write, || unsafe { W::store(va.0, value) })
}

pub(crate) fn compare_exchange<W: Word>(
    mode: Mode,
    va: Vaddr,
    current: W,
    new: W,
) -> Result<Result<W, W>, PageFault> {
    // SAFETY: as in `load_word`.
    let before = one(mode, va, Access::Write, || unsafe { W::exchange(va.0, current, new) })?;
    Ok(if before == current { Ok(before) } else { Err(before) })
}

pub(crate) fn fetch_add<W: Word>(mode: Mode, va: Vaddr, value: W) -> Result<W, PageFault> {
    // SAFETY: as in `load_word`.
    one(mode, va, Access::Write, || unsafe { W::add(va.0, value) })
}

//! The model of the page-table walker, which the proofs of page tables refer to and the hosted machine executes.
//!
//! Intel SDM vol. 3, section 5.5.4 (four-level paging), and the RISC-V privileged specification, section 4.3.2 (virtual
//! address translation process), for any number of levels and any size of node. Addresses are canonical: both
//! processors check that before they walk.
#[cfg(verus_keep_ghost)]
use crate::ptword::WalkerFormat;
use vstd::prelude::*;

verus! {

/// The shape that a walker is made for.
pub ghost struct WalkerShape {
    /// Bits of the address that choose an entry in a node.
    pub index_bits: nat,
    /// Entries in a node.
    pub entries: nat,
    /// The highest level at which an entry may map a page.
    pub max_leaf_level: nat,
}

/// What a walk may be used for.
pub ghost struct Rights {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// For user mode.
    pub user: bool,
    /// For fetching instructions.
    pub execute: bool,
}

impl Rights {
    /// What both allow.
    pub open spec fn and(self, other: Rights) -> Rights {
        Rights {
            read: self.read && other.read,
            write: self.write && other.write,
            user: self.user && other.user,
            execute: self.execute && other.execute,
        }
    }
}

/// What a walker makes of a word.
pub ghost enum Step {
    /// A fault.
    Fault,
    /// A page at this physical address.
    Page(nat, Rights),
    /// The node at this physical address.
    Node(nat, Rights),
}

/// The address bits of an x86-64 entry.
pub open spec fn x86_64_address(e: u64) -> nat {
    (e & 0x000f_ffff_ffff_f000) as nat
}

/// The step of a walker of x86-64.
pub open spec fn x86_64_step(e: u64, l: nat, shape: WalkerShape) -> Step {
    let rights = Rights { read: true, write: e & 2 != 0, user: e & 4 != 0, execute: e & 0x8000_0000_0000_0000 == 0 };
    if e & 1 == 0 {
        Step::Fault
    } else if l == 1 || (l <= shape.max_leaf_level && e & 0x80 != 0) {
        Step::Page(x86_64_address(e), rights)
    } else if e & 0x80 != 0 {
        // A reserved bit is set.
        Step::Fault
    } else {
        Step::Node(x86_64_address(e), rights)
    }
}

/// The address that a RISC-V entry names: the page number in bits 10 to 53.
pub open spec fn riscv_address(e: u64) -> nat {
    ((e & 0x003f_ffff_ffff_fc00) << 2) as nat
}

/// Bits or encodings that are reserved are in the word: write without read, bits 54 to 60, bit 63 (Svnapot, which no
/// format here uses), and the memory types that are none.
pub open spec fn riscv_reserved(svpbmt: bool, e: u64) -> bool {
    ||| e & 6 == 4
    ||| e & 0x9fc0_0000_0000_0000 != 0
    ||| if svpbmt { e & 0x6000_0000_0000_0000 == 0x6000_0000_0000_0000 } else { e & 0x6000_0000_0000_0000 != 0 }
}

/// The step of a walker of RISC-V: V, R, W, X and U are bits 0 to 4, A and D bits 6 and 7. `read` is what a load
/// needs with `sstatus.MXR` clear, and `user` is whose page it is: the kernel reaches it with `sstatus.SUM` set alone.
/// A hart without Svadu asks more after the walk: A set, and D for a write, which is software's to note.
pub open spec fn riscv_step(svpbmt: bool, e: u64, l: nat, shape: WalkerShape) -> Step {
    if e & 1 == 0 || riscv_reserved(svpbmt, e) {
        Step::Fault
    } else if e & 0xe == 0 {
        // In a link U, A, D and the memory type are reserved.
        if l <= 1 || e & 0x6000_0000_0000_00d0 != 0 { Step::Fault } else { Step::Node(riscv_address(e), all_rights()) }
    } else if l > shape.max_leaf_level || riscv_address(e) % entry_bytes(shape, l) != 0 {
        // Of no page size, or misaligned.
        Step::Fault
    } else {
        Step::Page(
            riscv_address(e),
            Rights { read: e & 2 != 0, write: e & 4 != 0, user: e & 0x10 != 0, execute: e & 8 != 0 },
        )
    }
}

/// Bytes below an entry of level `l`.
pub open spec fn entry_bytes(shape: WalkerShape, l: nat) -> nat
    decreases l,
{
    if l <= 1 { 4096 } else { shape.entries * entry_bytes(shape, (l - 1) as nat) }
}

/// The entry that a walker reads at level `l`.
pub open spec fn walker_index(shape: WalkerShape, va: usize, l: nat) -> nat {
    ((va >> ((12 + shape.index_bits * (l - 1)) as usize)) as nat) % shape.entries
}

/// Where the walker finds a byte, and what may be done with it: it reads the node of level `l` at `base` in `mem`
/// (the word at a physical address), having come down with `rights`.
pub open spec fn walk<F: WalkerFormat>(mem: spec_fn(nat) -> u64, shape: WalkerShape, base: nat, va: usize, l: nat, rights: Rights) -> Option<(nat, Rights)>
    decreases l,
{
    if l == 0 {
        None
    } else {
        match F::step(mem(base + 8 * walker_index(shape, va, l)), l, shape) {
            Step::Fault => None,
            Step::Page(pa, r) => Some(((pa + va as nat % entry_bytes(shape, l)) as nat, rights.and(r))),
            Step::Node(pa, r) => walk::<F>(mem, shape, pa, va, (l - 1) as nat, rights.and(r)),
        }
    }
}

/// Rights with which a walk starts.
pub open spec fn all_rights() -> Rights {
    Rights { read: true, write: true, user: true, execute: true }
}

} // verus!

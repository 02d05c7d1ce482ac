//! The model of the page-table walker, which the proofs of page tables refer to and the hosted machine executes.
//!
//! Intel SDM vol. 3, section 5.5.4 (four-level paging), for any number of levels and any size of node.
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
    /// For writing.
    pub write: bool,
    /// For user mode.
    pub user: bool,
    /// For fetching instructions.
    pub execute: bool,
}

/// The address bits of an entry.
pub open spec fn entry_address(e: u64) -> nat {
    (e & 0x000f_ffff_ffff_f000) as nat
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
pub open spec fn walk(mem: spec_fn(nat) -> u64, shape: WalkerShape, base: nat, va: usize, l: nat, rights: Rights) -> Option<(nat, Rights)>
    decreases l,
{
    let e = mem(base + 8 * walker_index(shape, va, l));
    let rights = Rights {
        write: rights.write && e & 2 != 0,
        user: rights.user && e & 4 != 0,
        execute: rights.execute && e & 0x8000_0000_0000_0000 == 0,
    };
    if l == 0 || e & 1 == 0 {
        None
    } else if l == 1 || (l <= shape.max_leaf_level && e & 0x80 != 0) {
        Some(((entry_address(e) + va as nat % entry_bytes(shape, l)) as nat, rights))
    } else if e & 0x80 != 0 {
        // A reserved bit is set: a fault.
        None
    } else {
        walk(mem, shape, entry_address(e), va, (l - 1) as nat, rights)
    }
}

/// Rights with which a walk starts.
pub open spec fn all_rights() -> Rights {
    Rights { write: true, user: true, execute: true }
}

} // verus!

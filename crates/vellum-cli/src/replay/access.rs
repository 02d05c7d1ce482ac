//! What user code does to pages, and what must come of it.

use vellum_machine::addr::Vaddr;
use vellum_machine::user;

use crate::model::{Contents, Words};
use crate::strace::PAGE;

/// Where the last of the words of a page is.
const TAIL: u64 = PAGE - 8;

/// An access of user code to a page, with what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load, which must find these contents.
    Load(u64, Contents),
    /// A store of these contents, which must succeed.
    Store(u64, Contents),
    /// A store of the last word that these contents, which are there, have anyway.
    Rewrite(u64, Contents),
    /// A load, which must fault.
    LoadRefused(u64),
    /// A store, which must fault.
    StoreRefused(u64),
}

/// An access that did not end as it had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A load faulted for good.
    #[error("a load from {at:#x} faulted; it had to find {expected}")]
    LoadFaulted {
        /// The address.
        at: u64,
        /// What it had to find.
        expected: Contents,
    },
    /// A store faulted for good.
    #[error("a store to {at:#x} faulted; it had to be let through")]
    StoreFaulted {
        /// The address.
        at: u64,
    },
    /// A load was let through.
    #[error("a load from {at:#x} was let through; it had to fault")]
    LoadAllowed {
        /// The address.
        at: u64,
    },
    /// A store was let through.
    #[error("a store to {at:#x} was let through; it had to fault")]
    StoreAllowed {
        /// The address.
        at: u64,
    },
    /// A load found something else.
    #[error("a load from {at:#x} found {found:x?}; it had to find {expected}")]
    Contents {
        /// The address.
        at: u64,
        /// What it had to find.
        expected: Contents,
        /// What it found.
        found: Words,
    },
}

fn va(at: u64) -> Vaddr {
    Vaddr(at as usize)
}

impl Access {
    /// The page.
    pub fn at(self) -> u64 {
        match self {
            Access::Load(at, _)
            | Access::Store(at, _)
            | Access::Rewrite(at, _)
            | Access::LoadRefused(at)
            | Access::StoreRefused(at) => at,
        }
    }

    /// Has the calling processor do it, in the space that is active there.
    pub(super) fn perform(self) -> Result<(), AccessError> {
        match self {
            Access::Load(at, expected) => {
                let found = load(at).ok_or(AccessError::LoadFaulted { at, expected })?;
                if found == expected.words() {
                    Ok(())
                } else {
                    Err(AccessError::Contents { at, expected, found })
                }
            }
            Access::Store(at, contents) => {
                store(at, contents.words()).ok_or(AccessError::StoreFaulted { at })
            }
            Access::Rewrite(at, contents) => {
                let [.., last] = contents.words();
                user::store_u64(va(at + TAIL), last).map_err(|_| AccessError::StoreFaulted { at })
            }
            Access::LoadRefused(at) => match user::load_u64(va(at)) {
                Ok(_) => Err(AccessError::LoadAllowed { at }),
                Err(_) => Ok(()),
            },
            Access::StoreRefused(at) => match user::store_u64(va(at + TAIL), 0) {
                Ok(()) => Err(AccessError::StoreAllowed { at }),
                Err(_) => Ok(()),
            },
        }
    }
}

fn load(at: u64) -> Option<Words> {
    let mut head = [0; 32];
    user::load(va(at), &mut head).ok()?;
    let mut words = Words::default();
    for (word, bytes) in words.iter_mut().zip(head.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    words[4] = user::load_u64(va(at + TAIL)).ok()?;
    Some(words)
}

fn store(at: u64, words: Words) -> Option<()> {
    let mut head = [0; 32];
    for (bytes, word) in head.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    user::store(va(at), &head).ok()?;
    user::store_u64(va(at + TAIL), words[4]).ok()
}

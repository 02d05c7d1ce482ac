//! How what the machine shows can differ from the model.

use super::pages::{Contents, OnWrite, Rights, Words};

/// A page at which the machine and the model differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The model has a page that the machine does not have.
    #[error("no page is mapped at {at:#x}, where one has to be")]
    Missing {
        /// Its address.
        at: u64,
    },
    /// The machine has a page that the model does not have.
    #[error("a page is mapped at {at:#x}, where none may be")]
    Surplus {
        /// Its address.
        at: u64,
    },
    /// It allows something else.
    #[error("the page at {at:#x} allows {seen:?} in place of {expected:?}")]
    Rights {
        /// Its address.
        at: u64,
        /// What it has to allow.
        expected: Rights,
        /// What it allows.
        seen: Rights,
    },
    /// It has another mark for copy-on-write.
    #[error("the page at {at:#x} is marked {seen:?} in place of {expected:?}")]
    OnWrite {
        /// Its address.
        at: u64,
        /// Its mark in the model.
        expected: OnWrite,
        /// Its mark in the machine.
        seen: OnWrite,
    },
    /// It holds something else.
    #[error("the page at {at:#x} holds {seen:x?} in place of {expected}")]
    Contents {
        /// Its address.
        at: u64,
        /// What it has to hold.
        expected: Contents,
        /// Its words.
        seen: Words,
    },
    /// It was used, and the entry does not say so.
    #[error("the page at {at:#x} was {what}, and its entry does not say so")]
    LostBit {
        /// Its address.
        at: u64,
        /// How it was used.
        what: &'static str,
    },
    /// Pages that have to be apart share a frame.
    #[error("the page at {at:#x} of space {space} shares the frame {frame:#x} with a page of other contents")]
    SharedFrame {
        /// The space.
        space: u32,
        /// Its address.
        at: u64,
        /// The frame.
        frame: u64,
    },
    /// Pages that have to share a frame are apart.
    #[error("the page at {at:#x} of space {space} is in the frame {frame:#x}, apart from its other mappings")]
    SplitFrame {
        /// The space.
        space: u32,
        /// Its address.
        at: u64,
        /// The frame.
        frame: u64,
    },
}

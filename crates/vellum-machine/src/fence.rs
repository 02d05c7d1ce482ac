//! TRUSTED: a pair of fences of which one costs nothing.
//!
//! Between [`light`] on one processor and [`heavy`] on another the same holds as between two sequentially consistent
//! fences: if each writes something before its fence and reads what the other wrote after it, at least one of the
//! two sees the other's write. [`light`] is for what happens all the time, [`heavy`] for what happens seldom: it
//! makes every other processor pass a fence.
use crate::arch::imp;

/// Orders what this processor wrote before against what it reads afterwards, for a [`heavy`] fence elsewhere.
///
/// Two light fences order nothing between them.
#[inline(always)]
pub fn light() {
    imp::fence::light();
}

/// Orders what this processor wrote before against what it reads afterwards, for light fences elsewhere.
///
/// It takes the time of an interrupt to every processor, and waits for no code that runs there.
pub fn heavy() {
    imp::fence::heavy();
}

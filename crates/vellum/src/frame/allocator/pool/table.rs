//! Ranges of frames in a table of chunks.
use super::bits::*;
use super::chunk::*;
use vstd::prelude::*;

verus! {

/// Chunks of a table that count: those of 2<sup>32</sup> frames, 16 TiB.
pub(super) const MAX_CHUNKS: usize = 1 << 23;

/// Returns how many chunks of the table count.
#[inline]
pub(super) fn chunks_of(table: &[Chunk]) -> usize {
    if table.len() < MAX_CHUNKS {
        table.len()
    } else {
        MAX_CHUNKS
    }
}

/// Says whether a range of frames lies in the table.
pub(super) fn has_range(table: &[Chunk], start: usize, count: usize) -> bool {
    let frames = chunks_of(table) * CHUNK_FRAMES;
    start <= frames && count <= frames - start
}

/// Says whether a range of frames lies in the table and all of it is free.
pub(super) fn all_free(table: &[Chunk], start: usize, count: usize) -> bool {
    if !has_range(table, start, count) {
        return false;
    }
    let end = start + count;
    let mut at = start;
    while at < end {
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        if word & mask != mask {
            return false;
        }
        at += here;
    }
    true
}

/// Marks a range of frames, which lies in the table, as not free.
pub(super) fn clear(table: &mut [Chunk], start: usize, count: usize) {
    let end = start + count;
    let mut at = start;
    while at < end {
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES] = word & !mask;
        at += here;
    }
}

/// Marks a range of frames, which lies in the table, as free; returns how many were free before.
pub(super) fn set(table: &mut [Chunk], start: usize, count: usize) -> usize {
    let end = start + count;
    let mut at = start;
    let mut known = 0;
    while at < end {
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES] = word | mask;
        known += ones(word & mask);
        at += here;
    }
    known
}

/// Returns how many frames from `at` up to `end` the word of the first tells about.
#[inline]
fn in_word(at: usize, end: usize) -> usize {
    let rest = WORD_FRAMES - at % WORD_FRAMES;
    if rest < end - at {
        rest
    } else {
        end - at
    }
}

/// Moves the free frames of a word, the first of which is frame `base`, into `frames` from place `at` on, as far as
/// there are places; returns what is left of the word, and the place after the last.
#[inline]
pub(super) fn drain(word: u64, base: u32, frames: &mut [u32], at: usize) -> (u64, usize) {
    let mut rest = word;
    let mut at = at;
    while rest != 0 && at < frames.len() {
        frames[at] = base + rest.trailing_zeros();
        rest &= rest - 1;
        at += 1;
    }
    (rest, at)
}

} // verus!

//! Ranges of frames in a table of chunks.
use super::bits::*;
use super::chunk::*;
#[cfg(verus_keep_ghost)]
use super::free::*;
#[cfg(verus_keep_ghost)]
use super::words::*;
use vstd::prelude::*;

verus! {

/// Chunks of a table that count: those of 2<sup>32</sup> frames, 16 TiB.
pub const MAX_CHUNKS: usize = 0x80_0000;

/// Returns how many chunks of the table count.
#[inline]
pub(super) fn chunks_of(table: &[Chunk]) -> (r: usize)
    ensures
        512 * r == frames_in(table@.len()),
        r <= table@.len(),
        r <= MAX_CHUNKS,
{
    if table.len() < MAX_CHUNKS {
        table.len()
    } else {
        MAX_CHUNKS
    }
}

/// Says whether a range of frames lies in the table.
pub(super) fn has_range(table: &[Chunk], start: usize, count: usize) -> (r: bool)
    ensures
        r <==> start + count <= frames_in(table@.len()),
{
    let frames = chunks_of(table) * CHUNK_FRAMES;
    start <= frames && count <= frames - start
}

/// Says whether a range of frames lies in the table and all of it is free.
pub(super) fn all_free(table: &[Chunk], start: usize, count: usize) -> (r: bool)
    ensures
        r ==> start + count <= frames_in(table@.len()) && forall|f: nat| start <= f < start + count ==> #[trigger] is_free(table@, f),
{
    if !has_range(table, start, count) {
        return false;
    }
    let end = start + count;
    let mut at = start;
    while at < end
        invariant
            start <= at <= end <= frames_in(table@.len()),
            forall|f: nat| start <= f < at ==> #[trigger] is_free(table@, f),
        decreases end - at,
    {
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        if word & mask != mask {
            return false;
        }
        proof {
            lemma_free_here(table@, at as nat, here as nat, mask);
        }
        at += here;
    }
    true
}

/// Marks a range of frames, which lies in the table, as not free.
pub(super) fn clear(table: &mut [Chunk], start: usize, count: usize)
    requires
        start + count <= frames_in(old(table)@.len()),
    ensures
        marked(old(table)@, final(table)@, start as nat, (start + count) as nat, false),
{
    let end = start + count;
    let mut at = start;
    while at < end
        invariant
            start <= at <= end <= frames_in(table@.len()),
            marked(old(table)@, table@, start as nat, at as nat, false),
        decreases end - at,
    {
        let ghost before = table@;
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES] = word & !mask;
        proof {
            lemma_mark(old(table)@, before, table@, start as nat, at as nat, here as nat, mask, false);
        }
        at += here;
    }
}

/// Marks a range of frames, which lies in the table, as free; returns how many were free before.
pub(super) fn set(table: &mut [Chunk], start: usize, count: usize) -> (r: usize)
    requires
        start + count <= frames_in(old(table)@.len()),
    ensures
        marked(old(table)@, final(table)@, start as nat, (start + count) as nat, true),
        r == free_of(old(table)@).intersect(run(start as nat, count as nat)).len(),
        r <= count,
{
    let end = start + count;
    let mut at = start;
    let mut known = 0;
    proof {
        lemma_known_none(table@, start as nat);
    }
    while at < end
        invariant
            start <= at <= end <= frames_in(table@.len()),
            marked(old(table)@, table@, start as nat, at as nat, true),
            known == free_of(old(table)@).intersect(run(start as nat, (at - start) as nat)).len(),
            known <= at - start,
        decreases end - at,
    {
        let ghost before = table@;
        let here = in_word(at, end);
        let mask = span(at % WORD_FRAMES, here);
        let word = table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES];
        table[at / CHUNK_FRAMES].words[at % CHUNK_FRAMES / WORD_FRAMES] = word | mask;
        proof {
            lemma_mark(old(table)@, before, table@, start as nat, at as nat, here as nat, mask, true);
            lemma_known(old(table)@, before, start as nat, at as nat, here as nat, mask);
        }
        known += ones(word & mask);
        at += here;
    }
    known
}

/// Returns how many frames from `at` up to `end` the word of the first tells about.
#[inline]
fn in_word(at: usize, end: usize) -> (r: usize)
    requires
        at < end,
    ensures
        0 < r <= end - at,
        at % 64 + r <= 64,
{
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
pub(super) fn drain(word: u64, base: u32, frames: &mut [u32], at: usize) -> (r: (u64, usize))
    requires
        base + 63 <= u32::MAX,
        at <= old(frames)@.len(),
    ensures
        took_list(ones_of(word, base as nat), ones_of(r.0, base as nat), old(frames)@, final(frames)@, at as int, r.1 as int),
        r.0 == 0 || r.1 == final(frames)@.len(),
{
    let ghost (first, numbers) = (at as int, base as nat);
    let mut rest = word;
    let mut at = at;
    proof {
        lemma_took_none(ones_of(word, numbers));
        assert(frames@.subrange(first, first) =~= Seq::empty());
    }
    while rest != 0 && at < frames.len()
        invariant
            base + 63 <= u32::MAX,
            numbers == base,
            took_list(ones_of(word, numbers), ones_of(rest, numbers), old(frames)@, frames@, first, at as int),
        decreases frames@.len() - at,
    {
        let ghost before = frames@;
        proof {
            lemma_lowest(rest, numbers);
        }
        frames[at] = base + rest.trailing_zeros();
        proof {
            let f = frames@[at as int];
            lemma_took_one(ones_of(word, numbers), ones_of(rest, numbers), before.subrange(first, at as int), f);
            assert(frames@.subrange(first, at + 1) =~= before.subrange(first, at as int).push(f));
        }
        rest &= rest - 1;
        at += 1;
    }
    (rest, at)
}

} // verus!

//! The shape of a page-table tree, and the arithmetic of page numbers in it.
//!
//! Nothing here knows how many levels a tree has or how many entries a node: both are parameters, bounded by
//! what fits into a frame and into an address.
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vstd::arithmetic::div_mod::lemma_div_denominator;
#[cfg(verus_keep_ghost)]
use vstd::arithmetic::power2::{lemma_pow2_adds, lemma_pow2_pos, pow2};
#[cfg(verus_keep_ghost)]
use vstd::bits::lemma_usize_shr_is_div;
use vstd::prelude::*;

verus! {

/// The shape of a page-table tree.
///
/// Level 1 is the level of base pages; the root is at level [`PagingConsts::levels`].
pub trait PagingConsts: Send + Sync + 'static {
    /// The levels of the tree: of most shapes a constant, of some what the machine [says](vellum_machine::paging).
    spec fn spec_levels() -> u8;

    /// Returns the levels of the tree.
    #[verifier::when_used_as_spec(spec_levels)]
    fn levels() -> (r: u8)
        ensures
            r == Self::spec_levels(),
        opens_invariants none
        no_unwind
    ;

    /// Binary logarithm of the number of entries in a node.
    const INDEX_BITS: usize;

    /// The number of entries in a node.
    const NR_ENTRIES: usize;

    /// The highest level at which an entry may map a page, if the tree has that level.
    const MAX_LEAF_LEVEL: u8;

    /// The first entry of the root that is of the kernel's [table](super::KernelPt): like all that follow, one of the upper
    /// half.
    const KERNEL_LO: usize;

    /// One past the last one: the less an entry covers, the more there are.
    const KERNEL_HI: usize;

    /// The first entry of the root that is of the table of [areas](super::AreaPt).
    const AREA_LO: usize;

    /// One past the last one.
    const AREA_HI: usize;

    /// What every shape promises: a node fits into a frame and a page number into 45 bits, and what is the kernel's and what
    /// is areas' are parts of the upper half, apart from each other.
    proof fn consts_ok()
        ensures
            2 <= Self::levels() <= 5,
            2 <= Self::INDEX_BITS <= 9,
            Self::NR_ENTRIES == pow2(Self::INDEX_BITS as nat),
            4 <= Self::NR_ENTRIES <= 512,
            1 <= Self::MAX_LEAF_LEVEL <= 5,
            Self::NR_ENTRIES / 2 <= Self::KERNEL_LO < Self::KERNEL_HI <= Self::NR_ENTRIES,
            Self::NR_ENTRIES / 2 <= Self::AREA_LO < Self::AREA_HI <= Self::NR_ENTRIES,
            Self::KERNEL_HI <= Self::AREA_LO || Self::AREA_HI <= Self::KERNEL_LO,
    ;
}

//================ page numbers: specification ================

/// `v` without its `k` lowest digits in base `nr`: which node of level `k` covers page `v`.
#[verifier::opaque]
pub open spec fn pre(nr: nat, v: nat, k: nat) -> nat
    decreases k,
{
    if k == 0 { v } else { pre(nr, v, (k - 1) as nat) / nr }
}

/// Pages below an entry of level `k + 1`.
pub open spec fn pages(nr: nat, k: nat) -> nat
    decreases k,
{
    if k == 0 { 1 } else { nr * pages(nr, (k - 1) as nat) }
}

/// The `k` lowest digits of `v` in base `nr`: the page's position below an entry of level `k + 1`.
#[verifier::opaque]
pub open spec fn low(nr: nat, v: nat, k: nat) -> nat
    decreases k,
{
    if k == 0 { 0 } else {
        low(nr, v, (k - 1) as nat) + pages(nr, (k - 1) as nat) * (pre(nr, v, (k - 1) as nat) % nr)
    }
}

/// The entry of a level-`l` node that covers page `v`.
pub open spec fn index(nr: nat, v: nat, l: nat) -> int {
    (pre(nr, v, (l - 1) as nat) % nr) as int
}

/// Bytes below an entry of level `l`.
pub open spec fn span(nr: nat, l: nat) -> nat {
    PAGE_SIZE as nat * pages(nr, (l - 1) as nat)
}

//================ page numbers: lemmas ================

/// Prefixes are in the order of the pages.
pub proof fn lemma_pre_mono(nr: nat, a: nat, b: nat, k: nat)
    requires
        a <= b,
        nr >= 1,
    ensures
        pre(nr, a, k) <= pre(nr, b, k),
    decreases k,
{
    reveal(pre);
    if k > 0 {
        lemma_pre_mono(nr, a, b, (k - 1) as nat);
        let (x, y) = (pre(nr, a, (k - 1) as nat), pre(nr, b, (k - 1) as nat));
        assert(x / nr <= y / nr) by (nonlinear_arith)
            requires x <= y, nr >= 1;
    }
}

/// One step up: the digit above.
pub proof fn lemma_pre_step(nr: nat, v: nat, l: nat)
    requires
        l >= 1,
    ensures
        pre(nr, v, l) == pre(nr, v, (l - 1) as nat) / nr,
{
    reveal(pre);
}

/// Without digits nothing is dropped.
pub proof fn lemma_pre_zero(nr: nat, v: nat)
    ensures
        pre(nr, v, 0) == v,
        low(nr, v, 0) == 0,
        pages(nr, 0) == 1,
{
    reveal(pre);
    reveal(low);
}

/// A page number is its upper digits times what is below, plus its lower digits.
pub proof fn lemma_digits(nr: nat, v: nat, k: nat)
    requires
        nr >= 1,
    ensures
        v == pre(nr, v, k) * pages(nr, k) + low(nr, v, k),
        low(nr, v, k) < pages(nr, k),
        pages(nr, k) >= 1,
    decreases k,
{
    reveal(pre);
    reveal(low);
    if k > 0 {
        let j = (k - 1) as nat;
        lemma_digits(nr, v, j);
        let (a, p, q, r) = (pre(nr, v, j), pages(nr, j), pre(nr, v, j) / nr, pre(nr, v, j) % nr);
        let lo = low(nr, v, j);
        assert(a == q * nr + r && r < nr) by (nonlinear_arith)
            requires q == a / nr, r == a % nr, nr >= 1;
        assert(a * p + lo == q * (nr * p) + (lo + p * r)) by (nonlinear_arith)
            requires a == q * nr + r;
        assert(lo + p * r < nr * p) by (nonlinear_arith)
            requires lo < p, r < nr, p >= 1;
        assert(nr * p >= 1) by (nonlinear_arith)
            requires nr >= 1, p >= 1;
    } else {
        assert(v * 1 == v);
    }
}

/// The pages below one entry are an interval.
pub proof fn lemma_interval(nr: nat, w: nat, v: nat, k: nat)
    requires
        nr >= 1,
    ensures
        (pre(nr, w, k) == pre(nr, v, k)) <==> pre(nr, v, k) * pages(nr, k) <= w < (pre(nr, v, k) + 1) * pages(nr, k),
{
    lemma_digits(nr, w, k);
    let (a, q, p) = (pre(nr, w, k), pre(nr, v, k), pages(nr, k));
    let lo = low(nr, w, k);
    assert(a < q ==> w < q * p) by (nonlinear_arith)
        requires w == a * p + lo, lo < p;
    assert(a > q ==> w >= (q + 1) * p) by (nonlinear_arith)
        requires w == a * p + lo;
    assert(a == q ==> q * p <= w < (q + 1) * p) by (nonlinear_arith)
        requires w == a * p + lo, lo < p;
}

/// Whoever shares a digit prefix shares all longer-range prefixes.
pub proof fn lemma_pre_above(nr: nat, a: nat, b: nat, l: nat, j: nat)
    requires
        pre(nr, a, l) == pre(nr, b, l),
        j >= l,
    ensures
        pre(nr, a, j) == pre(nr, b, j),
    decreases j,
{
    if j > l {
        lemma_pre_above(nr, a, b, l, (j - 1) as nat);
        reveal(pre);
    }
}

/// `pages` as a power of two.
pub proof fn lemma_pages_pow2(bits: nat, nr: nat, k: nat)
    requires
        nr == pow2(bits),
    ensures
        pages(nr, k) == pow2(bits * k),
    decreases k,
{
    if k == 0 {
        assert(bits * 0 == 0);
        vstd::arithmetic::power2::lemma2_to64();
    } else {
        let j = (k - 1) as nat;
        lemma_pages_pow2(bits, nr, j);
        assert(bits * k == bits + bits * j) by (nonlinear_arith)
            requires k == j + 1;
        lemma_pow2_adds(bits, bits * j);
    }
}

/// Shifting drops digits.
pub proof fn lemma_shift(bits: nat, nr: nat, v: usize, k: nat)
    requires
        nr == pow2(bits),
        1 <= bits <= 9,
        k <= 5,
    ensures
        v >> ((bits * k) as usize) == pre(nr, v as nat, k),
        0 <= bits * k <= 45,
{
    assert(0 <= bits * k <= 45) by (nonlinear_arith)
        requires 1 <= bits <= 9, k <= 5;
    lemma_pow2_pos(bits);
    lemma_pre_div(nr, v as nat, k);
    lemma_pages_pow2(bits, nr, k);
    lemma_usize_shr_is_div(v, (bits * k) as usize);
}

/// `pre` is one division.
pub proof fn lemma_pre_div(nr: nat, v: nat, k: nat)
    requires
        nr >= 1,
    ensures
        pre(nr, v, k) == v / pages(nr, k),
        pages(nr, k) >= 1,
    decreases k,
{
    reveal(pre);
    if k == 0 {
        assert(v / 1 == v) by (nonlinear_arith);
    } else {
        let j = (k - 1) as nat;
        lemma_pre_div(nr, v, j);
        let p = pages(nr, j);
        lemma_div_denominator(v as int, p as int, nr as int);
        assert(nr * p == p * nr) by (nonlinear_arith);
        assert(nr * p >= 1) by (nonlinear_arith)
            requires nr >= 1, p >= 1;
    }
}

/// Below the whole tree there is one root.
pub proof fn lemma_pre_top(nr: nat, v: nat, k: nat)
    requires
        nr >= 1,
        v < pages(nr, k),
    ensures
        pre(nr, v, k) == 0,
{
    lemma_digits(nr, v, k);
    let (q, p) = (pre(nr, v, k), pages(nr, k));
    assert(q == 0) by (nonlinear_arith)
        requires q * p <= v, v < p;
}

/// There are pages below every entry.
pub proof fn lemma_pages_pos(nr: nat, k: nat)
    requires
        nr >= 1,
    ensures
        pages(nr, k) >= 1,
    decreases k,
{
    lemma_digits(nr, 0, k);
}

/// The bound of page numbers.
pub proof fn lemma_total_pages<G: PagingConsts>()
    ensures
        pages(G::NR_ENTRIES as nat, G::levels() as nat) <= 0x2000_0000_0000,
{
    G::consts_ok();
    let l = G::levels() as nat;
    lemma_pages_pow2(G::INDEX_BITS as nat, G::NR_ENTRIES as nat, l);
    assert(G::INDEX_BITS * l <= 45) by (nonlinear_arith)
        requires
            G::INDEX_BITS <= 9,
            l <= 5,
    ;
    lemma_pow2_le((G::INDEX_BITS * l) as nat, 45);
    vstd::arithmetic::power2::lemma2_to64_rest();
}

//================ page numbers: code ================

/// Pages below one node of level `k`, which is one entry of level `k + 1`.
#[inline(always)]
pub fn pages_below<G: PagingConsts>(k: u8) -> (r: usize)
    requires
        k <= 5,
    ensures
        r == pages(G::NR_ENTRIES as nat, k as nat),
        1 <= r <= 0x2000_0000_0000,
    opens_invariants none
    no_unwind
{
    proof {
        G::consts_ok();
        let (b, nr) = (G::INDEX_BITS as nat, G::NR_ENTRIES as nat);
        let s = b * (k as nat);
        assert(0 <= s <= 45) by (nonlinear_arith)
            requires 1 <= b <= 9, k <= 5, s == b * (k as nat);
        lemma_pages_pow2(b, nr, k as nat);
        lemma_pages_pos(nr, k as nat);
        lemma_pow2_le(s, 45);
        vstd::arithmetic::power2::lemma2_to64_rest();
        vstd::bits::lemma_usize_shl_is_mul(1, s as usize);
        assert(1 * pow2(s) == pow2(s));
    }
    1usize << (G::INDEX_BITS * k as usize)
}

/// What [`upper_base`] says.
pub open spec fn spec_upper_base<G: PagingConsts>() -> usize {
    (usize::MAX + 1 - PAGE_SIZE * pages(G::NR_ENTRIES as nat, G::levels() as nat)) as usize
}

/// Returns where the tree's page 0 would lie if the tree covered the top of the address space: the addresses of its upper
/// half are sign-extended.
#[inline(always)]
#[verifier::when_used_as_spec(spec_upper_base)]
pub fn upper_base<G: PagingConsts>() -> (r: usize)
    ensures
        r == spec_upper_base::<G>(),
        r + PAGE_SIZE * pages(G::NR_ENTRIES as nat, G::levels() as nat) == usize::MAX + 1,
        r % PAGE_SIZE == 0,
    opens_invariants none
    no_unwind
{
    proof {
        G::consts_ok();
        lemma_total_pages::<G>();
    }
    usize::MAX - (PAGE_SIZE * pages_below::<G>(G::levels()) - 1)
}

/// The addresses of a part of the root, in a tree that covers the top of the address space.
pub proof fn lemma_upper_part<G: PagingConsts>(lo: nat, hi: nat)
    requires
        lo < hi <= G::NR_ENTRIES,
    ensures
        ({
            let below = pages(G::NR_ENTRIES as nat, (G::levels() - 1) as nat);
            &&& upper_base::<G>() + PAGE_SIZE * (lo * below + 1) <= usize::MAX
            &&& upper_base::<G>() + PAGE_SIZE * (hi * below) <= usize::MAX + 1
        }),
        upper_base::<G>() % PAGE_SIZE == 0,
{
    G::consts_ok();
    lemma_total_pages::<G>();
    let n = G::NR_ENTRIES as nat;
    let p = pages(n, (G::levels() - 1) as nat);
    assert(pages(n, G::levels() as nat) == n * p);
    assert(p >= 2) by {
        let q = pages(n, (G::levels() - 2) as nat);
        lemma_pages_pos(n, (G::levels() - 2) as nat);
        assert(n * q >= 2) by (nonlinear_arith)
            requires
                n >= 2,
                q >= 1,
        ;
    }
    assert(hi * p <= n * p && lo * p + 1 < n * p) by (nonlinear_arith)
        requires
            lo + 1 <= hi <= n,
            p >= 2,
    ;
}

/// Powers of two are in the order of their exponents.
pub proof fn lemma_pow2_le(a: nat, b: nat)
    requires
        a <= b,
    ensures
        pow2(a) <= pow2(b),
{
    if a < b {
        vstd::arithmetic::power2::lemma_pow2_strictly_increases(a, b);
    }
}

/// The node of level `k` that covers page `v`.
#[inline(always)]
pub fn prefix<G: PagingConsts>(v: usize, k: u8) -> (r: usize)
    requires
        k <= 5,
    ensures
        r == pre(G::NR_ENTRIES as nat, v as nat, k as nat),
        r <= v,
    opens_invariants none
    no_unwind
{
    proof {
        G::consts_ok();
        lemma_shift(G::INDEX_BITS as nat, G::NR_ENTRIES as nat, v, k as nat);
        lemma_pre_le(G::NR_ENTRIES as nat, v as nat, k as nat);
    }
    v >> (G::INDEX_BITS * k as usize)
}

/// A prefix is at most the page.
pub proof fn lemma_pre_le(nr: nat, v: nat, k: nat)
    requires
        nr >= 1,
    ensures
        pre(nr, v, k) <= v,
{
    lemma_digits(nr, v, k);
    let (q, p) = (pre(nr, v, k), pages(nr, k));
    assert(q <= q * p) by (nonlinear_arith)
        requires p >= 1, q >= 0;
}

/// The entry of a node of level `l` that covers page `v`.
#[inline(always)]
pub fn entry_index<G: PagingConsts>(v: usize, l: u8) -> (r: usize)
    requires
        1 <= l <= 5,
    ensures
        r == index(G::NR_ENTRIES as nat, v as nat, l as nat),
        r < G::NR_ENTRIES <= 512,
    opens_invariants none
    no_unwind
{
    proof {
        G::consts_ok();
    }
    prefix::<G>(v, l - 1) % G::NR_ENTRIES
}

/// The pages `[start, end)` below the entry of level `l` that covers page `v`.
#[inline(always)]
pub fn entry_range<G: PagingConsts>(v: usize, l: u8) -> (r: (usize, usize))
    requires
        1 <= l <= 5,
        v < 0x2000_0000_0000,
    ensures
        r.0 <= v < r.1 <= 0x4000_0000_0000,
        r.1 - r.0 == pages(G::NR_ENTRIES as nat, (l - 1) as nat),
        r.0 == pre(G::NR_ENTRIES as nat, v as nat, (l - 1) as nat) * pages(G::NR_ENTRIES as nat, (l - 1) as nat),
        forall|w: nat| r.0 <= w < r.1 <==> #[trigger] pre(G::NR_ENTRIES as nat, w, (l - 1) as nat) == pre(
            G::NR_ENTRIES as nat,
            v as nat,
            (l - 1) as nat,
        ),
    opens_invariants none
    no_unwind
{
    let n = pages_below::<G>(l - 1);
    let ghost nr = G::NR_ENTRIES as nat;
    let ghost k = (l - 1) as nat;
    proof {
        G::consts_ok();
        lemma_digits(nr, v as nat, k);
        lemma_pre_div(nr, v as nat, k);
        let (q, lo) = (pre(nr, v as nat, k), low(nr, v as nat, k));
        assert(v % n == lo) by (nonlinear_arith)
            requires v == q * n + lo, lo < n, n >= 1, q >= 0;
        assert((q + 1) * n == q * n + n) by (nonlinear_arith);
        assert forall|w: nat| q * n <= w < q * n + n <==> #[trigger] pre(nr, w, k) == pre(nr, v as nat, k) by {
            lemma_interval(nr, w, v as nat, k);
        }
    }
    let start = v - v % n;
    (start, start + n)
}

} // verus!

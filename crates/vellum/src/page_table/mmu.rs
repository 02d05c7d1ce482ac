//! The walker finds what the cursor says.
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::ops::*;
use super::tree::*;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::model::*;
use vstd::arithmetic::div_mod::*;
use vstd::arithmetic::power2::*;
use vstd::prelude::*;

verus! {

/// Memory holds the words of the nodes, up to what the walker notes in them.
pub open spec fn holds<C: PageTableConfig>(mem: spec_fn(nat) -> u64, m: Tree) -> bool {
    forall|k: Place, i: int|
        m.dom().contains(k) && own_entry(m, k, i) ==> same::<C>(mem((m[k].pa() + 8 * i) as nat), #[trigger] m[k].words()[i])
}

/// What the walker finds where the cursor's map says `t`: a page that is kept but may not be accessed it does not find.
pub open spec fn found(t: Option<(nat, PageProperty)>, offset: nat) -> Option<(nat, Rights)> {
    match t {
        None => None,
        Some((pa, p)) => if p.access is None { None } else { Some(((pa + offset) as nat, rights(p))) },
    }
}

proof fn lemma_entry_bytes<G: PagingConsts>(l: nat)
    requires
        1 <= l,
    ensures
        entry_bytes(walker_shape::<G>(), l) == span(G::NR_ENTRIES as nat, l),
    decreases l,
{
    let n = G::NR_ENTRIES as nat;
    if l > 1 {
        lemma_entry_bytes::<G>((l - 1) as nat);
        let p = pages(n, (l - 2) as nat);
        assert(pages(n, (l - 1) as nat) == n * p);
        assert(n * (4096 * p) == 4096 * (n * p)) by (nonlinear_arith);
    } else {
        lemma_pre_zero(n, 0);
    }
}

/// The walker chooses the entry that the tree does.
proof fn lemma_walker_index<G: PagingConsts>(va: usize, l: nat)
    requires
        1 <= l <= 5,
    ensures
        walker_index(walker_shape::<G>(), va, l) == index(G::NR_ENTRIES as nat, va as nat / 4096, l),
{
    G::consts_ok();
    let (b, n, j) = (G::INDEX_BITS as nat, G::NR_ENTRIES as nat, (l - 1) as nat);
    let s = b * j;
    assert(0 <= s <= 36) by (nonlinear_arith)
        requires
            b <= 9,
            j <= 4,
            s == b * j,
    ;
    assert((12 + b * (l - 1)) as usize == 12 + s);
    vstd::bits::lemma_usize_shr_is_div(va, (12 + s) as usize);
    lemma_pow2_adds(12, s);
    lemma_pow2_pos(s);
    lemma2_to64();
    assert(pow2(12) == 4096);
    lemma_div_denominator(va as int, 4096, pow2(s) as int);
    lemma_pages_pow2(b, n, j);
    lemma_pre_div(n, va as nat / 4096, j);
}

/// Where a byte lies below an entry: the pages before its page, and its offset.
proof fn lemma_offset<G: PagingConsts>(va: usize, l: nat)
    requires
        1 <= l,
    ensures
        va as nat % span(G::NR_ENTRIES as nat, l) == 4096 * low(G::NR_ENTRIES as nat, va as nat / 4096, (l - 1) as nat)
            + va as nat % 4096,
{
    G::consts_ok();
    let (n, j) = (G::NR_ENTRIES as nat, (l - 1) as nat);
    let (v, o) = (va as nat / 4096, va as nat % 4096);
    lemma_digits(n, v, j);
    let (q, p, lo) = (pre(n, v, j), pages(n, j), low(n, v, j));
    assert(va as int == q * (4096 * p) + (4096 * lo + o)) by (nonlinear_arith)
        requires
            va as int == 4096 * v + o,
            v == q * p + lo,
    ;
    assert(4096 * lo + o < 4096 * p) by (nonlinear_arith)
        requires
            lo < p,
            o < 4096,
    ;
    lemma_fundamental_div_mod_converse(va as int, (4096 * p) as int, q as int, (4096 * lo + o) as int);
}

/// The walk over the words of the nodes equals the cursor's map, for every page of the range and every level.
pub proof fn walk_equals_map<C: PageTableConfig>(
    mem: spec_fn(nat) -> u64,
    g: Locks,
    m: Tree,
    va: usize,
    l: nat,
)
    requires
        g.ok::<C>(m),
        holds::<C>(mem, m),
        g.s <= va as nat / 4096 < g.e,
        1 <= l <= g.top,
        m.dom().contains(place::<C>(va as nat / 4096, l)),
    ensures
        walk::<FormatOf<C>>(mem, walker_shape::<C::Consts>(), m[place::<C>(va as nat / 4096, l)].pa() as nat, va, l, all_rights()) == found(
            trans::<C>(m, l, va as nat / 4096),
            va as nat % 4096,
        ),
    decreases l,
{
    C::Consts::consts_ok();
    let v = va as nat / 4096;
    let k = place::<C>(v, l);
    let i = idx::<C>(v, l);
    lemma_here::<C>(g, m, v, l);
    lemma_walker_index::<C::Consts>(va, l);
    lemma_entry_bytes::<C::Consts>(l);
    lemma_offset::<C::Consts>(va, l);
    let e = mem((m[k].pa() + 8 * i) as nat);
    let f = m[k].words()[i];
    C::Entry::walker_step(e, f, l);
    if ent::<C>(m, k, i) is Table {
        assert(C::Entry::open_link(f));
        walk_equals_map::<C>(mem, g, m, va, (l - 1) as nat);
    }
}

} // verus!

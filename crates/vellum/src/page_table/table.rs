//! Page tables.
#![expect(unsafe_code, reason = "puts the items of a dropped table together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::config::*;
use super::detached::*;
use super::entry::*;
use super::error::*;
use super::geometry::*;
use super::life::*;
use super::lock::*;
#[cfg(verus_keep_ghost)]
use super::loose::lemma_outside_start;
use super::near::*;
use super::node::*;
use super::node_frame::*;
use super::ops::*;
use super::protocol::*;
use super::retired::*;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::take::*;
use super::translate::look_up;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use super::way::*;
use super::world::*;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::*;
use vellum_machine::ptword;
use vellum_machine::readers::ReaderSeat;
use vstd::prelude::*;

verus! {

/// A page table: the root and what it owns of it.
pub(super) struct Root<C: PageTableConfig> {
    w: InWorld,
    pa: usize,
    tok: Tracked<RootTok>,
    kind: PhantomData<C>,
}

impl<C: PageTableConfig> Root<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.tok@.ok::<C>(self.w@, self.pa)
    }
}

/// A page table for a use `C`.
///
/// Any number of processors may edit it at once: a [`Cursor`](super::Cursor) or [`CursorMut`](super::CursorMut) locks
/// the smallest sub-tree that covers its range.
///
/// Dropping it drops what is mapped and [defers](super::defer) its nodes: whoever drops it has made sure that it is the
/// active table of no processor and that no translation cache leads to a node of it. Where others may link its nodes
/// ([`TOP_NODES_STAY`](PageTableConfig::TOP_NODES_STAY)), the root and the nodes below it stay for ever.
///
/// # Guarantees
///
/// - A node has one holder at a time.
/// - The frame of a node that some cursor can still read is not given back.
/// - What the hardware finds in a locked range is what the cursor says is mapped there.
pub struct PageTable<C: PageTableConfig> {
    root: Owned<Root<C>>,
}

/// The pages of a range of addresses, if a table of this use can have them.
#[inline(always)]
pub(super) fn check_range<C: PageTableConfig>(range: Range<Vaddr>) -> (r: Result<(usize, usize), PageTableError>)
    ensures
        r matches Ok((s, e)) ==> lockable::<C>(s as nat, e as nat) && range.start.0 == C::va_base() + s * PAGE_SIZE && range.end.0
            == C::va_base() + e * PAGE_SIZE,
{
    let Range { start, end } = range;
    proof {
        C::Consts::consts_ok();
        C::config_ok();
        lemma_total::<C>();
    }
    if start.0 % PAGE_SIZE != 0 {
        return Err(PageTableError::NotAligned { at: start.0 });
    }
    if end.0 % PAGE_SIZE != 0 {
        return Err(PageTableError::NotAligned { at: end.0 });
    }
    if start.0 == end.0 {
        return Err(PageTableError::Empty { va: start });
    }
    if start.0 > end.0 {
        return Err(PageTableError::Reversed { start, end });
    }
    if start.0 < C::va_base() {
        return Err(PageTableError::OutOfRange { va: start });
    }
    let n = pages_below::<C::Consts>(C::Consts::levels() - 1);
    let (s, e) = ((start.0 - C::va_base()) / PAGE_SIZE, (end.0 - C::va_base()) / PAGE_SIZE);
    proof {
        let base = C::va_base();
        assert(start.0 == base + s * PAGE_SIZE && end.0 == base + e * PAGE_SIZE) by {
            assert(base % PAGE_SIZE == 0);
        }
        let (lo, hi, t) = (C::TOP_LO as nat, C::TOP_HI as nat, nr::<C>());
        assert(pages(t, C::Consts::levels() as nat) == t * n);
        assert(lo * n <= t * n && hi * n <= t * n) by (nonlinear_arith)
            requires
                lo <= t,
                hi <= t,
        ;
    }
    if s < C::TOP_LO * n {
        return Err(PageTableError::OutOfRange { va: start });
    }
    if e > C::TOP_HI * n {
        return Err(PageTableError::OutOfRange { va: end });
    }
    Ok((s, e))
}

/// The pages that a table of this use can have, all of them. Where its part of the root ends with the last address, the last
/// page is left out: what follows it is no address.
#[inline(always)]
pub(super) fn whole_table<C: PageTableConfig>() -> (r: (usize, usize))
    ensures
        lockable::<C>(r.0 as nat, r.1 as nat),
        r.0 == C::TOP_LO * pages(nr::<C>(), (C::Consts::levels() - 1) as nat),
        r.1 == top_page::<C>(),
    no_unwind
{
    proof {
        C::Consts::consts_ok();
    }
    let n = pages_below::<C::Consts>(C::Consts::levels() - 1);
    proof {
        C::config_ok();
        lemma_total::<C>();
        let (lo, hi, t) = (C::TOP_LO as nat, C::TOP_HI as nat, nr::<C>());
        assert(pages(t, C::Consts::levels() as nat) == t * n);
        assert(lo * n <= t * n && hi * n <= t * n && lo * n < hi * n) by (nonlinear_arith)
            requires
                lo < hi <= t,
                n >= 1,
        ;
    }
    let (end, most) = (C::TOP_HI * n, (usize::MAX - C::va_base()) / PAGE_SIZE);
    (C::TOP_LO * n, if end < most { end } else { most })
}

/// Neither has an entry of the root that the other has.
spec fn apart<C: PageTableConfig, K: PageTableConfig>() -> bool {
    K::TOP_HI <= C::TOP_LO || C::TOP_HI <= K::TOP_LO
}

/// Whether there is an entry of the root that both have.
fn overlap<C: PageTableConfig, K: PageTableConfig>() -> (b: bool)
    ensures
        b == !apart::<C, K>(),
    no_unwind
{
    K::TOP_LO < C::TOP_HI && C::TOP_LO < K::TOP_HI
}

/// Whether roots of tables of use `C` may link the nodes below the root of one of use `K`.
fn is_shareable<C: PageTableConfig, K: PageTableConfig>() -> (b: bool)
    ensures
        b ==> apart::<C, K>(),
    no_unwind
{
    K::TOP_NODES_STAY && !overlap::<C, K>()
}

/// The frame at `pa` is to be a root, and nothing is in the entries that a table of use `C` has of it.
spec fn is_empty_root<C: PageTableConfig>(new: NewNode, pa: usize) -> bool {
    &&& new.ok(pa)
    &&& new.page.words().len() == 512
    &&& forall|i: int| C::TOP_LO <= i < C::TOP_HI ==> meaning::<C>(
        #[trigger] new.page.words()[i],
        C::Consts::levels() as nat,
    ) is Absent
}

/// Takes a frame for a root.
fn empty_root<C: PageTableConfig>() -> (r: Result<(usize, Tracked<NewNode>), PageTableError>)
    ensures
        r matches Ok(x) ==> is_empty_root::<C>(x.1@, x.0),
{
    let Some((pa, Tracked(new))) = alloc_node() else {
        return Err(PageTableError::NoMemory);
    };
    proof {
        C::Consts::consts_ok();
        C::config_ok();
        assert forall|i: int| C::TOP_LO <= i < C::TOP_HI implies meaning::<C>(
            #[trigger] new.page.words()[i],
            C::Consts::levels() as nat,
        ) is Absent by {
            C::Entry::zero_is_absent(C::Consts::levels() as nat);
        }
    }
    Ok((pa, Tracked(new)))
}

impl<C: PageTableConfig> PageTable<C> {
    /// The physical address of the root.
    pub closed spec fn root(&self) -> nat {
        self.root@.pa as nat
    }

    /// The world in which the table is.
    pub(super) closed spec fn the_world(self) -> World {
        self.root@.w@
    }

    /// The world in which the table is.
    pub(super) fn world(&self) -> (w: &'static World)
        ensures
            *w == self.the_world(),
    {
        self.root.get().w.get()
    }

    /// Locks the pages `[s, e)` for a reader.
    #[inline(always)]
    pub(super) fn lock(&self, reader: Tracked<Nodes::reader>, s: usize, e: usize, missing: Missing) -> (o: (Locks, Tracked<Tree>))
        requires
            reads(self.the_world(), reader@),
            lockable::<C>(s as nat, e as nat),
        ensures
            o.0.ok::<C>(o.1@),
            o.0.s == s,
            o.0.e == e,
            o.0.reader == reader,
    {
        let root = self.root.get();
        proof {
            use_type_invariant(root);
        }
        let w = root.w.get();
        let (node, top, tree) = lock_range::<C>(w, Tracked(reader.borrow()), Tracked(root.tok.borrow()), root.pa, s, e, missing);
        let ghost id = tree@[place::<C>(s as nat, top as nat)].info.key();
        (Locks { w: InWorld::of(w), root: node, top, s, e, reader, node: Ghost(id) }, tree)
    }

    /// What page `v` is mapped to, without a lock: physical address of the page, property and level.
    #[inline(always)]
    pub(super) fn look(&self, v: usize) -> (o: Option<(usize, PageProperty, u8)>)
        requires
            v + 1 <= usize::MAX,
            lockable::<C>(v as nat, (v + 1) as nat),
        ensures
            o matches Some(x) ==> 1 <= x.2 <= C::Consts::levels() <= 5,
    {
        let root = self.root.get();
        proof {
            use_type_invariant(root);
            C::Consts::consts_ok();
            lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: v as nat, e: (v + 1) as nat });
        }
        let w = root.w.get();
        let seat = ReaderSeat::take();
        let reader = w.enter(&seat);
        let tracked prot = protect_root::<C>(w, root.pa, reader.borrow(), root.tok.borrow());
        let tracked info = root.tok.borrow().info.clone();
        let top = Way { pa: root.pa, l: C::Consts::levels(), b: 0, prot: Tracked(prot), info: Tracked(info) };
        let found = look_up::<C>(w, Tracked(reader.borrow()), top, v);
        w.leave(&seat, reader);
        found
    }

    /// Makes an empty table.
    ///
    /// # Errors
    ///
    /// [`PageTableError::NoMemory`]: there is no frame for the root.
    pub fn new() -> Result<Self, PageTableError> {
        let (pa, Tracked(new)) = empty_root::<C>()?;
        Ok(Self::with_root(pa, Tracked(new)))
    }

    /// Makes an empty table whose root also links the nodes below the root of `shared`.
    ///
    /// # Errors
    ///
    /// - [`PageTableError::NoMemory`]: there is no frame for the root.
    /// - [`PageTableError::NotShareable`]: the nodes of `shared` do not stay, or its part of the root overlaps with
    ///   that of the new table.
    pub fn new_sharing<K: PageTableConfig<Consts = C::Consts>>(shared: &'static PageTable<K>) -> Result<Self, PageTableError> {
        if !is_shareable::<C, K>() {
            return Err(PageTableError::NotShareable);
        }
        let (pa, Tracked(new)) = empty_root::<C>()?;
        let tracked mut new = new;
        shared.copy_links::<C>(pa, Tracked(&mut new));
        Ok(Self::with_root(pa, Tracked(new)))
    }

    /// Makes an empty table whose root also links the nodes below the roots of two others: what of kernel space is the
    /// kernel's, and what is areas'.
    ///
    /// # Errors
    ///
    /// As for [`new_sharing`](Self::new_sharing), and [`PageTableError::NotShareable`] as well where the parts of the two
    /// overlap.
    pub fn new_sharing_both<K, A>(
        first: &'static PageTable<K>,
        second: &'static PageTable<A>,
    ) -> Result<Self, PageTableError> where
        K: PageTableConfig<Consts = C::Consts>,
        A: PageTableConfig<Consts = C::Consts>,
     {
        if !is_shareable::<C, K>() || !is_shareable::<C, A>() || overlap::<K, A>() {
            return Err(PageTableError::NotShareable);
        }
        let (pa, Tracked(new)) = empty_root::<C>()?;
        let tracked mut new = new;
        first.copy_links::<C>(pa, Tracked(&mut new));
        second.copy_links::<C>(pa, Tracked(&mut new));
        Ok(Self::with_root(pa, Tracked(new)))
    }

    /// Copies the links of this root to the frame at `pa`, which is to be the root of a table of use `U`.
    fn copy_links<U: PageTableConfig<Consts = C::Consts>>(&'static self, pa: usize, Tracked(new): Tracked<&mut NewNode>)
        requires
            apart::<U, C>(),
            is_empty_root::<U>(*old(new), pa),
        ensures
            is_empty_root::<U>(*final(new), pa),
    {
        let root = self.root.get();
        proof {
            use_type_invariant(root);
            C::Consts::consts_ok();
            C::config_ok();
            U::config_ok();
        }
        let seat = ReaderSeat::take();
        let reader = root.w.get().enter(&seat);
        let tracked p = protect_root::<C>(root.w.in_proof(), root.pa, reader.borrow(), root.tok.borrow());
        let mut i = C::TOP_LO;
        while i < C::TOP_HI
            invariant
                protects_at::<C>(root.w@, reader@, p, root.tok@.info, root.pa),
                root.tok@.info.value().lo == C::TOP_LO,
                root.tok@.info.value().hi == C::TOP_HI,
                C::TOP_LO <= i <= C::TOP_HI <= 512,
                apart::<U, C>(),
                U::TOP_HI <= 512,
                is_empty_root::<U>(*new, pa),
            decreases C::TOP_HI - i,
        {
            let tracked info = &root.tok.borrow().info;
            let (word, _) = read_link::<C>(root.w.get(), root.pa, i, Tracked(reader.borrow()), Tracked(&p), Tracked(info));
            // SAFETY: the permission of the new node's frame is at hand.
            unsafe { ptword::store_unreachable(Paddr(pa), i, word, Tracked(&mut new.page)) };
            i += 1;
        }
        root.w.get().leave(&seat, reader);
    }

    /// The table of a root of which it has nothing yet.
    fn with_root(pa: usize, Tracked(new): Tracked<NewNode>) -> Self
        requires
            is_empty_root::<C>(new, pa),
    {
        let w = &WORLD;
        let tok = new_root::<C>(w, pa, Tracked(new));
        PageTable { root: Owned::new(Root { w: InWorld::of(w), pa, tok, kind: PhantomData }) }
    }

    /// Makes every node below the root that is missing, so that others can link them.
    ///
    /// # Errors
    ///
    /// [`PageTableError::NoMemory`]: some are still missing.
    pub fn populate(&self) -> Result<(), PageTableError> {
        proof {
            C::Consts::consts_ok();
        }
        let (s, e) = whole_table::<C>();
        self.populate_pages(s, e, C::Consts::levels() - 1)
    }

    /// Makes every node of level `level`, which is 1 for those of base pages, and above that is missing for a range of addresses.
    ///
    /// # Errors
    ///
    /// - As [`cursor`](Self::cursor) where it is not a range of the table.
    /// - [`PageTableError::NoMemory`]: some are still missing.
    pub fn populate_range(&self, range: Range<Vaddr>, level: u8) -> Result<(), PageTableError> {
        let (s, e) = check_range::<C>(range)?;
        if level >= C::Consts::levels() {
            // The root is there.
            return Ok(());
        }
        proof {
            C::Consts::consts_ok();
        }
        self.populate_pages(s, e, if level < 1 { 1 } else { level })
    }

    /// Makes the nodes that are missing, as [`Session::populate`].
    fn populate_pages(&self, from: usize, to: usize, l: u8) -> Result<(), PageTableError>
        requires
            lockable::<C>(from as nat, to as nat),
            1 <= l < C::Consts::levels(),
    {
        let root = self.root.get();
        proof {
            use_type_invariant(root);
            C::Consts::consts_ok();
            C::config_ok();
            lemma_total::<C>();
        }
        let (s, e) = whole_table::<C>();
        let seat = ReaderSeat::take();
        let reader = root.w.get().enter(&seat);
        let (g, tree) = lock_all::<C>(root.w.get(), reader, Tracked(root.tok.borrow()), root.pa, s, e);
        let session = Session::<C> { g, tree, v: s, seat, near: Near::none::<C>(), kind: PhantomData };
        // The last page of the address space is in no whole table.
        let to = if to > e { e } else { to };
        let from = if from > to { to } else if from < s { s } else { from };
        Owned::new(session).get_mut().populate(from, to, l)
    }

    /// Returns the physical address of the root, for the hardware's root register.
    pub fn root_paddr(&self) -> (r: Paddr)
        ensures
            r.0 == self.root(),
    {
        Paddr(self.root.get().pa)
    }
}

impl<C: PageTableConfig> Release for Root<C> {
    fn release(self) {
        proof {
            use_type_invariant(&self);
            C::Consts::consts_ok();
            C::config_ok();
            lemma_total::<C>();
        }
        let Root { w, pa, tok, kind } = self;
        let w = w.get();
        let (s, e) = whole_table::<C>();
        let seat = ReaderSeat::take();
        let reader = w.enter(&seat);
        let (g, tree) = lock_all::<C>(w, reader, Tracked(tok.borrow()), pa, s, e);
        let tracked mut m = tree.get();
        clear::<C>(&g, Tracked(&mut m));
        let ghost k = (C::Consts::levels() as nat, 0nat);
        proof {
            assert(node_ok::<C>(m, g.rng(), k));
            assert(tok_ok::<C>(m[k], k, *w, g.reader@));
            m.tracked_borrow(k).info.agree(&tok.borrow().info);
        }
        let empty = links_nothing_at::<C>(&g, Tracked(&m), pa);
        let tracked t = m.tracked_remove(k);
        if empty {
            let rt = retire_root::<C>(w, pa, Tracked(g.reader.borrow()), tok, Tracked(t));
            w.leave(&seat, g.reader);
            super::hooks::defer(RetiredNode::new(w, pa, Vaddr(0), Vaddr(0), rt));
        } else {
            // Nodes that others may link stay, and with them the root.
            w.leave(&seat, g.reader);
        }
    }
}

/// Whether no entry of the locked root that belongs to the table is a link.
fn links_nothing_at<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, pa: usize) -> (b: bool)
    requires
        m.dom().contains((C::Consts::levels() as nat, 0nat)),
        tok_ok::<C>(m[(C::Consts::levels() as nat, 0nat)], (C::Consts::levels() as nat, 0nat), g.w@, g.reader@),
        m[(C::Consts::levels() as nat, 0nat)].pa() == pa,
        m[(C::Consts::levels() as nat, 0nat)].info.value().lo == C::TOP_LO,
        m[(C::Consts::levels() as nat, 0nat)].info.value().hi == C::TOP_HI,
    ensures
        b ==> links_nothing::<C>(m[(C::Consts::levels() as nat, 0nat)]),
    no_unwind
{
    let ghost k = (C::Consts::levels() as nat, 0nat);
    let l = C::Consts::levels();
    proof {
        C::Consts::consts_ok();
        C::config_ok();
    }
    let mut i = C::TOP_LO;
    while i < C::TOP_HI
        invariant
            k == (C::Consts::levels() as nat, 0nat),
            l == C::Consts::levels(),
            1 <= l,
            m.dom().contains(k),
            tok_ok::<C>(m[k], k, g.w@, g.reader@),
            m[k].pa() == pa,
            C::TOP_LO <= i <= C::TOP_HI <= 512,
            forall|j: int| C::TOP_LO <= j < i ==> !(meaning::<C>(#[trigger] m[k].words()[j], l as nat) is Table),
        decreases C::TOP_HI - i,
    {
        let word = load::<C>(g.w.get(), pa, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        if let Pte::Table(_) = C::Entry::decode(word, l) {
            return false;
        }
        i += 1;
    }
    true
}

/// Takes everything out of a locked range, and drops it.
#[verifier::exec_allows_no_decreases_clause]
fn clear<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>)
    requires
        g.ok::<C>(*old(m)),
    ensures
        g.ok::<C>(*final(m)),
{
    let mut v = g.s;
    loop
        invariant
            g.ok::<C>(*m),
            g.s <= v <= g.e,
    {
        proof {
            lemma_outside_start::<C>(*g, v as nat, g.e as nat);
        }
        match take_next::<C>(g, Tracked(m), v, g.e, Ghost(v as nat)) {
            None => return ,
            Some((next, taken)) => {
                v = next;
                match taken {
                    Taken::Leaf(t) => {
                        // SAFETY: these are the parts of a mapping that is in no table any more.
                        let _item = unsafe { C::item_from_raw(t.pa, t.l, t.prop, t.tok) };
                    },
                    Taken::Node(t) => {
                        let _node = detached::<C>(g.w.get(), t);
                    },
                    Taken::Nothing => return ,
                }
            },
        }
    }
}

} // verus!

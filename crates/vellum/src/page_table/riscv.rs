//! The entry format of RISC-V with 64 bits (privileged specification, sections 4.4 and 4.5, and Svpbmt), for any shape of
//! tree.
#![expect(unsafe_code, reason = "implements functions that are promised addresses that fit")]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::entry::*;
use super::geometry::*;
use core::marker::PhantomData;
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::model::*;
use vellum_machine::paging::has_four_levels;
use vellum_machine::ptword;
use vellum_machine::ptword::Extensions;
use vstd::prelude::*;

verus! {

/// Sv39: three levels of 512 entries, pages of 4 KiB, 2 MiB and 1 GiB.
pub struct Sv39;

impl PagingConsts for Sv39 {
    const INDEX_BITS: usize = 9;

    const NR_ENTRIES: usize = 512;

    const MAX_LEAF_LEVEL: u8 = 3;

    const KERNEL_LO: usize = 272;

    const KERNEL_HI: usize = 512;

    const AREA_LO: usize = 256;

    const AREA_HI: usize = 272;

    open spec fn spec_levels() -> u8 {
        3
    }

    #[inline(always)]
    fn levels() -> u8 {
        3
    }

    proof fn consts_ok() {
        vstd::arithmetic::power2::lemma2_to64();
    }
}

/// Sv48: four levels of 512 entries, pages of 4 KiB, 2 MiB, 1 GiB and 512 GiB.
///
/// Hardware has pages of the root's level; of physical memory as it is bounded [here](vellum_machine::layout::PADDR_LIMIT),
/// none fits.
pub struct Sv48;

impl PagingConsts for Sv48 {
    const INDEX_BITS: usize = 9;

    const NR_ENTRIES: usize = 512;

    const MAX_LEAF_LEVEL: u8 = 4;

    const KERNEL_LO: usize = 272;

    const KERNEL_HI: usize = 512;

    const AREA_LO: usize = 256;

    const AREA_HI: usize = 272;

    open spec fn spec_levels() -> u8 {
        4
    }

    #[inline(always)]
    fn levels() -> u8 {
        4
    }

    proof fn consts_ok() {
        vstd::arithmetic::power2::lemma2_to64();
    }
}

/// Sv39 or Sv48, as this machine's harts [are set](vellum_machine::paging): the shape of one kernel for both.
pub struct Sv39OrSv48;

impl PagingConsts for Sv39OrSv48 {
    const INDEX_BITS: usize = 9;

    const NR_ENTRIES: usize = 512;

    const MAX_LEAF_LEVEL: u8 = 4;

    const KERNEL_LO: usize = 272;

    const KERNEL_HI: usize = 512;

    const AREA_LO: usize = 256;

    const AREA_HI: usize = 272;

    open spec fn spec_levels() -> u8 {
        if has_four_levels() { 4 } else { 3 }
    }

    #[inline(always)]
    fn levels() -> u8 {
        if has_four_levels() { 4 } else { 3 }
    }

    proof fn consts_ok() {
        vstd::arithmetic::power2::lemma2_to64();
    }
}

/// A RISC-V entry in a tree of shape `G`, for harts with the extensions `X`.
///
/// | bit | meaning |
/// | --- | --- |
/// | 0 | valid |
/// | 1, 2, 3 | readable, writable, executable: none of them in a link; write without read is reserved |
/// | 4, 5 | user, global |
/// | 6, 7 | accessed, dirty: hardware sets them at any time, or leaves them to the handler of page faults |
/// | 8, 9 | ignored by hardware: the soft bits |
/// | 10 to 53 | the page number |
/// | 61, 62 | memory type, with Svpbmt: 2 is uncached |
/// | 54 to 60, 63 | reserved |
///
/// A page that is kept and translates nothing is not valid, and readable.
///
/// Where hardware leaves accessed and dirty bits to the handler of page faults, new pages of users have them clear (it
/// [notes](super::CursorMut::note) accesses), and new pages of the kernel have them set: its own accesses do not fault.
pub struct RiscVEntry<G, X = ptword::Base>(PhantomData<(G, X)>);

/// The bits of the page number.
pub const PAGE_NUMBER: u64 = 0x003f_ffff_ffff_fc00;

/// Whether a word says that a page is mapped, accessible or not.
pub open spec fn is_page<X: Extensions>(e: u64) -> bool {
    if e & 1 == 0 { e & 2 != 0 } else { e & 0xe != 0 && !riscv_reserved(X::SVPBMT, e) }
}

/// Whether a word says that a node is linked.
pub open spec fn is_link<X: Extensions>(e: u64) -> bool {
    e & 0xf == 1 && !riscv_reserved(X::SVPBMT, e)
}

/// The access that a word of a page says.
pub open spec fn access_of(e: u64) -> Access {
    if e & 1 == 0 {
        Access::None
    } else if e & 2 == 0 {
        Access::X
    } else if e & 8 == 0 {
        if e & 4 != 0 { Access::RW } else { Access::R }
    } else {
        if e & 4 != 0 { Access::RWX } else { Access::RX }
    }
}

/// The property that a word of a page says.
pub open spec fn property<X: Extensions>(e: u64) -> PageProperty {
    PageProperty {
        access: access_of(e),
        user: e & 0x10 != 0,
        global: e & 0x20 != 0,
        cache: if X::SVPBMT && e & 0x6000_0000_0000_0000 != 0 { CachePolicy::Uncached } else { CachePolicy::WriteBack },
        soft: SoftBits { a: e & 0x100 != 0, b: e & 0x200 != 0 },
    }
}

#[inline(always)]
fn has_reserved<X: Extensions>(e: u64) -> (r: bool)
    ensures
        r == riscv_reserved(X::SVPBMT, e),
    opens_invariants none
    no_unwind
{
    let kind = e & 0x6000_0000_0000_0000;
    e & 6 == 4 || e & 0x9fc0_0000_0000_0000 != 0 || if X::SVPBMT { kind == 0x6000_0000_0000_0000 } else { kind != 0 }
}

#[inline(always)]
fn get_property<X: Extensions>(e: u64) -> (r: PageProperty)
    ensures
        r == property::<X>(e),
    opens_invariants none
    no_unwind
{
    let access = if e & 1 == 0 {
        Access::None
    } else if e & 2 == 0 {
        Access::X
    } else if e & 8 == 0 {
        if e & 4 != 0 { Access::RW } else { Access::R }
    } else {
        if e & 4 != 0 { Access::RWX } else { Access::RX }
    };
    let uncached = X::SVPBMT && e & 0x6000_0000_0000_0000 != 0;
    PageProperty {
        access,
        user: e & 0x10 != 0,
        global: e & 0x20 != 0,
        cache: if uncached { CachePolicy::Uncached } else { CachePolicy::WriteBack },
        soft: SoftBits { a: e & 0x100 != 0, b: e & 0x200 != 0 },
    }
}

/// The address that a word names.
#[inline(always)]
fn address(e: u64) -> (r: usize)
    ensures
        r == riscv_address(e),
    opens_invariants none
    no_unwind
{
    ((e & PAGE_NUMBER) << 2) as usize
}

/// The bits of a property that can be held, without those for hardware's notes.
fn flags<X: Extensions>(p: PageProperty) -> (r: u64)
    requires
        !(p.cache is WriteThrough),
        p.cache is Uncached ==> X::SVPBMT,
    ensures
        property::<X>(r) == p,
        is_page::<X>(r),
        r & 0x4000_0000_0000_033f == r,
    opens_invariants none
    no_unwind
{
    let access: u64 = match p.access {
        Access::None => 2,
        Access::R => 3,
        Access::RW => 7,
        Access::RX => 0xb,
        Access::RWX => 0xf,
        Access::X => 9,
    };
    let user: u64 = if p.user { 0x10 } else { 0 };
    let global: u64 = if p.global { 0x20 } else { 0 };
    let a: u64 = if p.soft.a { 0x100 } else { 0 };
    let b: u64 = if p.soft.b { 0x200 } else { 0 };
    let cache: u64 = if matches!(p.cache, CachePolicy::WriteBack) { 0 } else { 0x4000_0000_0000_0000 };
    let r = access | user | global | a | b | cache;
    assert(r & 0xf == access && r & 1 == access & 1 && r & 2 == access & 2 && r & 4 == access & 4 && r & 8 == access & 8 && r
        & 6 == access & 6 && r & 0xe == access & 0xe && r & 0x10 == user && r & 0x20 == global && r & 0x100 == a && r & 0x200
        == b && r & 0x6000_0000_0000_0000 == cache && r & 0x9fc0_0000_0000_0000 == 0 && r & 0x4000_0000_0000_033f == r)
        by (bit_vector)
        requires
            r == access | user | global | a | b | cache,
            access == 2 || access == 3 || access == 7 || access == 0xb || access == 0xf || access == 9,
            user == 0x10 || user == 0,
            global == 0x20 || global == 0,
            a == 0x100 || a == 0,
            b == 0x200 || b == 0,
            cache == 0 || cache == 0x4000_0000_0000_0000,
    ;
    assert(2u64 & 1 == 0 && 2u64 & 2 != 0 && 3u64 & 1 != 0 && 3u64 & 2 != 0 && 3u64 & 4 == 0 && 3u64 & 8 == 0 && 3u64 & 0xe != 0
        && 3u64 & 6 != 4 && 7u64 & 1 != 0 && 7u64 & 2 != 0 && 7u64 & 4 != 0 && 7u64 & 8 == 0 && 7u64 & 0xe != 0 && 7u64 & 6 != 4
        && 0xbu64 & 1 != 0 && 0xbu64 & 2 != 0 && 0xbu64 & 4 == 0 && 0xbu64 & 8 != 0 && 0xbu64 & 0xe != 0 && 0xbu64 & 6 != 4
        && 0xfu64 & 1 != 0 && 0xfu64 & 2 != 0 && 0xfu64 & 4 != 0 && 0xfu64 & 8 != 0 && 0xfu64 & 0xe != 0 && 0xfu64 & 6 != 4
        && 9u64 & 1 != 0 && 9u64 & 2 == 0 && 9u64 & 0xe != 0 && 9u64 & 6 != 4) by (bit_vector);
    r
}

/// Two words that differ in the page number and in what is noted alone say the same of a page.
proof fn lemma_property<X: Extensions>(e: u64, f: u64)
    requires
        e & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0,
    ensures
        property::<X>(e) == property::<X>(f),
        is_page::<X>(e) == is_page::<X>(f),
        is_link::<X>(e) == is_link::<X>(f),
        riscv_reserved(X::SVPBMT, e) == riscv_reserved(X::SVPBMT, f),
{
    assert(e & 1 == f & 1 && e & 2 == f & 2 && e & 4 == f & 4 && e & 8 == f & 8 && e & 6 == f & 6 && e & 0xe == f & 0xe && e & 0xf
        == f & 0xf && e & 0x10 == f & 0x10 && e & 0x20 == f & 0x20 && e & 0x100 == f & 0x100 && e & 0x200 == f & 0x200 && e
        & 0x6000_0000_0000_0000 == f & 0x6000_0000_0000_0000 && e & 0x9fc0_0000_0000_0000 == f & 0x9fc0_0000_0000_0000)
        by (bit_vector)
        requires
            e & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0,
    ;
}

/// What hardware may set in a word changes neither its address nor what it says.
proof fn lemma_noted<X: Extensions>(e: u64, f: u64)
    requires
        ptword::same_word::<ptword::RiscV<X>>(e, f),
    ensures
        riscv_address(e) == riscv_address(f),
        e & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0,
        f & 0xe == 0 ==> e == f,
{
    let m: u64 = if f & 0xe == 0 { 0 } else { 0xc0 };
    assert(e & PAGE_NUMBER == f & PAGE_NUMBER && e & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0 && (m == 0 ==> e == f))
        by (bit_vector)
        requires
            e & !m == f & !m,
            m == 0 || m == 0xc0,
            PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
    ;
}

/// The page number of a whole frame of physical memory, in its place.
proof fn lemma_address(pa: usize)
    requires
        pa % 4096 == 0,
        pa < 0x40_0000_0000,
    ensures
        (pa as u64 >> 2) & PAGE_NUMBER == pa as u64 >> 2,
        (pa as u64 >> 2) << 2 == pa as u64,
{
    let x = pa as u64;
    assert((x >> 2) & 0x003f_ffff_ffff_fc00 == x >> 2 && (x >> 2) << 2 == x) by (bit_vector)
        requires
            x % 4096 == 0,
            x < 0x40_0000_0000,
    ;
}

impl<G: PagingConsts, X: Extensions> PageTableEntry<G> for RiscVEntry<G, X> {
    type Format = ptword::RiscV<X>;

    open spec fn meaning(e: u64, l: nat) -> Pte {
        if is_page::<X>(e) && (l == 1 || l <= G::MAX_LEAF_LEVEL) {
            Pte::Leaf(riscv_address(e) as usize, property::<X>(e))
        } else if is_link::<X>(e) && l != 1 {
            Pte::Table(riscv_address(e) as usize)
        } else {
            Pte::Absent
        }
    }

    open spec fn open_link(e: u64) -> bool {
        e & !PAGE_NUMBER == 1
    }

    open spec fn holds(prop: PageProperty) -> bool {
        !(prop.cache is WriteThrough) && (prop.cache is Uncached ==> X::SVPBMT)
    }

    open spec fn noted(e: u64) -> AccessedDirty {
        AccessedDirty { accessed: e & 0x40 != 0, dirty: e & 0x80 != 0 }
    }

    /// Write-through there is none, and uncached memory with Svpbmt alone.
    #[inline(always)]
    fn can_hold(prop: PageProperty) -> bool {
        match prop.cache {
            CachePolicy::WriteBack => true,
            CachePolicy::WriteThrough => false,
            CachePolicy::Uncached => X::SVPBMT,
        }
    }

    #[inline(always)]
    fn decode(e: u64, l: u8) -> Pte {
        assert(e & 0xf == 1 <==> e & 1 != 0 && e & 0xe == 0) by (bit_vector);
        if e & 1 == 0 {
            if e & 2 != 0 && (l == 1 || l <= G::MAX_LEAF_LEVEL) {
                Pte::Leaf(address(e), get_property::<X>(e))
            } else {
                Pte::Absent
            }
        } else if has_reserved::<X>(e) {
            Pte::Absent
        } else if e & 0xe == 0 {
            if l != 1 { Pte::Table(address(e)) } else { Pte::Absent }
        } else if l == 1 || l <= G::MAX_LEAF_LEVEL {
            Pte::Leaf(address(e), get_property::<X>(e))
        } else {
            Pte::Absent
        }
    }

    #[inline(always)]
    unsafe fn leaf(pa: usize, _l: u8, prop: PageProperty) -> u64 {
        let f = flags::<X>(prop);
        let noted: u64 = if X::SVADU || prop.user { 0 } else { 0xc0 };
        let x = pa as u64 >> 2;
        let r = x | f | noted;
        proof {
            lemma_leaf_fits::<G>(pa, _l as nat);
            lemma_address(pa);
            assert(r & PAGE_NUMBER == x && r & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0) by (bit_vector)
                requires
                    r == x | f | noted,
                    x & PAGE_NUMBER == x,
                    f & 0x4000_0000_0000_033f == f,
                    noted == 0xc0 || noted == 0,
                    PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
            ;
            lemma_property::<X>(r, f);
        }
        r
    }

    #[inline(always)]
    fn leaf_after(e: u64) -> u64 {
        let r = e.wrapping_add(PAGE_SIZE as u64 >> 2);
        proof {
            let x = riscv_address(e);
            let pa = (x + PAGE_SIZE) as usize;
            let number = e & 0x003f_ffff_ffff_fc00;
            assert(number << 2 <= 0x00ff_ffff_ffff_f000) by (bit_vector)
                requires
                    number == e & 0x003f_ffff_ffff_fc00,
            ;
            if leaf_fits::<G>(pa, 1) {
                lemma_leaf_fits::<G>(pa, 1);
                assert(PAGE_SIZE as u64 >> 2 == 1024) by (compute_only);
                assert(e <= 0xffff_ffff_ffff_fbff) by (bit_vector)
                    requires
                        number == e & 0x003f_ffff_ffff_fc00,
                        number << 2 < 0x40_0000_0000,
                ;
                assert((r & 0x003f_ffff_ffff_fc00) << 2 == (number << 2) + 4096 && r & !0x003f_ffff_ffff_fcc0 == e
                    & !0x003f_ffff_ffff_fcc0) by (bit_vector)
                    requires
                        number == e & 0x003f_ffff_ffff_fc00,
                        number << 2 < 0x40_0000_0000,
                        r == e + 1024,
                ;
                lemma_property::<X>(r, e);
            }
        }
        r
    }

    #[inline(always)]
    fn is_alike(e: u64, other: u64) -> bool {
        proof {
            if (e ^ other) & !PAGE_NUMBER == 0 {
                assert(e & !0x003f_ffff_ffff_fcc0 == other & !0x003f_ffff_ffff_fcc0 && e & 0x40 == other & 0x40 && e & 0x80 == other & 0x80
                    && e & 0xe == other & 0xe && 0xc0 & !e == 0xc0 & !other && 0 & !e == 0 & !other) by (bit_vector)
                    requires
                        (e ^ other) & !0x003f_ffff_ffff_fc00u64 == 0,
                ;
                lemma_property::<X>(e, other);
            }
        }
        (e ^ other) & !PAGE_NUMBER == 0
    }

    #[inline(always)]
    fn page_alike(e: u64, other: u64) -> u64 {
        let r = (e & PAGE_NUMBER) | (other & !PAGE_NUMBER);
        proof {
            assert(r & PAGE_NUMBER == e & PAGE_NUMBER && r & !0x003f_ffff_ffff_fcc0 == other & !0x003f_ffff_ffff_fcc0 && r & 0x40
                == other & 0x40 && r & 0x80 == other & 0x80) by (bit_vector)
                requires
                    r == (e & PAGE_NUMBER) | (other & !PAGE_NUMBER),
                    PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
            ;
            lemma_property::<X>(r, other);
        }
        r
    }

    #[inline(always)]
    unsafe fn link(pa: usize) -> u64 {
        let x = pa as u64 >> 2;
        let r = x | 1;
        proof {
            lemma_address(pa);
            assert(r & PAGE_NUMBER == x && r & !PAGE_NUMBER == 1 && r & 0xf == 1 && r & 1 != 0 && r & 0xe == 0 && r & 6 == 0 && r
                & 0x9fc0_0000_0000_0000 == 0 && r & 0x6000_0000_0000_0000 == 0) by (bit_vector)
                requires
                    r == x | 1,
                    x & PAGE_NUMBER == x,
                    PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
            ;
        }
        r
    }

    #[inline(always)]
    fn accessed_dirty(e: u64) -> AccessedDirty {
        AccessedDirty { accessed: e & 0x40 != 0, dirty: e & 0x80 != 0 }
    }

    #[inline(always)]
    fn note(ad: AccessedDirty) -> u64 {
        let a: u64 = if ad.accessed { 0x40 } else { 0 };
        let d: u64 = if ad.dirty { 0x80 } else { 0 };
        assert((a | d) & 0x40 == a && (a | d) & 0x80 == d) by (bit_vector)
            requires
                a == 0x40 || a == 0,
                d == 0x80 || d == 0,
        ;
        a | d
    }

    #[inline(always)]
    fn with_noted(e: u64, from: u64) -> u64 {
        let r = e | (from & 0xc0);
        assert(r & !0xc0 == e & !0xc0 && (r & 0x40 != 0 <==> e & 0x40 != 0 || from & 0x40 != 0) && (r & 0x80 != 0 <==> e & 0x80
            != 0 || from & 0x80 != 0)) by (bit_vector)
            requires
                r == e | (from & 0xc0),
        ;
        assert(e & 2 != 0 ==> e & 0xe != 0) by (bit_vector);
        r
    }

    proof fn noted_is_no_meaning(e1: u64, e2: u64, l: nat) {
        lemma_noted::<X>(e1, e2);
        lemma_property::<X>(e1, e2);
        assert(e1 & !PAGE_NUMBER == 1 ==> e1 & 0xe == 0) by (bit_vector)
            requires
                PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
        ;
        assert(e2 & !PAGE_NUMBER == 1 ==> e2 & 0xe == 0) by (bit_vector)
            requires
                PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
        ;
        assert(e1 & 0xe == e2 & 0xe) by (bit_vector)
            requires
                e1 & !0x003f_ffff_ffff_fcc0 == e2 & !0x003f_ffff_ffff_fcc0,
        ;
    }

    proof fn meaning_holds(e: u64, l: nat) {
    }

    proof fn walker_step(e: u64, f: u64, l: nat) {
        lemma_noted::<X>(e, f);
        lemma_property::<X>(e, f);
        assert(e & 0xf == 1 <==> e & 1 != 0 && e & 0xe == 0) by (bit_vector);
        assert(f & !PAGE_NUMBER == 1 ==> f & 0x6000_0000_0000_00d0 == 0 && f & 0xe == 0) by (bit_vector)
            requires
                PAGE_NUMBER == 0x003f_ffff_ffff_fc00,
        ;
        assert(e & 0xe == f & 0xe && e & 1 == f & 1 && e & 2 == f & 2 && e & 4 == f & 4 && e & 8 == f & 8 && e & 0x10 == f & 0x10
            && e & 6 == f & 6) by (bit_vector)
            requires
                e & !0x003f_ffff_ffff_fcc0 == f & !0x003f_ffff_ffff_fcc0,
        ;
        assert(e & 2 == 0 && e & 6 != 4 ==> e & 4 == 0 && (e & 0xe != 0 ==> e & 8 != 0)) by (bit_vector);
        assert(e & 2 != 0 ==> e & 0xe != 0) by (bit_vector);
    }

    proof fn zero_is_absent(l: nat) {
        assert(0u64 & 1 == 0 && 0u64 & 2 == 0 && 0u64 & 0xf == 0) by (bit_vector);
    }

    proof fn levels(e: u64, l: nat) {
    }
}

} // verus!

//! The entry format of x86-64 (Intel SDM vol. 3, section 5.5.4, tables 5-15 to 5-20), for any shape of tree.
#![expect(unsafe_code, reason = "implements functions that are promised addresses that fit")]
use super::entry::*;
use super::geometry::*;
use core::marker::PhantomData;
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::model::*;
use vellum_machine::ptword;
use vstd::prelude::*;

verus! {

/// Four levels of 512 entries, pages of 4 KiB, 2 MiB and 1 GiB.
pub struct FourLevel;

impl PagingConsts for FourLevel {
    const INDEX_BITS: usize = 9;

    const NR_ENTRIES: usize = 512;

    const MAX_LEAF_LEVEL: u8 = 3;

    const KERNEL_LO: usize = 256;

    const KERNEL_HI: usize = 265;

    const AREA_LO: usize = 265;

    const AREA_HI: usize = 266;

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

/// A small shape: three levels of four entries, pages of 4 KiB and 16 KiB.
pub struct TinyTree;

impl PagingConsts for TinyTree {
    const INDEX_BITS: usize = 2;

    const NR_ENTRIES: usize = 4;

    const MAX_LEAF_LEVEL: u8 = 2;

    const KERNEL_LO: usize = 2;

    const KERNEL_HI: usize = 3;

    const AREA_LO: usize = 3;

    const AREA_HI: usize = 4;

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

/// An x86-64 entry in a tree of shape `G`.
///
/// | bit | meaning |
/// | --- | --- |
/// | 0 | present |
/// | 1, 2, 63 | writable, user, no execute |
/// | 3, 4 | write-through, cache disabled |
/// | 5, 6 | accessed, dirty: hardware sets them at any time |
/// | 7, 8 | page size (above level 1), global |
/// | 9 | ignored by hardware: a page that is kept and translates nothing |
/// | 52, 53 | ignored by hardware: the soft bits |
pub struct X86Entry<G>(PhantomData<G>);

/// The bits of the physical address.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Whether the flags of a word say that a page is mapped, accessible or not.
pub open spec fn is_mapped(e: u64) -> bool {
    e & 1 != 0 || e & 0x200 != 0
}

/// The property that the flags of a word say.
pub open spec fn property(e: u64) -> PageProperty {
    PageProperty {
        access: if e & 1 == 0 {
            Access::None
        } else if e & 0x8000_0000_0000_0000 != 0 {
            if e & 2 != 0 { Access::RW } else { Access::R }
        } else {
            if e & 2 != 0 { Access::RWX } else { Access::RX }
        },
        user: e & 4 != 0,
        global: e & 0x100 != 0,
        cache: if e & 0x10 != 0 {
            CachePolicy::Uncached
        } else if e & 8 != 0 {
            CachePolicy::WriteThrough
        } else {
            CachePolicy::WriteBack
        },
        soft: SoftBits { a: e & 0x0010_0000_0000_0000 != 0, b: e & 0x0020_0000_0000_0000 != 0 },
    }
}

#[inline(always)]
fn get_property(e: u64) -> (r: PageProperty)
    ensures
        r == property(e),
    opens_invariants none
    no_unwind
{
    let access = if e & 1 == 0 {
        Access::None
    } else if e & 0x8000_0000_0000_0000 != 0 {
        if e & 2 != 0 { Access::RW } else { Access::R }
    } else {
        if e & 2 != 0 { Access::RWX } else { Access::RX }
    };
    let cache = if e & 0x10 != 0 {
        CachePolicy::Uncached
    } else if e & 8 != 0 {
        CachePolicy::WriteThrough
    } else {
        CachePolicy::WriteBack
    };
    PageProperty {
        access,
        user: e & 4 != 0,
        global: e & 0x100 != 0,
        cache,
        soft: SoftBits { a: e & 0x0010_0000_0000_0000 != 0, b: e & 0x0020_0000_0000_0000 != 0 },
    }
}

/// The flags of a mapped page, without the page-size bit.
#[inline(always)]
fn flags(p: PageProperty) -> (r: u64)
    requires
        !(p.access is X),
    ensures
        property(r) == p,
        is_mapped(r),
        r & 0x803f_ffff_ffff_ffff == r,
        r & 0x000f_ffff_ffff_f0e0 == 0,
    opens_invariants none
    no_unwind
{
    let access: u64 = match p.access {
        Access::None => 0x200,
        Access::R => 0x8000_0000_0000_0001,
        Access::RW => 0x8000_0000_0000_0003,
        // Of the two that are left, `X` is none that can be held.
        Access::RX | Access::X => 1,
        Access::RWX => 3,
    };
    let user: u64 = if p.user { 4 } else { 0 };
    let global: u64 = if p.global { 0x100 } else { 0 };
    let cache: u64 = match p.cache {
        CachePolicy::WriteBack => 0,
        CachePolicy::WriteThrough => 8,
        CachePolicy::Uncached => 0x18,
    };
    let a: u64 = if p.soft.a { 0x0010_0000_0000_0000 } else { 0 };
    let b: u64 = if p.soft.b { 0x0020_0000_0000_0000 } else { 0 };
    let r = access | user | global | cache | a | b;
    assert(r & 1 == access & 1 && r & 2 == access & 2 && r & 0x200 == access & 0x200 && r & 0x8000_0000_0000_0000
        == access & 0x8000_0000_0000_0000 && r & 4 == user && r & 0x100 == global && r & 0x18 == cache && r & 0x10
        == cache & 0x10 && r & 8 == cache & 8 && r & 0x0010_0000_0000_0000 == a && r & 0x0020_0000_0000_0000 == b && r
        & 0x803f_ffff_ffff_ffff == r && r & 0x000f_ffff_ffff_f0e0 == 0) by (bit_vector)
        requires
            r == access | user | global | cache | a | b,
            access == 0x200 || access == 0x8000_0000_0000_0001 || access == 0x8000_0000_0000_0003 || access == 1
                || access == 3,
            user == 4 || user == 0,
            global == 0x100 || global == 0,
            cache == 0 || cache == 8 || cache == 0x18,
            a == 0x0010_0000_0000_0000 || a == 0,
            b == 0x0020_0000_0000_0000 || b == 0,
    ;
    assert(0x200u64 & 1 == 0 && 0x200u64 & 0x200 != 0 && 0x8000_0000_0000_0001u64 & 1 != 0
        && 0x8000_0000_0000_0001u64 & 2 == 0 && 0x8000_0000_0000_0003u64 & 1 != 0 && 0x8000_0000_0000_0003u64 & 2 != 0
        && 0x8000_0000_0000_0001u64 & 0x8000_0000_0000_0000 != 0 && 0x8000_0000_0000_0003u64 & 0x8000_0000_0000_0000
        != 0 && 1u64 & 1 != 0 && 1u64 & 2 == 0 && 3u64 & 1 != 0 && 3u64 & 2 != 0 && 1u64 & 0x8000_0000_0000_0000 == 0
        && 3u64 & 0x8000_0000_0000_0000 == 0 && 8u64 & 8 != 0 && 8u64 & 0x10 == 0 && 0x18u64 & 0x10 != 0 && 0u64 & 8
        == 0 && 0u64 & 0x10 == 0) by (bit_vector);
    r
}

/// The property does not depend on the address, the page-size bit or what hardware notes.
proof fn lemma_property(e: u64, f: u64)
    requires
        e & !0x000f_ffff_ffff_f0e0 == f & !0x000f_ffff_ffff_f0e0,
    ensures
        property(e) == property(f),
        is_mapped(e) == is_mapped(f),
{
    assert(e & 1 == f & 1 && e & 2 == f & 2 && e & 4 == f & 4 && e & 8 == f & 8 && e & 0x10 == f & 0x10 && e & 0x100
        == f & 0x100 && e & 0x200 == f & 0x200 && e & 0x8000_0000_0000_0000 == f & 0x8000_0000_0000_0000 && e
        & 0x0010_0000_0000_0000 == f & 0x0010_0000_0000_0000 && e & 0x0020_0000_0000_0000 == f
        & 0x0020_0000_0000_0000) by (bit_vector)
        requires
            e & !0x000f_ffff_ffff_f0e0 == f & !0x000f_ffff_ffff_f0e0,
    ;
}

/// A physical address of a whole frame fits into the address bits.
proof fn lemma_address(pa: usize)
    requires
        pa % 4096 == 0,
        pa < 0x40_0000_0000,
    ensures
        (pa as u64) & ADDRESS == pa as u64,
{
    let x = pa as u64;
    assert(x & 0x000f_ffff_ffff_f000 == x) by (bit_vector)
        requires
            x % 4096 == 0,
            x < 0x40_0000_0000,
    ;
}

impl<G: PagingConsts> PageTableEntry<G> for X86Entry<G> {
    type Format = ptword::X86_64;

    open spec fn meaning(e: u64, l: nat) -> Pte {
        if l == 1 || (l <= G::MAX_LEAF_LEVEL && e & 0x80 != 0) {
            if is_mapped(e) { Pte::Leaf((e & ADDRESS) as usize, property(e)) } else { Pte::Absent }
        } else if e & 1 != 0 {
            Pte::Table((e & ADDRESS) as usize)
        } else {
            Pte::Absent
        }
    }

    open spec fn open_link(e: u64) -> bool {
        e & 0x8000_0000_0000_0087 == 7
    }

    open spec fn holds(prop: PageProperty) -> bool {
        !(prop.access is X)
    }

    open spec fn noted(e: u64) -> AccessedDirty {
        AccessedDirty { accessed: e & 0x20 != 0, dirty: e & 0x40 != 0 }
    }

    /// A page that is present is readable.
    #[inline(always)]
    fn can_hold(prop: PageProperty) -> bool {
        !matches!(prop.access, Access::X)
    }

    #[inline(always)]
    fn decode(e: u64, l: u8) -> Pte {
        if l == 1 || (l <= G::MAX_LEAF_LEVEL && e & 0x80 != 0) {
            if e & 1 != 0 || e & 0x200 != 0 { Pte::Leaf((e & ADDRESS) as usize, get_property(e)) } else { Pte::Absent }
        } else if e & 1 != 0 {
            Pte::Table((e & ADDRESS) as usize)
        } else {
            Pte::Absent
        }
    }

    #[inline(always)]
    unsafe fn leaf(pa: usize, l: u8, prop: PageProperty) -> u64 {
        let f = flags(prop);
        let size: u64 = if l > 1 { 0x80 } else { 0 };
        let x = pa as u64;
        let r = x | f | size;
        proof {
            lemma_leaf_fits::<G>(pa, l as nat);
            lemma_address(pa);
            assert(r & ADDRESS == x && r & 0x80 == size && r & !0x000f_ffff_ffff_f0e0 == f & !0x000f_ffff_ffff_f0e0)
                by (bit_vector)
                requires
                    r == x | f | size,
                    x & ADDRESS == x,
                    f & 0x000f_ffff_ffff_f0e0 == 0,
                    size == 0x80 || size == 0,
                    ADDRESS == 0x000f_ffff_ffff_f000,
            ;
            lemma_property(r, f);
        }
        r
    }

    #[inline(always)]
    fn leaf_after(e: u64) -> u64 {
        let r = e.wrapping_add(PAGE_SIZE as u64);
        proof {
            let x = e & ADDRESS;
            let pa = (x + PAGE_SIZE) as usize;
            if leaf_fits::<G>(pa, 1) {
                lemma_leaf_fits::<G>(pa, 1);
                assert(x <= 0x000f_ffff_ffff_f000) by (bit_vector)
                    requires
                        x == e & 0x000f_ffff_ffff_f000,
                ;
                assert(e <= 0xffff_ffff_ffff_efff) by (bit_vector)
                    requires
                        x == e & 0x000f_ffff_ffff_f000,
                        x < 0x40_0000_0000,
                ;
                assert(r & 0x000f_ffff_ffff_f000 == x + 4096 && r & !0x000f_ffff_ffff_f0e0 == e & !0x000f_ffff_ffff_f0e0) by (bit_vector)
                    requires
                        x == e & 0x000f_ffff_ffff_f000,
                        x < 0x40_0000_0000,
                        r == e + 4096,
                ;
                lemma_property(r, e);
            }
        }
        r
    }

    #[inline(always)]
    fn is_alike(e: u64, other: u64) -> bool {
        proof {
            if (e ^ other) & !ADDRESS == 0 {
                assert(e & !0x000f_ffff_ffff_f0e0 == other & !0x000f_ffff_ffff_f0e0 && e & 0x20 == other & 0x20 && e & 0x40 == other & 0x40
                    && 0x60 & !e == 0x60 & !other) by (bit_vector)
                    requires
                        (e ^ other) & !0x000f_ffff_ffff_f000u64 == 0,
                ;
                lemma_property(e, other);
            }
        }
        (e ^ other) & !ADDRESS == 0
    }

    #[inline(always)]
    fn page_alike(e: u64, other: u64) -> u64 {
        let r = (e & ADDRESS) | (other & !ADDRESS);
        proof {
            assert(r & ADDRESS == e & ADDRESS && r & !0x000f_ffff_ffff_f0e0 == other & !0x000f_ffff_ffff_f0e0 && r & 0x20 == other & 0x20
                && r & 0x40 == other & 0x40) by (bit_vector)
                requires
                    r == (e & ADDRESS) | (other & !ADDRESS),
                    ADDRESS == 0x000f_ffff_ffff_f000,
            ;
            lemma_property(r, other);
        }
        r
    }

    #[inline(always)]
    unsafe fn link(pa: usize) -> u64 {
        let x = pa as u64;
        let r = x | 7;
        proof {
            lemma_address(pa);
            assert(r & ADDRESS == x && r & 0x80 == 0 && r & 1 != 0 && r & 0x8000_0000_0000_0087 == 7) by (bit_vector)
                requires
                    r == x | 7,
                    x & ADDRESS == x,
                    ADDRESS == 0x000f_ffff_ffff_f000,
            ;
        }
        r
    }

    #[inline(always)]
    fn accessed_dirty(e: u64) -> AccessedDirty {
        AccessedDirty { accessed: e & 0x20 != 0, dirty: e & 0x40 != 0 }
    }

    #[inline(always)]
    fn note(ad: AccessedDirty) -> u64 {
        let a: u64 = if ad.accessed { 0x20 } else { 0 };
        let d: u64 = if ad.dirty { 0x40 } else { 0 };
        assert((a | d) & 0x20 == a && (a | d) & 0x40 == d) by (bit_vector)
            requires
                a == 0x20 || a == 0,
                d == 0x40 || d == 0,
        ;
        a | d
    }

    #[inline(always)]
    fn with_noted(e: u64, from: u64) -> u64 {
        let r = e | (from & 0x60);
        assert(r & !0x60 == e & !0x60 && (r & 0x20 != 0 <==> e & 0x20 != 0 || from & 0x20 != 0) && (r & 0x40 != 0 <==> e & 0x40
            != 0 || from & 0x40 != 0)) by (bit_vector)
            requires
                r == e | (from & 0x60),
        ;
        r
    }

    proof fn noted_is_no_meaning(e1: u64, e2: u64, l: nat) {
        assert(e1 & !0x000f_ffff_ffff_f0e0 == e2 & !0x000f_ffff_ffff_f0e0 && e1 & 0x80 == e2 & 0x80 && e1 & ADDRESS
            == e2 & ADDRESS && e1 & 0x8000_0000_0000_0087 == e2 & 0x8000_0000_0000_0087 && e1 & 1 == e2 & 1)
            by (bit_vector)
            requires
                e1 & !0x60 == e2 & !0x60,
                ADDRESS == 0x000f_ffff_ffff_f000,
        ;
        lemma_property(e1, e2);
    }

    proof fn meaning_holds(e: u64, l: nat) {
    }

    proof fn walker_step(e: u64, f: u64, l: nat) {
        assert(e & 1 == f & 1 && e & 2 == f & 2 && e & 4 == f & 4 && e & 0x80 == f & 0x80 && e & 0x8000_0000_0000_0000 == f
            & 0x8000_0000_0000_0000 && e & 0x000f_ffff_ffff_f000 == f & 0x000f_ffff_ffff_f000) by (bit_vector)
            requires
                e & !0x60u64 == f & !0x60u64,
        ;
        assert(f & 0x8000_0000_0000_0087 == 7 ==> f & 0x80 == 0 && f & 2 != 0 && f & 4 != 0 && f & 0x8000_0000_0000_0000 == 0)
            by (bit_vector);
    }

    proof fn zero_is_absent(l: nat) {
        assert(0u64 & 1 == 0 && 0u64 & 0x200 == 0 && 0u64 & 0x80 == 0) by (bit_vector);
    }

    proof fn levels(e: u64, l: nat) {
    }
}

} // verus!

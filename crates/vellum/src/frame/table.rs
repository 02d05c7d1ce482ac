//! Where the slots are: one per frame of physical memory, in the metadata region.
//!
//! The slot of the frame at `pa` stands at `META_BASE + pa / 4096 * 64`: metadata take 64 bytes of each 4096,
//! or 1/64 of memory (1.6 %, 16 MiB per GiB), and found is either from the other without a table.
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
#![expect(unsafe_code, reason = "slots are reached through raw pointers into the metadata region")]
use super::error::GetFrameError;
use super::slot::MetaSlot;
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::layout::{META_BASE, META_SLOT_SIZE, PADDR_LIMIT};
use vellum_machine::page::PagePerm;
use vellum_machine::primitive::{AtomicUsize, Ordering};
use vstd::prelude::*;

verus! {

/// The slot of the frame at an address.
pub uninterp spec fn slot_at(pa: Paddr) -> MetaSlot;

/// The metadata region was set up for the frame at `pa`.
pub uninterp spec fn is_managed(pa: Paddr) -> bool;

/// The address is that of a frame's first byte.
pub open spec fn is_frame(pa: Paddr) -> bool {
    pa.0 % PAGE_SIZE == 0 && pa.0 < PADDR_LIMIT
}

/// There is a frame at `pa`, and it has a slot.
pub open spec fn has_slot(pa: Paddr) -> bool {
    &&& is_managed(pa)
    &&& is_frame(pa)
    &&& slot_at(pa).pa() == pa
}

/// The error is right for the address: it is about this one, and the cause is what its name says.
pub open spec fn judges(error: GetFrameError, pa: Paddr) -> bool {
    match error {
        GetFrameError::NotAligned(p) => p == pa && pa.0 % PAGE_SIZE != 0,
        GetFrameError::OutOfBound(p) => p == pa && pa.0 % PAGE_SIZE == 0 && !has_slot(pa),
        GetFrameError::InUse(p) | GetFrameError::Unused(p) | GetFrameError::Busy(p) | GetFrameError::Unique(
            p,
        ) => p == pa && has_slot(pa),
    }
}

/// The slot is one of the metadata region, and not one that was made elsewhere.
pub open spec fn in_table(slot: MetaSlot) -> bool {
    has_slot(slot.pa()) && slot_at(slot.pa()) == slot
}

/// One past the last physical address that has a slot; zero before there are slots.
// Release in `init_metadata` and Acquire here: whoever sees the bound sees the slots below it.
#[verifier::external]
static MAX_PADDR: AtomicUsize = AtomicUsize::new(0);

/// Returns the end of the physical memory that has metadata: zero before [`init_metadata`].
#[inline(always)]
#[verifier::external_body]
pub fn max_paddr() -> (r: Paddr)
    ensures
        r.0 <= PADDR_LIMIT,
        r.0 % PAGE_SIZE == 0,
    opens_invariants none
    no_unwind
{
    Paddr(MAX_PADDR.load(Ordering::Acquire))
}

/// The virtual address of the slot of a frame, as a number.
pub open spec fn meta_va(pa: Paddr) -> int {
    META_BASE + pa.0 / PAGE_SIZE * META_SLOT_SIZE
}

/// The virtual address of the slot of a frame.
#[inline(always)]
fn meta_of(pa: Paddr) -> (r: usize)
    requires
        pa.0 < PADDR_LIMIT,
    ensures
        r == meta_va(pa),
    opens_invariants none
    no_unwind
{
    META_BASE + pa.0 / PAGE_SIZE * META_SLOT_SIZE
}

/// The frame of the slot at a virtual address: the inverse of [`meta_of`].
#[inline(always)]
fn frame_of(va: usize) -> (r: Paddr)
    requires
        META_BASE <= va < META_BASE + PADDR_LIMIT / PAGE_SIZE * META_SLOT_SIZE,
    ensures
        r.0 == (va - META_BASE) / META_SLOT_SIZE as int * PAGE_SIZE,
        forall|pa: Paddr| #![trigger meta_va(pa)] pa.0 % PAGE_SIZE == 0 && va == meta_va(pa) ==> r == pa,
    opens_invariants none
    no_unwind
{
    Paddr((va - META_BASE) / META_SLOT_SIZE * PAGE_SIZE)
}

/// Finds the slot of the frame at an address.
#[inline(always)]
#[verifier::external_body]
pub(crate) fn get_slot(pa: Paddr) -> (r: Result<&'static MetaSlot, GetFrameError>)
    ensures
        r matches Ok(slot) ==> has_slot(pa) && *slot == slot_at(pa),
        r matches Err(e) ==> !has_slot(pa) && judges(e, pa),
    opens_invariants none
    no_unwind
{
    if pa.0 % PAGE_SIZE != 0 {
        return Err(GetFrameError::NotAligned(pa));
    }
    if pa.0 >= max_paddr().0 {
        return Err(GetFrameError::OutOfBound(pa));
    }
    // SAFETY: below the bound every frame has a slot, which `init_metadata` wrote before it published the
    // bound, which stays for ever, and of which only shared references exist.
    Ok(unsafe { &*core::ptr::with_exposed_provenance(meta_of(pa)) })
}

/// The slot of a frame that is known to have one: who calls has proved it, so that nothing is looked at.
#[inline(always)]
#[verifier::external_body]
pub(crate) fn slot_of(pa: Paddr) -> (r: &'static MetaSlot)
    requires
        has_slot(pa),
    ensures
        *r == slot_at(pa),
        in_table(*r),
    opens_invariants none
    no_unwind
{
    debug_assert!(get_slot(pa).is_ok(), "{pa:?} has no slot");
    // SAFETY: as in `get_slot`, which is what told that the frame has a slot.
    unsafe { &*core::ptr::with_exposed_provenance(meta_of(pa)) }
}

/// The frame that a slot is of.
#[inline(always)]
#[verifier::external_body]
pub(crate) fn pa_of(slot: &'static MetaSlot) -> (r: Paddr)
    requires
        in_table(*slot),
    ensures
        r == slot.pa(),
    opens_invariants none
    no_unwind
{
    frame_of((slot as *const MetaSlot).addr())
}

/// Returns the number of the frame at an address, counted from the frame at 0: the inverse of
/// [`index_to_frame`].
///
/// # Errors
///
/// - [`GetFrameError::NotAligned`]: the address is not a multiple of [`PAGE_SIZE`].
/// - [`GetFrameError::OutOfBound`]: it is beyond physical memory.
pub fn frame_to_index(paddr: Paddr) -> (r: Result<usize, GetFrameError>)
    ensures
        r matches Ok(index) ==> has_slot(paddr) && index == paddr.0 / PAGE_SIZE,
        r matches Err(e) ==> !has_slot(paddr) && judges(e, paddr),
{
    get_slot(paddr)?;
    Ok(paddr.0 / PAGE_SIZE)
}

/// Returns the address of the frame with a number, if there is one.
pub fn index_to_frame(index: usize) -> (r: Option<Paddr>)
    ensures
        r matches Some(pa) ==> has_slot(pa) && pa.0 == index * PAGE_SIZE,
        r is None ==> forall|pa: Paddr| #[trigger] has_slot(pa) ==> pa.0 / PAGE_SIZE != index,
{
    if index >= PADDR_LIMIT / PAGE_SIZE {
        return None;
    }
    let pa = Paddr(index * PAGE_SIZE);
    match get_slot(pa) {
        Ok(_) => Some(pa),
        Err(_) => None,
    }
}

/// Returns the virtual address of the [`MetaSlot`] of the frame at an address: the inverse of
/// [`meta_to_frame`].
///
/// # Errors
///
/// - [`GetFrameError::NotAligned`]: the address is not a multiple of [`PAGE_SIZE`].
/// - [`GetFrameError::OutOfBound`]: it is beyond physical memory.
pub fn frame_to_meta(paddr: Paddr) -> (r: Result<Vaddr, GetFrameError>)
    ensures
        r matches Ok(va) ==> has_slot(paddr) && va.0 == meta_va(paddr),
        r matches Err(e) ==> !has_slot(paddr) && judges(e, paddr),
{
    get_slot(paddr)?;
    Ok(Vaddr(meta_of(paddr)))
}

/// Returns the address of the frame whose [`MetaSlot`] stands at a virtual address, if one does.
pub fn meta_to_frame(vaddr: Vaddr) -> (r: Option<Paddr>)
    ensures
        r matches Some(pa) ==> has_slot(pa) && vaddr.0 == meta_va(pa),
        r is None ==> forall|pa: Paddr| #[trigger] has_slot(pa) ==> vaddr.0 != meta_va(pa),
{
    let va = vaddr.0;
    if va < META_BASE || va % META_SLOT_SIZE != 0 {
        return None;
    }
    if (va - META_BASE) / META_SLOT_SIZE >= PADDR_LIMIT / PAGE_SIZE {
        return None;
    }
    let pa = frame_of(va);
    match get_slot(pa) {
        Ok(_) => Some(pa),
        Err(_) => None,
    }
}

/// Tells whether the frame at an address has metadata, at some moment during the call: it is shared or unique,
/// and neither unused nor being built or torn down. Of what is no frame it is not so.
pub fn is_initialized(paddr: Paddr) -> (r: bool)
    ensures
        r ==> has_slot(paddr),
{
    match get_slot(paddr) {
        Ok(slot) => slot.is_initialized(),
        Err(_) => false,
    }
}

/// Gives each of the first `nr_frames` frames of physical memory a slot; all are unused.
///
/// # Panics
///
/// Where the region was set up before, or `nr_frames` is more than the linear map has room for.
///
/// # Safety
///
/// 1. The metadata region is mapped and writable for that many slots, at
///    [`META_BASE`](vellum_machine::layout::META_BASE), and stays so for ever.
/// 2. Nobody else uses that memory, now or later.
/// 3. The linear map shows each of the frames that is memory, and stays so for ever.
/// 4. Frames that are not memory, or that something else uses, are taken out of circulation before anybody can
///    make a handle of them: by a handle that is never dropped, as [`allocator::init`](super::allocator::init)
///    does.
#[verifier::external_body]
pub unsafe fn init_metadata(nr_frames: usize) {
    assert!(nr_frames <= PADDR_LIMIT >> PAGE_SHIFT, "more frames than the linear map has room for");
    assert!(max_paddr() == Paddr(0), "the metadata region is set up once");
    for i in 0..nr_frames {
        let pa = Paddr(i << PAGE_SHIFT);
        let slot: *mut MetaSlot = core::ptr::with_exposed_provenance_mut(meta_of(pa));
        let page = Tracked::<PagePerm>::assume_new();
        // SAFETY: the caller promises that the region is there for so many slots and nobody else's.
        unsafe { slot.write(MetaSlot::new(page)) };
    }
    // Release: pairs with the Acquire in `max_paddr`.
    MAX_PADDR.store(nr_frames << PAGE_SHIFT, Ordering::Release);
}

#[verifier::external]
#[cfg(not(loom))]
const _: () = assert!(size_of::<MetaSlot>() == META_SLOT_SIZE && align_of::<MetaSlot>() == META_SLOT_SIZE);

#[verifier::external]
#[cfg(loom)]
const _: () = assert!(size_of::<MetaSlot>() <= META_SLOT_SIZE);

} // verus!

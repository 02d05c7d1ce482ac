//! Page faults: demand paging, shared objects, copy-on-write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use vellum::frame::UFrame;
use vellum::space::{
    Access, CursorMut, FaultAccess, FaultError, MappedItem, PageFault, PageProperty, SoftBits, VmSpace,
    VmSpaceError,
};
use vellum::sync::SpinLock;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

use super::error::Wanted;
use super::frames;
use crate::areas::Areas;
use crate::model::{Inherit, OnWrite, Rights};
use crate::strace::Prot;

/// The mark of a page that may share its frame since a fork.
const COPY_ON_WRITE: SoftBits = SoftBits::A;

/// What faults came to, over all spaces.
#[derive(Debug, Default)]
pub(super) struct Counters {
    zero_filled: AtomicU64,
    shared: AtomicU64,
    copied: AtomicU64,
    reused: AtomicU64,
    spurious: AtomicU64,
    refused: AtomicU64,
}

/// What faults came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// A page of zeros was mapped.
    pub zero_filled: u64,
    /// The page of a shared object was mapped.
    pub shared: u64,
    /// A page was copied because it was written and its frame was shared.
    pub copied: u64,
    /// A page was written whose frame was no longer shared.
    pub reused: u64,
    /// Nothing was wrong any more.
    pub spurious: u64,
    /// The access is not allowed.
    pub refused: u64,
}

impl FaultCounts {
    /// All faults.
    pub fn total(&self) -> u64 {
        self.zero_filled + self.shared + self.copied + self.reused + self.spurious + self.refused
    }
}

fn count(counter: &AtomicU64) {
    // Relaxed: only counts.
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn read(&self) -> FaultCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FaultCounts {
            zero_filled: read(&self.zero_filled),
            shared: read(&self.shared),
            copied: read(&self.copied),
            reused: read(&self.reused),
            spurious: read(&self.spurious),
            refused: read(&self.refused),
        }
    }
}

/// The pages of a `MAP_SHARED` mapping, by their offset; they stay while any mapping of it does.
#[derive(Default)]
pub(super) struct Object {
    pages: SpinLock<BTreeMap<u64, UFrame>>,
}

impl Object {
    fn page(&self, offset: u64) -> Option<UFrame> {
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&offset) {
            return Some(frame.clone());
        }
        let frame = frames::zeroed()?;
        pages.insert(offset, frame.clone());
        Some(frame)
    }
}

/// Whose pages an area shows.
#[derive(Clone)]
pub(super) enum AreaPages {
    /// Its own.
    Private,
    /// Those of an object: the page at `at` is the one at `at - base`.
    Shared { object: Arc<Object>, base: u64 },
}

/// What may be done in a range of a space.
#[derive(Clone)]
pub(super) struct Area {
    pub(super) prot: Prot,
    pub(super) pages: AreaPages,
    pub(super) inherit: Inherit,
}

/// What the fault handler of a space works with.
pub(super) struct Keeper {
    pub(super) areas: SpinLock<Areas<Area>>,
    pub(super) lacked: SpinLock<Option<Wanted>>,
    /// Held while pages begin to be shared, until no processor writes them in place any more, and while one that was
    /// written is copied. Before the page table's locks.
    pub(super) sharing: SpinLock<()>,
    pub(super) counters: Arc<Counters>,
}

/// The property of an entry.
pub(super) fn property(rights: Rights, on_write: OnWrite) -> PageProperty {
    let (rights, soft) = match on_write {
        OnWrite::InPlace => (rights, SoftBits::NONE),
        OnWrite::Copy => (rights.without_write(), COPY_ON_WRITE),
    };
    let access = match rights {
        Rights::None => Access::None,
        Rights::Read => Access::R,
        Rights::ReadWrite => Access::RW,
        Rights::ReadExecute => Access::RX,
        Rights::ReadWriteExecute => Access::RWX,
    };
    PageProperty::user(access).with_soft(soft)
}

/// What an entry allows.
pub(super) fn rights(property: PageProperty) -> Rights {
    match property.access {
        Access::None => Rights::None,
        Access::R => Rights::Read,
        Access::RW => Rights::ReadWrite,
        // No entry on this processor says that a page is executable and not readable.
        Access::RX | Access::X => Rights::ReadExecute,
        Access::RWX => Rights::ReadWriteExecute,
    }
}

/// The mark of an entry.
pub(super) fn on_write(property: PageProperty) -> OnWrite {
    if property.soft == COPY_ON_WRITE { OnWrite::Copy } else { OnWrite::InPlace }
}

fn allows(prot: Prot, access: FaultAccess) -> bool {
    match access {
        FaultAccess::Read => prot.readable(),
        FaultAccess::Write => prot.writable(),
        FaultAccess::Execute => prot.executable(),
    }
}

impl Keeper {
    /// Resolves a fault. The page is locked first and its area read then: whoever changes both changes the area first.
    pub(super) fn resolve(&self, space: &Arc<VmSpace>, fault: &PageFault) -> Result<(), FaultError> {
        let outcome = self.try_resolve(space, fault);
        if let Err(FaultError::Refused { .. }) = outcome {
            count(&self.counters.refused);
        }
        outcome
    }

    fn try_resolve(&self, space: &Arc<VmSpace>, fault: &PageFault) -> Result<(), FaultError> {
        let refused = FaultError::Refused { addr: fault.addr };
        let page = Vaddr(fault.addr.0 & !(PAGE_SIZE - 1));
        let at = page.0 as u64;
        if !self.is_allowed(at, fault.access) {
            // most refusals need no lock on the page table
            return Err(refused);
        }
        let range = page..Vaddr(page.0 + PAGE_SIZE);
        let _sharing = (fault.access == FaultAccess::Write).then(|| self.sharing.lock());
        let mut cursor = space.cursor_mut(range).map_err(|error| self.failed(error, Wanted::Node(at)))?;
        let Some(area) = self.areas.lock().get(at).map(|(_, area)| area.clone()) else { return Err(refused) };
        if !allows(area.prot, fault.access) {
            return Err(refused);
        }
        let slot = cursor.query()?;
        match slot.item {
            None => self.map_new(&mut cursor, at, &area),
            Some(item) if fault.access == FaultAccess::Write && on_write(item.prop) == OnWrite::Copy => {
                self.unshare(&mut cursor, at, &area, item)
            }
            Some(item) if item.prop.access.permits(fault.access.into()) => {
                count(&self.counters.spurious);
                Ok(())
            }
            // the entry is not what the area says: nothing here can mend that, and the access has to fail
            Some(_) => Err(refused),
        }
    }

    fn is_allowed(&self, at: u64, access: FaultAccess) -> bool {
        self.areas.lock().get(at).is_some_and(|(_, area)| allows(area.prot, access))
    }

    fn map_new(&self, cursor: &mut CursorMut<'_>, at: u64, area: &Area) -> Result<(), FaultError> {
        let (frame, counter) = match &area.pages {
            AreaPages::Private => (frames::zeroed(), &self.counters.zero_filled),
            AreaPages::Shared { object, base } => {
                (object.page(at.wrapping_sub(*base)), &self.counters.shared)
            }
        };
        let frame = frame.ok_or_else(|| self.lacking(Wanted::Page(at)))?;
        let prop = property(Rights::of(area.prot), OnWrite::InPlace);
        self.put(cursor, at, MappedItem::new(frame, prop))?;
        count(counter);
        Ok(())
    }

    /// Gives a written page a frame of its own.
    fn unshare(
        &self,
        cursor: &mut CursorMut<'_>,
        at: u64,
        area: &Area,
        item: MappedItem,
    ) -> Result<(), FaultError> {
        let prop = property(Rights::of(area.prot), OnWrite::InPlace);
        let frame = item.frames.frame().ok_or(FaultError::Refused { addr: Vaddr(at as usize) })?;
        if frames::mapped_once(frame) {
            if let Some(changed) = cursor.protect_next(PAGE_SIZE, |_| prop)? {
                // only widened
                cursor.flusher().waive(changed.owed);
            }
            count(&self.counters.reused);
            return Ok(());
        }
        let frame = frames::copy_of(frame).ok_or_else(|| self.lacking(Wanted::Copy(at)))?;
        self.put(cursor, at, MappedItem::new(frame, prop))?;
        count(&self.counters.copied);
        Ok(())
    }

    fn put(&self, cursor: &mut CursorMut<'_>, at: u64, item: MappedItem) -> Result<(), FaultError> {
        cursor.map(item).map_err(|refused| self.failed(refused.error, Wanted::Node(at)))
    }

    fn failed(&self, error: VmSpaceError, wanted: Wanted) -> FaultError {
        match error {
            VmSpaceError::NoMemory => self.lacking(wanted),
            error => error.into(),
        }
    }

    /// Notes what could not be had; the access that fails does not say why.
    fn lacking(&self, wanted: Wanted) -> FaultError {
        *self.lacked.lock() = Some(wanted);
        FaultError::NoMemory
    }
}

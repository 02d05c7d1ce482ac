//! An address space of the kernel, and what calls do to it. All of it runs on a processor of the machine.

use std::ops::Range;
use std::sync::Arc;

use vellum::space::{MappedItem, Slot, VmSpace, user_top};
use vellum::sync::SpinLock;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

use super::error::{KernelError, Wanted, refusal};
use super::fault::{Area, AreaPages, Counters, Keeper, on_write, property, rights};
use super::frames;
use crate::areas::Areas;
use crate::model::{Change, Inherit, OnWrite, Rights, Seen};
use crate::strace::{OldPlace, Prot, Sharing};

/// An address space: the page table, and the areas that its page faults go by.
pub(super) struct Space {
    pub(super) vm: Arc<VmSpace>,
    keeper: Arc<Keeper>,
}

fn addresses(range: &Range<u64>) -> Range<Vaddr> {
    Vaddr(range.start as usize)..Vaddr(range.end as usize)
}

fn length(range: &Range<u64>) -> usize {
    (range.end - range.start) as usize
}

impl Space {
    pub(super) fn new(counters: &Arc<Counters>) -> Result<Space, KernelError> {
        let vm = VmSpace::new().map_err(|error| match refusal("exist", 0)(error) {
            KernelError::OutOfMemory(_) => KernelError::OutOfMemory(Wanted::Space),
            other => other,
        })?;
        let keeper = Arc::new(Keeper {
            areas: SpinLock::new(Areas::default()),
            lacked: SpinLock::new(None),
            sharing: SpinLock::new(()),
            counters: counters.clone(),
        });
        let handler = keeper.clone();
        vm.set_fault_handler(move |space, fault| handler.resolve(space, fault));
        Ok(Space { vm, keeper })
    }

    /// Takes what a failed access could not have, if that is why it failed.
    pub(super) fn take_lacked(&self) -> Option<Wanted> {
        self.keeper.lacked.lock().take()
    }

    pub(super) fn apply(&self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::Map { at, prot, sharing, .. } => self.map(at, *prot, *sharing),
            Change::Unmap { at } => self.unmap(at),
            Change::Protect { at, prot } => self.protect(at, *prot),
            Change::Extend { at, like } => {
                let area = self.area(*like);
                self.place(at, area)
            }
            Change::Move { old, new, left } => self.move_pages(old, new, *left),
            Change::Double { old, new } => {
                let area = self.area(*old).map(|area| area.shifted(new.start.wrapping_sub(*old)));
                self.place(new, area)
            }
            Change::Empty { at } => self.drop_pages(at),
            Change::SetInherit { at, inherit } => {
                self.keeper.areas.lock().update(at.clone(), |area| area.inherit = *inherit);
                Ok(())
            }
        }
    }

    fn area(&self, at: u64) -> Option<Area> {
        self.keeper.areas.lock().get(at).map(|(_, area)| area.clone())
    }

    fn place(&self, at: &Range<u64>, area: Option<Area>) -> Result<(), KernelError> {
        if let Some(area) = area {
            self.keeper.areas.lock().insert(at.clone(), area);
        }
        Ok(())
    }

    fn map(&self, at: &Range<u64>, prot: Prot, sharing: Sharing) -> Result<(), KernelError> {
        self.unmap(at)?;
        let pages = match sharing {
            Sharing::Private => AreaPages::Private,
            Sharing::Shared => AreaPages::Shared { object: Arc::default(), base: at.start },
        };
        self.place(at, Some(Area { prot, pages, inherit: Inherit::Copy }))
    }

    fn unmap(&self, at: &Range<u64>) -> Result<(), KernelError> {
        // objects go only after the pages that show them
        let removed = self.keeper.areas.lock().remove(at.clone());
        if removed.is_empty() { Ok(()) } else { self.drop_pages(at) }
    }

    fn drop_pages(&self, at: &Range<u64>) -> Result<(), KernelError> {
        let refused = refusal("unmap pages", at.start);
        let mut cursor = self.vm.cursor_mut(addresses(at)).map_err(&refused)?;
        cursor.unmap(length(at)).map_err(&refused)?;
        Ok(())
    }

    fn protect(&self, at: &Range<u64>, prot: Prot) -> Result<(), KernelError> {
        self.keeper.areas.lock().update(at.clone(), |area| area.prot = prot);
        let refused = refusal("protect pages", at.start);
        let mut cursor = self.vm.cursor_mut(addresses(at)).map_err(&refused)?;
        cursor.protect(length(at), |now| property(Rights::of(prot), on_write(now))).map_err(&refused)?;
        Ok(())
    }

    fn move_pages(&self, old: &Range<u64>, new: &Range<u64>, left: OldPlace) -> Result<(), KernelError> {
        let offset = new.start.wrapping_sub(old.start);
        {
            let mut areas = self.keeper.areas.lock();
            let moved = match left {
                OldPlace::Gone => areas.remove(old.clone()),
                OldPlace::Emptied => {
                    areas.within(old.clone()).map(|(range, area)| (range, area.clone())).collect()
                }
            };
            for (range, area) in moved {
                areas.insert(
                    range.start.wrapping_add(offset)..range.end.wrapping_add(offset),
                    area.shifted(offset),
                );
            }
        }
        let mut pages: Vec<(u64, MappedItem)> = Vec::new();
        self.each_page(old, |at, slot| pages.extend(slot.item.map(|item| (at, item))))?;
        // the frames are held by `pages` meanwhile, and nobody reaches them at the old place after this
        self.drop_pages(old)?;
        let refused = refusal("map moved pages", new.start);
        let mut cursor = self.vm.cursor_mut(addresses(new)).map_err(&refused)?;
        for (at, item) in pages {
            cursor.jump(Vaddr(at.wrapping_add(offset) as usize)).map_err(&refused)?;
            cursor.map(item).map_err(|error| refused(error.error))?;
        }
        Ok(())
    }

    /// Calls `look` for each page in `range`, in order.
    fn each_page(&self, range: &Range<u64>, mut look: impl FnMut(u64, Slot)) -> Result<(), KernelError> {
        let refused = refusal("show pages", range.start);
        let Range { end, .. } = addresses(range);
        let mut cursor = self.vm.cursor(addresses(range)).map_err(&refused)?;
        while cursor.virt_addr() < end {
            let left = end.0 - cursor.virt_addr().0;
            let Some(at) = cursor.find_next(left).map_err(&refused)? else { break };
            let slot = cursor.query().map_err(&refused)?;
            let next = slot.range.end;
            look(at.0 as u64, slot);
            if next >= end {
                break;
            }
            cursor.jump(next).map_err(&refused)?;
        }
        Ok(())
    }

    /// Makes a copy as `fork` does: private pages are shared until somebody writes.
    pub(super) fn fork(&self) -> Result<Space, KernelError> {
        let child = Space::new(&self.keeper.counters)?;
        let areas: Vec<_> =
            self.keeper.areas.lock().iter().map(|(range, area)| (range, area.clone())).collect();
        for (range, area) in areas {
            if area.inherit == Inherit::Nothing {
                continue;
            }
            child.place(&range, Some(area.clone()))?;
            if area.inherit == Inherit::Copy && matches!(area.pages, AreaPages::Private) {
                self.share_pages(&child, &range)?;
            }
        }
        Ok(child)
    }

    fn share_pages(&self, child: &Space, range: &Range<u64>) -> Result<(), KernelError> {
        let refused = refusal("share pages with a child", range.start);
        let Range { start, end } = addresses(range);
        let _sharing = self.keeper.sharing.lock();
        let mut from = self.vm.cursor_mut(start..end).map_err(&refused)?;
        let mut to: Option<vellum::space::CursorMut<'_>> = None;
        while from.virt_addr() < end {
            let left = end.0 - from.virt_addr().0;
            let Some(at) = from.find_next(left).map_err(&refused)? else { break };
            let Some(item) = from.query().map_err(&refused)?.item else { break };
            let prop = property(rights(item.prop), OnWrite::Copy);
            if let Some(changed) = from.protect_next(PAGE_SIZE, |_| prop).map_err(&refused)? {
                from.flusher().pay(changed.owed);
            }
            let to = match &mut to {
                Some(to) => to,
                none => none.insert(child.vm.cursor_mut(start..end).map_err(&refused)?),
            };
            to.jump(at).map_err(&refused)?;
            to.map(MappedItem { prop, ..item }).map_err(|error| refused(error.error))?;
        }
        drop(to);
        let _ = from.finish();
        Ok(())
    }

    /// Shows every page, in order.
    pub(super) fn view(&self) -> Result<Vec<Seen>, KernelError> {
        let mut seen = Vec::new();
        self.each_page(&(0..user_top().0 as u64), |at, slot| {
            let Some(item) = slot.item else { return };
            // base pages alone are mapped
            let Some(frame) = item.frames.frame() else { return };
            seen.push(Seen {
                at,
                frame: frame.start_paddr().0 as u64,
                rights: rights(item.prop),
                on_write: on_write(item.prop),
                accessed: slot.ad.accessed,
                dirty: slot.ad.dirty,
                words: frames::words(frame),
            });
        })?;
        Ok(seen)
    }

    /// Unmaps everything, as the end of a process does.
    pub(super) fn clear(&self) -> Result<(), KernelError> {
        self.unmap(&(0..user_top().0 as u64))
    }

    /// Leaves the space to the processors on which it is active, without a handler.
    pub(super) fn abandon(&self) {
        self.vm.clear_fault_handler();
    }
}

impl Area {
    /// The same, `offset` higher up.
    fn shifted(&self, offset: u64) -> Area {
        let pages = match &self.pages {
            AreaPages::Private => AreaPages::Private,
            AreaPages::Shared { object, base } => {
                AreaPages::Shared { object: object.clone(), base: base.wrapping_add(offset) }
            }
        };
        Area { pages, ..self.clone() }
    }
}

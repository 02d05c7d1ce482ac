//! Page faults of a program: pages that are not there yet, and pages that two programs share until one writes.
use super::areas::Areas;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::frame::UFrame;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::io::UntypedMem;
use vellum::space::{Access, FaultError, MappedItem, PageFault, PageProperty, VmSpace};
use vellum::sync::SpinLock;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

/// What page faults came to.
#[derive(Default, Debug)]
pub struct Counts {
    /// Pages that were filled and mapped.
    pub loaded: AtomicUsize,
    /// Pages that were copied when one of those that share them wrote.
    pub copied: AtomicUsize,
    /// Pages that nobody else shared any more when they were written.
    pub taken_over: AtomicUsize,
}

/// Resolves a page fault of a program with these areas.
pub fn resolve(
    areas: &SpinLock<Areas>,
    counts: &Counts,
    space: &Arc<VmSpace>,
    fault: &PageFault,
) -> Result<(), FaultError> {
    let refused = FaultError::Refused { addr: fault.addr };
    let page = fault.addr.0 / PAGE_SIZE * PAGE_SIZE;
    let area = areas.lock().of(fault.addr.0).cloned().ok_or(refused)?;
    let access = fault.access.into();
    if !area.access.permits(access) {
        return Err(refused);
    }
    let mut cursor = space.cursor_mut(Vaddr(page)..Vaddr(page + PAGE_SIZE))?;
    let prop = PageProperty::user(area.access);
    let frame = match cursor.query()?.item {
        // Somebody was faster, or it is shared.
        Some(MappedItem { prop, .. }) if prop.access.permits(access) => return Ok(()),
        Some(item) => {
            // Programs have no huge pages.
            let frame = item.frames.into_frame().map_err(|_| refused)?;
            // This mapping and the handle at hand are all that there is of it.
            if frame.reference_count() == 2 {
                counts.taken_over.fetch_add(1, Ordering::Relaxed);
                frame
            } else {
                let copy = new_frame()?;
                copy.writer().write(&mut frame.reader());
                counts.copied.fetch_add(1, Ordering::Relaxed);
                copy
            }
        }
        None => {
            let frame = new_frame()?;
            area.fill(page, &frame);
            counts.loaded.fetch_add(1, Ordering::Relaxed);
            frame
        }
    };
    cursor.map_accessed(MappedItem::new(frame, prop), access)?;
    Ok(())
}

/// Has `child` share what is mapped in `parent`: neither writes it in place from now on.
pub fn share(areas: &Areas, parent: &VmSpace, child: &VmSpace) -> Result<(), FaultError> {
    for area in areas.iter() {
        let (start, end) = (Vaddr(area.pages.start), Vaddr(area.pages.end));
        let mut from = parent.cursor_mut(start..end)?;
        let mut to = child.cursor_mut(start..end)?;
        if area.access == Access::RW {
            from.protect(end.0 - start.0, read_only)?;
            from.jump(start)?;
        }
        while let Some(at) = from.find_next(end.0 - from.virt_addr().0)? {
            if let Some(item) = from.query()?.item {
                to.jump(at)?;
                to.map(item)?;
            }
            let next = Vaddr(at.0 + PAGE_SIZE);
            if next == end {
                break;
            }
            from.jump(next)?;
        }
    }
    Ok(())
}

/// The property of a page that is shared until it is written.
pub fn read_only(prop: PageProperty) -> PageProperty {
    let access = if prop.access == Access::RW { Access::R } else { prop.access };
    PageProperty { access, ..prop }
}

fn new_frame() -> Result<UFrame, FaultError> {
    FrameAllocOptions::new().alloc_frame().map(UFrame::from).map_err(|_| FaultError::NoMemory)
}

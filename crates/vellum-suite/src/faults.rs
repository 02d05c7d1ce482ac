//! Page faults go to the handler of the space they happen in.
use crate::Machine;
use crate::support::*;
use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::io::{CopyError, IoError, VmReader, VmWriter};
use vellum::space::{Access, FaultAccess, FaultError, PageFault, VmSpace, VmSpaceError};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::CpuId;

/// Maps a page wherever one is missing below page `limit`.
fn demand(
    limit: usize,
) -> impl Fn(&Arc<VmSpace>, &PageFault) -> Result<(), FaultError> + Send + Sync + 'static {
    move |space, fault| {
        let n = page_of(fault.addr);
        if n >= limit || fault.present {
            return Err(FaultError::Refused { addr: fault.addr });
        }
        let mut cursor = space.cursor_mut(pages(n..n + 1))?;
        cursor.map_accessed(new_item(Access::RW), fault.access.into())?;
        Ok(())
    }
}

/// Missing pages come on demand.
pub fn missing_pages_come_on_demand(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, handle) = (calls.clone(), demand(16));
        space.set_fault_handler(move |space, fault| {
            counted.fetch_add(1, Ordering::SeqCst);
            handle(space, fault)
        });
        for n in 0..16 {
            store(page(n), n as u64).unwrap();
            assert_eq!(load(page(n)), Ok(n as u64));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 16);
        let fault = store(page(16), 1).unwrap_err();
        assert_eq!(
            (fault.addr, fault.access, fault.present, fault.user),
            (page(16), FaultAccess::Write, false, true)
        );
        space.clear_fault_handler();
        assert!(load(page(17)).is_err());
        assert_eq!(space.handle_page_fault(&fault), Err(FaultError::NoHandler { addr: page(16) }));
    });
}

/// Kernel copies fault pages in and stop short.
pub fn kernel_copies_fault_pages_in_and_stop_short(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        space.set_fault_handler(demand(3));
        let data = vec![0xa5; 5 * PAGE_SIZE];
        let mut source = VmReader::from(&data[..]);
        let mut writer = space.writer(Vaddr(page(0).0 + 8), 5 * PAGE_SIZE - 8).unwrap();
        let done = 3 * PAGE_SIZE - 8;
        assert_eq!(writer.write(&mut source), Err(CopyError { done, error: IoError::Fault { at: page(3) } }));
        assert_eq!((writer.avail(), source.remain()), (2 * PAGE_SIZE, 2 * PAGE_SIZE + 8));
        let mut out = vec![0; 5 * PAGE_SIZE];
        let mut reader = space.reader(page(2), 2 * PAGE_SIZE).unwrap();
        let outcome = reader.read(&mut VmWriter::from(&mut out[..]));
        assert_eq!(outcome, Err(CopyError { done: PAGE_SIZE, error: IoError::Fault { at: page(3) } }));
        assert!(
            out[..PAGE_SIZE].iter().all(|byte| *byte == 0xa5)
                && out[PAGE_SIZE..].iter().all(|byte| *byte == 0)
        );
        assert_eq!(reader.remain(), PAGE_SIZE);
        assert_eq!(reader.read_val::<u32>(), Err(IoError::Fault { at: page(3) }));
        assert_eq!(reader.remain(), PAGE_SIZE);
    });
}

/// The right space is asked on each processor.
pub fn the_right_space_is_asked_on_each_processor(machine: &dyn Machine) {
    machine.on_all(&|me| {
        let space = active_space();
        space.set_fault_handler(demand(4 + me.index()));
        let other = VmSpace::new().unwrap();
        other.set_fault_handler(demand(1));
        for _ in 0..50 {
            space.activate();
            assert!((0..4 + me.index()).all(|n| store(page(n), 1).is_ok()));
            assert!(store(page(4 + me.index()), 1).is_err());
            unmap_pages(&space, 0..8);
            other.activate();
            assert!(store(page(0), 1).is_ok() && store(page(1), 1).is_err());
        }
    });
}

/// A handler can be set while faults are handled.
pub fn a_handler_can_be_set_while_faults_are_handled(machine: &dyn Machine) {
    let space = on_first(machine, || VmSpace::new().unwrap());
    machine.on_all(&|me| {
        space.activate();
        for round in 0..500 {
            if me == CpuId::BOOT {
                space.set_fault_handler(demand(64));
            } else {
                let n = round % 64;
                let _ = store(page(n), 1);
                unmap_pages(&space, n..n + 1);
            }
        }
    });
}

/// A fault under a cursor fails instead of waiting for itself.
pub fn a_fault_under_a_cursor_fails_instead_of_waiting_for_itself(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        space.set_fault_handler(demand(4));
        let cursor = space.cursor(pages(0..4)).unwrap();
        assert!(store(page(0), 1).is_err());
        assert!(matches!(vellum::barrier(), Err(vellum::BarrierError::CursorHeld)));
        drop(cursor);
        assert!(store(page(0), 1).is_ok());
    });
}

/// A handler that activates another space is survived.
pub fn a_handler_that_activates_another_space_is_survived(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let other = VmSpace::new().unwrap();
        let target = other.clone();
        space.set_fault_handler(move |_, fault| {
            target.activate();
            Err(FaultError::Refused { addr: fault.addr })
        });
        let mut reader = space.reader(page(0), 8).unwrap();
        assert!(matches!(reader.read_val::<u64>(), Err(IoError::Fault { .. })));
        assert_eq!(reader.read_val::<u64>(), Err(IoError::NotActive { cpu: CpuId::BOOT }));
        assert_eq!(space.reader(page(0), 8).unwrap_err(), VmSpaceError::NotActive { cpu: CpuId::BOOT });
    });
}

//! What a kernel maps into its own space: refused where it makes no sense, and seen by every space.
#![allow(unsafe_code, reason = "maps memory that nobody uses")]

use vellum::frame::allocator::inject_failure;
use vellum::kspace::{self, KVirtArea, KVirtAreaError, KernelMapError, LINEAR_MAP, area_range};
use vellum::space::{self, Access, PageProperty, VmSpace, VmSpaceError};
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::{PADDR_LIMIT, user_top};

/// An address of kernel space beyond the linear map.
const FREE: Vaddr = Vaddr(LINEAR_MAP.0 + 2 * PADDR_LIMIT);

const LARGE: usize = PAGE_SIZE << 9;

fn map(at: Vaddr, pa: usize, len: usize, prop: PageProperty) -> Result<(), KernelMapError> {
    // SAFETY: nobody accesses kernel space here.
    unsafe { kspace::map(at, Paddr(pa), len, prop) }
}

/// Has allocations fail that kernel space needs, in each try the next one, until it can do without.
fn space_set_up_after_failures() {
    for nth in 1.. {
        assert_eq!(VmSpace::new().err(), Some(VmSpaceError::NotInitialised));
        inject_failure(nth);
        let made = space::init();
        inject_failure(0);
        if made.is_ok() {
            assert!(nth > 3, "neither of the tables, nor what is below");
            return assert!(VmSpace::new().is_ok());
        }
        assert_eq!(made, Err(VmSpaceError::NoMemory));
    }
}

#[test]
fn mappings_are_checked_and_stay() {
    let machine = Machine::boot(MachineConfig::default()).unwrap();
    machine.run_on(CpuId::BOOT, || {
        let rw = PageProperty::kernel(Access::RW);
        assert_eq!(map(FREE, 0, PAGE_SIZE, rw), Err(KernelMapError::NotInitialised));
        assert_eq!(KVirtArea::new(PAGE_SIZE).err(), Some(KVirtAreaError::NotInitialised));
        // SAFETY: refused.
        assert_eq!(unsafe { kspace::enter() }, Err(KernelMapError::NotInitialised));
        space_set_up_after_failures();
        assert_eq!(space::init(), Err(VmSpaceError::AlreadyInitialised));

        for (at, pa, len) in [(FREE.0 + 1, 0, PAGE_SIZE), (FREE.0, 8, PAGE_SIZE), (FREE.0, 0, PAGE_SIZE - 1)]
        {
            assert_eq!(map(Vaddr(at), pa, len, rw), Err(KernelMapError::NotAligned));
        }
        for (at, pa, len) in [
            (Vaddr(0), 0, PAGE_SIZE),
            (Vaddr(user_top() - PAGE_SIZE), 0, 2 * PAGE_SIZE),
            (area_range().start, 0, PAGE_SIZE),
            (Vaddr(area_range().start.0 - PAGE_SIZE), 0, 2 * PAGE_SIZE),
            (Vaddr(area_range().end.0 - PAGE_SIZE), 0, PAGE_SIZE),
            (Vaddr(usize::MAX & !(PAGE_SIZE - 1)), 0, 2 * PAGE_SIZE),
            (Vaddr(usize::MAX & !(PAGE_SIZE - 1)), 0, PAGE_SIZE),
            (FREE, PADDR_LIMIT, PAGE_SIZE),
            (FREE, usize::MAX & !(PAGE_SIZE - 1), PAGE_SIZE),
            (FREE, 0, usize::MAX & !(PAGE_SIZE - 1)),
        ] {
            assert_eq!(map(at, pa, len, rw), Err(KernelMapError::OutOfRange { at }), "{at} {pa:#x} {len:#x}");
        }
        let user = PageProperty::user(Access::R);
        assert_eq!(map(FREE, 0, PAGE_SIZE, user), Err(KernelMapError::BadProperty));
        assert_eq!(map(LINEAR_MAP, 0, PAGE_SIZE, rw), Err(KernelMapError::Taken { at: LINEAR_MAP }));

        // With pages of every size that fits: a base page, a large one, a base page.
        let at = Vaddr(FREE.0 + LARGE - PAGE_SIZE);
        assert_eq!(map(at, 3 * LARGE - PAGE_SIZE, LARGE + 2 * PAGE_SIZE, rw), Ok(()));
        for (start, taken) in [(FREE.0, at.0), (FREE.0 + LARGE, FREE.0 + LARGE)] {
            let taken = Err(KernelMapError::Taken { at: Vaddr(taken) });
            assert_eq!(map(Vaddr(start), 0, 2 * LARGE, rw), taken);
        }
        assert_eq!(map(Vaddr(FREE.0 + 2 * LARGE + PAGE_SIZE), 0, PAGE_SIZE, rw), Ok(()));
        assert_eq!(map(FREE, 0, 0, rw), Ok(()));
        // SAFETY: no code of this process runs by the machine's tables.
        assert_eq!(unsafe { kspace::enter() }, Ok(()));
    });
}

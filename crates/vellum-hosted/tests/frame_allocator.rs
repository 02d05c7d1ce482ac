//! Frames from the global allocator, on a machine.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock};
use vellum::boot::MemoryRegionType;
use vellum::frame::allocator::{
    self, AllocError, FrameAllocOptions, FrameRequest, FrameStatistics, Withheld,
};
use vellum::frame::{AnyFrameMeta, Frame, GetFrameError, max_paddr};
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::LINEAR_MAP_BASE;

/// Gives the machine of this process to one test at a time.
fn machine() -> (MutexGuard<'static, ()>, &'static Machine) {
    static TURN: Mutex<()> = Mutex::new(());
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(|ended| ended.into_inner());
    let config = MachineConfig { memory: 64 << 20, ..MachineConfig::default() };
    (turn, MACHINE.get_or_init(|| Machine::boot(config).expect("the machine boots")))
}

/// Counts what is free, with the caches empty.
fn census() -> FrameStatistics {
    allocator::drain();
    FrameStatistics { ignored: 0, ..allocator::statistics().expect("there is an allocator") }
}

/// Runs a test on the first processor and expects every frame back.
fn on_boot_cpu(test: impl FnOnce() + Send) {
    let (_turn, machine) = machine();
    machine.run_on(CpuId::BOOT, || {
        let before = census();
        test();
        assert_eq!(census(), before);
    });
}

#[allow(unsafe_code, reason = "looks at frames through the linear map")]
fn contents(paddr: Paddr) -> &'static mut [u8] {
    // SAFETY: the linear map shows every frame of the machine, and the tests, which take turns, look only at frames
    // of which they have the one handle.
    unsafe { std::slice::from_raw_parts_mut((LINEAR_MAP_BASE + paddr.0) as *mut u8, PAGE_SIZE) }
}

#[test]
fn frames_are_zero_unless_that_is_not_wanted() {
    on_boot_cpu(|| {
        let frame = FrameAllocOptions::new().alloc_frame().unwrap();
        let paddr = frame.start_paddr();
        assert_eq!(contents(paddr), [0; PAGE_SIZE]);
        contents(paddr).fill(7);
        drop(frame);
        let frame = FrameAllocOptions::new().uninit().alloc_frame().unwrap();
        assert_eq!(frame.start_paddr(), paddr, "the processor's cache gives the lowest frame of a word");
        assert_eq!(contents(paddr), [7; PAGE_SIZE]);
        drop(frame);
        let frame = FrameAllocOptions::new().uninit().zeroed().alloc_frame().unwrap();
        assert_eq!(contents(frame.start_paddr()), [0; PAGE_SIZE]);
    });
}

#[test]
fn frames_that_others_have_by_address_are_skipped() {
    on_boot_cpu(|| {
        let next = FrameAllocOptions::new().alloc_frame().unwrap().start_paddr();
        let theirs = Frame::from_unused(next, ()).unwrap();
        let frame = FrameAllocOptions::new().alloc_frame().unwrap();
        assert_ne!(frame.start_paddr(), next);
        drop((theirs, frame));

        let request = FrameRequest::new(8).unwrap();
        let run = allocator::alloc(request).unwrap();
        allocator::dealloc(run, 8);
        let theirs = Frame::from_unused(Paddr(run.0 + 3 * PAGE_SIZE), ()).unwrap();
        let mut asked = BTreeSet::new();
        let segment =
            FrameAllocOptions::new().alloc_segment_with(8, |paddr| assert!(asked.insert(paddr))).unwrap();
        assert_ne!(segment.start_paddr(), run);
        assert!(asked.contains(&run), "the first place was tried");
        drop((theirs, segment));
    });
}

#[test]
fn a_closure_that_panics_loses_nothing() {
    on_boot_cpu(|| {
        for bad in 0..5 {
            let mut called = 0;
            let meta = |_| {
                assert_ne!(called, bad, "on purpose");
                called += 1;
            };
            let ended =
                catch_unwind(AssertUnwindSafe(|| FrameAllocOptions::new().alloc_segment_with(5, meta)));
            assert!(ended.is_err());
        }
    });
}

#[test]
fn no_frames_at_all_are_an_error() {
    on_boot_cpu(|| {
        assert_eq!(FrameAllocOptions::new().alloc_segment(0).err(), Some(AllocError::Empty));
        let frames = usize::MAX;
        assert_eq!(
            FrameAllocOptions::new().alloc_segment(frames).err(),
            Some(AllocError::NoMemory { frames })
        );
    });
}

/// Does this and that with frames.
fn suite() -> Result<(), AllocError> {
    let one = FrameAllocOptions::new().alloc_frame()?;
    let run = FrameAllocOptions::new().uninit().alloc_segment(20)?;
    drop(one);
    let large = FrameAllocOptions::new().uninit().alloc_segment_with(600, |_| ())?;
    let many = (0..100).map(|_| FrameAllocOptions::new().alloc_frame()).collect::<Result<Vec<_>, _>>()?;
    drop((run, large, many));
    Ok(())
}

#[test]
fn each_allocation_may_fail_and_nothing_is_lost() {
    let (_turn, machine) = machine();
    machine.run_on(CpuId::BOOT, || {
        let before = census();
        let mut failures = 0;
        for nth in 1.. {
            allocator::inject_failure(nth);
            let result = suite();
            let pending = allocator::failure_pending();
            allocator::inject_failure(0);
            assert_eq!(census(), before, "failure {nth}");
            if pending > 0 {
                assert_eq!(result, Ok(()));
                break;
            }
            assert!(matches!(result, Err(AllocError::NoMemory { .. })));
            failures += 1;
        }
        assert_eq!(failures, 103);
    });
}

#[test]
fn what_is_not_free_memory_cannot_be_had() {
    let (_turn, machine) = machine();
    machine.run_on(CpuId::BOOT, || {
        let regions = machine.regions();
        let kind_of = |paddr: Paddr| {
            regions
                .iter()
                .find(|region| region.base <= paddr && paddr < region.end())
                .map(|region| region.kind)
        };
        let mut withheld = 0;
        for paddr in (0..max_paddr().0).step_by(PAGE_SIZE).map(Paddr) {
            let kind = kind_of(paddr);
            if kind == Some(MemoryRegionType::Usable) {
                continue;
            }
            withheld += 1;
            assert_eq!(Frame::from_unused(paddr, ()).err(), Some(GetFrameError::InUse(paddr)));
            allocator::dealloc(paddr, 1);
            let frame = Frame::<dyn AnyFrameMeta>::from_in_use(paddr).unwrap();
            let Ok(frame) = frame.downcast::<Withheld>() else { panic!("{paddr} has other metadata") };
            assert_eq!(frame.meta().kind(), kind);
        }
        assert!(withheld > 0);
        assert_eq!(census().total, max_paddr().0 / PAGE_SIZE - withheld);
    });
}

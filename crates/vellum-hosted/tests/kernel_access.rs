//! The kernel's accesses at its own addresses: what they need of the tables, and what is kept of it.
#![allow(unsafe_code, reason = "accesses what the tests map")]
mod common;

use common::*;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::frame::{self, UFrame};
use vellum::io::{CopyError, IoError, UntypedMem, VmReader, VmWriter};
use vellum::kspace::{self, LINEAR_MAP};
use vellum::space::{Access as Allows, PageProperty};
use vellum_hosted::MachineConfig;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::fault::{Access, FaultOutcome, PageFault};
use vellum_machine::layout::{KERNEL_BASE, PADDR_LIMIT};
use vellum_machine::user::WordError;
use vellum_machine::{kernel, tlb, user};

/// An address of kernel space, in tables built by hand.
const AT: Vaddr = Vaddr(KERNEL_BASE + 0x1234_5678_9000);

/// An address of kernel space beyond the linear map.
const FREE: Vaddr = Vaddr(LINEAR_MAP.0 + 2 * PADDR_LIMIT);

/// What the kernel's pages have.
const KERNEL: u64 = P | W | NX;

fn after(va: Vaddr, bytes: usize) -> Vaddr {
    Vaddr(va.0 + bytes)
}

/// A machine of three processors, the last of which no test gives tables.
fn three() -> MachineConfig {
    MachineConfig { cpus: 3, ..config() }
}

/// Runs a test on the first processor, with page faults that nobody expects.
fn on_cpu(test: impl FnOnce() + Send) {
    machine(three()).run_on(CpuId::BOOT, || with_handler(|fault| panic!("asked: {fault}"), test));
}

/// Runs a test on the first processor, with tables of its own.
fn with_tables(test: impl FnOnce(&Tables) + Send) {
    on_cpu(|| {
        let tables = Tables::new();
        tables.activate();
        test(&tables);
    });
}

fn load(at: Vaddr) -> Result<u64, PageFault> {
    let mut word = [0; 8];
    // SAFETY: what is mapped is memory of the tests, with plain bytes. So in the others.
    unsafe { kernel::read(at, &mut word) }.map(|()| u64::from_le_bytes(word))
}

fn store(at: Vaddr, value: u64) -> Result<(), PageFault> {
    // SAFETY: as above.
    unsafe { kernel::write(at, &value.to_le_bytes()) }
}

fn fault(addr: Vaddr, access: Access, present: bool) -> PageFault {
    PageFault { addr, access, present, user: false }
}

#[test]
fn a_processor_without_tables_reaches_nothing() {
    machine(three()).run_on(cpu(2), || {
        assert_eq!(tlb::root(), None);
        for at in [LINEAR_MAP, AT, Vaddr(usize::MAX - 7)] {
            assert_eq!(load(at), Err(fault(at, Access::Read, false)));
            assert_eq!(store(at, 1), Err(fault(at, Access::Write, false)));
        }
    });
}

#[test]
fn what_is_mapped_in_kernel_space_is_reached_as_its_property_says() {
    on_cpu(|| {
        let frames = [(); 3].map(|()| UFrame::from(FrameAllocOptions::new().alloc_frame().unwrap()));
        kspace::init(frame::max_paddr()).unwrap();
        for (n, frame) in frames.iter().enumerate() {
            let allowed = if n == 2 { Allows::R } else { Allows::RW };
            let (at, prop) = (after(FREE, n * PAGE_SIZE), PageProperty::kernel(allowed));
            // SAFETY: the frame has plain bytes, and is leaked.
            unsafe { kspace::map(at, frame.start_paddr(), PAGE_SIZE, prop) }.unwrap();
        }
        // SAFETY: no code of this process runs by the machine's tables, and there is no space.
        unsafe { kspace::enter() }.unwrap();

        // Frames that do not follow each other in memory do here.
        let data: Vec<u8> = (0..2 * PAGE_SIZE).map(|n| (n % 251) as u8).collect();
        // SAFETY: as in `load`. So below.
        assert_eq!(unsafe { kernel::write(FREE, &data) }, Ok(()));
        for (n, frame) in frames[..2].iter().enumerate() {
            let mut back = vec![0; PAGE_SIZE];
            frame.reader().read(&mut VmWriter::from(&mut back[..]));
            assert!(back == data[n * PAGE_SIZE..][..PAGE_SIZE], "frame {n}");
        }
        let linear = after(LINEAR_MAP, frames[1].start_paddr().0);
        assert_eq!(load(linear), load(after(FREE, PAGE_SIZE)));
        store(linear, 42).unwrap();
        assert_eq!(load(after(FREE, PAGE_SIZE)), Ok(42));

        // The third page is for reading, and behind it nothing is mapped.
        let (read_only, hole) = (after(FREE, 2 * PAGE_SIZE), after(FREE, 3 * PAGE_SIZE));
        frames[2].writer().write_val(&7_u64).unwrap();
        assert_eq!(load(read_only), Ok(7));
        assert_eq!(store(read_only, 8), Err(fault(read_only, Access::Write, true)));
        assert_eq!(store(Vaddr(read_only.0 - 8), 8), Ok(()));
        let denied = WordError::Fault(fault(read_only, Access::Write, true));
        // SAFETY: as in `load`.
        unsafe {
            assert_eq!(kernel::store(read_only, 8_u32), Err(denied));
            assert_eq!(kernel::compare_exchange(read_only, 7_u64, 8), Err(denied));
            assert_eq!(kernel::load(read_only), Ok(7_u64));
            assert_eq!(kernel::store(FREE, 9_u64), Ok(()));
            assert_eq!(kernel::compare_exchange(FREE, 9_u64, 10), Ok(Ok(9)));
            assert_eq!(kernel::compare_exchange(FREE, 9_u32, 11), Ok(Err(10)));
            assert_eq!(
                kernel::load::<u32>(after(FREE, 2)),
                Err(WordError::Misaligned { va: after(FREE, 2) })
            );
        }
        assert_eq!(load(hole), Err(fault(hole, Access::Read, false)));
        assert_eq!(store(hole, 1), Err(fault(hole, Access::Write, false)));

        // Copies and fills say how far they came.
        let mut out = vec![0xaa; 4 * PAGE_SIZE];
        // SAFETY: as in `load`; `out` is long enough.
        let done = unsafe {
            [
                kernel::copy_out(out.as_mut_ptr(), after(FREE, 8), 4 * PAGE_SIZE),
                kernel::copy_in(after(FREE, 8), out.as_ptr(), 4 * PAGE_SIZE),
                kernel::fill(after(FREE, 16), 0x77, 4 * PAGE_SIZE),
            ]
        };
        assert_eq!(done, [3 * PAGE_SIZE - 8, 2 * PAGE_SIZE - 8, 2 * PAGE_SIZE - 16]);
        assert!(out[3 * PAGE_SIZE - 8..].iter().all(|byte| *byte == 0xaa), "more than is there was read");
        assert_eq!(frames[1].reader().skip(PAGE_SIZE - 8).read_val(), Ok([0x77_u8; 8]));
        assert_eq!(load(read_only), Ok(7));
        // SAFETY: as in `load`.
        let (mut reader, mut writer) =
            unsafe { (VmReader::kernel(FREE, 4 * PAGE_SIZE), VmWriter::kernel(FREE, 4 * PAGE_SIZE)) };
        let stop = |done, at| Err(CopyError { done, error: IoError::Fault { at } });
        assert_eq!(reader.read(&mut VmWriter::from(&mut out[..])), stop(3 * PAGE_SIZE, hole));
        assert_eq!((reader.remain(), reader.read_val::<u8>()), (PAGE_SIZE, Err(IoError::Fault { at: hole })));
        assert_eq!(writer.write(&mut VmReader::from(&out[..])), stop(2 * PAGE_SIZE, read_only));
        assert_eq!(writer.fill(1, PAGE_SIZE), stop(0, read_only));
        assert_eq!(writer.store_word(1_u64), Err(IoError::Fault { at: read_only }));
        std::mem::forget(frames);
    });
}

#[test]
fn user_code_does_not_reach_the_kernels_pages() {
    with_tables(|tables| {
        tables.page(AT, 5, KERNEL);
        assert_eq!((load(AT), store(after(AT, 8), 6)), (Ok(5), Ok(())));
        let by_user = |access| PageFault { user: true, ..fault(AT, access, true) };
        with_handler(
            |_| FaultOutcome::Unresolved,
            || {
                assert_eq!(user::load_u64(AT), Err(by_user(Access::Read)));
                assert_eq!(user::store_u64(AT, 1), Err(by_user(Access::Write)));
                // Nor does the kernel on its behalf.
                let for_user = WordError::Fault(fault(AT, Access::Read, true));
                assert_eq!(user::load_from_user::<u64>(AT), Err(for_user));
            },
        );
        assert_eq!(load(AT), Ok(5));
    });
}

#[test]
fn the_kernel_reaches_its_own_half_alone() {
    with_tables(|tables| {
        let (low, top) = (Vaddr(0x1234_5678_9000), Vaddr(KERNEL_BASE - PAGE_SIZE));
        tables.page(low, 9, KERNEL | U);
        for at in [low, top, Vaddr(0)] {
            assert_eq!(load(at), Err(fault(at, Access::Read, false)));
            assert_eq!(store(at, 1), Err(fault(at, Access::Write, false)));
        }
        assert_eq!(user::load_u64(low), Ok(9));
        // The last page there is, and no byte behind it.
        let last = Vaddr(usize::MAX & !(PAGE_SIZE - 1));
        tables.page(last, 1, KERNEL);
        let mut out = [0; PAGE_SIZE + 8];
        // SAFETY: as in `load`.
        assert_eq!(unsafe { kernel::read(last, &mut out) }, Err(fault(Vaddr(0), Access::Read, false)));
        assert_eq!(out[0], 1);
        // SAFETY: as in `load`.
        assert_eq!(unsafe { kernel::fill(last, 3, 2 * PAGE_SIZE) }, PAGE_SIZE);
    });
}

#[test]
fn use_by_the_kernel_is_marked_and_reserved_bits_forbid_it() {
    with_tables(|tables| {
        let leaf = tables.page(AT, 1, KERNEL);
        load(AT).unwrap();
        assert_eq!(get(leaf) & (A | D), A);
        store(AT, 2).unwrap();
        assert_eq!(get(leaf) & (A | D), A | D);
        let top = tables.entry(AT, 4);
        set(top, get(top) & !(U | W));
        tlb::flush_all();
        assert_eq!(load(AT), Ok(2), "no entry on the way is the user's");
        assert_eq!(store(AT, 3), Err(fault(AT, Access::Write, true)), "one on the way forbids it");
        set(top, get(top) | PS);
        tlb::flush_all();
        assert_eq!(load(AT), Err(fault(AT, Access::Read, true)));
    });
}

#[test]
fn a_kept_translation_is_used_until_it_is_flushed() {
    with_tables(|tables| {
        let flushes: [(&str, fn()); 3] = [
            ("address", || tlb::flush_addr(after(AT, 9))),
            ("range", || tlb::flush_range(AT..after(AT, 2 * PAGE_SIZE))),
            ("all", tlb::flush_all),
        ];
        for (name, flush) in flushes {
            for kept_over_roots in [0, G] {
                let leaf = tables.page(AT, 1, KERNEL | kept_over_roots);
                flush();
                assert_eq!((load(AT), store(AT, 1)), (Ok(1), Ok(())));
                let (old, fresh) = (frame_of(leaf), tables.frame());
                set(fresh, 2);
                for entry in [0, fresh.0 as u64 | P | NX] {
                    set(leaf, entry);
                    assert_eq!((load(AT), store(after(AT, 8), 9)), (Ok(1), Ok(())), "{name}");
                }
                assert_eq!(get(Paddr(old.0 + 8)), 9);
                if kept_over_roots != 0 {
                    // SAFETY: it is the root already.
                    unsafe { tlb::set_root(tables.root) };
                    assert_eq!(load(AT), Ok(1), "it is global");
                }
                flush();
                assert_eq!(load(AT), Ok(2), "{name}");
                assert_eq!(store(AT, 1), Err(fault(AT, Access::Write, true)), "{name}");
                set(leaf, 0);
                flush();
                assert_eq!(load(AT), Err(fault(AT, Access::Read, false)), "{name}");
            }
        }
        // One that is not global goes with the root.
        let leaf = tables.page(AT, 1, KERNEL);
        assert_eq!(load(AT), Ok(1));
        set(leaf, 0);
        // SAFETY: it is the root already.
        unsafe { tlb::set_root(tables.root) };
        assert_eq!(load(AT), Err(fault(AT, Access::Read, false)));
    });
}

#[test]
fn each_processor_has_its_own_stale_translations() {
    let machine = machine(three());
    let tables = Tables::new();
    let leaf = tables.page(AT, 1, KERNEL | G);
    let root = tables.root;
    let on = |number, f: &(dyn Fn() + Sync)| {
        machine.run_on(cpu(number), || with_handler(|fault| panic!("asked: {fault}"), f))
    };
    for number in [0, 1] {
        on(number, &|| {
            activate(root);
            assert_eq!(load(AT), Ok(1));
        });
    }
    set(leaf, 0);
    on(0, &|| tlb::flush_addr(AT));
    on(0, &|| assert!(load(AT).is_err(), "flushed here"));
    on(1, &|| assert_eq!(load(AT), Ok(1), "and not here"));
    on(1, &|| tlb::flush_range(AT..after(AT, PAGE_SIZE)));
    on(1, &|| assert!(load(AT).is_err()));
}

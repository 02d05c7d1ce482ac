//! The kernel's accesses at its own addresses.
#![expect(unsafe_code, reason = "reads and writes frames of its own where the linear map shows them")]
use crate::Machine;
use crate::support::*;
use alloc::vec;
use alloc::vec::Vec;
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::io::{CopyError, IoError, UntypedMem, VmReader, VmWriter, Word};
use vellum::kspace::LINEAR_MAP;
use vellum::space::{Access, FaultAccess, PageFault, VmSpace};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, MAX_CPUS};
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::user::WordError;
use vellum_machine::{kernel, user};

/// The last page that the linear map has room for: no machine has that much memory.
const NOTHING: Vaddr = Vaddr(LINEAR_MAP.0 + PADDR_LIMIT - PAGE_SIZE);

fn after(va: Vaddr, bytes: usize) -> Vaddr {
    Vaddr(va.0 + bytes)
}

/// Frames of zeros, and where the linear map shows them.
fn seen_linearly(frames: usize) -> (USegment, Vaddr) {
    let segment: USegment = FrameAllocOptions::new().alloc_segment(frames).unwrap().into();
    let at = after(LINEAR_MAP, segment.start_paddr().0);
    (segment, at)
}

fn read(at: Vaddr, out: &mut [u8]) -> Result<(), PageFault> {
    // SAFETY: what the suites access is nothing, memory of user space, which is refused, or a frame of their own with untyped
    // contents.
    unsafe { kernel::read(at, out) }
}

fn write(at: Vaddr, data: &[u8]) -> Result<(), PageFault> {
    // SAFETY: as in `read`.
    unsafe { kernel::write(at, data) }
}

pub(crate) fn load_word<W: Word>(at: Vaddr) -> Result<W, WordError> {
    // SAFETY: as in `read`.
    unsafe { kernel::load(at) }
}

pub(crate) fn store_word<W: Word>(at: Vaddr, value: W) -> Result<(), WordError> {
    // SAFETY: as in `read`.
    unsafe { kernel::store(at, value) }
}

fn exchange_word(at: Vaddr, current: u32, new: u32) -> Result<Result<u32, u32>, WordError> {
    // SAFETY: as in `read`.
    unsafe { kernel::compare_exchange(at, current, new) }
}

/// The kernel finds at its addresses what was written to frames, and writes to frames there, over their borders and at any
/// alignment; user code does not reach them.
pub fn the_linear_map_shows_frames(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let (segment, at) = seen_linearly(3);
        let data: Vec<u8> = (0..2 * PAGE_SIZE).map(|n| (n % 253) as u8 + 1).collect();
        for (start, len) in [(0, 1), (1, 8), (7, 9), (PAGE_SIZE - 3, 6), (8, PAGE_SIZE), (5, 2 * PAGE_SIZE)] {
            let (data, mut back) = (&data[..len], vec![0; len]);
            segment.writer().fill(0, 3 * PAGE_SIZE);
            segment.writer().skip(start).write(&mut VmReader::from(data));
            assert_eq!(read(after(at, start), &mut back), Ok(()));
            assert!(back == data, "{len} bytes at {start} were not read");
            segment.writer().fill(0, 3 * PAGE_SIZE);
            assert_eq!(write(after(at, start), data), Ok(()));
            segment.reader().skip(start).read(&mut VmWriter::from(&mut back[..]));
            assert!(back == data, "{len} bytes at {start} were not written");
            assert_eq!(segment.reader().skip(start + len).read_val(), Ok(0_u8), "more was written");
        }
        for access in [user::load_u64(at).map(|_| ()), user::store_u64(at, 1)] {
            assert!(access.is_err_and(|fault| fault.addr == at), "user code reached the kernel's memory");
        }
        // Without a space, too.
        VmSpace::deactivate_current();
        assert_eq!(store_word(at, 77_u64), Ok(()));
        assert_eq!(segment.reader().read_val(), Ok(77_u64));
        assert_eq!(load_word(at), Ok(77_u32));
        drop(space);
    });
}

/// Readers and writers of kernel addresses copy, fill, and access words as one.
pub fn readers_and_writers_of_kernel_addresses(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let (segment, at) = seen_linearly(2);
        // SAFETY: as in `read`.
        let reader = || unsafe { VmReader::kernel(at, 2 * PAGE_SIZE) };
        // SAFETY: as in `read`.
        let mut writer = unsafe { VmWriter::kernel(at, 2 * PAGE_SIZE) };
        assert_eq!(writer.fill(0x5a, PAGE_SIZE + 2), Ok(PAGE_SIZE + 2));
        assert_eq!(writer.write(&mut VmReader::from(&b"across"[..])), Ok(6));
        assert_eq!(writer.avail(), PAGE_SIZE - 8);
        assert_eq!(segment.reader().skip(PAGE_SIZE).read_val(), Ok(*b"\x5a\x5aacross"));
        let mut out = [0; 4];
        let mut source = reader();
        assert_eq!(source.skip(PAGE_SIZE - 1).read(&mut VmWriter::from(&mut out[..])), Ok(4));
        assert_eq!(&out, b"\x5a\x5a\x5aa");
        assert_eq!(source.read_val(), Ok(*b"cross"));
        // It works as long as it is there, whatever space is active.
        VmSpace::deactivate_current();
        assert_eq!(writer.store_word(5_u64), Ok(()));
        assert_eq!(writer.compare_exchange_word(5_u64, 6), Ok(Ok(5)));
        assert_eq!(writer.compare_exchange_word(5_u32, 7), Ok(Err(6)));
        assert_eq!(writer.write_val(&7_u64), Ok(()));
        assert_eq!(reader().skip(PAGE_SIZE + 8).load_word(), Ok(7_u64));
        assert_eq!(segment.reader().skip(PAGE_SIZE + 8).load_word(), Ok(7_u64));
        let misaligned = IoError::Misaligned { at: after(at, 2) };
        assert_eq!(reader().skip(2).load_word::<u32>(), Err(misaligned));
        drop(space);
    });
}

/// Where nothing is mapped, an access of the kernel faults with the address, nobody is asked, and nothing is read or written.
/// So does one to an address that is not the kernel's, whatever is mapped there.
pub fn nothing_is_where_nothing_is_mapped(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        space.set_fault_handler(|_, fault| panic!("the space was asked: {fault}"));
        map_pages(&space, 0..1, Access::RW);
        store(page(0), 3).unwrap();
        for at in [
            NOTHING,
            after(NOTHING, 8),
            page(0),
            page(1),
            Vaddr(0),
            Vaddr(user_top().0 - PAGE_SIZE),
            user_top(),
        ] {
            let fault = |access| PageFault { addr: at, access, present: false, user: false };
            let (read_fault, write_fault) = (fault(FaultAccess::Read), fault(FaultAccess::Write));
            let mut out = [1; 24];
            assert_eq!(read(at, &mut out), Err(read_fault));
            assert_eq!(out, [1; 24]);
            assert_eq!(write(at, &out), Err(write_fault));
            assert_eq!(load_word::<u64>(at), Err(WordError::Fault(read_fault)));
            assert_eq!(store_word(at, 1_u64), Err(WordError::Fault(write_fault)));
            // A machine may read the word first.
            let exchanged = exchange_word(at, 0, 1);
            assert!([read_fault, write_fault].map(|fault| Err(WordError::Fault(fault))).contains(&exchanged));
            assert_eq!(load_word::<u64>(after(at, 4)), Err(WordError::Misaligned { va: after(at, 4) }));
            // SAFETY: as in `read`.
            let (mut reader, mut writer) = unsafe { (VmReader::kernel(at, 24), VmWriter::kernel(at, 24)) };
            let short = Err(CopyError { done: 0, error: IoError::Fault { at } });
            assert_eq!(reader.read(&mut VmWriter::from(&mut out[..])), short);
            assert_eq!(writer.write(&mut VmReader::from(&out[..])), short);
            assert_eq!(writer.fill(1, 24), short);
            assert_eq!((reader.read_val::<u64>(), writer.avail()), (Err(IoError::Fault { at }), 24));
        }
        assert_eq!(load(page(0)), Ok(3));
        VmSpace::deactivate_current();
        assert!(load_word::<u64>(NOTHING).is_err() && store_word(NOTHING, 1_u64).is_err());
    });
}

/// Every processor reads and changes the same frame at its kernel address, and no change is lost.
pub fn all_see_the_same_kernel_memory(machine: &dyn Machine) {
    const ADDITIONS: u32 = 300;
    const COMMON: usize = 8 * MAX_CPUS;
    let (segment, at) = on_first(machine, || seen_linearly(1));
    machine.on_all(&|me| {
        let mine = after(at, 8 * me.index());
        for n in 0..u64::from(ADDITIONS) {
            assert_eq!(load_word(mine), Ok(n), "another processor wrote here");
            store_word(mine, n + 1).unwrap();
            let mut seen = load_word(after(at, COMMON)).unwrap();
            while let Err(now) = exchange_word(after(at, COMMON), seen, seen + 1).unwrap() {
                (seen, _) = (now, cpu::relax());
            }
        }
    });
    on_first(machine, move || {
        let all = ADDITIONS * cpu::count() as u32;
        assert_eq!(segment.reader().skip(COMMON).read_val(), Ok(all));
        drop(segment);
    });
}

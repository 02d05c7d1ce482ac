//! Readers and writers of user memory, frames and segments.
use crate::Machine;
use crate::support::*;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::{AtomicU64, Ordering};
use vellum::frame::allocator::FrameAllocOptions;
use vellum::frame::{AnyFrameMeta, AnyUFrameMeta, USegment};
use vellum::io::{CopyError, Infallible, IoError, UntypedMem, VmReader, VmWriter};
use vellum::space::{Access, FaultError, MappedItem, PageProperty, VmSpace};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::{cpu, user};

/// A segment is read and written over frame borders.
pub fn a_segment_is_read_and_written_over_frame_borders(machine: &dyn Machine) {
    on_first(machine, || {
        let segment = FrameAllocOptions::new().alloc_segment(3).unwrap();
        let mut writer = segment.writer();
        assert_eq!(writer.avail(), 3 * PAGE_SIZE);
        writer.skip(PAGE_SIZE - 3);
        assert_eq!(writer.write(&mut VmReader::from(&b"across"[..])), 6);
        assert_eq!(writer.fill(0x11, usize::MAX), 2 * PAGE_SIZE - 3);
        assert_eq!(writer.write_val(&1_u8), Err(IoError::Exhausted { wanted: 1, left: 0 }));
        let mut out = [0; 6];
        segment.reader().skip(PAGE_SIZE - 3).read(&mut VmWriter::from(&mut out[..]));
        assert_eq!(&out, b"across");
        let segment = USegment::from(segment);
        assert_eq!(segment.reader().skip(3 * PAGE_SIZE - 8).read_val(), Ok([0x11_u8; 8]));
        assert_eq!(segment.reader().read_val(), Ok(0_u64));
    });
}

/// A frame is copied to a frame and to user memory.
pub fn a_frame_is_copied_to_a_frame_and_to_user_memory(machine: &dyn Machine) {
    on_first(machine, || {
        let (from, to) = (user_frame(), user_frame());
        from.writer().fill(0x5a, PAGE_SIZE);
        assert_eq!(to.writer().write(&mut from.reader()), PAGE_SIZE);
        assert_eq!(to.reader().skip(PAGE_SIZE - 4).read_val(), Ok(0x5a5a_5a5a_u32));
        let space = active_space();
        map_pages(&space, 0..2, Access::RW);
        let mut writer = space.writer(page(0), 2 * PAGE_SIZE).unwrap();
        assert_eq!(writer.skip(100).write(&mut from.reader()), Ok(PAGE_SIZE));
        assert_eq!(load(page(1)), Ok(0x5a5a_5a5a_5a5a_5a5a));
        let mut reader = space.reader(page(0), 2 * PAGE_SIZE).unwrap();
        assert_eq!(reader.read(&mut to.writer()), Ok(PAGE_SIZE));
        assert_eq!(to.reader().skip(96).read_val(), Ok(0x5a5a_5a5a_0000_0000_u64));
    });
}

/// Notes what its frame holds at the end.
struct Noting;

impl AnyUFrameMeta for Noting {}

static NOTED: AtomicU64 = AtomicU64::new(0);

impl AnyFrameMeta for Noting {
    fn on_drop(&mut self, reader: &mut VmReader<'_, Infallible>) {
        assert_eq!(reader.remain(), PAGE_SIZE);
        NOTED.store(reader.skip(8).read_val().unwrap(), Ordering::SeqCst);
    }
}

/// Metadata reads its frame when it is dropped.
pub fn metadata_reads_its_frame_when_it_is_dropped(machine: &dyn Machine) {
    on_first(machine, || {
        let frame = FrameAllocOptions::new().alloc_frame_with(Noting).unwrap();
        frame.writer().skip(8).write_val(&0xc0de_u64).unwrap();
        drop(frame);
        assert_eq!(NOTED.load(Ordering::SeqCst), 0xc0de);
    });
}

/// Readers and writers copy through the space.
pub fn readers_and_writers_copy_through_the_space(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..2, Access::RW);
        let at = Vaddr(page(1).0 - 3);
        let mut writer = space.writer(at, 8).unwrap();
        assert_eq!(writer.write(&mut VmReader::from(&b"abcdef"[..])), Ok(6));
        assert_eq!(writer.avail(), 2);
        writer.write_val(&0x2a_u8).unwrap();
        assert_eq!(writer.fill(b'z', 100), Ok(1));
        let mut out = [0; 10];
        let mut reader = space.reader(at, 8).unwrap();
        assert_eq!(reader.read(&mut VmWriter::from(&mut out[..])), Ok(8));
        assert_eq!(&out, b"abcdef*z\0\0");
        assert!(!reader.has_remain());
        let word = space.writer(page(0), 8).unwrap();
        word.store_word(7_u64).unwrap();
        assert_eq!(word.compare_exchange_word(7_u64, 8), Ok(Ok(7)));
        assert_eq!(word.compare_exchange_word(7_u32, 9), Ok(Err(8)));
        assert_eq!(space.reader(page(0), 8).unwrap().load_word::<u64>(), Ok(8));
        assert_eq!(load(page(0)), Ok(8));
    });
}

/// What a fallible copy that stopped says.
fn short(done: usize, at: Vaddr) -> Result<usize, CopyError> {
    Err(CopyError { done, error: IoError::Fault { at } })
}

/// A space with pages 0 and 1 for writing, a hole at 2, page 3 for reading, and page 4 for writing; active here.
fn patchy_space() -> Arc<VmSpace> {
    let space = active_space();
    map_pages(&space, 0..2, Access::RW);
    map_pages(&space, 3..4, Access::R);
    map_pages(&space, 4..5, Access::RW);
    space
}

/// Copies out of user memory stop where it does, at the border of a page, and both sides say how far they came.
pub fn copies_out_stop_where_memory_does(machine: &dyn Machine) {
    on_first(machine, || {
        let space = patchy_space();
        user::store(page(0), &[0x5a; 2 * PAGE_SIZE]).unwrap();
        let mut out = vec![1_u8; 3 * PAGE_SIZE];
        for start in [0, 1, 7, 8, 100, PAGE_SIZE - 1, PAGE_SIZE, 2 * PAGE_SIZE - 3] {
            out.fill(1);
            let done = 2 * PAGE_SIZE - start;
            let mut reader = space.reader(Vaddr(page(0).0 + start), 5 * PAGE_SIZE - start).unwrap();
            let mut writer = VmWriter::from(&mut out[..]);
            assert_eq!(reader.read(&mut writer), short(done, page(2)), "from {start}");
            assert_eq!((reader.remain(), writer.avail()), (3 * PAGE_SIZE, 3 * PAGE_SIZE - done));
            // Again, it stops at once, and goes on behind the hole.
            assert_eq!(reader.read(&mut writer), short(0, page(2)));
            reader.skip(PAGE_SIZE).limit(5);
            assert_eq!(reader.read(&mut writer), Ok(5));
            let (copied, rest) = out.split_at(done);
            assert!(copied.iter().all(|byte| *byte == 0x5a), "from {start}");
            assert!(rest[..5].iter().all(|byte| *byte == 0) && rest[5..].iter().all(|byte| *byte == 1));
        }
        let mut target = [1_u8; 16];
        let fault = user::load(Vaddr(page(2).0 - 8), &mut target).unwrap_err();
        assert_eq!((fault.addr, fault.present), (page(2), false));
        assert_eq!(u128::from_le_bytes(target), 0x0101_0101_0101_0101_5a5a_5a5a_5a5a_5a5a);
        // To a frame, of which the rest stays what it was.
        let frame = user_frame();
        frame.writer().fill(9, PAGE_SIZE);
        let mut writer = frame.writer();
        let mut reader = space.reader(Vaddr(page(2).0 - 40), PAGE_SIZE).unwrap();
        assert_eq!(reader.read(writer.skip(8)), short(40, page(2)));
        assert_eq!(frame.reader().read_val(), Ok([9_u8; 8]));
        assert_eq!(frame.reader().skip(8).read_val(), Ok([0x5a_u8; 40]));
        assert_eq!(frame.reader().skip(48).read_val(), Ok([9_u8; 8]));
        VmSpace::deactivate_current();
    });
}

/// Copies into user memory and fills stop at a hole and where it is for reading.
pub fn copies_in_stop_where_memory_does(machine: &dyn Machine) {
    on_first(machine, || {
        let space = patchy_space();
        let data: Vec<u8> = (0..3 * PAGE_SIZE).map(|n| (n % 251) as u8).collect();
        for start in [0, 1, 9, PAGE_SIZE - 1, PAGE_SIZE, 2 * PAGE_SIZE - 5] {
            let done = 2 * PAGE_SIZE - start;
            let mut source = VmReader::from(&data[..]);
            let mut writer = space.writer(Vaddr(page(0).0 + start), 3 * PAGE_SIZE).unwrap();
            assert_eq!(writer.write(&mut source), short(done, page(2)), "to {start}");
            assert_eq!((writer.avail(), source.remain()), (3 * PAGE_SIZE - done, 3 * PAGE_SIZE - done));
            let mut back = vec![0; done];
            user::load(Vaddr(page(0).0 + start), &mut back).unwrap();
            assert!(back == data[..done], "to {start}");
        }
        // A page for reading takes nothing, wherever it is met.
        let mut writer = space.writer(page(3), 2 * PAGE_SIZE).unwrap();
        assert_eq!(writer.write(&mut VmReader::from(&data[..])), short(0, page(3)));
        assert_eq!(writer.fill(7, PAGE_SIZE), short(0, page(3)));
        assert_eq!(writer.avail(), 2 * PAGE_SIZE);
        assert_eq!(writer.write_val(&1_u8), Err(IoError::Fault { at: page(3) }));
        writer.skip(PAGE_SIZE);
        assert_eq!(writer.fill(7, usize::MAX), Ok(PAGE_SIZE));
        assert!((0..512).all(|n| load(Vaddr(page(3).0 + 8 * n)) == Ok(0)), "it was written");
        let fault = user::store(page(3), &[1]).unwrap_err();
        assert!(fault.present && fault.addr == page(3), "{fault}");
        map_pages(&space, 1..2, Access::R);
        let at = Vaddr(page(1).0 - 96);
        assert_eq!(space.writer(at, 200).unwrap().fill(0xaa, 200), short(96, page(1)));
        assert_eq!(user::fill_user(at, 0xaa, 200), 96);
        assert_eq!(load(Vaddr(page(1).0 - 8)), Ok(0xaaaa_aaaa_aaaa_aaaa));
        assert_eq!(load(page(1)), Ok(0));
        VmSpace::deactivate_current();
    });
}

/// Plain data: 32 bytes.
type Value = [[u16; 4]; 4];

const VALUE: Value = [[0xcdef, 0x89ab, 0x4567, 0x0123], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0xffff]];

/// Values of plain data go over the border of a page, at any address; one that faults leaves its reader where it was.
pub fn values_of_plain_data(machine: &dyn Machine) {
    on_first(machine, || {
        let space = patchy_space();
        for offset in [0, 1, 8, PAGE_SIZE - 31, PAGE_SIZE - 1] {
            let at = Vaddr(page(0).0 + offset);
            space.writer(at, size_of::<Value>()).unwrap().write_val(&VALUE).unwrap();
            let mut reader = space.reader(at, size_of::<Value>() + 3).unwrap();
            assert_eq!(reader.read_val(), Ok(VALUE), "at {offset}");
            assert_eq!(reader.read_val::<u32>(), Err(IoError::Exhausted { wanted: 4, left: 3 }));
            assert_eq!(reader.remain(), 3);
        }
        let half = Vaddr(page(2).0 - 16);
        let mut writer = space.writer(half, 64).unwrap();
        assert_eq!(writer.write_val(&VALUE), Err(IoError::Fault { at: page(2) }));
        assert_eq!(writer.avail(), 64);
        let mut reader = space.reader(half, 64).unwrap();
        assert_eq!(reader.read_val::<Value>(), Err(IoError::Fault { at: page(2) }));
        assert_eq!((reader.remain(), reader.read_val()), (64, Ok(0x0123_4567_89ab_cdef_u64)));
        // Of frames, over the border of two.
        let segment = FrameAllocOptions::new().alloc_segment(2).unwrap();
        segment.writer().skip(PAGE_SIZE - 5).write_val(&VALUE).unwrap();
        assert_eq!(segment.reader().skip(PAGE_SIZE - 5).read_val(), Ok(VALUE));
        let left = IoError::Exhausted { wanted: size_of::<Value>(), left: 31 };
        assert_eq!(segment.reader().skip(2 * PAGE_SIZE - 31).read_val::<Value>(), Err(left));
        VmSpace::deactivate_current();
    });
}

/// A word is read and changed as one, and is nothing of its neighbours.
pub fn words_of_user_memory(machine: &dyn Machine) {
    on_first(machine, || {
        let space = patchy_space();
        let (first, second) = (page(0), Vaddr(page(0).0 + 8));
        assert_eq!(user::store_to_user(first, 5_u64), Ok(()));
        assert_eq!(user::compare_exchange_in_user(first, 5_u64, 6), Ok(Ok(5)));
        assert_eq!(user::compare_exchange_in_user(first, 5_u64, 7), Ok(Err(6)));
        assert_eq!(user::fetch_add_u64(first, 10), Ok(6));
        assert_eq!(user::load_from_user::<u64>(first), Ok(16));
        assert_eq!(user::store_to_user(second, u32::MAX), Ok(()));
        assert_eq!(user::compare_exchange_in_user(second, u32::MAX, 1), Ok(Ok(u32::MAX)));
        assert_eq!(user::compare_exchange_in_user(second, 0_u32, 1), Ok(Err(1)));
        assert_eq!(user::load_from_user::<u64>(second), Ok(1), "a word of 32 bits reached into the next");
        assert_eq!(user::load_from_user::<u32>(second), Ok(1));
        for va in [page(2), Vaddr(0), Vaddr(usize::MAX & !7), user_top()] {
            assert!(user::load_from_user::<u64>(va).is_err() && user::store_to_user(va, 1_u32).is_err());
            assert!(
                user::compare_exchange_in_user(va, 0_u64, 1).is_err() && user::fetch_add_u64(va, 1).is_err()
            );
        }
        let word = space.writer(page(3), PAGE_SIZE).unwrap();
        assert_eq!(word.store_word(1_u64), Err(IoError::Fault { at: page(3) }));
        assert_eq!(word.compare_exchange_word(0_u64, 1), Err(IoError::Fault { at: page(3) }));
        assert_eq!(space.reader(page(3), PAGE_SIZE).unwrap().load_word::<u64>(), Ok(0));
        let mut word = space.writer(page(0), 14).unwrap();
        let misaligned = Err(IoError::Misaligned { at: Vaddr(page(0).0 + 4) });
        assert_eq!(word.skip(4).store_word(1_u64), misaligned);
        assert_eq!(word.skip(8).store_word(1_u32), Err(IoError::Exhausted { wanted: 4, left: 2 }));
        VmSpace::deactivate_current();
    });
}

/// How often each processor adds to the word of all.
const ADDITIONS: usize = 500;

/// Every processor changes the same words at once, and no change is lost.
pub fn words_that_all_change(machine: &dyn Machine) {
    let space = on_first(machine, || {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 0..1, Access::RW);
        space
    });
    machine.on_all(&|me| {
        space.activate();
        let other = Vaddr(page(0).0 + 64);
        let mine = Vaddr(page(0).0 + 128 + 4 * me.index());
        for n in 0..ADDITIONS as u32 {
            user::fetch_add_u64(page(0), 3).unwrap();
            let mut seen = user::load_from_user::<u32>(other).unwrap();
            while let Err(now) = user::compare_exchange_in_user(other, seen, seen + 1).unwrap() {
                (seen, _) = (now, cpu::relax());
            }
            assert_eq!(user::load_from_user::<u32>(mine), Ok(n), "another processor wrote here");
            user::store_to_user(mine, n + 1).unwrap();
        }
        VmSpace::deactivate_current();
    });
    on_first(machine, || {
        space.activate();
        let all = (ADDITIONS * cpu::count()) as u64;
        assert_eq!(load(page(0)), Ok(3 * all));
        assert_eq!(load(Vaddr(page(0).0 + 64)), Ok(all));
        VmSpace::deactivate_current();
    });
    on_first(machine, move || drop(space));
}

/// A space, active here, whose handler maps what is missing of the first 64 pages, each filled with one more than its
/// number, and a count of how often it was asked.
fn space_on_demand() -> (Arc<VmSpace>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let space = active_space();
    let count = asked.clone();
    space.set_fault_handler(move |space, fault| {
        count.fetch_add(1, Ordering::Relaxed);
        let n = page_of(fault.addr);
        if n >= 64 || fault.present {
            return Err(FaultError::Refused { addr: fault.addr });
        }
        let frame = try_user_frame().ok_or(FaultError::NoMemory)?;
        frame.writer().fill(n as u8 + 1, PAGE_SIZE);
        let mut cursor = space.cursor_mut(pages(n..n + 1))?;
        cursor.map(MappedItem::new(frame, PageProperty::user(Access::RW)))?;
        Ok(())
    });
    (space, asked)
}

/// A handler maps what a copy misses, page by page, while the copy is under way.
pub fn a_copy_brings_its_pages(machine: &dyn Machine) {
    on_first(machine, || {
        let (space, asked) = space_on_demand();
        let segment: USegment = FrameAllocOptions::new().alloc_segment(11).unwrap().into();
        segment.writer().fill(0xee, 11 * PAGE_SIZE);
        // From frames, ten pages long from within a page on.
        let at = Vaddr(page(3).0 + 100);
        let mut source = segment.reader();
        source.limit(10 * PAGE_SIZE);
        assert_eq!(space.writer(at, 10 * PAGE_SIZE).unwrap().write(&mut source), Ok(10 * PAGE_SIZE));
        assert_eq!(asked.swap(0, Ordering::Relaxed), 11, "one fault for each page");
        let end = at.0 + 10 * PAGE_SIZE;
        for (at, byte) in [(at.0 - 1, 4_u8), (at.0, 0xee), (end - 1, 0xee), (end, 14)] {
            assert_eq!(space.reader(Vaddr(at), 1).unwrap().read_val(), Ok(byte), "at {at:#x}");
        }
        // To frames, and past the last page that the handler maps.
        let mut reader = space.reader(page(60), 20 * PAGE_SIZE).unwrap();
        assert_eq!(reader.read(&mut segment.writer()), short(4 * PAGE_SIZE, page(64)));
        assert_eq!(asked.swap(0, Ordering::Relaxed), 5, "one fault for each page, and one that is refused");
        for n in 0..4 {
            assert_eq!(segment.reader().skip(n * PAGE_SIZE).read_val(), Ok([61 + n as u8; 8]));
        }
        // Fills, words and values ask too.
        assert_eq!(space.writer(page(30), 2 * PAGE_SIZE).unwrap().fill(1, 2 * PAGE_SIZE), Ok(2 * PAGE_SIZE));
        assert_eq!(space.writer(page(33), 8).unwrap().store_word(9_u64), Ok(()));
        let value = space.reader(Vaddr(page(35).0 - 4), 8).unwrap().read_val();
        assert_eq!(value, Ok([35_u8, 35, 35, 35, 36, 36, 36, 36]));
        assert_eq!(asked.load(Ordering::Relaxed), 5);
        VmSpace::deactivate_current();
    });
}

/// Pages that every processor copies to, and how much of each is one processor's.
const COMMON: usize = 48;
const SHARE: usize = PAGE_SIZE / cpu::MAX_CPUS;

/// Every processor copies to its parts of the same pages, none of which is there: whoever is first maps it, for all.
pub fn copies_of_all_bring_the_same_pages(machine: &dyn Machine) {
    let space = on_first(machine, || {
        let space = VmSpace::new().unwrap();
        space.set_fault_handler(|space, fault| {
            let n = page_of(fault.addr);
            let mut cursor = space.cursor_mut(pages(n..n + 1))?;
            if cursor.query()?.item.is_none() {
                let frame = try_user_frame().ok_or(FaultError::NoMemory)?;
                cursor.map(MappedItem::new(frame, PageProperty::user(Access::RW)))?;
            }
            Ok(())
        });
        space
    });
    machine.on_all(&|me| {
        space.activate();
        let mine = [me.index() as u8 + 1; SHARE];
        let part = |n: usize| Vaddr(page(n).0 + SHARE * me.index());
        for n in 0..COMMON {
            let mut writer = space.writer(part(n), SHARE).unwrap();
            assert_eq!(writer.write(&mut VmReader::from(&mine[..])), Ok(SHARE));
        }
        for n in 0..COMMON {
            let found = space.reader(part(n), SHARE).unwrap().read_val();
            assert_eq!(found, Ok(mine), "page {n} was mapped twice");
        }
        VmSpace::deactivate_current();
    });
    on_first(machine, move || {
        let mapped = unmap_pages(&space, 0..COMMON);
        assert_eq!(mapped, COMMON);
        drop(space);
    });
}

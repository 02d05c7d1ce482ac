//! Readers and writers of frames and segments.
mod space_support;

use space_support::*;
use std::sync::atomic::{AtomicU64, Ordering};
use vellum::frame::allocator::FrameAllocOptions;
use vellum::frame::{AnyFrameMeta, AnyUFrameMeta, USegment};
use vellum::io::{Infallible, IoError, UntypedMem, VmReader, VmWriter};
use vellum::space::Access;
use vellum_machine::addr::PAGE_SIZE;

#[test]
fn a_segment_is_read_and_written_over_frame_borders() {
    on_machine(|| {
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

#[test]
fn a_frame_is_copied_to_a_frame_and_to_user_memory() {
    on_machine(|| {
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

#[test]
fn metadata_reads_its_frame_when_it_is_dropped() {
    on_machine(|| {
        let frame = FrameAllocOptions::new().alloc_frame_with(Noting).unwrap();
        frame.writer().skip(8).write_val(&0xc0de_u64).unwrap();
        drop(frame);
        assert_eq!(NOTED.load(Ordering::SeqCst), 0xc0de);
    });
}

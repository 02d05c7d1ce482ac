//! Ranges that are none: a typed error each, and nothing is changed.
use crate::Machine;
use crate::support::*;
use core::ops::Range;
use vellum::space::{Access, VmSpace, VmSpaceError};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

/// The last page of user space.
fn top_page() -> Vaddr {
    Vaddr(user_top().0 - PAGE_SIZE)
}

fn range(start: usize, end: usize) -> Range<Vaddr> {
    Vaddr(start)..Vaddr(end)
}

fn refused(space: &VmSpace, bad: Range<Vaddr>) -> VmSpaceError {
    let error = space.cursor(bad.clone()).unwrap_err();
    assert_eq!(space.cursor_mut(bad).unwrap_err(), error);
    error
}

/// Ranges of cursors.
pub fn ranges_of_cursors(machine: &dyn Machine) {
    on_first(machine, || {
        let space = VmSpace::new().unwrap();
        let free = count_free();
        assert_eq!(refused(&space, range(0, 0)), VmSpaceError::Empty { va: Vaddr(0) });
        assert_eq!(refused(&space, pages(3..3)), VmSpaceError::Empty { va: page(3) });
        let reversed = VmSpaceError::Reversed { start: page(3), end: page(2) };
        assert_eq!(refused(&space, page(3)..page(2)), reversed);
        for bad in [range(1, 0x2000), range(0x1000, 0x2001)] {
            assert!(matches!(refused(&space, bad), VmSpaceError::NotAligned { .. }));
        }
        for bad in [
            range(top_page().0, user_top().0 + PAGE_SIZE),
            range(user_top().0, user_top().0 + PAGE_SIZE),
            range(0xffff_8000_0000_0000, 0xffff_8000_0000_1000),
            range(0, usize::MAX & !(PAGE_SIZE - 1)),
        ] {
            assert!(matches!(refused(&space, bad.clone()), VmSpaceError::OutOfRange { .. }), "{bad:?}");
        }
        for bad in [
            range(0, usize::MAX),
            range(usize::MAX, usize::MAX),
            range(usize::MAX, 0),
            range(usize::MAX - 1, usize::MAX),
        ] {
            refused(&space, bad);
        }
        assert_eq!(count_free(), free);
    });
}

/// The whole of user space is a range.
pub fn the_whole_of_user_space_is_a_range(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let whole = range(0, user_top().0);
        let mut cursor = space.cursor_mut(whole.clone()).unwrap();
        cursor.map(new_item(Access::RW)).unwrap();
        cursor.jump(top_page()).unwrap();
        cursor.map(new_item(Access::RW)).unwrap();
        assert_eq!(cursor.virt_addr(), user_top());
        assert_eq!(cursor.query().err(), Some(VmSpaceError::OutOfRange { va: user_top() }));
        let spare = new_item(Access::RW);
        let paddr = spare.frames.start_paddr();
        let refused = cursor.map(spare).unwrap_err();
        assert!(matches!(refused.error, VmSpaceError::OutOfRange { .. }));
        assert_eq!(refused.item.frames.start_paddr(), paddr);
        drop(cursor);
        store(Vaddr(0), 1).unwrap();
        store(Vaddr(user_top().0 - 8), 2).unwrap();
        let mut cursor = space.cursor_mut(whole).unwrap();
        assert_eq!(cursor.unmap(user_top().0), Ok(2));
        assert_eq!(cursor.virt_addr(), user_top());
    });
}

/// Lengths from a cursor.
pub fn lengths_from_a_cursor(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..8, Access::RW);
        let mut cursor = space.cursor_mut(pages(2..6)).unwrap();
        cursor.jump(page(3)).unwrap();
        let lengths = [
            (0, VmSpaceError::Empty { va: page(3) }),
            (PAGE_SIZE - 1, VmSpaceError::NotAligned { va: Vaddr(page(4).0 - 1) }),
            (4 * PAGE_SIZE, VmSpaceError::OutOfRange { va: page(6) }),
            (usize::MAX, VmSpaceError::Overflow { va: page(3), len: usize::MAX }),
            (
                usize::MAX - PAGE_SIZE + 1,
                VmSpaceError::Overflow { va: page(3), len: usize::MAX - PAGE_SIZE + 1 },
            ),
        ];
        for (len, error) in lengths {
            assert_eq!(cursor.find_next(len), Err(error));
            assert_eq!(cursor.unmap(len), Err(error));
            assert_eq!(cursor.protect_next(len, |_| panic!("nothing is asked")), Err(error));
            assert_eq!(cursor.protect(len, |_| panic!("nothing is asked")), Err(error));
            assert_eq!(cursor.virt_addr(), page(3));
        }
        drop(cursor);
        assert!((0..8).all(|n| load(page(n)).is_ok()));
    });
}

/// Jumps of a cursor.
pub fn jumps_of_a_cursor(machine: &dyn Machine) {
    on_first(machine, || {
        let space = VmSpace::new().unwrap();
        let mut cursor = space.cursor(pages(2..6)).unwrap();
        for va in [page(1), page(7), Vaddr(0), user_top(), Vaddr(usize::MAX & !(PAGE_SIZE - 1))] {
            assert_eq!(cursor.jump(va), Err(VmSpaceError::OutOfRange { va }));
        }
        for va in [Vaddr(page(3).0 + 1), Vaddr(usize::MAX)] {
            assert!(cursor.jump(va).is_err());
        }
        assert_eq!(cursor.virt_addr(), page(2));
        cursor.jump(page(5)).unwrap();
        assert_eq!(cursor.virt_addr(), page(5));
    });
}

/// Ranges of readers and writers.
pub fn ranges_of_readers_and_writers(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let ranges = [
            (Vaddr(0), 0, VmSpaceError::Empty { va: Vaddr(0) }),
            (Vaddr(usize::MAX), 0, VmSpaceError::Empty { va: Vaddr(usize::MAX) }),
            (Vaddr(usize::MAX), 1, VmSpaceError::Overflow { va: Vaddr(usize::MAX), len: 1 }),
            (Vaddr(8), usize::MAX, VmSpaceError::Overflow { va: Vaddr(8), len: usize::MAX }),
            (top_page(), PAGE_SIZE + 1, VmSpaceError::OutOfRange { va: user_top() }),
            (Vaddr(0), usize::MAX, VmSpaceError::OutOfRange { va: user_top() }),
            (Vaddr(0xffff_8000_0000_0000), 8, VmSpaceError::OutOfRange { va: Vaddr(0xffff_8000_0000_0000) }),
        ];
        for (va, len, error) in ranges {
            assert_eq!(space.reader(va, len).unwrap_err(), error);
            assert_eq!(space.writer(va, len).unwrap_err(), error);
        }
        assert!(space.reader(top_page(), PAGE_SIZE).is_ok());
        let mut reader = space.reader(page(0), 6).unwrap();
        reader.skip(1);
        assert!(reader.read_val::<u64>().is_err() && reader.load_word::<u32>().is_err());
        assert_eq!(reader.limit(3).remain(), 3);
        assert_eq!(reader.skip(10).remain(), 0);
    });
}

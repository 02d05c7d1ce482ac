//! What operations cost, in ticks of the processor's counter. Under an emulator the figures compare with each other, not
//! with those of hardware.
use super::memory::{at, frame, map, unmap, user_page};
use crate::arch;
use crate::console::println;
use vellum::space::{Access, MappedItem, VmSpace};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::user;

/// How often each is done.
const TIMES: usize = 256;

fn ticks_each(what: &str, mut f: impl FnMut(usize)) {
    let start = arch::ticks();
    (0..TIMES).for_each(&mut f);
    println!("  {what}: {} ticks", (arch::ticks() - start) / TIMES as u64);
}

pub fn costs() {
    let space = VmSpace::new().expect("there is memory for a root");
    space.activate();
    space.set_fault_handler(|space, fault| {
        map(space, Vaddr(fault.addr.0 & !(PAGE_SIZE - 1)), frame(), Access::RW);
        Ok(())
    });
    ticks_each("a fault, resolved with a new frame", |page| {
        assert_eq!(user::load_u64(at(page)), Ok(0));
    });
    ticks_each("a load", |page| assert_eq!(user::load_u64(at(page)), Ok(0)));
    ticks_each("protect a page", |page| {
        let mut cursor = space.cursor_mut(at(page)..at(page + 1)).expect("a page of user space");
        assert_eq!(cursor.protect(PAGE_SIZE, |_| user_page(Access::R)), Ok(1));
    });
    ticks_each("unmap a page", |page| assert_eq!(unmap(&space, at(page)), 1));
    let spare = frame();
    ticks_each("map a page", |page| map(&space, at(page), spare.clone(), Access::R));
    let mut cursor = space.cursor_mut(at(0)..at(2 * TIMES)).expect("pages of user space");
    assert_eq!(cursor.unmap(2 * TIMES * PAGE_SIZE), Ok(TIMES));
    cursor.jump(at(0)).expect("it is the start of the range");
    ticks_each("map a page under a cursor", |_| {
        cursor.map(MappedItem::new(spare.clone(), user_page(Access::R))).expect("there is memory");
    });
    drop(cursor);
    VmSpace::deactivate_current();
}

//! The walk, what it marks, and what is kept of it, on one processor.
mod common;

use common::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::fault::{Access, FaultOutcome, PageFault};
use vellum_machine::user::WordError;
use vellum_machine::{cpu, tlb, user};

const VA: Vaddr = Vaddr(0x7123_4567_8000);
const ALL: u64 = P | W | U;

/// Runs a test on the first processor, with tables of its own.
fn on_cpu(test: impl FnOnce(&Tables) + Send) {
    machine(config()).run_on(CpuId::BOOT, || {
        let tables = Tables::new();
        tables.activate();
        test(&tables);
    });
}

fn after(va: Vaddr, bytes: usize) -> Vaddr {
    Vaddr(va.0 + bytes)
}

fn fault(addr: Vaddr, access: Access, present: bool) -> PageFault {
    PageFault { addr, access, present, user: true }
}

#[test]
fn leaves_of_every_size_translate() {
    on_cpu(|tables| {
        let data = Paddr(AREA.0 + (256 << 20));
        for (level, size) in [(1, PAGE_SIZE), (2, 2 << 20), (3, 1 << 30)] {
            let base = if level == 3 { AREA } else { data };
            let va = Vaddr(level << 39);
            tables.map(va, base, level as u32, ALL);
            for offset in [size / 2, size - PAGE_SIZE, size - 8] {
                set(Paddr(base.0 + offset), (level + offset) as u64);
                assert_eq!(user::load_u64(after(va, offset)), Ok((level + offset) as u64));
                user::store_u64(after(va, offset), offset as u64).unwrap();
                assert_eq!(get(Paddr(base.0 + offset)), offset as u64);
                user::fetch(after(va, offset)).unwrap();
            }
            assert_eq!(user::load_u64(after(va, size)), Err(fault(after(va, size), Access::Read, false)));
        }
    });
}

#[test]
fn an_address_must_be_canonical() {
    on_cpu(|tables| {
        let high = Vaddr(0xffff_8000_0000_0000);
        tables.page(high, 5, ALL);
        assert_eq!(user::load_u64(high), Ok(5));
        for va in [Vaddr(high.0 & 0xffff_ffff_ffff), Vaddr(0x0000_8000_0000_0000), Vaddr(1 << 62)] {
            let outcome = with_handler(|_| panic!("no page fault"), || user::load_u64(va));
            assert_eq!(outcome, Err(fault(va, Access::Read, false)));
        }
        assert_eq!(user::load_u64(Vaddr(usize::MAX)).unwrap_err().addr, Vaddr(usize::MAX));
    });
}

#[test]
fn permissions_are_what_every_entry_on_the_way_allows() {
    on_cpu(|tables| {
        for level in 1..=4 {
            for (bits, may_read, may_write, may_execute) in [
                (P | W | U, true, true, true),
                (P | U, true, false, true),
                (P | W | U | NX, true, true, false),
                (P | U | NX, true, false, false),
                (P | W, false, false, false),
            ] {
                let va = Vaddr(0x4000_0000_0000 + PAGE_SIZE * level as usize);
                tables.page(va, 1, ALL);
                let at = tables.entry(va, level);
                let before = get(at);
                set(at, before & !(ALL | NX) | bits);
                tlb::flush_all();
                let outcome = |access, allowed| if allowed { Ok(()) } else { Err(fault(va, access, true)) };
                assert_eq!(user::load_u64(va).map(|_| ()), outcome(Access::Read, may_read));
                assert_eq!(user::store_u64(va, 1), outcome(Access::Write, may_write));
                assert_eq!(user::fetch(va), outcome(Access::Execute, may_execute));
                set(at, before);
                tlb::flush_all();
            }
        }
    });
}

#[test]
fn reserved_bits_forbid_everything() {
    on_cpu(|tables| {
        tables.page(VA, 1, ALL);
        let top = tables.entry(VA, 4);
        set(top, get(top) | PS);
        assert_eq!(user::load_u64(VA), Err(fault(VA, Access::Read, true)));
        set(top, get(top) & !PS);
        assert_eq!(user::load_u64(VA), Ok(1));
        for (level, bit, allowed) in
            [(2, 12, true), (2, 13, false), (2, 20, false), (3, 12, true), (3, 29, false)]
        {
            let va = Vaddr(0x1000_0000_0000 + ((level as usize) << 39));
            let at = tables.map(va, AREA, level, ALL | 1 << bit);
            tlb::flush_all();
            assert_eq!(user::load_u64(va).is_ok(), allowed, "bit {bit} at level {level}");
            set(at, 0);
        }
    });
}

#[test]
fn use_is_marked_and_dirt_only_by_writes() {
    on_cpu(|tables| {
        let leaf = tables.page(VA, 1, ALL);
        let way = [2, 3, 4].map(|level| tables.entry(VA, level));
        user::load_u64(VA).unwrap();
        assert_eq!(get(leaf) & (A | D), A);
        assert!(way.iter().all(|&at| get(at) & (A | D) == A));
        // The kept entry knows that the page is clean: the write goes back to the table.
        user::store_u64(VA, 2).unwrap();
        assert_eq!(get(leaf) & (A | D), A | D);
        assert!(way.iter().all(|&at| get(at) & D == 0));
        // It is kept as dirty now: nothing is marked again.
        set(leaf, get(leaf) & !(A | D));
        user::store_u64(VA, 3).unwrap();
        assert_eq!(get(leaf) & (A | D), 0);
        tlb::flush_addr(VA);
        user::store_u64(VA, 4).unwrap();
        assert_eq!(get(leaf) & (A | D), A | D);
    });
}

#[test]
fn an_access_that_faults_marks_no_leaf() {
    on_cpu(|tables| {
        let leaf = tables.page(VA, 1, P | U);
        assert_eq!(user::store_u64(VA, 2), Err(fault(VA, Access::Write, true)));
        assert_eq!(get(leaf) & (A | D), 0);
        set(leaf, get(leaf) & !P);
        assert_eq!(user::load_u64(VA), Err(fault(VA, Access::Read, false)));
        assert_eq!(get(leaf) & (A | D), 0);
    });
}

#[test]
fn a_stale_translation_is_used_until_it_is_flushed() {
    on_cpu(|tables| {
        let leaf = tables.page(VA, 1, ALL);
        assert_eq!(user::load_u64(VA), Ok(1));
        user::store_u64(VA, 1).unwrap();
        let fresh = tables.frame();
        set(fresh, 2);
        let old = frame_of(leaf);
        for entry in [0, fresh.0 as u64 | P | U | NX] {
            set(leaf, entry);
            assert_eq!(user::load_u64(VA), Ok(1));
            user::store_u64(after(VA, 8), 9).unwrap();
            user::fetch(VA).unwrap();
        }
        assert_eq!(get(Paddr(old.0 + 8)), 9);
        tlb::flush_addr(after(VA, 123));
        assert_eq!(user::load_u64(VA), Ok(2));
        assert_eq!(user::store_u64(VA, 1), Err(fault(VA, Access::Write, true)));
        assert_eq!(user::fetch(VA), Err(fault(VA, Access::Execute, true)));
    });
}

#[test]
fn every_flush_ends_staleness_and_none_flushes_less() {
    let far = Vaddr(VA.0 + (40 << 30));
    let flushes: [(&str, fn(), bool); 6] = [
        ("addr", || tlb::flush_addr(VA), false),
        ("range", || tlb::flush_range(VA..Vaddr(VA.0 + 3 * PAGE_SIZE)), false),
        ("inner range", || tlb::flush_range(Vaddr(VA.0 + 5)..Vaddr(VA.0 + 6)), false),
        ("large range", || tlb::flush_range(Vaddr(0)..Vaddr(VA.0 + 1)), true),
        ("root", || activate_again(), true),
        ("all", tlb::flush_all, true),
    ];
    on_cpu(|tables| {
        for (name, flush, everything) in flushes {
            let leaves = [VA, far].map(|va| tables.page(va, 1, ALL));
            tlb::flush_all();
            for va in [VA, far] {
                assert_eq!(user::load_u64(va), Ok(1));
            }
            leaves.iter().for_each(|&leaf| set(frame_of(leaf), 2));
            leaves.iter().for_each(|&leaf| set(leaf, 0));
            flush();
            assert!(user::load_u64(VA).is_err(), "{name}");
            assert_eq!(user::load_u64(far).is_err(), everything, "{name}");
        }
        let leaf = tables.page(VA, 1, ALL);
        assert_eq!(user::load_u64(VA), Ok(1));
        set(leaf, 0);
        tlb::flush_range(VA..VA);
        tlb::flush_range(after(VA, PAGE_SIZE)..after(VA, 2 * PAGE_SIZE));
        tlb::flush_range(Vaddr(usize::MAX)..Vaddr(0));
        assert_eq!(user::load_u64(VA), Ok(1));
        tlb::flush_range(Vaddr(0)..Vaddr(usize::MAX));
        assert!(user::load_u64(VA).is_err());
    });
}

fn activate_again() {
    let root = tlb::root().unwrap();
    #[allow(unsafe_code, reason = "the same tables as before")]
    // SAFETY: it is the root already.
    unsafe {
        tlb::set_root(root);
    }
}

#[test]
fn large_pages_are_kept_and_flushed_by_any_address_in_them() {
    on_cpu(|tables| {
        for (level, base, size) in [(2, Paddr(AREA.0 + (4 << 20)), 2 << 20), (3, AREA, 1 << 30)] {
            let va = Vaddr(0x2000_0000_0000);
            let leaf = tables.map(va, base, level, ALL);
            let (low, high) = (after(va, 1 << 20), after(va, size - 8));
            set(Paddr(base.0 + (1 << 20)), 7);
            tlb::flush_all();
            assert_eq!(user::load_u64(low), Ok(7));
            set(leaf, 0);
            assert_eq!(user::load_u64(low), Ok(7));
            assert!(user::load_u64(high).is_ok(), "the whole page is kept");
            tlb::flush_addr(high);
            assert_eq!(user::load_u64(low), Err(fault(low, Access::Read, false)));
        }
    });
}

#[test]
fn global_translations_survive_a_change_of_root() {
    on_cpu(|tables| {
        let other = after(VA, PAGE_SIZE);
        let leaves = [tables.page(VA, 1, ALL | G), tables.page(other, 2, ALL)];
        assert_eq!((user::load_u64(VA), user::load_u64(other)), (Ok(1), Ok(2)));
        leaves.iter().for_each(|&leaf| set(leaf, 0));
        activate_again();
        assert_eq!(user::load_u64(VA), Ok(1));
        assert!(user::load_u64(other).is_err());
        tlb::flush_addr(VA);
        assert!(user::load_u64(VA).is_err());
    });
}

#[test]
fn a_fault_is_raised_by_the_tables_and_not_by_what_is_kept() {
    on_cpu(|tables| {
        let leaf = tables.page(VA, 1, P | U | NX);
        assert_eq!(user::load_u64(VA), Ok(1));
        set(leaf, get(leaf) & !NX | W);
        let handler = |fault: &PageFault| panic!("{fault}");
        with_handler(handler, || {
            user::store_u64(VA, 3).unwrap();
            user::fetch(VA).unwrap();
        });
        // Rights on the way, kept with the address of the node.
        let node = tables.entry(VA, 2);
        let neighbour = after(VA, PAGE_SIZE);
        set(node, get(node) & !W);
        tlb::flush_all();
        tables.page(neighbour, 1, ALL);
        assert_eq!(user::load_u64(VA), Ok(3));
        set(node, get(node) | W);
        with_handler(handler, || user::store_u64(neighbour, 4)).unwrap();
    });
}

#[test]
fn the_address_of_a_node_is_kept_until_flushed() {
    for level in [2, 3, 4] {
        on_cpu(|tables| {
            // Two pages whose ways part right below the entry at `level`.
            let second = Vaddr(VA.0 ^ 1 << (12 + 9 * (level - 2)));
            tables.page(VA, 1, ALL);
            tables.page(second, 1, ALL);
            let third = Vaddr(second.0 ^ 1 << 14);
            tables.page(third, 1, ALL);
            let node = tables.entry(VA, level);
            let unlinked = frame_of(node);
            assert_eq!(user::load_u64(VA), Ok(1));
            set(node, 0);
            // The unlinked node is reused for something else while the processor still knows it.
            let other = tables.frame();
            set(other, 99);
            let below = slot(unlinked, second, level - 1);
            if level == 2 {
                set(below, other.0 as u64 | ALL);
            }
            assert_eq!(user::load_u64(second), Ok(if level == 2 { 99 } else { 1 }), "level {level}");
            tlb::flush_addr(Vaddr(0x1000));
            assert!(user::load_u64(VA).is_ok(), "its own translation is kept");
            assert!(user::load_u64(second).is_ok(), "as is this one");
            assert!(user::load_u64(third).is_err(), "but no node");
            tlb::flush_all();
            assert_eq!(user::load_u64(VA), Err(fault(VA, Access::Read, false)));
        });
    }
}

#[test]
fn what_hardware_cannot_do_is_a_machine_check() {
    on_cpu(|tables| {
        let message = |f: &dyn Fn()| {
            let panic = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
            panic.downcast_ref::<String>().cloned().unwrap()
        };
        tables.map(VA, Paddr(2 << 30), 1, ALL);
        let text = message(&|| assert!(user::load_u64(VA).is_ok()));
        assert!(
            text.contains("machine check") && text.contains(&format!("{VA}")) && text.contains("0x80000000"),
            "{text}"
        );
        let entry = tables.entry(VA, 2);
        set(entry, 0xf_0000_0000_0000 | ALL);
        tlb::flush_all();
        let text = message(&|| assert!(user::load_u64(VA).is_ok()));
        assert!(text.contains("entry 0xf000000000007") && text.contains(&format!("{entry}")), "{text}");
        let text = message(&|| activate(Paddr(AREA.0 + 8)));
        assert!(text.contains("root"), "{text}");
        // A gibibyte of which half is there.
        set(tables.entry(VA, 3), 0);
        let huge = Vaddr(0x3000_0000_0000);
        tables.map(huge, Paddr(1 << 30), 3, ALL);
        user::load_u64(huge).unwrap();
        assert_eq!(tlb::root(), Some(tables.root));
    });
}

#[test]
fn copies_span_pages_and_stop_short_at_a_fault() {
    on_cpu(|tables| {
        for page in 0..3 {
            tables.page(after(VA, page * PAGE_SIZE), 0, ALL);
        }
        let data: Vec<u8> = (0..3 * PAGE_SIZE).map(|i| (i * 7 + i / 256) as u8).collect();
        for (start, len) in
            [(0, 0), (1, 1), (3, 21), (4093, 8), (5, 4096), (4095, 4098), (8, 8192), (0, 3 * PAGE_SIZE)]
        {
            let data = &data[..len];
            user::store(after(VA, start), data).unwrap();
            let mut back = vec![0; len];
            user::load(after(VA, start), &mut back).unwrap();
            assert!(back == data, "{len} bytes at {start}");
        }
        let hole = after(VA, 3 * PAGE_SIZE);
        let start = Vaddr(hole.0 - 100);
        let mut buffer = [0xaa; 200];
        let (to, from) = (buffer.as_mut_ptr(), data.as_ptr());
        #[allow(unsafe_code, reason = "the kernel's side of a copy is a raw pointer")]
        // SAFETY: both are longer than 200 bytes.
        let done = unsafe { [user::copy_from_user(to, start, 200), user::copy_to_user(start, from, 200)] };
        assert_eq!(done, [100, 100]);
        assert!(buffer[100..].iter().all(|&byte| byte == 0xaa));
        assert_eq!(user::store(start, &[1; 200]), Err(fault(hole, Access::Write, false)));
        assert_eq!(user::fill_user(start, 0x5b, 200), 100);
        user::load(start, &mut buffer[..100]).unwrap();
        assert!(buffer[..100].iter().all(|&byte| byte == 0x5b));
        assert_eq!(user::fill_user(after(VA, 1), 0, 9), 9);
    });
}

#[test]
fn words_are_accessed_as_one() {
    on_cpu(|tables| {
        tables.page(VA, 10, ALL);
        tables.page(after(VA, PAGE_SIZE), 0, P | U);
        assert_eq!(user::compare_exchange_u64(VA, 10, 11), Ok(Ok(10)));
        assert_eq!(user::compare_exchange_u64(VA, 10, 12), Ok(Err(11)));
        assert_eq!(user::fetch_add_u64(VA, u64::MAX), Ok(11));
        assert_eq!(user::load_from_user::<u64>(VA), Ok(10));
        assert_eq!(user::store_to_user(after(VA, 4), 1u32), Ok(()));
        assert_eq!(user::load_u64(VA), Ok(1 << 32 | 10));
        assert_eq!(user::compare_exchange_in_user(VA, 10u32, 20), Ok(Ok(10)));
        assert_eq!(user::load_from_user::<u32>(VA), Ok(20));
        let odd = after(VA, 4);
        assert_eq!(user::load_from_user::<u64>(odd), Err(WordError::Misaligned { va: odd }));
        assert_eq!(user::fetch_add_u64(odd, 1), Err(WordError::Misaligned { va: odd }));
        assert!(user::load_from_user::<u32>(odd).is_ok());
        // Words that are not aligned are bytes.
        let across = after(VA, PAGE_SIZE - 3);
        assert_eq!(user::load_u64(across), Ok(0));
        let denied = fault(after(VA, PAGE_SIZE), Access::Write, true);
        assert_eq!(user::store_u64(across, u64::MAX), Err(denied));
        assert_eq!(user::load_u64(across), Ok(0xff_ffff));
        let read_only = after(VA, PAGE_SIZE);
        let kernel = WordError::Fault(PageFault { user: false, ..denied });
        assert_eq!(user::compare_exchange_in_user(read_only, 0u64, 0), Err(kernel));
    });
}

#[test]
fn the_handler_resolves_or_refuses() {
    on_cpu(|tables| {
        let entry = tables.entry(VA, 1);
        let frame = tables.frame();
        let mut seen = 0;
        let handler = move |fault: &PageFault| {
            seen += 1;
            match seen {
                1 => set(entry, frame.0 as u64 | P | U),
                2 => set(entry, get(entry) | W),
                _ => return FaultOutcome::Unresolved,
            }
            assert_eq!((fault.addr, fault.present, fault.user), (VA, seen == 2, true));
            FaultOutcome::Resolved
        };
        let before = tlb::statistics(CpuId::BOOT).unwrap().faults;
        with_handler(handler, || {
            user::store_u64(VA, 77).unwrap();
            assert_eq!(get(frame), 77);
            let hole = after(VA, PAGE_SIZE);
            assert_eq!(user::load_u64(hole), Err(fault(hole, Access::Read, false)));
        });
        assert_eq!(tlb::statistics(CpuId::BOOT).unwrap().faults - before, 3);
    });
}

#[test]
fn a_handler_is_installed_once() {
    on_cpu(|_| {
        let again = vellum_machine::fault::set_hook(|_| FaultOutcome::Unresolved);
        assert_eq!(again, Err(vellum_machine::fault::HookError::AlreadySet));
    });
}

#[test]
fn accesses_are_counted() {
    on_cpu(|tables| {
        tables.page(VA, 1, ALL);
        let before = tlb::statistics(cpu::current()).unwrap();
        (0..5).for_each(|_| assert!(user::load_u64(VA).is_ok()));
        let _ = user::load_u64(after(VA, PAGE_SIZE));
        tlb::flush_addr(VA);
        let after = tlb::statistics(cpu::current()).unwrap();
        assert_eq!((after.hits - before.hits, after.fills - before.fills), (4, 1));
        assert_eq!((after.faults - before.faults, after.flushes - before.flushes), (1, 1));
        assert!(after.walks - before.walks >= 2);
        assert_eq!(tlb::statistics(common::cpu(63)), None);
    });
}

#[test]
fn a_thread_that_is_no_processor_has_no_user_memory() {
    let _machine = machine(config());
    assert!(catch_unwind(|| user::load_u64(VA)).is_err());
    assert!(catch_unwind(tlb::root).is_err());
    assert!(catch_unwind(cpu::current).is_err());
    tlb::flush_all();
}

//! The machine's walk against a plain one, over random tables.
mod common;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::fault::Access;
use vellum_machine::{tlb, user};

/// Tables that entries can lead to; the first is the root. Any can be met at any level.
const TABLES: usize = 6;
/// Indices that entries are made for and addresses are made of.
const INDICES: [usize; 3] = [0, 1, 511];
/// Where leaves point to, apart from a gibibyte.
const DATA: usize = AREA.0 + (4 << 20);

#[derive(Clone, Debug)]
struct Memory(Vec<[u64; 512]>);

fn table(number: usize) -> usize {
    AREA.0 + number * PAGE_SIZE
}

/// What the walk of the manual does, on a copy of the tables: the address, or whether an entry forbids it.
fn walk(
    memory: &mut Memory,
    number: usize,
    level: u32,
    va: usize,
    access: Access,
    allowed: u64,
) -> Result<usize, bool> {
    let shift = 12 + 9 * (level - 1);
    let index = va >> shift & 511;
    let entry = memory.0[number][index];
    if entry & P == 0 {
        return Err(false);
    }
    // W and U must be set, NX must be clear, in every entry.
    let allowed = allowed & (entry ^ NX);
    let is_leaf = level == 1 || entry & PS != 0;
    let low_bits = if level > 1 { ((1u64 << shift) - 1) & ADDRESS & !(1 << 12) } else { 0 };
    if is_leaf && (level == 4 || entry & low_bits != 0) {
        return Err(true);
    }
    if !is_leaf {
        memory.0[number][index] |= A;
        let next = ((entry & ADDRESS) as usize - AREA.0) / PAGE_SIZE;
        return walk(memory, next, level - 1, va, access, allowed);
    }
    let needed = match access {
        Access::Read => U,
        Access::Write => U | W,
        Access::Execute => U | NX,
    };
    if allowed & needed != needed {
        return Err(true);
    }
    memory.0[number][index] |= if access == Access::Write { A | D } else { A };
    let offset = (1 << shift) - 1;
    Ok((entry & ADDRESS) as usize & !offset | va & offset)
}

fn entries() -> impl Strategy<Value = u64> {
    let usual = prop_oneof![8 => Just(P | W | U), 1 => Just(P | U), 1 => Just(P | W)];
    let bits = (usual, any::<u64>(), prop_oneof![6 => Just(0), 1 => Just(NX)], 0..20u32);
    let to_table = (0..TABLES).prop_map(|number| table(number) as u64);
    let to_page = (0..1024usize).prop_map(|frame| (DATA + frame * PAGE_SIZE) as u64);
    let to_large = (0..2usize).prop_map(|page| (DATA + (page << 21)) as u64 | PS);
    let to_huge = Just(AREA.0 as u64 | PS);
    let target = prop_oneof![6 => to_table, 1 => to_page, 2 => to_large, 1 => to_huge];
    // Soft bits and those of the memory type are noise; so are A, D and G. Rarely PS comes where it must not, or
    // nothing is present.
    let noise = 0x7ff0_0000_0000_0f78;
    (target, bits).prop_map(move |(target, (usual, random, nx, rare))| match rare {
        0 => random & !P,
        1 if target & PS != 0 => target | usual | 1 << 16,
        _ => target | usual | random & noise | nx,
    })
}

fn memories() -> impl Strategy<Value = Memory> {
    // At every level but the lowest a page without PS would have its data read as a table: those lead to tables.
    prop::collection::vec(entries(), TABLES * INDICES.len()).prop_map(|entries| {
        let mut memory = Memory(vec![[0; 512]; TABLES]);
        for (n, entry) in entries.into_iter().enumerate() {
            let is_table = (entry & ADDRESS) < table(TABLES) as u64 && (entry & ADDRESS) >= AREA.0 as u64;
            let entry = if entry & P != 0 && !is_table && entry & PS == 0 {
                entry & !ADDRESS | table(n % TABLES) as u64
            } else {
                entry
            };
            memory.0[n / INDICES.len()][INDICES[n % INDICES.len()]] = entry;
        }
        memory
    })
}

fn accesses() -> impl Strategy<Value = (Vaddr, Access)> {
    let index = || prop::sample::select(INDICES.to_vec());
    let access = prop::sample::select(vec![Access::Read, Access::Write, Access::Execute]);
    ([index(), index(), index(), index()], 0..512usize, access).prop_map(|([a, b, c, d], word, access)| {
        let low = a << 39 | b << 30 | c << 21 | d << 12 | word << 3;
        (Vaddr(((low << 16) as isize >> 16) as usize), access)
    })
}

fn is_table(pa: usize) -> bool {
    (AREA.0..table(TABLES)).contains(&pa)
}

fn same_walk(mut memory: Memory, accesses: Vec<(Vaddr, Access)>) -> TestCaseResult {
    for (number, words) in memory.0.iter().enumerate() {
        words.iter().enumerate().for_each(|(i, &value)| set(Paddr(table(number) + 8 * i), value));
    }
    for (n, (va, access)) in accesses.into_iter().enumerate() {
        let mut expected = memory.clone();
        let outcome = walk(&mut expected, 0, 4, va.0, access, W | U | NX);
        if access == Access::Write && outcome.is_ok_and(is_table) {
            continue;
        }
        let nonce = 0x1234_5678_0000 + n as u64;
        if let Ok(pa) = outcome
            && !is_table(pa)
        {
            set(Paddr(pa), nonce);
        }
        tlb::flush_all();
        let (got, value) = match access {
            Access::Read => (user::load_u64(va).map(Some), nonce),
            Access::Write => (user::store_u64(va, !nonce).map(|()| None), !nonce),
            Access::Execute => (user::fetch(va).map(|()| None), nonce),
        };
        match outcome {
            Ok(pa) => {
                prop_assert!(got.is_ok(), "{va} {access:?}: {got:?}");
                if !is_table(pa) {
                    prop_assert!(got.unwrap().is_none_or(|loaded| loaded == nonce));
                    prop_assert_eq!(get(Paddr(pa)), value);
                }
            }
            Err(present) => {
                let fault = got.err();
                prop_assert!(
                    fault.is_some_and(|fault| fault.present == present && fault.addr == va),
                    "{va} {access:?}: {fault:?}"
                );
            }
        }
        memory = expected;
        for (number, words) in memory.0.iter().enumerate() {
            for (i, &value) in words.iter().enumerate() {
                prop_assert_eq!(
                    get(Paddr(table(number) + 8 * i)),
                    value,
                    "table {} word {} after {} {:?}",
                    number,
                    i,
                    va,
                    access
                );
            }
        }
    }
    Ok(())
}

#[test]
fn the_walk_is_that_of_a_plain_model() {
    machine(config()).run_on(CpuId::BOOT, || {
        activate(AREA);
        let cases = (memories(), prop::collection::vec(accesses(), 1..24));
        // Each case compares 24 times 3072 words; a few hundred suffice to meet every kind of entry many times.
        let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config).run(&cases, |(memory, accesses)| same_walk(memory, accesses)).unwrap();
    });
}

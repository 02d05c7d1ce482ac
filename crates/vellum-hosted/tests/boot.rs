//! What cannot boot, what boots, and that it boots once.
use vellum::boot::{MemoryMap, MemoryRegion, MemoryRegionType};
use vellum_hosted::{BootError, Holes, LEAST_MEMORY, MOST_MEMORY, Machine, MachineConfig};
use vellum_machine::addr::Paddr;
use vellum_machine::cpu::{self, CpuId, CpuSet, MAX_CPUS};
use vellum_machine::ipi;

fn error_of(config: MachineConfig) -> BootError {
    match Machine::boot(config) {
        Err(error) => error,
        Ok(_) => panic!("it boots"),
    }
}

#[test]
fn a_machine_boots_once() {
    let default = MachineConfig::default;
    let memory = |memory| error_of(MachineConfig { memory, ..default() });
    assert!(matches!(memory(0), BootError::MemoryTooSmall { bytes: 0, least: LEAST_MEMORY }));
    assert!(matches!(memory(LEAST_MEMORY - 4096), BootError::MemoryTooSmall { .. }));
    assert!(matches!(memory(LEAST_MEMORY + 1), BootError::MemoryNotAligned { .. }));
    assert!(matches!(memory(MOST_MEMORY + 4096), BootError::MemoryTooBig { most: MOST_MEMORY, .. }));
    assert!(matches!(memory(usize::MAX), BootError::MemoryNotAligned { bytes: usize::MAX }));
    let cpus = |cpus| error_of(MachineConfig { cpus, ..default() });
    assert!(matches!(cpus(0), BootError::NoCpus));
    assert!(matches!(cpus(MAX_CPUS + 1), BootError::TooManyCpus { count: 65, most: 64 }));
    let holes = Holes::PcWith(vec![MemoryRegion::new(Paddr(0), 512 << 20, MemoryRegionType::Bad)]);
    let error = error_of(MachineConfig { holes, ..default() });
    assert!(matches!(error, BootError::Metadata(_)), "{error}");
    assert_eq!((cpu::count(), error.to_string().is_empty()), (0, false));

    // None of the attempts has left anything behind.
    let machine = Machine::boot(MachineConfig { memory: 32 << 20, cpus: MAX_CPUS, ..default() }).unwrap();
    assert!(matches!(error_of(default()), BootError::AlreadyBooted));
    let map = MemoryMap::from_regions(machine.regions()).unwrap();
    for (pa, kind) in [
        (0, MemoryRegionType::Reserved),
        (8 << 20, MemoryRegionType::Usable),
        (0x9_f000, MemoryRegionType::Reserved),
        (0x10_0000, MemoryRegionType::Kernel),
        ((16 << 20) + 0x3000, MemoryRegionType::Bad),
        ((32 << 20) - 1, MemoryRegionType::Usable),
    ] {
        assert_eq!(map.kind_of(Paddr(pa)), Some(kind), "{pa:#x}");
    }
    assert_eq!(map.bytes_of(MemoryRegionType::Metadata), 32 << 14);
    assert!(map.bytes_of(MemoryRegionType::BootAllocated) > 0);
    assert_eq!(map.kind_of(Paddr(32 << 20)), None);
    assert_eq!(machine.on_all(|cpu| cpu.index()), Vec::from_iter(0..MAX_CPUS));

    machine.shutdown();
    assert!(matches!(error_of(default()), BootError::AlreadyBooted));
    assert_eq!(ipi::call_on(CpuSet::single(CpuId::BOOT), |_| panic!(), 0), CpuSet::EMPTY);
}

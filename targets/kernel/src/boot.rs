//! From the firmware's memory map to kernel space.
#![allow(unsafe_code, reason = "vouches for the memory that the library starts on")]
use crate::arch;
use crate::console::println;
use crate::faults;
use core::fmt;
use vellum::boot::{
    EarlyAllocator, MAX_REGIONS, MapError, MemoryMap, MemoryRegion, MemoryRegionType, metadata_frames,
};
use vellum::frame::{self, allocator};
use vellum::space::{Access, PageProperty};
use vellum::sync::Once;
use vellum::{kspace, space};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::bare;
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE};
use vellum_machine::page::contents;

/// The most bytes of the command line that count.
const MOST_COMMAND_LINE: usize = 256;

/// What the firmware and the loader say of the machine.
pub struct Firmware {
    regions: [MemoryRegion; MAX_REGIONS],
    /// Which of them are parts of others by their nature.
    is_part: [bool; MAX_REGIONS],
    nr_regions: usize,
    hardware: [u32; MAX_CPUS],
    nr_processors: usize,
    command_line: [u8; MOST_COMMAND_LINE],
    command_line_len: usize,
}

/// Why the machine cannot be known.
#[derive(Clone, Copy, Debug)]
pub enum FirmwareError {
    /// Something is said to be at an address where nothing can be seen at boot.
    Address(u64),
    /// What the loader passed begins with this, which is not what it should.
    Magic(u32),
    /// It passes no memory map.
    NoMemoryMap,
    /// There is no list of processors that can be read: in tables of ACPI, or in a device tree.
    NoProcessors,
    /// The memory map is too long.
    Map(MapError),
    /// The kernel is running at an address where it has no memory for it: something else, or nothing at all.
    NotForKernel(Paddr, Option<MemoryRegionType>),
    /// No memory of it is usable beside the kernel.
    NothingUsable,
}

impl fmt::Display for FirmwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FirmwareError::Address(pa) => write!(f, "it names the address {pa:#x}"),
            FirmwareError::Magic(magic) => write!(f, "it begins with {magic:#x}"),
            FirmwareError::NoMemoryMap => f.write_str("it has no memory map"),
            FirmwareError::NoProcessors => f.write_str("it lists no processors"),
            FirmwareError::Map(error) => error.fmt(f),
            FirmwareError::NotForKernel(pa, Some(kind)) => {
                write!(f, "it says {kind:?} of {pa}, where the kernel is")
            }
            FirmwareError::NotForKernel(pa, None) => {
                write!(f, "it has no memory at {pa}, where the kernel is")
            }
            FirmwareError::NothingUsable => f.write_str("no memory of it is usable beside the kernel"),
        }
    }
}

impl Default for Firmware {
    fn default() -> Firmware {
        Firmware {
            regions: [MemoryRegion::new(Paddr(0), 0, MemoryRegionType::Reserved); MAX_REGIONS],
            is_part: [false; MAX_REGIONS],
            nr_regions: 0,
            hardware: [0; MAX_CPUS],
            nr_processors: 0,
            command_line: [0; MOST_COMMAND_LINE],
            command_line_len: 0,
        }
    }
}

impl Firmware {
    /// Notes what a part of memory is used for, that was or will be said to be usable as a whole.
    pub fn add_part(&mut self, region: MemoryRegion) -> Result<(), FirmwareError> {
        self.add(region)?;
        self.is_part[self.nr_regions - 1] = true;
        Ok(())
    }

    /// Notes what a range of memory is good for.
    pub fn add(&mut self, region: MemoryRegion) -> Result<(), FirmwareError> {
        let full = FirmwareError::Map(MapError::TooManyRegions { capacity: MAX_REGIONS });
        *self.regions.get_mut(self.nr_regions).ok_or(full)? = region;
        self.nr_regions += 1;
        Ok(())
    }

    /// Notes a processor by the hardware's number; those above the most that the library knows are left out.
    pub fn add_processor(&mut self, hardware: u32) -> Result<(), FirmwareError> {
        match self.hardware.get_mut(self.nr_processors) {
            Some(place) => {
                *place = hardware;
                self.nr_processors += 1;
            }
            None => println!("boot: processor {hardware} is one too many, and left alone"),
        }
        Ok(())
    }

    /// Reads the command line, up to a zero.
    pub fn read_command_line(&mut self, byte: impl Fn(usize) -> Result<u8, FirmwareError>) {
        while self.command_line_len < MOST_COMMAND_LINE
            && let Ok(next @ 1..) = byte(self.command_line_len)
        {
            self.command_line[self.command_line_len] = next;
            self.command_line_len += 1;
        }
    }

    /// Lists the processors by the hardware's numbers.
    pub fn processors(&self) -> &[u32] {
        &self.hardware[..self.nr_processors]
    }

    /// Lists what was said.
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.nr_regions]
    }

    /// Makes one map of what was said, and says where it contradicts itself.
    fn memory_map(&self) -> Result<MemoryMap, FirmwareError> {
        let said =
            self.regions().iter().zip(&self.is_part).filter(|(_, is_part)| !**is_part).map(|(said, _)| said);
        for (n, one) in said.clone().enumerate() {
            for other in said.clone().skip(n + 1).filter(|other| other.kind != one.kind) {
                let (start, end) = (one.base.max(other.base), one.end().min(other.end()));
                if start < end {
                    let (start, end, counts) = (start.0, end.0, one.kind.max(other.kind));
                    let (one, other) = (one.kind, other.kind);
                    println!(
                        "boot: {start:#014x}-{end:#014x} is {one:?} and {other:?}, and counts as {counts:?}"
                    );
                }
            }
        }
        self.expect_room_for_kernel()?;
        let map = MemoryMap::from_regions(self.regions()).map_err(FirmwareError::Map)?;
        if map.usable().next().is_none() { Err(FirmwareError::NothingUsable) } else { Ok(map) }
    }

    /// Looks whether the kernel is in memory that would be usable without it.
    fn expect_room_for_kernel(&self) -> Result<(), FirmwareError> {
        let mut others = self.regions;
        for region in others.iter_mut().filter(|region| region.kind == MemoryRegionType::Kernel) {
            region.len = 0;
        }
        let others = MemoryMap::from_regions(&others[..self.nr_regions]).map_err(FirmwareError::Map)?;
        for image in self.regions().iter().filter(|region| region.kind == MemoryRegionType::Kernel) {
            for pa in (image.base.0..image.end().0).step_by(PAGE_SIZE).map(Paddr) {
                match others.kind_of(pa) {
                    Some(MemoryRegionType::Usable) => {}
                    kind => return Err(FirmwareError::NotForKernel(pa, kind)),
                }
            }
        }
        Ok(())
    }

    /// Returns the command line.
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_len]).unwrap_or("")
    }
}

/// The command line, for whoever looks for an option.
static OPTIONS: Once<([u8; MOST_COMMAND_LINE], usize)> = Once::new();

/// The word that the command line gives an option, as `name=word`.
pub fn word(name: &str) -> Option<&'static str> {
    let (bytes, len) = OPTIONS.get()?;
    let words = core::str::from_utf8(&bytes[..*len]).ok()?.split_whitespace();
    Some(words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name)?.1)
}

/// The number that the command line gives an option, as `name=number`.
pub fn option(name: &str) -> Option<u64> {
    word(name)?.parse().ok()
}

/// Frames that are free after booting, at least: what the checks need.
const LEAST_FREE: usize = 2000;

/// Brings the library up on the first processor: from here on there are frames, a heap, and spaces.
pub fn bring_up(firmware: &mut Firmware) {
    println!("vellum: booting with \"{}\"", firmware.command_line());
    // Nobody else sets it.
    let _ = OPTIONS.set((firmware.command_line, firmware.command_line_len));
    bare::power_on(firmware.processors().len().max(1), crate::halted);
    let map = match faults::in_map(firmware).and_then(|()| firmware.memory_map()) {
        Ok(map) => map,
        Err(error) => panic!("the memory map cannot be used: {error}"),
    };
    for region in map.regions() {
        println!("boot: {:#014x}-{:#014x} {:?}", region.base.0, region.end().0, region.kind);
    }
    let end = map.ram_end();
    let mut early = EarlyAllocator::new(map);
    arch::show_memory(&mut early, end);
    let metadata = map_metadata(&mut early, end);
    // SAFETY: the metadata region is mapped at its address, from frames that `early` gave away for good; boot tables and
    // later kernel space show all memory; frames that are not free memory are withheld by `allocator::init`.
    unsafe { frame::init_metadata(end.0 / PAGE_SIZE) };
    // SAFETY: what is usable in the map is used by nobody: the image, the firmware's tables and the boot code are in it.
    if let Err(error) = unsafe { allocator::init(early) } {
        panic!("there is no frame allocator: {error}");
    }
    faults::in_allocations();
    start_kernel_space(metadata, end);
    let reclaimed = allocator::reclaim_boot_memory();
    let free = allocator::statistics().map_or(0, |statistics| statistics.free);
    println!("boot: {free} frames free, {reclaimed} of them the firmware's before");
    if free < LEAST_FREE {
        panic!("not enough memory: {free} frames are free after booting, and {LEAST_FREE} are needed");
    }
}

/// Has the boot tables show the metadata region at its address; returns where it is.
fn map_metadata(early: &mut EarlyAllocator, end: Paddr) -> (Paddr, usize) {
    let frames = end.0 / PAGE_SIZE;
    let metadata = match early.alloc_metadata(frames) {
        Ok(metadata) => metadata,
        Err(error) => panic!("no memory for the metadata of {frames} frames: {error}"),
    };
    let len = metadata_frames(frames) * PAGE_SIZE;
    println!("boot: metadata of {frames} frames at {metadata}, {} KiB, shown at {META_BASE:#x}", len >> 10);
    arch::map_at_boot(early, Vaddr(META_BASE), metadata, len);
    (metadata, len)
}

/// Sets kernel space up and goes to its table.
fn start_kernel_space((metadata, len): (Paddr, usize), end: Paddr) {
    if let Err(error) = space::init() {
        panic!("there is no kernel space: {error}");
    }
    let prop = PageProperty::kernel(Access::RW);
    // SAFETY: the metadata region at its address, as in the boot tables.
    if let Err(error) = unsafe { kspace::map(Vaddr(META_BASE), metadata, len, prop) } {
        panic!("the metadata region cannot be mapped: {error}");
    }
    arch::after_kernel_space();
    println!("boot: kernel space, linear map of {end} bytes at {LINEAR_MAP_BASE:#x}");
    crate::report::walk(Vaddr(LINEAR_MAP_BASE));
}

/// Has the calling processor walk kernel space in place of the boot tables.
pub fn enter_kernel_space() {
    // SAFETY: kernel space shows the image, the linear map and the metadata where the boot tables do; no space was active
    // on a processor that boots.
    if let Err(error) = unsafe { kspace::enter() } {
        panic!("kernel space cannot be entered: {error}");
    }
}

/// Takes a frame of zeros for the boot tables.
pub fn early_table(early: &mut EarlyAllocator) -> Paddr {
    match early.alloc(1, PAGE_SIZE) {
        Ok(frame) => {
            // SAFETY: the frame is nobody else's, and low enough for the boot tables to show it.
            unsafe { contents(frame).write_bytes(0, PAGE_SIZE) };
            frame
        }
        Err(error) => panic!("no memory for the boot tables: {error}"),
    }
}

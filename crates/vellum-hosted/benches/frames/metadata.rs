//! What metadata costs.
//!
//! Building the region: `init_metadata` for 1 GiB of memory, in a child process each time, because there is one region
//! in the life of a process. It is compared with filling as many bytes with zeros. The pages of both are there
//! before, as in a kernel.
//!
//! Reading a field through `Frame::meta()`: compared with reading it through a reference to the metadata. [`by_meta`] and
//! [`by_reference`] become the same instructions on x86-64; each read is
//!
//! ```text
//! mov (%rdi,%rdx,8),%r8     the handle, which is the address of the slot, or the reference
//! add (%r8),%rax            the field, at the slot's head
//! ```
//!
//! So the fastest round of each is taken: what they differ by is the host's doing.
use crate::rows::Effort;
use crate::shared::samples::median;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::time::Instant;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::frame::{AnyFrameMeta, Frame, init_metadata};
use vellum_hosted::Machine;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::{META_BASE, META_SLOT_SIZE};

/// The name of the rows.
pub const NAME: &str = "metadata";

const GIB: f64 = (1 << 30) as f64;
/// Frames whose fields are read; their slots fit into the first cache.
const READ: usize = 256;

/// What was measured.
pub struct Metadata {
    /// Milliseconds per GiB of memory to build the region, and to fill as many bytes with zeros.
    pub build: [f64; 2],
    /// Nanoseconds to read a field through `meta()`, and through a reference.
    pub read: [f64; 2],
}

impl Metadata {
    pub fn measure(machine: &Machine, effort: Effort) -> Result<Metadata, Box<dyn Error>> {
        // A GiB in earnest.
        let frames = effort.work << 2;
        let builds: Vec<_> = (0..effort.rounds.min(11)).map(|_| build(frames)).collect::<Result<_, _>>()?;
        let reads = machine.run_on(CpuId::BOOT, || reads(effort));
        let least = |which: usize| reads.iter().map(|both| both[which]).fold(f64::INFINITY, f64::min);
        Ok(Metadata { build: medians(&builds), read: [least(0), least(1)] })
    }
}

fn medians(times: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|which| median(&times.iter().map(|both| both[which]).collect::<Vec<_>>()).unwrap_or(f64::NAN))
}

/// Has another process build the region, and returns milliseconds per GiB as it prints them.
fn build(frames: usize) -> Result<[f64; 2], Box<dyn Error>> {
    let child =
        Command::new(std::env::current_exe()?).arg("--metadata-child").arg(frames.to_string()).output()?;
    if !child.status.success() {
        return Err(format!("{}: {}", child.status, String::from_utf8_lossy(&child.stderr)).into());
    }
    let text = String::from_utf8(child.stdout)?;
    let (ours, floor) = text.trim().split_once(' ').ok_or("the child prints two numbers")?;
    let per_gib = GIB / (frames * PAGE_SIZE) as f64 / 1e6;
    Ok([ours.parse::<f64>()? * per_gib, floor.parse::<f64>()? * per_gib])
}

/// Is the other process: builds the region for `frames` frames, fills as many bytes, and prints nanoseconds.
#[allow(unsafe_code, reason = "maps the metadata region and builds it")]
pub fn child(frames: usize) -> ExitCode {
    let bytes = frames * META_SLOT_SIZE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
    let at = with_exposed_provenance_mut(META_BASE);
    // SAFETY: the kernel puts the mapping where nothing is mapped, or nowhere.
    let region = unsafe { mmap_anonymous(at, bytes, protection, flags | MapFlags::FIXED_NOREPLACE) };
    // SAFETY: the kernel chooses where.
    let other = unsafe { mmap_anonymous(null_mut(), bytes, protection, flags) };
    let (Ok(region), Ok(other)) = (region, other) else {
        eprintln!("{bytes} bytes cannot be mapped");
        return ExitCode::FAILURE;
    };
    assert_eq!(region.expose_provenance(), META_BASE);
    // SAFETY: so many bytes were mapped there just now.
    let floor = nanos(|| unsafe { black_box(other.cast::<u8>()).write_bytes(0, bytes) });
    // SAFETY: the region is mapped for so many slots, for good, and nobody else uses it; none of the frames is memory,
    // and this process makes no handles.
    let ours = nanos(|| unsafe { init_metadata(frames) });
    println!("{ours} {floor}");
    ExitCode::SUCCESS
}

fn nanos(f: impl FnOnce()) -> f64 {
    let began = Instant::now();
    f();
    began.elapsed().as_nanos() as f64
}

struct Number(u64);

impl AnyFrameMeta for Number {}

#[inline(never)]
fn by_meta(frames: &[Frame<Number>]) -> u64 {
    frames.iter().fold(0, |sum, frame| sum + frame.meta().0)
}

#[inline(never)]
fn by_reference(numbers: &[&Number]) -> u64 {
    numbers.iter().fold(0, |sum, number| sum + number.0)
}

fn reads(effort: Effort) -> Vec<[f64; 2]> {
    let frame = |n| FrameAllocOptions::new().uninit().alloc_frame_with(Number(n)).expect("there is memory");
    let frames: Vec<_> = (0..READ as u64).map(frame).collect();
    let numbers: Vec<_> = frames.iter().map(Frame::meta).collect();
    let times = effort.work / 64;
    let per_read = |f: &dyn Fn() -> u64| {
        let total = nanos(|| {
            for _ in 0..times {
                black_box(f());
            }
        });
        total / (times * READ) as f64
    };
    let ours = || per_read(&|| by_meta(black_box(&frames)));
    let plain = || per_read(&|| by_reference(black_box(&numbers)));
    let turn = |round| {
        if round % 2 == 0 {
            return [ours(), plain()];
        }
        let plain = plain();
        [ours(), plain]
    };
    (0..effort.rounds).map(turn).collect()
}

//! Where a machine in QEMU hangs: the registers by its monitor, the names by the kernel's table of symbols.
use anyhow::{Context, Result};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Says for each processor which function it is in; what cannot be found out is said as well.
pub fn where_it_hangs(monitor: &Path, kernel: &Path) -> Vec<String> {
    let registers = match ask(monitor, "info registers -a") {
        Ok(registers) => registers,
        Err(error) => return vec![format!("somewhere: the monitor does not answer ({error:#})")],
    };
    let symbols = fs::read(kernel).ok().and_then(|image| symbols(&image)).unwrap_or_default();
    addresses(&registers)
        .into_iter()
        .map(|(cpu, at)| format!("{cpu}: {at:#x} {}", name(&symbols, at)))
        .collect()
}

/// What the monitor answers, until it says nothing more.
fn ask(monitor: &Path, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(monitor).context("connecting")?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    writeln!(stream, "{command}")?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..len]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The instruction pointers in a list of registers, by processor.
fn addresses(registers: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut cpu = String::from("CPU#0");
    let mut before = "";
    for word in registers.split_whitespace() {
        // x86-64 has `RIP=` before the address, RISC-V a word of its own.
        let address = word.strip_prefix("RIP=").or((before == "pc").then_some(word));
        if word.starts_with("CPU#") {
            cpu = word.to_owned();
        } else if let Some(at) = address.and_then(|at| u64::from_str_radix(at, 16).ok()) {
            found.push((cpu.clone(), at));
        }
        before = word;
    }
    found
}

/// The functions of a 64-bit little-endian ELF file, by address.
fn symbols(image: &[u8]) -> Option<Vec<(u64, String)>> {
    const SYMBOL_TABLE: u64 = 2;
    const FUNCTION: u64 = 2;
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = image.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let sections = number(40, 8)? as usize;
    let section = |n: u64, field: usize, len: usize| number(sections + 64 * n as usize + field, len);
    let table = (0..number(60, 2)?).find(|&n| section(n, 4, 4) == Some(SYMBOL_TABLE))?;
    let (start, bytes, names) = (section(table, 24, 8)?, section(table, 32, 8)?, section(table, 40, 4)?);
    let names = section(names, 24, 8)? as usize;
    let mut symbols = Vec::new();
    for at in (start..start + bytes).step_by(24).map(|at| at as usize) {
        if number(at + 4, 1)? & 15 == FUNCTION {
            let name = image.get(names + number(at, 4)? as usize..)?;
            let len = name.iter().position(|byte| *byte == 0)?;
            symbols.push((number(at + 8, 8)?, String::from_utf8_lossy(&name[..len]).into_owned()));
        }
    }
    symbols.sort();
    Some(symbols)
}

/// The function that an address is in.
fn name(symbols: &[(u64, String)], at: u64) -> String {
    match symbols.partition_point(|(start, _)| *start <= at) {
        0 => String::from("outside the kernel"),
        after => readable(&symbols[after - 1].1),
    }
}

/// The path in a mangled name, without its hash.
fn readable(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("_ZN") else { return name.to_owned() };
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|len| *len > 0) {
        let len: usize = rest[..digits].parse().unwrap_or(0);
        let Some(part) = rest.get(digits..digits + len) else { break };
        parts.push(part);
        rest = &rest[digits + len..];
    }
    parts.pop();
    parts.join("::")
}

/// The bytes of an image that are put into memory from it.
pub fn loaded_bytes(image: &[u8]) -> Option<u64> {
    const LOAD: u64 = 1;
    let number = |at: usize, len: usize| {
        let bytes = image.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (segments, size) = (number(32, 8)? as usize, number(54, 2)? as usize);
    let mut loaded = 0;
    for at in (0..number(56, 2)? as usize).map(|n| segments + n * size) {
        if number(at, 4)? == LOAD {
            loaded += number(at + 32, 8)?;
        }
    }
    Some(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_names_are_read() {
        let text = "CPU#0\nRAX=1 RIP=ffff840000100004 RFL=2\nCPU#1\nRIP=0000000000000010\n";
        let found = addresses(text);
        assert_eq!(found, [("CPU#0".to_owned(), 0xffff_8400_0010_0004), ("CPU#1".to_owned(), 0x10)]);
        let text = "CPU#1\n V      =   0\n pc       ffffff0080200010\n mhartid  0000000000000001\n";
        assert_eq!(addresses(text), [("CPU#1".to_owned(), 0xffff_ff00_8020_0010)]);
        let symbols =
            vec![(0x100, "_ZN6vellum4sync3run17h0123456789abcdefE".to_owned()), (0x200, "boot".to_owned())];
        assert_eq!(name(&symbols, 0x150), "vellum::sync::run");
        assert_eq!(name(&symbols, 0x200), "boot");
        assert_eq!(name(&symbols, 0x10), "outside the kernel");
    }

    #[test]
    fn what_is_no_image_has_no_symbols() {
        assert_eq!(symbols(b"no image"), None);
        assert_eq!(symbols(&[0; 64]), None);
        assert_eq!(loaded_bytes(b"no image"), None);
    }
}

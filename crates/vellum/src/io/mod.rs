//! Reading and writing memory that is not Rust's own.
//!
//! A [`VmReader`] and a [`VmWriter`] are positions in a stretch of memory that others may change at any time:
//! the memory of a user program, or what is mapped in kernel space for a while ([`Fallible`]: any access can
//! fault), or frames whose contents are plain bytes ([`Infallible`]). References into such memory are never made; bytes are copied in and out.
//!
//! What is read are values of plain data ([`FromBytes`]), what is written are values without padding
//! ([`IntoBytes`]); [`Word`]s can be accessed as one.
//!
//! Neither is `Send` or `Sync`: user memory is that of the space which is active on this processor.
//!
//! ```compile_fail,E0277
//! fn to_another_processor(reader: vellum::io::VmReader<'static, vellum::io::Fallible>) {
//!     std::thread::spawn(move || reader.remain());
//! }
//! ```
//!
//! ```
//! use vellum::io::{VmReader, VmWriter};
//!
//! let mut out = [0; 4];
//! let mut reader = VmReader::from(&b"frame"[..]);
//! assert_eq!(reader.read(&mut VmWriter::from(&mut out[..])), 4);
//! assert_eq!((&out, reader.read_val()), (b"fram", Ok(b'e')));
//! ```

mod error;
mod kind;
mod reader;
mod untyped;
mod window;
mod word;
mod writer;

pub use error::{CopyError, IoError};
pub use kind::{Fallible, Infallible, MemoryKind};
pub use reader::VmReader;
pub use untyped::UntypedMem;
pub use word::Word;
pub use writer::VmWriter;
pub use zerocopy::{FromBytes, Immutable, IntoBytes};

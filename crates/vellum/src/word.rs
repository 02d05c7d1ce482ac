//! The width of an address.
use vstd::prelude::*;

verus! {

global size_of usize == 8;

} // verus!

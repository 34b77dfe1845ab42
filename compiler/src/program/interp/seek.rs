//! Looking for the place where numbers go wrong, while a program is run. Takes the results of nodes whose arguments were
//! sound; remembers the first that are not.

use super::array::Array;
use super::{Function, Node, RunError, error};
use dlc_plan::DType;
use std::rc::Rc;

/// What is looked for: the first result that single precision does not have.
#[derive(Default)]
pub struct Seek {
    /// The members that are being run, outermost first; empty for what is no member.
    pub path: Vec<Rc<str>>,
    /// The place.
    pub found: Option<String>,
}

impl Seek {
    /// Looks at the results of a node; once the place is found, nothing needs to be run any more.
    pub fn look(&mut self, f: &Function, n: &Node, results: &[Array]) -> Result<(), RunError> {
        if results.iter().zip(&n.tys).all(|(array, ty)| is_sound(array, ty.dtype)) {
            return Ok(());
        }
        let members = self.path.iter().chain([&n.origin.member]).filter(|member| !member.is_empty());
        let path: Vec<&str> = members.map(|member| &**member).collect();
        let place = if path.is_empty() { f.name.clone() } else { path.join(".") };
        self.found = Some(place);
        error("a number is not finite".into())
    }
}

/// Whether single precision has all numbers of an array, if they are real. Minus infinity is what masks are made of.
pub fn is_sound(array: &Array, dtype: DType) -> bool {
    !dtype.is_float() || array.data.iter().all(|x| x.abs() <= f64::from(f32::MAX) || *x == f64::NEG_INFINITY)
}

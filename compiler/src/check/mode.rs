//! Layers that a training computes as they are outside of it. Takes the modules that are so ([`Checker::evaluated`]); whatever
//! is worked through at or below one of them finds `training` false.

use super::Checker;
use super::key;
use super::net::join;
use super::value::Val;
use std::ops::Bound;
use std::rc::Rc;

impl Checker {
    /// Enters a layer with this label below the one that is being worked through; gives whether `training` was true.
    pub(super) fn enter_mode(&mut self, label: &Rc<str>) -> bool {
        let before = self.training;
        if before && !self.evaluated.is_empty() {
            self.training = !self.evaluated.contains(&*join(&self.member_path(), label));
        }
        before
    }

    /// Adds to an instance's key which of the layers below it are computed as outside of training.
    pub(super) fn evaluated_key(&self, label: &Rc<str>, key: &mut Vec<u8>) {
        for below in self.evaluated_at(label) {
            key.push(252);
            key::value(&Val::Str(below.into()), key);
        }
    }

    /// Whether the same layers are computed as outside of training below two labels, or at them.
    pub(super) fn evaluated_alike(&self, a: &Rc<str>, b: &Rc<str>) -> bool {
        self.evaluated_at(a) == self.evaluated_at(b)
    }

    /// The layers that are computed as outside of training below a label of the layer that is being worked through, or at it:
    /// the rests of their names.
    fn evaluated_at(&self, label: &Rc<str>) -> Vec<&str> {
        if !self.training || self.evaluated.is_empty() {
            return Vec::new();
        }
        let path = join(&self.member_path(), label);
        let from = self.evaluated.range::<str, _>((Bound::Included(&*path), Bound::Unbounded));
        let rests = from.map_while(|name| name.strip_prefix(&*path));
        rests.filter(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('.')).collect()
    }
}

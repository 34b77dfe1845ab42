//! Columns of tables that are whole numbers. A table says nothing of types, so a column is read as singles, which keep whole
//! numbers up to 2^24 only. Where an item uses a column as whole numbers alone, as in `i64(k)` or `i64(k % 1000)`, it is
//! read as such, with all 64 bits.

use super::data::Data;
use crate::check::names_in;
use dlc_grammar::ast::{BinaryOp, Expr, ExprKind, StageKind, UnaryOp};

/// The functions that make whole numbers wide enough to keep what they are given.
const CASTS: [&str; 2] = ["i64", "i32"];

/// Whether the columns and the `where` of an item use a column of its source as whole numbers alone.
pub fn is_whole(data: &Data, name: &str) -> bool {
    let uses = |e: &Expr| names_in(e).iter().filter(|(known, _)| known == name).count();
    let texts = || data.columns.iter().map(|(_, e)| e).chain(&data.keep);
    let all: usize = texts().map(uses).sum();
    let augmented = data.augment.iter().any(|(_, e)| uses(e) > 0);
    let whole: usize = texts().map(|e| whole_uses(&mut e.clone(), name)).sum();
    !data.columns.is_empty() && !augmented && all > 0 && all == whole
}

/// How often a name stands where only whole numbers matter.
fn whole_uses(e: &mut Expr, name: &str) -> usize {
    match &e.kind {
        ExprKind::Call { callee, args } if is_cast(callee) && args.len() == 1 => {
            if let Some(uses) = integral(&args[0].value, name) {
                return uses;
            }
        }
        ExprKind::Pipe { input, stages } => {
            let first = stages.first().map(|stage| &stage.what);
            if let (Some(StageKind::Expr(to)), Some(uses)) = (first, integral(input, name))
                && is_cast(to)
            {
                return uses;
            }
        }
        _ => {}
    }
    let mut uses = 0;
    e.each_part_mut(&mut |part| uses += whole_uses(part, name));
    uses
}

fn is_cast(e: &Expr) -> bool {
    matches!(&e.kind, ExprKind::Name(name) if CASTS.contains(&name.as_str()))
}

/// How often a name stands in an expression that gives a whole number where all that it reads are some; none where it may
/// give another.
fn integral(e: &Expr, name: &str) -> Option<usize> {
    match &e.kind {
        ExprKind::Name(known) => Some(usize::from(known == name)),
        ExprKind::Number(number) => number.is_int.then_some(0),
        ExprKind::Unary { op: UnaryOp::Neg, operand } => integral(operand, name),
        ExprKind::Binary { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Rem, left, right, .. } => {
            Some(integral(left, name)? + integral(right, name)?)
        }
        _ => None,
    }
}

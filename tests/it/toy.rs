//! A machine that computes by itself what a compiled model would: y = w x + b by least squares. It writes down what it is
//! asked, so that tests see what a training does.

use dlc::machine::{Machine, Named};
use dlc::{DType, Tensor};
use dlc_plan::plan::{Port, Store, Weight};
use dlc_plan::{HostState, Size};
use dlc_runtime::Error;

/// One request: the entry, the rows it got, and the host's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub entry: String,
    pub rows: usize,
    pub step: u64,
    pub epoch: u64,
    pub first_sample: u64,
}

pub struct Toy {
    pub weights: [f32; 2],
    grads: [f32; 2],
    rows_of_step: f32,
    entries: Vec<(&'static str, Vec<Port>, Vec<Port>)>,
    stored: Vec<Weight>,
    pub calls: Vec<Call>,
    /// What entered `evaluate` last.
    pub evaluated: Vec<(String, Vec<f32>)>,
    pub rate: f32,
}

fn port(name: &str) -> Port {
    Port {
        name: name.into(),
        dtype: dlc_plan::DType::F32,
        shape: vec![Size::dim(0)],
        buffer: 0,
        limit: None,
        default: None,
    }
}

fn ports(names: &[&str]) -> Vec<Port> {
    names.iter().map(|name| port(name)).collect()
}

fn weight(name: &str, offset: usize) -> Weight {
    let (name, store) = (name.to_owned(), Store::Trained);
    Weight { name, aliases: Vec::new(), shape: vec![1], dtype: dlc_plan::DType::F32, store, offset, unread: false }
}

impl Toy {
    pub fn new() -> Toy {
        let entries = vec![
            ("init", ports(&[]), ports(&[])),
            ("columns", ports(&["raw", "y"]), ports(&["x", "target"])),
            ("forward", ports(&["x"]), ports(&["out"])),
            ("evaluate", ports(&["out", "target"]), ports(&["error"])),
            ("accumulate", ports(&["x", "target"]), ports(&["loss"])),
            ("update", ports(&[]), ports(&[])),
        ];
        let stored = vec![weight("line.w", 0), weight("line.b", 16)];
        let (calls, evaluated) = (Vec::new(), Vec::new());
        Toy { weights: [9.0; 2], grads: [0.0; 2], rows_of_step: 0.0, entries, stored, calls, evaluated, rate: 0.1 }
    }

    /// Leaves an entry out.
    pub fn without(mut self, entry: &str) -> Toy {
        self.entries.retain(|(name, _, _)| *name != entry);
        self
    }

    /// Adds `statistics` of the column `raw`, which `columns` then asks for.
    pub fn with_statistics(mut self) -> Toy {
        self.entries.push(("statistics", ports(&["raw"]), ports(&["raw_mean"])));
        self.entries[1].1.push(port("raw_mean"));
        self
    }

    pub fn called(&self, entry: &str) -> Vec<Call> {
        self.calls.iter().filter(|call| call.entry == entry).cloned().collect()
    }

    fn accumulate(&mut self, x: &[f32], target: &[f32]) -> f32 {
        let [w, b] = self.weights;
        let off: Vec<f32> = x.iter().zip(target).map(|(x, t)| w * x + b - t).collect();
        self.grads[0] += off.iter().zip(x).map(|(off, x)| 2.0 * off * x).sum::<f32>();
        self.grads[1] += off.iter().map(|off| 2.0 * off).sum::<f32>();
        self.rows_of_step += x.len() as f32;
        off.iter().map(|off| off * off).sum::<f32>() / x.len() as f32
    }

    fn update(&mut self) {
        for (weight, grad) in self.weights.iter_mut().zip(self.grads) {
            *weight -= self.rate * grad / self.rows_of_step;
        }
        self.forget_gradients();
    }
}

fn column(numbers: Vec<f32>) -> Tensor {
    Tensor::from_f32(vec![numbers.len()], numbers).expect("as many as there are")
}

fn scalar(number: f32) -> Tensor {
    Tensor::from_f32(vec![], vec![number]).expect("one number")
}

impl Machine for Toy {
    fn ports(&self, entry: &str) -> Option<(&[Port], &[Port])> {
        let (_, inputs, outputs) = self.entries.iter().find(|(name, _, _)| *name == entry)?;
        Some((inputs, outputs))
    }

    fn run(&mut self, entry: &str, state: &HostState, inputs: &[(&str, &Tensor)]) -> Result<Named, Error> {
        let expected: Vec<String> =
            self.ports(entry).expect("the entry is there").0.iter().map(|port| port.name.clone()).collect();
        assert_eq!(inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected, "inputs of {entry}");
        let get = |i: usize| inputs[i].1.as_f32().expect("all columns are real").to_vec();
        let rows = inputs.first().map_or(0, |(_, tensor)| tensor.shape()[0]);
        let HostState { step, epoch, first_sample, .. } = *state;
        self.calls.push(Call { entry: entry.into(), rows, step, epoch, first_sample });
        let outputs: Vec<Tensor> = match entry {
            "init" => {
                self.weights = [0.0, 0.0];
                vec![]
            }
            "statistics" => vec![scalar(get(0).iter().sum::<f32>() / rows as f32)],
            "columns" => {
                let raw = get(0);
                if let Some(row) = raw.iter().position(|raw| *raw > 1000.0) {
                    return Err(Error::Index {
                        name: "raw".into(),
                        value: raw[row] as i64,
                        at: vec![row],
                        limit: 1000,
                    });
                }
                let mean = inputs.get(2).map_or(0.0, |(_, mean)| mean.as_f32().expect("real")[0]);
                vec![column(raw.iter().map(|raw| raw / 10.0 - mean).collect()), column(get(1))]
            }
            "forward" => vec![column(get(0).iter().map(|x| self.weights[0] * x + self.weights[1]).collect())],
            "evaluate" => {
                self.evaluated = inputs.iter().map(|(name, _)| (*name).to_owned()).zip([get(0), get(1)]).collect();
                let worst = get(0).iter().zip(get(1)).map(|(y, t)| (y - t).abs()).fold(0.0, f32::max);
                vec![scalar(worst)]
            }
            "accumulate" => vec![scalar(self.accumulate(&get(0), &get(1)))],
            "update" => {
                self.update();
                vec![]
            }
            other => panic!("{other} is no entry"),
        };
        let names = self.ports(entry).expect("the entry is there").1.iter().map(|port| port.name.clone());
        Ok(names.zip(outputs).collect())
    }

    fn forget_gradients(&mut self) {
        self.grads = [0.0; 2];
        self.rows_of_step = 0.0;
    }

    fn weights(&self) -> &[Weight] {
        &self.stored
    }

    fn weight(&self, name: &str) -> Result<Tensor, Error> {
        let place = usize::from(name == "line.b");
        Ok(column(vec![self.weights[place]]))
    }

    fn set_weight(&mut self, name: &str, value: &Tensor) -> Result<(), Error> {
        assert_eq!(value.dtype(), DType::F32);
        self.weights[usize::from(name == "line.b")] = value.as_f32().expect("it is real")[0];
        Ok(())
    }
}

//! Files and the items in them: the spec, what it imports, and the prelude.
//!
//! Takes texts, through a [`Loader`] for imports; gives items by module and name. The prelude is text like any other; its
//! items are found by their brackets and parsed when something asks for them.

use super::value::Val;
use crate::lower::paths;
use dlc_grammar::ast::{self, ImportWhat, Item};
use dlc_grammar::parse::{ItemHead, index, parse, parse_item};
use dlc_grammar::{Diagnostic, Sources, Span, nearest};
use rustc_hash::FxHashMap as HashMap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Finds the texts that imports speak of.
pub trait Loader {
    /// The text at `path`, relative to the file `from`, and the name under which it is known from then on: two paths to
    /// one file give one name. An error says what is wrong in one line.
    fn load(&mut self, path: &str, from: &str) -> Result<Loaded, String>;
}

/// A text that a loader found.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name in messages, the same for every path to it.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A loader that finds nothing, for texts without a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn load(&mut self, path: &str, _from: &str) -> Result<Loaded, String> {
        Err(format!("`{path}` cannot be read: there is no folder to look in"))
    }
}

/// A function of the spec or the prelude.
#[derive(Debug)]
pub struct FnItem {
    /// Its text.
    pub ast: ast::Fn,
    /// The module it stands in.
    pub module: u16,
    /// A number of its own among all items.
    pub id: u32,
}

/// A block, model or optimizer of the spec or the prelude.
#[derive(Debug)]
pub struct NetItem {
    /// Its text.
    pub ast: ast::Net,
    /// The module it stands in.
    pub module: u16,
    /// A number of its own among all items.
    pub id: u32,
}

/// A constant.
#[derive(Debug)]
pub struct ConstItem {
    /// Its text.
    pub ast: ast::Const,
    /// The module it stands in.
    pub module: u16,
    /// Its value, once something has asked for it.
    pub(super) value: RefCell<Option<Val>>,
    /// Whether its value is being found out.
    pub(super) busy: Cell<bool>,
}

/// `data`, `weights`, `train` and their like.
#[derive(Debug)]
pub struct ConfigItem {
    /// Its text.
    pub ast: ast::Config,
    /// The module it stands in.
    pub module: u16,
}

/// An item.
#[derive(Clone, Debug)]
pub enum ItemRef {
    /// A function.
    Fn(Rc<FnItem>),
    /// A block, model or optimizer.
    Net(Rc<NetItem>),
    /// A constant.
    Const(Rc<ConstItem>),
    /// A configuration.
    Config(Rc<ConfigItem>),
    /// An imported module.
    Module(u16),
}

/// Where an item is found.
#[derive(Clone, Debug)]
enum Entry {
    Ready(ItemRef),
    /// Not parsed yet; an index into the prelude's heads.
    Lazy(usize),
    /// A text that does not parse; why has been said.
    Broken,
}

/// A file's items by name.
#[derive(Debug, Default)]
struct Module {
    entries: BTreeMap<String, Entry>,
    /// The items that the file itself defines, in order.
    own: Vec<(String, ItemRef)>,
}

/// The module of the prelude.
pub const PRELUDE: u16 = 0;

/// All modules and their texts.
pub struct Modules {
    /// The texts.
    pub sources: Sources,
    modules: Vec<Module>,
    /// Prelude items not parsed yet.
    heads: Vec<ItemHead>,
    /// The number of each file that is loaded or being loaded; `None` while it is.
    by_name: HashMap<String, Option<u16>>,
    /// The folder of the file that is being loaded, as its importers write it: empty for the spec's own.
    folder: String,
    /// The files of the prelude, by their number in `sources`.
    prelude_files: std::ops::Range<u16>,
    items: u32,
}

impl Modules {
    /// The prelude alone. Its files come first in the sources.
    pub fn new(prelude: &[(&str, &str)]) -> Modules {
        let mut all = Modules {
            sources: Sources::new(),
            modules: vec![Module::default()],
            heads: Vec::new(),
            by_name: HashMap::default(),
            folder: String::new(),
            prelude_files: 0..prelude.len() as u16,
            items: 0,
        };
        for (name, text) in prelude {
            let file = all.sources.add(format!("<prelude>/{name}"), *text);
            for head in index(text, file) {
                let Some(item) = &head.name else { continue };
                all.modules[0].entries.insert(item.text.clone(), Entry::Lazy(all.heads.len()));
                all.heads.push(head);
            }
        }
        all
    }

    /// Whether a place is in the prelude.
    pub fn in_prelude(&self, span: Span) -> bool {
        self.prelude_files.contains(&span.file)
    }

    /// Parses a file and what it imports; gives its module's number.
    pub fn load(&mut self, name: &str, text: &str, loader: &mut dyn Loader, errors: &mut Vec<Diagnostic>) -> u16 {
        let file = self.sources.add(name, text);
        let (mut spec, mut found) = parse(text, file);
        errors.append(&mut found);
        if !self.folder.is_empty() {
            // The whole is read from the spec's folder.
            paths::files(&mut spec, &mut |path| path.value = paths::below(&self.folder, &path.value));
        }
        self.add(name, spec, file, loader, errors)
    }

    /// Adds the module of a tree whose text is in the sources already, as `file`, and what it imports.
    pub fn add(
        &mut self,
        name: &str,
        spec: ast::Spec,
        file: u16,
        loader: &mut dyn Loader,
        errors: &mut Vec<Diagnostic>,
    ) -> u16 {
        self.by_name.insert(name.to_string(), None);
        let mut module = Module::default();
        let number = self.modules.len() as u16;
        self.modules.push(Module::default());
        let mut places: HashMap<String, Span> = HashMap::default();
        for item in spec.items {
            if let Item::Import(import) = item {
                for (name, span, entry) in self.import(&import, name, loader, errors) {
                    if self.is_new(&name, span, &mut places, errors) {
                        module.entries.insert(name, entry);
                    }
                }
                continue;
            }
            let ident = item.name().expect("only imports have no name").clone();
            let item = self.item(item, number);
            if self.is_new(&ident.text, ident.span, &mut places, errors) {
                module.entries.insert(ident.text.clone(), Entry::Ready(item.clone()));
                module.own.push((ident.text, item));
            }
        }
        // What does not parse is in no tree. It has a name all the same, and why it is of no use has been said.
        if !errors.is_empty() {
            let text = &self.sources.get(file).expect("the text is among the sources").text;
            for name in index(text, file).into_iter().filter_map(|head| head.name) {
                module.entries.entry(name.text).or_insert(Entry::Broken);
            }
        }
        self.modules[number as usize] = module;
        self.by_name.insert(name.to_string(), Some(number));
        number
    }

    fn is_new(&self, name: &str, span: Span, places: &mut HashMap<String, Span>, errors: &mut Vec<Diagnostic>) -> bool {
        let Some(first) = places.get(name) else {
            places.insert(name.to_string(), span);
            return true;
        };
        let error = Diagnostic::error("E0115", span, format!("`{name}` is defined twice")).label(*first, "first here");
        errors.push(error.help("rename one of them"));
        false
    }

    fn item(&mut self, item: Item, module: u16) -> ItemRef {
        self.items += 1;
        let id = self.items;
        match item {
            Item::Fn(ast) => ItemRef::Fn(Rc::new(FnItem { ast, module, id })),
            Item::Net(ast) => ItemRef::Net(Rc::new(NetItem { ast, module, id })),
            Item::Const(ast) => {
                let (value, busy) = Default::default();
                ItemRef::Const(Rc::new(ConstItem { ast, module, value, busy }))
            }
            Item::Config(ast) => ItemRef::Config(Rc::new(ConfigItem { ast, module })),
            Item::Import(_) => unreachable!("imports are taken apart before"),
        }
    }

    fn import(
        &mut self,
        import: &ast::Import,
        from: &str,
        loader: &mut dyn Loader,
        errors: &mut Vec<Diagnostic>,
    ) -> Vec<(String, Span, Entry)> {
        let names: Vec<_> = match &import.what {
            ImportWhat::Names(names) => {
                names.iter().map(|n| (n.alias.as_ref().unwrap_or(&n.name).clone(), Some(n.name.clone()))).collect()
            }
            ImportWhat::Module(Some(alias)) => vec![(alias.clone(), None)],
            ImportWhat::Module(None) => {
                let stem = import.path.value.rsplit(['/', '\\']).next().unwrap_or("");
                let text = stem.strip_suffix(".dl").unwrap_or(stem).to_string();
                vec![(ast::Ident { text, span: import.path.span }, None)]
            }
        };
        let module = self.imported_module(import, from, loader, errors);
        let entry = |modules: &mut Modules, name: Option<ast::Ident>, errors: &mut Vec<Diagnostic>| {
            let Some(module) = module else { return Entry::Broken };
            let Some(name) = name else { return Entry::Ready(ItemRef::Module(module)) };
            if let Some(found) = modules.modules[module as usize].entries.get(&name.text) {
                return found.clone();
            }
            let known = modules.modules[module as usize].entries.keys().map(String::as_str);
            let message = format!("no item `{}` in {}", name.text, import.path.value);
            let error = Diagnostic::error("E0102", name.span, message).did_you_mean(nearest(&name.text, known));
            errors.push(error);
            Entry::Broken
        };
        names.into_iter().map(|(here, there)| (here.text, here.span, entry(self, there, errors))).collect()
    }

    fn imported_module(
        &mut self,
        import: &ast::Import,
        from: &str,
        loader: &mut dyn Loader,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<u16> {
        let loaded = match loader.load(&import.path.value, from) {
            Ok(loaded) => loaded,
            Err(why) => {
                errors.push(Diagnostic::error("E0110", import.path.span, why));
                return None;
            }
        };
        match self.by_name.get(&loaded.name) {
            Some(Some(module)) => Some(*module),
            Some(None) => {
                let message = format!("{} imports itself, perhaps through others", loaded.name);
                let error = Diagnostic::error("E0106", import.path.span, message);
                errors.push(error.help("move what both need into a third file"));
                None
            }
            None if self.modules.len() >= usize::from(u16::MAX) || self.by_name.len() >= MOST_FILES => {
                let message = format!("a spec is made of at most {MOST_FILES} files");
                errors.push(Diagnostic::error("E0110", import.path.span, message));
                None
            }
            None => {
                let folder = paths::below(&self.folder, paths::folder_of(&import.path.value));
                let before = std::mem::replace(&mut self.folder, folder);
                let module = self.load(&loaded.name, &loaded.text, loader, errors);
                self.folder = before;
                Some(module)
            }
        }
    }

    /// The item of that name in a module, the prelude not counted.
    pub fn find(&mut self, module: u16, name: &str, errors: &mut Vec<Diagnostic>) -> Found {
        match self.modules[module as usize].entries.get(name) {
            None => Found::Nothing,
            Some(Entry::Ready(item)) => Found::Item(item.clone()),
            Some(Entry::Broken) => Found::Broken,
            Some(Entry::Lazy(head)) => self.parse_lazy(module, *head, name, errors),
        }
    }

    fn parse_lazy(&mut self, module: u16, head: usize, name: &str, errors: &mut Vec<Diagnostic>) -> Found {
        let head = self.heads[head].clone();
        let text = &self.sources.get(head.span.file).expect("an item's file is among the sources").text;
        let (item, mut found) = parse_item(text, &head);
        errors.append(&mut found);
        let item = item.map(|item| self.item(item, module));
        let entry = item.clone().map_or(Entry::Broken, Entry::Ready);
        self.modules[module as usize].entries.insert(name.to_string(), entry);
        item.map_or(Found::Broken, Found::Item)
    }

    /// The items that a module's own file defines, in order.
    pub fn own(&self, module: u16) -> &[(String, ItemRef)] {
        &self.modules[module as usize].own
    }

    /// The names in a module, imported ones as well.
    pub fn names(&self, module: u16) -> impl Iterator<Item = &str> {
        self.modules[module as usize].entries.keys().map(String::as_str)
    }
}

/// Imports nest on the stack, so there is an end to them.
const MOST_FILES: usize = 64;

/// What a module has under a name.
#[derive(Clone, Debug)]
pub enum Found {
    /// An item.
    Item(ItemRef),
    /// Something that does not parse; why has been said.
    Broken,
    /// Nothing.
    Nothing,
}

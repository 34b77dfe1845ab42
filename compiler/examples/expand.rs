//! What `model!` does with a file, without rustc around it: takes the file's name, prints how much Rust it gave.

fn main() {
    let path = std::env::args().nth(1).expect("the name of a spec");
    match dlc_compiler::emit::items_of_file(path.as_ref()) {
        Ok(items) => println!("{} lines", items.text.lines().count()),
        Err(findings) => {
            eprintln!("{:?}", findings.diagnostics);
            std::process::exit(1);
        }
    }
}

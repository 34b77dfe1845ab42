//! Broken and hostile files of weights: each is refused with its reason, without a panic, and without memory for what a file
//! only claims to have.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::archive::{
    Member, deflated, described, dictionary, int, ints, npy, pth, stored, tensor, wide_zip, word, zip,
};
use crate::formats::golden;
use crate::memory::largest;
use crate::scratch::Scratch;
use dlc::error::Kind;
use dlc::weights::convert::table;
use dlc::weights::file::TensorFile;
use dlc::weights::input::Input;
use std::path::Path;

/// More than a file's own length may be asked for at once by this much alone.
const SPARE: usize = 1 << 20;

/// Reads all of a file; gives the messages of what is wrong. Memory is watched.
fn read(bytes: &[u8]) -> Result<(), String> {
    let (found, most) = largest(|| {
        let mut shards = |path: &Path| Input::open(&golden("sharded").join(path.file_name().unwrap()));
        let file = TensorFile::of(Path::new("F"), bytes.to_vec().into(), &mut shards).map_err(|error| {
            assert_eq!(error.kind, Kind::Files);
            error.to_string()
        })?;
        assert!(!table(&file).is_empty());
        file.names().try_for_each(|name| file.read(name).unwrap().map(drop).map_err(|error| error.to_string()))
    });
    // Blocks of half a byte a number become f32, lists of values are larger than what wrote them, vectors double.
    assert!(most <= 64 * bytes.len() + SPARE, "{most} bytes at once for a file of {}", bytes.len());
    found
}

fn refused(cases: Vec<(&str, Vec<u8>, &str)>) {
    for (name, bytes, why) in cases {
        let said = read(&bytes).expect_err(name);
        assert!(said.contains(why), "{name}: {said}");
    }
}

fn f32s(count: usize) -> Vec<u8> {
    vec![0; 4 * count]
}

#[test]
fn archives_that_lie_are_refused() {
    let array = npy(&described("<f4", "(2,)"), &f32s(2));
    let good = stored("a.npy", &array);
    let packed = deflated("a.npy", &array);
    assert_eq!(read(&zip(std::slice::from_ref(&good))), Ok(()));
    assert_eq!(read(&zip(std::slice::from_ref(&packed))), Ok(()));
    let one = |change: &dyn Fn(&mut Member)| {
        let mut member = packed.clone();
        change(&mut member);
        zip(&[member])
    };
    let zeros = vec![0; 70 << 20];
    let bomb = deflated("a.npy", &npy(&described("|u1", "(73400320,)"), &zeros));
    let whole = zip(&[good.clone(), stored("b.npy", &array)]);
    let mut many = whole.clone();
    let count = many.len() - 12;
    many[count] = 9;
    let mut far = whole.clone();
    let first = far.len() - 6;
    far[first..first + 4].copy_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
    let mut wide = whole.clone();
    wide[first..first + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(vec![
        ("cut", whole[..whole.len() - 1].to_vec(), "the directory at its end is missing"),
        ("start alone", whole[..30].to_vec(), "the directory at its end is missing"),
        ("count", many, "its directory should have 9 members, and has 2"),
        ("far", far, "its directory should be 102 bytes at 2147483647, where they are not"),
        ("wide", wide, "the place of its directory is missing"),
        ("twice", zip(&[good.clone(), good.clone()]), "two members called `a.npy`"),
        ("overlap", zip(&[good.clone(), Member { at: Some(0), ..good.clone() }]), "two members called `a.npy`"),
        (
            "overlap with another name",
            zip(&[good.clone(), Member { at: Some(0), ..stored("b.npy", &array) }]),
            "another name in its own header",
        ),
        ("names differ", one(&|m| m.local_name = "b.npy".into()), "another name in its own header"),
        ("elsewhere", one(&|m| m.at = Some(3)), "not where the directory says"),
        ("far away", one(&|m| m.at = Some(u32::MAX - 1)), "not where the directory says"),
        ("long", one(&|m| m.packed_size = 1 << 20), "bytes should follow"),
        ("more than said", one(&|m| m.size -= 4), "takes 8 bytes, and it has 4"),
        ("less than said", one(&|m| m.size += 4), "takes 8 bytes, and it has 12"),
        ("encrypted", one(&|m| m.flags = 1), "is encrypted"),
        ("method", one(&|m| m.method = 12), "packed by method 12"),
        ("checksum", one(&|m| m.crc ^= 1), "its checksum is wrong"),
        ("stored checksum", zip(&[Member { crc: 1, ..good.clone() }]), "its checksum is wrong"),
        ("no deflate", one(&|m| m.bytes.fill(0xFF)), "cannot be unpacked"),
        ("claim", one(&|m| m.size = u32::MAX - 1), "no weights are so even"),
        ("bomb", zip(&[bomb]), "no weights are so even"),
        ("wide member", one(&|m| m.size = u32::MAX), "bytes should follow"),
        ("no tensors", zip(&[stored("a.txt", b"hello")]), "neither NumPy's arrays nor PyTorch's"),
        ("empty", zip(&[]), "neither NumPy's arrays nor PyTorch's"),
    ]);
    // What deflate gives is not what the shape asks for, though the archive's sizes agree.
    let short = Member { size: array.len() as u32, ..deflated("a.npy", &array[..array.len() - 4]) };
    refused(vec![("unpacks to less", zip(&[short]), "should be packed here, and")]);
}

#[test]
fn archives_of_more_than_four_gigabytes_have_other_numbers() {
    let array = npy(&described("<f4", "(2,)"), &f32s(2));
    let good = wide_zip(&[("a.npy", &array), ("b.npy", &array)]);
    assert_eq!(read(&good), Ok(()));
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] = 0x7F;
        bytes
    };
    let end = good.len();
    refused(vec![
        ("place of the record", changed(end - 22 - 20 + 15), "the place of its directory is wrong"),
        ("place of the directory", changed(end - 22 - 20 - 1), "where they are not"),
        ("size of the directory", changed(end - 22 - 20 - 9), "where they are not"),
        ("count", changed(end - 22 - 20 - 24), "its directory should have 127 members, and has 2"),
        ("place of a member", changed(end - 22 - 20 - 56 - 1), "`b.npy`: it is not where the directory says"),
        ("size of a member", changed(end - 22 - 20 - 56 - 17), "`b.npy` is not packed, and has"),
    ]);
}

#[test]
fn arrays_that_lie_are_refused() {
    let one = |array: Vec<u8>| zip(&[stored("a.npy", &array)]);
    let of = |descr: &str, shape: &str, elements: usize| one(npy(&described(descr, shape), &vec![0; elements]));
    refused(vec![
        ("cut", of("<f4", "(2,)", 7), "f32 [2] takes 8 bytes, and it has 7"),
        ("more", of("<f4", "(2,)", 9), "f32 [2] takes 8 bytes, and it has 9"),
        ("huge", of("<f4", "(4294967296, 4294967296, 2)", 8), "too large"),
        ("huge bytes", of("<f8", "(4611686018427387904,)", 8), "which f64 cannot have"),
        ("huge and empty", of("<f4", "(0, 9223372036854775807)", 0), "it has no elements"),
        ("truth", one(npy(&described("|b1", "(1,)"), &[2])), "element 0 is 2, expected 0 or 1"),
        ("objects", of("|O", "(2,)", 16), "its elements are |O, which dlc does not read"),
        ("complex", of("<c8", "(2,)", 16), "its elements are <c8, which dlc does not read"),
        ("dates", of("<M8[ns]", "(2,)", 16), "which dlc does not read"),
        ("header's length", one(b"\x93NUMPY\x01\x00\xFF\xFF{}".to_vec()), "should have 65535 bytes: it is cut short"),
        ("long header", one(b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{}".to_vec()), "4294967295 bytes; 1048576 are allowed"),
        ("version", one(b"\x93NUMPY\x09\x00\x02\x00{}".to_vec()), "version 9"),
        ("no array", one(b"hello, I am a text".to_vec()), "no array of NumPy"),
        ("nothing", one(Vec::new()), "0 do: it is cut short"),
        ("alone", npy(&described("<f4", "(2,)"), &f32s(2)), "one array of NumPy, and has no name"),
    ]);
}

#[test]
fn pickles_run_nothing() {
    let call = |module: &str, name: &str| format!("\x63{module}\n{name}\n(tR").into_bytes();
    let with = |value: Vec<u8>| pth(&dictionary(&[("w", value)]), &f32s(2));
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("builtins", "exec"),
        ("functools", "partial"),
        ("__main__", "Net"),
        ("torch._utils", "_rebuild_qtensor"),
    ] {
        let said = read(&with(call(module, name))).unwrap_err();
        assert!(said.contains(&format!("it asks for `{module}.{name}`; only tensors are read, and nothing is run")));
        assert!(said.contains("help: write the weights alone"), "{said}");
        let by_stack = [word(module), word(name), b"\x93)R".to_vec()].concat();
        assert!(read(&with(by_stack)).unwrap_err().contains(&format!("`{module}.{name}`")));
    }
    for name in ["call.pth", "module.pth"] {
        let said = read(&std::fs::read(golden(name)).unwrap()).unwrap_err();
        assert!(said.contains("nothing is run"), "{said}");
    }
    assert!(!Path::new("called").exists());
}

#[test]
fn tensors_that_reach_outside_are_refused() {
    let with = |value: Vec<u8>| pth(&dictionary(&[("w", value)]), &f32s(6));
    assert_eq!(read(&with(tensor(6, 0, &[2, 3], &[3, 1]))), Ok(()));
    assert_eq!(read(&with(tensor(6, 0, &[3, 2], &[1, 3]))), Ok(()));
    assert_eq!(read(&with(tensor(6, 5, &[1, 1], &[i64::MAX, i64::MAX]))), Ok(()));
    assert_eq!(read(&with(tensor(6, 99, &[0, 2], &[2, 1]))), Ok(()));
    let outside = "reaches outside of its storage, which has 6 elements";
    refused(vec![
        ("one too far", with(tensor(6, 1, &[2, 3], &[3, 1])), outside),
        ("stride", with(tensor(6, 0, &[2, 3], &[4, 1])), outside),
        ("huge stride", with(tensor(6, 0, &[3, 2], &[i64::MAX, i64::MAX])), outside),
        ("huge place", with(tensor(6, i64::MAX, &[2], &[1])), outside),
        ("huge shape", with(tensor(6, 0, &[1 << 40, 1 << 40], &[0, 0])), "too large"),
        ("repeated", with(tensor(6, 0, &[1 << 20, 1 << 20], &[0, 0])), "6 elements that are repeated"),
        ("repeated a little more than may be", with(tensor(6, 0, &[(16 << 20) + 1], &[0])), "that are repeated"),
        ("huge axis", with(tensor(6, 0, &[i64::MAX, 0], &[1, 1])), "it has no elements"),
        ("negative", with(tensor(6, 0, &[-1], &[1])), "-1 is no size"),
        ("negative stride", with(tensor(6, 5, &[6], &[-1])), "-1 is no size"),
        ("negative place", with(tensor(6, -1, &[6], &[1])), "the place of a tensor is negative"),
        ("axes", with(tensor(6, 0, &[6], &[1, 1])), "the shape [6] and the strides [1, 1]"),
        ("many axes", with(tensor(6, 0, &[1; 65], &[1; 65])), "65 axes; 64 are allowed"),
        ("storage", with(tensor(7, 0, &[7], &[1])), "its storage should have 7 elements of f32, and has 24 bytes"),
        ("huge storage", with(tensor(i64::MAX, 0, &[7], &[1])), "its storage should have"),
        (
            "twice",
            pth(&dictionary(&[("w", tensor(6, 0, &[6], &[1])), ("w", tensor(6, 0, &[6], &[1]))]), &f32s(6)),
            "there twice",
        ),
        (
            "no record",
            zip(&[stored("w/data.pkl", &dictionary(&[("w", tensor(6, 0, &[6], &[1]))]))]),
            "it has no `data/0`",
        ),
    ]);
}

#[test]
fn pickles_that_make_no_sense_are_refused() {
    let of = |pickle: &[u8]| pth(pickle, &f32s(2));
    let nested = [&b"\x80\x02"[..], &b"]".repeat(1 << 17), &b"a".repeat((1 << 17) - 1), b"."].concat();
    let in_itself = b"\x80\x02]q\0h\0a.".to_vec();
    let shape = |memo: &[u8]| [&b"\x80\x02("[..], &int(1).repeat(1000), b"tq\0", memo, b"."].concat();
    let sizes: Vec<u8> = b"ctorch\nSize\nh\0\x85R".repeat(1000);
    let pairs = [&b"\x80\x02]("[..], &[&b"("[..], &word("a"), b"Nt"].concat().repeat(5000), b"eq\0"].concat();
    let dicts = [&pairs[..], &b"ccollections\nOrderedDict\nh\0\x85R0".repeat(5000), b"."].concat();
    let module = zip(&[stored("w/data.pkl", b"\x80\x02}."), stored("w/constants.pkl", b"\x80\x02}.")]);
    let packed =
        zip(&[deflated("w/data.pkl", &dictionary(&[("w", tensor(2, 0, &[2], &[1]))])), stored("w/data/0", &f32s(2))]);
    let two = zip(&[stored("a/data.pkl", b"\x80\x02}."), stored("b/data.pkl", b"\x80\x02}.")]);
    let order = zip(&[stored("w/data.pkl", b"\x80\x02}."), stored("w/byteorder", b"middle")]);
    let one = || [&b"}"[..], &word("w"), &tensor(2, 0, &[2], &[1]), b"s"].concat();
    refused(vec![
        ("nothing", of(b""), "1 bytes should follow at byte 0, and 0 do: it is cut short"),
        ("no end", of(b"\x80\x02}"), "it is cut short"),
        ("empty stack", of(b"\x80\x02."), "the stack is empty"),
        ("no mark", of(b"\x80\x02}u."), "the stack has no mark"),
        ("below the mark", of(b"\x80\x02}(0."), "the stack is empty"),
        ("memo", of(b"\x80\x02h\x05."), "never put aside"),
        ("odd", of(b"\x80\x02}(Nu."), "a key has no value"),
        ("no list", of(b"\x80\x02NNa."), "items are added to what cannot have any"),
        ("instruction", of(b"\x80\x02I1\n."), "instruction 0x49 is not one that tensors need"),
        ("object", of(b"\x80\x02ctorch\nSize\n)\x81."), "an object is made of what is no class"),
        ("an object", of(b"\x80\x02c__main__\nNet\n)\x81."), "an object of `__main__.Net`, which is not made"),
        ("what is looked up", of(b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\ntR)R."), "calls what is no function"),
        (
            "a tensor of itself",
            of(b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\0(h\0NNtR."),
            "a tensor is made of itself",
        ),
        (
            "a tensor by a call",
            of(b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN)tR."),
            "it asks for `os.system`",
        ),
        ("text's length", of(b"\x80\x02X\xFF\xFF\xFF\xFFab."), "4294967295 bytes should follow"),
        ("long text", of(b"\x80\x04\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF."), "18446744073709551615 bytes should follow"),
        ("no text", of(b"\x80\x02X\x01\0\0\0\xFF."), "is not UTF-8 text"),
        ("no function", of(b"\x80\x02N)R."), "it calls what is no function"),
        ("no arguments", of(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R."), "too few arguments"),
        ("a list", of(b"\x80\x02]."), "it holds no dictionary"),
        ("a tensor", of(&[&b"\x80\x02"[..], &tensor(2, 0, &[2], &[1]), b"."].concat()), "a tensor without a name"),
        (
            "several",
            of(&dictionary(&[("a", one()), ("b", one())])),
            "several dictionaries of tensors, whose keys are a, b",
        ),
        ("other keys", of(&dictionary(&[("a", b"N".to_vec()), ("b", ints(&[1]))])), "whose keys are a, b"),
        ("deep", of(&nested), "it holds no dictionary"),
        ("in itself", of(&in_itself), "it holds no dictionary"),
        ("sizes", of(&shape(&sizes)), "it holds no dictionary"),
        ("many dictionaries", of(&dicts), "it makes one dictionary many times"),
        ("a program", module, "a program of TorchScript"),
        ("packed", packed, "is packed, which PyTorch does not do"),
        ("two", two, "it should have one `data.pkl`"),
        ("order", order, "its order of bytes is `middle`"),
        ("pickle alone", b"\x80\x04}.".to_vec(), "a pickle, and not a file of `torch.save`"),
    ]);
}

#[test]
fn old_files_that_are_cut_are_refused() {
    let whole = std::fs::read(golden("old.pth")).unwrap();
    assert_eq!(read(&whole), Ok(()));
    for len in 0..whole.len() {
        assert!(read(&whole[..len]).is_err(), "{len} bytes of {}", whole.len());
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(read(&longer).unwrap_err().contains("1 bytes follow its last storage"));
}

/// A GGUF file with these facts and tensors (name, axes, type, offset), and so many bytes of elements.
fn gguf(facts: &[Vec<u8>], tensors: &[(&str, &[u64], u32, u64)], elements: usize) -> Vec<u8> {
    let mut file =
        [&b"GGUF\x03\0\0\0"[..], &(tensors.len() as u64).to_le_bytes(), &(facts.len() as u64).to_le_bytes()].concat();
    file.extend(facts.concat());
    for (name, axes, kind, offset) in tensors {
        file.extend(
            [&(name.len() as u64).to_le_bytes()[..], name.as_bytes(), &(axes.len() as u32).to_le_bytes()].concat(),
        );
        axes.iter().for_each(|axis| file.extend(axis.to_le_bytes()));
        file.extend([&kind.to_le_bytes()[..], &offset.to_le_bytes()].concat());
    }
    file.resize(file.len().next_multiple_of(32) + elements, 0);
    file
}

/// A fact of a GGUF file.
fn fact(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &kind.to_le_bytes(), value].concat()
}

#[test]
fn gguf_that_lies_is_refused() {
    assert_eq!(read(&gguf(&[fact("a", 4, &[1, 0, 0, 0])], &[("w", &[2, 3], 0, 0)], 24)), Ok(()));
    let header = |version: u32, tensors: u64, facts: u64| {
        [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &facts.to_le_bytes()].concat()
    };
    let list = |kind: u32, len: u64| [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
    let deep: Vec<u8> = list(9, 1).repeat(1000);
    let max = u64::MAX;
    refused(vec![
        ("cut", b"GGUF\x03\0".to_vec(), "it is cut short"),
        ("version", header(1, 0, 0), "its version is 1; 2 and 3 are known"),
        ("order", header(3_u32.swap_bytes(), 0, 0), "high bytes first"),
        ("facts", header(3, 0, max), "it is cut short"),
        ("tensors", header(3, max, 0), "it is cut short"),
        ("key", [header(3, 0, 1), max.to_le_bytes().to_vec()].concat(), "18446744073709551615 bytes should follow"),
        ("text", gguf(&[fact("a", 8, &max.to_le_bytes())], &[], 0), "`a`: 18446744073709551615 bytes should follow"),
        ("list", gguf(&[fact("a", 9, &list(0, max))], &[], 0), "it is cut short"),
        ("list of texts", gguf(&[fact("a", 9, &list(8, max))], &[], 0), "it is cut short"),
        ("deep lists", gguf(&[fact("a", 9, &deep)], &[], 0), "its lists are too deep"),
        ("kind", gguf(&[fact("a", 99, &[])], &[], 0), "a fact of type 99 is not known"),
        ("no text", gguf(&[fact("\u{7f}a", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xFF])], &[], 0), "is not UTF-8"),
        ("twice said", gguf(&[fact("a", 0, &[1]), fact("a", 0, &[2])], &[], 0), "it says `a` twice"),
        ("alignment", gguf(&[fact("general.alignment", 4, &[3, 0, 0, 0])], &[], 0), "its alignment is 3"),
        ("no alignment", gguf(&[fact("general.alignment", 4, &[0; 4])], &[], 0), "its alignment is 0"),
        ("axes", gguf(&[], &[("w", &[1; 5], 0, 0)], 4), "`w` has 5 axes; 4 are allowed"),
        ("huge", gguf(&[], &[("w", &[max, 2], 0, 0)], 4), "too large"),
        ("huge bytes", gguf(&[], &[("w", &[max / 2], 28, 0)], 4), "reaches past the end"),
        ("huge blocks", gguf(&[], &[("w", &[max / 32 * 32], 8, 0)], 4), "do not fill blocks of Q8_0"),
        ("cut elements", gguf(&[], &[("w", &[2, 3], 0, 0)], 23), "f32 [3, 2] at 0 reaches past the end of the file"),
        ("offset", gguf(&[], &[("w", &[2], 0, max - 31)], 8), "it lies at 18446744073709551584"),
        ("unaligned", gguf(&[], &[("w", &[2], 0, 4)], 16), "lies at 4, which is no multiple of 32"),
        ("overlap", gguf(&[], &[("a", &[16], 0, 0), ("b", &[8], 0, 32)], 64), "`a` and `b` overlap"),
        ("twice", gguf(&[], &[("a", &[8], 0, 0), ("a", &[8], 0, 32)], 64), "there twice"),
        ("rows", gguf(&[], &[("a", &[16, 2], 8, 0)], 64), "its rows of 16 do not fill blocks of Q8_0"),
        ("unread", gguf(&[], &[("a", &[256], 12, 0)], 144), "its elements are Q4_K, which dlc does not read"),
    ]);
}

#[test]
fn shards_that_do_not_fit_are_told_at_once() {
    let dir = Scratch::new();
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        std::fs::copy(golden("sharded").join(name), dir.path(name)).unwrap();
    }
    let index = std::fs::read_to_string(golden("sharded/model.safetensors.index.json")).unwrap();
    let open = |index: &str| {
        let path = dir.file("model.safetensors.index.json", index);
        TensorFile::open(&path).map(|file| file.names().count()).map_err(|error| {
            assert_eq!((error.kind, error.code), (Kind::Files, "E0610"));
            error.to_string().replace(&dir.path("").display().to_string(), "")
        })
    };
    assert_eq!(open(&index), Ok(12));
    let said =
        open(&index.replace("\"f16\": \"model-00002", "\"f16\": \"model-00003").replace("\"bool\"", "\"ghost\""));
    let said = said.unwrap_err();
    for line in [
        "model.safetensors.index.json and the files that it names do not fit",
        "cannot read model-00003-of-00002.safetensors: no such file or directory; it has 1 of the tensors",
        "`ghost` should be in model-0000",
    ] {
        assert!(said.contains(line), "`{line}` is not in {said}");
    }
    // The second shard has a tensor of the first one, too: the index is right.
    let first = TensorFile::open(&dir.path("model-00001-of-00002.safetensors")).unwrap();
    let second = TensorFile::open(&dir.path("model-00002-of-00002.safetensors")).unwrap();
    let stolen = first.names().next().unwrap();
    let all =
        |file: &TensorFile, names: Vec<&str>| names.iter().map(|n| file.read(n).unwrap().unwrap()).collect::<Vec<_>>();
    let names: Vec<&str> = second.names().collect();
    let mut tensors = all(&second, names.clone());
    tensors.push(first.read(stolen).unwrap().unwrap());
    let pairs: Vec<_> = names.iter().copied().chain([stolen]).zip(&tensors).collect();
    dlc::weights::save(&dir.path("model-00002-of-00002.safetensors"), &pairs, &Default::default()).unwrap();
    assert_eq!(open(&index), Ok(12));
    // A shard that is cut short.
    let bytes = std::fs::read(golden("sharded/model-00002-of-00002.safetensors")).unwrap();
    dir.file("model-00002-of-00002.safetensors", &bytes[..bytes.len() - 1]);
    let said = open(&index).unwrap_err();
    assert!(said.contains("model-00002-of-00002.safetensors is not a sound safetensors file"), "{said}");
    assert!(said.contains("it is cut short"), "{said}");
}

#[test]
fn indices_that_lie_are_refused() {
    let map = |entries: &str| format!("{{\"weight_map\": {{{entries}}}}}").into_bytes();
    refused(vec![
        ("cut", b"{\"weight_map\": {".to_vec(), "it says: EOF"),
        ("no map", b"{\"metadata\": {}}".to_vec(), "missing field `weight_map`"),
        ("numbers", map("\"a\": 1"), "it says: invalid type"),
        ("deep", [b"{\"metadata\": ".to_vec(), b"{\"a\": ".repeat(100_000)].concat(), "it says: recursion limit"),
        ("twice", map("\"a\": \"x\", \"a\": \"y\""), "it says twice where `a` is"),
        ("above", map("\"a\": \"../x.safetensors\""), "which is no file beside the index"),
        ("elsewhere", map("\"a\": \"/etc/passwd\""), "which is no file beside the index"),
        ("nowhere", map("\"a\": \"\""), "which is no file beside the index"),
        ("itself", map("\"a\": \"model.safetensors.index.json\""), "it is an index, and an index names it"),
        ("missing", map("\"a\": \"none\""), "cannot read none"),
    ]);
}

#[test]
fn names_may_not_be_endless() {
    let array = npy(&described("<f4", "(2,)"), &f32s(2));
    let long = zip(&[stored(&format!("{}.npy", "a.".repeat(5000)), &array)]);
    refused(vec![("name", long, "a name that begins with `a.a.a.a.a.a.a.a.a.a.` has 10000 bytes; 4096 are allowed")]);
}

#[test]
fn a_header_of_ten_gigabytes_is_not_believed() {
    let bytes = [&10_000_000_000_u64.to_le_bytes()[..], b"{}"].concat();
    refused(vec![("header", bytes, "its header should have 10000000000 bytes, and 2 follow: it is cut short")]);
    refused(vec![("hdf5", b"\x89HDF\r\n\x1a\n1234".to_vec(), "HDF5 is a format that dlc does not read")]);
}

/// Small changes of sound files: no panic, and no large memory. The fuzz targets in `fuzz` go on where this ends.
#[test]
fn changed_files_do_no_harm() {
    let names = ["stored.npz", "packed.npz", "new.pth", "old.pth", "nested.pth", "quantized.gguf"];
    let shards = ["sharded/model.safetensors.index.json", "sharded/model-00001-of-00002.safetensors"];
    for name in names.into_iter().chain(shards) {
        let sound = std::fs::read(golden(name)).unwrap();
        assert_eq!(read(&sound), Ok(()), "{name}");
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for _ in 0..1500 {
            let mut bytes = sound.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(5) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][random(5)],
                    2 => {
                        let end = (at + 8).min(bytes.len());
                        let number = [0, 1, u64::MAX, u64::MAX / 2, 1 << 40, u64::from(u32::MAX)][random(6)];
                        bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                    }
                    3 => bytes.truncate(at.max(1)),
                    _ => {
                        let piece = bytes[at..(at + random(64)).min(bytes.len())].to_vec();
                        let to = random(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                }
            }
            let _ = read(&bytes);
        }
    }
}

//! Patterns of names.

use dlc_plan::glob::*;
fn covers(pattern: &str, name: &str) -> bool {
    Glob::new(pattern).expect("a sound pattern").covers(name)
}

#[test]
fn wildcards_stay_in_their_segments() {
    assert!(covers("**.bias", "bias"));
    assert!(covers("**.bias", "a.b.bias"));
    assert!(!covers("**.bias", "a.bias2"));
    assert!(covers("*.weight", "fc1.weight"));
    assert!(!covers("*.weight", "a.fc1.weight"));
    assert!(covers("layers.*.fn.rotary_emb.**", "layers.3.fn.rotary_emb.inv_freq"));
    assert!(covers("**.conv*.weight", "layer1.0.conv1.weight"));
    assert!(!covers("**.conv*.weight", "layer1.0.bn1.weight"));
    assert!(covers("a*b*c", "axbyc"));
    assert!(!covers("a*b*c", "axyc"));
    assert!(!covers("ab*ba", "aba"));
    assert!(covers("**", "x"));
}

#[test]
fn a_module_covers_what_is_under_it() {
    assert!(covers("classifier", "classifier.weight"));
    assert!(!covers("classifier", "pre_classifier.weight"));
    assert!(covers("**.LayerNorm", "a.LayerNorm.bias"));
    assert!(covers("h.{0,1}.attn", "h.1.attn.weight"));
    assert!(!covers("h.{0,1}.attn", "h.2.attn.weight"));
    assert!(!Glob::new("classifier").expect("sound").matches("classifier.weight"));
    let all = |glob| Glob::new(glob).expect("sound").covers_all();
    assert!(all("**") && all("{a,**}") && !all("a.**") && !all("*"));
}

#[test]
fn renaming_carries_wildcards_over_in_order() {
    let done = |name, from, to| rename(name, from, to).expect("a sound rule");
    let gamma = ("**.LayerNorm.gamma", "**.LayerNorm.weight");
    assert_eq!(done("e.0.LayerNorm.gamma", gamma.0, gamma.1).as_deref(), Some("e.0.LayerNorm.weight"));
    assert_eq!(done("LayerNorm.gamma", gamma.0, gamma.1).as_deref(), Some("LayerNorm.weight"));
    assert_eq!(done("e.0.LayerNorm.beta", gamma.0, gamma.1), None);
    assert_eq!(done("a.weight", "**", "encoder.**").as_deref(), Some("encoder.a.weight"));
    assert_eq!(done("bert.x.y", "bert.**", "**").as_deref(), Some("x.y"));
    assert_eq!(done("l3.k7", "l*.k*", "*.to.*").as_deref(), Some("3.to.7"));
    assert!(rename("a", "a", "*").is_err());
}

#[test]
fn unsound_patterns_are_refused() {
    for bad in ["", "a..b", ".a", "a{b", "a}b", "{a,{b}}"] {
        assert!(Glob::new(bad).is_err(), "{bad}");
    }
    assert!(Glob::new(&"{a,b}".repeat(30)).is_err());
    // Many wildcards against a long name: quick, since no way is tried twice.
    let long = vec!["a"; 2000].join(".");
    assert!(!covers(&format!("{}.b", vec!["**"; 50].join(".")), &long));
}

#[test]
fn each_alternative_is_looked_at_by_itself() {
    assert_eq!(alternatives("h.{0,1}.{a, b}"), ["h.0.{a, b}", "h.1.{a, b}", "h.{0,1}.a", "h.{0,1}.b"]);
    assert!(alternatives("h.*.a").is_empty() && alternatives("{a}").is_empty());
    let names = ["h.0.a", "h.1.b", "h.0.c.weight"];
    let idle = |glob: &str| idle_alternatives(glob, &|glob| names.iter().any(|name| glob.covers(name)));
    assert!(idle("h.{0,1}.{a,b}").is_empty(), "each is hit with some choice of the others");
    assert_eq!(idle("h.{0,2}.{a,c,d}"), ["h.2.{a,c,d}", "h.{0,2}.d"]);
}

//! Policy files: the presets, and what is refused, by member.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use obsqra_events::{Adopted, AdoptedWhat, Fact, Kind};
use obsqra_policy::{PRESETS, Policies, PolicyError};
use obsqra_types::{Bps, ProtocolId};
use serde_json::{Value, json};

fn presets() -> Value {
    serde_json::from_slice(PRESETS).unwrap()
}

fn refusal(file: &Value) -> String {
    Policies::parse(file.to_string().as_bytes()).unwrap_err().to_string()
}

/// The presets with one member changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut file = presets();
    *file.pointer_mut(pointer).unwrap() = value;
    file
}

#[test]
fn the_presets_are_read() {
    let policies = Policies::parse(PRESETS).unwrap();
    let names: Vec<_> = policies.iter().map(|policy| policy.id().to_string()).collect();
    assert_eq!(names, ["aggressive", "balanced", "conservative"]);
    assert_eq!(policies.version(), "obsqra/1");
    let policy = policies.policy(&"conservative".parse().unwrap()).unwrap();
    let limits = policy.limits();
    assert_eq!((limits.max_score, limits.max_volatility), (40, Bps(5_000)));
    assert_eq!((limits.min_liquidity_class, limits.min_diversification), (2, 3));
    let cap = |id: &str| limits.cap_bps(&ProtocolId::new(id).unwrap()).0;
    assert_eq!((cap("ekubo"), cap("jediswap_v1")), (5_000, 2_500));
    assert_eq!(policy.reference().hash, policies.hash());
    assert!(policies.policy(&"other".parse().unwrap()).is_none());
}

/// What is adopted is read again from the log, and is the file that snapshots then name.
#[test]
fn an_adopted_file_comes_back() {
    let policies = Policies::parse(PRESETS).unwrap();
    let adopted = Fact::Adopted(Adopted {
        what: AdoptedWhat::Policy,
        version: policies.version().to_owned(),
        hash: policies.hash(),
        bytes: PRESETS.to_vec(),
    });
    let Ok(Fact::Adopted(read)) = Fact::decode(Kind::Adopted, 1, &adopted.encode()) else {
        panic!("adopted bytes are read");
    };
    assert_eq!((read.what, read.what.name()), (AdoptedWhat::Policy, "policy"));
    assert_eq!(Policies::parse(&read.bytes).unwrap(), policies);
}

/// Any other bytes are another file, even where they say the same.
#[test]
fn the_hash_is_that_of_the_bytes() {
    let mut spaced = PRESETS.to_vec();
    spaced.push(b'\n');
    let (one, other) = (Policies::parse(PRESETS).unwrap(), Policies::parse(&spaced).unwrap());
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn each_limit_is_looser_from_preset_to_preset() {
    let policies = Policies::parse(PRESETS).unwrap();
    let limits = |id: &str| policies.policy(&id.parse().unwrap()).unwrap().limits().clone();
    let order = [limits("conservative"), limits("balanced"), limits("aggressive")];
    for pair in order.windows(2) {
        let (strict, loose) = (&pair[0], &pair[1]);
        assert!(strict.max_score < loose.max_score);
        assert!(strict.max_volatility < loose.max_volatility);
        assert!(strict.min_liquidity_class > loose.min_liquidity_class);
        assert!(strict.max_single < loose.max_single);
        assert!(strict.min_diversification >= loose.min_diversification);
        for protocol in &strict.allow {
            assert!(strict.cap_bps(protocol) < loose.cap_bps(protocol));
        }
    }
}

#[test]
fn a_refusal_names_the_member() {
    let ids = |ids: &[&str]| json!(ids);
    let cap = |protocol: &str, bps: u32| json!([{ "protocol": protocol, "max_bps": bps }]);
    let twice = json!([
        { "protocol": "ekubo", "max_bps": 4000 },
        { "protocol": "ekubo", "max_bps": 4500 },
    ]);
    let cases = [
        ("/policies", json!(" "), "policies: is empty"),
        ("/rule", json!("allocation-v2"), "rule: `allocation-v2` is not `allocation-v1`"),
        ("/presets", json!([]), "presets: is empty"),
        ("/presets/1/id", json!("conservative"), "presets[1].id: stands twice"),
        ("/presets/1/id", json!("a.b"), "presets[1].id: `a.b` is no policy name"),
        ("/presets/0/allow", json!([]), "presets[0].allow: is empty"),
        ("/presets/0/allow", ids(&["ekubo", "Z"]), "presets[0].allow[1]: `Z` is no protocol id"),
        ("/presets/0/allow", ids(&["ekubo", "ekubo"]), "presets[0].allow[1]: stands twice"),
        ("/presets/0/max_score", json!(4), "presets[0].max_score: is not in 5 to 95"),
        ("/presets/0/max_score", json!(96), "presets[0].max_score: is not in 5 to 95"),
        ("/presets/0/max_volatility_bps", json!(10_001), "presets[0].max_volatility_bps: is above"),
        ("/presets/0/min_liquidity_class", json!(4), "presets[0].min_liquidity_class: is above 3"),
        ("/presets/0/max_single_bps", json!(0), "presets[0].max_single_bps: is not in 1 to 10000"),
        ("/presets/2/max_single_bps", json!(10_001), "presets[2].max_single_bps: is not in 1"),
        ("/presets/2/max_single_bps", json!(3_333), "presets[2].max_single_bps: with the caps"),
        ("/presets/0/caps", cap("other", 1), "presets[0].caps[0].protocol: is not among those"),
        ("/presets/0/caps", cap("", 1), "presets[0].caps[0].protocol: `` is no protocol id"),
        ("/presets/0/caps", cap("ekubo", 0), "presets[0].caps[0].max_bps: is not in 1 to 10000"),
        ("/presets/0/caps", cap("ekubo", 5_000), "presets[0].caps[0].max_bps: is not below"),
        ("/presets/0/caps", twice, "presets[0].caps[1].protocol: stands twice"),
        ("/presets/0/min_diversification", json!(0), "presets[0].min_diversification: is not in 1"),
        ("/presets/0/min_diversification", json!(11), "presets[0].min_diversification: is not in"),
        (
            "/presets/0/min_diversification",
            json!(4),
            "presets[0].min_diversification: is more than",
        ),
        ("/presets/0/caps", cap("ekubo", 999), "presets[0].min_diversification: is more than"),
    ];
    for (pointer, value, expected) in cases {
        let refusal = refusal(&changed(pointer, value.clone()));
        let expected = format!("policies: {expected}");
        assert!(refusal.starts_with(&expected), "{pointer} {value}: {refusal}");
    }
}

#[test]
fn unknown_missing_and_mistyped_members_are_refused() {
    let members = [
        "id",
        "allow",
        "max_score",
        "max_volatility_bps",
        "min_liquidity_class",
        "max_single_bps",
        "caps",
        "min_diversification",
    ];
    for member in members {
        let mut file = presets();
        file["presets"][0].as_object_mut().unwrap().remove(member);
        assert!(refusal(&file).contains(&format!("missing field `{member}`")), "{member}");
        let file = changed(&format!("/presets/0/{member}"), json!({}));
        assert!(refusal(&file).starts_with("policies: invalid type"), "{member}");
    }
    for at in ["", "/presets/0", "/presets/0/caps/0"] {
        let mut file = presets();
        file.pointer_mut(at).unwrap()["max_leverage"] = json!(2);
        assert!(refusal(&file).contains("unknown field `max_leverage`"), "{at}");
    }
    assert!(refusal(&changed("/presets/0/max_score", json!(40.5))).contains("invalid type"));
    assert!(refusal(&changed("/presets/0/max_score", json!(256))).contains("invalid value"));
    assert!(matches!(Policies::parse(b"{"), Err(PolicyError::Shape(_))));
}

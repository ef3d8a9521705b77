//! What must never be allowed, as it is written down.

use tenure_policy::{Invariant, PolicyError, PolicySource};

fn parse(text: &str) -> Result<Vec<Invariant>, PolicyError> {
    Invariant::parse(&[PolicySource { name: "i.cedar".into(), text: text.into() }])
}

#[test]
fn what_is_shipped_fits_the_schema() {
    let shipped = Invariant::shipped();
    assert!(shipped.len() > 20);
    assert!(shipped.iter().all(|invariant| invariant.says != invariant.id), "each says what it means");
}

#[test]
fn what_is_no_invariant_is_refused() {
    let check = |text: &str, says: &str| {
        let error = parse(text).expect_err("no invariant").to_string();
        assert!(error.starts_with("i.cedar: ") && error.contains(says), "{error}");
    };
    check("nonsense", "unexpected");
    check(r#"forbid (principal, action, resource);"#, "without an id");
    check(r#"@id("a") permit (principal, action, resource);"#, "must be a `forbid`");
    check(r#"@id("a") forbid (principal == ?principal, action, resource);"#, "templates");
    check(r#"@id("a") forbid (principal, action, resource) when { principal.nickname == "x" };"#, "nickname");
    check(
        r#"@id("a") forbid (principal, action, resource); @id("a") forbid (principal, action, resource);"#,
        "used twice",
    );
    check(r#"@id("across-projects") forbid (principal, action, resource);"#, "used twice");
}

#[test]
fn a_digest_is_of_what_they_say() {
    let digest = |text: &str| Invariant::digest(&parse(text).expect("valid"));
    let one = r#"@id("a") forbid (principal, action, resource);"#;
    let two = r#"@id("b") forbid (principal is Agent, action, resource);"#;
    assert_eq!(digest(&format!("{one}{two}")), digest(&format!("{two}\n{one}")));
    assert_ne!(digest(one), digest(two));
}

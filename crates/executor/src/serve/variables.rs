//! Which variables a process gets.

use std::collections::BTreeMap;

use crate::protocol::process::{EnvironmentPolicy, Inherit};

/// What [`Inherit::Core`] keeps.
const CORE: &[&str] = &["HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME", "TMPDIR", "TEMP", "TMP"];
/// Names that look like secrets.
const SECRETS: &[&str] = &["*KEY*", "*SECRET*", "*TOKEN*"];

type Variables = BTreeMap<String, String>;

/// The variables of a process: what the policy lets through of the executor's own, then what the policy
/// sets, then what the request gives. Without a policy only the last.
pub(super) fn variables(own: &Variables, policy: Option<&EnvironmentPolicy>, given: &Variables) -> Variables {
    let mut variables = policy.map_or_else(Variables::new, |policy| inherited(own, policy));
    variables.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables
}

fn inherited(own: &Variables, policy: &EnvironmentPolicy) -> Variables {
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
    let begins = |name: &str| match policy.inherit {
        Inherit::All => true,
        Inherit::Core => CORE.iter().any(|core| core.eq_ignore_ascii_case(name)),
        Inherit::None => false,
    };
    let looks_secret = |name: &str| SECRETS.iter().any(|pattern| matches(pattern, name));
    let mut variables: Variables = own
        .iter()
        .filter(|(name, _)| begins(name) && (policy.ignore_default_excludes || !looks_secret(name)))
        .filter(|(name, _)| !any(&policy.exclude, name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    variables.extend(policy.set.iter().map(|(name, value)| (name.clone(), value.clone())));
    if !policy.include_only.is_empty() {
        variables.retain(|name, _| any(&policy.include_only, name));
    }
    variables
}

/// Whether `*` and `?` in a pattern can be filled so that it is the name, whatever the case. Takes time
/// proportional to both lengths multiplied, at most.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let (mut at, mut star, mut index) = (0, None, 0);
    while index < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, index));
                at += 1;
            }
            Some(&expected) if expected == '?' || expected == name[index] => {
                at += 1;
                index += 1;
            }
            Some(_) | None => match star {
                // The last star takes one more character.
                Some((of, taken)) => {
                    star = Some((of, taken + 1));
                    (at, index) = (of + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*KEY*", "my_api_key_2", true),
            ("PATH", "path", true),
            ("PATH", "PATHS", false),
            ("A?C", "abc", true),
            ("A?C", "ac", false),
            ("*", "", true),
            ("**a*b*", "xxaxxb", true),
            ("*a*b", "ab_ab_a", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn secrets_are_left_out_unless_asked_for() {
        let own = map(&[("HOME", "/h"), ("API_KEY", "k"), ("LANG", "C")]);
        let given = map(&[("A", "1"), ("LANG", "de")]);
        let policy = |inherit, ignore_default_excludes| EnvironmentPolicy {
            inherit,
            ignore_default_excludes,
            exclude: Vec::new(),
            set: Variables::new(),
            include_only: Vec::new(),
        };
        let names = |policy: Option<EnvironmentPolicy>| {
            let found = variables(&own, policy.as_ref(), &given);
            found.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(None), "A=1 LANG=de");
        assert_eq!(names(Some(policy(Inherit::None, true))), "A=1 LANG=de");
        assert_eq!(names(Some(policy(Inherit::Core, false))), "A=1 HOME=/h LANG=de");
        assert_eq!(names(Some(policy(Inherit::All, false))), "A=1 HOME=/h LANG=de");
        assert_eq!(names(Some(policy(Inherit::All, true))), "A=1 API_KEY=k HOME=/h LANG=de");
        let excluded = EnvironmentPolicy { exclude: vec!["HO*".into()], ..policy(Inherit::All, true) };
        assert_eq!(names(Some(excluded)), "A=1 API_KEY=k LANG=de");
        let only = EnvironmentPolicy {
            include_only: vec!["S?T".into()],
            set: map(&[("SET", "s"), ("OTHER", "o")]),
            ..policy(Inherit::All, true)
        };
        assert_eq!(names(Some(only)), "A=1 LANG=de SET=s");
    }
}

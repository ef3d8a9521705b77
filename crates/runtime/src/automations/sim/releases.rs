//! What a newer release wrote, and this one cannot read.

use super::*;

#[test]
fn an_unreadable_document_is_left_as_it_is_and_hinders_nobody() {
    let outside = Outside::new(1);
    let id = outside.create(1, cron("0 * * * *"), existing());
    let bad = |kind, id: &str| Document {
        project: outside.project(),
        kind,
        id: id.into(),
        version: 1,
        name: None,
        body: Value::Null,
        created_at: T,
        updated_at: T,
        wake_at: Some(T),
        deleted: false,
    };
    let bad = vec![bad(DocumentKind::Automation, "auto_x"), bad(DocumentKind::Invocation, "inv_x")];
    outside.store.put_now(bad.clone(), None).expect("written");
    outside.pass(60 * MINUTE);
    outside.heal();
    assert_eq!(words(&outside.invocations(id))[0], "60 completed");
    for bad in bad {
        let now = outside.store.document_now(bad.project, bad.kind, &bad.id, None).expect("readable");
        assert_eq!(now, Some(bad), "nothing was written, and it is still due for who can read it");
    }
}

#[test]
fn what_only_a_newer_release_can_read_is_done_by_it() {
    let outside = Outside::new(1);
    let project = outside.project();
    let [automation, queued, target] =
        [1, 2, 3].map(|seed| outside.create(seed, cron("0 * * * *"), existing()));
    finish(outside.automations().invoke(project, queued, &|_| None)).expect("queued");
    let latest = |kind, id: &str| {
        let found = outside.store.document_now(project, kind, id, None).expect("readable");
        found.expect("there")
    };
    // What the newer release writes, and what becomes of it once everything here understands it.
    let newer = |kind, id: &str| {
        let mut document = latest(kind, id);
        document.version += 1;
        document.body["a_newer_member"] = Value::Bool(true);
        outside.store.put_now(vec![document], None).expect("written");
    };
    let understood = |kind, id: &str| {
        let mut document = latest(kind, id);
        document.version += 1;
        document.body.as_object_mut().expect("an object").remove("a_newer_member");
        outside.store.put_now(vec![document], None).expect("written");
    };
    let invocation = outside.invocations(queued)[0].document.id.clone();
    let written =
        [(DocumentKind::Automation, automation.to_string()), (DocumentKind::Invocation, invocation)];
    written.iter().for_each(|(kind, id)| newer(*kind, id));
    let before: Vec<_> = written.iter().map(|(kind, id)| latest(*kind, id)).collect();

    // The third one is readable, and its session is not.
    *outside.session.lock().expect("no panics") = Some(RuntimeErrorKind::Damaged);
    outside.pass(60 * MINUTE);
    for _ in 0..3 * ATTEMPTS_MAX {
        outside.pass(BACKOFF_MS_MAX);
        finish(outside.look()).expect("healthy");
    }
    let after: Vec<_> = written.iter().map(|(kind, id)| latest(*kind, id)).collect();
    assert_eq!(after, before, "the older release wrote nothing");
    let [waits] = &outside.invocations(target)[..] else { panic!("one occurrence") };
    assert_eq!(waits.body.status, InvocationStatus::Queued { attempts: 0 });
    assert_eq!(waits.document.version, 1, "nor did it claim what it could not deliver");
    assert!(matches!(outside.automation(target).status, AutomationStatus::Active { next: Some(_) }));
    assert!(outside.delivered().is_empty());

    *outside.session.lock().expect("no panics") = None;
    written.iter().for_each(|(kind, id)| understood(*kind, id));
    outside.heal();
    assert_eq!(words(&outside.invocations(automation))[0], "60 completed");
    assert_eq!(words(&outside.invocations(queued))[0], "manual completed");
    assert_eq!(words(&outside.invocations(target))[0], "60 completed");
    for id in [automation, queued, target] {
        outside.check(id);
    }
}

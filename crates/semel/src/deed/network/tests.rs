use std::sync::Barrier;

use jiff::Timestamp;

use super::*;

/// A clock that stands still unless it is set.
#[derive(Clone, Default)]
struct HandClock(Arc<AtomicU64>);

impl HandClock {
    fn goes_on(&self, time: Duration) {
        self.0.fetch_add(nanos(time), Ordering::SeqCst);
    }
}

/// A folder of locks in memory, where that is to be had: thousands of syncs are not what
/// these tests are about.
fn scratch() -> tempfile::TempDir {
    let builder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    builder.expect("a scratch folder")
}

fn shelf(folder: &tempfile::TempDir, boot: &str, clock: &HandClock) -> Shelf {
    let now = clock.clone();
    Shelf {
        folder: folder.path().to_owned(),
        machine: Machine { boot: boot.to_owned(), pids: "pid:[1]".to_owned() },
        clock: boot.to_owned(),
        uptime: Arc::new(move || Duration::from_nanos(now.0.load(Ordering::SeqCst))),
        life: |_, _| Life::Alive,
        link: |from, to| std::fs::hard_link(from, to),
    }
}

fn holder(host: &str) -> Holder {
    Holder {
        host: host.to_owned(),
        user: "etl".to_owned(),
        pid: std::process::id(),
        command: "semel run".to_owned(),
        since: Timestamp::UNIX_EPOCH,
    }
}

fn is_busy(taken: &Result<NetworkLease, LeaseError>) -> bool {
    matches!(taken, Err(LeaseError::Busy(_)))
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// As a holder leaves it that is killed: nobody says that it is over.
fn killed(mut lease: NetworkLease) {
    lease.pulse.file.lock().expect("nobody panics").1.ended = true;
    drop(lease.stop.take());
}

#[test]
fn i4_who_may_be_succeeded() {
    let told = |ended| Told {
        token: 1,
        heartbeat: 7,
        ended,
        machine: Machine { boot: "a".to_owned(), pids: "b".to_owned() },
        began: 1,
        holder: holder("db7"),
    };
    let (at_work, over) = (told(false), told(true));
    let soon = EXPIRY - Duration::from_nanos(1);
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for (told, life, still, judged) in [
        (Some(&over), None, Duration::ZERO, Judgement::Over),
        (Some(&over), Some(Life::Alive), Duration::ZERO, Judgement::Over),
        (Some(&at_work), Some(Life::Dead), Duration::ZERO, Judgement::Dead),
        // Of this machine nobody expires.
        (Some(&at_work), Some(Life::Alive), year, Judgement::Holds),
        (Some(&at_work), None, Duration::ZERO, Judgement::Holds),
        (Some(&at_work), None, soon, Judgement::Holds),
        (Some(&at_work), None, EXPIRY, Judgement::Expired),
        // It cannot be read.
        (None, None, soon, Judgement::Holds),
        (None, None, EXPIRY, Judgement::Expired),
    ] {
        assert_eq!(judge(told, life, still), judged, "{told:?} {life:?} {still:?}");
    }
}

#[test]
fn a_holder_stops_before_others_may_take_over_and_tells_often_enough() {
    assert!(BEAT * 2 < EXPIRY - MARGIN, "one heartbeat may be lost");
    assert!(MARGIN > Duration::ZERO && MARGIN < EXPIRY);
}

#[test]
fn i4_of_twenty_who_want_it_one_gets_it() {
    let (folder, clock) = (scratch(), HandClock::default());
    let start = Barrier::new(20);
    for round in 1..=100 {
        let taken: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..20)
                .map(|host| {
                    let shelf = shelf(&folder, &format!("boot {host}"), &clock);
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let taken = shelf.take(&holder(&format!("host{host}")));
                        start.wait();
                        // All of them are back before it is over.
                        taken.map(|lease| lease.pulse.number)
                    })
                })
                .collect();
            tries.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).collect()
        });
        assert_eq!(taken.len(), 1, "round {round}");
    }
}

#[test]
fn i4_of_two_who_take_over_what_stood_still_one_wins() {
    let (folder, clock) = (scratch(), HandClock::default());
    let [far, one, other] = ["far", "one", "other"].map(|boot| shelf(&folder, boot, &clock));
    for round in 0..3000 {
        killed(far.take(&holder("far")).expect("free"));
        for near in [&one, &other] {
            assert!(is_busy(&near.take(&holder(&near.clock))));
        }
        clock.goes_on(EXPIRY);
        let start = Barrier::new(2);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let tries = [&one, &other].map(|near| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    near.take(&holder(&near.clock))
                })
            });
            tries.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1, "round {round}");
        assert_eq!(taken.iter().filter(|taken| is_busy(taken)).count(), 1, "round {round}");
    }
}

/// Somebody judges, is stopped, and goes on when two others have come and gone: the
/// number that they would take is free again, and is not theirs.
#[test]
fn i4_who_judged_long_ago_gives_way_to_whoever_came_since() {
    let (folder, clock) = (scratch(), HandClock::default());
    let shelf = shelf(&folder, "here", &clock);
    drop(shelf.take(&holder("first")).expect("free"));
    let (judged, _) = shelf.last(0).expect("it can be read").expect("it is there");
    drop(shelf.take(&holder("second")).expect("free"));
    let third = shelf.take(&holder("third")).expect("free");
    assert_eq!(names(&folder), [":network.3"]);
    let late = shelf.hold(judged + 1, &holder("late")).expect("it can be tried");
    assert!(late.is_none());
    assert_eq!(names(&folder), [":network.3"], "nothing is left of it");
    third.pulse.verify().expect("it is still the holder");
    assert!(is_busy(&shelf.take(&holder("late"))));
}

#[test]
fn a_lost_answer_to_a_link_is_found_by_the_count_of_links() {
    let (folder, clock) = (scratch(), HandClock::default());
    let mut shelf = shelf(&folder, "here", &clock);
    // The server did it; then it was asked again, and says that the name is taken.
    shelf.link = |from, to| {
        std::fs::hard_link(from, to)?;
        std::fs::hard_link(from, to)
    };
    let lease = shelf.take(&holder("db7")).expect("it is ours");
    assert_eq!(names(&folder), [":network.1"]);
    lease.pulse.verify().expect("it is ours");
    drop(lease);
    // The server did not.
    shelf.link = |_, _| Err(Errno::EXIST.into());
    assert!(shelf.hold(2, &holder("db7")).expect("it can be tried").is_none());
    assert_eq!(names(&folder), [":network.1"]);
}

#[test]
fn where_there_are_no_links_a_new_file_has_to_do() {
    let (folder, clock) = (scratch(), HandClock::default());
    let mut shelf = shelf(&folder, "here", &clock);
    shelf.link = |_, _| Err(Errno::PERM.into());
    let lease = shelf.take(&holder("db7")).expect("free");
    assert!(is_busy(&shelf.take(&holder("db8"))));
    assert!(shelf.hold(1, &holder("db8")).expect("it can be tried").is_none());
    lease.pulse.verify().expect("it is ours");
    drop(lease);
    let _lease = shelf.take(&holder("db8")).expect("free");
    assert_eq!(names(&folder), [":network.2"]);
}

#[test]
fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
    let (folder, clock) = (scratch(), HandClock::default());
    let mut shelf = shelf(&folder, "here", &clock);
    shelf.link = |_, _| Err(Errno::NOSPC.into());
    assert!(matches!(shelf.take(&holder("db7")), Err(LeaseError::Io { .. })));
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn i4_a_holder_of_another_machine_expires_only_when_nothing_of_it_changed() {
    let (folder, clock) = (scratch(), HandClock::default());
    let [far, near] = ["far", "near"].map(|boot| shelf(&folder, boot, &clock));
    let holds = far.take(&holder("far")).expect("free");
    match near.take(&holder("near")) {
        Err(LeaseError::Busy(Some(told))) => assert_eq!(*told, holder("far")),
        other => panic!("it is busy: {other:?}"),
    }
    for _ in 0..10 {
        clock.goes_on(EXPIRY - MARGIN - Duration::from_secs(1));
        holds.pulse.beat().expect("written");
        assert!(is_busy(&near.take(&holder("near"))), "it lives");
    }
    clock.goes_on(EXPIRY - Duration::from_nanos(1));
    assert!(is_busy(&near.take(&holder("near"))));
    // Long before that, it has stopped by itself.
    assert!(holds.pulse.check().is_err());
    clock.goes_on(Duration::from_nanos(1));
    let _lease = near.take(&holder("near")).expect("it stood still");
}

/// Neither a clock that was reset by a boot nor one of a container counts.
#[test]
fn i4_what_was_seen_by_another_clock_does_not_count() {
    let (folder, clock) = (scratch(), HandClock::default());
    let [far, near, mut booted] = ["far", "near", "near"].map(|boot| shelf(&folder, boot, &clock));
    booted.clock = "another".to_owned();
    let _holds = far.take(&holder("far")).expect("free");
    assert!(is_busy(&near.take(&holder("near"))));
    clock.goes_on(EXPIRY * 100);
    assert!(is_busy(&booted.take(&holder("near"))));
    clock.goes_on(EXPIRY);
    let _lease = booted.take(&holder("near")).expect("it stood still by this clock");
}

#[test]
fn i4_on_one_machine_the_dead_are_succeeded_at_once_and_the_stopped_never() {
    let (folder, clock) = (scratch(), HandClock::default());
    let mut shelf = shelf(&folder, "here", &clock);
    killed(shelf.take(&holder("db7")).expect("free"));
    clock.goes_on(EXPIRY * 1_000_000);
    assert!(is_busy(&shelf.take(&holder("db7"))), "it may only be stopped");
    shelf.life = |_, _| Life::Dead;
    let _lease = shelf.take(&holder("db7")).expect("it is dead");
    assert_eq!(names(&folder), [":network.2"]);
}

#[test]
fn i4_whoever_could_not_renew_in_time_has_lost_it_for_good() {
    let (folder, clock) = (scratch(), HandClock::default());
    let shelf = shelf(&folder, "here", &clock);
    let lease = shelf.take(&holder("db7")).expect("free");
    clock.goes_on(EXPIRY - MARGIN - Duration::from_nanos(1));
    lease.pulse.check().expect("there is time");
    clock.goes_on(Duration::from_nanos(1));
    let why = lease.pulse.check().expect_err("it is over");
    assert_eq!(why, "its heartbeat could not be written for 50 s");
    lease.pulse.beat().expect("nothing is written");
    assert_eq!(lease.pulse.check(), Err(why));
}

/// The machine slept while the heartbeat was on its way.
#[test]
fn i4_a_heartbeat_counts_from_the_moment_in_which_it_began() {
    let (folder, clock) = (scratch(), HandClock::default());
    let mut shelf = shelf(&folder, "here", &clock);
    let (now, ticks) = (clock.clone(), AtomicU64::new(0));
    // Each look at the clock finds it ten seconds later.
    shelf.uptime = Arc::new(move || {
        ticks.fetch_add(1, Ordering::SeqCst);
        now.goes_on(Duration::from_secs(10));
        Duration::from_nanos(now.0.load(Ordering::SeqCst))
    });
    let lease = shelf.take(&holder("db7")).expect("free");
    let began = Duration::from_nanos(lease.pulse.deadline.load(Ordering::SeqCst));
    lease.pulse.beat().expect("written");
    let renewed = Duration::from_nanos(lease.pulse.deadline.load(Ordering::SeqCst));
    let now = Duration::from_nanos(clock.0.load(Ordering::SeqCst));
    assert!(renewed > began && renewed < now + EXPIRY - MARGIN);
}

#[test]
fn i4_whoever_was_succeeded_is_told_by_whom() {
    let (folder, clock) = (scratch(), HandClock::default());
    let [far, near] = ["far", "near"].map(|boot| shelf(&folder, boot, &clock));
    let lost = near.take(&holder("near")).expect("free");
    assert!(is_busy(&far.take(&holder("far"))));
    clock.goes_on(EXPIRY);
    let won = far.take(&holder("far")).expect("it stood still");
    // It wakes up before its own clock tells it.
    lost.pulse.deadline.store(u64::MAX, Ordering::SeqCst);
    let why = lost.pulse.verify().expect_err("it is lost");
    assert_eq!(why, format!("taken over by etl@far, pid {}: semel run", std::process::id()));
    drop(lost);
    won.pulse.verify().expect("whoever lost it takes nothing away");
    std::fs::remove_file(won.pulse.shelf.lock(won.pulse.number)).expect("it is there");
    assert_eq!(won.pulse.verify(), Err("its lock is gone".to_owned()));
}

/// Wherever a taker is killed, the next one finds its way, and removes what is left.
#[test]
fn i4_killed_at_every_step_of_taking() {
    let clock = HandClock::default();
    let text = {
        let folder = scratch();
        let shelf = shelf(&folder, "here", &clock);
        killed(shelf.take(&holder("db7")).expect("free"));
        std::fs::read(shelf.lock(1)).expect("it is there")
    };
    // The draft is made, or half written, or whole; or linked, or the draft removed.
    let steps: [(&[u8], bool, bool); 5] = [
        (b"", true, false),
        (&text[..40], true, false),
        (&text, true, false),
        (&text, true, true),
        (&text, false, true),
    ];
    for (at, (text, has_draft, has_lock)) in steps.into_iter().enumerate() {
        let folder = scratch();
        let mut shelf = shelf(&folder, "here", &clock);
        shelf.life = |_, _| Life::Dead;
        let draft = shelf.draft();
        std::fs::write(&draft, text).expect("written");
        if has_lock {
            std::fs::hard_link(&draft, shelf.lock(1)).expect("linked");
        }
        if !has_draft {
            std::fs::remove_file(&draft).expect("it is there");
        }
        let lease = shelf.take(&holder("db8")).expect("nobody has it");
        let number = if has_lock { 2 } else { 1 };
        assert_eq!(names(&folder), [format!(":network.{number}")], "step {at}");
        drop(lease);
    }
}

/// Where there are no links, a lock may be there with nothing in it yet.
#[test]
fn a_lock_that_cannot_be_read_holds_until_it_stood_still() {
    let (folder, clock) = (scratch(), HandClock::default());
    let shelf = shelf(&folder, "here", &clock);
    std::fs::write(shelf.lock(4), "").expect("written");
    assert!(is_busy(&shelf.take(&holder("db7"))));
    clock.goes_on(EXPIRY - Duration::from_nanos(1));
    std::fs::write(shelf.lock(4), "{").expect("written");
    assert!(is_busy(&shelf.take(&holder("db7"))), "it changed");
    clock.goes_on(EXPIRY);
    let lease = shelf.take(&holder("db7")).expect("it stood still");
    assert_eq!((lease.pulse.number, names(&folder)), (5, vec![":network.5".to_owned()]));
}

#[test]
fn what_a_holder_tells_keeps_its_length() {
    let (folder, clock) = (scratch(), HandClock::default());
    let shelf = shelf(&folder, "here", &clock);
    let lease = shelf.take(&holder("db7")).expect("free");
    let before = std::fs::read(shelf.lock(1)).expect("it is there");
    for _ in 0..12 {
        lease.pulse.beat().expect("written");
    }
    let after = std::fs::read(shelf.lock(1)).expect("it is there");
    assert!(before.len() == after.len() && before != after);
    let told = Told::read(&after).expect("it can be read");
    assert_eq!((told.token, told.heartbeat, told.ended), (1, 12, false));
    let path = shelf.lock(1);
    drop(lease);
    let told = Told::read(&std::fs::read(path).expect("it stays")).expect("it can be read");
    assert!(told.ended);
}

import itertools
import subprocess
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import exc, select, text
from tests.made_up import NOON, Clock
from tests.toy_reconcilers import KIND, Crash, note, notes, wake_toys, workers
from tests.waiting import PATIENCE_S, eventually

from cumulet.errors import OUR_MISTAKE, NotAtOnce, Unavailable
from cumulet.reconcile import LEASE, Due, LeaseLost, NotYet, Reconciler, find_due, forget_leases, wake

TOY = UUID(int=7)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(database, clock):
    """Make a reconciler of toys, driven by hand."""

    def make(reconcile, on=database):
        return Reconciler(on, {KIND: reconcile}, clock=clock)

    return make


@pytest.fixture
def wake_up(database, clock):
    return lambda *ids: wake_toys(database, *(ids or [TOY]), now=clock())


@pytest.fixture
def due(database):
    def look(id=TOY):
        with database.reading() as db:
            return find_due(db, KIND, id)

    return look


@pytest.fixture
def running():
    """Start reconcilers, and stop them at the end."""
    started = []

    def start(reconciler):
        reconciler.start()
        started.append(reconciler)

    yield start
    for reconciler in started:
        reconciler.stop()


def raising(error):
    def reconcile(run):
        raise error

    return reconcile


# Waking
def test_what_is_woken_runs_once_and_is_settled(make, wake_up, database, due):
    wake_up()
    reconciler = make(note)
    assert (reconciler.run_due(), reconciler.run_due()) == (1, 0)
    assert notes(database, TOY) == ["it ran"]
    assert due() is None


def test_a_wake_that_is_rolled_back_wakes_nobody(database, due, clock):
    with pytest.raises(KeyError), database.writing() as db:
        wake(db, KIND, TOY, now=clock())
        raise KeyError
    assert due() is None
    assert not database.bell.is_set()


def test_a_wake_rings_the_bell_when_it_is_committed(database, clock):
    with database.writing() as db:
        wake(db, KIND, TOY, now=clock())
        assert not database.bell.is_set()
    assert database.bell.is_set()


def test_a_wake_during_a_run_is_not_lost(make, wake_up, due):
    runs = []

    def reconcile(run):
        runs.append(run.now)
        if len(runs) == 1:
            wake_up()

    wake_up()
    reconciler = make(reconcile)
    assert [reconciler.run_due() for _ in range(3)] == [1, 1, 0]
    assert due() is None


@pytest.mark.parametrize("woken_in_the_look", [False, True])
def test_only_a_wake_that_comes_after_the_look_has_another_run_follow(make, wake_up, woken_in_the_look):
    def reconcile(run):
        wake_up()
        with run.looking():
            if woken_in_the_look:
                wake_up()

    wake_up()
    reconciler = make(reconcile)
    assert (reconciler.run_due(), reconciler.run_due()) == (1, int(woken_in_the_look))


@pytest.mark.parametrize("end", [NotYet("it rests", 3600), ValueError("it broke")])
def test_a_wake_during_a_run_that_did_not_settle_counts_at_once(make, wake_up, end):
    def reconcile(run):
        wake_up()
        raise end

    wake_up()
    reconciler = make(reconcile)
    assert [reconciler.run_due() for _ in range(3)] == [1, 1, 1]


def test_a_wake_ends_a_rest(make, wake_up):
    wake_up()
    reconciler = make(raising(NotYet("it rests", 3600)))
    assert [reconciler.run_due(), reconciler.run_due()] == [1, 0]
    wake_up()
    assert reconciler.run_due() == 1


# Claims and leases
def test_what_one_has_claimed_nobody_else_gets(make, wake_up):
    wake_up()
    one, other = make(note), make(note)
    assert (len(one._claim(limit=10)), len(other._claim(limit=10))) == (1, 0)


def test_each_due_row_runs_once_however_many_reconcilers_there_are(open_database, wake_up, running, database):
    ids = [uuid4() for _ in range(60)]
    wake_toys(database, *ids, now=NOON)  # before they look: on SQLite no other process rings their bells
    for _ in range(3):
        running(Reconciler(open_database(), {KIND: note}, workers=4))
    eventually(lambda: all(notes(database, id) for id in ids))
    assert [notes(database, id) for id in ids] == [["it ran"]] * 60


def test_only_what_can_start_now_is_claimed(database, running):
    go_on = threading.Event()
    started = threading.Semaphore(0)

    def reconcile(run):
        started.release()
        assert go_on.wait(PATIENCE_S)

    running(Reconciler(database, {KIND: reconcile}, workers=2))
    wake_toys(database, *(uuid4() for _ in range(5)), now=NOON)
    assert started.acquire(timeout=PATIENCE_S)
    assert started.acquire(timeout=PATIENCE_S)
    with database.reading() as db:
        leased = db.scalars(select(Due.id).where(Due.lease.is_not(None))).all()
    go_on.set()
    assert len(leased) == 2
    eventually(lambda: not all_due(database))


def all_due(database):
    with database.reading() as db:
        return db.scalars(select(Due)).all()


def test_a_claim_takes_no_more_than_it_was_told_to(make, wake_up):
    wake_up(*(uuid4() for _ in range(20)))
    assert [len(make(note)._claim(limit=7)) for _ in range(4)] == [7, 7, 6, 0]


def test_a_row_is_not_taken_from_a_worker_whose_lease_holds(make, wake_up, clock):
    wake_up()
    assert make(note)._claim(limit=1)
    clock.advance(LEASE.total_seconds())
    assert not make(note)._claim(limit=1)


def test_a_dead_worker_s_row_is_taken_over_after_its_lease(make, wake_up, clock, database):
    wake_up()
    with pytest.raises(Crash):
        make(raising(Crash)).run_due()
    survivor = make(note)
    assert survivor.run_due() == 0
    clock.advance(LEASE.total_seconds() + 1)
    assert survivor.run_due() == 1
    assert notes(database, TOY) == ["it ran"]


def test_who_has_the_database_to_himself_does_not_wait_for_a_dead_worker_s_lease(make, wake_up, database):
    wake_up()
    with pytest.raises(Crash):
        make(raising(Crash)).run_due()
    with database.writing() as db:
        forget_leases(db)
    assert make(note).run_due() == 1


def test_nothing_waits_for_the_old_time_to_come_again_when_the_clock_is_set_back(make, wake_up, clock, due):
    wake_up()
    reconciler = make(raising(NotYet("it rests", 5)))
    reconciler.run_due()
    clock.advance(-3600)
    assert reconciler.run_due() == 1
    assert due().due_at == clock() + timedelta(seconds=5)
    assert reconciler.run_due() == 0


def test_a_dead_worker_s_lease_ends_in_its_time_when_the_clock_is_set_back(make, wake_up, clock):
    survivor = make(note)
    wake_up()
    with pytest.raises(Crash):
        make(raising(Crash)).run_due()
    clock.advance(-3600)
    assert survivor.run_due() == 0
    clock.advance(LEASE.total_seconds() + 1)
    assert survivor.run_due() == 1


def outlived(make, clock, then):
    """A reconciler that takes so long that another takes its row over, works on it, and rests for an hour."""

    def reconcile(run):
        clock.advance(LEASE.total_seconds() + 1)
        assert make(raising(NotYet("the other rests", 3600))).run_due() == 1
        then(run)

    return reconcile


def test_a_worker_that_outlived_its_lease_writes_nothing(make, wake_up, clock, database, due):
    lost = []

    def write(run):
        try:
            note(run, "too late")
        except LeaseLost:
            lost.append(run.id)
            raise

    wake_up()
    make(outlived(make, clock, write)).run_due()
    assert lost == [TOY]
    assert notes(database, TOY) == []
    assert due().why == "the other rests"


@pytest.mark.parametrize("end", [None, NotYet("late", 1), ValueError("late")])
def test_a_worker_that_outlived_its_lease_lets_go_of_nothing(make, wake_up, clock, due, end):
    def finish(run):
        if end:
            raise end

    wake_up()
    make(outlived(make, clock, finish)).run_due()
    assert due().why == "the other rests"


def test_a_lease_that_another_holds_is_not_released(make, wake_up, clock, due):
    def reconcile(run):
        clock.advance(LEASE.total_seconds() + 1)
        assert make(note)._claim(limit=1)

    wake_up()
    make(reconcile).run_due()
    assert due().lease is not None


# How runs end
@pytest.mark.parametrize(("seconds", "then"), [(30.25, 31), (30, 30), (2.25, 2.25)])
def test_a_look_that_is_far_off_is_put_on_a_whole_second_where_others_are(
    make, wake_up, clock, due, seconds, then
):
    wake_up()
    make(lambda run: run.now + timedelta(seconds=seconds)).run_due()
    assert due().due_at == clock() + timedelta(seconds=then)


def test_not_yet_tells_why_and_when_to_look_again(make, wake_up, clock, due):
    wake_up()
    reconciler = make(raising(NotYet("copying, 43 %", 5)))
    reconciler.run_due()
    waiting = due()
    assert (waiting.why, waiting.error, waiting.attempts) == ("copying, 43 %", "", 0)
    assert waiting.due_at == clock() + timedelta(seconds=5)
    clock.advance(5)
    assert reconciler.run_due() == 1


def test_failures_back_off_from_one_second_to_sixty(make, wake_up, clock, due):
    wake_up()
    reconciler = make(raising(ValueError("it broke")))
    pauses = []
    for _ in range(8):
        assert reconciler.run_due() == 1
        pauses.append((due().due_at - clock()).total_seconds())
        clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (due().error, due().attempts) == (OUR_MISTAKE, 8)


def test_a_refusal_says_what_it_was_and_a_mistake_of_ours_that_it_was_one(make, wake_up, due):
    wake_up()
    make(raising(ZeroDivisionError("a path that is nobody's business"))).run_due()
    assert due().error == OUR_MISTAKE
    wake_up()
    make(raising(Unavailable("what owners may read", for_operator="a path"))).run_due()
    assert due().error == "what owners may read"


def test_a_wait_between_failures_does_not_make_up_for_them(make, wake_up, clock, due):
    wake_up()
    make(raising(ValueError("it broke"))).run_due()
    clock.advance(1)
    make(raising(NotYet("trying again", 1))).run_due()
    assert (due().error, due().why, due().attempts) == ("", "trying again", 1)


def test_what_settles_is_forgiven_its_failures(make, wake_up, clock, due):
    wake_up()
    make(raising(ValueError("it broke"))).run_due()
    clock.advance(1)
    make(lambda _: clock() + timedelta(hours=1)).run_due()
    assert (due().error, due().attempts) == ("", 0)


def test_a_plot_that_wants_another_look_is_settled_until_then(make, wake_up, clock, due):
    wake_up()
    reconciler = make(lambda _: clock() + timedelta(hours=1))
    reconciler.run_due()
    assert (due().since, due().due_at) == (None, clock() + timedelta(hours=1))
    assert reconciler.run_due() == 0
    clock.advance(3600)
    assert reconciler.run_due() == 1


def test_it_is_unsettled_since_the_first_wake(make, wake_up, clock, due):
    wake_up()
    first = clock()
    reconciler = make(raising(NotYet("it takes long", 60)))
    for _ in range(3):
        reconciler.run_due()
        clock.advance(60)
        wake_up()
    assert due().since == first


def test_what_takes_far_too_long_is_told_once(make, wake_up, clock, database, due):
    wake_up()
    reconciler = make(raising(NotYet("waiting for the moon", 60)))
    for _ in range(25):
        reconciler.run_due()
        clock.advance(60)
    assert notes(database, TOY) == ["not settled for 10 minutes: waiting for the moon"]
    assert due().overdue


def test_what_only_waits_for_its_next_look_is_never_overdue(make, wake_up, clock, database):
    wake_up()
    reconciler = make(lambda _: clock() + timedelta(minutes=1))
    for _ in range(25):
        reconciler.run_due()
        clock.advance(60)
    assert notes(database, TOY) == []


@pytest.mark.parametrize("end", [NotYet("waiting for the moon", 60), OSError("it failed")])
def test_a_look_that_does_not_end_well_is_unsettled_since_then_and_told_when_that_lasts(
    make, wake_up, clock, database, due, end
):
    wake_up()
    make(lambda _: clock() + timedelta(minutes=1)).run_due()
    clock.advance(60)
    since = clock()
    for _ in range(12):
        make(raising(end)).run_due()
        assert due().since == since
        clock.advance(60)
    assert due().overdue
    assert len(notes(database, TOY)) == 1


def test_a_kind_that_nobody_here_knows_is_left_to_others(database, clock):
    wake_toys(database, TOY, now=clock())
    assert Reconciler(database, {"other": note}, clock=clock).run_due() == 0


# Threads and processes
def test_a_wake_starts_work_without_waiting_for_the_next_look(database, running, monkeypatch):
    monkeypatch.setattr("cumulet.reconcile.IDLE_LOOK", 3600.0)
    monkeypatch.setattr("cumulet.reconcile.SHARED_LOOK", 3600.0)
    running(Reconciler(database, {KIND: note}))
    for toy in (uuid4(), uuid4(), uuid4()):
        wake_toys(database, toy, now=NOON)
        eventually(partial(notes, database, toy))


def test_what_is_put_back_for_a_moment_is_looked_at_again_though_the_next_look_is_far_off(
    database, running, monkeypatch
):
    monkeypatch.setattr("cumulet.reconcile.IDLE_LOOK", 3600.0)
    monkeypatch.setattr("cumulet.reconcile.SHARED_LOOK", 3600.0)
    runs = []

    def reconcile(run):
        runs.append(run)
        if len(runs) < 3:
            time.sleep(0.1)  # meanwhile, who claims has gone to sleep until the lease on this run ends
            raise NotYet("one moment", 0.01)

    running(Reconciler(database, {KIND: reconcile}))
    wake_toys(database, TOY, now=NOON)
    eventually(lambda: len(runs) == 3)


def test_stopping_waits_for_the_runs_under_way(database):
    begun, go_on = threading.Event(), threading.Event()

    def reconcile(run):
        begun.set()
        assert go_on.wait(PATIENCE_S)
        note(run)

    reconciler = Reconciler(database, {KIND: reconcile})
    reconciler.start()
    wake_toys(database, TOY, now=NOON)
    assert begun.wait(PATIENCE_S)
    stopping = threading.Thread(target=reconciler.stop)
    stopping.start()
    go_on.set()
    stopping.join(PATIENCE_S)
    assert notes(database, TOY) == ["it ran"]
    assert not all_due(database)


def test_a_database_that_fails_for_a_moment_does_not_end_the_work(database, running, monkeypatch):
    monkeypatch.setattr("cumulet.reconcile.SHARED_LOOK", 0.01)
    reconciler = Reconciler(database, {KIND: note})
    claim, failures = reconciler._claim, [exc.OperationalError("claim", None, OSError("gone"))] * 3

    def failing(**limit):
        if failures:
            raise failures.pop()
        return claim(**limit)

    monkeypatch.setattr(reconciler, "_claim", failing)
    running(reconciler)
    wake_toys(database, TOY, now=NOON)
    eventually(lambda: notes(database, TOY))


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
class TestOnPostgres:
    def test_a_wake_in_one_process_reaches_another_at_once(
        self, database, open_database, running, monkeypatch
    ):
        monkeypatch.setattr("cumulet.reconcile.SHARED_LOOK", 3600.0)
        reconciler = Reconciler(open_database(), {KIND: note})
        running(reconciler)
        eventually(lambda: listens(database))
        wake_toys(database, TOY, now=NOON)
        eventually(lambda: notes(database, TOY))

    def test_work_goes_on_after_all_connections_broke(self, database, open_database, running):
        running(Reconciler(open_database(), {KIND: note}))
        eventually(lambda: listens(database))
        with database.writing() as db:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            db.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        wake_toys(database, TOY, now=NOON)
        eventually(lambda: notes(database, TOY))

    def test_two_processes_share_the_work_and_never_a_row(self, database):
        command = [sys.executable, "-m", "tests.toy_reconcilers", database.url, "2"]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        ids = [uuid4() for _ in range(60)]
        wake_toys(database, *ids, now=NOON)
        eventually(lambda: not all_due(database))
        for process in processes:
            process.communicate()
        assert [notes(database, id) for id in ids] == [["it ran"]] * 60
        assert workers(database) == {str(process.pid) for process in processes}


def listens(database):
    with database.reading() as db:
        return db.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))


class LostHost(NotAtOnce):
    """What a reconciler raises under which its host was lost."""


def test_what_may_have_brought_its_host_down_is_not_brought_forward_by_any_wake(make, wake_up, due, clock):
    runs = []

    def reconcile(run):
        runs.append(clock.now)
        wake_up()  # its host is back, and tells of all machines
        raise LostHost("the host was lost")

    reconciler = make(reconcile)
    wake_up()
    for _ in range(200):
        reconciler.run_due()
        wake_up()
        clock.advance(0.5)
    waits = [(after - before).total_seconds() for before, after in itertools.pairwise(runs)]
    assert waits == [1, 2, 4, 8, 16, 32]
    assert due().error == OUR_MISTAKE


def test_what_was_held_runs_at_every_wake_again_once_it_went_well(make, wake_up, due, clock):
    failures = [LostHost("the host was lost")]

    def reconcile(_run):
        if failures:
            raise failures.pop()

    reconciler = make(reconcile)
    wake_up()
    assert reconciler.run_due() == 1
    wake_up()
    assert reconciler.run_due() == 0
    clock.advance(1)
    assert reconciler.run_due() == 1
    assert due() is None
    wake_up()
    assert reconciler.run_due() == 1


def test_a_clock_that_is_set_back_ends_what_was_held(make, wake_up, due, clock):
    reconciler = make(raising(LostHost("the host was lost")))
    wake_up()
    reconciler.run_due()
    clock.advance(-3600)
    reconciler.run_due()
    assert due().due_at <= clock.now + timedelta(seconds=2)

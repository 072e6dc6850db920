"""What webhooks are told: in order, at least once, signed, later when it is not taken, and within bounds."""

from __future__ import annotations

import base64
import json
import socket
from datetime import timedelta

import pytest
from sqlalchemy import select
from tests.feed.conftest import record
from tests.made_up import PROJECT
from tests.toy_reconcilers import Crash
from tests.waiting import eventually
from tests.webhooks.conftest import enable, happen, look, make, receiving, signs, tell

from cumulet.errors import Refused
from cumulet.events import EventName
from cumulet.journal import Event
from cumulet.projects.model import Project
from cumulet.sealing import Seal
from cumulet.webhooks import Herald, herald, reconcile, seal_secrets
from cumulet.webhooks import operations as hooks
from cumulet.webhooks.model import Webhook
from cumulet.webhooks.send import signature
from cumulet.webhooks.wire import EnableWebhook


def events_of(cloud, subject="webhook"):
    with cloud.database.reading() as db:
        return list(db.scalars(select(Event.event).where(Event.subject == subject).order_by(Event.id)))


def test_what_happens_is_told_in_order_and_signed(cloud, receiver):
    secret = make(cloud, receiver.url)
    happen(cloud, "one", "two", "three")
    assert receiver.told == ["webhook chat created", "one", "two", "three"]
    assert all(signs(secret, *request) for request in receiver.requests)
    assert len(set(receiver.ids)) == 4
    headers, body = receiver.requests[1]
    assert headers["content-type"] == "application/json"
    assert int(headers["webhook-timestamp"]) == int(cloud.clock().timestamp())
    event = json.loads(body)
    assert (event["projectId"], event["kind"], event["event"]) == (PROJECT, "vm", "vm.started")
    shown = look(cloud)
    assert (shown.state, shown.problem, shown.delivery_time) == ("ACTIVE", "", cloud.clock())
    assert int(shown.last_event_id) >= int(json.loads(receiver.requests[-1][1])["id"])


def test_the_signature_is_that_of_standard_webhooks():
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert (
        signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_it_is_told_of_what_it_asked_for_and_of_no_other_project(cloud, receiver):
    with cloud.database.writing() as db:
        db.add(
            Project(
                id="other", billing_account_id="b", created_by=cloud.owner.user_id, created_at=cloud.clock()
            )
        )
    make(cloud, receiver.url, kind=["vm"], event=["vm.stopped"])
    happen(cloud, "a stop", event=EventName.VM_STOPPED)
    happen(cloud, "a start", event=EventName.VM_STARTED)
    happen(cloud, "of others", event=EventName.VM_STOPPED, project="other")
    assert receiver.told == ["a stop"]


@pytest.mark.parametrize("status", [500, 404, 301])
def test_what_is_not_taken_is_told_again_under_the_same_id_and_nothing_before_it(cloud, receiver, status):
    make(cloud, receiver.url, kind=["vm"])
    receiver.answers, receiver.headers = [status, status], {"location": receiver.url}
    happen(cloud, "one")
    happen(cloud, "two")
    assert receiver.told == ["one"]
    shown = look(cloud)
    assert (shown.state, shown.attempts) == ("FAILING", 1)
    assert f"it answers {status}" in shown.problem
    assert shown.retry_time == cloud.clock() + reconcile.FIRST_PAUSE
    cloud.pass_time(reconcile.FIRST_PAUSE.total_seconds() - 1)
    assert receiver.told == ["one"]
    cloud.pass_time(1)
    assert look(cloud).attempts == 2
    cloud.pass_time(reconcile.FIRST_PAUSE.total_seconds() * 2)
    assert receiver.told == ["one", "one", "one", "two"]
    assert len(set(receiver.ids)) == 2
    assert (look(cloud).state, look(cloud).problem) == ("ACTIVE", "")


def test_one_that_fails_is_woken_by_nothing_that_happens(cloud, receiver):
    make(cloud, receiver.url, kind=["vm"])
    receiver.answers = [500]
    happen(cloud, "one")
    with cloud.database.reading() as db:
        id = db.scalars(select(Webhook.id)).one()
    due = cloud.due("webhook", id).due_at
    record(cloud, "two")
    wakes = cloud.due("webhook", id).wakes
    tell(cloud)
    assert (cloud.due("webhook", id).due_at, cloud.due("webhook", id).wakes) == (due, wakes)


def test_one_that_fails_too_often_is_paused_and_goes_on_where_it_was_when_it_is_enabled(cloud, receiver):
    make(cloud, receiver.url, kind=["vm"])
    receiver.answers = [500] * reconcile.MOST_ATTEMPTS
    happen(cloud, "one", "two")
    cloud.pass_time(timedelta(days=1).total_seconds())
    shown = look(cloud)
    assert (shown.state, shown.attempts, shown.problem) == ("PAUSED", 30, "it answers 500")
    assert receiver.told == ["one"] * reconcile.MOST_ATTEMPTS
    assert events_of(cloud)[-1] == EventName.WEBHOOK_PAUSED
    with pytest.raises(Refused, match="is paused: enable it first"):
        cloud.call(hooks.test_webhook, project_id=PROJECT, id="chat")
    enable(cloud)
    cloud.run()
    assert receiver.told[reconcile.MOST_ATTEMPTS :] == ["one", "two"]
    assert look(cloud).state == "ACTIVE"


def test_one_that_is_failing_is_tried_at_once_when_it_is_enabled_or_goes_on_from_now(cloud, receiver):
    make(cloud, receiver.url, kind=["vm"])
    receiver.answers = [500, 200, 500]
    happen(cloud, "one")
    cloud.call(hooks.enable_webhook, project_id=PROJECT, id="chat", data=EnableWebhook())
    cloud.run()
    assert receiver.told == ["one", "one"]
    happen(cloud, "two")
    enable(cloud, from_now_on=True)
    cloud.run()
    happen(cloud, "three")
    assert receiver.told == ["one", "one", "two", "three"]


def test_a_test_is_told_whatever_it_asked_for_and_tries_at_once_what_failed(cloud, receiver):
    make(cloud, receiver.url, event=["vm.stopped"])
    number = cloud.call(hooks.test_webhook, project_id=PROJECT, id="chat").event_id
    cloud.run()
    assert [json.loads(body)["event"] for _, body in receiver.requests] == ["webhook.test_requested"]
    assert json.loads(receiver.requests[0][1])["id"] == number
    assert int(look(cloud).last_event_id) >= int(number)
    receiver.answers = [500]
    happen(cloud, "a stop", event=EventName.VM_STOPPED)
    cloud.call(hooks.test_webhook, project_id=PROJECT, id="chat")
    cloud.run()
    assert receiver.told[1:] == ["a stop", "a stop", "a test was requested"]


def test_who_dies_after_it_was_taken_tells_it_again_under_the_same_id(cloud, receiver, monkeypatch):
    make(cloud, receiver.url, kind=["vm"])

    def die(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "write_success", die)
        record(cloud, "one")
        with pytest.raises(Crash):
            tell(cloud)
    assert receiver.told == ["one"]
    cloud.clock.advance(120)  # its lease has run out
    cloud.reconciler = cloud.new_reconciler()
    cloud.run()
    assert receiver.told == ["one", "one"]
    assert len(set(receiver.ids)) == 1


def test_what_is_too_old_or_too_much_is_never_told_and_that_is_told(cloud, receiver, monkeypatch):
    monkeypatch.setattr(reconcile, "MOST_BEHIND", 150)
    make(cloud, receiver.url, kind=["vm"])
    record(cloud, "old")
    cloud.clock.advance(reconcile.OLDEST.total_seconds() + 1)
    happen(cloud, "new")
    assert (receiver.told, look(cloud).missed) == (["new"], 1)
    assert events_of(cloud)[-1] == EventName.WEBHOOK_MISSED
    receiver.answers = [500]
    happen(cloud, "first")
    record(cloud, *(f"later {number}" for number in range(200)))
    enable(cloud)
    cloud.run()
    assert receiver.told[2:] == [f"later {number}" for number in range(50, 200)]
    assert look(cloud).missed == 1 + 51


def test_of_an_event_that_is_too_large_the_data_are_left_out(cloud, receiver, monkeypatch):
    make(cloud, receiver.url, kind=["vm"])
    monkeypatch.setattr(reconcile, "MOST_BYTES", 300)
    cloud.create(metadata={"long": "x" * 300})
    tell(cloud)
    first = json.loads(receiver.requests[0][1])
    assert (first["event"], first["data"]) == ("vm.create_requested", {})


def test_a_receiver_that_says_nothing_or_no_http_or_is_not_there_is_told_of_in_words(cloud, monkeypatch):
    monkeypatch.setattr("cumulet.webhooks.send.SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        make(cloud, f"http://127.0.0.1:{port}/")
        tell(cloud)
        assert look(cloud).problem == "no answer within 0.3 seconds"
        cloud.call(hooks.delete_webhook, project_id=PROJECT, id="chat")
    make(cloud, f"http://127.0.0.1:{port}/")
    tell(cloud)
    assert look(cloud).problem == "there is no connection to it"
    make(cloud, "https://no.such.name.invalid/", "nowhere")
    tell(cloud)
    assert look(cloud, "nowhere").problem == "there is no connection to it"


def test_a_receiver_of_plain_http_is_no_receiver_of_https(cloud, receiver):
    make(cloud, receiver.url.replace("http:", "https:"))
    tell(cloud)
    assert look(cloud).problem == "it does not speak TLS"


def test_one_that_is_removed_is_told_nothing_more(cloud, receiver):
    make(cloud, receiver.url, kind=["vm"])
    cloud.call(hooks.delete_webhook, project_id=PROJECT, id="chat")
    happen(cloud, "one")
    assert receiver.told == []


def test_each_of_several_is_told_by_itself(cloud, receiver):
    with receiving() as other:
        make(cloud, receiver.url, kind=["vm"])
        make(cloud, other.url, "other", kind=["vm"])
        receiver.answers = [500]
        happen(cloud, "one")
        assert (receiver.told, other.told) == (["one"], ["one"])
        assert receiver.ids != other.ids


def test_one_of_a_project_is_told_at_a_time_so_that_no_project_takes_all_workers():
    turns = reconcile.Turns()
    with turns.taken("a") as first, turns.taken("a") as second, turns.taken("b") as third:
        assert (first, second, third) == (True, False, True)
    with turns.taken("1"), turns.taken("2"), turns.taken("3"), turns.taken("4"), turns.taken("5") as beyond:
        assert not beyond
    with turns.taken("a") as again:
        assert again


def test_nobody_looks_for_webhooks_while_nothing_happens(cloud, receiver, monkeypatch):
    looks = []
    monkeypatch.setattr(herald, "wake_those_behind", lambda *_, **__: looks.append(1))
    crier = Herald(cloud.database, clock=cloud.clock)
    crier.start()
    eventually(lambda: looks == [1])
    make(cloud, receiver.url)
    eventually(lambda: looks == [1, 1])
    cloud.call(hooks.list_webhooks, project_id=PROJECT)
    crier.stop()
    assert looks == [1, 1]


def test_the_secret_that_signs_lies_sealed_in_the_database_and_is_sealed_by_a_start_when_it_is_not(
    cloud, receiver
):
    secret = make(cloud, receiver.url)
    plain = base64.b64decode(secret.removeprefix("whsec_"))
    for stored in (None, plain):
        with cloud.database.writing() as db:
            hook = db.scalars(select(Webhook)).one()
            hook.secret = stored or hook.secret
            db.flush()
            seal_secrets(db, cloud.seal)
        with cloud.database.reading() as db:
            assert plain not in db.scalars(select(Webhook.secret)).one()
        happen(cloud, "it happened")
        assert signs(secret, *receiver.requests[-1])


def test_a_webhook_whose_secret_no_key_opens_says_so(cloud, receiver, tmp_path):
    make(cloud, receiver.url)
    (tmp_path / "other").mkdir()
    with cloud.database.writing() as db:
        db.scalars(select(Webhook)).one().secret = Seal(tmp_path / "other").closed(b"hidden")
    happen(cloud, "it happened")
    assert (look(cloud).problem, receiver.requests) == (
        "its secret cannot be read any more: make it anew",
        [],
    )

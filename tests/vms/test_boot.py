"""A first boot in the open: where it is, a broken script, no network, a kernel that panicked, each told from the others."""

from datetime import timedelta

import pytest
from tests.made_up import PROJECT
from tests.words import NO_ADDRESS

from cumulet.hypervisor import Guest
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.boot import NO_WORD, STAGES, is_wordless, panic_in, stage_in_words, stage_of

ENDED = "---[ end Kernel panic - not syncing: sysrq triggered crash ]---"
PANICKED = f"""\
login: [   12.345678] Kernel panic - not syncing: sysrq triggered crash
[   12.345700] CPU: 0 PID: 1 Comm: sh Not tainted 6.1.0
[   12.345800] {ENDED}
"""


@pytest.fixture
def database_kind(request) -> str:
    """What a guest says is read from its console and its agent; a database has it in a few columns of text."""
    return getattr(request, "param", "sqlite")


def boots(cloud, **says):
    said = {"agent": True, "first_boot_done": False, "start_script_status": None, "has_address": True}
    cloud.host.booting = Guest(**(said | says))
    cloud.pass_time(2)


def story(cloud):
    return [(entry.event, entry.text) for entry in cloud.ask(verbs.get_vm_timeline).entries]


def told(cloud, event):
    return [text for what, text in story(cloud) if what == event]


def test_each_stage_is_told_once_and_shown_while_it_lasts(cloud):
    boots(cloud)
    cloud.create()
    cloud.settle()
    for stage in ("init-local", "init-local", "init", "modules-final", "start-script"):
        boots(cloud, stage=stage, log=f"at {stage}")
        assert cloud.vm().guest.stage == STAGES[stage]
        assert cloud.vm().guest.log == f"at {stage}"
    assert len(told(cloud, "vm.boot_stage")) == 4
    boots(cloud, first_boot_done=True, start_script_status=0)
    assert cloud.vm().guest.stage == ""
    assert told(cloud, "vm.first_boot_done")[0].endswith("start script exited with status 0")


def test_stages_before_the_agent_starts_are_read_from_the_console(cloud):
    cloud.host.mute = True
    cloud.create()
    cloud.settle()
    for stage in ("init-local", "init", "modules:final"):
        line = f"[   12.3] cloud-init[221]: Cloud-init v. 22.4.2 running '{stage}' at Sun, 1 Mar 2026. Up 12 s.\n"
        cloud.host.write_to_console(cloud.row().id, line)
        cloud.pass_time(2)
        assert cloud.vm().guest.stage == STAGES[stage]
    cloud.host.mute = False
    boots(cloud, stage="modules-final")
    boots(cloud, stage="start-script")
    assert told(cloud, "vm.boot_stage") == [
        STAGES["init-local"],
        STAGES["init"],
        STAGES["modules:final"],
        STAGES["start-script"],
    ]


@pytest.mark.parametrize("said", ["line 3: apt-gett: not found", "line 3: apt-gett\r: not found\r"])
def test_a_broken_start_script_is_told_with_its_last_words(cloud, said):
    boots(cloud, first_boot_done=True, start_script_status=127, log=f"hello\n{said}")
    cloud.create()
    cloud.settle()
    cloud.pass_time(3)
    (text,) = told(cloud, "vm.first_boot_done")
    assert text.replace(" :", ":").endswith(
        "start script exited with status 127: line 3: apt-gett: not found"
    )
    assert cloud.vm().guest.start_script_status == 127
    assert cloud.vm().guest.log == f"hello\n{said}"
    (listed,) = cloud.call(verbs.list_vms, project_id=PROJECT).vms
    assert listed.guest.log == ""


def test_what_cloud_init_complains_of_is_told(cloud):
    problems = ("('write-files', ValueError('bad path'))", "another\nin two lines")
    boots(cloud, first_boot_done=True, problems=problems)
    cloud.create()
    cloud.settle()
    cloud.pass_time(3)
    (text,) = told(cloud, "vm.first_boot_done")
    assert "cloud-init reported 2 problems, first: ('write-files'" in text
    assert cloud.vm().guest.problems == [problems[0], "another in two lines"]


def test_a_guest_without_network_is_told_from_one_that_is_slow(cloud):
    boots(cloud, has_address=False, stage="init")
    cloud.create()
    cloud.settle()
    cloud.pass_time(20)
    assert cloud.vm().guest.stage == STAGES["init"]
    cloud.pass_time(20)
    assert NO_ADDRESS in cloud.vm().guest.stage
    assert NO_ADDRESS in told(cloud, "vm.boot_stage")[-1]
    boots(cloud, has_address=False, first_boot_done=True)
    assert told(cloud, "vm.first_boot_done")[0].endswith("; it has no IPv4 address")


def test_a_kernel_that_panics_at_boot_is_told_with_its_reason(cloud):
    cloud.create()
    cloud.settle()
    cloud.host.panic(cloud.row().id, "VFS: Unable to mount root fs")
    cloud.pass_time(5)
    assert told(cloud, "vm.panicked") == ["guest kernel panic: VFS: Unable to mount root fs"]
    assert cloud.vm().guest.panic == "VFS: Unable to mount root fs"
    assert cloud.vm().state is VmState.ACTIVE
    cloud.pass_time(120)
    assert len(told(cloud, "vm.panicked")) == 1


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)
def test_what_no_database_can_hold_is_left_out_of_a_panic(cloud):
    cloud.create()
    cloud.settle()
    cloud.host.panic(cloud.row().id, "bad\0news")
    cloud.pass_time(5)
    assert cloud.vm().guest.panic == "badnews"


def test_after_its_next_start_a_panic_is_history(cloud):
    cloud.running()
    cloud.host.panic(cloud.row().id, "once")
    cloud.measure()
    assert cloud.vm().guest.panic == "once"
    cloud.ask(verbs.reboot_vm)
    cloud.host.mute = False
    cloud.settle()
    cloud.pass_time(5)
    assert cloud.vm().guest.panic == ""
    assert told(cloud, "vm.panicked") == ["guest kernel panic: once"]
    cloud.host.panic(cloud.row().id, "twice", at="9.000001")
    cloud.pass_time(301)
    assert told(cloud, "vm.panicked")[1:] == ["guest kernel panic: twice"]


def test_a_machine_that_ended_by_a_panic_is_told_from_one_that_was_killed(cloud):
    cloud.running()
    cloud.host.panic(cloud.row().id, "Fatal exception")
    cloud.host.kill(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.events()[-3:] == ["vm.panicked", "vm.crashed", "vm.started"]


@pytest.mark.parametrize(
    "after",
    ["", "\n\n", "[   12.400000] Rebooting in 10 seconds..\n", "[   13.000000] more of it"],
)
def test_a_console_that_ends_with_a_panic_is_one(after):
    assert panic_in(PANICKED + after) == "[   12.345678] Kernel panic - not syncing: sysrq triggered crash"


@pytest.mark.parametrize(
    "after", ["cumulet: eth0 has 10.0.0.3\n", "[    0.000000] Linux version 6.1\n", "login: "]
)
def test_one_that_went_on_afterwards_is_not(after):
    assert panic_in(PANICKED + after) == ""


def test_a_console_without_a_panic_is_none():
    assert panic_in("") == ""
    assert panic_in("Kernel panic - not syncing: typed by somebody") == ""


def test_a_stage_that_nobody_knows_is_shown_as_it_is_called():
    assert stage_in_words("modules-later") == "cloud-init is at modules-later"
    assert stage_in_words("") == ""
    done = Guest(agent=True, first_boot_done=True, start_script_status=None, stage="init", has_address=False)
    assert stage_of(done, timedelta(minutes=5)) == ""


def test_a_guest_of_which_nothing_at_all_is_heard_is_waited_for_in_words_for_as_long_as_that_lasts(cloud):
    cloud.host.mute = True
    cloud.create()
    cloud.settle()
    cloud.host.contents.consoles[cloud.row().id].clear()
    cloud.pass_time(60)
    assert cloud.vm().waiting_for == ""
    cloud.pass_time(90)
    assert (cloud.vm().waiting_for, cloud.vm().guest.stage) == (STAGES[NO_WORD], STAGES[NO_WORD])
    cloud.pass_time(3600)
    assert cloud.vm().waiting_for == STAGES[NO_WORD]
    assert told(cloud, "vm.boot_stage") == [STAGES[NO_WORD]]
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(100)
    assert cloud.vm().waiting_for == ""


def test_a_late_first_word_ends_the_wait(cloud):
    cloud.host.mute = True
    cloud.create()
    cloud.settle()
    cloud.host.contents.consoles[cloud.row().id].clear()
    cloud.pass_time(150)
    cloud.host.mute = False
    cloud.pass_time(10)
    assert cloud.vm().waiting_for == ""
    assert cloud.vm().guest.first_boot_done


def test_a_guest_without_an_agent_that_writes_to_its_console_has_spoken(cloud):
    cloud.host.mute = True
    cloud.create()
    cloud.settle()
    cloud.host.write_to_console(cloud.row().id, "hello login: ")
    cloud.pass_time(150)
    assert cloud.vm().waiting_for == ""


@pytest.mark.parametrize(
    ("console", "wordless"),
    [
        ("", True),
        (
            "\x1b[2J\x1b[01;01H\x1b[=3h\r\nBdsDxe: failed to load Boot0001\r\nBdsDxe: No bootable option\r\n",
            True,
        ),
        ("\x1b[01;01HUEFI Interactive Shell v2.2\r\nEDK II\r\nin 5 seconds\x1b[40mShell> \x1b[0m", True),
        ("UEFI Interactive Shell v2.2\r\nShell> [    0.000000] Linux version 6.1", False),
        ("\x1b[2JGRUB", False),
    ],
)
def test_what_the_firmware_writes_is_no_word_of_the_guest(console, wordless):
    assert is_wordless(console) is wordless


def test_a_guest_whose_agent_is_wild_is_left_alone_until_its_next_start_and_that_is_told_once(cloud):
    cloud.host.wild = True
    cloud.create()
    cloud.settle()
    cloud.pass_time(20)
    cloud.host.wild = False
    (why,) = told(cloud, "vm.agent_ignored")
    assert "ignored until the next start" in why
    assert told(cloud, "vm.agent_connected") == told(cloud, "vm.guest_silent") == []
    assert cloud.host.guests.ping(cloud.row().id) is None
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.ask(verbs.start_vm)
    cloud.settle()
    cloud.pass_time(3)
    assert len(told(cloud, "vm.agent_connected")) == 1
    assert cloud.row().first_boot_at is not None


def test_an_agent_that_gets_wild_after_its_boot_is_told_of_as_soon_as_anybody_asks_it(cloud):
    cloud.host.on_change(cloud.hear)
    cloud.create()
    cloud.settle()
    cloud.pass_time(5)
    cloud.host.wild = True
    for _ in range(2):
        assert cloud.host.guests.ping(cloud.row().id) is None
        cloud.settle()
    assert len(told(cloud, "vm.agent_ignored")) == 1

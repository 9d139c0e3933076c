from datetime import UTC, datetime, timedelta

from streamer.sandbox.simulated_clock import SimulatedClock

MACHINE = datetime(2026, 11, 26, 12, tzinfo=UTC)
START = datetime(2026, 3, 1, tzinfo=UTC)


class Machine:
    def __init__(self) -> None:
        self.time = MACHINE

    def __call__(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def test_the_world_runs_as_fast_as_told_and_the_machine_as_ever() -> None:
    machine = Machine()
    clock = SimulatedClock(machine, start=START, speed=3600)
    machine.wait(2)
    assert (clock.now(), clock.machine()) == (START + timedelta(hours=2), MACHINE + timedelta(seconds=2))
    clock.set(speed=0)
    machine.wait(5)
    assert (clock.now(), clock.machine()) == (START + timedelta(hours=2), MACHINE + timedelta(seconds=7))
    clock.set(speed=1)
    machine.wait(1)
    assert clock.now() == START + timedelta(hours=2, seconds=1)


def test_without_a_start_both_times_are_one() -> None:
    machine = Machine()
    clock = SimulatedClock(machine)
    machine.wait(9)
    clock.advance(100)
    assert clock.now() == clock.machine() == MACHINE + timedelta(seconds=109)


def test_a_jump_moves_both_times_and_a_new_time_the_worlds_only() -> None:
    machine = Machine()
    clock = SimulatedClock(machine, start=START, speed=10)
    clock.advance(60)
    assert (clock.now(), clock.machine()) == (START + timedelta(seconds=60), MACHINE + timedelta(seconds=60))
    clock.set(now=START)
    machine.wait(1)
    assert (clock.now(), clock.machine()) == (START + timedelta(seconds=10), MACHINE + timedelta(seconds=61))
